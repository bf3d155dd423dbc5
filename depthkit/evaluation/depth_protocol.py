# SPDX-License-Identifier: Apache-2.0
"""Which pixels of a depth map are scored, after which alignment: crop, range, clipping."""

from dataclasses import dataclass

import numpy as np

from depthkit.errors import DataError
from depthkit.evaluation.depth_alignment import DEPTH_ALIGNMENTS

CROPS = {
    "none": "whole image",
    "garg": "Garg crop (rows 0.40810811 to 0.99189189, columns 0.03594771 to 0.96405229)",
}

_GARG = (0.40810811, 0.99189189, 0.03594771, 0.96405229)


@dataclass(frozen=True)
class DepthProtocol:
    """Evaluation protocol; figures of different protocols are not comparable."""

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


def garg_crop(size: tuple[int, int]) -> tuple[slice, slice]:
    """Return the rows and columns of the Garg crop, fractions of (H, W) cut to integers."""
    height, width = size
    top, bottom, left, right = _GARG
    return (
        slice(int(top * height), int(bottom * height)),
        slice(int(left * width), int(right * width)),
    )


def scored_pixels(gt: np.ndarray, valid: np.ndarray | None, protocol: DepthProtocol) -> np.ndarray:
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


def clip_depth(pred: np.ndarray, protocol: DepthProtocol) -> np.ndarray:
    """Clip predicted depth to the range as the score does; unknown pixels stay unknown. (H, W)"""
    known = np.isfinite(pred) & (pred > 0)
    return np.where(known, np.clip(pred, protocol.min_depth, protocol.max_depth), 0.0)
