# SPDX-License-Identifier: Apache-2.0
"""Which past frames a pair network gets beside the current one [Pinard 2017b].

Depth is |t| / D0 times what the network says, so a baseline is chosen for a range of depths: to
see depth C at the net value E, the cameras should be D0 C / E apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from depthkit.runtime.config import BaselineConfig
from depthkit.runtime.depth.frame_ring import FrameRing, RingFrame, distance


@dataclass(frozen=True)
class Decision:
    """Which baselines a depth map was made of, and why."""

    rule: str
    shifts: tuple[int, ...] = ()
    """How many frames back each previous frame was."""
    baselines: tuple[float, ...] = ()
    """Metres between the cameras, of each; empty while no displacement is known."""
    parallax: tuple[float, ...] = ()
    """Median over the picture as if all motion were sideways, f |t| / Z, of each. Pixels at the
    network's focal length."""
    weights: tuple[float, ...] = ()
    """Share of each in the depth map, mean over its pixels."""
    wanted: tuple[float, ...] = ()
    """Baselines that were asked for, metres."""
    rotation: tuple[float, ...] = ()
    """Turn that was taken out, of each, degrees."""
    reason: str = ""
    """Why these frames; or why none."""


class Feedback(NamedTuple):
    """What the last depth map says about the next baseline."""

    depths: tuple[float, ...] = ()
    """Depths to see well, nearest first, metres; empty when there is no last map."""
    shift: int = 0
    """Frames back that rule C wants; 0 when there is no last map."""


QUANTILES = (0.1, 0.9)
"""Of the last map's depths, the nearest and the farthest that gets its own baseline. Clusters
(k-means of log depth) did no better on synthetic flights and need iterations."""


def wanted_depths(depth: np.ndarray, ranges: int) -> tuple[float, ...]:
    """Return the depths that the next baselines should suit: even quantiles, nearest first.

    Args:
        depth: of the last map, known pixels alone, metres. (N,)
        ranges: how many; 1 is the median.
    """
    shares = np.linspace(*QUANTILES, ranges) if ranges > 1 else np.array([0.5])
    return tuple(float(value) for value in np.quantile(depth, shares))


def next_shift(shift: int, mean_net: float, *, target: float, longest: int) -> int:
    """Return rule C's shift: longer where the last map was too far, shorter where too near.

    Args:
        shift: of the last pair, frames.
        mean_net: mean of the last map, metres at the nominal baseline.
        target: what that mean should be.
        longest: shift of the oldest past frame.
    """
    return max(1, min(round(shift * mean_net / target), longest))


class Pairing(NamedTuple):
    """A past frame beside the current one."""

    past: RingFrame
    shift: int
    baseline: float
    """Metres; NaN while no displacement is known."""
    R_current_previous: np.ndarray
    """(3, 3)"""
    t_current_previous: np.ndarray | None
    """The past camera's place in the current frame, metres; None where its direction is unknown."""
    rotation: float
    """Degrees."""


class Selection(NamedTuple):
    """Pairs for one run of the network; none, and the decision says why."""

    pairs: tuple[Pairing, ...]
    decision: Decision


def pair_up(past: RingFrame, current: RingFrame) -> Pairing:
    """Describe a past frame as seen from the current one."""
    R_past, R_now = past.R_world_cam, current.R_world_cam
    R, t = np.eye(3), None
    if R_past is not None and R_now is not None:
        R = R_now.T @ R_past
        if past.position is not None and current.position is not None:
            t = R_now.T @ (past.position - current.position)
    angle = np.degrees(np.arccos(np.clip((np.trace(R) - 1) / 2, -1, 1)))
    shift = current.index - past.index
    return Pairing(past, shift, distance(past, current), R, t, float(angle))


def overlap(R_current_previous: np.ndarray, K: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the share of the current picture that each turned previous one covers.

    Args:
        R_current_previous: (N, 3, 3)
        K: of all, pixels. (3, 3)
        size: (H, W).

    Returns:
        From 0 to 1, on a grid of 9 x 9 points. (N,)
    """
    height, width = size
    u, v = np.meshgrid(np.linspace(0, width - 1, 9), np.linspace(0, height - 1, 9))
    rays = np.linalg.inv(K) @ np.stack([u.ravel(), v.ravel(), np.ones(81)])
    x, y, z = np.moveaxis(K @ R_current_previous.swapaxes(1, 2) @ rays, 1, 0)  # (N, 81) each
    slack = 1e-6 * z  # a picture that is not turned covers its own borders
    across = (x >= -slack) & (x <= (width - 1) * z + slack)
    down = (y >= -slack) & (y <= (height - 1) * z + slack)
    return np.asarray((z > 1e-9) & across & down).mean(axis=1)


def select(
    ring: FrameRing,
    current: RingFrame,
    *,
    config: BaselineConfig,
    nominal_baseline: float,
    feedback: Feedback = Feedback(),  # noqa: B008 (a tuple: nothing can change it)
) -> Selection:
    """Choose the past frames for the current one.

    Args:
        ring: past frames; the current one is not in it.
        current: with its place in the world, as far as it is known.
        config: the rule and its limits.
        nominal_baseline: D0 of the network, metres.
        feedback: from the last depth map.

    Returns:
        The pairs, nearest baseline first, and the decision. Without pairs its reason says why.
    """
    pairs = [pair_up(past, current) for past in ring]
    fit, reason = _fitting(pairs, current, config=config, nominal_baseline=nominal_baseline)
    if not fit:
        return Selection((), Decision(config.rule, reason=reason))
    if np.isnan(fit[0].baseline):
        return _select_by_shift(fit, config, feedback)
    wanted: tuple[float, ...] = (nominal_baseline,)
    match config.rule:
        case "fixed" | "feedback":
            return _select_by_shift(fit, config, feedback)
        case "best_of_n":
            chosen = _spread(fit, config.candidates)
            reason = f"{len(chosen)} frames tried, spread over the ring"
            return Selection(chosen, _decide(config, chosen, reason=reason))
        case "nearest":
            reason = "nearest to the nominal baseline"
        case _ if feedback.depths:
            wanted = tuple(nominal_baseline * depth / config.target for depth in feedback.depths)
            reason = f"baselines that put the last map's depths at net value {config.target:g}"
        case _:
            reason = "no last map: nearest to the nominal baseline"
    chosen = _nearest_each(fit, wanted)
    return Selection(chosen, _decide(config, chosen, wanted=wanted, reason=reason))


def _decide(
    config: BaselineConfig,
    pairs: Sequence[Pairing],
    *,
    wanted: tuple[float, ...] = (),
    reason: str,
) -> Decision:
    known = not any(np.isnan(pair.baseline) for pair in pairs)
    return Decision(
        config.rule,
        shifts=tuple(pair.shift for pair in pairs),
        baselines=tuple(pair.baseline for pair in pairs) if known else (),
        wanted=wanted,
        rotation=tuple(pair.rotation for pair in pairs),
        reason=reason,
    )


def keep_one(selection: Selection, index: int, reason: str) -> Selection:
    """Reduce a selection to one of its pairs: the map that won."""
    decision, one = selection.decision, slice(index, index + 1)
    return Selection(
        selection.pairs[one],
        replace(
            decision,
            shifts=decision.shifts[one],
            baselines=decision.baselines[one],
            rotation=decision.rotation[one],
            reason=reason,
        ),
    )


def _fitting(
    pairs: list[Pairing],
    current: RingFrame,
    *,
    config: BaselineConfig,
    nominal_baseline: float,
) -> tuple[list[Pairing], str]:
    """Leave out pairs that cannot work; when none is left, say what the last test refused."""
    if not pairs:
        return [], "no past frame yet"
    youngest = min(current.stamp - pair.past.stamp for pair in pairs)
    pairs = [p for p in pairs if current.stamp - p.past.stamp <= config.max_age]
    if not pairs:
        return [], f"stale: the newest past frame is {youngest:.2f} s old, over {config.max_age:g}"
    known = [pair for pair in pairs if not np.isnan(pair.baseline)]
    pairs, farthest = known or pairs, max((pair.baseline for pair in known), default=0.0)
    least = config.min_baseline * nominal_baseline
    pairs = [pair for pair in pairs if not pair.baseline < least]
    if not pairs:
        return [], (
            f"no translation: at most {farthest:.4f} m to any past frame, {least:g} m is the least"
        )
    smallest = min(pair.rotation for pair in pairs)
    pairs = [pair for pair in pairs if pair.rotation <= config.max_rotation]
    if not pairs:
        return [], f"turned too far: {smallest:.1f} deg at least, over {config.max_rotation:g}"
    turns = np.stack([pair.R_current_previous for pair in pairs])
    shares = overlap(turns, current.frame.K, current.frame.rgb.shape[:2])
    fit = [p for p, share in zip(pairs, shares, strict=True) if share >= config.min_overlap]
    if not fit:
        return [], (
            f"too little overlap: {shares.max():.0%} of the picture at most, "
            f"below {config.min_overlap:.0%}"
        )
    return sorted(fit, key=lambda pair: (pair.baseline, pair.shift)), ""


def _select_by_shift(pairs: list[Pairing], config: BaselineConfig, feedback: Feedback) -> Selection:
    """Take the pair whose shift is nearest to the wanted one."""
    follows = config.rule == "feedback" and feedback.shift > 0
    shift = feedback.shift if follows else config.shift
    chosen = min(pairs, key=lambda pair: (abs(np.log(pair.shift / shift)), pair.shift))
    reason = f"shift {shift} wanted by the last map's mean" if follows else f"fixed shift {shift}"
    if np.isnan(chosen.baseline):
        reason += "; displacement unknown"
    return Selection((chosen,), _decide(config, (chosen,), reason=reason))


def _spread(pairs: list[Pairing], count: int) -> tuple[Pairing, ...]:
    """Take frames at geometrically spread shifts, the newest and the oldest among them."""
    by_shift = sorted(pairs, key=lambda pair: pair.shift)
    shifts = np.array([pair.shift for pair in by_shift], dtype=float)
    wanted = np.geomspace(shifts[0], shifts[-1], count)
    at = {int(np.abs(np.log(shifts / one)).argmin()) for one in wanted}
    chosen = (by_shift[i] for i in at)
    return tuple(sorted(chosen, key=lambda pair: (pair.baseline, pair.shift)))


def _nearest_each(pairs: list[Pairing], wanted: tuple[float, ...]) -> tuple[Pairing, ...]:
    """Take the pair nearest to each wanted baseline, by the logarithm; no pair twice."""
    baselines = np.log([pair.baseline for pair in pairs])
    at = {int(np.abs(baselines - np.log(one)).argmin()) for one in wanted}
    return tuple(pairs[i] for i in sorted(at))
