# SPDX-License-Identifier: Apache-2.0
"""A picture as networks of free size take it: RGB, filled up to a multiple of their stride."""

import cv2
import numpy as np

from depthkit.errors import DataError


def as_rgb(picture: np.ndarray) -> np.ndarray:
    """Return a grey (H, W) or RGB (H, W, 3) uint8 picture as RGB.

    Raises:
        DataError: not such a picture.
    """
    if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or 0 in picture.shape:
        raise DataError(
            f"expected a picture (H, W) or (H, W, 3) uint8, got {picture.dtype} {picture.shape}"
        )
    if picture.ndim == 2:
        return cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB)
    if picture.shape[2] != 3:
        raise DataError(f"a colour picture has 3 channels (RGB), got {picture.shape[2]}")
    return picture


def fill_up(rgb: np.ndarray, multiple: int) -> np.ndarray:
    """Repeat border pixels below and at the right until both sides are multiples."""
    bottom, right = (-side % multiple for side in rgb.shape[:2])
    if bottom == right == 0:
        return np.ascontiguousarray(rgb)
    return cv2.copyMakeBorder(rgb, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
