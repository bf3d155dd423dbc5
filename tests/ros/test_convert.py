# SPDX-License-Identifier: Apache-2.0
"""Arrays to real messages: bytes, steps, what is not known, and the way back."""

import os
import subprocess
import sys
from array import array

import numpy as np
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from depthkit.camera import Camera
from depthkit.errors import ShapeError
from depthkit.rigid import exp_se3, make_pose
from depthkit.ros_messages import nanoseconds, read_camera, read_image, read_pose, read_transform
from depthkit.runtime.result import SparsePoints
from ros_nodes.convert import (
    camera_info_message,
    cloud_message,
    depth_message,
    grid_message,
    image_message,
    points_message,
    pose_message,
    stamp_message,
    transform_message,
)

pytestmark = pytest.mark.ros

NOW = 1_795_000_000_123_456_789


def header(frame_id="camera_optical") -> Header:
    return Header(stamp=stamp_message(NOW), frame_id=frame_id)


def sent(message):
    """The message as another process gets it."""
    return deserialize_message(serialize_message(message), type(message))


def pixels_of(message: Image, dtype) -> np.ndarray:
    """The rows of a message as its step and type say."""
    rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
    return rows.view(dtype)


# --- images --------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "mono8"])
def test_picture_survives_the_wire(encoding):
    """What read_image gives of the message is the picture that went in."""
    shape = (5, 7) if encoding == "mono8" else (5, 7, 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    message = sent(image_message(pixels, encoding, header()))
    assert message.step == 7 * (1 if encoding == "mono8" else 3)
    assert isinstance(message.data, array) and message.data.typecode == "B"
    expected = {"rgb8": pixels, "bgr8": pixels[..., ::-1], "mono8": pixels[..., None]}[encoding]
    np.testing.assert_array_equal(read_image(message), np.broadcast_to(expected, (5, 7, 3)))


def test_picture_keeps_time_and_frame():
    """Stamp and frame are those of the source image, to the nanosecond."""
    message = sent(image_message(np.zeros((2, 2), np.uint8), "mono8", header()))
    assert nanoseconds(message.header.stamp) == NOW
    assert message.header.frame_id == "camera_optical"


def test_slices_are_sent_as_they_look():
    """A view with a stride (channels turned round, every other column) goes out row by row."""
    rgb = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    message = image_message(rgb[:, ::2, ::-1], "bgr8", header())
    assert (message.width, message.step) == (3, 9)
    np.testing.assert_array_equal(read_image(message), rgb[:, ::2])


@pytest.mark.parametrize(
    ("pixels", "encoding"),
    [
        (np.zeros((2, 2), np.uint8), "bgr8"),
        (np.zeros((2, 2, 3), np.uint8), "mono8"),
        (np.zeros((2, 2), np.float64), "32FC1"),
        (np.zeros((2, 2, 3), np.float32), "rgb8"),
    ],
)
def test_pixels_of_another_kind_are_a_bug(pixels, encoding):
    """Shape and type must be the encoding's, or the receiver would read noise."""
    with pytest.raises(ShapeError, match="image_message: "):
        image_message(pixels, encoding, header())


# --- depth ---------------------------------------------------------------------------------------


def some_depth() -> tuple[np.ndarray, np.ndarray]:
    """Depth of 0 to 80 m, of which 70 % is valid. Two of (48, 64)"""
    generator = np.random.default_rng(0)
    depth = generator.random((48, 64), dtype=np.float32) * 80
    return depth, generator.random((48, 64)) < 0.7


def test_valid_metres_are_the_engine_s_own_bytes():
    """32FC1 holds the float32 of the engine bit by bit where valid, NaN elsewhere."""
    depth, valid = some_depth()
    before = depth.copy()
    message = sent(depth_message(depth, valid, header()))
    assert (message.encoding, message.step, message.is_bigendian) == ("32FC1", 256, 0)
    metres = pixels_of(message, np.float32)
    assert metres[valid].tobytes() == depth[valid].tobytes()
    assert np.isnan(metres[~valid]).all()
    np.testing.assert_array_equal(depth, before)


def test_millimetres_are_rounded_and_0_where_they_do_not_fit():
    """16UC1: not valid, not finite, not above 0 or from 65.535 m on is 0; the rest is rounded."""
    metres = [[1.0, 0.0004, 0.0006, 1.2346, 65.534, 65.5349, 65.535, 65.536]]
    metres += [[np.nan, np.inf, -np.inf, -1.0, 0.0, 1000.0, 2.0, 3.0]]
    depth = np.array(metres, np.float32)
    valid = np.ones((2, 8), bool)
    valid[1, 6] = False
    with np.errstate(all="raise"):
        message = sent(depth_message(depth, valid, header(), encoding="16UC1"))
    assert (message.encoding, message.step) == ("16UC1", 16)
    expected = [[1000, 0, 1, 1235, 65534, 65535, 0, 0], [0, 0, 0, 0, 0, 0, 0, 3000]]
    np.testing.assert_array_equal(pixels_of(message, np.uint16), expected)


def test_millimetres_are_within_half_of_one():
    """Over the whole range no valid depth is off by more than the rounding."""
    depth, valid = some_depth()
    message = depth_message(depth, valid, header(), encoding="16UC1")
    read = pixels_of(message, np.uint16) / 1000
    fits = valid & (depth < 65.535)
    assert np.abs(read - depth)[fits].max() < 0.000505
    assert (read[~fits] == 0).all()


def test_depth_of_another_type_is_a_bug():
    """float64 would have the receiver read twice as many pixels."""
    with pytest.raises(ShapeError, match="32FC1 takes float32, got float64"):
        depth_message(np.ones((2, 2)), np.ones((2, 2), bool), header())


# --- cameras -------------------------------------------------------------------------------------


def test_camera_of_a_resized_image_comes_back():
    """Half of 641x480 pixels: K moves with the pixels and is read back from K and from P alike."""
    camera = Camera(641, 480, 500.0, 510.0, 330.0, 235.0).resized((240, 320))
    message = sent(camera_info_message(camera, header()))
    assert (message.width, message.height) == (320, 240)
    assert message.k[2] == pytest.approx(330.5 * 320 / 641 - 0.5)
    for rectified in (False, True):
        source = read_camera(message, (240, 320), rectified=rectified)
        assert source.camera == camera and not source.is_distorted


def test_camera_is_said_as_ros_wants_a_rectified_one():
    """Five zeros of plumb_bob, R the identity, P = [K | 0], no binning, the full sensor."""
    message = sent(camera_info_message(Camera(64, 48, 50.0, 51.0, 31.0, 23.0), header()))
    assert message.distortion_model == "plumb_bob" and list(message.d) == [0.0] * 5
    assert message.k.tolist() == [50, 0, 31, 0, 51, 23, 0, 0, 1]
    assert message.r.tolist() == np.eye(3).ravel().tolist()
    assert message.p.tolist() == [50, 0, 31, 0, 0, 51, 23, 0, 0, 0, 1, 0]
    assert (message.binning_x, message.roi.width, message.roi.do_rectify) == (0, 0, False)


# --- poses and stamps ----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_pose_comes_back(seed):
    """Pose -> message -> pose and transform -> message -> transform, at any angle."""
    T = exp_se3(np.random.default_rng(seed).normal(0, 2, 6))
    np.testing.assert_allclose(read_pose(sent(pose_message(T))), T, atol=1e-12)
    message = sent(transform_message(T, header("odom"), "base_link"))
    np.testing.assert_allclose(read_transform(message.transform), T, atol=1e-12)
    assert (message.header.frame_id, message.child_frame_id) == ("odom", "base_link")


@pytest.mark.parametrize("ns", [0, 1, 999_999_999, 1_000_000_000, NOW])
def test_stamp_comes_back(ns):
    """No nanosecond is lost on the way."""
    assert nanoseconds(stamp_message(ns)) == ns


# --- every distribution --------------------------------------------------------------------------

CHECKED = """
import numpy as np
from ros_nodes.convert import *
from depthkit.camera import Camera
header = transform_message(np.eye(4), Header(stamp=stamp_message(5)), "b").header
assert image_message(np.zeros((2, 2, 3), np.uint8), "bgr8", header)._check_fields
depth_message(np.ones((2, 2), np.float32), np.ones((2, 2), bool), header)
camera_info_message(Camera(64, 48, 50.0, 51.0, 31.0, 23.0), header)
pose_message(np.eye(4))
import sys
assert "rclpy" not in sys.modules
"""


def test_messages_pass_where_ros_checks_every_field():
    """Humble, and Jazzy on request, assert the type of each field; nothing here needs rclpy."""
    environment = {**os.environ, "ROS_PYTHON_CHECK_FIELDS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CHECKED],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


# --- landmarks ------------------------------------------------------------------------------------


def test_landmarks_survive_the_wire():
    """x, y, z in the header's frame, id and sigma; what is not finite is left out."""
    points = SparsePoints(
        ids=np.array([7, 8, 9]),
        pixels=np.zeros((3, 2)),
        positions=np.array([[1.0, 2, 3], [np.nan, 0, 0], [4.0, 5, 6]]),
        sigma=np.array([0.1, 0.2, 0.3]),
    )
    message = sent(points_message(points, make_pose(np.eye(3), [10.0, 0, 0]), header("odom")))
    kinds = np.dtype([("x", "f4"), ("y", "f4"), ("z", "f4"), ("id", "u4"), ("sigma", "f4")])
    assert (message.width, message.height, message.point_step) == (2, 1, kinds.itemsize)
    assert message.header.frame_id == "odom" and message.is_dense
    rows = np.frombuffer(message.data, kinds)
    assert rows["x"].tolist() == [11, 14] and rows["y"].tolist() == [2, 5]
    assert rows["id"].tolist() == [7, 9] and rows["sigma"].tolist() == [
        np.float32(0.1),
        np.float32(0.3),
    ]
    empty = points_message(
        SparsePoints(np.zeros(0, int), np.zeros((0, 2)), np.zeros((0, 3)), np.zeros(0)),
        np.eye(4),
        header("odom"),
    )
    assert sent(empty).width == 0 and len(empty.data) == 0


def test_a_cloud_survives_the_wire():
    """x, y, z of each point; an empty one is a message, too."""
    points = np.array([[1.0, 2, 3], [4, 5, 6]])
    message = sent(cloud_message(points, header("odom")))
    assert [one.name for one in message.fields] == ["x", "y", "z"]
    assert (message.width, message.point_step, message.row_step) == (2, 12, 24)
    assert np.frombuffer(message.data, "<f4").reshape(2, 3).tolist() == points.tolist()
    assert sent(cloud_message(np.zeros((0, 3)), header("odom"))).width == 0


def test_a_grid_survives_the_wire():
    """Rows of rising y from the corner on; unknown is -1."""
    cells = np.array([[-1, 0, 100], [100, 0, -1]], np.int8)
    message = sent(grid_message(cells, np.array([-1.5, 2.0]), 0.5, header("map")))
    assert (message.info.width, message.info.height) == (3, 2)
    assert message.info.resolution == 0.5 and message.info.map_load_time == message.header.stamp
    place = message.info.origin
    assert (place.position.x, place.position.y, place.orientation.w) == (-1.5, 2.0, 1.0)
    assert list(message.data) == [-1, 0, 100, 100, 0, -1]
