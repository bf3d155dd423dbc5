# SPDX-License-Identifier: Apache-2.0
"""Exact depth of a sphere and of planes, seen by a small camera."""

import numpy as np

from depthkit.rigid import exp_se3, make_pose

SIZE = (90, 120)
K = np.array([[100.0, 0, 59.5], [0, 100, 44.5], [0, 0, 1]])
RADIUS = 0.5
N = np.array([0.3, -0.2, -0.93]) / np.linalg.norm([0.3, -0.2, -0.93])
OFFSET = -1.9
"""The slanted plane: N . x = OFFSET; N points to the camera."""


def rays() -> np.ndarray:
    """Return the points of all pixels at depth 1. (H, W, 3)"""
    v, u = np.indices(SIZE, dtype=np.float64)
    return np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones(SIZE)], axis=-1)


def plane_depth(T: np.ndarray, normal: np.ndarray = N, offset: float = OFFSET) -> np.ndarray:
    """Return the depth of a plane from a pose. (H, W) float32"""
    return ((offset - T[:3, 3] @ normal) / (rays() @ T[:3, :3].T @ normal)).astype(np.float32)


def wall_depth(z: float) -> np.ndarray:
    """Return the depth of a wall across the view. (H, W) float32"""
    return np.full(SIZE, z, np.float32)


def sphere_depth(T: np.ndarray) -> np.ndarray:
    """Return the depth of a sphere about the origin, NaN beside it. (H, W) float32"""
    d, o = rays() @ T[:3, :3].T, T[:3, 3]
    a, b, c = (d * d).sum(-1), d @ o, o @ o - RADIUS**2
    inside = b * b - a * c
    z = (-b - np.sqrt(np.maximum(inside, 0))) / a
    return np.where(inside > 0, z, np.nan).astype(np.float32)


def around(angle: float, lift: float = 0.0, *, away: float = 1.5) -> np.ndarray:
    """Return the pose of a camera that looks at the origin, turned about y after x. (4, 4)"""
    turns = exp_se3(np.array([[0, 0, 0, 0, angle, 0], [0, 0, 0, lift, 0, 0]]))
    R = turns[0, :3, :3] @ turns[1, :3, :3]
    return make_pose(R, R @ np.array([0.0, 0.0, -away]))


def at(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> np.ndarray:
    """Return the pose of a camera that looks along z. (4, 4)"""
    return make_pose(np.eye(3), [x, y, z])
