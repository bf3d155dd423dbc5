# SPDX-License-Identifier: Apache-2.0
"""Compiled loop that carries a map of inverse depth into the next frame."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def carry(inverse, sigma, turn, shift, moved, moved_sigma):  # type: ignore[no-untyped-def]
    """Move every pixel with its depth; the nearest point wins a pixel.

    Args:
        inverse: inverse depth, 0 unknown. (H, W) float32
        sigma: relative standard deviation. (H, W) float32
        turn: K R K^-1 to the new frame. (3, 3)
        shift: K t. (3,)
        moved, moved_sigma: to write; 0 where nothing lands. (H, W) float32
    """
    height, width = inverse.shape
    moved[:] = 0
    for v in range(height):
        for u in range(width):
            q = inverse[v, u]
            if not q > 0:
                continue
            # (turn p + q shift) / q = Z' p': the third row over q is the new depth.
            x = turn[0, 0] * u + turn[0, 1] * v + turn[0, 2] + q * shift[0]
            y = turn[1, 0] * u + turn[1, 1] * v + turn[1, 2] + q * shift[1]
            z = turn[2, 0] * u + turn[2, 1] * v + turn[2, 2] + q * shift[2]
            if not z > 1e-6:
                continue
            column, row = np.int64(np.floor(x / z + 0.5)), np.int64(np.floor(y / z + 0.5))
            if column < 0 or row < 0 or column >= width or row >= height:
                continue
            new = np.float32(q / z)
            if new > moved[row, column]:
                moved[row, column] = new
                moved_sigma[row, column] = sigma[v, u]
