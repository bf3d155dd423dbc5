# SPDX-License-Identifier: Apache-2.0
"""Camera motion for a `DepthStream`: from odometry, a twist, a constant speed, an IMU.

Callbacks fill tracks on the executor's thread; the worker queries the stamp of a frame and waits a
little for the motion that brackets it. Missing motion is marked `expected`, so that a stream with
metric motion never falls back to relative depth.
"""

import threading
import time
from dataclasses import dataclass
from typing import Literal

import numpy as np
from rclpy.node import Node

from depthkit.config.ranges import check_ranges, option
from depthkit.errors import ConfigError
from depthkit.runtime.motion.told import NO_MOTION, Motion
from ros_nodes.inputs.frames import Extrinsic
from ros_nodes.inputs.motion_topics import (
    ImuReader,
    MotionTopic,
    OdometryReader,
    Reader,
    TwistReader,
)
from ros_nodes.life.monitor import Status

RECENT = 5.0  # seconds for which the last frame's missing motion stays in the status
STEP_BACK = 1.0  # seconds of a step back in time that means a restarted clock or bag


@dataclass(frozen=True)
class MotionConfig:
    """Source of the camera motion; without one the depth of pair networks is relative."""

    source: Literal["auto", "none", "odometry", "twist", "speed", "visual"] = "auto"
    """Source of the translation. Odometry: poses of nav_msgs/Odometry. Twist: speed of Twist or
    TwistStamped. Speed: the constant motion.speed. Visual: geometric odometry on the images
    themselves, metres by scale.*. Auto: visual for model sweep, else none."""
    attitude: Literal["none", "imu"] = "none"
    """Source of the rotation without poses. Imu: sensor_msgs/Imu, its orientation or else its
    gyroscope."""
    speed: float = option(0.0, least=0, live=True)
    """Constant speed for source speed, m/s."""
    wait: float = option(0.1, least=0, most=5, live=True)
    """Longest wait of a frame for the motion that brackets it, seconds; set it above the period of
    the topic."""
    max_gap: float = option(0.5, above=0)
    """Longest pause between two samples that is interpolated, seconds."""
    stale: float = option(1.0, above=0, live=True)
    """Longest silence of a topic, seconds; a longer one is an error, and frames no longer wait."""

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.source == "odometry" and self.attitude != "none":
            raise ConfigError("attitude: poses of odometry include the rotation; set it to none")
        if self.source == "speed" and self.speed == 0:
            raise ConfigError("speed: above 0 for source speed, got 0.0")

    @property
    def needs_place(self) -> bool:
        """Whether the motion is that of a body, so that the camera's pose on it is needed."""
        return self.source == "odometry" or self.attitude != "none"


class MotionSource:
    """Returns the camera motion of each frame; queried by one thread.

    Subscribes, as configured: `odometry` (nav_msgs/Odometry), `twist` (geometry_msgs/Twist or
    TwistStamped), `imu` (sensor_msgs/Imu); best effort.
    """

    def __init__(
        self,
        node: Node,
        config: MotionConfig,
        extrinsic: Extrinsic,
        *,
        odometry_topic: str = "odometry",
        wait_name: str = "motion.wait",
    ) -> None:
        """Set up; subscribes in `start`.

        Args:
            node: node that the topic names are relative to.
            config: settings; may be replaced later by ones that differ in live fields.
            extrinsic: source of T_base_cam.
            odometry_topic: another name for a node that publishes `odometry` itself.
            wait_name: parameter that holds `config.wait`, for messages.
        """
        self.config, self._wait_name = config, wait_name
        self.reason = ""
        """Why the last frame has no motion; empty if it has."""
        self.epoch = 0
        """Epoch of the motion: motion of one epoch does not continue that of another."""
        self._changed = threading.Condition()
        self._running = False
        self._last_stamp: float | None = None
        self._queried_at = -RECENT
        readers: list[Reader] = []
        if config.source == "odometry":
            readers.append(OdometryReader(odometry_topic, config.max_gap, extrinsic))
        if config.source == "twist":
            readers.append(TwistReader("twist", config.max_gap, node))
        if config.attitude == "imu":
            readers.append(ImuReader("imu", config.max_gap, extrinsic))
        self._topics = [MotionTopic(node, reader, self._changed) for reader in readers]

    @property
    def frame(self) -> str:
        """Frame of the poses: frame_id of the odometry; empty before its first message."""
        readers = [topic.reader for topic in self._topics]
        return next((one.frame for one in readers if isinstance(one, OdometryReader)), "")

    def start(self) -> None:
        """Subscribe."""
        self._running = True
        for topic in self._topics:
            topic.listener.start()

    def stop(self) -> None:
        """Unsubscribe, drop all motion and release a waiting frame; `start` begins again."""
        self._running = False
        self.clear()
        for topic in self._topics:
            topic.listener.stop()

    def clear(self) -> None:
        """Drop all motion, for a reset by the user; `tell` does so itself where time runs back."""
        with self._changed:
            self._last_stamp = None
            for topic in self._topics:
                topic.reader.track.clear()
            self._changed.notify_all()

    def is_ready(self, stamp: float) -> bool:
        """Whether `tell` would not wait for the motion up to a stamp, seconds."""
        with self._changed:
            return self._is_settled(stamp)

    def tell(self, stamp: float, camera_frame: str, *, since: float | None) -> Motion:
        """Return the motion of a frame, as far as it is known.

        Waits up to `config.wait` seconds for motion that brackets the frame, but not for a silent
        topic. Sets `reason` and `epoch`.

        Args:
            stamp: stamp of the frame, seconds.
            camera_frame: frame_id of the frame.
            since: stamp of the previous frame, seconds; None for the first.
        """
        with self._changed:
            self._follow_time(stamp)
            wait = self.config.wait
            came = self._changed.wait_for(lambda: self._is_settled(stamp), wait)
            motion, self._queried_at = self._query(stamp, camera_frame, since), time.monotonic()
            if self.reason and not came:
                self.reason += f" after {wait:g} s of waiting ({self._wait_name})"
            return motion

    def recall(self, stamp: float, camera_frame: str) -> Motion:
        """Return the motion of an earlier frame again, if still known; never waits.

        Args:
            stamp: stamp of the frame, seconds.
            camera_frame: frame_id of the frame.
        """
        with self._changed:
            return self._query(stamp, camera_frame, None)

    def displacement(self, stamp: float, camera_frame: str, *, since: float) -> float | None:
        """Return the distance that the camera moved, metres; None where `reason` says why.

        Args:
            stamp: stamp of the frame, seconds.
            camera_frame: frame_id of the frame.
            since: stamp of the earlier frame, seconds.
        """
        now = self.tell(stamp, camera_frame, since=since)
        if self.config.source != "odometry":
            return now.displacement
        reason, epoch = self.reason, self.epoch
        before = self.recall(since, camera_frame)
        self.reason = reason or self.reason
        poses = now.T_world_cam, before.T_world_cam
        if self.epoch != epoch or poses[0] is None or poses[1] is None:
            return None
        return float(np.linalg.norm(poses[0][:3, 3] - poses[1][:3, 3]))

    def status(self, now: float) -> Status:
        """Return the status of task "motion" at steady time `now`, seconds."""
        source = self.config.source
        values: dict[str, str | float | int] = {
            "source": source,
            "attitude": self.config.attitude,
        }
        faults = [topic.fault(now, self.config.stale) for topic in self._topics]
        for topic in self._topics:
            values |= topic.figures(now)
        if any(faults):
            return Status("error", "; ".join(fault for fault in faults if fault), values)
        if self.reason and now - self._queried_at < RECENT:
            return Status("warn", f"the last frame has no motion: {self.reason}", values)
        used = source not in ("auto", "none")
        known = f"motion from {source}" if used else "motion is not used"
        return Status("ok", known, values)

    def _query(self, stamp: float, camera_frame: str, since: float | None) -> Motion:
        motion = NO_MOTION
        reasons = []
        for topic in self._topics:
            known, reason = topic.reader.tell(stamp, camera_frame, since=since)
            motion = motion.merged(known)
            if reason:
                # If all messages are rejected, that is why there is nothing new enough.
                why = f"; its messages are rejected: {topic.refusal}" if topic.refusal else ""
                where = f"{topic.reader.name} on {topic.listener.topic}"
                reasons.append(f"{where}: {reason}{why}")
        if self.config.source == "speed":
            way = self.config.speed * (0.0 if since is None else stamp - since)
            motion = motion.merged(Motion(displacement=way))
        self.epoch = sum(topic.reader.track.restarts for topic in self._topics)
        self.reason = "; ".join(reasons)
        return motion

    def _follow_time(self, stamp: float) -> None:
        """Drop motion from before a step back in time, unless the topic has stepped back
        already."""
        if self._last_stamp is not None and stamp < self._last_stamp - STEP_BACK:
            for topic in self._topics:
                newest = topic.reader.track.newest
                if newest is not None and newest > stamp + STEP_BACK:
                    topic.reader.track.clear()
        self._last_stamp = stamp

    def _is_settled(self, stamp: float) -> bool:
        """Whether waiting does not help: the motion is known, or its topic is silent."""
        return not self._running or all(
            topic.covers(stamp) or topic.is_silent(self.config.stale) for topic in self._topics
        )
