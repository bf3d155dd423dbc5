# SPDX-License-Identifier: Apache-2.0
"""Pictures of depth and confidence, 8 bits: to look at, not to measure in."""

from pathlib import Path

import cv2
import numpy as np

from depthkit.data.image_io import encode, write_atomic

PERCENTILES = (2.0, 98.0)  # of inverse depth: what the colours span
FOLLOW = 0.1  # share of a new frame's percentiles in the colours' range: no flicker
CONFIDENCE_LEVELS = 255


class InverseDepthColours:
    """Paint near bright and far dark (magma of inverse depth), unknown black.

    The range spans the 2nd to the 98th percentile of the frame, followed slowly over a video, so
    that neither one odd pixel nor one odd frame changes the colours.
    """

    def __init__(self) -> None:
        self.range: np.ndarray | None = None

    def paint(self, depth: np.ndarray) -> np.ndarray:
        """Paint one frame. depth: any unit, (H, W). Returns RGB, (H, W, 3) uint8"""
        known = np.isfinite(depth) & (depth > 0)
        if not known.any():
            return np.zeros((*depth.shape, 3), np.uint8)
        inverse = 1 / np.where(known, depth, 1)
        now = np.percentile(inverse[known], PERCENTILES)
        old = now if self.range is None else self.range
        self.range = old + FOLLOW * (now - old)
        low, high = self.range
        level = (inverse - low) / max(high - low, 1e-6 * high)
        grey = np.rint(255 * np.clip(level, 0, 1)).astype(np.uint8)
        rgb = cv2.applyColorMap(grey, cv2.COLORMAP_MAGMA)[..., ::-1]
        return np.where(known[..., None], rgb, np.uint8(0))


def save_picture(path: Path, rgb: np.ndarray) -> None:
    """Write RGB as a picture, in the format of the path's suffix. (H, W, 3) uint8"""
    write_atomic(path, encode(rgb, path.suffix[1:]))


def save_confidence(path: Path, confidence: np.ndarray) -> None:
    """Write a map of confidence as a picture of 8 bits, CONFIDENCE_LEVELS being sure.

    Args:
        path: ends in .png.
        confidence: 0 to 1; NaN is 0. (H, W)
    """
    levels = np.rint(np.clip(np.nan_to_num(confidence), 0, 1) * CONFIDENCE_LEVELS)
    write_atomic(path, encode(levels.astype(np.uint8), "png"))
