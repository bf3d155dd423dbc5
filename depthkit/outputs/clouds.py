# SPDX-License-Identifier: Apache-2.0
"""Point clouds of depth maps and landmarks, as coloured PLY files."""

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
    points = back_project(np.where(known, depth, 0), K)[known]
    save_points(path, points, rgb[known], comment="camera frame: x right, y down, z forward")
    return len(points)


def save_points(path: Path, positions: np.ndarray, rgb: np.ndarray, *, comment: str) -> None:
    """Write coloured points (PLY, binary little endian).

    Args:
        path: ends in .ply.
        positions: (N, 3)
        rgb: colours. (N, 3) uint8
        comment: frame and unit of the positions, one line.
    """
    points = np.empty(len(positions), dtype=POINT)
    points["xyz"], points["rgb"] = positions, rgb
    axes = "".join(f"property float {axis}\n" for axis in "xyz")
    colours = "".join(f"property uchar {colour}\n" for colour in ("red", "green", "blue"))
    header = (
        "ply\nformat binary_little_endian 1.0\n"
        f"comment {comment}\n"
        f"element vertex {len(points)}\n{axes}{colours}end_header\n"
    )
    write_atomic(path, header.encode() + points.tobytes())
