# SPDX-License-Identifier: Apache-2.0
"""Small bags of any messages, good and bad, as a recorder leaves them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from depthkit.camera import Camera
from depthkit.data.bag import (
    CAMERA_INFO,
    COMPRESSED_IMAGE,
    IMAGE,
    ODOMETRY,
    TRANSFORMS,
    rosbags_module,
    standard_types,
)
from depthkit.data.bag_imu import IMU
from depthkit.rigid import matrix_to_quaternion

CAMERA = Camera(32, 24, 30.0, 31.0, 15.0, 12.0)
MS = 10**6
"""Nanoseconds."""

Entry = tuple[str, str, int, Any]
"""Topic, type, time of recording in nanoseconds, message or its bytes."""


def write(
    path: Path,
    entries: Iterable[Entry],
    *,
    storage: str = "mcap",
    compression: tuple[Any, Any] | None = None,
) -> Path:
    """Write a bag of messages in the order given; compression is rosbags' mode and format."""
    rosbag2, types = rosbags_module("rosbag2"), standard_types()
    plugin = rosbag2.StoragePlugin[storage.upper()]
    connections: dict[str, Any] = {}
    writer = rosbag2.Writer(path, version=9, storage_plugin=plugin)
    if compression is not None:
        writer.set_compression(*compression)
    with writer:
        for topic, kind, time, message in entries:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=types)
            raw = message if isinstance(message, bytes) else types.serialize_cdr(message, kind)
            writer.write(connections[topic], time, raw)
    return path


def new(kind: str, *values: Any) -> Any:
    """Make a message from the values of its fields."""
    return standard_types().types[kind](*values)


def header(stamp: int, frame: str = "optical") -> Any:
    """Stamp in nanoseconds, and frame."""
    time = new("builtin_interfaces/msg/Time", *divmod(stamp, 10**9))
    return new("std_msgs/msg/Header", time, frame)


def image(
    stamp: int,
    rgb: np.ndarray,
    *,
    topic: str = "/cam/image_raw",
    frame: str = "optical",
    received: int | None = None,
) -> Entry:
    """A picture as rgb8."""
    height, width = rgb.shape[:2]
    data = np.ascontiguousarray(rgb).reshape(-1)
    message = new(IMAGE, header(stamp, frame), height, width, "rgb8", 0, 3 * width, data)
    return topic, IMAGE, stamp if received is None else received, message


def compressed(stamp: int, data: bytes, *, topic: str = "/cam/image_raw/compressed") -> Entry:
    """A picture as the bytes of its file."""
    message = new(COMPRESSED_IMAGE, header(stamp), "jpeg", np.frombuffer(data, np.uint8))
    return topic, COMPRESSED_IMAGE, stamp, message


def info(
    stamp: int,
    camera: Camera = CAMERA,
    *,
    topic: str = "/cam/camera_info",
    D: tuple[float, ...] = (0.0,) * 5,
    model: str = "plumb_bob",
    frame: str = "optical",
) -> Entry:
    """The calibration of a camera."""
    K, R = camera.K, np.eye(3)
    P = np.concatenate([K, np.zeros((3, 1))], axis=1)
    roi = new("sensor_msgs/msg/RegionOfInterest", 0, 0, 0, 0, False)
    values = (camera.height, camera.width, model, np.array(D), K.reshape(9), R.reshape(9))
    return (
        topic,
        CAMERA_INFO,
        stamp,
        new(CAMERA_INFO, header(stamp, frame), *values, P.reshape(12), 0, 0, roi),
    )


def odometry(
    stamp: int, T: np.ndarray, *, child: str = "base_link", topic: str = "/odometry"
) -> Entry:
    """A pose of `child` in odom."""
    pose = new("geometry_msgs/msg/Pose", _point("Point", T), _rotation(T))
    zero = new("geometry_msgs/msg/Vector3", 0.0, 0.0, 0.0)
    twist = new("geometry_msgs/msg/Twist", zero, zero)
    with_pose = new("geometry_msgs/msg/PoseWithCovariance", pose, np.zeros(36))
    with_twist = new("geometry_msgs/msg/TwistWithCovariance", twist, np.zeros(36))
    message = new(ODOMETRY, header(stamp, "odom"), child, with_pose, with_twist)
    return topic, ODOMETRY, stamp, message


def pose(
    stamp: int,
    T: np.ndarray,
    *,
    topic: str = "/cam/pose",
    covariance: bool = False,
    received: int | None = None,
) -> Entry:
    """A PoseStamped, or one with covariance: they name no frame of their own."""
    kind = f"geometry_msgs/msg/Pose{'WithCovariance' if covariance else ''}Stamped"
    held = new("geometry_msgs/msg/Pose", _point("Point", T), _rotation(T))
    if covariance:
        held = new("geometry_msgs/msg/PoseWithCovariance", held, np.zeros(36))
    message = new(kind, header(stamp, "world"), held)
    return topic, kind, stamp if received is None else received, message


def transform(stamp: int, T: np.ndarray, *, parent: str = "odom", child: str = "base_link") -> Any:
    """A TransformStamped of a moving frame."""
    moved = new("geometry_msgs/msg/Transform", _point("Vector3", T), _rotation(T))
    return new("geometry_msgs/msg/TransformStamped", header(stamp, parent), child, moved)


def moving(stamp: int, *transforms: Any, topic: str = "/tf") -> Entry:
    """What a broadcaster sends."""
    return topic, TRANSFORMS, stamp, new(TRANSFORMS, list(transforms))


def path(stamp: int, track: Iterable[tuple[int, np.ndarray]], *, topic: str = "/path") -> Entry:
    """The whole way so far."""
    poses = [pose(t, T)[3] for t, T in track]
    return topic, "nav_msgs/msg/Path", stamp, new("nav_msgs/msg/Path", header(stamp), poses)


def static(T: np.ndarray, *, parent: str = "base_link", child: str = "optical") -> Entry:
    """A latched transform."""
    transform = new("geometry_msgs/msg/Transform", _point("Vector3", T), _rotation(T))
    one = new("geometry_msgs/msg/TransformStamped", header(1, parent), child, transform)
    return "/tf_static", TRANSFORMS, 1, new(TRANSFORMS, [one])


def imu(
    stamp: int,
    gyro: tuple[float, float, float] | None = (0.0, 0.0, 0.0),
    accel: tuple[float, float, float] | None = (0.0, 0.0, 9.81),
    *,
    topic: str = "/imu",
    frame: str = "imu_link",
    received: int | None = None,
) -> Entry:
    """A sample of an IMU; None for what it does not measure."""
    turn = new("geometry_msgs/msg/Quaternion", 0.0, 0.0, 0.0, 1.0)
    parts = []
    for values in (gyro, accel):
        covariance = np.zeros(9)
        covariance[0] = -1.0 if values is None else 0.0
        parts += [new("geometry_msgs/msg/Vector3", *(values or (0.0, 0.0, 0.0))), covariance]
    message = new(IMU, header(stamp, frame), turn, np.zeros(9), *parts)
    return topic, IMU, stamp if received is None else received, message


def _point(kind: str, T: np.ndarray) -> Any:
    return new(f"geometry_msgs/msg/{kind}", *T[:3, 3].tolist())


def _rotation(T: np.ndarray) -> Any:
    return new("geometry_msgs/msg/Quaternion", *matrix_to_quaternion(T[:3, :3]).tolist())
