# SPDX-License-Identifier: Apache-2.0
"""A wrong focal length is suspected where the motion shows it, and only there."""

import copy

import numpy as np
import pytest
from small_map import NO_IMAGE

from depthkit.rigid import exp_se3
from depthkit.runtime.odometry.focal_check import FocalWatch, fit_focal
from depthkit.runtime.odometry.landmark_map import Keyframe, LandmarkMap

FOCAL = 500.0
SIGMA = 0.7 / FOCAL


def flown(keyframes: int, *, wrong: float = 1.0, turning: float = 0.12) -> LandmarkMap:
    """Fly with a focal length that is `wrong` times the true one; tracks with half a pixel's noise.

    Args:
        keyframes: number of keyframes.
        wrong: focal length in use over the true one: rays come out shorter by it.
        turning: standard deviation of the turns, rad; 0 for straight ahead without turning.
    """
    rng = np.random.default_rng(4)
    world = LandmarkMap()
    slots = world.new_slots(200)
    depth = rng.uniform(4, 12, 200)
    world.position[slots] = np.column_stack(
        [rng.uniform(-0.5, 0.5, (200, 2)) * depth[:, None], depth]
    )
    world.sigma[slots] = 0.05
    for i in range(keyframes):
        twist = np.concatenate([[0, 0, -0.15 * i], turning * rng.normal(size=3)])
        twist[:2] = 0.3 * rng.normal(size=2) * (turning > 0)
        T = exp_se3(twist)
        rays = (world.project(T, slots)[0] + 0.5 / FOCAL * rng.normal(size=(200, 2))) / wrong
        colours = np.zeros((200, 3), np.uint8)
        world.add(Keyframe(i, 0.1 * i, NO_IMAGE, T, slots.copy(), rays, colours))
    return world


@pytest.mark.parametrize("wrong", [0.9, 1.0, 1.1])
def test_the_true_focal_length_is_found(wrong):
    """Turning and moving: the logarithm of the ratio to 0.02, and its sigma is sharp."""
    fit = fit_focal(flown(10, wrong=wrong), sigma=SIGMA)
    assert fit.change == pytest.approx(-np.log(wrong), abs=0.02)
    assert fit.sigma < 0.01


def test_straight_ahead_says_nothing():
    """Without turns any focal length fits: none is preferred sharply enough to count."""
    fit = fit_focal(flown(10, wrong=1.1, turning=0.0), sigma=SIGMA)
    assert fit is None or fit.sigma > 0.1


def test_a_look_changes_nothing():
    """Positions, poses and observations stay the same bytes."""
    world = flown(8, wrong=1.1)
    before = copy.deepcopy(world)
    fit_focal(world, sigma=SIGMA)
    np.testing.assert_array_equal(world.position, before.position)
    for one, other in zip(world.keyframes, before.keyframes, strict=True):
        np.testing.assert_array_equal(one.T_cam_world, other.T_cam_world)
        np.testing.assert_array_equal(one.rays, other.rays)


@pytest.mark.parametrize(("wrong", "said"), [(1.0, False), (1.1, True), (0.9, True)])
def test_a_wrong_focal_length_is_said_and_a_right_one_is_not(wrong, said):
    """Three looks at a growing map: one sentence with both focal lengths, or none."""
    watch, world = FocalWatch(), flown(20, wrong=wrong)
    frames, world.keyframes = world.keyframes, []
    for number, frame in enumerate(frames):
        world.keyframes.append(frame)
        world.numbered = number + 1
        watch.look(world, focal=FOCAL, width=640, noise=0.7)
    assert ("focal length looks wrong" in watch.note) == said
    assert not said or "check the calibration" in watch.note


def test_few_landmarks_say_nothing():
    """Too few tracks that three keyframes share: no fit."""
    world = flown(10)
    for one in world.keyframes:
        world.drop_observations(one, np.arange(200) >= 50)
    assert fit_focal(world, sigma=SIGMA) is None
