# SPDX-License-Identifier: Apache-2.0
"""The camera's motion found in the images themselves, for the depth node.

A thread of its own tracks every image, because tracking breaks where images are left out. Depth
takes longer: it gets the newest tracked image, and the others are counted.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from rclpy.node import Node

from depthkit.errors import DepthkitError
from depthkit.runtime import GeometricOdometry, OdometryResult
from ros_nodes.depth_config import DepthNodeConfig
from ros_nodes.inputs.camera_input import CameraFrame, Received
from ros_nodes.inputs.frames import Extrinsic
from ros_nodes.life.monitor import Provider, Quantiles, Status
from ros_nodes.life.slot import LatestSlot, Worker
from ros_nodes.odometry_config import GEOMETRIC_QUEUE as QUEUE
from ros_nodes.odometry_config import (
    FinderConfig,
    OdometryNodeConfig,
    ScaleConfig,
    StepScaleConfig,
)
from ros_nodes.odometry_geometric import GeometricMethod

NO_SOURCE = (
    "motion has no unit: depth is relative and goes to depth_relative; for metres set scale.source "
    "to speed, twist or odometry, or scale.camera_height"
)
NOTHING = "no frame yet"


@dataclass(frozen=True, eq=False)
class TrackedFrame:
    """A frame whose motion was found, or the reason why it was not."""

    frame: CameraFrame
    moved: OdometryResult
    odometry: GeometricOdometry
    """The odometry that found it; another one after a restart, with a world of its own."""


class VisualStage:
    """Tracks images in their order and passes them on to depth.

    Subscribes, as configured: `twist` (geometry_msgs/TwistStamped or Twist), `scale_odometry`
    (nav_msgs/Odometry).
    """

    def __init__(
        self,
        node: Node,
        config: DepthNodeConfig,
        extrinsic: Extrinsic,
        *,
        read: Callable[[Received], CameraFrame],
        wanted: Callable[[], bool],
        refuse: Callable[[str], None],
        idle: Callable[[], None],
        on_bug: Callable[[Exception], None],
    ) -> None:
        """Set up; nothing runs before `start`.

        Args:
            node: node that the topics are relative to.
            config: settings of the node.
            extrinsic: pose of the camera on the body, for scale.source odometry.
            read: decodes a message; raises DepthkitError with the reason why it is skipped.
            wanted: whether anybody listens.
            refuse: called with the reason of each frame that is not tracked at all.
            idle: called for each frame that nobody wants.
            on_bug: called with an exception that is a bug.
        """
        self.images, self.tracked = LatestSlot[Received](QUEUE), LatestSlot[TrackedFrame]()
        self._read, self._wanted, self._refuse, self._idle = read, wanted, refuse, idle
        self._method = GeometricMethod(node, _settings(config), extrinsic, no_source=NO_SOURCE)
        self._worker = Worker(self.images, self._handle, on_error=on_bug, name="tracking")
        self._epoch, self._reset_requested, self._milliseconds = 0, False, Quantiles()

    def start(self) -> None:
        """Subscribe and work."""
        self._method.reset()  # the motion in the meantime is unknown
        self._worker.start()
        self._method.start()

    def stop(self) -> None:
        """Unsubscribe and stop; `start` begins again."""
        self._method.stop()
        self._worker.stop()

    def close(self) -> None:
        """Leave the graph."""
        self._method.close()

    def apply(self, config: DepthNodeConfig) -> None:
        """Take live parameters."""
        self._method.apply(_settings(config))

    def reset(self) -> None:
        """Forget all images before the next one."""
        self._reset_requested = True

    def tasks(self) -> dict[str, Provider]:
        """Return the status providers by task."""
        return {**self._method.tasks(), "geometry": self._status}

    # --- the worker's thread ----------------------------------------------------------------------

    def _handle(self, received: Received) -> None:
        """Track one image and pass it on."""
        if not self._wanted():
            self._idle()
            return
        started = time.perf_counter()
        try:
            frame = self._read(received)
            self._begin_anew(frame)
            # The camera is the body: nothing but scale.source odometry knows another one.
            step = self._method.process(frame, np.eye(4))
        except DepthkitError as error:
            self._refuse(str(error))
            return
        self._milliseconds.add(1e3 * (time.perf_counter() - started))
        engine = self._method.engine
        if engine is not None:
            self.tracked.put(TrackedFrame(frame, step.result, engine))

    def _begin_anew(self, frame: CameraFrame) -> None:
        """Start another odometry after a reset, or where time went back: a looping bag."""
        if self._reset_requested:
            self._reset_requested = False
            self._method.reset()
        if frame.epoch != self._epoch:
            self._epoch = frame.epoch
            self._method.restart(frame.stamp)

    def _status(self, now: float) -> Status:
        status = self._method.tasks()["geometry"](now)
        values = {**status.values, "dropped": self.images.dropped}
        if (middle := self._milliseconds.at(50)) is not None:
            values["tracking_p50_ms"] = round(middle, 2)
        return Status(status.level, status.message, values)


def _settings(config: DepthNodeConfig) -> OdometryNodeConfig:
    """Return the settings of the odometry."""
    scale = {one.name: getattr(config.scale, one.name) for one in fields(StepScaleConfig)}
    return OdometryNodeConfig(
        threads=config.threads,
        scale=ScaleConfig(**scale),
        places=FinderConfig(features=config.features),
    )
