# SPDX-License-Identifier: Apache-2.0
"""Scale of the odometry node: from the network itself, a speed, other odometry or a known height.

The scale is never guessed: it is unknown until enough measurements agree, and unknown again some
time after its source has stopped.
"""

from collections import deque
from typing import NamedTuple

import numpy as np
from rclpy.node import Node

from depthkit.runtime import DepthEngine, OdometryResult
from depthkit.runtime.odometry.ground_height import ground_height
from depthkit.runtime.odometry.scale_follower import ScaleFollower
from ros_nodes.inputs.camera_input import CameraFrame
from ros_nodes.inputs.frames import Extrinsic
from ros_nodes.inputs.motion_source import MotionSource
from ros_nodes.life.monitor import Status
from ros_nodes.odometry_config import ScaleConfig
from ros_nodes.odometry_models import Models

NO_UNIT = (
    "the network's translations have no unit: relative motion goes to odometry_relative; for "
    "metres set scale.source to speed, twist, odometry or height"
)
OWN = ("auto", "model")  # metres of the network's own training
PENDING = 100  # most motions that wait for their length in metres
NO_CAMERA = "no camera_info yet: the height needs the camera's intrinsics; set camera.info_file"


class _Motion(NamedTuple):
    """A motion whose length in metres may not be known yet."""

    since: float
    stamp: float
    length: float
    """Length in the network's unit."""
    camera_frame: str


class OdometryScale:
    """Metres per unit of the pose network's translations.

    No frame waits for a topic: a measurement is used when its message arrives.

    Subscribes (best effort), as configured: `twist` (geometry_msgs/TwistStamped or Twist),
    `scale_odometry` (nav_msgs/Odometry).
    """

    def __init__(self, node: Node, config: ScaleConfig, extrinsic: Extrinsic) -> None:
        """Set up; subscribes in `start`."""
        self._config = config
        self._motion = MotionSource(node, config.motion, extrinsic, odometry_topic="scale_odometry")
        self.follower = ScaleFollower(
            window=config.window,
            needed=config.needed,
            least_motion=0.0 if config.source == "height" else config.least_motion,
            max_spread=config.max_spread,
        )
        self._pending: deque[_Motion] = deque(maxlen=PENDING)
        self.reset()

    def start(self) -> None:
        """Subscribe."""
        self._motion.start()

    def stop(self) -> None:
        """Unsubscribe; `start` begins again."""
        self._motion.stop()

    def reset(self) -> None:
        """Drop the scale."""
        self.follower.reset()
        self._pending.clear()
        self.reason = "no motion yet"
        """Why the scale is unknown; empty if it is known."""
        self._note, self._steps = "", 0
        self._last_measured: float | None = None  # stamp of the last measurement

    def restart(self) -> None:
        """Continue after time went back: the scale itself stays."""
        self._pending.clear()
        self._last_measured = None

    def apply(self, config: ScaleConfig) -> None:
        """Take the live fields of another configuration."""
        self._config, self._motion.config = config, config.motion

    @property
    def spread(self) -> float:
        """Relative standard deviation of a motion's length; 0 before any measurement."""
        return self.follower.spread or 0.0

    def factor(
        self, models: Models, frame: CameraFrame, result: OdometryResult, T_base_cam: np.ndarray
    ) -> float | None:
        """Add a motion and return metres per unit; None with a `reason` while unknown.

        Args:
            models: networks of the node.
            frame: frame at the end of the motion.
            result: result with a motion.
            T_base_cam: pose of the camera on a level body. (4, 4)
        """
        if self._config.source in OWN:
            metric = models.odometry.manifest.scale == "metric"
            self.reason = "" if metric else NO_UNIT
            return 1.0 if metric else None
        if self._config.source != "height":
            self._follow(result, frame.header.frame_id)
        elif models.depth is not None:
            self._measure_height(models.depth, frame, T_base_cam)
        self._last_measured = result.stamp if self._last_measured is None else self._last_measured
        age = result.stamp - self._last_measured
        if self.follower.scale is None:
            self.reason = f"scale {self.follower.summary()}"
        elif age > self._config.hold:
            self.reason = f"the scale is {age:.1f} s old, more than {self._config.hold:g} s"
        else:
            self.reason = ""
            return self.follower.scale
        self.reason += f" ({self._note})" if self._note else ""
        return None

    def status(self, now: float) -> Status:
        """Return the status of task "scale" at steady time `now`, seconds."""
        if self._config.source in OWN:
            if self.reason == NO_UNIT:
                return Status("error", NO_UNIT, {"scale source": "model"})
            return Status("ok", "metres as the network was trained", {"scale source": "model"})
        follower, motion = self.follower, self._motion.status(now)
        values: dict[str, str | float | int] = {
            "scale source": self._config.source,
            "scale": follower.state,
            "metres a unit": follower.scale or float("nan"),
            "spread": self.spread,
            "agreeing": follower.agreeing,
            "measurements": follower.steps,
            "last ignored": self._note,
        }
        if self._config.source != "height":
            values |= motion.values
        if motion.level == "error":
            return Status("error", motion.message, values)
        return Status("warn" if self.reason else "ok", self.reason or follower.summary(), values)

    def _take(self, stamp: float, *, metric: float, relative: float) -> None:
        """Add one length in metres (NaN where unknown) and in the network's unit."""
        if np.isfinite(metric):
            self._last_measured = stamp
            self._note = self.follower.add(metric=metric, relative=relative)

    def _follow(self, result: OdometryResult, camera_frame: str) -> None:
        """Add the motions whose length in metres has become known."""
        T, since = result.T_previous_current, result.since
        if T is None or since is None:
            return
        length = float(np.linalg.norm(T[:3, 3]))
        self._pending.append(_Motion(since, result.stamp, length, camera_frame))
        while self._pending and self._motion.is_ready(self._pending[0].stamp):
            motion = self._pending.popleft()
            self._take(motion.stamp, metric=self._displacement(motion), relative=motion.length)

    def _displacement(self, motion: _Motion) -> float:
        """Return the distance that the camera moved, metres; NaN where unknown."""
        found = self._motion.displacement(motion.stamp, motion.camera_frame, since=motion.since)
        self._note = self._motion.reason
        return float("nan") if found is None else found

    def _measure_height(
        self, engine: DepthEngine, frame: CameraFrame, T_base_cam: np.ndarray
    ) -> None:
        """Compare the known height with that in the depth map, at every n-th motion."""
        self._steps += 1
        if (self._steps - 1) % self._config.every:
            return
        if frame.K is None:
            self._note = NO_CAMERA
            return
        depth = engine.depth(frame.rgb, K=frame.K, stamp=frame.stamp)
        if depth.depth is None or depth.valid is None:
            self._note = depth.reason
            return
        valid = depth.valid if frame.covered is None else depth.valid & frame.covered
        # Row 3 of T_base_cam is the z axis of base, which is up, in the camera's axes.
        found = ground_height(depth.depth, K=frame.K, up=T_base_cam[2, :3], valid=valid)
        if found.height is None:
            self._note = found.reason
            return
        self._take(frame.stamp, metric=self._config.camera_height, relative=found.height)
