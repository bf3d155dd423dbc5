# SPDX-License-Identifier: Apache-2.0
"""The IMU of a bag: sensor_msgs/Imu, its stamps, and its place on the camera by /tf_static.

A gyroscope and an accelerometer on topics of their own (RealSense: gyro/sample, accel/sample)
become one IMU: accelerations are interpolated to the times of the rates.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from depthkit.data.bag import (
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


def choose_imu_topics(
    bag: Path, topics: Collection[Topic], wanted: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Choose the topic of the IMU, or those of its gyroscope and accelerometer.

    Args:
        bag: for messages.
        topics: of the bag.
        wanted: name the user gave; empty for the only one, 'none' for none.

    Returns:
        topics: none, one, or gyroscope and accelerometer.
        notes: which are joined, or that there are several and none is taken.

    Raises:
        DataError: the wanted one is not there.
    """
    names = [topic.name for topic in topics if topic.type == IMU and topic.count]
    if wanted:
        found = choose_topic(bag, topics, (IMU,), wanted, option=OPTION)
        chosen = [found] if found else []
    else:
        chosen = names if len(names) == 1 else [name for name in names if "gyro" in name]
    if len(chosen) == 1:
        partner = chosen[0].replace("gyro", "accel")
        if partner == chosen[0] or partner not in names:
            return (chosen[0],), ()
        if wanted or len(names) == 2:
            return (chosen[0], partner), (f"{chosen[0]} and {partner} are joined to one IMU",)
    if wanted or len(names) < 2:
        return (), ()
    return (), (f"no IMU is taken of {', '.join(names)}; {OPTION} picks one",)


def read_bag_imu(
    bag: Path, topics: tuple[str, ...], frames: FrameTree, camera: str
) -> tuple[Imu | None, tuple[str, ...]]:
    """Read the samples of an IMU.

    Args:
        bag: the bag.
        topics: as `choose_imu_topics` returns them.
        frames: what /tf_static says.
        camera: frame of the pictures.

    Returns:
        imu: None where nothing of the topics can be used.
        notes: messages that were left out, frames that nothing joins.
    """
    if not topics:
        return None, ()
    parts = [_read_topic(bag, topic) for topic in topics]
    rows = parts[0].rows if len(parts) == 1 else _joined(parts[0].rows, parts[1].rows)
    rows, unsorted = rising_samples(rows, topics[0])
    notes = (*(note for part in parts for note in part.notes), *unsorted)
    if not len(rows):
        return None, (*notes, f"no IMU: {topics[0]} holds no samples that can be used")
    T_cam_imu = frames.lookup(camera, parts[0].frame)
    if T_cam_imu is None:
        about = f"the frames {parts[0].frame!r} of {topics[0]} and {camera!r}"
        notes = (*notes, f"/tf_static does not join {about}")
    return Imu(rows, T_cam_imu), notes


class _Samples(NamedTuple):
    """What one topic holds."""

    rows: np.ndarray
    """t wx wy wz ax ay az, NaN where not measured. (N, 7)"""
    frame: str
    notes: tuple[str, ...]


def _read_topic(bag: Path, topic: str) -> _Samples:
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
    text = f"{len(problems)} messages of {topic} left out, the first: "
    return _Samples(np.array(rows).reshape(-1, 7), frame, (text + problems[0],) if problems else ())


def _joined(gyro: np.ndarray, accel: np.ndarray) -> np.ndarray:
    """Put accelerations to the times of the rates, by lines between them. (N, 7)"""
    times, first = np.unique(accel[:, 0], return_index=True)
    if not len(times):
        return gyro
    inside = gyro[(gyro[:, 0] >= times[0]) & (gyro[:, 0] <= times[-1])]
    forces = [np.interp(inside[:, 0], times, column[first]) for column in accel.T[4:]]
    return np.column_stack([inside[:, :4], *forces])


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
