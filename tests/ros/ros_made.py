# SPDX-License-Identifier: Apache-2.0
"""Messages for tests, written by hand so that they do not lean on the code under test."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from geometry_msgs.msg import TransformStamped
from nav_msgs.msg import Odometry
from sensor_msgs.msg import CameraInfo, Image


def image(
    array: np.ndarray, stamp: float | int, *, encoding: str = "rgb8", frame_id: str = "camera"
) -> Image:
    """Make an Image of (H, W) or (H, W, C); the stamp is seconds, or nanoseconds if an int."""
    message = Image(height=array.shape[0], width=array.shape[1], encoding=encoding)
    _fill_header(message.header, stamp, frame_id)
    message.step = array.strides[0] if array.flags.c_contiguous else array[0].nbytes
    message.data.frombytes(np.ascontiguousarray(array).tobytes())
    return message


def camera_info(
    K: np.ndarray,
    size: tuple[int, int],
    stamp: float | int,
    *,
    D: Sequence[float] = (),
    model: str = "plumb_bob",
    frame_id: str = "camera",
) -> CameraInfo:
    """Make a CameraInfo of (3, 3) K, pixels, and size (H, W)."""
    message = CameraInfo(height=size[0], width=size[1], distortion_model=model)
    _fill_header(message.header, stamp, frame_id)
    K = np.asarray(K, float)
    message.d = [float(value) for value in (D or (0.0,) * 5)]
    message.k, message.r = K.ravel(), np.eye(3).ravel()
    message.p = np.hstack([K, np.zeros((3, 1))]).ravel()
    return message


def odometry(
    position: Sequence[float],
    quaternion_xyzw: Sequence[float],
    stamp: float | int,
    *,
    frame_id: str = "odom",
    child_frame_id: str = "base_link",
) -> Odometry:
    """Make an Odometry: metres, unit quaternion."""
    message = Odometry(child_frame_id=child_frame_id)
    _fill_header(message.header, stamp, frame_id)
    pose = message.pose.pose
    pose.position.x, pose.position.y, pose.position.z = map(float, position)
    (
        pose.orientation.x,
        pose.orientation.y,
        pose.orientation.z,
        pose.orientation.w,
    ) = map(float, quaternion_xyzw)
    return message


def transform(
    position: Sequence[float], quaternion_xyzw: Sequence[float], parent: str, child: str
) -> TransformStamped:
    """Make a TransformStamped: parent <- child, metres, unit quaternion."""
    message = TransformStamped(child_frame_id=child)
    message.header.frame_id = parent
    shift, turn = message.transform.translation, message.transform.rotation
    shift.x, shift.y, shift.z = map(float, position)
    turn.x, turn.y, turn.z, turn.w = map(float, quaternion_xyzw)
    return message


def nanoseconds_of(message: Any) -> int:
    """Return the stamp of a message with a header."""
    return message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec


def _fill_header(header: Any, stamp: float | int, frame_id: str) -> None:
    nanoseconds = stamp if isinstance(stamp, int) else round(stamp * 1e9)
    header.stamp.sec, header.stamp.nanosec = divmod(nanoseconds, 1_000_000_000)
    header.frame_id = frame_id
