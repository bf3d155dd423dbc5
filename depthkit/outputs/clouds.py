# SPDX-License-Identifier: Apache-2.0
"""Point clouds of depth maps, as coloured PLY files."""

from pathlib import Path

import numpy as np

from depthkit.data.image_io import write_atomic

POINT = np.dtype([("xyz", "<f4", (3,)), ("rgb", "u1", (3,))])


def back_project(depth: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Turn depth into points of the camera frame, M = Z K^-1 m.

    Args:
        depth: along the optical axis. (H, W)
        K: intrinsics, pixels. (3, 3)

    Returns:
        x right, y down, z forward, in the unit of depth. (H, W, 3) float64
    """
    v, u = np.indices(depth.shape, dtype=np.float64)
    pixels = np.stack([u, v, np.ones_like(u)], axis=-1)
    return depth[..., None] * (pixels @ np.linalg.inv(K).T)


def save_cloud(path: Path, depth: np.ndarray, rgb: np.ndarray, *, K: np.ndarray) -> int:
    """Write a coloured point cloud (PLY, binary little endian) of the pixels with known depth.

    Args:
        path: ends in .ply.
        depth: unknown pixels (not finite or not positive) are left out. (H, W)
        rgb: colours. (H, W, 3) uint8
        K: intrinsics of this image size, pixels. (3, 3)

    Returns:
        The number of points.
    """
    known = np.isfinite(depth) & (depth > 0)
    points = np.empty(int(known.sum()), dtype=POINT)
    points["xyz"] = back_project(np.where(known, depth, 0), K)[known]
    points["rgb"] = rgb[known]
    axes = "".join(f"property float {axis}\n" for axis in "xyz")
    colours = "".join(f"property uchar {colour}\n" for colour in ("red", "green", "blue"))
    header = (
        "ply\nformat binary_little_endian 1.0\n"
        "comment camera frame: x right, y down, z forward\n"
        f"element vertex {len(points)}\n{axes}{colours}end_header\n"
    )
    write_atomic(path, header.encode() + points.tobytes())
    return len(points)
