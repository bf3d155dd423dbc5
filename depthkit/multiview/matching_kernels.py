# SPDX-License-Identifier: Apache-2.0
"""Compiled loops of the matching costs: census codes, and their comparison along epipolar lines."""

import numpy as np
from numba import njit

RADIUS = 3
"""Half side of the census window, pixels."""
TOLERANCE = 1
"""Grey difference that counts as none."""
BITS = 48
"""Bits of a code: two for each of the 24 pixels of the checker pattern."""


@njit(cache=True, nogil=True)
def census(grey, stride):  # type: ignore[no-untyped-def]
    """Return ternary census codes: which of 24 neighbours are darker, and which brighter.

    Every second pixel of a 7x7 window counts. (H, W) uint8 -> (H, W) uint64

    Args:
        grey: (H, W) uint8
        stride: distance of neighbours, pixels: 2 on a picture enlarged twice.
    """
    height, width = grey.shape
    codes = np.zeros((height, width), np.uint64)
    one = np.uint64(1)
    for dy in range(-RADIUS, RADIUS + 1):
        for dx in range(-RADIUS, RADIUS + 1):
            if (dx + dy) % 2 != 0 or (dx == 0 and dy == 0):
                continue
            for v in range(height):
                w = min(max(v + dy * stride, 0), height - 1)
                for u in range(width):
                    x = min(max(u + dx * stride, 0), width - 1)
                    step = np.int64(grey[w, x]) - np.int64(grey[v, u])
                    brighter = np.uint64(step > TOLERANCE)
                    darker = np.uint64(step < -TOLERANCE)
                    codes[v, u] = (codes[v, u] << np.uint64(2)) | (brighter << one) | darker
    return codes


@njit(inline="always")
def _count_bits(x):  # type: ignore[no-untyped-def]
    """Count the ones of 64 bits: the compiler knows this form."""
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((x * np.uint64(0x0101010101010101)) >> np.uint64(56))


@njit(inline="always")
def _places(lines, first, u, v, rows, columns, index):  # type: ignore[no-untyped-def]
    """Write where a pixel lies in a source at each of its levels; -1 outside. index: (D,) int64"""
    depth, levels = len(index), lines.shape[1]
    if first < 0 or first + depth > levels:  # a window that reaches beyond the levels
        for k in range(depth):
            n = min(max(first + k, 0), levels - 1)
            index[k] = _place(lines[0, n], lines[1, n], lines[2, n], u, v, rows, columns)
            index[k] = index[k] if n == first + k else -1
        return
    # Slices of known length let the compiler use vectors.
    scale, across = lines[0, first : first + depth], lines[1, first : first + depth]
    down = lines[2, first : first + depth]
    for k in range(depth):
        index[k] = _place(scale[k], across[k], down[k], u, v, rows, columns)


@njit(inline="always")
def _place(scale, across, down, u, v, rows, columns):  # type: ignore[no-untyped-def]
    """Return the place on the grid of half pixels, -1 outside. Float32 adds exactly as written."""
    x = np.float32(2) * (scale * np.float32(u) + across) + np.float32(0.5)
    y = np.float32(2) * (scale * np.float32(v) + down) + np.float32(0.5)
    x = min(max(x, np.float32(-1)), np.float32(columns))
    y = min(max(y, np.float32(-1)), np.float32(rows))
    inside = (x >= 0) & (y >= 0) & (x < columns) & (y < rows)
    return np.int64(np.int32(y)) * columns + np.int64(np.int32(x)) if inside else -1


@njit(inline="always")
def _keep_best(each, kept):  # type: ignore[no-untyped-def]
    """Bring the lowest `kept` costs of every level to the first rows. each: (S, D)"""
    for done in range(kept):
        for s in range(len(each) - 1, done, -1):
            for k in range(each.shape[1]):
                low, high = min(each[s - 1, k], each[s, k]), max(each[s - 1, k], each[s, k])
                each[s - 1, k], each[s, k] = low, high


@njit(inline="always")
def _write_mean(each, kept, factor, cost):  # type: ignore[no-untyped-def]
    """Write the mean of the first rows, times a factor. each: (S, D); cost: (D,) uint8"""
    for k in range(len(cost)):
        total = np.float32(0)
        for s in range(kept):
            total += each[s, k]
        cost[k] = np.uint8(total * factor + np.float32(0.5))


@njit(cache=True, nogil=True)
def compare_codes(target, sources, lines, lowest, factor, unseen, kept, cost):  # type: ignore[no-untyped-def]
    """Write the cost of every level: mean Hamming distance of the best sources.

    Args:
        target: codes. (H, W) uint64
        sources: codes of each source on a grid of half pixels, row by row. (S, 2H, 2W) uint64
        lines: where a pixel lies in each source at each level: u' = scale u + shift. (S, 3, N)
            float32: scale, shift of u, shift of v
        lowest: first level of each pixel. (H, W) int16
        factor: cost of one bit.
        unseen: bits where a source does not show the pixel.
        kept: number of best sources that count.
        cost: to write. (H, W, D) uint8
    """
    height, width, depth = cost.shape
    count, rows, columns = sources.shape
    flat = sources.reshape(count, rows * columns)
    index = np.empty(depth, np.int64)
    each = np.empty((count, depth), np.float32)
    for v in range(height):
        for u in range(width):
            code = target[v, u]
            for s in range(count):
                _places(lines[s], np.int64(lowest[v, u]), u, v, rows, columns, index)
                for k in range(depth):
                    at = index[k]
                    bits = np.float32(_count_bits(code ^ flat[s, max(at, 0)]))
                    each[s, k] = bits if at >= 0 else unseen
            _keep_best(each, kept)
            _write_mean(each, kept, factor / kept, cost[v, u])


@njit(cache=True, nogil=True)
def compare_descriptors(target, sources, lines, lowest, factor, unseen, kept, cost):  # type: ignore[no-untyped-def]
    """Write the cost of every level from unit descriptors: factor (1 - cosine) / 2.

    Args:
        target: (H, W, C) int8, 127 times a unit vector.
        sources: on the same grid. (S, H, W, C) int8
        lines, lowest, kept, cost: as for `compare_codes`.
        factor: cost of opposite descriptors.
        unseen: (1 - cosine) / 2 where a source does not show the pixel.
    """
    height, width, depth = cost.shape
    count, channels = len(sources), target.shape[2]
    each = np.empty((count, depth), np.float32)
    scale = np.float32(1 / (127.0 * 127.0))
    for v in range(height):
        for u in range(width):
            for s in range(count):
                for k in range(depth):
                    n = lowest[v, u] + k
                    each[s, k] = unseen
                    if n < 0 or n >= lines.shape[2]:
                        continue
                    x = np.int64(np.floor(lines[s, 0, n] * u + lines[s, 1, n] + np.float32(0.5)))
                    y = np.int64(np.floor(lines[s, 0, n] * v + lines[s, 2, n] + np.float32(0.5)))
                    if x < 0 or y < 0 or x >= width or y >= height:
                        continue
                    product = np.int32(0)
                    for c in range(channels):
                        product += np.int32(target[v, u, c]) * np.int32(sources[s, y, x, c])
                    each[s, k] = (np.float32(1) - np.float32(product) * scale) / 2
            _keep_best(each, kept)
            _write_mean(each, kept, factor / kept, cost[v, u])
