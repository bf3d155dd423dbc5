# SPDX-License-Identifier: Apache-2.0
"""Compiled loops of the hybrid matcher."""

import numpy as np
from numba import njit


@njit(cache=True)
def average_windows(cost, lowest, out):  # type: ignore[no-untyped-def]
    """Average costs over 3x3 pixels at the same absolute level, as far as the windows hold it.

    Args:
        cost: costs of each pixel's own levels. (H, W, D) uint8
        lowest: first level of each pixel. (H, W) int16
        out: to write. (H, W, D) uint8
    """
    height, width, depth = cost.shape
    total = np.empty(depth, np.int32)
    count = np.empty(depth, np.int32)
    for v in range(height):
        for u in range(width):
            total[:] = 0
            count[:] = 0
            for y in range(max(v - 1, 0), min(v + 2, height)):
                for x in range(max(u - 1, 0), min(u + 2, width)):
                    # Level k here is level k + ahead there.
                    ahead = np.int64(lowest[v, u]) - np.int64(lowest[y, x])
                    first, end = max(0, -ahead), min(depth, depth - ahead)
                    for k in range(first, end):  # type: ignore[call-overload]
                        total[k] += cost[y, x, k + ahead]
                        count[k] += 1
            for k in range(depth):
                out[v, u, k] = (2 * total[k] + count[k]) // (2 * count[k])


@njit(cache=True)
def fill_rows(disparity, measured, out):  # type: ignore[no-untyped-def]
    """Give pixels without disparity the smaller one of their neighbours in the row: what is hidden
    lies behind. Rows without any stay as they are.

    Args:
        disparity: pixels. (H, W) float32
        measured: pixels that have one. (H, W) bool
        out: to write. (H, W) float32
    """
    height, width = disparity.shape
    for v in range(height):
        last = np.float32(np.nan)
        for u in range(width):
            if measured[v, u]:
                last = disparity[v, u]
            out[v, u] = last
        last = np.float32(np.nan)
        for u in range(width - 1, -1, -1):
            if measured[v, u]:
                last = disparity[v, u]
            if np.isnan(out[v, u]) or last < out[v, u]:
                out[v, u] = last
