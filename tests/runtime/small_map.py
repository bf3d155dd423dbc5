# SPDX-License-Identifier: Apache-2.0
"""A landmark map with exact truth and no pictures, for the tests of the back end."""

import numpy as np

from depthkit.rigid import exp_se3
from depthkit.runtime.odometry.landmark_map import Keyframe, LandmarkMap

SIGMA = 2e-3
NO_IMAGE = np.zeros((0, 0), np.uint8)


def path(count: int) -> np.ndarray:
    """Move sideways and forward: T_cam_world. (count, 4, 4)"""
    rng = np.random.default_rng(3)
    twists = 0.02 * rng.normal(size=(count, 6))
    twists[:, 0] -= 0.3 * np.arange(count)
    twists[:, 2] -= 0.2 * np.arange(count)
    return exp_se3(twists)


def small_map(keyframes: int = 5, landmarks: int = 80, *, noise: float = 0.0) -> LandmarkMap:
    """Make a map whose keyframes see all landmarks in turn of four, exactly but for `noise`."""
    rng = np.random.default_rng(0)
    world = LandmarkMap()
    slots = world.new_slots(landmarks)
    xy = rng.uniform(-3, 3, (landmarks, 2))
    world.position[slots] = np.column_stack([xy, rng.uniform(5, 12, landmarks)])
    for i, T in enumerate(path(keyframes)):
        mine = slots[(slots + i) % 4 > 0]
        rays = world.project(T, mine)[0] + noise * SIGMA * rng.normal(size=(len(mine), 2))
        colours = np.full((len(mine), 3), i, np.uint8)
        world.add(Keyframe(i, 0.1 * i, NO_IMAGE, T.copy(), mine, rays, colours))
    world.sigma[slots] = 0.05
    return world
