# SPDX-License-Identifier: Apache-2.0
"""A sequence as a bag: what any ROS program reads in it is what the sequence holds."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rosbags.rosbag2", reason="rosbags is not installed (extra [bag])")

from data.source_makers import picture

from depthkit.camera import Camera
from depthkit.data.bag import Recorded, header_stamp, parse, read_contents, read_recorded
from depthkit.data.bag_writer import BagOptions, stamp_of, twists, write_bag
from depthkit.data.image_io import encode
from depthkit.data.sequence import Sequence, SequenceWriter, open_sequence, write_split
from depthkit.data.stream import open_stream
from depthkit.errors import DataError
from depthkit.rigid import exp_se3, make_pose
from depthkit.trajectory import Imu

CAMERA = Camera(32, 24, 30.0, 31.0, 15.0, 12.0)
AHEAD = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
"""The axes of an optical frame in a body that looks along its x axis."""
CHECKOUT = Path(__file__).resolve().parents[2]


def make_sequence(
    folder: Path, *, count: int = 5, start: float = 10.0, depth_kind: str = "metric"
) -> Sequence:
    """Frames at 10 Hz that move 0.1 m along x each; the one in the middle has no pose."""
    with SequenceWriter(folder, CAMERA, ext="png", depth_kind=depth_kind) as writer:
        for i in range(count):
            pose = None if i == 2 else make_pose(np.eye(3), [0.1 * i, 0.0, 0.0])
            writer.add_frame(picture(i), start + i / 10, pose)
    return open_sequence(folder)


def read_all(bag: Path) -> dict[str, list[Recorded]]:
    """Read a bag by topics."""
    found: dict[str, list[Recorded]] = {}
    names = {topic.name for topic in read_contents(bag).topics}
    for message in read_recorded(bag, names):
        found.setdefault(message.topic, []).append(message)
    return found


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_bag_holds_every_frame_with_its_camera_at_its_stamp(tmp_path: Path, storage: str) -> None:
    """Pixels as bgr8, K and stamps to the nanosecond, recorded at the stamps."""
    sequence = make_sequence(tmp_path / "walk")
    counts = write_bag(sequence, tmp_path / "bag", BagOptions(storage=storage))  # type: ignore[arg-type]
    assert counts == {"/camera_info": 5, "/image": 5, "/odometry": 4}
    found = read_all(tmp_path / "bag")
    for i, (image, info) in enumerate(zip(found["/image"], found["/camera_info"], strict=True)):
        assert image.received == info.received == (100 + i) * 10**8
        assert header_stamp(image.data) == header_stamp(info.data) == image.received
        message, camera = parse(image), parse(info)
        assert (message.encoding, message.step, message.height) == ("bgr8", 96, 24)
        pixels = message.data.reshape(24, 32, 3)[..., ::-1]
        np.testing.assert_array_equal(pixels, picture(i))
        assert message.header.frame_id == camera.header.frame_id == "camera_optical"
        assert camera.k.tolist() == CAMERA.K.reshape(9).tolist()
        assert camera.p.reshape(3, 4)[:, :3].tolist() == CAMERA.K.tolist()
        assert (camera.width, camera.height, any(camera.d)) == (32, 24, False)


def test_odometry_is_the_path_with_its_speed(tmp_path: Path) -> None:
    """0.1 m in 0.1 s is 1 m/s, also across the frame without a pose, which gets no message."""
    sequence = make_sequence(tmp_path / "walk")
    write_bag(sequence, tmp_path / "bag")
    messages = [parse(message) for message in read_all(tmp_path / "bag")["/odometry"]]
    places = [message.pose.pose.position.x for message in messages]
    np.testing.assert_allclose(places, [0.0, 0.1, 0.3, 0.4], atol=1e-12)
    speeds = [message.twist.twist.linear.x for message in messages]
    np.testing.assert_allclose(speeds, 1.0, atol=1e-9)
    assert {(m.header.frame_id, m.child_frame_id) for m in messages} == {("odom", "camera_optical")}


def test_extrinsic_makes_it_odometry_of_the_vehicle(tmp_path: Path) -> None:
    """Camera at T, 0.2 m ahead on its vehicle: the vehicle is at T times the inverse of that."""
    sequence = make_sequence(tmp_path / "walk")
    T_base_cam = make_pose(AHEAD, [0.2, 0.0, 0.5])
    write_bag(sequence, tmp_path / "bag", BagOptions(T_base_cam=T_base_cam))
    found = read_all(tmp_path / "bag")
    (static,) = parse(found["/tf_static"][0]).transforms
    assert (static.header.frame_id, static.child_frame_id) == ("base_link", "camera_optical")
    place = static.transform.translation
    np.testing.assert_allclose([place.x, place.y, place.z], [0.2, 0.0, 0.5])
    first = parse(found["/odometry"][0])
    assert first.child_frame_id == "base_link"
    # Seen from the camera at the world's origin, the body's origin is -R^T t: 0.2 m ahead of it and
    # 0.5 m below the camera means 0.5 m down (y) and 0.2 m back (-z) in camera axes.
    position = first.pose.pose.position
    np.testing.assert_allclose([position.x, position.y, position.z], [0.0, 0.5, -0.2], atol=1e-12)


def test_transform_is_latched(tmp_path: Path) -> None:
    """A late joiner of `ros2 bag play` gets /tf_static: reliable, transient local."""
    sequence = make_sequence(tmp_path / "walk")
    write_bag(sequence, tmp_path / "bag", BagOptions(T_base_cam=np.eye(4), storage="sqlite3"))
    text = (tmp_path / "bag" / "metadata.yaml").read_text()
    static = text[text.index("durability: transient_local") :]
    assert "reliability: reliable" in static and text.count("transient_local") == 1


def test_odometry_rate_interpolates_where_poses_are_near(tmp_path: Path) -> None:
    """20 a second over 0.4 s are 9 messages at the linear path."""
    sequence = make_sequence(tmp_path / "walk")
    write_bag(sequence, tmp_path / "bag", BagOptions(odometry_rate=20.0))
    messages = read_all(tmp_path / "bag")["/odometry"]
    stamps = [header_stamp(message.data) for message in messages]
    assert stamps == [10**10 + i * 50 * 10**6 for i in range(9)]
    places = [parse(message).pose.pose.position.x for message in messages]
    np.testing.assert_allclose(places, np.arange(9) * 0.05, atol=1e-12)


@pytest.mark.parametrize("rate", [3.0, 7.0, 15.0, 30.0])
def test_last_frame_is_not_beyond_the_odometry(tmp_path: Path, rate: float) -> None:
    """The last message has the last frame's stamp and place; the others keep their rate."""
    sequence = make_sequence(tmp_path / "walk", start=0.1)
    write_bag(sequence, tmp_path / "bag", BagOptions(odometry_rate=rate))
    found = read_all(tmp_path / "bag")
    stamps = np.array([header_stamp(message.data) for message in found["/odometry"]])
    assert stamps[-1] == header_stamp(found["/image"][-1].data)
    assert parse(found["/odometry"][-1]).pose.pose.position.x == pytest.approx(0.4)
    steps = np.diff(stamps)
    np.testing.assert_allclose(steps[:-1], 1e9 / rate, atol=2)
    assert 1e3 < steps[-1] < 1e9 / rate + 2


def test_poses_without_a_unit_are_no_odometry(tmp_path: Path) -> None:
    """nav_msgs/Odometry promises metres."""
    sequence = make_sequence(tmp_path / "walk", depth_kind="up_to_scale")
    assert set(write_bag(sequence, tmp_path / "bag")) == {"/camera_info", "/image"}


def test_compressed_keeps_the_bytes_of_jpeg_frames(tmp_path: Path) -> None:
    """A JPEG is not decoded and encoded again; a PNG becomes a JPEG."""
    with SequenceWriter(tmp_path / "walk", CAMERA, ext="jpg") as writer:
        writer.add_frame(picture(0), 1.0)
    write_bag(open_sequence(tmp_path / "walk"), tmp_path / "bag", BagOptions(compressed=True))
    (message,) = read_all(tmp_path / "bag")["/image/compressed"]
    stored = (tmp_path / "walk" / "frames" / "000000.jpg").read_bytes()
    assert (parse(message).format, parse(message).data.tobytes()) == ("jpeg", stored)
    write_bag(make_sequence(tmp_path / "png"), tmp_path / "two", BagOptions(compressed=True))
    message = read_all(tmp_path / "two")["/image/compressed"][0]
    assert parse(message).data.tobytes() == encode(picture(0), "jpg")


def test_existing_and_broken_leave_nothing_behind(tmp_path: Path) -> None:
    """Nothing is overwritten; a frame that cannot be read leaves no half bag."""
    sequence = make_sequence(tmp_path / "walk")
    write_bag(sequence, tmp_path / "bag")
    with pytest.raises(DataError, match="bag: exists already"):
        write_bag(sequence, tmp_path / "bag")
    sequence.frames[3].write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"000003.png"):
        write_bag(sequence, tmp_path / "other")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bag", "walk"]


def test_force_replaces_a_bag_and_nothing_else(tmp_path: Path) -> None:
    """The new bag stands in its place; another folder stays, so does the old one at a fault."""
    write_bag(make_sequence(tmp_path / "long"), tmp_path / "bag")
    short = make_sequence(tmp_path / "short", count=2)
    write_bag(short, tmp_path / "bag", force=True)
    assert len(read_all(tmp_path / "bag")["/image"]) == 2
    with pytest.raises(DataError, match="long: is no bag folder; choose another"):
        write_bag(short, tmp_path / "long", force=True)
    short.frames[1].write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"000001.png"):
        write_bag(short, tmp_path / "bag", force=True)
    assert len(read_all(tmp_path / "bag")["/image"]) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bag", "long", "short"]


def test_twists_are_those_of_a_turn_by_hand() -> None:
    """A constant twist is found again, whatever the steps of time."""
    twist = np.array([0.3, -0.2, 0.1, 0.05, 0.2, -0.1])
    times = np.array([0.0, 0.1, 0.25, 0.3])
    np.testing.assert_allclose(
        twists(times, exp_se3(times[:, None] * twist)), np.tile(twist, (4, 1)), atol=1e-12
    )
    assert twists(times[:1], np.eye(4)[None]).tolist() == [[0.0] * 6]


def test_stamps_are_exact_and_never_zero() -> None:
    """To the last digit of the float; 0, which ROS reads as not set, is 1 ns."""
    assert stamp_of(1305031102.175304) == 1305031102175303936
    assert [stamp_of(time) for time in (0.0, 0.1, 1 / 3, -0.5)] == [
        1,
        100000000,
        333333333,
        -500000000,
    ]


def test_script_writes_and_says_what(tmp_path: Path) -> None:
    """The program's words; an error is one line and exit 1."""
    make_sequence(tmp_path / "walk")
    script = str(CHECKOUT / "scripts" / "sequence_to_bag.py")
    words = [sys.executable, script, str(tmp_path / "walk"), str(tmp_path / "bag")]
    extrinsic = ["--extrinsic", "0", "0", "1", "-1.5708", "0", "-1.5708"]
    done = subprocess.run(
        [*words, "--storage", "sqlite3", *extrinsic], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "5 /image" in done.stdout and "1 /tf_static" in done.stdout
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "use --force" in done.stderr
    assert subprocess.run([*words, "--force"], capture_output=True).returncode == 0


def test_a_data_set_names_its_sequences(tmp_path: Path) -> None:
    """`depthkit prepare --out data` makes a data set: the bag is made of one of its sequences."""
    make_sequence(tmp_path / "walk")
    write_split(tmp_path, train=["walk"])
    with pytest.raises(DataError, match=r"is a data set; give one of its sequences \(walk\)"):
        open_sequence(tmp_path)


def test_imu_goes_through_a_bag(tmp_path: Path) -> None:
    """Samples and T_cam_imu of a sequence folder come back from the bag that is made of it."""
    rows = np.zeros((60, 7))
    rows[:, 0], rows[:, 2], rows[:, 6] = 0.9 + np.arange(60) / 200, 0.25, 9.81
    T_cam_imu = exp_se3([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    for name, samples in (("both", rows), ("gyro", np.where(np.arange(7) > 3, np.nan, rows))):
        with SequenceWriter(tmp_path / name, CAMERA) as writer:
            for i in range(3):
                writer.add_frame(np.full((*CAMERA.size, 3), 40 * i, np.uint8), 1 + i / 20)
            writer.write_imu(Imu(samples, T_cam_imu))
        counts = write_bag(open_sequence(tmp_path / name), tmp_path / f"{name}_bag")
        assert (counts["/imu"], counts["/tf_static"]) == (60, 1)
        imu = open_stream(tmp_path / f"{name}_bag").imu
        np.testing.assert_allclose(imu.rows, samples, atol=1e-9)
        np.testing.assert_allclose(imu.T_cam_imu, T_cam_imu, atol=1e-9)
