# SPDX-License-Identifier: Apache-2.0
"""ROS messages from plain numbers, for those who write bags."""

from typing import Any

import numpy as np

from depthkit.data.bag import rosbags_module, standard_types
from depthkit.data.bag_imu import IMU
from depthkit.rigid import matrix_to_quaternion

NOT_MEASURED = -1.0
"""First number of a covariance of what a sensor does not measure (sensor_msgs/Imu)."""


def header(stamp: int, frame_id: str) -> Any:
    """Return a header; the stamp in nanoseconds."""
    time = new("builtin_interfaces/msg/Time", *divmod(stamp, 10**9))
    return new("std_msgs/msg/Header", time, frame_id)


def rotation(T: np.ndarray) -> Any:
    """Return the quaternion of a pose. (4, 4)"""
    return new("geometry_msgs/msg/Quaternion", *matrix_to_quaternion(T[:3, :3]).tolist())


def new(type_name: str, *fields: Any) -> Any:
    """Return a message from the values of its fields."""
    return standard_types().types[type_name](*fields)


def latched() -> Any:
    """Return the quality of service of /tf_static: reliable, kept for late joiners."""
    rosbags = rosbags_module("interfaces")
    forever = rosbags.QosTime(9223372036, 854775807)
    return rosbags.Qos(
        rosbags.QosHistory.KEEP_LAST,
        1,
        rosbags.QosReliability.RELIABLE,
        rosbags.QosDurability.TRANSIENT_LOCAL,
        forever,
        forever,
        rosbags.QosLiveliness.AUTOMATIC,
        forever,
        False,
    )


def transform(place: Any, child: str, T: np.ndarray) -> Any:
    """Return T_parent_child, (4, 4); the header names the parent."""
    moved = new(
        "geometry_msgs/msg/Transform",
        new("geometry_msgs/msg/Vector3", *T[:3, 3].tolist()),
        rotation(T),
    )
    return new("geometry_msgs/msg/TransformStamped", place, child, moved)


def imu_sample(place: Any, row: np.ndarray) -> Any:
    """Return a sample t wx wy wz ax ay az; NaN is what is not measured. (7,)"""
    parts = []
    for values in (row[1:4], row[4:7]):
        covariance = np.zeros(9)
        is_known = bool(np.isfinite(values).all())
        covariance[0] = 0.0 if is_known else NOT_MEASURED
        vector = values.tolist() if is_known else [0.0] * 3
        parts += [new("geometry_msgs/msg/Vector3", *vector), covariance]
    unmeasured = np.zeros(9)
    unmeasured[0] = NOT_MEASURED
    return new(IMU, place, rotation(np.eye(4)), unmeasured, *parts)
