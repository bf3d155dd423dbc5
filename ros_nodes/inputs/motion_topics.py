# SPDX-License-Identifier: Apache-2.0
"""The topics that a camera's motion comes from, each with its track: odometry, twist, IMU."""

import time
from threading import Condition
from typing import Any

import numpy as np
from geometry_msgs.msg import Pose, Quaternion, Twist, TwistStamped
from nav_msgs.msg import Odometry
from rclpy.node import Node
from sensor_msgs.msg import Imu

from depthkit.errors import DataError
from depthkit.ros_messages import nanoseconds, read_odometry, read_pose, seconds
from depthkit.runtime.motion.samples import AttitudeTrack, PoseTrack, SpeedTrack
from depthkit.runtime.motion.told import Motion
from ros_nodes.inputs.frames import Extrinsic
from ros_nodes.inputs.listener import Listener

QUEUE = 200  # of small messages: an IMU at 1 kHz while the executor is busy for 0.2 s
NOT_MEASURED = -1.0  # first covariance of what an Imu message does not tell
TURNING = 0.1  # rad/s at which no orientation stays the identity to the last bit
NOT_FILLED = (
    "its orientation stays the identity while it turns; a driver that measures none must set "
    "orientation_covariance[0] to -1, then the gyroscope is taken"
)
NO_STAMP = "the stamp is zero; the publisher does not set it"

Known = tuple[Motion, str]
"""What one topic knows of a frame's motion, and why it lacks it; empty where it does not."""

MISSING = Motion(expected=True)


class OdometryReader:
    """nav_msgs/Odometry: the camera's pose is the body's pose times T_base_cam."""

    kinds = (Odometry,)

    def __init__(self, name: str, max_gap: float, extrinsic: Extrinsic) -> None:
        self.name, self._extrinsic = name, extrinsic
        self.track = PoseTrack(max_gap=max_gap)
        self._frames = ("", "")

    def take(self, message: Any) -> str:
        """Take in a message; return why it is refused, empty where it is kept."""
        stamp, T_odom_base = read_odometry(message)
        frames = (message.header.frame_id, message.child_frame_id)
        if frames != self._frames and len(self.track):
            self.track.restart()
        self._frames = frames
        return self.track.add(stamp, T_odom_base)

    def tell(self, stamp: float, camera_frame: str, *, since: float | None) -> Known:
        """Return what is known of a frame, see `MotionSource.tell`."""
        T_odom_base, base_frame = self.track.at(stamp), self._frames[1]
        if T_odom_base is None:
            return MISSING, self.track.missing(stamp)
        T_base_cam = self._extrinsic.T_base_cam(base_frame, camera_frame)
        if T_base_cam is None:
            return MISSING, self._extrinsic.missing(base_frame, camera_frame)
        return Motion(T_odom_base @ T_base_cam), ""


class TwistReader:
    """geometry_msgs/Twist or TwistStamped: how far the body went since the frame told before."""

    kinds = (TwistStamped, Twist)

    def __init__(self, name: str, max_gap: float, node: Node) -> None:
        self.name, self._clock = name, node.get_clock()
        self.track = SpeedTrack(max_gap=max_gap)

    def take(self, message: Any) -> str:
        """Take in a message; return why it is refused, empty where it is kept."""
        stamped = isinstance(message, TwistStamped)
        stamp = nanoseconds(message.header.stamp) if stamped else 0
        v = message.twist.linear if stamped else message.linear
        # Without a stamp it is as old as its way here.
        stamp = stamp or self._clock.now().nanoseconds
        return self.track.add(seconds(stamp), float(np.linalg.norm([v.x, v.y, v.z])))

    def tell(self, stamp: float, camera_frame: str, *, since: float | None) -> Known:
        """Return what is known of a frame, see `MotionSource.tell`."""
        if since is None:
            return Motion(displacement=0.0), ""
        way = self.track.between(since, stamp)
        if way is None:
            return MISSING, self.track.missing(since, stamp)
        return Motion(displacement=way), ""


class ImuReader:
    """sensor_msgs/Imu: the camera's attitude, from the orientation or else from the gyroscope."""

    kinds = (Imu,)

    def __init__(self, name: str, max_gap: float, extrinsic: Extrinsic) -> None:
        self.name, self._extrinsic = name, extrinsic
        self.track = AttitudeTrack(max_gap=max_gap)
        self._frame = ""

    def take(self, message: Any) -> str:
        """Take in a message; return why it is refused, empty where it is kept."""
        stamp = nanoseconds(message.header.stamp)
        if stamp == 0:
            return NO_STAMP
        if message.header.frame_id != self._frame and len(self.track):
            self.track.restart()
        self._frame = message.header.frame_id
        w = message.angular_velocity
        rate = np.array([w.x, w.y, w.z])
        if message.orientation_covariance[0] != NOT_MEASURED:
            if message.orientation == Quaternion() and np.linalg.norm(rate) > TURNING:
                return NOT_FILLED
            T_world_imu = read_pose(Pose(orientation=message.orientation))
            return self.track.add(seconds(stamp), T_world_imu[:3, :3])
        if message.angular_velocity_covariance[0] == NOT_MEASURED:
            return "it tells neither orientation nor angular velocity"
        return self.track.turn(seconds(stamp), rate)

    def tell(self, stamp: float, camera_frame: str, *, since: float | None) -> Known:
        """Return what is known of a frame, see `MotionSource.tell`."""
        R_world_imu = self.track.at(stamp)
        if R_world_imu is None:
            return MISSING, self.track.missing(stamp)
        T_imu_cam = self._extrinsic.T_base_cam(self._frame, camera_frame)
        if T_imu_cam is None:
            return MISSING, self._extrinsic.missing(self._frame, camera_frame)
        return Motion(R_world_cam=R_world_imu @ T_imu_cam[:3, :3]), ""


Reader = OdometryReader | TwistReader | ImuReader
"""Turns messages of one topic into a track, and the track into what a frame is told."""


class MotionTopic:
    """Hears a topic into its track and says how it is doing.

    `covers`, `tell`, `clear` and the callback hold the lock, which is shared by all topics.
    """

    def __init__(self, node: Node, reader: Reader, changed: Condition) -> None:
        self.reader = reader
        self.listener = Listener(node, reader.name, reader.kinds, self._hear, depth=QUEUE)
        self._changed = changed
        self._refused, self._reason = 0, ""
        self.refusal = ""
        """Why the newest message is not taken; empty where it is."""

    def covers(self, stamp: float) -> bool:
        """Whether motion as new as a frame's stamp has come."""
        newest = self.reader.track.newest
        return newest is not None and newest >= stamp

    def is_silent(self, stale: float) -> bool:
        """Whether nothing has come for `stale` seconds."""
        age = self.listener.age(time.monotonic())
        return age is None or age > stale

    def fault(self, now: float, stale: float) -> str:
        """Say why no motion comes at steady time `now`; empty where it does."""
        age, name = self.listener.age(now), self.reader.name
        if age is not None and age <= stale:
            return ""
        where = f"on {self.listener.topic} ({self.listener.publishers()})"
        what = f"no {name} has come" if age is None else f"{name} is stale: {age:.1f} s old"
        return "; ".join([f"{what} {where}", *self.listener.hints()])

    def figures(self, now: float) -> dict[str, str | float | int]:
        """Return the figures for diagnostics at steady time `now`."""
        name, age = self.reader.name, self.listener.age(now)
        values: dict[str, str | float | int] = {
            f"{name}_topic": self.listener.topic,
            f"{name}_hz": self.listener.rate.hz(now),
            f"{name}_age_s": float("nan") if age is None else age,
            f"{name}_lost": self.listener.lost,
            f"{name}_refused": self._refused,
        }
        if self._reason:
            values[f"{name}_refused_last"] = self._reason
        return values

    def _hear(self, message: Any) -> None:
        with self._changed:
            try:
                reason = self.reader.take(message)
            except DataError as error:
                reason = str(error)
            if reason:
                self._refused, self._reason = self._refused + 1, reason
            self.refusal = reason
            self._changed.notify_all()
