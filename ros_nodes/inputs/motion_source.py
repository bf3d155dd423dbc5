# SPDX-License-Identifier: Apache-2.0
"""How the camera moved, as a `DepthStream` is told: from odometry, a twist, a speed, an IMU.

Callbacks fill tracks on the executor's thread; the worker asks for the stamp of a frame and waits a
little for the motion that brackets it. What should be known and is not is told as NaN, never left
out: a stream must not take metric motion for none at all.
"""

import threading
import time
from dataclasses import dataclass
from typing import Any, Literal

from rclpy.node import Node

from depthkit.config.ranges import check_ranges, option
from depthkit.errors import ConfigError
from ros_nodes.inputs.frames import Extrinsic
from ros_nodes.inputs.motion_topics import (
    ImuReader,
    MotionTopic,
    OdometryReader,
    Reader,
    TwistReader,
)
from ros_nodes.life.monitor import Status

RECENT = 5.0  # seconds that what the last frame lacked stays in the status
STEP_BACK = 1.0  # seconds by which frames run back where a clock or a bag started anew


@dataclass(frozen=True)
class MotionConfig:
    """Where the camera's motion comes from; without it the depth of pairs is relative."""

    source: Literal["none", "odometry", "twist", "speed"] = "none"
    """Odometry: poses of nav_msgs/Odometry; twist: the speed of Twist or TwistStamped; speed: the
    one below, all the time."""
    attitude: Literal["none", "imu"] = "none"
    """Imu: turns from sensor_msgs/Imu, its orientation or else its gyroscope; where no poses tell
    them."""
    speed: float = option(0.0, least=0, live=True)
    """Of source speed, metres a second."""
    wait: float = option(0.1, least=0, most=5, live=True)
    """Longest that a frame waits for motion that brackets it, seconds; more than the period of the
    motion's topic."""
    max_gap: float = option(0.5, above=0)
    """Longest pause between two samples that is interpolated, seconds."""
    stale: float = option(1.0, above=0, live=True)
    """A topic silent for longer is an error and no longer waited for, seconds."""

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.source == "odometry" and self.attitude != "none":
            raise ConfigError("attitude: the poses of odometry tell the turns; set it to none")
        if self.source == "speed" and self.speed == 0:
            raise ConfigError("speed: above 0 for source speed, got 0.0")

    @property
    def needs_place(self) -> bool:
        """Whether it is the motion of a body, of which the camera's place on it must be known."""
        return self.source == "odometry" or self.attitude != "none"


class MotionSource:
    """Tells of each frame how the camera moved; asked by one thread.

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
    ) -> None:
        """Set up; nothing is heard before `start`.

        Args:
            node: the topics' names are relative to it.
            config: may be replaced later by one that differs in live fields.
            extrinsic: T_base_cam of the frames that the topics name.
            odometry_topic: for a node that publishes `odometry` itself.
        """
        self.config = config
        self.reason = ""
        """What the frame told last lacks; empty where it lacks nothing."""
        self.epoch = 0
        """Motion told in one epoch does not continue that of another: forget the past."""
        self._changed = threading.Condition()
        self._running = False
        self._last_stamp: float | None = None
        self._told = -RECENT
        readers: list[Reader] = []
        if config.source == "odometry":
            readers.append(OdometryReader(odometry_topic, config.max_gap, extrinsic))
        if config.source == "twist":
            readers.append(TwistReader("twist", config.max_gap, node))
        if config.attitude == "imu":
            readers.append(ImuReader("imu", config.max_gap, extrinsic))
        self._topics = [MotionTopic(node, reader, self._changed) for reader in readers]

    def start(self) -> None:
        """Subscribe."""
        self._running = True
        for topic in self._topics:
            topic.listener.start()

    def stop(self) -> None:
        """Unsubscribe, forget all motion and let a waiting frame go on; `start` begins again."""
        self._running = False
        self.clear()
        for topic in self._topics:
            topic.listener.stop()

    def clear(self) -> None:
        """Forget all motion, for a reset by the user; where time runs back `tell` sees to it."""
        with self._changed:
            self._last_stamp = None
            for topic in self._topics:
                topic.reader.track.clear()
            self._changed.notify_all()

    def is_ready(self, stamp: float) -> bool:
        """Whether `tell` would not wait for the motion up to a stamp, seconds."""
        with self._changed:
            return self._is_settled(stamp)

    def tell(self, stamp: float, camera_frame: str, *, since: float | None) -> dict[str, Any]:
        """Return what is known of a frame's motion, as arguments of `DepthStream.process`.

        Waits for motion that brackets the frame, `config.wait` seconds at most, and not for a topic
        that is silent. Sets `reason` and `epoch`.

        Args:
            stamp: of the frame, seconds.
            camera_frame: frame_id of the frame.
            since: stamp of the frame that was told before; None for the first.
        """
        with self._changed:
            self._follow_time(stamp)
            wait = self.config.wait
            came = self._changed.wait_for(lambda: self._is_settled(stamp), wait)
            told, self._told = self._ask(stamp, camera_frame, since), time.monotonic()
            if self.reason and not came:
                self.reason += f" after {wait:g} s of waiting (motion.wait)"
            return told

    def recall(self, stamp: float, camera_frame: str) -> dict[str, Any]:
        """Tell of an earlier frame again, as far as its motion is still known; waits for nothing.

        Args:
            stamp: of the frame, seconds.
            camera_frame: frame_id of the frame.
        """
        with self._changed:
            return self._ask(stamp, camera_frame, None)

    def status(self, now: float) -> Status:
        """Say how motion comes in at steady time `now`: task "motion"."""
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
        if self.reason and now - self._told < RECENT:
            return Status("warn", f"the last frame has no motion: {self.reason}", values)
        known = f"motion from {source}" if source != "none" else "motion is not asked for"
        return Status("ok", known, values)

    def _ask(self, stamp: float, camera_frame: str, since: float | None) -> dict[str, Any]:
        told: dict[str, Any] = {}
        reasons = []
        for topic in self._topics:
            known, reason = topic.reader.tell(stamp, camera_frame, since=since)
            told |= known
            if reason:
                # Where all is refused, that is why there is nothing new enough.
                why = f"; what comes is refused: {topic.refusal}" if topic.refusal else ""
                where = f"{topic.reader.name} on {topic.listener.topic}"
                reasons.append(f"{where}: {reason}{why}")
        if self.config.source == "speed":
            told["displacement"] = self.config.speed * (0.0 if since is None else stamp - since)
        self.epoch = sum(topic.reader.track.restarts for topic in self._topics)
        self.reason = "; ".join(reasons)
        return told

    def _follow_time(self, stamp: float) -> None:
        """Forget motion of before time ran back; a topic that is back already keeps its own."""
        if self._last_stamp is not None and stamp < self._last_stamp - STEP_BACK:
            for topic in self._topics:
                newest = topic.reader.track.newest
                if newest is not None and newest > stamp + STEP_BACK:
                    topic.reader.track.clear()
        self._last_stamp = stamp

    def _is_settled(self, stamp: float) -> bool:
        """Whether waiting does not help: the motion is there, or its topic is silent."""
        return not self._running or all(
            topic.covers(stamp) or topic.is_silent(self.config.stale) for topic in self._topics
        )
