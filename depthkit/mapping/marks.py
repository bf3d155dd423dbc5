# SPDX-License-Identifier: Apache-2.0
"""Near obstacles of one frame as marks: they are only ever added, never used to clear anything.

What learned depth may tell a robot beside a lidar: an obstacle more, never one less. The worst case
is a spurious mark.
"""

import numpy as np

from depthkit.mapping.tsdf import check_frame

FEWEST = 3
"""Pixels that must lie in a cell of the size `cell` for a mark: a lone pixel is often noise."""


def near_obstacles(
    depth: np.ndarray,
    *,
    K: np.ndarray,
    T_world_cam: np.ndarray,
    band: tuple[float, float],
    max_depth: float,
    cell: float,
) -> np.ndarray:
    """Return one point for each cube that holds surfaces near the camera, within a height band.

    Args:
        depth: along the optical axis, metres; NaN or <= 0 unknown. (H, W)
        K: intrinsics, pixels. (3, 3)
        T_world_cam: pose of the camera in a world with z up. (4, 4)
        band: lowest and highest height, z of the world.
        max_depth: depth beyond which nothing is marked.
        cell: side of a cube.

    Returns:
        The mean of the points of each cube, in the order of their cubes. (N, 3) float32
    """
    depth, _, _ = check_frame(depth, None, None)
    v, u = np.nonzero((depth > 0) & (depth <= max_depth))
    z = depth[v, u].astype(np.float64)
    rays = np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones(len(u))], axis=1)
    points = z[:, None] * rays @ T_world_cam[:3, :3].T + T_world_cam[:3, 3]
    points = points[(points[:, 2] >= band[0]) & (points[:, 2] <= band[1])]
    cubes = np.floor(points / cell).astype(np.int64)
    _, which, counts = np.unique(cubes, axis=0, return_inverse=True, return_counts=True)
    sums = np.stack([np.bincount(which.ravel(), one, len(counts)) for one in points.T], axis=1)
    means = sums / np.maximum(counts, 1)[:, None]
    return np.asarray(means[counts >= FEWEST], np.float32)
