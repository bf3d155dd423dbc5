# SPDX-License-Identifier: Apache-2.0
"""Metres for the odometry node: from the network itself, a speed, other odometry, a known height.

A unit is never guessed: until enough measurements agree there is no scale, and a scale whose
source has fallen silent is dropped after a while.
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
PENDING = 100  # motions that may wait for their length in metres
NO_CAMERA = "no camera_info yet: the height needs the camera's intrinsics; set camera.info_file"


class _Motion(NamedTuple):
    """A motion whose length in metres may not have come yet."""

    since: float
    stamp: float
    length: float
    """In the network's unit."""
    camera_frame: str


class OdometryScale:
    """Metres a unit of the pose network's translations.

    No frame waits for it: what a topic says of a motion counts when it has come.

    Subscribes (best effort), as configured: `twist` (geometry_msgs/TwistStamped or Twist),
    `scale_odometry` (nav_msgs/Odometry).
    """

    def __init__(self, node: Node, config: ScaleConfig, extrinsic: Extrinsic) -> None:
        """Set up; nothing is heard before `start`."""
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
        """Forget the scale."""
        self.follower.reset()
        self._pending.clear()
        self.reason = "no motion yet"
        """Why there is no scale; empty where there is."""
        self._note, self._steps = "", 0
        self._told: float | None = None  # stamp at which the source last told something

    def restart(self) -> None:
        """Go on after time was set back: a unit is as many metres as before."""
        self._pending.clear()
        self._told = None

    def apply(self, config: ScaleConfig) -> None:
        """Take the live fields of another configuration."""
        self._config, self._motion.config = config, config.motion

    @property
    def spread(self) -> float:
        """Relative standard deviation of a motion's length, as far as it was measured."""
        return self.follower.spread or 0.0

    def factor(
        self, models: Models, frame: CameraFrame, result: OdometryResult, T_base_cam: np.ndarray
    ) -> float | None:
        """Take in a motion and return the metres a unit, None with a `reason` while not known.

        Args:
            models: of the node.
            frame: at the end of the motion.
            result: with a motion.
            T_base_cam: where the camera sits on a body that stands level. (4, 4)
        """
        if self._config.source == "model":
            metric = models.odometry.manifest.scale == "metric"
            self.reason = "" if metric else NO_UNIT
            return 1.0 if metric else None
        if self._config.source != "height":
            self._follow(result, frame.header.frame_id)
        elif models.depth is not None:
            self._see_height(models.depth, frame, T_base_cam)
        self._told = result.stamp if self._told is None else self._told
        age = result.stamp - self._told
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
        """Say how far the scale is known, at steady time `now`: task "scale"."""
        if self._config.source == "model":
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
        """Take in a length, metres, and what it is in the network's unit; NaN where not known."""
        if np.isfinite(metric):
            self._told = stamp
            self._note = self.follower.add(metric=metric, relative=relative)

    def _follow(self, result: OdometryResult, camera_frame: str) -> None:
        """Take in the motions whose lengths in metres have come by now."""
        T, since = result.T_previous_current, result.since
        if T is None or since is None:
            return
        length = float(np.linalg.norm(T[:3, 3]))
        self._pending.append(_Motion(since, result.stamp, length, camera_frame))
        while self._pending and self._motion.is_ready(self._pending[0].stamp):
            motion = self._pending.popleft()
            self._take(motion.stamp, metric=self._displacement(motion), relative=motion.length)

    def _displacement(self, motion: _Motion) -> float:
        """Return how far the camera went, metres; NaN where nothing told."""
        now = self._motion.tell(motion.stamp, motion.camera_frame, since=motion.since)
        self._note, epoch = self._motion.reason, self._motion.epoch
        if self._motion.config.source != "odometry":
            return float("nan") if now.displacement is None else now.displacement
        before = self._motion.recall(motion.since, motion.camera_frame)
        self._note = self._note or self._motion.reason
        poses = now.T_world_cam, before.T_world_cam
        if self._motion.epoch != epoch or poses[0] is None or poses[1] is None:
            return float("nan")
        return float(np.linalg.norm(poses[0][:3, 3] - poses[1][:3, 3]))

    def _see_height(self, engine: DepthEngine, frame: CameraFrame, T_base_cam: np.ndarray) -> None:
        """Compare the known height with the one that the depth network sees, now and then."""
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
        # T_base_cam's third row is the base's z axis, up, in the camera's axes.
        found = ground_height(depth.depth, K=frame.K, up=T_base_cam[2, :3], valid=valid)
        if found.height is None:
            self._note = found.reason
            return
        self._take(frame.stamp, metric=self._config.camera_height, relative=found.height)
