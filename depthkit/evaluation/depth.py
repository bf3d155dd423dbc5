# SPDX-License-Identifier: Apache-2.0
"""Depth scores as published on KITTI (Eigen 2014, Garg 2016, Zhou 2017): per image, then the mean.

Truth counts where min < gt < max; the prediction is then clipped to [min, max]. Median scaling and
affine alignment borrow from the truth, so the spread of the ratios of medians stands beside them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from depthkit.errors import DataError, ShapeError
from depthkit.evaluation.depth_alignment import DepthAlignment, align_depth
from depthkit.evaluation.depth_extent import Extent
from depthkit.evaluation.depth_protocol import (
    CROPS,
    DepthProtocol,
    clip_depth,
    garg_crop,
    scored_pixels,
)
from depthkit.evaluation.rank import rank_order
from depthkit.evaluation.resample import resize_depth

__all__ = [
    "CROPS",
    "METRICS",
    "DepthProtocol",
    "DepthReport",
    "DepthScore",
    "DepthTally",
    "clip_depth",
    "depth_metrics",
    "garg_crop",
    "score_depth",
    "scored_pixels",
]


@dataclass(frozen=True)
class DepthScore:
    """The errors of one image."""

    abs_rel: float
    """mean |p - g| / g"""
    sq_rel: float
    """mean (p - g)^2 / g, metres"""
    rmse: float
    """metres"""
    rmse_log: float
    a1: float
    """share of pixels with max(p / g, g / p) < 1.25"""
    a2: float
    """the same, 1.25^2"""
    a3: float
    """the same, 1.25^3"""
    ratio: float
    """median(truth) / median(prediction); applied only when aligned by the median"""
    pixels: int
    """scored"""
    pixel_coverage: float
    """share of the pixels with a truth that also have a prediction"""
    rank_correlation: float
    """Spearman's, of prediction and truth: 1 the same order, -1 near and far swapped, NaN none"""
    alignment: DepthAlignment = DepthAlignment()
    """what the prediction was aligned by"""
    behind: float = 0.0
    """share of the scored pixels whose aligned inverse depth is not above 0: scored as max depth"""


METRICS = tuple(field.name for field in fields(DepthScore))[:7]


@dataclass(frozen=True)
class DepthReport:
    """Mean over images, with the spread and coverage that the mean hides."""

    abs_rel: float
    sq_rel: float
    rmse: float
    rmse_log: float
    a1: float
    a2: float
    a3: float
    coverage: float
    """share of the frames with a truth that have a prediction"""
    frames: int
    """scored"""
    protocol: DepthProtocol
    frames_gt: int
    """frames with a truth"""
    pixel_coverage: float
    """mean over scored frames of the share of true pixels that were predicted"""
    ratio_median: float
    """median over images of median(truth) / median(prediction)"""
    ratio_spread: float
    """standard deviation of those ratios over their median: 0 = one scale for all images"""
    rank_correlation: float
    """median over images of the rank correlation of prediction and truth"""
    out_of_range: float
    """share of all true pixels that min and max depth leave out"""
    behind: float
    """mean over images of the share of pixels that the alignment put behind infinity"""
    flat: int
    """images to which no positive factor fits: aligned, they are one constant"""
    scores: tuple[DepthScore | None, ...]
    """one a frame with a truth, None where the prediction is missing"""
    indices: tuple[int, ...]
    """of those frames, counted from 0 in the pairs that were given"""
    sizes: tuple[tuple[int, int, int, int], ...] = ()
    """(h, w, H, W) of predictions and truth where they differ"""

    def as_json(self) -> dict[str, Any]:
        """Return the figures of the command line's contract, without the list of images."""
        figures = {key: getattr(self, key) for key in (*METRICS, "coverage", "frames")}
        rest = ["frames_gt", "pixel_coverage", "ratio_median", "ratio_spread", "rank_correlation"]
        rest += ["behind", "flat"] if self.protocol.align == "affine" else []
        return figures | vars(self.protocol) | {key: getattr(self, key) for key in rest}


def depth_metrics(
    pred: np.ndarray,
    gt: np.ndarray,
    valid: np.ndarray | None = None,
    *,
    align: str = "none",
    crop: str = "none",
    min_depth: float = 1e-3,
    max_depth: float = 80.0,
) -> DepthScore:
    """Score one depth map.

    Args:
        pred: metres, or any unit when aligned; 0, NaN and inf = not predicted. (H, W)
        gt: metres, 0 = unknown. (H, W)
        valid: pixels that are image at all. (H, W) bool
        align: a key of `DEPTH_ALIGNMENTS`.
        crop: a key of `CROPS`.
        min_depth: metres.
        max_depth: metres.

    Raises:
        ShapeError: the maps differ in size; see `resample.resize_depth`.
        DataError: an unknown choice, or no pixel has both a truth that counts and a prediction.
    """
    score = _score_image(pred, gt, valid, DepthProtocol(align, crop, min_depth, max_depth))
    if score is not None:
        return score
    raise DataError("no pixel has both a truth inside the depth range and a prediction")


def _score_image(
    pred: np.ndarray, gt: np.ndarray, valid: np.ndarray | None, protocol: DepthProtocol
) -> DepthScore | None:
    """Score one depth map; None when there is nothing to compare."""
    if pred.shape != gt.shape or gt.ndim != 2:
        raise ShapeError(f"depth score: expected two (H, W), got {pred.shape} and {gt.shape}")
    wanted = scored_pixels(gt, valid, protocol)
    mask = wanted & np.isfinite(pred) & (pred > 0)
    if not mask.any():
        return None
    g, p = gt[mask].astype(np.float64), pred[mask].astype(np.float64)
    alignment = align_depth(p, g, protocol.align)
    aligned = alignment.apply(p, protocol.max_depth)
    return DepthScore(
        **_errors(np.clip(aligned, protocol.min_depth, protocol.max_depth), g),
        ratio=float(np.median(g) / np.median(p)),
        pixels=len(g),
        pixel_coverage=float(mask.sum() / wanted.sum()),
        rank_correlation=rank_order(p, g),
        alignment=alignment,
        behind=alignment.behind(p),
    )


def _errors(p: np.ndarray, g: np.ndarray) -> dict[str, float]:
    """Return the seven metrics of scored pixels, prediction and truth in metres. (N,)"""
    difference, quotient = p - g, np.maximum(p / g, g / p)
    return {
        "abs_rel": float(np.mean(np.abs(difference) / g)),
        "sq_rel": float(np.mean(difference**2 / g)),
        "rmse": float(np.sqrt(np.mean(difference**2))),
        "rmse_log": float(np.sqrt(np.mean(np.log(p / g) ** 2))),
        **{f"a{power}": float(np.mean(quotient < 1.25**power)) for power in (1, 2, 3)},
    }


def score_depth(
    pairs: Iterable[tuple[np.ndarray | None, np.ndarray]],
    valid: np.ndarray | None = None,
    *,
    align: str = "none",
    crop: str = "none",
    min_depth: float = 1e-3,
    max_depth: float = 80.0,
) -> DepthReport:
    """Score a set of images: each one separately, then the mean over images.

    Args:
        pairs: (prediction or None where it is missing, truth), at any two sizes; a prediction of
            another size goes through `resize_depth`. (h, w) and (H, W)
        valid: pixels that are image at all, the same for all frames. (H, W) bool
        align, crop, min_depth, max_depth: as in `depth_metrics`.

    Raises:
        DataError: an unknown choice, or no frame has both a prediction and a truth.
    """
    tally = DepthTally(DepthProtocol(align, crop, min_depth, max_depth), valid)
    for pred, gt in pairs:
        tally.add(pred, gt)
    return tally.report()


class DepthTally:
    """Scores of images that come one after the other; `score_depth` without the loop."""

    def __init__(self, protocol: DepthProtocol, valid: np.ndarray | None = None) -> None:
        """Start without images; arguments as of `score_depth`."""
        self._protocol, self._valid = protocol, valid
        self._everything = replace(protocol, min_depth=1e-30, max_depth=np.inf)
        self._scores: dict[int, DepthScore | None] = {}
        self._sizes: list[tuple[int, int, int, int]] = []
        self._extent, self._index = Extent(), -1

    def add(self, pred: np.ndarray | None, gt: np.ndarray) -> None:
        """Score the next image: prediction or None where it is missing, and truth."""
        self._index += 1
        valid = self._valid
        counted = int(scored_pixels(gt, valid, self._protocol).sum())
        self._extent.add(gt[scored_pixels(gt, valid, self._everything)], counted)
        if counted == 0:
            return  # a frame without truth says nothing about the prediction
        if pred is not None and pred.shape != gt.shape:
            self._sizes.append((pred.shape[0], pred.shape[1], gt.shape[0], gt.shape[1]))
        fitted = None if pred is None else resize_depth(pred, gt.shape)
        score = None if fitted is None else _score_image(fitted, gt, valid, self._protocol)
        self._scores[self._index] = score

    @property
    def found(self) -> bool:
        """Whether any image could be scored."""
        return any(score is not None for score in self._scores.values())

    def report(self) -> DepthReport:
        """Return the mean over the images.

        Raises:
            DataError: no image has both a prediction and a truth.
        """
        sizes = tuple(dict.fromkeys(self._sizes))
        return _summarise(self._scores, self._protocol, self._extent, sizes)


def _summarise(
    scores: dict[int, DepthScore | None],
    protocol: DepthProtocol,
    extent: Extent,
    sizes: tuple[tuple[int, int, int, int], ...],
) -> DepthReport:
    """Take the mean over the frames that could be scored."""
    found = [score for score in scores.values() if score is not None]
    if not found:
        raise DataError(extent.why_nothing(protocol.min_depth, protocol.max_depth))
    ratios = np.array([score.ratio for score in found])
    means = {name: float(np.mean([getattr(score, name) for score in found])) for name in METRICS}
    return DepthReport(
        **means,
        coverage=len(found) / len(scores),
        frames=len(found),
        protocol=protocol,
        frames_gt=len(scores),
        pixel_coverage=float(np.mean([score.pixel_coverage for score in found])),
        ratio_median=float(np.median(ratios)),
        ratio_spread=float(np.std(ratios / np.median(ratios))),
        rank_correlation=_median([score.rank_correlation for score in found]),
        out_of_range=extent.out_of_range,
        behind=float(np.mean([score.behind for score in found])),
        flat=sum(score.alignment.a == 0 for score in found),
        scores=tuple(scores.values()),
        indices=tuple(scores),
        sizes=sizes,
    )


def _median(values: list[float]) -> float:
    """Return the median of the numbers that are not NaN; NaN if all are."""
    finite = [value for value in values if np.isfinite(value)]
    return float(np.median(finite)) if finite else float("nan")
