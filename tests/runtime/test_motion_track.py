# SPDX-License-Identifier: Apache-2.0
"""Motion in samples: what is told in between, and what is not."""

import numpy as np
import pytest

from depthkit.errors import ShapeError
from depthkit.rigid import exp_se3, make_pose
from depthkit.runtime.motion import samples as motion_track
from depthkit.runtime.motion.samples import AttitudeTrack, PoseTrack, SpeedTrack
from depthkit.trajectory import Trajectory, interpolate_poses

START = 1.7e9  # seconds, as robots stamp


def at_x(x: float) -> np.ndarray:
    """A level pose at x metres."""
    return make_pose(np.eye(3), np.array([x, 0.0, 0.0]))


def about_z(degrees: float) -> np.ndarray:
    """A turn about z. (3, 3)"""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


@pytest.mark.parametrize("turn", [1e-4, 0.1, 2.0])
def test_poses_live_equal_interpolated_trajectory_to_the_byte(turn: float) -> None:
    """Asked while poses come in, each answer is that of the whole trajectory afterwards."""
    rng = np.random.default_rng(5)
    stamps = START + np.cumsum(rng.uniform(0.002, 0.04, 400))
    twists = np.concatenate([rng.normal(size=(400, 3)), turn * rng.normal(size=(400, 3))], axis=1)
    whole = Trajectory(stamps, exp_se3(twists))
    track, asked, told = PoseTrack(max_gap=0.03), [], []
    for stamp, T in zip(stamps, whole.T_world_cam, strict=True):
        assert track.add(float(stamp), T) == ""
        asked.append(float(stamp - rng.choice([0.0, 0.001, 0.02, 0.7])))
        told.append(track.at(asked[-1]))
    wanted, known = interpolate_poses(whole, asked, 0.03)
    assert [pose is not None for pose in told] == known.tolist() and 0 < known.sum() < 400
    assert all(
        a.tobytes() == b.tobytes() for a, b in zip(told, wanted, strict=True) if a is not None
    )


def test_pose_half_way_is_half_way() -> None:
    """Between x = 0 and x = 2 a quarter of the time is x = 0.5; turns likewise."""
    track = PoseTrack()
    track.add(10.0, at_x(0.0))
    track.add(10.4, at_x(2.0))
    pose = track.at(10.1)
    assert pose is not None and pose[:3, 3] == pytest.approx([0.5, 0.0, 0.0], abs=1e-9)
    attitudes = AttitudeTrack()
    attitudes.add(10.0, about_z(0.0))
    attitudes.add(10.4, about_z(80.0))
    assert attitudes.at(10.2) == pytest.approx(about_z(40.0), abs=1e-9)


def test_pose_outside_or_in_a_gap_is_unknown_with_its_reason() -> None:
    """Nothing is extrapolated, nothing bridged over max_gap; a stamp that is hit is known."""
    track = PoseTrack(max_gap=0.5)
    assert track.at(1.0) is None and track.missing(1.0) == "no message yet"
    for stamp in (1.0, 2.0, 2.5):
        track.add(stamp, at_x(stamp))
    assert track.at(0.9) is None and "oldest is 0.100 s younger" in track.missing(0.9)
    assert track.at(2.6) is None and "newest is 0.100 s older" in track.missing(2.6)
    assert track.at(1.5) is None and track.missing(1.5) == "a gap of 1.000 s, over 0.5"
    assert track.at(float("nan")) is None
    assert "(two clocks?)" in track.missing(1e9) and "clocks" not in track.missing(9.0)
    assert track.at(1.0) is not None and track.at(2.25) is not None and track.missing(2.25) == ""


@pytest.mark.parametrize(
    ("pose", "reason"),
    [
        (np.full((4, 4), np.nan), "not finite"),
        (np.diag([1.0, 1.0, -1.0, 1.0]), "not a rotation"),
        (np.diag([1.1, 1.0, 1.0, 1.0]), "not a rotation"),
        (np.zeros((4, 4)), "not a rotation"),
    ],
)
def test_pose_that_is_none_is_refused(pose: np.ndarray, reason: str) -> None:
    """It says why, and the poses before and after it are kept."""
    track = PoseTrack()
    track.add(1.0, at_x(1.0))
    assert reason in track.add(1.1, pose)
    assert track.add(1.2, at_x(2.0)) == "" and len(track) == 2
    with pytest.raises(ShapeError):
        track.add(1.3, np.eye(3))


def test_stamps_out_of_order_are_refused_and_a_restart_forgets() -> None:
    """A small step back is one late message; a long one is a bag from its start."""
    track = PoseTrack(max_step_back=1.0)
    for stamp in (5.0, 5.1):
        track.add(stamp, at_x(stamp))
    assert "came before" in track.add(5.1, at_x(0.0))
    assert "0.050 s older" in track.add(5.05, at_x(0.0))
    assert "finite" in track.add(float("inf"), at_x(0.0))
    assert (len(track), track.restarts, track.newest) == (2, 0, 5.1)
    assert track.add(1.0, at_x(0.0)) == ""
    assert (len(track), track.restarts, track.newest) == (1, 1, 1.0)
    assert track.at(5.05) is None


def test_tracks_stay_small() -> None:
    """Hours of samples leave the newest seconds, and never more than a fixed number."""
    track = PoseTrack()
    for i in range(3000):
        track.add(START + 0.1 * i, at_x(i))
    assert len(track) == 101 and track.at(START + 299.85 - motion_track.HISTORY) is None
    speeds = SpeedTrack()
    for i in range(motion_track.CAPACITY + 500):
        speeds.add(1e-6 * i, 1.0)
    assert len(speeds) == motion_track.CAPACITY


def test_arrays_told_are_not_kept() -> None:
    """The caller may fill one buffer again and again."""
    track, buffer = PoseTrack(), np.eye(4)
    for x in (0.0, 1.0, 2.0):
        buffer[0, 3] = x
        track.add(1.0 + 0.1 * x, buffer)
    pose = track.at(1.05)
    assert pose is not None and pose[0, 3] == pytest.approx(0.5)


def test_way_is_the_area_under_the_speed() -> None:
    """0 to 2 m/s in a second is 1 m; its middle half is 0.5 m; between samples it adds up."""
    track = SpeedTrack(max_gap=1.0)
    for stamp, speed in ((0.0, 0.0), (1.0, 2.0), (2.0, 2.0), (2.5, 0.0)):
        assert track.add(stamp, speed) == ""
    assert track.between(0.0, 1.0) == pytest.approx(1.0)
    assert track.between(0.25, 0.75) == pytest.approx(0.5)  # 0.5 and 1.5 m/s at the ends
    assert track.between(0.0, 2.5) == pytest.approx(3.5)
    assert track.between(0.5, 1.5) == pytest.approx(0.75 + 1.0)
    assert track.between(1.0, 1.0) == 0.0
    parts = [track.between(a, a + 0.1) for a in np.arange(0.0, 2.4, 0.1)]
    assert sum(part or 0.0 for part in parts) == pytest.approx(track.between(0.0, 2.4))


def test_way_over_a_gap_or_backwards_is_unknown() -> None:
    """A speed that was not heard is not guessed."""
    track = SpeedTrack(max_gap=0.5)
    assert track.between(0.0, 1.0) is None
    for stamp in (1.0, 1.4, 2.4, 2.8):
        track.add(stamp, 1.0)
    assert track.between(1.0, 1.4) == pytest.approx(0.4)
    assert track.between(1.2, 2.5) is None and "a gap of 1.000 s" in track.missing(1.2, 2.5)
    assert track.between(2.5, 2.4) is None and "ran back" in track.missing(2.5, 2.4)
    assert track.between(2.5, 3.0) is None and track.between(0.5, 1.2) is None
    for wrong in (-1.0, np.nan, np.inf):
        assert "0 m/s or more" in track.add(3.0, wrong)


def test_turn_rates_add_up_to_the_turn() -> None:
    """90 degrees a second for a second is a quarter turn; a ramp from 0 to it is half of that."""
    steady, ramp = AttitudeTrack(), AttitudeTrack()
    for i in range(101):
        steady.turn(START + 0.01 * i, np.array([0.0, 0.0, np.pi / 2]))
        ramp.turn(START + 0.01 * i, np.array([0.0, 0.0, np.pi / 2 * 0.01 * i]))
    end, half = steady.at(START + 1.0), ramp.at(START + 1.0)
    assert end == pytest.approx(about_z(90.0), abs=1e-6)
    assert half == pytest.approx(about_z(45.0), abs=1e-6)
    assert steady.at(START + 0.505) == pytest.approx(about_z(45.45), abs=1e-6)


def test_turn_rates_are_of_the_body() -> None:
    """A quarter turn about x and then about the body's own z carries its x axis to world z.

    R = Rx(90) Rz(90): the body's x axis is Rx(90) y = z; about world axes it would stay y.
    """
    track = AttitudeTrack()
    for i in range(201):
        rate = np.array([np.pi / 2, 0.0, 0.0]) if i < 100 else np.array([0.0, 0.0, np.pi / 2])
        track.turn(0.01 * i, rate)
    R = track.at(2.0)
    assert R is not None and R[:, 0] == pytest.approx([0.0, 0.0, 1.0], abs=0.02)


def test_hole_in_turn_rates_starts_a_new_world() -> None:
    """What turned meanwhile is unknown: the restart is counted, the hole itself unknown."""
    track = AttitudeTrack(max_gap=0.2)
    rate = np.array([0.0, 0.0, 1.0])
    for stamp in (1.0, 1.1, 1.2):
        track.turn(stamp, rate)
    assert (track.restarts, len(track)) == (0, 3)
    track.turn(2.0, rate)
    assert (track.restarts, len(track)) == (1, 1) and track.at(1.5) is None
    assert track.at(2.0) == pytest.approx(np.eye(3))
    track.turn(0.5, rate)  # a bag from its start
    assert track.restarts == 2 and track.at(0.5) == pytest.approx(np.eye(3))


def test_turn_rates_refused_leave_the_integral_alone() -> None:
    """NaN, an equal stamp, and a late one change nothing."""
    track, rate = AttitudeTrack(), np.array([0.0, 0.0, 1.0])
    track.turn(1.0, rate)
    track.turn(1.1, rate)
    assert "not finite" in track.turn(1.15, np.full(3, np.nan))
    assert "came before" in track.turn(1.1, 9 * rate)
    assert "older" in track.turn(1.05, 9 * rate)
    assert "finite" in track.turn(float("nan"), rate)
    track.turn(1.2, rate)
    assert track.at(1.2) == pytest.approx(about_z(np.degrees(0.2)), abs=1e-9)
    assert track.restarts == 0


def test_attitudes_told_and_integrated_are_two_worlds() -> None:
    """An IMU that stops to tell its attitude, or begins to, starts a new world."""
    track = AttitudeTrack()
    track.add(1.0, about_z(30.0))
    track.turn(1.1, np.zeros(3))
    assert (track.restarts, len(track)) == (1, 1)
    track.add(1.2, about_z(30.0))
    assert (track.restarts, len(track)) == (2, 1)
    track.clear()
    assert (track.restarts, len(track), track.newest) == (2, 0, None)
    track.turn(1.3, np.zeros(3))
    track.clear()  # what turned until the next one is not known
    assert (track.restarts, len(track)) == (3, 0)
