# SPDX-License-Identifier: Apache-2.0
"""Compiled passes of the edge-aware smoother: one tridiagonal system a line."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def solve_lines(values, links, amount):  # type: ignore[no-untyped-def]
    """Solve (1 + amount L) x = values along the last axis, in place, by Thomas' algorithm.

    Args:
        values: right sides of C quantities, replaced by the solution. (C, H, W) float32
        links: weight between a pixel and the next one of its line. (H, W) float32
        amount: strength.
    """
    count, height, width = values.shape
    upper = np.empty(width, np.float32)
    for v in range(height):
        # 1. Forward elimination.
        before = np.float32(0)
        for u in range(width):
            left = amount * links[v, u - 1] if u > 0 else np.float32(0)
            right = amount * links[v, u] if u < width - 1 else np.float32(0)
            pivot = np.float32(1) + left + right - left * before
            upper[u] = right / pivot
            for c in range(count):
                carried = left * values[c, v, u - 1] if u > 0 else np.float32(0)
                values[c, v, u] = (values[c, v, u] + carried) / pivot
            before = upper[u]
        # 2. Back substitution.
        for u in range(width - 2, -1, -1):
            for c in range(count):
                values[c, v, u] += upper[u] * values[c, v, u + 1]
