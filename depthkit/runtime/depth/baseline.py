# SPDX-License-Identifier: Apache-2.0
"""Which past frames a pair network gets besides the current one [Pinard 2017b].

Depth is |t| / D0 times the network's output, so a baseline is chosen for a range of depths: for
depth C to appear at the net value E, the cameras should be D0 C / E apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from depthkit.runtime.config import BaselineConfig
from depthkit.runtime.depth.frame_ring import FrameRing, RingFrame, distance


@dataclass(frozen=True)
class Decision:
    """The baselines behind a depth map, and the reason for them."""

    rule: str
    shifts: tuple[int, ...] = ()
    """Shift of each past frame, frames back."""
    baselines: tuple[float, ...] = ()
    """Distance between the cameras for each pair, metres; empty while displacement is unknown."""
    parallax: tuple[float, ...] = ()
    """Lateral parallax f |t| / Z of each pair, median over the image, pixels at the network's focal
    length."""
    weights: tuple[float, ...] = ()
    """Share of each pair in the fused depth, mean over pixels."""
    wanted: tuple[float, ...] = ()
    """Requested baselines, metres."""
    rotation: tuple[float, ...] = ()
    """Rotation removed from each pair, degrees."""
    reason: str = ""
    """Why these frames were chosen, or why there are none."""


class Feedback(NamedTuple):
    """What the last depth map implies for the next baseline."""

    depths: tuple[float, ...] = ()
    """Depths that the baselines should suit, nearest first, metres; empty without a last map."""
    shift: int = 0
    """Shift requested by rule C, frames; 0 without a last map."""


QUANTILES = (0.1, 0.9)
"""Quantiles of the last map's depth between which the ranges are spread. Clusters (k-means of log
depth) did no better on synthetic flights and need iterations."""


def wanted_depths(depth: np.ndarray, ranges: int) -> tuple[float, ...]:
    """Return the depths that the next baselines should suit: even quantiles, nearest first.

    Args:
        depth: known depths of the last map, metres. (N,)
        ranges: number of depths; 1 gives the median.
    """
    shares = np.linspace(*QUANTILES, ranges) if ranges > 1 else np.array([0.5])
    return tuple(float(value) for value in np.quantile(depth, shares))


def next_shift(shift: int, mean_net: float, *, target: float, longest: int) -> int:
    """Return rule C's shift: longer where the last map was too far, shorter where too near.

    Args:
        shift: shift of the last pair, frames.
        mean_net: mean of the last map, metres at the nominal baseline.
        target: target of that mean.
        longest: shift of the oldest past frame.
    """
    return max(1, min(round(shift * mean_net / target), longest))


class Pairing(NamedTuple):
    """A past frame paired with the current one."""

    past: RingFrame
    shift: int
    baseline: float
    """Distance between the cameras, metres; NaN while displacement is unknown."""
    R_current_previous: np.ndarray
    """Rotation from the past to the current camera frame. (3, 3)"""
    t_current_previous: np.ndarray | None
    """Position of the past camera in the current frame, metres; None if the direction is
    unknown."""
    rotation: float
    """Angle of the rotation, degrees."""


class Selection(NamedTuple):
    """Pairs for one run of the network; if empty, the decision has the reason."""

    pairs: tuple[Pairing, ...]
    decision: Decision


def pair_up(past: RingFrame, current: RingFrame) -> Pairing:
    """Compute the relative pose of a past frame and the current one, as far as it is known."""
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
    """Return the share of the current image that each derotated previous one covers.

    Args:
        R_current_previous: (N, 3, 3)
        K: intrinsics of all frames, pixels. (3, 3)
        size: (H, W).

    Returns:
        Share from 0 to 1, on a grid of 9 x 9 points. (N,)
    """
    height, width = size
    u, v = np.meshgrid(np.linspace(0, width - 1, 9), np.linspace(0, height - 1, 9))
    rays = np.linalg.inv(K) @ np.stack([u.ravel(), v.ravel(), np.ones(81)])
    x, y, z = np.moveaxis(K @ R_current_previous.swapaxes(1, 2) @ rays, 1, 0)  # (N, 81) each
    slack = 1e-6 * z  # an unrotated image covers its own borders
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
        ring: past frames, without the current one.
        current: current frame with its pose, as far as it is known.
        config: rule and limits.
        nominal_baseline: D0 of the network, metres.
        feedback: what the last depth map implies.

    Returns:
        The pairs, shortest baseline first, and the decision; without pairs it has the reason.
    """
    # 1. Reject pairs that cannot work: too old, no motion, rotated too far, too little overlap.
    pairs = [pair_up(past, current) for past in ring]
    fit, reason = _fitting(pairs, current, config=config, nominal_baseline=nominal_baseline)
    if not fit:
        return Selection((), Decision(config.rule, reason=reason))
    # 2. Without a displacement only the shift can choose.
    if np.isnan(fit[0].baseline):
        return _select_by_shift(fit, config, feedback)
    # 3. The rule names baselines in metres; |t| = D0 C / E brings depth C to the net value E.
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
    """Reduce a selection to one of its pairs, the best one."""
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
    """Reject pairs that cannot work; if none is left, return why the last test rejected them."""
    if not pairs:
        return [], "no past frame yet"
    # Age: the scene may have changed and the odometry drifted.
    youngest = min(current.stamp - pair.past.stamp for pair in pairs)
    pairs = [p for p in pairs if current.stamp - p.past.stamp <= config.max_age]
    if not pairs:
        return [], f"stale: the newest past frame is {youngest:.2f} s old, over {config.max_age:g}"
    # Baseline: without motion there is no parallax. Pairs of known baseline come first.
    known = [pair for pair in pairs if not np.isnan(pair.baseline)]
    pairs, farthest = known or pairs, max((pair.baseline for pair in known), default=0.0)
    least = config.min_baseline * nominal_baseline
    pairs = [pair for pair in pairs if not pair.baseline < least]
    if not pairs:
        return [], (
            f"no translation: at most {farthest:.4f} m to any past frame, {least:g} m is the least"
        )
    # Rotation and overlap: after derotation both frames must still show the same scene.
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
    """Take frames at geometrically spaced shifts, including the newest and the oldest."""
    by_shift = sorted(pairs, key=lambda pair: pair.shift)
    shifts = np.array([pair.shift for pair in by_shift], dtype=float)
    wanted = np.geomspace(shifts[0], shifts[-1], count)
    at = {int(np.abs(np.log(shifts / one)).argmin()) for one in wanted}
    chosen = (by_shift[i] for i in at)
    return tuple(sorted(chosen, key=lambda pair: (pair.baseline, pair.shift)))


def _nearest_each(pairs: list[Pairing], wanted: tuple[float, ...]) -> tuple[Pairing, ...]:
    """Take the pair nearest to each wanted baseline in log distance; no pair twice."""
    baselines = np.log([pair.baseline for pair in pairs])
    at = {int(np.abs(baselines - np.log(one)).argmin()) for one in wanted}
    return tuple(pairs[i] for i in sorted(at))
