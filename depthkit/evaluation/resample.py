# SPDX-License-Identifier: Apache-2.0
"""Bring a predicted depth map to the size of its truth, by the one pixel convention."""

import numpy as np

from depthkit.errors import DataError


def resize_depth(depth: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Resample a depth map bilinearly by the one pixel convention, c' = s (c + 0.5) - 0.5.

    Depth itself is interpolated (as SfMLearner does, not inverse depth), without a low-pass filter.
    A pixel that would mix in an unknown one (0, NaN, inf) is unknown.

    Args:
        depth: any unit. (h, w)
        size: (H, W).

    Returns:
        The map at the new size, 0 = unknown; the input itself when the size fits. (H, W)

    Raises:
        DataError: rows and columns are swapped.
    """
    if depth.shape == tuple(size):
        return depth
    if depth.shape == tuple(size)[::-1]:
        (h, w), (H, W) = depth.shape, size
        raise DataError(
            f"a predicted map of {h}x{w} (H x W) for a truth of {H}x{W}: rows and columns are "
            "swapped; save maps as (H, W)"
        )
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
