# SPDX-License-Identifier: Apache-2.0
"""Bags in: frames, times, camera and poses as the messages say, each fault in one line."""

import json
import shutil
import sqlite3
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rosbags.rosbag2", reason="rosbags is not installed (extra [bag])")

from data import bag_makers as make
from data.bag_makers import CAMERA, MS
from data.source_makers import picture

from depthkit.camera import Camera, SourceCamera
from depthkit.cli import main
from depthkit.data.bag import header_stamp, with_stamp
from depthkit.data.bag_writer import BagOptions, write_bag
from depthkit.data.image_io import encode
from depthkit.data.importers import find_sequences
from depthkit.data.prepare import PrepareOptions, Watcher, prepare
from depthkit.data.sequence import Sequence, SequenceWriter, open_sequence
from depthkit.errors import DataError
from depthkit.installation import install_line
from depthkit.rigid import exp_se3, make_pose
from depthkit.trajectory import Trajectory, interpolate_poses
from depthkit.undistort import build_geometry

AHEAD = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
"""The axes of an optical frame in a body that looks along its x axis."""
D = (-0.2, 0.05, 0.001, -0.002, 0.0)


def at(x: float) -> np.ndarray:
    """A pose x metres along the world's x axis, not turned."""
    return make_pose(np.eye(3), [x, 0.0, 0.0])


def simple(count: int = 4, *, start: int = 1000 * MS) -> list[make.Entry]:
    """Frames at 10 Hz with their camera."""
    stamps = [start + 100 * MS * i for i in range(count)]
    return [
        one
        for i, stamp in enumerate(stamps)
        for one in (make.info(stamp), make.image(stamp, picture(i)))
    ]


def bring_in(
    bag: Path, out: Path, *, notes: list[str] | None = None, **options: object
) -> Sequence:
    """Prepare a bag of one topic as PNG and open what came of it."""
    request = PrepareOptions(source=bag, out=out, **{"ext": "png", **options})  # type: ignore[arg-type]
    heard: list[str] = [] if notes is None else notes
    (result,) = prepare(request, Watcher(note=heard.append))
    assert result.format == "bag"
    return open_sequence(result.path)


def refusal(bag: Path, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Return the one line with which `depthkit prepare` refuses a bag."""
    out = bag.parent / "out"
    assert main(["prepare", str(bag), "--out", str(out), *words]) == 1
    *bar, line = capsys.readouterr().err.splitlines()
    assert line.startswith("depthkit: error: ") and not any("depthkit:" in one for one in bar)
    assert not out.exists()
    return line


# --- there and back -------------------------------------------------------------------------------


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("is_compressed", [False, True])
def test_sequence_comes_back_as_it_was(tmp_path: Path, storage: str, is_compressed: bool) -> None:
    """Pixels (of JPEG: as they decode), K, times to the nanosecond and poses survive a bag."""
    ext = "jpg" if is_compressed else "png"
    with SequenceWriter(tmp_path / "walk", CAMERA, ext=ext) as writer:
        for i in range(4):
            pose = None if i == 2 else exp_se3(np.array([0.1, 0.2, -0.1, 0.02, 0.01, -0.03]) * i)
            writer.add_frame(picture(i), 5.0 + i * 0.0333333333, pose)
    sequence = open_sequence(tmp_path / "walk")
    options = BagOptions(storage=storage, compressed=is_compressed)  # type: ignore[arg-type]
    write_bag(sequence, tmp_path / "bag", options)
    # Odometry leaves the third frame out; the pose there is that of its neighbours, 0.067 s apart.
    again = bring_in(tmp_path / "bag", tmp_path / "out", max_gap=0.05)
    assert again.name == ("image_compressed" if is_compressed else "image")
    assert again.camera == sequence.camera
    np.testing.assert_allclose(again.times, sequence.times, rtol=0, atol=0.5e-9)
    for i in range(4):
        np.testing.assert_array_equal(again.read_frame(i), sequence.read_frame(i))
    assert again.poses is not None and sequence.poses is not None
    np.testing.assert_allclose(again.poses, sequence.poses, atol=1e-9)


def test_real_clip_comes_back(tmp_path: Path, data_root: Path) -> None:
    """RedKitchen with its poses on a vehicle: a bag of it prepares to the same sequence."""
    clip = data_root / "sevenscenes_redkitchen"
    out = tmp_path / "out"
    request = {"source": clip, "out": out, "stop": 20, "name": "clip"}
    prepare(PrepareOptions(**request))  # type: ignore[arg-type]
    sequence = open_sequence(out / "clip")
    T_base_cam = make_pose(AHEAD, [0.1, -0.05, 0.3])
    options = BagOptions(compressed=True, T_base_cam=T_base_cam)
    write_bag(sequence, tmp_path / "bag", options)
    again = bring_in(tmp_path / "bag", out)
    assert again.camera == sequence.camera and len(again) == 20
    np.testing.assert_allclose(again.times, sequence.times, rtol=0, atol=1.5e-9)
    np.testing.assert_allclose(again.poses, sequence.poses, atol=1e-9)
    np.testing.assert_array_equal(again.read_frame(19), sequence.read_frame(19))


def test_bag_is_told_by_itself_in_every_shape(tmp_path: Path) -> None:
    """Folder, its storage file alone, and a folder that lost its metadata."""
    bag = make.write(tmp_path / "flight", simple())
    lost = tmp_path / "lost"
    lost.mkdir()
    shutil.copy(bag / "flight.mcap", lost)
    for path in (bag, bag / "flight.mcap", lost):
        assert find_sequences(path) == ("bag", {"cam_image_raw": path / "cam" / "image_raw"})
    old = make.write(tmp_path / "old", simple(), storage="sqlite3")
    assert find_sequences(old / "old.db3")[0] == "bag"


# --- what the messages say ------------------------------------------------------------------------


def test_poses_of_a_vehicle_by_hand(tmp_path: Path) -> None:
    """Interpolated at the frame, THEN the camera put on it; a frame outside has no pose.

    The body is at x = 1.0 and 2.0 m at 1.0 and 1.2 s and does not turn: 1.5 m at 1.1 s. The camera
    is 0.3 m ahead of it and 0.1 m up, and looks along x.
    """
    track = [make.odometry(1000 * MS, at(1.0)), make.odometry(1200 * MS, at(2.0))]
    mount = make.static(make_pose(AHEAD, [0.3, 0.0, 0.1]))
    bag = make.write(tmp_path / "bag", [mount, *simple(), *track])
    sequence = bring_in(bag, tmp_path / "out", max_gap=0.3)
    assert sequence.poses is not None
    np.testing.assert_allclose(sequence.poses[1], make_pose(AHEAD, [1.8, 0.0, 0.1]), atol=1e-12)
    assert np.isfinite(sequence.poses).all(axis=(1, 2)).tolist() == [True, True, True, False]


def test_order_of_interpolation_and_extrinsic_counts(tmp_path: Path) -> None:
    """A lever on a turning body goes along an arc: not what interpolating the camera would say."""
    quarter = make_pose(np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]), [0.0, 0.0, 0.0])
    track = [make.odometry(1000 * MS, np.eye(4)), make.odometry(1200 * MS, quarter)]
    mount = make.static(at(1.0))
    bag = make.write(tmp_path / "bag", [mount, *simple(3), *track])
    sequence = bring_in(bag, tmp_path / "out", max_gap=0.3)
    assert sequence.poses is not None
    half = np.sqrt(0.5)
    np.testing.assert_allclose(sequence.poses[1][:3, 3], [half, half, 0.0], atol=1e-9)


def test_odometry_of_the_camera_itself_needs_no_transform(tmp_path: Path) -> None:
    """child_frame_id is the image's frame."""
    track = [make.odometry(1000 * MS, at(1.0), child="optical")]
    sequence = bring_in(make.write(tmp_path / "bag", [*simple(2), *track]), tmp_path / "out")
    assert sequence.poses is not None
    np.testing.assert_allclose(sequence.poses[0], at(1.0))
    assert np.isnan(sequence.poses[1]).all()


def test_without_a_transform_there_are_no_poses_but_a_note(tmp_path: Path) -> None:
    """The note names both frames."""
    notes: list[str] = []
    bag = make.write(tmp_path / "bag", [*simple(), make.odometry(1000 * MS, at(1.0))])
    assert bring_in(bag, tmp_path / "out", notes=notes).poses is None
    assert any("'base_link'" in note and "'optical'" in note for note in notes)


def test_several_odometries_ask_which(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each can be named, none too."""
    child = {"child": "optical"}
    tracks = [
        make.odometry(1000 * MS, at(1.0), topic="/vio", **child),
        make.odometry(1000 * MS, at(2.0), topic="/gps/odometry", **child),
    ]
    bag = make.write(tmp_path / "bag", [*simple(2), *tracks])
    line = refusal(bag, capsys)
    assert "/gps/odometry, /vio" in line and "--odometry-topic" in line
    assert "no topic /wheel" in refusal(bag, capsys, "--odometry-topic", "/wheel")
    one = bring_in(bag, tmp_path / "a", odometry_topic="gps/odometry").poses
    assert one is not None and one[0][0, 3] == 2.0
    assert bring_in(bag, tmp_path / "b", odometry_topic="none").poses is None


def test_bad_odometry_is_left_out_and_counted(tmp_path: Path) -> None:
    """A quaternion of zeros, a stamp that runs back."""
    zero = at(5.0)
    entry = make.odometry(1050 * MS, zero, child="optical")
    entry[3].pose.pose.orientation.w = 0.0
    late = make.odometry(900 * MS, at(7.0), child="optical")
    good = [make.odometry(t * MS, at(t / 1000), child="optical") for t in (1000, 1100)]
    notes: list[str] = []
    # The order of recording is that of the list: a message may be recorded late.
    entries = [*simple(2), good[0], entry, (*late[:2], 1060 * MS, late[3]), good[1]]
    bag = make.write(tmp_path / "bag", entries)
    sequence = bring_in(bag, tmp_path / "out", notes=notes)
    assert sequence.poses is not None
    np.testing.assert_allclose(sequence.poses[:, 0, 3], [1.0, 1.1])
    assert any("2 messages of /odometry left out" in note for note in notes)


def test_distorted_camera_is_undistorted(tmp_path: Path) -> None:
    """prepare rectifies with the bag's own D, as with a calibration file."""
    entries = [make.info(1000 * MS, D=D), make.image(1000 * MS, picture(0))]
    sequence = bring_in(make.write(tmp_path / "bag", entries), tmp_path / "out")
    geometry = build_geometry(SourceCamera(CAMERA, "brown_conrady", D))
    assert sequence.camera == geometry.camera
    np.testing.assert_array_equal(sequence.read_frame(0), geometry.colour(picture(0)))


def test_rectified_topic_is_not_rectified_again(tmp_path: Path) -> None:
    """image_rect has the pinhole of P, whatever D says of the lens."""
    topic = {"topic": "/cam/image_rect"}
    entries = [make.info(1000 * MS, D=D), make.image(1000 * MS, picture(0), **topic)]
    entries[0][3].p[:] = [25.0, 0, 14.0, 0, 0, 26.0, 11.0, 0, 0, 0, 1.0, 0]
    sequence = bring_in(make.write(tmp_path / "bag", entries), tmp_path / "out")
    assert sequence.camera == Camera(32, 24, 25.0, 26.0, 14.0, 11.0)
    np.testing.assert_array_equal(sequence.read_frame(0), picture(0))


def test_each_topic_is_a_sequence_and_depth_is_none(tmp_path: Path) -> None:
    """Two cameras are two sequences; the depth camera's topic is left alone."""
    depth = make.image(1000 * MS, picture(0), topic="/depth/image_raw")
    depth[3].encoding, depth[3].step = "32FC1", 128
    depth[3].data = np.zeros(128 * 24, np.uint8)
    left = [make.info(1000 * MS, topic="/left/camera_info")]
    left += [make.image(1000 * MS, picture(1), topic="/left/image_raw")]
    right = [make.info(1000 * MS, topic="/right/camera_info")]
    right += [make.image(1000 * MS, picture(2), topic="/right/image_raw")]
    bag = make.write(tmp_path / "bag", [depth, *left, *right])
    results = prepare(PrepareOptions(source=bag, out=tmp_path / "out", ext="png"))
    assert [result.name for result in results] == ["left_image_raw", "right_image_raw"]
    # A topic may be named as ROS writes it.
    second = bring_in(bag, tmp_path / "one", sequence="/right/image_raw")
    np.testing.assert_array_equal(second.read_frame(0), picture(2))


def test_calibration_is_what_the_user_says_first(tmp_path: Path) -> None:
    """--camera overrules; without camera_info a file beside the bag, or a guess, does."""
    other = SourceCamera(Camera(32, 24, 50.0, 50.0, 16.0, 12.0))
    bag = make.write(tmp_path / "bag", simple(2))
    assert bring_in(bag, tmp_path / "a", camera=other).camera == other.camera
    bare = make.write(tmp_path / "bare", [make.image(1000 * MS, picture(0))])
    with pytest.raises(DataError, match=r"no /cam/camera_info in the bag; .*--camera"):
        bring_in(bare, tmp_path / "b")
    assert bring_in(bare, tmp_path / "b", fov=90.0).camera.fx == pytest.approx(16.0)


def test_uncalibrated_camera_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """K[0] = 0 is no calibration."""
    entries = simple(1)
    entries[0][3].k[:] = 0.0
    assert "not calibrated" in refusal(make.write(tmp_path / "bag", entries), capsys)


def test_stamps_that_do_not_rise_are_left_out(tmp_path: Path) -> None:
    """A repeated and an older stamp: the first of each time counts."""
    frames = [(0, 1000), (1, 1100), (2, 1100), (3, 1050), (4, 1200)]
    entries = [make.info(900 * MS)]
    entries += [
        make.image(stamp * MS, picture(i), received=(1000 + 10 * i) * MS) for i, stamp in frames
    ]
    notes: list[str] = []
    sequence = bring_in(make.write(tmp_path / "bag", entries), tmp_path / "out", notes=notes)
    assert sequence.times.tolist() == [1.0, 1.1, 1.2]
    np.testing.assert_array_equal(sequence.read_frame(2), picture(4))
    assert any("2 messages of /cam/image_raw left out" in note for note in notes)


def test_stamp_of_zero_is_the_time_of_recording(tmp_path: Path) -> None:
    """As a node takes the time of receipt."""
    entries = [make.info(900 * MS)]
    entries += [make.image(0, picture(i), received=(1000 + 100 * i) * MS) for i in range(3)]
    notes: list[str] = []
    sequence = bring_in(make.write(tmp_path / "bag", entries), tmp_path / "out", notes=notes)
    np.testing.assert_allclose(sequence.times, [1.0, 1.1, 1.2])
    assert any("3 frames have stamp 0" in note for note in notes)


def test_frames_per_second_overrule_times_but_not_poses(tmp_path: Path) -> None:
    """Poses belong to the stamps that were recorded."""
    track = [make.odometry(t * MS, at(t / 1000), child="optical") for t in (1000, 1300)]
    bag = make.write(tmp_path / "bag", [*simple(4), *track])
    sequence = bring_in(bag, tmp_path / "out", fps=2.0, max_gap=0.5)
    assert sequence.times.tolist() == [0.0, 0.5, 1.0, 1.5]
    assert sequence.poses is not None
    np.testing.assert_allclose(sequence.poses[:, 0, 3], [1.0, 1.1, 1.2, 1.3])


# --- broken ---------------------------------------------------------------------------------------


def test_broken_messages_are_unreadable_frames(tmp_path: Path) -> None:
    """Short data, wrong step, unknown encoding, a cut JPEG's like: counted, the rest is kept."""
    entries = simple(80)
    entries[5][3].step = 3
    entries[21][3].encoding = "xyz8"
    topic, kind, time, message = entries[41]
    entries[41] = (topic, kind, time, b"\x00\x01\x00\x00\x01\x00")
    request = PrepareOptions(source=make.write(tmp_path / "bag", entries), out=tmp_path / "out")
    (result,) = prepare(request)
    assert (result.frames, len(result.unreadable)) == (77, 3)
    assert "message 2: image: step is 3 bytes" in result.unreadable[0]
    assert "xyz8" in result.unreadable[1] and "message 20" in result.unreadable[2]


def test_too_many_broken_messages_are_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """More than 5 %: the recording itself is broken."""
    whole, cut = encode(picture(0), "jpg"), encode(picture(1), "jpg")[:-20]
    entries = [make.info(1000 * MS)]
    entries += [make.compressed((1000 + i) * MS, whole if i < 8 else cut) for i in range(10)]
    assert "truncated" in refusal(make.write(tmp_path / "bag", entries), capsys)


def test_no_message_is_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All of a topic broken."""
    entries = [make.info(1000 * MS), make.compressed(1000 * MS, b"")]
    bag = make.write(tmp_path / "bag", entries)
    assert "none of 1 messages is a picture" in refusal(bag, capsys)


def test_bag_without_pictures_names_what_it_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line with topics and types, of unknown packages too."""
    text = make.new("std_msgs/msg/String", "hello")
    entries = [("/chatter", "std_msgs/msg/String", 1, text)]
    line = refusal(make.write(tmp_path / "bag", entries), capsys)
    assert "no topic of pictures" in line and "/chatter (std_msgs/msg/String)" in line


def test_unknown_types_beside_pictures_are_no_matter(tmp_path: Path) -> None:
    """A bag of a robot holds messages of its own packages."""
    from rosbags.typesys import get_types_from_msg

    types = make.standard_types()
    types.register(get_types_from_msg("int32 x", "my_robot/msg/Secret"))
    secret = ("/secret", "my_robot/msg/Secret", 1000 * MS, make.new("my_robot/msg/Secret", 7))
    bag = make.write(tmp_path / "bag", [secret, *simple(2)])
    make.standard_types.cache_clear()
    assert len(bring_in(bag, tmp_path / "out")) == 2


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_empty_and_truncated_bags_are_one_line(
    tmp_path: Path, storage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing in it; cut to its first bytes; cut to nothing; the storage file gone."""
    empty = make.write(tmp_path / "empty", [], storage=storage)
    assert "bag is empty" in refusal(empty, capsys)
    bag = make.write(tmp_path / "bag", simple(50), storage=storage)
    file = next(path for path in bag.iterdir() if path.suffix != ".yaml")
    data = file.read_bytes()
    for size, word in ((100, "cut short"), (0, "0 bytes")):
        file.write_bytes(data[:size])
        assert word in refusal(bag, capsys)
        assert word in refusal(file, capsys)
    file.unlink()
    assert "cannot be read" in refusal(bag, capsys)


def test_several_recordings_in_a_folder_and_a_cut_ros_1_bag_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each says what to do."""
    bag = make.write(tmp_path / "bag", simple(1))
    (tmp_path / "flight.bag").write_bytes(b"#ROSBAG V2.0\n")
    assert "rosbag reindex" in refusal(tmp_path / "flight.bag", capsys)
    two = tmp_path / "two"
    two.mkdir()
    for name in ("a.mcap", "b.mcap"):
        shutil.copy(bag / "bag.mcap", two / name)
    assert "ros2 bag reindex" in refusal(two, capsys)


def test_image_of_another_size_names_the_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A resolution that changes in the middle is no sequence."""
    entries = [*simple(3), make.image(2000 * MS, picture(9, (48, 64)))]
    assert "64x48" in refusal(make.write(tmp_path / "bag", entries), capsys)


def test_missing_rosbags_names_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line says what to install."""
    bag = make.write(tmp_path / "bag", simple(1))
    monkeypatch.setitem(sys.modules, "rosbags.rosbag2", None)
    assert install_line("bag") in refusal(bag, capsys)


# --- properties -----------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["<", ">"])
def test_stamp_is_read_and_replaced_in_either_byte_order(order: str) -> None:
    """Only the eight bytes of the stamp change."""
    little = order == "<"
    message = make.image(1234567890123456789, picture(0))[3]
    types = make.standard_types()
    data = bytes(types.serialize_cdr(message, make.IMAGE, little_endian=little))
    assert header_stamp(data) == 1234567890123456789
    changed = with_stamp(data, 42 * 10**9 + 7)
    again = types.deserialize_cdr(changed, make.IMAGE)
    assert (again.header.stamp.sec, again.header.stamp.nanosec) == (42, 7)
    assert changed[:4] == data[:4] and changed[12:] == data[12:]
    assert header_stamp(data[:11]) is None


def test_poses_at_once_are_poses_one_by_one() -> None:
    """What infer interpolates for a whole bag is, to the byte, what a node does for each frame."""
    rng = np.random.default_rng(0)
    stamps = np.sort(rng.uniform(0, 10, 200))
    track = Trajectory(stamps, exp_se3(rng.normal(size=(200, 6))))
    times = rng.uniform(stamps[0], stamps[-1], 100)
    at_once, known = interpolate_poses(track, times, 1.0)
    assert known.all()
    for time, pose in zip(times, at_once, strict=True):
        after = int(np.searchsorted(stamps, time))
        near = track.take(np.array([after - 1, after]))
        np.testing.assert_array_equal(interpolate_poses(near, [time], 1.0)[0][0], pose)


def test_report_names_the_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--json says bag, and camera.yaml where frames and K came from."""
    bag = make.write(tmp_path / "bag", simple(2))
    words = ["prepare", str(bag), "--out", str(tmp_path / "out"), "--format", "bag", "--json"]
    assert main(words) == 0
    (record,) = json.loads(capsys.readouterr().out)["sequences"]
    assert (record["name"], record["format"], record["frames"]) == ("cam_image_raw", "bag", 2)
    text = (tmp_path / "out" / "cam_image_raw" / "camera.yaml").read_text()
    assert "topic: /cam/image_raw" in text and "calibration: /cam/camera_info" in text


# --- recorders ------------------------------------------------------------------------------------


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("mode", ["FILE", "MESSAGE"])
def test_compressed_storage_is_read(tmp_path: Path, storage: str, mode: str) -> None:
    """`ros2 bag record --compression-mode file|message --compression-format zstd`."""
    rosbag2 = make.rosbags_module("rosbag2")
    how = (rosbag2.CompressionMode[mode], rosbag2.CompressionFormat.ZSTD)
    bag = make.write(tmp_path / "bag", simple(3), storage=storage, compression=how)
    sequence = bring_in(bag, tmp_path / "out")
    np.testing.assert_array_equal(sequence.read_frame(2), picture(2))


def test_bag_in_several_files_is_one(tmp_path: Path) -> None:
    """`ros2 bag record --max-bag-size` goes on in a second file."""
    first = make.write(tmp_path / "bag", simple(3))
    second = make.write(tmp_path / "second", simple(3, start=1300 * MS))
    shutil.copy(second / "second.mcap", first)
    text = (first / "metadata.yaml").read_text()
    names = "relative_file_paths:\n  - bag.mcap\n"
    assert names in text
    (first / "metadata.yaml").write_text(text.replace(names, names + "  - second.mcap\n"))
    sequence = bring_in(first, tmp_path / "out")
    np.testing.assert_allclose(sequence.times, 1 + np.arange(6) / 10)
    np.testing.assert_array_equal(sequence.read_frame(4), picture(1))


def test_bag_of_an_older_distribution_is_read(tmp_path: Path) -> None:
    """Up to Humble sqlite3 holds no definitions of its messages."""
    bag = make.write(tmp_path / "bag", simple(3), storage="sqlite3")
    connection = sqlite3.connect(bag / "bag.db3")
    connection.execute("UPDATE schema SET schema_version = 3")
    connection.execute("DROP TABLE message_definitions")
    connection.commit()
    connection.close()
    assert len(bring_in(bag, tmp_path / "out")) == 3


def test_bits_in_use_of_deep_pixels(tmp_path: Path) -> None:
    """The largest value of 12 bits is white."""
    entry = make.image(1000 * MS, picture(0))
    entry[3].encoding, entry[3].step = "mono16", 64
    entry[3].data = np.full((24, 32), 4095, "<u2").reshape(-1).view(np.uint8)
    bag = make.write(tmp_path / "bag", [make.info(1000 * MS), entry])
    assert bring_in(bag, tmp_path / "white", bits=12).read_frame(0).min() == 255
    assert bring_in(bag, tmp_path / "dark").read_frame(0).max() == 16
