# SPDX-License-Identifier: Apache-2.0
"""Input of depth in metres with its camera_info, and of its confidence, if that is wanted."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from depthkit.errors import DataError
from depthkit.ros_messages import nanoseconds, read_camera, read_depth, seconds
from ros_nodes.inputs.listener import Listener
from ros_nodes.inputs.stamps import StampOrder
from ros_nodes.life.monitor import Level, Status

RECENT = 5.0  # seconds for which a fault stays in the status
SILENT = 1.0  # seconds without depth that count as an error; at least PERIODS intervals
PERIODS = 5
KEPT = 8  # confidences that wait for their depth
WAIT = 0.3  # seconds that depth waits for the confidence of the same frame


@dataclass(frozen=True)
class DepthFrame:
    """Depth of one frame."""

    depth: np.ndarray
    """Metres along the optical axis, NaN unknown. (H, W) float32"""
    confidence: np.ndarray | None
    """Confidence, 0 to 1; None if it is not read. (H, W) float32"""
    K: np.ndarray
    """Intrinsics at this size, pixels. (3, 3)"""
    stamp: float
    """Stamp, seconds."""
    header: Header
    epoch: int
    """Epoch of the stamps; it grows each time the stamps go back."""


class DepthInput:
    """Subscribes to depth and reports its faults.

    Subscribes (best effort): `depth` (sensor_msgs/Image, newest only), `depth/camera_info`
    (sensor_msgs/CameraInfo), and `confidence` (sensor_msgs/Image) if wanted. Depth on this topic is
    in metres; relative depth has a topic of its own, which nobody here reads.
    """

    def __init__(
        self, node: Node, put: Callable[[Image], object], *, with_confidence: bool
    ) -> None:
        """Set up; subscribes in `start`.

        Args:
            node: node that the topic names are relative to.
            put: called with each depth message on the executor's thread.
            with_confidence: whether frames need the confidence of the same stamp.
        """
        self._put, self._with_confidence = put, with_confidence
        self._depth = Listener(node, "depth", (Image,), self._on_depth, depth=1)
        self._info = Listener(node, "depth/camera_info", (CameraInfo,), self._on_info, depth=1)
        self._sure = Listener(node, "confidence", (Image,), self._on_confidence, depth=2)
        self._latest: CameraInfo | None = None
        self._order = StampOrder(max_step_back=1.0)
        self._arrived = threading.Condition()
        self._confidences: deque[Image] = deque(maxlen=KEPT)
        self._refused, self._fault = 0, (-RECENT, "")
        self._last_good = -np.inf

    def start(self) -> None:
        """Subscribe, if not subscribed yet."""
        for listener in self._listeners():
            listener.start()

    def stop(self) -> None:
        """Unsubscribe; `start` begins again."""
        for listener in self._listeners():
            listener.stop()

    def _listeners(self) -> list[Listener]:
        return [self._info, *([self._sure] if self._with_confidence else []), self._depth]

    # --- the executor's thread --------------------------------------------------------------------

    def _on_depth(self, message: Image) -> None:
        self._put(message)

    def _on_info(self, message: CameraInfo) -> None:
        self._latest = message

    def _on_confidence(self, message: Image) -> None:
        with self._arrived:
            self._confidences.append(message)
            self._arrived.notify_all()

    # --- the worker's thread ----------------------------------------------------------------------

    def read(self, message: Image) -> DepthFrame:
        """Read a depth message, its camera and its confidence.

        Raises:
            DataError: why the message is left out.
        """
        try:
            frame = self._read(message)
        except DataError as error:
            self._refused += 1
            self._fault = time.monotonic(), f"a depth image is left out: {error}"
            raise
        self._last_good = time.monotonic()
        return frame

    def _read(self, message: Image) -> DepthFrame:
        depth = read_depth(message)
        stamp = nanoseconds(message.header.stamp)
        if stamp == 0:
            raise DataError("the stamp is zero; the publisher does not set it")
        self._order.check(stamp)
        info = self._latest
        if info is None:
            raise DataError(
                f"no camera_info yet on {self._info.topic} ({self._info.publishers()}); publish "
                "the intrinsics of the depth image there"
            )
        camera = read_camera(info, (depth.shape[0], depth.shape[1]), rectified=bool(info.p[0]))
        confidence = self._wait_for_confidence(message) if self._with_confidence else None
        if confidence is not None and confidence.shape != depth.shape:
            raise DataError(f"confidence is {confidence.shape}, depth {depth.shape}")
        return DepthFrame(
            depth=depth,
            confidence=confidence,
            K=camera.camera.K,
            stamp=seconds(stamp),
            header=message.header,
            epoch=self._order.epoch,
        )

    def _wait_for_confidence(self, message: Image) -> np.ndarray:
        """Return the confidence of the same stamp; the depth node sends it right after depth."""

        def matching() -> Any:
            stamp = message.header.stamp
            return next((one for one in self._confidences if one.header.stamp == stamp), None)

        with self._arrived:
            found = self._arrived.wait_for(matching, WAIT)
        if found is None:
            raise DataError(
                f"no confidence of its stamp on {self._sure.topic} ({self._sure.publishers()}); "
                "set min_confidence to 0 to go on without"
            )
        return read_depth(found)

    # --- the executor's thread again --------------------------------------------------------------

    def status(self, now: float) -> Status:
        """Return the status of task "input" at steady time `now`, seconds."""
        age = self._depth.age(now)
        values: dict[str, str | float | int] = {
            "topic": self._depth.topic,
            "input_hz": self._depth.rate.hz(now),
            "lost": self._depth.lost,
            "bad": self._refused,
            "bad_last": self._fault[1],
            "epoch": self._order.epoch,
        }
        if age is None or age > max(SILENT, PERIODS * self._depth.period):
            what = "no depth" if age is None else f"no depth for {age:.1f} s"
            where = f"on {self._depth.topic} ({self._depth.publishers()})"
            return Status("error", "; ".join([f"{what} {where}", *self._depth.hints()]), values)
        when, fault = self._fault
        if now - when < RECENT and fault:
            level: Level = "error" if when - self._last_good > SILENT else "warn"
            return Status(level, fault, values)
        return Status("ok", "depth comes in", values)
