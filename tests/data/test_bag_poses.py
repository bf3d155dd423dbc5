# SPDX-License-Identifier: Apache-2.0
"""Poses of a bag from whatever says them, and clocks that do not go together."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rosbags.rosbag2", reason="rosbags is not installed (extra [bag])")

from data import bag_makers as make
from data.bag_makers import MS
from data.source_makers import picture

from depthkit.cli import main
from depthkit.data.importers import find_sequences, load_source
from depthkit.data.importers.given_poses import with_poses
from depthkit.data.importers.source import ImportOptions, Source
from depthkit.data.stream import open_stream
from depthkit.errors import DataError
from depthkit.rigid import make_pose

SECOND = 1000 * MS
QUARTER = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])


def at(x: float, y: float = 0.0) -> np.ndarray:
    """A pose in the plane, not turned."""
    return make_pose(np.eye(3), [x, y, 0.0])


def frames(count: int = 4, *, start: int = SECOND, received: int | None = None) -> list[make.Entry]:
    """Pictures at 10 Hz with their camera."""
    entries = []
    for i in range(count):
        stamp = start + 100 * MS * i
        time = stamp if received is None else received + 100 * MS * i
        info = make.info(stamp)
        entries += [(*info[:2], time, info[3]), make.image(stamp, picture(i), received=time)]
    return entries


def load(bag: Path, **options: object) -> Source:
    """Load the one sequence of a bag."""
    _, places = find_sequences(bag, "bag")
    ((name, place),) = places.items()
    return load_source("bag", place, name, ImportOptions(bag, **options))  # type: ignore[arg-type]


def said(source: Source) -> str:
    """All notes and assumptions."""
    return "\n".join((*source.notes, *source.all_assumed))


# --- sources --------------------------------------------------------------------------------------


@pytest.mark.parametrize("covariance", [False, True])
def test_stamped_poses_are_the_cameras(tmp_path: Path, covariance: bool) -> None:
    """Half way between 1 and 2 m at 1.1 s; whose poses they are is said."""
    track = [make.pose(t * MS, at(x), covariance=covariance) for t, x in ((1000, 1), (1200, 2))]
    source = load(make.write(tmp_path / "bag", [*frames(), *track]), max_gap=0.3)
    assert source.poses is not None
    np.testing.assert_allclose(source.poses[:3, 0, 3], [1.0, 1.5, 2.0])
    assert np.isnan(source.poses[3]).all()
    assert "taken as the camera's, 'optical'" in said(source)


def test_transforms_of_a_body_put_the_camera_on_it(tmp_path: Path) -> None:
    """A motion capture system sends TransformStamped; /tf_static says where the camera is."""
    kind = "geometry_msgs/msg/TransformStamped"
    track = [
        ("/vicon/drone", kind, t * MS, make.transform(t * MS, at(x), child="base_link"))
        for t, x in ((1000, 1), (1100, 2))
    ]
    bag = make.write(tmp_path / "bag", [make.static(at(0.0, 0.5)), *frames(2), *track])
    poses = load(bag).poses
    assert poses is not None
    np.testing.assert_allclose(poses[:, :2, 3], [[1, 0.5], [2, 0.5]])


def test_path_counts_as_it_was_mended_last(tmp_path: Path) -> None:
    """The last message holds the whole way; a loop may have moved it."""
    early = make.path(1100 * MS, [(1000 * MS, at(1)), (1100 * MS, at(2))])
    late = make.path(1300 * MS, [((1000 + 100 * i) * MS, at(5.0 + i)) for i in range(4)])
    source = load(make.write(tmp_path / "bag", [*frames(), early, late]))
    assert source.poses is not None
    np.testing.assert_allclose(source.poses[:, 0, 3], [5, 6, 7, 8])


def test_tree_of_moving_frames_is_multiplied(tmp_path: Path) -> None:
    """odom -> base turns by a quarter, base -> gimbal moves, gimbal -> optical stands still."""
    entries = [*frames(2), make.static(at(0.0, 1.0), parent="gimbal")]
    for t, R, x in ((1000, np.eye(3), 1.0), (1100, QUARTER, 2.0)):
        base = make.transform(t * MS, make_pose(R, [10.0, 0, 0]))
        gimbal = make.transform(t * MS, at(x), parent="base_link", child="gimbal")
        entries += [make.moving(t * MS, base), make.moving(t * MS, gimbal)]
    source = load(make.write(tmp_path / "bag", entries))
    assert source.poses is not None
    # (x, 1) in the body; turned by 90 degrees it is (-1, x).
    np.testing.assert_allclose(source.poses[:, :2, 3], [[11, 1], [9, 2]], atol=1e-12)
    assert "of 'optical' in 'odom' of /tf" in said(source)


def test_odom_is_preferred_to_map_and_another_frame_can_be_named(tmp_path: Path) -> None:
    """map -> odom jumps when a loop closes; '/tf:map' takes it all the same."""
    entries = frames(2)
    for t, jump in ((1000, 0.0), (1100, 7.0)):
        entries.append(
            make.moving(
                t * MS,
                make.transform(t * MS, at(jump), parent="map", child="odom"),
                make.transform(t * MS, at(t / 1000), child="optical"),
            )
        )
    bag = make.write(tmp_path / "bag", entries)
    poses = load(bag).poses
    assert poses is not None
    np.testing.assert_allclose(poses[:, 0, 3], [1.0, 1.1])
    poses = load(bag, odometry_topic="/tf:map").poses
    assert poses is not None
    np.testing.assert_allclose(poses[:, 0, 3], [1.0, 8.1])
    with pytest.raises(DataError, match="no frame 'mars' above the camera; odom, map"):
        load(bag, odometry_topic="/tf:mars")


def test_tree_that_stands_still_is_no_motion(tmp_path: Path) -> None:
    """Old broadcasters repeat a fixed transform on /tf."""
    still = [
        make.moving(t * MS, make.transform(t * MS, at(1), child="optical")) for t in (1000, 1100)
    ]
    source = load(make.write(tmp_path / "bag", [*frames(2), *still]))
    assert source.poses is None and "nothing in /tf moves" in said(source)


@pytest.mark.parametrize("mounted", [False, True])
def test_a_given_mounting_is_put_on_the_body_of_the_tree(tmp_path: Path, mounted: bool) -> None:
    """The body at 1 and 2 m, the camera 5 m before it: 6 and 7 m, whatever /tf_static says."""
    tree = [make.moving(t * MS, make.transform(t * MS, at(x))) for t, x in ((1000, 1), (1100, 2))]
    static = [make.static(at(100.0))] if mounted else []
    bag = make.write(tmp_path / "bag", [*frames(2), *tree, *static])
    matrix = tmp_path / "T_body_cam.txt"
    np.savetxt(matrix, at(5.0))
    source = with_poses(load(bag, body_to_camera=matrix), ImportOptions(bag, body_to_camera=matrix))
    assert source.poses is not None
    np.testing.assert_allclose(source.poses[:, 0, 3], [6.0, 7.0], atol=1e-9)
    assert "'base_link' in 'odom'" in said(source)


def test_mount_on_tf_joins_odometry_and_camera(tmp_path: Path) -> None:
    """A fixed joint that is repeated on /tf once a second is as good as /tf_static."""
    mount = make.transform(900 * MS, at(0.0, 0.5), parent="base_link", child="optical")
    track = [make.odometry(t * MS, at(t / 1000)) for t in (1000, 1100)]
    bag = make.write(tmp_path / "bag", [make.moving(900 * MS, mount), *frames(2), *track])
    poses = load(bag).poses
    assert poses is not None
    np.testing.assert_allclose(poses[:, :2, 3], [[1.0, 0.5], [1.1, 0.5]])


def test_static_frames_of_a_namespace_are_read(tmp_path: Path) -> None:
    """/robot/tf_static."""
    mount = make.static(at(0.0, 0.5))
    track = [make.odometry(t * MS, at(1.0)) for t in (1000, 1100)]
    bag = make.write(tmp_path / "bag", [("/robot/tf_static", *mount[1:]), *frames(2), *track])
    poses = load(bag).poses
    assert poses is not None and poses[0][1, 3] == 0.5


# --- which of several -----------------------------------------------------------------------------


def test_odometry_goes_first_and_the_others_are_named(tmp_path: Path) -> None:
    """Each can be picked by its name."""
    track = [make.odometry(t * MS, at(1), child="optical") for t in (1000, 1100)]
    other = [make.pose(t * MS, at(2)) for t in (1000, 1100)]
    bag = make.write(tmp_path / "bag", [*frames(2), *track, *other])
    source = load(bag)
    assert source.poses is not None and source.poses[0][0, 3] == 1
    assert "/cam/pose (PoseStamped) are not read" in said(source)
    source = load(bag, odometry_topic="cam/pose")
    assert source.poses is not None and source.poses[0][0, 3] == 2
    assert load(bag, odometry_topic="none").poses is None


def test_a_path_that_was_recorded_once_counts(tmp_path: Path) -> None:
    """A latched path is one message: 1 and 2 m."""
    track = [(1000 * MS, at(1.0)), (1100 * MS, at(2.0))]
    source = load(make.write(tmp_path / "bag", [*frames(2), make.path(1100 * MS, track)]))
    assert source.poses is not None
    np.testing.assert_allclose(source.poses[:, 0, 3], [1.0, 2.0], atol=1e-9)


@pytest.mark.parametrize("step, said_so", [(1000, True), (100, False)])
def test_poses_too_far_apart_are_said(tmp_path: Path, step: int, said_so: bool) -> None:
    """Once a second beside frames at 10 Hz: only the frame on a pose has one."""
    track = [make.pose((1000 + step * i) * MS, at(i)) for i in range(4)]
    source = load(make.write(tmp_path / "bag", [*frames(4), *track]))
    words = "1 of 4 frames have a pose: those of the bag are 1 s apart"
    assert (words in said(source)) == said_so


def test_goals_are_no_poses_of_the_camera(tmp_path: Path) -> None:
    """Where a vehicle is sent is not where it is; the topic is named, not read."""
    goals = [make.pose(t * MS, at(9), topic="/move_base_simple/goal") for t in (1000, 1100)]
    source = load(make.write(tmp_path / "bag", [*frames(2), *goals]))
    assert source.poses is None and "/move_base_simple/goal" in said(source)


def test_several_pose_topics_are_named_and_none_is_guessed(tmp_path: Path) -> None:
    """Without odometry two topics of poses are equal."""
    tracks = [make.pose(t * MS, at(1), topic=f"/{n}") for n in "ab" for t in (1000, 1100)]
    bag = make.write(tmp_path / "bag", [*frames(2), *tracks])
    source = load(bag)
    assert source.poses is None
    assert "/a (PoseStamped), /b (PoseStamped) are not read; --odometry-topic" in said(source)
    assert load(bag, odometry_topic="/b").poses is not None


def test_unknown_pose_topic_is_refused_with_those_there_are(tmp_path: Path) -> None:
    """The line lists the names."""
    bag = make.write(tmp_path / "bag", [*frames(2), make.pose(1000 * MS, at(1))])
    with pytest.raises(DataError, match="no topic /vio of .*; it holds /cam/pose"):
        load(bag, odometry_topic="/vio")


def test_poses_without_stamps_have_the_time_of_recording(tmp_path: Path) -> None:
    """And that is counted."""
    track = [make.pose(0, at(t / 1000), received=t * MS) for t in (1000, 1100)]
    source = load(make.write(tmp_path / "bag", [*frames(2), *track]))
    assert source.poses is not None
    np.testing.assert_allclose(source.poses[:, 0, 3], [1.0, 1.1])
    assert "2 poses have stamp 0" in said(source)


# --- clocks ---------------------------------------------------------------------------------------

WALL = 1_700_000_000 * SECOND


def clash(bag: Path, frames_at: int, poses_at: int, *, length: int = 4) -> Path:
    """Pictures and odometry that were recorded together, each with stamps of its own clock."""
    entries = frames(length, start=frames_at, received=WALL)
    for i in range(length):
        one = make.odometry(poses_at + 100 * MS * i, at(float(i)), child="optical")
        entries.append((*one[:2], WALL + 100 * MS * i, one[3]))
    return make.write(bag, entries)


@pytest.mark.parametrize(
    ("frames_at", "poses_at", "words"),
    [
        (12 * SECOND, WALL, "that of the pictures counts from boot"),
        (WALL, 12 * SECOND, "that of the poses counts from boot"),
        (WALL - 315_964_782 * SECOND, WALL, "counts from 1980"),
        (WALL + 37 * SECOND, WALL, "TAI and UTC"),
        (WALL + 500 * SECOND, WALL, "500.0 s from start to start"),
    ],
)
def test_two_clocks_are_named_with_both_spans(
    tmp_path: Path, frames_at: int, poses_at: int, words: str
) -> None:
    """No poses, and one line that says why, in prepare and in infer."""
    bag = clash(tmp_path / "bag", frames_at, poses_at)
    source = load(bag)
    (note,) = source.notes
    spans = [f"{t / SECOND:.3f} to {t / SECOND + 0.3:.3f} s" for t in (frames_at, poses_at)]
    assert source.poses is None and words in note
    assert spans[0] in note and f"poses of /odometry {spans[1]}" in note
    assert note in open_stream(bag).notes


def test_named_topic_of_another_clock_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who asks for poses gets them or an error, and nothing is written."""
    bag, out = clash(tmp_path / "bag", 12 * SECOND, WALL), tmp_path / "out"
    words = ["prepare", str(bag), "--out", str(out), "--odometry-topic", "/odometry"]
    assert main(words) == 1 and not out.exists()
    assert "12.000 to 12.300 s" in capsys.readouterr().err


def test_leap_seconds_inside_a_long_recording_are_seen(tmp_path: Path) -> None:
    """60 s of odometry cover the frames, 37 s off: the times of recording tell."""
    entries = frames(4, start=WALL + 37 * SECOND, received=WALL)
    for i in range(0, 600):
        one = make.odometry(WALL + 100 * MS * i, at(float(i)), child="optical")
        entries.append((*one[:2], WALL + 100 * MS * i, one[3]))
    bag = make.write(tmp_path / "bag", entries)
    source = load(bag)
    assert source.poses is None and "TAI and UTC are 37 s apart" in said(source)
    named = load(bag, odometry_topic="/odometry")
    assert named.poses is not None and "taken as those of one clock" in said(named)


def test_old_recordings_with_late_poses_keep_them(tmp_path: Path) -> None:
    """A converter may write all odometry a minute after the pictures: the stamps count, said."""
    entries = frames(4)
    for i in range(4):
        one = make.odometry((1000 + 100 * i) * MS, at(float(i)), child="optical")
        entries.append((*one[:2], one[2] + 60 * SECOND, one[3]))
    source = load(make.write(tmp_path / "bag", entries))
    assert source.poses is not None and np.isfinite(source.poses).all()
    assert "taken as those of one clock" in said(source)


def test_clock_that_stands_still_gives_way_to_the_recording(tmp_path: Path) -> None:
    """A driver that repeats one stamp would leave a single frame."""
    entries = [make.info(SECOND)]
    entries += [
        make.image(7 * SECOND, picture(i), received=SECOND + 100 * MS * i) for i in range(6)
    ]
    source = load(make.write(tmp_path / "bag", entries))
    np.testing.assert_allclose(source.times, 1 + np.arange(6) / 10)
    assert "stamps of most of the 6 pictures do not rise" in said(source)


def test_tree_without_the_camera_names_its_frames(tmp_path: Path) -> None:
    """What there is, and what is missing."""
    base = [
        make.moving(t * MS, make.transform(t * MS, at(t / 1000), child="base_link"))
        for t in (1000, 1100)
    ]
    source = load(make.write(tmp_path / "bag", [*frames(2), *base]))
    assert source.poses is None
    assert "pictures' frame 'optical'; it holds 'base_link' in 'odom'" in said(source)
