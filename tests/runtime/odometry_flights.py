# SPDX-License-Identifier: Apache-2.0
"""Short exact flights over a textured plane, for the tests of the geometric odometry."""

from collections.abc import Callable, Iterable
from functools import cache

import cv2
import numpy as np
from plane_flight import DEPTH, K, view

from depthkit.rigid import exp_se3, inverse, make_pose
from depthkit.runtime.odometry.geometric import GeometricOdometry
from depthkit.runtime.result import OdometryResult

RATE = 20.0  # frames a second
Change = Callable[[np.ndarray, int], np.ndarray]


@cache
def poses(count: int = 40) -> np.ndarray:
    """Fly sideways at 0.12 m a frame, 5 m before the plane, looking about. (N, 4, 4)"""
    t = np.arange(count)
    turns = np.column_stack([0.1 * np.sin(t / 9), 0.1 * np.cos(t / 7) - 0.1, 0 * t])
    place = np.column_stack([0.12 * t, 0.5 * np.sin(t / 8), 0.3 * np.sin(t / 6)])
    return make_pose(exp_se3(np.column_stack([np.zeros((count, 3)), turns]))[:, :3, :3], place)


def truth(T_world_cam: np.ndarray) -> np.ndarray:
    """Poses as the odometry should give them: from the first one, the depth there being 1."""
    out = inverse(T_world_cam[0]) @ T_world_cam
    out[:, :3, 3] /= DEPTH
    return out


def pictures(T_world_cam: np.ndarray) -> list[np.ndarray]:
    """Render the plane from poses. (240, 320, 3) uint8 each"""
    return [cv2.cvtColor(view(T), cv2.COLOR_GRAY2RGB) for T in T_world_cam]


def standing(T: np.ndarray, count: int) -> np.ndarray:
    """Repeat a pose. (N, 4, 4)"""
    return np.repeat(T[None], count, axis=0)


def turning(T: np.ndarray, degrees: Iterable[float]) -> np.ndarray:
    """Turn a pose about the camera's y axis. (N, 4, 4)"""
    return np.stack([T @ exp_se3([0, 0, 0, 0, np.radians(a), 0]) for a in degrees])


def noisy(image: np.ndarray, i: int) -> np.ndarray:
    """Add the noise of a sensor, 2 grey levels."""
    noise = np.random.default_rng(i).normal(0, 2, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def play(
    images: Iterable[np.ndarray],
    odometry: GeometricOdometry | None = None,
    *,
    change: Change | None = None,
    stamps: Iterable[float] | None = None,
) -> list[OdometryResult]:
    """Run an odometry over frames."""
    odometry = odometry or GeometricOdometry()
    images = list(images)
    stamps = np.arange(len(images)) / RATE if stamps is None else stamps
    results = []
    for i, (image, stamp) in enumerate(zip(images, stamps, strict=True)):
        image = image if change is None else change(image, i)
        results.append(odometry.process(image, stamp=float(stamp), K=K))
    return results


@cache
def plain() -> tuple[GeometricOdometry, tuple[OdometryResult, ...]]:
    """Return the odometry after the flight, and its results."""
    odometry = GeometricOdometry()
    return odometry, tuple(play(pictures(poses()), odometry))


def places(results: Iterable[OdometryResult]) -> np.ndarray:
    """Published places. (N, 3)"""
    return np.stack([one.T_world_cam[:3, 3] for one in results])


def known(results: Iterable[OdometryResult]) -> np.ndarray:
    """Frames with a motion. (N,) bool"""
    return np.array([one.reason == "" for one in results])
