# SPDX-License-Identifier: Apache-2.0
"""Scores of depth from pairs: which pairs to score, errors in metres and at the nominal baseline.

A pair network resolves depth / baseline, so its errors are comparable between pairs only at one
baseline: depth * D0 / |t|, clipped at the range it was trained for [Pinard 2017a].
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from depthkit.errors import DataError, check_shape
from depthkit.evaluation.depth import DepthProtocol, depth_metrics, scored_pixels
from depthkit.trajectory import inverse

SLACK = math.sqrt(2)
"""A pair stands for a baseline if its own lies within this factor: a ladder of doubled baselines
then leaves no gap and no overlap."""
MAX_ROTATION = 0.5
"""Radians between the views of a pair; beyond it they share too little."""
LEAST_BASELINE = 1e-5
"""Metres; with less the camera stands still, and there is no depth from no motion."""
_BINS = 20_000
_NEAREST = 1e-3  # metres; where the bins of the constants begin


@dataclass(frozen=True)
class Pair:
    """A target frame and the frame it is seen with."""

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
    scale = score.ratio if protocol.align == "median" else 1.0
    p = np.clip(scale * pred[mask].astype(np.float64), protocol.min_depth, protocol.max_depth)
    known = (gt > 0) & np.isfinite(pred) & (pred > 0)
    known &= True if valid is None else valid
    p0, g0 = (np.minimum(depth[known] * to_nominal, far) for depth in (scale * pred, gt))
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
    """Score the best that any constant depth could do: each figure has its own best constant, found
    with these very truths in hand (a1 and rmse go with that of abs_rel).

    Args:
        truths: re-iterable; depth in metres, 0 = unknown, (H, W); and D0 / |t| of its pair.
        far, protocol: as in `score_pair`.
    """
    relative = _median_depth(((gt, 1.0) for gt, _ in truths), protocol.max_depth, by_inverse=True)
    metres = _median_depth(((gt, 1.0) for gt, _ in truths), protocol.max_depth)
    nominal = _median_depth(((np.minimum(gt, far / s), s) for gt, s in truths), far)
    scores = []
    for gt, s in truths:
        guesses = [np.full(gt.shape, depth) for depth in (relative, metres, nominal / s)]
        found = [
            score_pair(guess, gt, None, to_nominal=s, far=far, protocol=protocol)
            for guess in guesses
        ]
        a, b, c = found
        if a is not None and b is not None and c is not None:
            scores.append(replace(a, mae_m=b.mae_m, mae_m_at_d0=c.mae_m_at_d0))
    return mean_score(scores)


def _median_depth(
    truths: Iterable[tuple[np.ndarray, float]], far: float, *, by_inverse: bool = False
) -> float:
    """Median of scaled truth, each map counting the same; weighted by 1 / depth for abs_rel."""
    edges, weight = np.geomspace(_NEAREST, far * (1 + 1e-9), _BINS + 1), np.zeros(_BINS)
    for gt, scale in truths:
        g = scale * gt[gt > 0].astype(np.float64)
        g = g[g <= far * (1 + 1e-9)]
        if len(g):
            shares = (1 / g if by_inverse else np.ones_like(g)) / len(g)
            weight += np.histogram(g, edges, weights=shares)[0]
    middle = int(np.searchsorted(np.cumsum(weight), weight.sum() / 2))
    return float(np.sqrt(edges[middle] * edges[min(middle + 1, _BINS)]))


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
