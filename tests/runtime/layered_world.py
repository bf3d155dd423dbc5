# SPDX-License-Identifier: Apache-2.0
"""Three textured planes at different depths, rendered exactly: a small world with parallax."""

from functools import cache

import cv2
import numpy as np

from depthkit.rigid import exp_se3, inverse, make_pose
from depthkit.runtime.odometry.front_end import WorkingFrame, working_frame

K = np.array([[250.0, 0, 159.5], [0, 250.0, 119.5], [0, 0, 1]])
SIZE = (320, 240)
PER_UNIT = 60.0
"""Pixels of the texture a unit of the world."""
PLANES = ((9.0, -9.0, 9.0), (6.0, -9.0, -0.8), (4.0, 1.0, 9.0))
"""Depth z of each plane, and the range of x that it fills; the nearer one hides the others."""


@cache
def texture(seed: int) -> np.ndarray:
    """Draw noise of two sizes, 18 units to a side, the axis in the middle."""
    rng = np.random.default_rng(seed)
    fine, coarse = (rng.normal(size=(1080, 1080)).astype(np.float32) for _ in range(2))
    image = cv2.GaussianBlur(fine, (0, 0), 4.0) * 6 + cv2.GaussianBlur(coarse, (0, 0), 9.0) * 10
    return np.clip(128 + 60 * image, 1, 255).astype(np.uint8)


def render(T_world_cam: np.ndarray) -> np.ndarray:
    """Render what the camera sees. (240, 320, 3) uint8"""
    T, image = inverse(T_world_cam), np.zeros(SIZE[::-1], np.uint8)
    for seed, (depth, left, right) in enumerate(PLANES):
        # Texture pixel (a, b) is the world point ((a - 540) / 60, (b - 540) / 60, depth).
        to_world = np.array(
            [[1, 0, -540], [0, 1, -540], [0, 0, depth * PER_UNIT], [0, 0, PER_UNIT]]
        )
        shown = texture(seed).copy()
        shown[:, : max(0, round(540 + left * PER_UNIT))] = 0
        shown[:, max(0, round(540 + right * PER_UNIT)) :] = 0
        H = K @ T[:3] @ to_world / PER_UNIT
        seen = cv2.warpPerspective(shown, H, SIZE, flags=cv2.INTER_LINEAR)
        inside = cv2.warpPerspective((shown > 0).astype(np.uint8), H, SIZE, flags=cv2.INTER_NEAREST)
        image = np.where(inside > 0, seen, image)
    return np.repeat(image[..., None], 3, axis=2)


def depth_at(T_world_cam: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Depth of what pixels show. (N, 2) -> (N,)"""
    rays = np.column_stack([(pixels - K[:2, 2]) / (K[0, 0], K[1, 1]), np.ones(len(pixels))])
    world, found = rays @ T_world_cam[:3, :3].T, np.full(len(pixels), np.inf)
    for depth, left, right in PLANES:
        along = (depth - T_world_cam[2, 3]) / world[:, 2]  # z of the camera, as rays have z = 1
        x = T_world_cam[0, 3] + along * world[:, 0]
        found = np.where((x >= left) & (x < right), along, found)
    return found


def swaying(count: int, step: float = 0.06) -> np.ndarray:
    """Fly sideways and a little forward, turning to and fro: T_world_cam. (count, 4, 4)"""
    i = np.arange(count)
    twists = np.zeros((count, 6))
    twists[:, 3], twists[:, 4] = 0.02 * np.sin(i / 7), 0.03 * np.sin(i / 5)
    place = np.column_stack([step * i - 0.5, 0.1 * np.sin(i / 6), 0.3 * step * i])
    poses = make_pose(exp_se3(twists)[:, :3, :3], place)
    return inverse(poses[0]) @ poses


def frame(T_world_cam: np.ndarray, stamp: float = 0.0) -> WorkingFrame:
    """Render a frame as the odometry works with it."""
    return working_frame(render(T_world_cam), K=K, stamp=stamp, most=600_000)
