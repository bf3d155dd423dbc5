# SPDX-License-Identifier: Apache-2.0
"""Topics of the camera motion, each with its track: odometry, twist, IMU."""

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

QUEUE = 200  # messages: an IMU at 1 kHz while the executor is busy for 0.2 s
NOT_MEASURED = -1.0  # first covariance of a quantity that an Imu message does not have
TURNING = 0.1  # rad/s above which a measured orientation cannot stay exactly the identity
NOT_FILLED = (
    "its orientation stays the identity while it rotates; a driver without orientation must set "
    "orientation_covariance[0] to -1, then the gyroscope is used"
)
NO_STAMP = "the stamp is zero; the publisher does not set it"

Known = tuple[Motion, str]
"""Motion of a frame from one topic, and why it is missing; empty if it is not."""

MISSING = Motion(expected=True)


class OdometryReader:
    """nav_msgs/Odometry: the camera's pose is the body's pose times T_base_cam."""

    kinds = (Odometry,)

    def __init__(self, name: str, max_gap: float, extrinsic: Extrinsic) -> None:
        self.name, self._extrinsic = name, extrinsic
        self.track = PoseTrack(max_gap=max_gap)
        self._frames = ("", "")

    @property
    def frame(self) -> str:
        """Frame of the poses: frame_id of the messages; empty before the first."""
        return self._frames[0]

    def take(self, message: Any) -> str:
        """Add a message; return why it is rejected, empty if it is kept."""
        stamp, T_odom_base = read_odometry(message)
        frames = (message.header.frame_id, message.child_frame_id)
        if frames != self._frames and len(self.track):
            self.track.restart()
        self._frames = frames
        return self.track.add(stamp, T_odom_base)

    def tell(self, stamp: float, camera_frame: str, *, since: float | None) -> Known:
        """Return the motion of a frame, see `MotionSource.tell`."""
        T_odom_base, base_frame = self.track.at(stamp), self._frames[1]
        if T_odom_base is None:
            return MISSING, self.track.missing(stamp)
        T_base_cam = self._extrinsic.T_base_cam(base_frame, camera_frame)
        if T_base_cam is None:
            return MISSING, self._extrinsic.missing(base_frame, camera_frame)
        return Motion(T_odom_base @ T_base_cam), ""


class TwistReader:
    """geometry_msgs/Twist or TwistStamped: distance travelled since the previous frame."""

    kinds = (TwistStamped, Twist)

    def __init__(self, name: str, max_gap: float, node: Node) -> None:
        self.name, self._clock = name, node.get_clock()
        self.track = SpeedTrack(max_gap=max_gap)

    def take(self, message: Any) -> str:
        """Add a message; return why it is rejected, empty if it is kept."""
        stamped = isinstance(message, TwistStamped)
        stamp = nanoseconds(message.header.stamp) if stamped else 0
        v = message.twist.linear if stamped else message.linear
        # Without a stamp, the time of arrival is used.
        stamp = stamp or self._clock.now().nanoseconds
        return self.track.add(seconds(stamp), float(np.linalg.norm([v.x, v.y, v.z])))

    def tell(self, stamp: float, camera_frame: str, *, since: float | None) -> Known:
        """Return the motion of a frame, see `MotionSource.tell`."""
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
        """Add a message; return why it is rejected, empty if it is kept."""
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
            return "it has neither orientation nor angular velocity"
        return self.track.turn(seconds(stamp), rate)

    def tell(self, stamp: float, camera_frame: str, *, since: float | None) -> Known:
        """Return the motion of a frame, see `MotionSource.tell`."""
        R_world_imu = self.track.at(stamp)
        if R_world_imu is None:
            return MISSING, self.track.missing(stamp)
        T_imu_cam = self._extrinsic.T_base_cam(self._frame, camera_frame)
        if T_imu_cam is None:
            return MISSING, self._extrinsic.missing(self._frame, camera_frame)
        return Motion(R_world_cam=R_world_imu @ T_imu_cam[:3, :3]), ""


Reader = OdometryReader | TwistReader | ImuReader
"""Reads messages of one topic into a track, and the motion of a frame from the track."""


class MotionTopic:
    """Subscribes to a topic, fills its track and reports its state.

    `covers`, `tell`, `clear` and the callback hold the lock, which is shared by all topics.
    """

    def __init__(self, node: Node, reader: Reader, changed: Condition) -> None:
        self.reader = reader
        self.listener = Listener(node, reader.name, reader.kinds, self._on_message, depth=QUEUE)
        self._changed = changed
        self._refused, self._reason = 0, ""
        self.refusal = ""
        """Why the newest message was rejected; empty if it was kept."""

    def covers(self, stamp: float) -> bool:
        """Whether motion at least as new as a frame's stamp has arrived."""
        newest = self.reader.track.newest
        return newest is not None and newest >= stamp

    def is_silent(self, stale: float) -> bool:
        """Whether no message has arrived for `stale` seconds."""
        age = self.listener.age(time.monotonic())
        return age is None or age > stale

    def fault(self, now: float, stale: float) -> str:
        """Return why no motion arrives at steady time `now`; empty if it does."""
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

    def _on_message(self, message: Any) -> None:
        with self._changed:
            try:
                reason = self.reader.take(message)
            except DataError as error:
                reason = str(error)
            if reason:
                self._refused, self._reason = self._refused + 1, reason
            self.refusal = reason
            self._changed.notify_all()
