# SPDX-License-Identifier: Apache-2.0
"""A camera over a textured plane, rendered exactly: laps for the tests of places and loops."""

from functools import cache

import cv2
import numpy as np

from depthkit.rigid import exp_se3, inverse, make_pose
from depthkit.runtime.odometry.place_view import Keyframe

K = np.array([[250.0, 0, 159.5], [0, 250.0, 119.5], [0, 0, 1]])
SIZE = (320, 240)
DEPTH = 5.0
"""Distance of the plane z = DEPTH from the world's origin, metres."""
PER_METRE = 40.0
"""Pixels of the texture a metre."""


@cache
def ground(seed: int = 0) -> np.ndarray:
    """Draw the texture: noise of two sizes, 25 m to a side, the world's origin in the middle."""
    rng = np.random.default_rng(seed)
    fine, coarse = (rng.normal(size=(1000, 1000)).astype(np.float32) for _ in range(2))
    image = cv2.GaussianBlur(fine, (0, 0), 5.0) * 7 + cv2.GaussianBlur(coarse, (0, 0), 10.0) * 12
    return np.clip(128 + 60 * image, 0, 255).astype(np.uint8)


def view(T_world_cam: np.ndarray, seed: int = 0) -> np.ndarray:
    """Render the plane as the camera sees it. (240, 320) uint8"""
    T = inverse(T_world_cam)
    # Texture pixel (a, b) is the world point ((a - 500) / 40, (b - 500) / 40, DEPTH).
    to_world = np.array([[1, 0, -500], [0, 1, -500], [0, 0, DEPTH * PER_METRE]]) / PER_METRE
    to_world = np.vstack([to_world, [0, 0, 1]])
    H = K @ T[:3] @ to_world
    return cv2.warpPerspective(ground(seed), H, SIZE, flags=cv2.INTER_LINEAR)


def laps(count: int, each: int = 30, radius: float = 4.0) -> np.ndarray:
    """Fly circles parallel to the plane, swaying a little. (count, 4, 4)"""
    angle = 2 * np.pi * np.arange(count) / each
    twists = np.zeros((count, 6))
    twists[:, 3], twists[:, 4] = 0.05 * np.sin(3 * angle), 0.05 * np.cos(2 * angle)
    place = np.column_stack([radius * np.cos(angle), radius * np.sin(angle), 0.3 * np.sin(angle)])
    return make_pose(exp_se3(twists)[:, :3, :3], place)


def drifted(poses: np.ndarray, *, scale: float = 0.0, turn: float = 0.0) -> np.ndarray:
    """Chain the motions again with a scale that grows and a turn about the optical axis.

    Args:
        poses: true path. (N, 4, 4)
        scale: growth of the logarithm of lengths at each step.
        turn: radians at each step.
    """
    path = [poses[0]]
    for step, (a, b) in enumerate(zip(poses[:-1], poses[1:], strict=True)):
        motion = inverse(a) @ b
        motion[:3, 3] *= np.exp(scale * step)
        path.append(path[-1] @ motion @ exp_se3([0, 0, 0, 0, 0, turn]))
    return np.stack(path)


def keyframes(
    truth: np.ndarray, odom: np.ndarray, *, first: int = 0, segment: int = 0, metric: bool = False
) -> list[Keyframe]:
    """Render a path into keyframes without landmarks of their own."""
    none = np.zeros((0, 2)), np.zeros((0, 3))
    return [
        Keyframe(first + i, float(first + i), segment, view(T), K, P, *none, metric=metric)
        for i, (T, P) in enumerate(zip(truth, odom, strict=True))
    ]
