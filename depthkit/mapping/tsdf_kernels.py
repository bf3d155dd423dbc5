# SPDX-License-Identifier: Apache-2.0
"""Compiled loops of the signed distance map; imported inside functions only, as numba is slow to
load."""

import numpy as np
from numba import njit

BEST = 4.0
"""Largest weight of one observation: a standard deviation of half a voxel, and below."""
WIDEST = 3.0
"""Most times that the truncation is widened for unsure depth."""


@njit(cache=True, nogil=True)
def touched_blocks(depth, sigma, ray, T_map_cam, stride, voxel, truncation, most):  # type: ignore[no-untyped-def]
    """List the blocks that the truncation bands of the sampled pixels run through.

    Args:
        depth: NaN or <= 0 unknown. (H, W) float32
        sigma: relative standard deviation. (H, W) float32
        ray: fx, fy, cx, cy. (4,)
        T_map_cam: pose of the camera in the map. (4, 4)
        stride: pixels from one sample to the next.
        voxel, truncation: lengths.
        most: largest depth of a surface.

    Returns:
        Block indices, with repetitions. (N, 3) int64
    """
    height, width = depth.shape
    found = np.empty((4096, 3), np.int64)
    count = 0
    side = 16.0 * voxel
    point = np.empty(3)
    for v in range(stride // 2, height, stride):
        for u in range(stride // 2, width, stride):
            z = depth[v, u]
            if not (0.0 < z <= most):
                continue
            x, y = (u - ray[2]) / ray[0], (v - ray[3]) / ray[1]
            band = min(max(truncation, 2.0 * sigma[v, u] * z), WIDEST * truncation)
            steps = int(np.ceil(2.0 * band / (4.0 * voxel)))
            last_x, last_y, last_z = 1 << 40, 0, 0
            for step in range(steps + 1):
                at = z - band + 2.0 * band * step / steps
                if at <= 0.0:
                    continue
                for axis in range(3):
                    row = T_map_cam[axis]
                    point[axis] = np.floor(
                        (at * (row[0] * x + row[1] * y + row[2]) + row[3]) / side
                    )
                bx, by, bz = int(point[0]), int(point[1]), int(point[2])
                if bx == last_x and by == last_y and bz == last_z:
                    continue
                last_x, last_y, last_z = bx, by, bz
                if count == len(found):
                    grown = np.empty((2 * count, 3), np.int64)
                    grown[:count] = found
                    found = grown
                found[count, 0], found[count, 1], found[count, 2] = bx, by, bz
                count += 1
    return found[:count]


@njit(cache=True, nogil=True, inline="always")
def _look(inverse, u, v, near):  # type: ignore[no-untyped-def]
    """Return inverse depth at a position, 0 where unknown.

    Inverse depth of a plane is linear in the picture, so the bilinear mean is exact there; where
    the four pixels differ by more than `near` in depth they are two surfaces: the nearest counts.
    """
    height, width = inverse.shape
    u0, v0 = int(np.floor(u)), int(np.floor(v))
    if 0 <= u0 < width - 1 and 0 <= v0 < height - 1:
        a, b = inverse[v0, u0], inverse[v0, u0 + 1]
        c, d = inverse[v0 + 1, u0], inverse[v0 + 1, u0 + 1]
        low, high = min(min(a, b), min(c, d)), max(max(a, b), max(c, d))
        if low > 0.0 and high - low <= near * low * high:
            s, t = u - u0, v - v0
            return (1.0 - t) * ((1.0 - s) * a + s * b) + t * ((1.0 - s) * c + s * d)
    return inverse[min(int(v + 0.5), height - 1), min(int(u + 0.5), width - 1)]


@njit(cache=True, nogil=True, error_model="numpy")
def integrate(rows, keys, distance, weight, colour, inverse, sigma, rgb, ray, T_cam_map, limits):  # type: ignore[no-untyped-def]
    """Average one frame into the voxels of blocks [Curless and Levoy 1996].

    Args:
        rows: rows to update. (R,)
        keys: submap and block index of each row. (N, 4)
        distance, weight: voxels; they are edited. (N, 16, 16, 16)
        colour: RGB, (0, 0, 0) for none; edited. (N, 16, 16, 16, 3)
        inverse: inverse depth, 0 unknown. (H, W) float32
        sigma: relative standard deviation. (H, W) float32
        rgb: picture, or (0, 0, 3) for none. (H, W, 3) uint8
        ray: fx, fy, cx, cy. (4,)
        T_cam_map: points of the map to the camera. (4, 4)
        limits: voxel, truncation, largest depth, largest weight. (4,)
    """
    voxel, truncation, most, heaviest = limits
    height, width = inverse.shape
    T = T_cam_map
    for n in range(len(rows)):
        row = rows[n]
        for i in range(16):
            x = (keys[row, 1] * 16 + i) * voxel
            for j in range(16):
                y = (keys[row, 2] * 16 + j) * voxel
                for k in range(16):
                    z = (keys[row, 3] * 16 + k) * voxel
                    # 1. The voxel in the camera and in the picture.
                    Z = T[2, 0] * x + T[2, 1] * y + T[2, 2] * z + T[2, 3]
                    if not 0.0 < Z <= most:
                        continue
                    X = T[0, 0] * x + T[0, 1] * y + T[0, 2] * z + T[0, 3]
                    Y = T[1, 0] * x + T[1, 1] * y + T[1, 2] * z + T[1, 3]
                    u, v = ray[0] * X / Z + ray[2], ray[1] * Y / Z + ray[3]
                    if not (-0.5 <= u < width - 0.5 and -0.5 <= v < height - 0.5):
                        continue
                    # 2. Its distance to the surface along the axis, and how sure that is.
                    found = _look(inverse, u, v, truncation)
                    if found <= 0.0:
                        continue
                    depth = 1.0 / found
                    u0, v0 = int(u + 0.5), int(v + 0.5)
                    deviation = sigma[v0, u0] * depth
                    band = min(max(truncation, 2.0 * deviation), WIDEST * truncation)
                    d = min(depth - Z, band)
                    if d < -band:
                        continue
                    w = min((voxel / deviation) ** 2, BEST)
                    if d < -0.5 * band:  # half of the band behind a surface fades out
                        w *= 2.0 * (1.0 + d / band)
                    # 3. Weighted means.
                    before = weight[row, i, j, k]
                    share = w / (before + w)
                    distance[row, i, j, k] += share * (d - distance[row, i, j, k])
                    weight[row, i, j, k] = min(before + w, heaviest)
                    if rgb.shape[0] > 0 and depth - Z <= band:
                        # A rounded mean stands still for small shares: at least an eighth is new.
                        part = max(share, 0.125)
                        cell = colour[row, i, j, k]
                        if cell[0] == 0 and cell[1] == 0 and cell[2] == 0:
                            part = 1.0
                        for c in range(3):
                            mean = cell[c] + part * (float(rgb[v0, u0, c]) - cell[c])
                            cell[c] = max(1, int(mean + 0.5))  # black is (1, 1, 1)


@njit(cache=True, nogil=True)
def row_of(keys, rows, x, y, z):  # type: ignore[no-untyped-def]
    """Return the row of a block, -1 where there is none.

    Args:
        keys: packed block indices, rising; see `pack_keys`. (N,) int64
        rows: their rows. (N,)
        x, y, z: block index.
    """
    key = ((x + (1 << 20)) << 42) | ((y + (1 << 20)) << 21) | (z + (1 << 20))
    low, high = 0, len(keys)
    while low < high:
        middle = (low + high) // 2
        if keys[middle] < key:
            low = middle + 1
        else:
            high = middle
    return rows[low] if low < len(keys) and keys[low] == key else -1


@njit(cache=True, nogil=True)
def add_volume(  # type: ignore[no-untyped-def]
    into, blocks, to_distance, to_weight, to_colour,
    keys, rows, distance, weight, colour, T_map_world, is_identity, voxel,
):  # fmt: skip
    """Add a submap to blocks of the world, by trilinear sampling where it was moved.

    A voxel of the world is known where all eight voxels of the submap around it are.

    Args:
        into: rows of the world's blocks. (R,)
        blocks: their block indices. (R, 3)
        to_distance, to_weight, to_colour: voxels of the world; edited.
        keys, rows, distance, weight, colour: volume of the submap.
        T_map_world: points of the world to the submap. (4, 4)
        is_identity: whether both have the same voxels.
        voxel: distance of neighbouring voxels.
    """
    T = T_map_world
    corner = np.empty(3, np.int64)
    part = np.empty(3)
    sums = np.empty(5)
    for n in range(len(into)):
        row = into[n]
        last = np.array([1 << 40, 0, 0])
        source = -1
        for i in range(16):
            for j in range(16):
                for k in range(16):
                    x, y, z = blocks[n, 0] * 16 + i, blocks[n, 1] * 16 + j, blocks[n, 2] * 16 + k
                    for axis in range(3):
                        if is_identity:
                            at = float((x, y, z)[axis])
                        else:
                            at = T[axis, 0] * x + T[axis, 1] * y + T[axis, 2] * z
                            at += T[axis, 3] / voxel
                        corner[axis] = int(np.floor(at))
                        part[axis] = at - corner[axis]
                    sums[:] = 0.0
                    whole = True
                    for c in range(8):
                        share = 1.0
                        for axis in range(3):
                            share *= part[axis] if (c >> axis) & 1 else 1.0 - part[axis]
                        if share <= 0.0:
                            continue
                        a = corner[0] + (c & 1)
                        b = corner[1] + ((c >> 1) & 1)
                        d = corner[2] + ((c >> 2) & 1)
                        if last[0] != a >> 4 or last[1] != b >> 4 or last[2] != d >> 4:
                            last[0], last[1], last[2] = a >> 4, b >> 4, d >> 4
                            source = row_of(keys, rows, a >> 4, b >> 4, d >> 4)
                        if source < 0 or weight[source, a & 15, b & 15, d & 15] <= 0.0:
                            whole = False
                            break
                        sums[0] += share * distance[source, a & 15, b & 15, d & 15]
                        sums[1] += share * weight[source, a & 15, b & 15, d & 15]
                        for channel in range(3):
                            sums[2 + channel] += (
                                share * colour[source, a & 15, b & 15, d & 15, channel]
                            )
                    if not whole:
                        continue
                    before = to_weight[row, i, j, k]
                    share = sums[1] / (before + sums[1])
                    mean = to_distance[row, i, j, k]
                    to_distance[row, i, j, k] = mean + share * (sums[0] - mean)
                    to_weight[row, i, j, k] = before + sums[1]
                    cell = to_colour[row, i, j, k]
                    if sums[2] + sums[3] + sums[4] <= 0.0:
                        continue
                    if cell[0] == 0 and cell[1] == 0 and cell[2] == 0:
                        share = 1.0
                    for channel in range(3):
                        cell[channel] = int(
                            cell[channel] + share * (sums[2 + channel] - cell[channel]) + 0.5
                        )
