# SPDX-License-Identifier: Apache-2.0
"""Frames of the player: a sequence folder, images or a video, with poses and IMU, as messages."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from geometry_msgs.msg import Twist, TwistWithCovariance, Vector3
from nav_msgs.msg import Odometry
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, Image, Imu
from std_msgs.msg import Header

from depthkit.data.bag_writer import stamp_of, twists
from depthkit.data.stream import FrameStream, StreamFrame, open_stream
from depthkit.trajectory.imu import Imu as Samples
from ros_nodes.convert import (
    camera_info_message,
    image_message,
    imu_message,
    pose_message,
    stamp_message,
    transform_message,
)
from ros_nodes.inputs.frames import TFMessage
from ros_nodes.player_bag import STATIC, Outgoing
from ros_nodes.player_clocks import stamps_that_fit
from ros_nodes.player_config import PlayerConfig
from ros_nodes.player_play import LEAD, USUAL_PERIOD, Play

NO_CAMERA = (
    "the source has no calibration: no camera_info goes out; play what 'depthkit prepare --camera "
    "FILE' makes of it, or give the nodes a calibration file"
)
NO_PLACE = (
    "where the IMU sits is not sent on /tf_static ({why}); give odometry_node the source's "
    "imu.yaml as imu.file"
)


@dataclass(frozen=True, eq=False)
class _Track:
    """What goes with the frames, on the clock of the messages."""

    stamps: list[int]
    """Stamps of the frames, nanoseconds."""
    first: int
    """Stamp before which no frame is played, nanoseconds."""
    speeds: np.ndarray | None
    """Twist at each frame, NaN without a pose; None without poses. (N, 6)"""
    imu: Samples | None = None
    imu_stamps: tuple[int, ...] = ()
    """Stamps of the samples, nanoseconds."""

    def between(self, start: int, end: int) -> range:
        """Return the samples after a stamp up to and including another one."""
        first, last = np.searchsorted(self.imu_stamps, (start, end), side="right")
        return range(int(first), max(int(first), int(last)))


def open_frames(config: PlayerConfig) -> Play:
    """Open a source of frames.

    Raises:
        DataError: it cannot be read.
    """
    without_imu = config.imu_topic == "none" or bool(config.fps)  # samples have their own times
    stream = open_stream(config.source, imu_topic="none" if without_imu else "")
    times = stream.times if not config.fps else np.arange(len(stream)) / config.fps
    track = _track_of(stream, times, config)
    step = float(np.median(np.diff(times))) if len(times) > 1 else USUAL_PERIOD
    picture = next((frame.rgb for frame in stream.frames() if frame.rgb is not None), None)
    size = "" if picture is None else f" of {picture.shape[1]}x{picture.shape[0]}"
    return Play(
        topics=_topics(stream, track),
        first=track.first,
        last=track.stamps[-1],
        period=round(step * 1e9),
        speed=1.0,
        shift=0,
        words=f"{len(stream)} frames{size}, {1 / step:.3g} Hz",
        messages=lambda: _played(stream, track, config),
        notes=(*stream.notes, *_notes(stream, config)),
    )


def _track_of(stream: FrameStream, times: np.ndarray, config: PlayerConfig) -> _Track:
    """Put frames, poses and samples on the clock of the messages."""
    recorded = [stamp_of(time) for time in times]
    stamps = stamps_that_fit(config, recorded)
    speeds = _speeds(stream, times) if stream.metric and stream.poses is not None else None
    track = _Track(stamps, stamps[0] + round(config.start * 1e9), speeds)
    if stream.imu is None:
        return track
    moved = stamps[0] - recorded[0]
    samples = tuple(stamp_of(float(time)) + moved for time in stream.imu.stamps)
    return replace(track, imu=stream.imu, imu_stamps=samples)


def _topics(stream: FrameStream, track: _Track) -> dict[str, Any]:
    """Choose the message class of each topic."""
    topics: dict[str, Any] = {"image": Image}
    if stream.camera is not None:
        topics["camera_info"] = CameraInfo
    if track.speeds is not None:
        topics["odometry"] = Odometry
    if track.imu is not None:
        topics["imu"] = Imu
        if TFMessage is not None and track.imu.T_cam_imu is not None:
            topics[STATIC] = TFMessage
    return topics


def _notes(stream: FrameStream, config: PlayerConfig) -> Iterator[str]:
    if stream.camera is None:
        yield NO_CAMERA
    if stream.imu is not None and stream.imu.T_cam_imu is None:
        yield NO_PLACE.format(why="it is not known")
    elif stream.imu is not None and TFMessage is None:
        yield NO_PLACE.format(why="tf2_msgs does not import")


def _speeds(stream: FrameStream, times: np.ndarray) -> np.ndarray | None:
    """Return the twist at each frame, NaN without a pose; None if no pose is known. (N, 6)"""
    poses = np.empty((0, 4, 4)) if stream.poses is None else stream.poses
    known = np.isfinite(poses).all(axis=(1, 2))
    if not known.any():
        return None
    speeds = np.full((len(poses), 6), np.nan)
    speeds[known] = twists(times[known], poses[known])
    return speeds


def _played(stream: FrameStream, track: _Track, config: PlayerConfig) -> Iterator[Outgoing]:
    """Make the messages of each frame: samples, odometry and camera_info precede the image."""
    if track.imu is not None and track.imu.T_cam_imu is not None and TFMessage is not None:
        at = max(0, track.first - LEAD)
        yield Outgoing(
            at, None, STATIC, serialize_message(_place(track, track.imu.T_cam_imu, config))
        )
    sent = track.first - LEAD
    for i, frame in enumerate(stream.frames()):
        stamp = track.stamps[i]
        if stamp < track.first:
            continue
        yield from _samples(track, sent, stamp, config)
        sent = stamp
        if frame.rgb is None:
            yield Outgoing(stamp, stamp, "image", b"", frame.problem)
            continue
        header = Header(stamp=stamp_message(stamp), frame_id=config.frame_id)
        if track.speeds is not None and np.isfinite(track.speeds[i]).all():
            odometry = _odometry(frame, track.speeds[i], header, config)
            yield Outgoing(stamp, stamp, "odometry", serialize_message(odometry))
        if stream.camera is not None:
            info = camera_info_message(stream.camera, header)
            yield Outgoing(stamp, stamp, "camera_info", serialize_message(info))
        image = image_message(cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2BGR), "bgr8", header)
        yield Outgoing(stamp, stamp, "image", serialize_message(image))


def _samples(track: _Track, start: int, end: int, config: PlayerConfig) -> Iterator[Outgoing]:
    """Make the messages of the samples between two stamps, nanoseconds."""
    if track.imu is None:
        return
    for i in track.between(start, end):
        stamp = track.imu_stamps[i]
        header = Header(stamp=stamp_message(max(stamp, 0)), frame_id=config.imu_frame)
        message = imu_message(track.imu.rows[i], header)
        yield Outgoing(stamp, stamp, "imu", serialize_message(message))


def _place(track: _Track, T_cam_imu: np.ndarray, config: PlayerConfig) -> Any:
    """Make the message that says where the IMU sits."""
    header = Header(stamp=stamp_message(track.first), frame_id=config.frame_id)
    return TFMessage(transforms=[transform_message(T_cam_imu, header, config.imu_frame)])


def _odometry(
    frame: StreamFrame, speed: np.ndarray, header: Header, config: PlayerConfig
) -> Odometry:
    """Make the odometry of a frame: T_odom_cam, and the twist in the camera's own frame."""
    linear, angular = (Vector3(x=v[0], y=v[1], z=v[2]) for v in speed.reshape(2, 3).tolist())
    message = Odometry(
        header=Header(stamp=header.stamp, frame_id=config.odom_frame),
        child_frame_id=header.frame_id,
        twist=TwistWithCovariance(twist=Twist(linear=linear, angular=angular)),
    )
    if frame.T_world_cam is not None:
        message.pose.pose = pose_message(frame.T_world_cam)
    return message
