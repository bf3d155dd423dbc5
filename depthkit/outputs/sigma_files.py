# SPDX-License-Identifier: Apache-2.0
"""Relative standard deviation of depth as 16-bit pictures, beside the depth maps."""

from pathlib import Path

import cv2
import numpy as np

from depthkit.data.image_io import encode, write_atomic
from depthkit.errors import DataError

SIGMA_SCALE = 10_000.0
"""PNG value / SIGMA_SCALE = relative standard deviation; 0 = unknown, 65535 = 6.5535 or more."""
_LARGEST = np.iinfo(np.uint16).max


def save_sigma(path: Path, sigma: np.ndarray) -> None:
    """Write a map.

    Args:
        path: ends in .png.
        sigma: relative standard deviation; not finite or not positive is unknown. (H, W)
    """
    known = np.isfinite(sigma) & (sigma > 0)
    levels = np.rint(np.where(known, sigma, 0).astype(np.float64) * SIGMA_SCALE)
    levels = np.where(known, np.clip(levels, 1, _LARGEST), 0)
    write_atomic(path, encode(levels.astype(np.uint16), "png"))


def read_sigma(path: Path) -> np.ndarray:
    """Read a map of `save_sigma`, 0 = unknown. (H, W) float32

    Raises:
        DataError: no 16-bit picture of one channel.
    """
    try:
        levels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.is_file() else None
    except (OSError, cv2.error):  # a folder that is closed to us, more pixels than OpenCV takes
        levels = None
    if levels is None or levels.ndim != 2 or levels.dtype != np.uint16:
        raise DataError(f"{path}: no map of sigma; expected a 16-bit PNG of one channel")
    return (np.asarray(levels) / SIGMA_SCALE).astype(np.float32)
