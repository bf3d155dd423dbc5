# SPDX-License-Identifier: Apache-2.0
"""The step over the ground: exact rendered planes, gates, kept state, bad input, KITTI."""

from functools import cache

import numpy as np
import pytest
from ground_world import HEIGHT, SIZE, K, drive, motion, render, rotation

from depthkit.errors import ConfigError, DataError, ShapeError
from depthkit.multiview.ground_plane import CONFIRMED, FORGOTTEN, GroundPlane, GroundStep
from depthkit.rigid import make_pose

STEPS = (0.5, 0.6, 0.7, 0.8, 0.8, 0.7, 0.6, 0.6)


@cache
def clip(pitch: float = 0.0, roll: float = 0.0, yaw: float = 0.0) -> tuple[list, list]:
    """Poses and frames of a drive of STEPS metres."""
    poses = drive(list(STEPS), pitch=pitch, roll=roll, yaw=yaw)
    return poses, [render(pose) for pose in poses]


def measured(plane: GroundPlane, poses: list, frames: list) -> list[GroundStep]:
    """Measure all steps with the true rotation and direction."""
    found = []
    for i in range(len(frames) - 1):
        R, t = motion(poses[i], poses[i + 1])
        found.append(plane.measure(frames[i], frames[i + 1], K=K, R_b_a=R, t_b_a=t))
    return found


@pytest.mark.parametrize("turns", [(0.0, 0.0, 0.0), (2.0, 1.0, 0.0), (-1.5, 0.0, 10.0)])
def test_step_and_slope_of_an_exact_plane(turns):
    """Each length within 3 %, their sum within 1 %, pitch and roll within 0.25 degrees."""
    poses, frames = clip(*turns)
    plane = GroundPlane(HEIGHT)
    found = measured(plane, poses, frames)
    given = found[CONFIRMED - 1 :]
    assert [step.reason for step in given] == [""] * len(given)
    lengths, true = np.array([step.length for step in given]), np.array(STEPS[CONFIRMED - 1 :])
    np.testing.assert_allclose(lengths, true, rtol=0.03)
    assert lengths.sum() == pytest.approx(true.sum(), rel=0.01)
    away = plane.normal - poses[-1][:3, :3].T @ (0, 1, 0)
    assert np.degrees(np.abs(away)).max() < 0.25
    assert all(0.01 < step.sigma < 0.05 for step in given)


def test_nothing_is_given_before_five_steps_agree():
    """Four steps are counted in the reason, with the slope and the alignment beside it."""
    found = measured(GroundPlane(HEIGHT), *clip())[: CONFIRMED - 1]
    assert [step.length for step in found] == [None] * 4
    assert [step.reason for step in found] == [
        f"ground seen in {n} of 5 steps" for n in (1, 2, 3, 4)
    ]
    assert found[0].found is not None and found[0].sigma is None


def test_length_is_in_proportion_to_the_height():
    """Frames do not show the height: twice the height is twice the length, bit by bit."""
    one, two = (measured(GroundPlane(h), *clip())[-1].length for h in (HEIGHT, 2 * HEIGHT))
    assert two == 2 * one


def test_driving_backwards():
    """The same frames in the other order: the same lengths, within 3 %."""
    poses, frames = clip()
    found = measured(GroundPlane(HEIGHT), poses[::-1], frames[::-1])
    assert found[-1].length == pytest.approx(STEPS[0], rel=0.03)
    assert found[-2].length == pytest.approx(STEPS[1], rel=0.03)


def test_a_camera_that_looks_down():
    """With the expected normal of a camera turned down by 12 degrees, one degree off."""
    poses, frames = clip(pitch=-12.0)
    plane = GroundPlane(HEIGHT, normal=rotation(pitch=-11.0).T @ (0, 1, 0))
    found = measured(plane, poses, frames)
    assert found[-1].reason == "" and found[-1].length == pytest.approx(STEPS[-1], rel=0.03)
    level = measured(GroundPlane(HEIGHT), poses, frames)
    assert all(step.length is None for step in level)


def test_brightness_and_contrast_do_not_matter():
    """Every second frame darker and flatter: lengths within 1 % of those without."""
    poses, frames = clip()
    other = [(40 + 0.6 * f).astype(np.uint8) if i % 2 else f for i, f in enumerate(frames)]
    plain = measured(GroundPlane(HEIGHT), poses, frames)[-1].length
    assert measured(GroundPlane(HEIGHT), poses, other)[-1].length == pytest.approx(plain, rel=0.01)


def test_errors_of_the_motion_average_out():
    """Directions off by 0.6 and rotations by 0.03 degrees: the sum stays within 3 %."""
    poses, frames = clip()
    plane, rng, total = GroundPlane(HEIGHT), np.random.default_rng(0), 0.0
    for i in range(len(STEPS)):
        R, t = motion(poses[i], poses[i + 1])
        pitch, yaw = 0.03 * rng.normal(size=2)
        t = t + np.radians(0.6) * np.append(rng.normal(size=2), 0)
        R = rotation(pitch=pitch, yaw=yaw) @ R
        step = plane.measure(frames[i], frames[i + 1], K=K, R_b_a=R, t_b_a=t / np.linalg.norm(t))
        total += step.length or 0.0
    assert total == pytest.approx(sum(STEPS[CONFIRMED - 1 :]), rel=0.03)


def test_same_input_same_bytes_and_reset():
    """Two planes, and one after a reset, give equal numbers."""
    first, second = GroundPlane(HEIGHT), GroundPlane(HEIGHT)
    lengths = [[s.length for s in measured(p, *clip())] for p in (first, second)]
    first.reset()
    assert lengths[0] == lengths[1] == [s.length for s in measured(first, *clip())]


def test_frames_may_come_in_one_buffer():
    """A camera that overwrites its frame: what is kept is a copy."""
    poses, frames = clip()
    plain = [s.length for s in measured(GroundPlane(HEIGHT), poses, frames)]
    plane, buffer, found = GroundPlane(HEIGHT), frames[0].copy(), []
    for i in range(len(STEPS)):
        before = buffer.copy()
        buffer[:] = frames[i + 1]
        R, t = motion(poses[i], poses[i + 1])
        found.append(plane.measure(before, buffer, K=K, R_b_a=R, t_b_a=t).length)
    assert found == plain


FORWARD = {"R_b_a": np.eye(3), "t_b_a": np.array([0.0, 0.0, -1.0])}


def refused(a: np.ndarray, b: np.ndarray, K: np.ndarray = K, **motion_b_a) -> str:
    """Reason of the sixth step of equal pairs, none of which may have a length."""
    plane = GroundPlane(HEIGHT)
    found = [plane.measure(a, b, K=K, **{**FORWARD, **motion_b_a}) for _ in range(6)]
    assert [step.length for step in found] == [None] * 6
    return found[-1].reason


def test_frames_without_ground_are_refused():
    """Blank frames, noise, a wall that comes nearer, and a camera that sees no ground."""
    rng = np.random.default_rng(0)
    one, two = rng.integers(0, 255, (2, *SIZE), dtype=np.uint8)
    assert "too little texture" in refused(np.full(SIZE, 90, np.uint8), np.full(SIZE, 90, np.uint8))
    assert refused(one, two) != ""
    assert refused(clip()[1][0], clip()[1][1], K=K + [[0, 0, 0], [0, 0, 200], [0, 0, 0]]) == (
        "no ground in view: it would lie below the image"
    )


def test_a_wall_is_no_ground():
    """A plane across the way grows by a tenth: whatever aligns it is not level."""
    import cv2

    wall = cv2.GaussianBlur(np.random.default_rng(0).normal(128, 300, SIZE), (0, 0), 3)
    wall = np.clip(wall, 0, 255).astype(np.uint8)
    grown = np.array([[1.1, 0, -0.1 * K[0, 2]], [0, 1.1, -0.1 * K[1, 2]]])
    assert refused(wall, cv2.warpAffine(wall, grown, SIZE[::-1])) != ""


def test_motion_that_is_no_drive_is_refused():
    """No direction, hardly any motion, a climb, a step to the side of a tilted camera."""
    poses, frames = clip()
    assert refused(frames[0], frames[0], t_b_a=np.full(3, np.nan)) == "the motion has no direction"
    near = [render(pose) for pose in drive([0.03])]
    assert "too little motion" in refused(*near)
    steep = np.array([0.0, np.sin(0.2), -np.cos(0.2)])
    assert refused(frames[0], frames[1], t_b_a=steep) != ""


def test_a_camera_that_leans_is_refused():
    """A ground tilted by 12 degrees is not level."""
    assert all(s.length is None for s in measured(GroundPlane(HEIGHT), *clip(roll=12.0)))


def test_a_bad_frame_is_bridged_and_many_are_forgotten():
    """One refused step leaves the slope confirmed; ten in a row start anew."""
    poses, frames = clip(pitch=2.0, roll=1.0)
    plane, blank = GroundPlane(HEIGHT), np.zeros(SIZE, np.uint8)
    measured(plane, poses, frames)
    R, t = motion(poses[0], poses[1])
    plane.measure(blank, blank, K=K, R_b_a=R, t_b_a=t)
    after = plane.measure(frames[0], frames[1], K=K, R_b_a=R, t_b_a=t)
    assert after.reason == "" and after.length == pytest.approx(STEPS[0], rel=0.03)
    for _ in range(FORGOTTEN):
        plane.measure(blank, blank, K=K, R_b_a=R, t_b_a=t)
    assert plane.normal.tolist() == [0, 1, 0]
    again = plane.measure(frames[0], frames[1], K=K, R_b_a=R, t_b_a=t)
    assert again.reason == "ground seen in 1 of 5 steps"


def test_a_narrow_frame_has_no_ground():
    """60 pixels across hold too few cells: refused, not wrong."""
    a, b = (frame[::8, ::8].copy() for frame in clip()[1][:2])
    small = K / np.array([[8], [8], [1]])
    assert "too little texture" in refused(a, b, K=small)


def test_bad_input():
    """The caller's bugs, each in one line."""
    frame, plane = clip()[1][0], GroundPlane(HEIGHT)
    with pytest.raises(ConfigError, match="height must be above 0 m, got 0"):
        GroundPlane(0)
    with pytest.raises(ConfigError, match="normal must be a direction"):
        GroundPlane(1.0, normal=np.zeros(3))
    with pytest.raises(ShapeError, match="grey_b must be"):
        plane.measure(frame, frame[1:], K=K, **FORWARD)
    with pytest.raises(DataError, match="must be uint8"):
        plane.measure(frame, frame.astype(np.float32), K=K, **FORWARD)
    with pytest.raises(DataError, match="focal lengths above 0"):
        plane.measure(frame, frame, K=-K, **FORWARD)
    with pytest.raises(ShapeError, match="t_b_a"):
        plane.measure(frame, frame, K=K, R_b_a=np.eye(3), t_b_a=np.zeros(2))


@pytest.mark.slow
def test_kitti_with_the_true_motion(data_root):
    """60 steps of KITTI 02: at least 50 lengths, 95 % within 10 %, their sum within 2 %."""
    import cv2

    folder = data_root / "kitti_odometry"
    frames = sorted((folder / "sequences/02/image_0").glob("*.jpg"))[:61]
    grey = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in frames]
    rows = np.loadtxt(folder / "poses/02.txt")[: len(grey)].reshape(-1, 3, 4)
    poses = [make_pose(row[:, :3], row[:, 3]) for row in rows]
    camera = np.loadtxt(folder / "sequences/02/calib.txt", usecols=range(1, 13))[0].reshape(3, 4)
    plane, given, true = GroundPlane(1.65), [], []
    for i in range(len(grey) - 1):
        R, t = motion(poses[i], poses[i + 1])
        step = plane.measure(grey[i], grey[i + 1], K=camera[:, :3], R_b_a=R, t_b_a=t)
        if step.length is not None:
            given.append(step.length)
            true.append(np.linalg.norm(poses[i + 1][:3, 3] - poses[i][:3, 3]))
    assert len(given) >= 50 and sum(given) == pytest.approx(sum(true), rel=0.02)
    assert np.mean(np.abs(np.log(np.divide(given, true))) < 0.1) >= 0.95
