# SPDX-License-Identifier: Apache-2.0
"""The IMU of a bag: sensor_msgs/Imu, its stamps, and its place on the camera by /tf_static."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from depthkit.data.bag import (
    NO_TOPIC,
    Recorded,
    Topic,
    choose_topic,
    header_stamp,
    parse,
    read_recorded,
)
from depthkit.data.imu_table import rising_samples
from depthkit.errors import DataError
from depthkit.ros_messages import FrameTree, nanoseconds, seconds
from depthkit.trajectory import Imu

IMU = "sensor_msgs/msg/Imu"
OPTION = "--imu-topic"


def choose_imu_topic(
    bag: Path, topics: Collection[Topic], wanted: str
) -> tuple[str, tuple[str, ...]]:
    """Choose the topic of the IMU.

    Args:
        bag: for messages.
        topics: of the bag.
        wanted: name the user gave; empty for the only one, 'none' for none.

    Returns:
        topic: empty for none.
        notes: that there are several, and none is taken.

    Raises:
        DataError: the wanted one is not there.
    """
    names = [topic.name for topic in topics if topic.type == IMU and topic.count]
    if not wanted and len(names) > 1:
        text = f"no IMU is taken of {', '.join(names)}; {OPTION} picks one"
        return "", (text,)
    return choose_topic(bag, topics, (IMU,), wanted, option=OPTION) or "", ()


def read_bag_imu(
    bag: Path, topic: str, frames: FrameTree, camera: str
) -> tuple[Imu | None, tuple[str, ...]]:
    """Read the samples of a topic.

    Args:
        bag: the bag.
        topic: of sensor_msgs/Imu; empty or 'none' for no IMU.
        frames: what /tf_static says.
        camera: frame of the pictures.

    Returns:
        imu: None where nothing of the topic can be used.
        notes: messages that were left out, frames that nothing joins.
    """
    if topic in ("", NO_TOPIC):
        return None, ()
    rows: list[list[float]] = []
    problems: list[str] = []
    frame = ""
    for message in read_recorded(bag, (topic,)):
        try:
            parsed = parse(message)
        except DataError as error:
            problems.append(str(error))
            continue
        frame = frame or parsed.header.frame_id
        rows.append(_row(message, parsed))
    left_out = f"{len(problems)} messages of {topic} left out, the first: "
    notes = (left_out + problems[0],) if problems else ()
    samples, unsorted = rising_samples(np.array(rows).reshape(-1, 7), topic)
    if not len(samples):
        return None, (*notes, f"no IMU: {topic} holds no samples that can be used")
    T_cam_imu = frames.lookup(camera, frame)
    if T_cam_imu is None:
        unjoined = f"/tf_static does not join the frames {frame!r} of {topic} and {camera!r}"
        notes = (*notes, unjoined)
    return Imu(samples, T_cam_imu), (*notes, *unsorted)


def _row(message: Recorded, parsed: Any) -> list[float]:
    """Return t wx wy wz ax ay az of a message; -1 in front of a covariance says: not measured."""
    stamp = nanoseconds(parsed.header.stamp) if header_stamp(message.data) else message.received
    rates, forces = parsed.angular_velocity, parsed.linear_acceleration
    gyro = [rates.x, rates.y, rates.z]
    accel = [forces.x, forces.y, forces.z]
    if parsed.angular_velocity_covariance[0] == -1:
        gyro = [np.nan] * 3
    if parsed.linear_acceleration_covariance[0] == -1:
        accel = [np.nan] * 3
    return [seconds(stamp), *gyro, *accel]
