# SPDX-License-Identifier: Apache-2.0
"""Slots of landmarks: counted, freed, grown; the keyframes bounded in number."""

import numpy as np
import pytest
from small_map import NO_IMAGE, path, small_map

from depthkit.runtime.odometry.landmark_map import FRESH, MOST_KEYFRAMES, Keyframe, LandmarkMap


def keyframe(number: int, slots: np.ndarray) -> Keyframe:
    colours = np.zeros((len(slots), 3), np.uint8)
    return Keyframe(number, 0.0, NO_IMAGE, np.eye(4), slots, np.zeros((len(slots), 2)), colours)


def test_new_slots_are_fresh_and_numbered() -> None:
    """Each landmark has a number of its own; a slot given again gets a new one and fresh sigma."""
    world = LandmarkMap()
    slots = world.new_slots(3)
    world.sigma[slots] = 0.01
    world.free_unseen(slots[:1])
    assert world.identity[slots].tolist() == [0, -1, -1]
    again = world.new_slots(2)
    assert sorted(again) == sorted(slots[1:])
    assert world.identity[again].tolist() == [3, 4] and (world.sigma[again] == FRESH).all()


def test_the_map_grows_when_it_is_full() -> None:
    """Five thousand landmarks need more than the first 4096 slots; earlier ones stay."""
    world = LandmarkMap()
    first = world.new_slots(4000)
    world.position[first] = 7.0
    second = world.new_slots(1000)
    assert len(np.unique(np.concatenate([first, second]))) == 5000
    assert (world.position[first] == 7.0).all() and (world.identity >= 0).sum() == 5000
    assert len(world.position) == len(world.origin) == len(world.sigma) == len(world.count)


def test_counts_follow_keyframes_and_dropped_observations() -> None:
    """Seen by two, dropped by one, then by none: the slot is free unless it is tracked."""
    world = LandmarkMap()
    slots = world.new_slots(4)
    for number in range(2):
        world.add(keyframe(number, slots[:3]))
    world.extend(world.keyframes[1], slots[3:], np.zeros((1, 2)), np.zeros((1, 3), np.uint8))
    assert world.count[slots].tolist() == [2, 2, 2, 1]
    world.drop_observations(world.keyframes[0], np.array([True, False, False]))
    world.drop_observations(world.keyframes[1], np.array([True, False, False, True]))
    assert world.count[slots].tolist() == [0, 2, 2, 0]
    assert world.keyframes[1].slots.tolist() == slots[1:3].tolist()
    world.free_unseen(slots[3:])
    assert (world.identity[slots] >= 0).tolist() == [False, True, True, True]


def test_keyframes_are_bounded() -> None:
    """The oldest are forgotten with their counts, so that memory stays flat."""
    world = LandmarkMap()
    slots = world.new_slots(2)
    for number in range(MOST_KEYFRAMES + 5):
        world.add(keyframe(number, slots[:1] if number < 5 else slots[1:]))
    assert len(world.keyframes) == MOST_KEYFRAMES and world.keyframes[0].number == 5
    assert world.numbered == MOST_KEYFRAMES + 5
    assert world.count[slots].tolist() == [0, MOST_KEYFRAMES]


def test_projection_and_lever_by_hand() -> None:
    """A point 2 to the right at depth 4, seen first from the origin; one behind has no pixel."""
    world = LandmarkMap()
    slots = world.new_slots(2)
    world.position[slots] = [[2.0, 0, 4], [0, 1, -3]]
    world.origin[slots], world.sigma[slots] = [[0, 0, 0], [0, 1, 0]], [0.1, 0.5]
    rays, depth = world.project(np.eye(4), slots)
    assert rays[0] == pytest.approx([0.5, 0]) and depth.tolist() == [4, -3]
    assert np.isfinite(rays).all()
    assert world.lever(slots) == pytest.approx(np.array([[0.2, 0, 0.4], [0, 0, -1.5]]))


def test_mapped_are_the_measured_that_are_seen() -> None:
    """Fresh ones, and ones that no keyframe sees, are not offered."""
    world = small_map(3, 12)
    world.sigma[3], world.count[4] = FRESH, 0
    assert world.mapped().tolist() == [i for i in range(12) if i not in (3, 4)]


def test_centres_invert_the_poses() -> None:
    """The centre is the translation of T_world_cam."""
    for one, T in zip(small_map(3).keyframes, path(3), strict=True):
        assert one.centre == pytest.approx(np.linalg.inv(T)[:3, 3])
        assert one.T_world_cam == pytest.approx(np.linalg.inv(T))
