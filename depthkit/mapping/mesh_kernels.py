# SPDX-License-Identifier: Apache-2.0
"""Compiled loops of surface nets; imported inside functions only, as numba is slow to load.

Cell (i, j, k) has the eight voxels from (i, j, k) to (i + 1, j + 1, k + 1); those past the end of a
block are its neighbours'. Corner c is (c & 1, c >> 1 & 1, c >> 2) from the cell's first voxel.
"""

import numpy as np
from numba import njit

from depthkit.mapping.tsdf_kernels import row_of

GREY = 176
"""Colour of a surface that no picture shows."""


@njit(cache=True, nogil=True)
def _find_neighbours(keys, rows, n, sign, found):  # type: ignore[no-untyped-def]
    """Write the rows of the eight blocks at 0 or `sign` along each axis of block n; -1: none."""
    key, mask, offset = keys[n], (1 << 21) - 1, 1 << 20
    x, y, z = (key >> 42) - offset, ((key >> 21) & mask) - offset, (key & mask) - offset
    for c in range(8):
        found[c] = row_of(
            keys, rows, x + sign * (c & 1), y + sign * ((c >> 1) & 1), z + sign * (c >> 2)
        )


@njit(cache=True, nogil=True)
def number_cells(keys, rows, distance, weight, least_weight, ids):  # type: ignore[no-untyped-def]
    """Number the cells that the surface runs through and whose voxels are all known.

    Args:
        keys, rows: packed indices of the blocks and their rows. (N,)
        distance, weight: voxels. (M, 16, 16, 16)
        least_weight: smallest weight of a known voxel.
        ids: number of each cell's vertex; edited. (N, 16, 16, 16) int32, -1

    Returns:
        The number of vertices.
    """
    count = 0
    near = np.empty(8, np.int64)
    for n in range(len(keys)):
        _find_neighbours(keys, rows, n, 1, near)
        for i in range(16):
            for j in range(16):
                for k in range(16):
                    negative, known = 0, 0
                    for c in range(8):
                        a, b, d = i + (c & 1), j + ((c >> 1) & 1), k + (c >> 2)
                        row = near[(a >> 4) | (b >> 4) << 1 | (d >> 4) << 2]
                        if row < 0 or not weight[row, a & 15, b & 15, d & 15] >= least_weight:
                            break
                        if weight[row, a & 15, b & 15, d & 15] <= 0.0:
                            break
                        known += 1
                        negative += distance[row, a & 15, b & 15, d & 15] < 0.0
                    if known == 8 and 0 < negative < 8:
                        ids[n, i, j, k] = count
                        count += 1
    return count


@njit(cache=True, nogil=True)
def place_vertices(keys, rows, distance, colour, voxel, ids, positions, colours):  # type: ignore[no-untyped-def]
    """Put each vertex at the mean of the crossings of the cell's twelve edges.

    Its colour is the mean of the voxels there that have one, grey without any.

    Args:
        keys, rows: packed indices of the blocks and their rows. (N,)
        distance, colour: voxels. (M, 16, 16, 16) and (M, 16, 16, 16, 3)
        voxel: distance of neighbouring voxels.
        ids: number of each cell's vertex, -1 for none. (N, 16, 16, 16)
        positions, colours: edited. (V, 3) float32 and (V, 3) uint8
    """
    near = np.empty(8, np.int64)
    corner = np.empty(8)
    shade = np.empty((8, 3))
    mask, offset = (1 << 21) - 1, 1 << 20
    for n in range(len(keys)):
        _find_neighbours(keys, rows, n, 1, near)
        first = np.array(
            [(keys[n] >> 42) - offset, ((keys[n] >> 21) & mask) - offset, (keys[n] & mask) - offset]
        )
        for i in range(16):
            for j in range(16):
                for k in range(16):
                    vertex = ids[n, i, j, k]
                    if vertex < 0:
                        continue
                    for c in range(8):
                        a, b, d = i + (c & 1), j + ((c >> 1) & 1), k + (c >> 2)
                        row = near[(a >> 4) | (b >> 4) << 1 | (d >> 4) << 2]
                        corner[c] = distance[row, a & 15, b & 15, d & 15]
                        for channel in range(3):
                            shade[c, channel] = colour[row, a & 15, b & 15, d & 15, channel]
                    at, mean, crossings, coloured = np.zeros(3), np.zeros(3), 0, 0.0
                    for c in range(8):
                        for axis in range(3):
                            e = c | (1 << axis)
                            if e == c or (corner[c] < 0.0) == (corner[e] < 0.0):
                                continue
                            part = corner[c] / (corner[c] - corner[e])
                            crossings += 1
                            for other in range(3):
                                at[other] += part if other == axis else (c >> other) & 1
                            for end, share in ((c, 1.0 - part), (e, part)):
                                if shade[end].sum() > 0.0:
                                    mean += share * shade[end]
                                    coloured += share
                    if coloured > 0.0:
                        mean /= coloured
                    else:
                        mean[:] = GREY
                    cell = np.array([i, j, k])
                    for axis in range(3):
                        place = first[axis] * 16 + cell[axis] + at[axis] / crossings
                        positions[vertex, axis] = voxel * place
                        colours[vertex, axis] = int(mean[axis] + 0.5)


@njit(cache=True, nogil=True)
def write_faces(keys, rows, distance, ids, positions, faces):  # type: ignore[no-untyped-def]
    """Write two triangles for each crossed edge of voxels with four vertices around it.

    They run anticlockwise as seen from the free side. The quadrangle is cut along its shorter
    diagonal.

    Args:
        keys, rows: packed indices of the blocks and their rows. (N,)
        distance: voxels. (M, 16, 16, 16)
        ids: number of each cell's vertex, -1 for none. (N, 16, 16, 16)
        positions: vertices. (V, 3)
        faces: edited; empty to count only. (F, 3) int32

    Returns:
        The number of triangles.
    """
    count = 0
    order = np.arange(len(keys))
    before, after = np.empty(8, np.int64), np.empty(8, np.int64)
    around = np.empty(4, np.int64)
    for n in range(len(keys)):
        _find_neighbours(keys, order, n, -1, before)
        _find_neighbours(keys, rows, n, 1, after)
        for i in range(16):
            for j in range(16):
                for k in range(16):
                    if ids[n, i, j, k] < 0:  # a cell of every quadrangle around its own edges
                        continue
                    here = distance[rows[n], i, j, k] < 0.0
                    for axis in range(3):
                        a, b, d = i + (axis == 0), j + (axis == 1), k + (axis == 2)
                        row = after[(a >> 4) | (b >> 4) << 1 | (d >> 4) << 2]
                        there = distance[row, a & 15, b & 15, d & 15] < 0.0
                        if here == there:
                            continue
                        # The two other axes, so that axis, second, third are right-handed.
                        second, third = (axis + 1) % 3, (axis + 2) % 3
                        whole = True
                        for q in range(4):  # (-1, -1), (0, -1), (0, 0), (-1, 0)
                            back_second, back_third = q == 0 or q == 3, q < 2
                            a = i - (second == 0 and back_second) - (third == 0 and back_third)
                            b = j - (second == 1 and back_second) - (third == 1 and back_third)
                            d = k - (second == 2 and back_second) - (third == 2 and back_third)
                            block = before[(a < 0) | (b < 0) << 1 | (d < 0) << 2]
                            around[q] = -1 if block < 0 else ids[block, a & 15, b & 15, d & 15]
                            whole = whole and around[q] >= 0
                        if not whole:
                            continue
                        if len(faces) > 0:
                            if not here:  # solid on the far side: seen from this one
                                around[1], around[3] = around[3], around[1]
                            _cut(positions, around, faces, count)
                        count += 2
    return count


@njit(cache=True, nogil=True)
def _cut(positions, around, faces, count):  # type: ignore[no-untyped-def]
    """Write a quadrangle as two triangles, cut along its shorter diagonal."""
    straight, across = 0.0, 0.0
    for axis in range(3):
        straight += (positions[around[0], axis] - positions[around[2], axis]) ** 2
        across += (positions[around[1], axis] - positions[around[3], axis]) ** 2
    start = 0 if straight <= across else 1
    for corner in range(3):
        faces[count, corner] = around[(start + corner) % 4]
        faces[count + 1, corner] = around[(start + (corner + 2)) % 4 if corner < 2 else start]


@njit(cache=True, nogil=True)
def component_of_vertices(faces, vertices):  # type: ignore[no-untyped-def]
    """Return a number for each vertex that those joined by faces share. (V,) int64"""
    parent = np.arange(vertices)
    for m in range(len(faces)):
        for corner in range(1, 3):
            a, b = faces[m, 0], faces[m, corner]
            while parent[a] != a:
                parent[a] = parent[parent[a]]
                a = parent[a]
            while parent[b] != b:
                parent[b] = parent[parent[b]]
                b = parent[b]
            parent[max(a, b)] = min(a, b)
    for v in range(vertices):  # a parent has a smaller number and is done already
        parent[v] = parent[parent[v]]
    return parent
