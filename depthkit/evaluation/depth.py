# SPDX-License-Identifier: Apache-2.0
"""Depth scores as published on KITTI (Eigen 2014, Garg 2016, Zhou 2017): per image, then the mean.

Truth counts where min < gt < max; the prediction is then clipped to [min, max]. Median scaling
multiplies each image by the ratio of medians over the scored pixels, which borrows the scale from
the truth, so the spread of those ratios is reported with it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np

from depthkit.errors import DataError, ShapeError

DEPTH_ALIGNMENTS = {
    "none": "predictions taken as they are, in metres",
    "median": "each prediction scaled by median(truth) / median(prediction) of its scored pixels",
}

CROPS = {
    "none": "whole image",
    "garg": "Garg crop (rows 0.40810811 to 0.99189189, columns 0.03594771 to 0.96405229)",
}

_GARG = (0.40810811, 0.99189189, 0.03594771, 0.96405229)


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


METRICS = tuple(field.name for field in fields(DepthScore))[:7]


@dataclass(frozen=True)
class DepthProtocol:
    """What is compared: without it the figures mean nothing."""

    align: str = "none"
    """a key of `DEPTH_ALIGNMENTS`"""
    crop: str = "none"
    """a key of `CROPS`"""
    min_depth: float = 1e-3
    """metres; nearer truth is not scored, nearer predictions are clipped"""
    max_depth: float = 80.0
    """metres; further truth is not scored, further predictions are clipped"""

    def __post_init__(self) -> None:
        for name, value, known in (
            ("align", self.align, DEPTH_ALIGNMENTS),
            ("crop", self.crop, CROPS),
        ):
            if value not in known:
                raise DataError(f"{name} must be one of {', '.join(known)}, got {value!r}")
        if not 0 < self.min_depth < self.max_depth:
            raise DataError(
                f"expected 0 < min depth < max depth, got {self.min_depth:g} and {self.max_depth:g}"
            )


DEFAULT_PROTOCOL = DepthProtocol()


@dataclass(frozen=True)
class DepthReport:
    """The mean over images, and what the mean would hide."""

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
    scores: tuple[DepthScore | None, ...]
    """one a frame with a truth, None where the prediction is missing"""

    def as_json(self) -> dict[str, object]:
        """Return the figures of the command line's contract, without the list of images."""
        figures = {key: getattr(self, key) for key in (*METRICS, "coverage", "frames")}
        rest = ("frames_gt", "pixel_coverage", "ratio_median", "ratio_spread")
        return figures | vars(self.protocol) | {key: getattr(self, key) for key in rest}


def garg_crop(size: tuple[int, int]) -> tuple[slice, slice]:
    """Return the rows and columns of the Garg crop, fractions of (H, W) cut to integers."""
    height, width = size
    top, bottom, left, right = _GARG
    return (
        slice(int(top * height), int(bottom * height)),
        slice(int(left * width), int(right * width)),
    )


def scored_pixels(
    gt: np.ndarray,
    valid: np.ndarray | None = None,
    *,
    protocol: DepthProtocol = DEFAULT_PROTOCOL,
) -> np.ndarray:
    """Return the pixels whose truth counts: inside the crop, valid, min < gt < max. (H, W) bool"""
    with np.errstate(invalid="ignore"):
        mask = (gt > protocol.min_depth) & (gt < protocol.max_depth)  # NaN and inf fail
    if valid is not None:
        mask &= valid
    if protocol.crop == "garg":
        inside = np.zeros_like(mask)
        inside[garg_crop((mask.shape[0], mask.shape[1]))] = True
        mask &= inside
    return mask


def depth_metrics(
    pred: np.ndarray,
    gt: np.ndarray,
    valid: np.ndarray | None = None,
    *,
    protocol: DepthProtocol = DEFAULT_PROTOCOL,
) -> DepthScore | None:
    """Score one depth map; None when no pixel has both a truth that counts and a prediction.

    Args:
        pred: metres, or any unit when aligned by the median; 0, NaN and inf = not predicted. (H, W)
        gt: metres, 0 = unknown. (H, W)
        valid: pixels that are image at all. (H, W) bool
        protocol: alignment, crop and caps.

    Raises:
        ShapeError: the maps differ in size; see `resize_depth`.
    """
    if pred.shape != gt.shape or gt.ndim != 2:
        raise ShapeError(f"depth_metrics: expected two (H, W), got {pred.shape} and {gt.shape}")
    wanted = scored_pixels(gt, valid, protocol=protocol)
    mask = wanted & np.isfinite(pred) & (pred > 0)
    if not mask.any():
        return None
    g, p = gt[mask].astype(np.float64), pred[mask].astype(np.float64)
    ratio = float(np.median(g) / np.median(p))
    scaled = p * ratio if protocol.align == "median" else p
    return DepthScore(
        **_errors(np.clip(scaled, protocol.min_depth, protocol.max_depth), g),
        ratio=ratio,
        pixels=len(g),
        pixel_coverage=float(mask.sum() / wanted.sum()),
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
    protocol: DepthProtocol = DEFAULT_PROTOCOL,
) -> DepthReport:
    """Score a set of images: each on its own, then the mean over images.

    Args:
        pairs: (prediction or None where it is missing, truth), at any two sizes; a prediction of
            another size goes through `resize_depth`. (h, w) and (H, W)
        valid: pixels that are image at all, the same for all frames. (H, W) bool
        protocol: alignment, crop and caps.

    Raises:
        DataError: no frame has both a prediction and a truth.
    """
    scores: list[DepthScore | None] = []
    for pred, gt in pairs:
        if not scored_pixels(gt, valid, protocol=protocol).any():
            continue  # a frame without truth says nothing about the prediction
        fitted = None if pred is None else resize_depth(pred, gt.shape)
        score = None if fitted is None else depth_metrics(fitted, gt, valid, protocol=protocol)
        scores.append(score)
    return _summarise(scores, protocol)


def _summarise(scores: list[DepthScore | None], protocol: DepthProtocol) -> DepthReport:
    """Take the mean over the frames that could be scored."""
    found = [score for score in scores if score is not None]
    if not found:
        raise DataError("no frame has both a prediction and a truth inside the depth range")
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
        scores=tuple(scores),
    )


def resize_depth(depth: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Resample a depth map bilinearly by the one pixel convention, c' = s (c + 0.5) - 0.5.

    Depth itself is interpolated (as SfMLearner does, not inverse depth), without a low-pass filter.
    A pixel that would mix in an unknown one (0, NaN, inf) is unknown.

    Args:
        depth: any unit. (h, w)
        size: (H, W).

    Returns:
        The map at the new size, 0 = unknown; the input itself when the size fits. (H, W)
    """
    if depth.shape == tuple(size):
        return depth
    known = np.isfinite(depth) & (depth > 0)
    filled = np.where(known, depth, 0.0)
    holes = _bilinear((~known).astype(np.float64), size)
    return np.where(holes > 0, 0.0, _bilinear(filled, size))


def _bilinear(values: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Resample along rows, then along columns; borders repeat. (h, w) -> (H, W)"""
    for axis, wanted in enumerate(size):
        length = values.shape[axis]
        centre = np.clip((np.arange(wanted) + 0.5) * length / wanted - 0.5, 0, length - 1)
        low = np.floor(centre).astype(int)
        weight = (centre - low)[:, None] if axis == 0 else centre - low
        high = np.minimum(low + 1, length - 1)
        values = (1 - weight) * values.take(low, axis) + weight * values.take(high, axis)
    return values


def constant_baseline(
    truths: Iterable[np.ndarray], *, protocol: DepthProtocol = DEFAULT_PROTOCOL
) -> float:
    """Return the constant depth with the least mean abs_rel over the truth it is given, metres.

    Give it the training frames for a baseline without foresight, the scored ones for the best that
    any constant could do. It is the median weighted by 1 / gt, each image counting the same.

    Args:
        truths: metres, 0 = unknown. (H, W) each
        protocol: crop and caps.

    Raises:
        DataError: no pixel has a truth.
    """
    values, weights = [], []
    for gt in truths:
        g = gt[scored_pixels(gt, protocol=protocol)].astype(np.float64)
        if len(g):
            values.append(g)
            weights.append(1.0 / (g * len(g)))
    if not values:
        raise DataError("no pixel has a truth inside the depth range")
    value, weight = np.concatenate(values), np.concatenate(weights)
    order = np.argsort(value)
    share = np.cumsum(weight[order]) / weight.sum()
    return float(value[order][np.searchsorted(share, 0.5)])
