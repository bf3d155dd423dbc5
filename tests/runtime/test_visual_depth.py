# SPDX-License-Identifier: Apache-2.0
"""Depth whose motion an odometry finds: whole poses, one segment at a time, reasons by name."""

import numpy as np
import pytest
from fake_sweep import FakeSweep

from depthkit.rigid import make_pose
from depthkit.runtime.depth.visual_depth import VisualDepth, found_motion
from depthkit.runtime.motion.told import Motion
from depthkit.runtime.result import OdometryResult, ScaleState

K = np.array([[50.0, 0, 31.5], [0, 50, 23.5], [0, 0, 1]])
RGB = np.full((48, 64, 3), 90, np.uint8)


def at(x: float) -> np.ndarray:
    """A camera x to the right. (4, 4)"""
    return make_pose(np.eye(3), [x, 0.0, 0.0])


class Told:
    """An odometry that says what it is told, frame after frame."""

    def __init__(self, *results: OdometryResult) -> None:
        self.results, self.heard, self.resets = list(results), [], 0

    def process(self, rgb, *, stamp, K=None, imu=None, motion=None) -> OdometryResult:
        """Say the next."""
        self.heard.append((stamp, K, imu, motion))
        return self.results.pop(0)

    def reset(self) -> None:
        """Count."""
        self.resets += 1


def moved(
    x: float, stamp: float, *, segment: int = 0, metric: bool = True, reason: str = ""
) -> OdometryResult:
    """A result at x; with a reason its motion is unknown."""
    state = ScaleState("observed", "speed") if metric else ScaleState(reason="no measurement yet")
    return OdometryResult(
        T_previous_current=None if reason else at(0.1),
        T_world_cam=at(x),
        scale="metric" if metric else "relative",
        scale_source="speed" if metric else "none",
        stamp=stamp,
        segment=segment,
        reason=reason,
        scale_state=state,
    )


def run(depth: VisualDepth, count: int) -> list:
    """Show some frames, a tenth of a second apart."""
    return [depth.process(RGB, stamp=0.1 * i, K=K) for i in range(count)]


def test_metres_are_those_of_the_odometry() -> None:
    """A step of 0.2 m is told as it is, and depth is metric."""
    depth = VisualDepth(Told(moved(0, 0), moved(0.2, 0.1)), FakeSweep())
    results = run(depth, 2)
    assert results[0].reason == "no past frame yet"
    assert results[1].depth == pytest.approx(2.0) and results[1].scale == "metric"
    assert depth.moved is not None and depth.moved.stamp == 0.1


def test_a_relative_pose_is_passed_whole() -> None:
    """Its translation counts, and depth says that it has no unit."""
    source = FakeSweep()
    results = run(
        VisualDepth(Told(moved(0, 0, metric=False), moved(3, 0.1, metric=False)), source), 2
    )
    assert results[1].depth == pytest.approx(30.0) and results[1].scale == "relative"
    assert [motion.metric for motion in source.told] == [False, False]
    assert np.array_equal(source.told[1].T_world_cam, at(3))


def test_a_new_segment_begins_anew() -> None:
    """Poses of two segments are never compared: the frame behind a break has no past."""
    said = (moved(0, 0), moved(0.2, 0.1), moved(9, 0.2, segment=1), moved(9.1, 0.3, segment=1))
    source = FakeSweep()
    results = run(VisualDepth(Told(*said), source), 4)
    assert [result.depth is None for result in results] == [True, False, True, False]
    assert results[3].depth == pytest.approx(1.0) and source.resets == 1


def test_lost_motion_is_a_fault_with_its_reason() -> None:
    """A pose that stood still is not used; the next frame goes on where the tracks were found."""
    said = (moved(0, 0), moved(0, 0.1, reason="tracks were lost"), moved(0.3, 0.2))
    source = FakeSweep()
    results = run(VisualDepth(Told(*said), source), 3)
    assert results[1].reason == "no camera pose (tracks were lost)"
    assert source.told[1] == Motion(None, expected=True) and results[2].depth == pytest.approx(3.0)


def test_where_metres_are_promised_relative_motion_is_a_fault() -> None:
    """One folder has one scale: frames before the first measurement have no depth, and say so."""
    depth = VisualDepth(Told(moved(0, 0, metric=False)), FakeSweep(), metres_only=True)
    (result,) = run(depth, 1)
    assert result.depth is None
    assert result.reason == (
        "no camera pose (the odometry is not in metres here: scale unknown, no measurement yet)"
    )
    assert found_motion(moved(0, 0, metric=False), metres_only=False).T_world_cam is not None


def test_what_is_known_of_the_step_reaches_the_odometry() -> None:
    """Speed and IMU samples go to it, not to the source of depth."""
    odometry, rows = Told(moved(0, 0)), np.ones((2, 7))
    VisualDepth(odometry, FakeSweep()).process(
        RGB, stamp=0.0, K=K, motion=Motion(displacement=0.4), imu=rows
    )
    assert odometry.heard == [(0.0, K, rows, Motion(displacement=0.4))]


def test_frames_may_be_tracked_without_depth() -> None:
    """`follow` for all and `depth` for some is what a busy robot does: the steps add up."""
    odometry = Told(*(moved(0.1 * i, 0.1 * i) for i in range(4)))
    depth = VisualDepth(odometry, FakeSweep())
    found = [depth.follow(RGB, stamp=0.1 * i, K=K) for i in range(4)]
    depth.depth(RGB, K=K, moved=found[0])
    assert depth.depth(RGB, K=K, moved=found[3]).depth == pytest.approx(3.0)


def test_reset_forgets_both() -> None:
    """The odometry and the past frames."""
    odometry, source = Told(moved(0, 0), moved(5, 0.1)), FakeSweep()
    depth = VisualDepth(odometry, source)
    run(depth, 1)
    depth.reset()
    assert (odometry.resets, source.resets, depth.moved, depth.segment) == (1, 1, None, None)
    assert depth.process(RGB, stamp=0.1, K=K).reason == "no past frame yet"
