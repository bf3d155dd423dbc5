# SPDX-License-Identifier: Apache-2.0
"""Compiled loops of the height band; imported inside functions only, as numba is slow to load."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def cast_rays(depth, sigma, ray, T_map_cam, stride, band, most, cell, origin, seen, hits):  # type: ignore[no-untyped-def]
    """Mark the cells that the rays of sampled pixels cross within the height band, and their ends.

    A ray frees cells up to a cell and two standard deviations before its surface.

    Args:
        depth: NaN or <= 0 unknown. (H, W) float32
        sigma: relative standard deviation. (H, W) float32
        ray: fx, fy, cx, cy. (4,)
        T_map_cam: pose of the camera, z up. (4, 4)
        stride: pixels from one sample to the next.
        band: lowest and highest height, z of the map. (2,)
        most: largest depth; a farther surface frees up to it and marks nothing.
        cell: side of a cell.
        origin: cell index (x, y) of seen[0, 0]. (2,)
        seen: whether a ray crosses each cell; edited. (rows y, columns x) uint8
        hits: number of surfaces in each cell; edited. (rows y, columns x) int32
    """
    height, width = depth.shape
    T = T_map_cam
    for v in range(stride // 2, height, stride):
        for u in range(stride // 2, width, stride):
            z = depth[v, u]
            if not z > 0.0:
                continue
            x, y = (u - ray[2]) / ray[0], (v - ray[3]) / ray[1]
            dx = T[0, 0] * x + T[0, 1] * y + T[0, 2]
            dy = T[1, 0] * x + T[1, 1] * y + T[1, 2]
            dz = T[2, 0] * x + T[2, 1] * y + T[2, 2]
            # 1. The surface, if it lies within the band.
            end = min(z, most)
            up = T[2, 3] + z * dz
            if z <= most and band[0] <= up <= band[1]:
                column = int(np.floor((T[0, 3] + z * dx) / cell)) - origin[0]
                row = int(np.floor((T[1, 3] + z * dy) / cell)) - origin[1]
                if 0 <= row < hits.shape[0] and 0 <= column < hits.shape[1]:
                    hits[row, column] += 1
            # 2. The part of the ray within the band, before the surface.
            along = np.sqrt(dx * dx + dy * dy)
            if z <= most:
                end -= cell / max(along, 0.1) + 2.0 * sigma[v, u] * z
            start = 0.0
            if abs(dz) > 1e-9:
                a, b = (band[0] - T[2, 3]) / dz, (band[1] - T[2, 3]) / dz
                start, end = max(start, min(a, b)), min(end, max(a, b))
            elif not band[0] <= T[2, 3] <= band[1]:
                continue
            if end <= start:
                continue
            steps = int((end - start) * along / (0.5 * cell)) + 1
            for step in range(steps + 1):
                at = start + (end - start) * step / steps
                column = int(np.floor((T[0, 3] + at * dx) / cell)) - origin[0]
                row = int(np.floor((T[1, 3] + at * dy) / cell)) - origin[1]
                if 0 <= row < seen.shape[0] and 0 <= column < seen.shape[1]:
                    seen[row, column] = 1
