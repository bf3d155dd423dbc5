# SPDX-License-Identifier: Apache-2.0
"""Scores of depth from pairs: which pairs to score, errors in metres and at the nominal baseline.

A pair network resolves depth / baseline, so its errors are comparable between pairs only at one
baseline: depth * D0 / |t|, clipped at the range it was trained for [Pinard 2017a].
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np

from depthkit.errors import DataError, check_shape
from depthkit.evaluation.depth import DepthProtocol, depth_metrics, scored_pixels
from depthkit.trajectory import inverse

SLACK = math.sqrt(2)
"""Factor within which a pair counts for a baseline: a ladder of doubled baselines then has neither
gaps nor overlaps."""
MAX_ROTATION = 0.5
"""Largest rotation between the views of a pair, radians; beyond it they overlap too little."""
LEAST_BASELINE = 1e-5
"""Smallest baseline, metres; with less the camera stands still, and there is no parallax."""
_BINS = 20_000
_NEAREST = 1e-3  # metres; where the bins of the constants begin


@dataclass(frozen=True)
class Pair:
    """A target frame and its source frame."""

    target: int
    source: int
    T_source_target: np.ndarray
    """Target-frame points to source frame, metres. (4, 4)"""

    @property
    def baseline(self) -> float:
        """Distance of the two camera centres, metres."""
        return float(np.linalg.norm(self.T_source_target[:3, 3]))

    @property
    def rotation(self) -> float:
        """Angle between the two orientations, radians."""
        cosine = (np.trace(self.T_source_target[:3, :3]) - 1) / 2
        return math.acos(min(1.0, max(-1.0, float(cosine))))


@dataclass(frozen=True)
class PairScore:
    """The errors of one depth map, or their means over pairs."""

    abs_rel: float
    """mean |p - g| / g"""
    rmse: float
    """metres"""
    a1: float
    """share of pixels with max(p / g, g / p) < 1.25"""
    mae_m: float
    """mean |p - g|, metres"""
    mae_m_at_d0: float
    """mean |p - g|, both scaled to the nominal baseline and clipped at the far end, metres"""
    pixel_coverage: float
    """share of the pixels with a truth that were scored"""


def pairs_at_baseline(T_world_cam: np.ndarray, baseline: float) -> list[Pair]:
    """Pair each frame with the one whose distance is nearest to a baseline, earlier ones first.

    Args:
        T_world_cam: NaN where unknown; such frames are in no pair. (N, 4, 4)
        baseline: metres.

    Returns:
        One pair a target at most: none where no distance lies within SLACK of the baseline, or the
        views turn by more than MAX_ROTATION.
    """
    check_shape("pairs_at_baseline: T_world_cam", T_world_cam, "N 4 4")
    found = (_nearest_pair(T_world_cam, i, baseline) for i in range(len(T_world_cam)))
    return [pair for pair in found if pair is not None]


def pairs_at_shift(T_world_cam: np.ndarray, shift: int) -> list[Pair]:
    """Pair each frame with the one `shift` frames later (earlier if negative), if both have poses
    and the camera moved between them: there is no depth from no motion.

    Args:
        T_world_cam: NaN where unknown. (N, 4, 4)
        shift: frames, not 0.
    """
    if shift == 0:
        raise DataError("a pair needs two frames; the shift must not be 0")
    count = len(T_world_cam)
    sources = ((i, i + shift) for i in range(count) if 0 <= i + shift < count)
    found = (_make_pair(T_world_cam, i, j) for i, j in sources)
    return [pair for pair in found if pair.baseline >= LEAST_BASELINE]  # NaN fails


def score_pair(
    pred: np.ndarray,
    gt: np.ndarray,
    valid: np.ndarray | None,
    *,
    to_nominal: float,
    far: float,
    protocol: DepthProtocol,
) -> PairScore | None:
    """Score the depth map of a pair.

    Args:
        pred: metres, 0 = unknown. (H, W)
        gt: metres, 0 = unknown. (H, W)
        valid: pixels to score, None for all. (H, W) bool
        to_nominal: D0 / |t|.
        far: metres at the nominal baseline; both are clipped there for `mae_m_at_d0`, which counts
            every known pixel however far.
        protocol: depth range and alignment of the other figures.

    Returns:
        None where no pixel has both a prediction and a truth that counts.
    """
    wanted = scored_pixels(gt, valid, protocol)
    mask = wanted & np.isfinite(pred) & (pred > 0)
    if not mask.any():
        return None
    score = depth_metrics(pred, gt, valid, **vars(protocol))
    aligned = score.alignment.apply(pred.astype(np.float64), protocol.max_depth)
    p = np.clip(aligned[mask], protocol.min_depth, protocol.max_depth)
    known = (gt > 0) & np.isfinite(pred) & (pred > 0)
    known &= True if valid is None else valid
    p0, g0 = (np.minimum(depth[known] * to_nominal, far) for depth in (aligned, gt))
    return PairScore(
        abs_rel=score.abs_rel,
        rmse=score.rmse,
        a1=score.a1,
        mae_m=float(np.mean(np.abs(p - gt[mask]))),
        mae_m_at_d0=float(np.mean(np.abs(p0 - g0))),
        pixel_coverage=float(mask.sum() / max(1, scored_pixels(gt, None, protocol).sum())),
    )


def mean_score(scores: Sequence[PairScore]) -> PairScore | None:
    """Average over pairs, each counting the same; None without pairs."""
    if not scores:
        return None
    names = [field.name for field in fields(PairScore)]
    return PairScore(**{n: float(np.mean([getattr(s, n) for s in scores])) for n in names})


def score_best_constants(
    truths: Iterable[tuple[np.ndarray, float]], *, far: float, protocol: DepthProtocol
) -> PairScore | None:
    """Score the best that any constant depth could do, found with these very truths in hand: each
    figure has its own best constant; rmse, an average of roots, that of the mean square.

    Args:
        truths: re-iterable; depth in metres, 0 = unknown, (H, W); and D0 / |t| of its pair.
        far, protocol: as in `score_pair`.
    """
    shares, centres = _spread(((gt, 1.0) for gt, _ in truths), protocol.max_depth)
    nominal, at_d0 = _spread(((np.minimum(gt, far / s), s) for gt, s in truths), far)
    constants = {
        "abs_rel": _median(centres, shares / centres),
        "rmse": float(np.average(centres, weights=shares)),
        "a1": _fullest(centres, shares),
        "mae_m": _median(centres, shares),
        "mae_m_at_d0": _median(at_d0, nominal),
    }
    scores = []
    for gt, s in truths:
        found = {}
        for name, depth in constants.items():
            guess = np.full(gt.shape, depth / s if name == "mae_m_at_d0" else depth)
            found[name] = score_pair(guess, gt, None, to_nominal=s, far=far, protocol=protocol)
        figures = {name: getattr(score, name) for name, score in found.items() if score}
        if figures:
            scores.append(PairScore(**figures, pixel_coverage=1.0))
    return mean_score(scores)


def _spread(
    truths: Iterable[tuple[np.ndarray, float]], far: float
) -> tuple[np.ndarray, np.ndarray]:
    """Histogram of scaled truth up to `far`, each map counting the same: shares, bin centres."""
    edges = np.geomspace(_NEAREST, far * (1 + 1e-9), _BINS + 1)
    shares = np.zeros(_BINS)
    for gt, scale in truths:
        g = scale * gt[gt > 0].astype(np.float64)
        g = g[g <= edges[-1]]
        shares += np.histogram(g, edges)[0] / max(1, len(g))
    if not shares.any():
        raise DataError("no pixel has a truth inside the depth range")
    return shares, np.sqrt(edges[:-1] * edges[1:])


def _median(values: np.ndarray, weights: np.ndarray) -> float:
    return float(values[np.searchsorted(np.cumsum(weights), weights.sum() / 2)])


def _fullest(depths: np.ndarray, shares: np.ndarray) -> float:
    """Depth with the most truth within a factor of 1.25."""
    total = np.concatenate([[0.0], np.cumsum(shares)])
    first, last = (np.searchsorted(depths, depths * factor) for factor in (1 / 1.25, 1.25))
    return float(depths[np.argmax(total[last] - total[first])])


def _nearest_pair(T_world_cam: np.ndarray, target: int, baseline: float) -> Pair | None:
    distance = np.linalg.norm(T_world_cam[:, :3, 3] - T_world_cam[target, :3, 3], axis=1)
    with np.errstate(invalid="ignore"):
        fits = (distance >= baseline / SLACK) & (distance <= baseline * SLACK)
    candidates = np.flatnonzero(fits)
    # Equal to a millionth of the baseline is equal: the earlier frame is taken.
    order = np.lexsort((candidates, np.rint(np.abs(distance[fits] - baseline) * 1e6 / baseline)))
    for source in candidates[order]:
        pair = _make_pair(T_world_cam, target, int(source))
        if pair.rotation <= MAX_ROTATION:
            return pair
    return None


def _make_pair(T_world_cam: np.ndarray, target: int, source: int) -> Pair:
    return Pair(target, source, inverse(T_world_cam[source]) @ T_world_cam[target])
