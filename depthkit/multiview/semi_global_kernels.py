# SPDX-License-Identifier: Apache-2.0
"""Compiled loops of semi-global matching. Costs are whole numbers kept as float32, which holds them
exactly and fills vector registers; so all processors give the same numbers."""

import numpy as np
from numba import njit

FAR = np.float32(1e6)
"""Cost of a level that a neighbour does not have."""
_EXACT = {"nnan", "nsz"}  # lets minima be vectorised; there are no NaN here


@njit(cache=True, nogil=True, fastmath=_EXACT)
def add_paths(cost, guide, lowest, p1, p2, contrast, diagonal, total):  # type: ignore[no-untyped-def]
    """Add the aggregated costs of the paths that come from the left and from above.

    Args:
        cost: matching cost. (H, W, D) uint8
        guide: grey. (H, W) uint8
        lowest: level of each pixel's first cost. (H, W) int16
        p1, p2: penalties of a step by one level and by more.
        contrast: grey step that halves p2.
        diagonal: whether the two diagonal paths are followed too.
        total: sum to add to; it is edited. (H, W, D) float32
    """
    height, width, depth = cost.shape
    pad = depth + 2
    # Lines of path costs with FAR around them: a neighbour's level that does not exist.
    above = np.full((3, width, depth + 2 * pad), FAR, np.float32)
    now = np.full((3, width, depth + 2 * pad), FAR, np.float32)
    above_least, now_least = np.zeros((3, width), np.float32), np.zeros((3, width), np.float32)
    beside = np.full((2, depth + 2 * pad), FAR, np.float32)
    line = np.zeros(depth, np.float32)
    from_side = (0, -1, 1)
    kinds = 3 if diagonal else 1
    for v in range(height):
        side_least, flip = np.float32(0), 0
        for u in range(width):
            here = np.int64(lowest[v, u])
            for k in range(depth):
                line[k] = np.float32(cost[v, u, k])
            # 1. From the left.
            if u == 0:
                side_least = _begin(line, beside[flip], pad, total[v, u])
            else:
                step = abs(np.int64(guide[v, u]) - np.int64(guide[v, u - 1]))
                shift = here - np.int64(lowest[v, u - 1])
                penalty = _penalty(p1, p2, contrast, step)
                side_least = _follow(
                    line,
                    beside[flip],
                    side_least,
                    shift,
                    p1,
                    penalty,
                    pad,
                    beside[1 - flip],
                    total[v, u],
                )
            flip = 1 - flip if u > 0 else flip
            # 2. From above, and along the diagonals.
            for kind in range(kinds):
                w = u + from_side[kind]
                if v == 0 or w < 0 or w >= width:
                    now_least[kind, u] = _begin(line, now[kind, u], pad, total[v, u])
                    continue
                step = abs(np.int64(guide[v, u]) - np.int64(guide[v - 1, w]))
                shift = here - np.int64(lowest[v - 1, w])
                penalty = _penalty(p1, p2, contrast, step)
                now_least[kind, u] = _follow(
                    line,
                    above[kind, w],
                    above_least[kind, w],
                    shift,
                    p1,
                    penalty,
                    pad,
                    now[kind, u],
                    total[v, u],
                )
        above, now = now, above
        above_least, now_least = now_least, above_least


@njit(inline="always")
def _penalty(p1, p2, contrast, step):  # type: ignore[no-untyped-def]
    return max(np.float32(p1), np.float32(np.floor(p2 / (1 + step / contrast))))


@njit(cache=True, nogil=True, fastmath=_EXACT)
def _begin(line, out, pad, total):  # type: ignore[no-untyped-def]
    """Start a path: its cost is the matching cost. Returns the least one."""
    least = FAR
    for k in range(len(line)):
        out[pad + k] = line[k]
        total[k] += line[k]
        least = min(least, line[k])
    return least


@njit(cache=True, nogil=True, fastmath=_EXACT)
def _follow(line, before, before_least, shift, p1, p2, pad, out, total):  # type: ignore[no-untyped-def]
    """Continue a path by one pixel [Hirschmueller 2008, eq. 13]. Returns the least cost."""
    depth = len(line)
    shift = min(max(shift, -depth - 1), depth + 1)
    jump = before_least + np.float32(p2)
    one = np.float32(p1)
    first = pad + shift
    # Slices of known length and two short loops: so the compiler can use vectors.
    same, to = before[first : first + depth], out[pad : pad + depth]
    lower, higher = before[first - 1 : first - 1 + depth], before[first + 1 : first + 1 + depth]
    for k in range(depth):
        best = min(min(same[k], jump), min(lower[k], higher[k]) + one)
        to[k] = line[k] + best - before_least
    least = FAR
    for k in range(depth):
        total[k] += to[k]
        least = min(least, to[k])
    return least


@njit(cache=True, nogil=True, fastmath=_EXACT)
def pick_levels(total, lowest):  # type: ignore[no-untyped-def]
    """Return the best level with a parabola through its neighbours, its cost, the best cost at
    least two levels away, and the curvature there. (H, W) float32 each"""
    height, width, depth = total.shape
    level = np.empty((height, width), np.float32)
    best, second = np.empty_like(level), np.empty_like(level)
    bend = np.zeros_like(level)
    for v in range(height):
        for u in range(width):
            line = total[v, u]
            at, least = 0, line[0]
            for k in range(1, depth):
                if line[k] < least:
                    at, least = k, line[k]
            other = FAR * 16
            for k in range(depth):
                if (k < at - 1 or k > at + 1) and line[k] < other:
                    other = line[k]
            part = np.float32(0)
            if 0 < at < depth - 1:
                bend[v, u] = line[at - 1] + line[at + 1] - 2 * least
                if bend[v, u] > 0:
                    part = (line[at - 1] - line[at + 1]) / (2 * bend[v, u])
            level[v, u] = np.float32(lowest[v, u] + at) + part
            best[v, u], second[v, u] = least, other
    return level, best, second, bend
