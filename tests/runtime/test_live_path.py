# SPDX-License-Identifier: Apache-2.0
"""Smoothed paths and landmarks, the published segment, and metres: numbers by hand."""

import numpy as np
import pytest
from small_map import small_map

from depthkit.rigid import exp_se3, inverse, make_pose
from depthkit.runtime.odometry.front_end import WorkingFrame
from depthkit.runtime.odometry.live_path import WorldPath, landmarks_of, smoothed_path
from depthkit.runtime.odometry.metres import LEAST_STEP, Metres, scaled
from depthkit.runtime.odometry.segment import Segment

EYE = np.eye(3)


def at(x: float) -> np.ndarray:
    """T_world_cam at x, not turned. (4, 4)"""
    return make_pose(EYE, [x, 0.0, 0.0])


def relative_metres() -> Metres:
    return Metres(step_source="speed", step_sigma=0.02, height=0.0, aid=None)


def blank(stamp: float) -> WorkingFrame:
    none = np.zeros((1, 1), np.uint8)
    return WorkingFrame(none, none, np.zeros((1, 1, 3), np.uint8), np.eye(3), stamp)


# --- live_path ------------------------------------------------------------------------------------


def test_frames_move_with_their_keyframes() -> None:
    """A frame placed beside a keyframe follows it when the window moves it."""
    world, placed = small_map(3), WorldPath(0)
    beside = exp_se3(np.array([0.1, 0, 0, 0, 0.1, 0]))
    placed.place(1.0, beside @ world.keyframes[-1].T_cam_world, world, factor=None)
    moved = exp_se3(np.array([0, 0.5, 0, 0, 0, 0.2])) @ world.keyframes[-1].T_cam_world
    world.keyframes[-1].T_cam_world = moved
    placed.refresh(world)
    assert placed.poses()[0] == pytest.approx(inverse(beside @ moved))


def test_steps_are_scaled_and_early_frames_take_the_first_factor() -> None:
    """Unit steps with factors unknown, 2, 2, 3: the first at 2 x its place, steps 2, 2 and 3."""
    world, placed = small_map(1), WorldPath(0)
    for i, factor in enumerate((None, 2.0, 2.0, 3.0)):
        placed.place(float(i), inverse(at(1.0 + i)), world, factor=factor)
    assert placed.factors().tolist() == [2, 2, 2, 3]
    assert placed.poses()[:, 0, 3] == pytest.approx([2.0, 4.0, 6.0, 9.0])


def test_unknown_factors_leave_the_maps_unit() -> None:
    """No factor at all: relative."""
    world, placed = small_map(1), WorldPath(4)
    for i in range(3):
        placed.place(float(i), inverse(at(float(i))), world, factor=None)
    whole = smoothed_path([placed])
    assert whole.poses[:, 0, 3] == pytest.approx([0.0, 1.0, 2.0])
    assert whole.segments.tolist() == [4, 4, 4] and not whole.metric.any()


def test_paths_are_put_in_order_of_time() -> None:
    """Two segments, of which the first is resumed after the second; metric each by itself."""
    world, first, second = small_map(1), WorldPath(0), WorldPath(1)
    for stamp in (0.0, 1.0, 5.0):
        first.place(stamp, inverse(at(stamp)), world, factor=1.0)
    for stamp in (2.0, 3.0):
        second.place(stamp, inverse(at(stamp)), world, factor=None)
    whole = smoothed_path([first, WorldPath(7), second])
    assert whole.stamps.tolist() == [0, 1, 2, 3, 5]
    assert whole.segments.tolist() == [0, 0, 1, 1, 0]
    assert whole.metric.tolist() == [True, True, False, False, True]
    empty = smoothed_path([WorldPath(0)])
    assert empty.poses.shape == (0, 4, 4) and len(empty.stamps) == len(empty.metric) == 0


def test_landmarks_scale_with_the_path() -> None:
    """At 2.5 metres a unit every landmark keeps its place before the keyframe that saw it first."""
    world, placed = small_map(3), WorldPath(2)
    for one in world.keyframes:
        placed.place(one.stamp, one.T_cam_world, world, factor=None)
    relative = landmarks_of(world, placed)
    assert not relative.metric and relative.positions == pytest.approx(world.position[:80])
    placed = WorldPath(2)
    shorter = small_map(0, 80)
    for one in world.keyframes:
        shorter.keyframes.append(one)
        placed.place(one.stamp, one.T_cam_world, shorter, factor=2.5)
    metric = landmarks_of(world, placed)
    assert metric.metric and metric.segment == 2 and len(metric.sigma) == 80
    assert metric.positions == pytest.approx(2.5 * world.position[:80])
    assert (metric.colours[:, 0] == [0 if i % 4 else 1 for i in range(80)]).all()
    none = landmarks_of(small_map(1, 0), WorldPath(0))
    assert none.positions.shape == (0, 3) and not none.metric


# --- segment --------------------------------------------------------------------------------------


def told(metres: Metres, factor: float, since: float = 0.0) -> None:
    """Tell lengths until the factor is known."""
    for i in range(8):
        metres.step(blank(since + 0.1 * i), at(0.5 * i), 0.5 * factor if i else 0.0, 1.0)


def test_relative_segment_publishes_the_map() -> None:
    """Without a factor poses are those of the map, and points too."""
    segment = Segment(WorldPath(3), relative_metres())
    segment.begin(at(0.2), 1.0)
    assert segment.number == 3 and segment.since == 1.0
    assert segment.move(at(0.7)) is False and not segment.metric
    assert segment.T_world_cam == pytest.approx(at(0.7))
    points = np.array([[1.0, 2.0, 3.0]])
    assert segment.published(points) == pytest.approx(points)


def test_scale_that_becomes_known_starts_from_the_whole_path() -> None:
    """At 4 metres a unit the pose jumps once, from 3.5 to 14; then steps are scaled."""
    metres = relative_metres()
    segment = Segment(WorldPath(0), metres)
    segment.move(at(3.0))
    told(metres, 4.0)
    assert metres.factor == pytest.approx(4.0, rel=0.01)
    assert segment.move(at(3.5)) is True and segment.metric
    assert segment.T_world_cam[0, 3] == pytest.approx(4 * 3.5, rel=0.01)
    before = segment.T_world_cam[0, 3]
    assert segment.move(at(4.0)) is False
    assert segment.T_world_cam[0, 3] - before == pytest.approx(4 * 0.5, rel=0.01)
    # A point one unit in front of the camera in the map is four metres in front of it.
    ahead = segment.published(np.array([[4.0, 0.0, 1.0]]))
    assert ahead - segment.T_world_cam[:3, 3] == pytest.approx(np.array([[0, 0, 4.0]]), rel=0.01)


# --- metres ---------------------------------------------------------------------------------------


def test_scaled_leaves_the_rotation() -> None:
    """The translation alone; a stack as well; the argument is left alone."""
    T = exp_se3(np.array([[1.0, 2, 3, 0.1, 0.2, 0.3], [0, 0, 1, 0, 0, 0]]))
    before, twice = T.copy(), scaled(T, 2.0)
    assert (twice[:, :3, 3] == 2 * T[:, :3, 3]).all()
    assert (twice[:, :3, :3] == T[:, :3, :3]).all() and (before == T).all()


def test_told_lengths_give_the_factor() -> None:
    """Unknown before; then metres told over units moved, as certain as the source."""
    metres = relative_metres()
    assert metres.factor is None and metres.state(0.0).state == "unknown"
    told(metres, 0.25)
    assert metres.factor == pytest.approx(0.25, rel=0.01)
    state = metres.state(0.7)
    assert state.state == "observed" and state.source == "speed" and 0 < state.sigma <= 0.05


def test_short_steps_are_added_up() -> None:
    """Steps of a third of LEAST_STEP: compared every third, by the sum of what was told."""
    metres, step = relative_metres(), LEAST_STEP / 3 * 1.01
    for i in range(40):
        metres.step(blank(0.1 * i), at(step * i), 3.0 * step if i else 0.0, 1.0)
    assert metres.factor == pytest.approx(3.0, rel=0.01)


def test_a_silent_sensor_gives_no_length() -> None:
    """A step with one missing part is not compared; after that it goes on."""
    metres = relative_metres()
    for i in range(6):
        metres.step(blank(0.1 * i), at(0.5 * i), None, 1.0)
    assert metres.factor is None
    metres.pause()
    told(metres, 2.0, since=1.0)
    assert metres.factor == pytest.approx(2.0, rel=0.01)


def test_after_a_pause_the_next_frame_does_not_follow() -> None:
    """A jump of the map during a pause is no step."""
    metres = relative_metres()
    told(metres, 2.0)
    metres.pause()
    metres.step(blank(5.0), at(100.0), 0.1, 1.0)
    metres.step(blank(5.1), at(100.5), 1.0, 1.0)
    assert metres.factor == pytest.approx(2.0, rel=0.01)
