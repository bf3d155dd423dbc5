# SPDX-License-Identifier: Apache-2.0
"""Depth moved from the pixels of the camera that measured it to those of a camera beside it."""

import numpy as np

from depthkit.camera import Camera


def register_depth(
    depth: np.ndarray, *, K_depth: np.ndarray, T_colour_depth: np.ndarray, camera: Camera
) -> np.ndarray:
    """Move a depth picture to the pixels of the colour camera.

    Each measured pixel becomes a point, the point goes to the colour pixel nearest to its image,
    and of several points in one pixel the nearest to the camera stays. Nothing is filled in: a
    colour pixel without a point, behind an edge or outside the depth camera's view, is unknown.

    Args:
        depth: as measured, metres, 0 = unknown. (H, W)
        K_depth: intrinsics of the depth camera, pixels of `depth`. (3, 3)
        T_colour_depth: points of the depth camera to the colour camera, metres. (4, 4)
        camera: the colour camera, a pinhole.

    Returns:
        Depth along the optical axis of the colour camera, metres, 0 = unknown. (h, w) float32
    """
    # 1. Homogeneous colour pixels of all points: K_c (R Kd^-1 (u, v, 1) depth + t); K_c's last row
    #    is (0, 0, 1), so that the third one is the depth in the colour camera.
    M = camera.K @ T_colour_depth[:3, :3] @ np.linalg.inv(K_depth)
    shift = camera.K @ T_colour_depth[:3, 3]
    v, u = np.nonzero(depth > 0)
    measured = depth[v, u].astype(np.float64)
    x, y, z = ((row[0] * u + row[1] * v + row[2]) * measured for row in M)
    x, y, z = x + shift[0], y + shift[1], z + shift[2]
    ahead = z > 0
    x, y, z = x[ahead], y[ahead], z[ahead]
    # 2. The nearest pixel of each, in the picture.
    column, line = np.rint(x / z).astype(np.int64), np.rint(y / z).astype(np.int64)
    inside = (column >= 0) & (line >= 0) & (column < camera.width) & (line < camera.height)
    # 3. The nearest point of each pixel.
    nearest = np.full(camera.width * camera.height, np.inf)
    np.minimum.at(nearest, line[inside] * camera.width + column[inside], z[inside])
    return np.where(np.isfinite(nearest), nearest, 0).reshape(camera.size).astype(np.float32)
