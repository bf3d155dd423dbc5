# SPDX-License-Identifier: Apache-2.0
"""Input of images and camera_info: a callback stores the message, the worker decodes it."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from depthkit.camera import Camera
from depthkit.config.ranges import check_ranges, option
from depthkit.errors import ConfigError, DataError
from depthkit.ros_messages import nanoseconds, read_compressed, read_image, seconds
from ros_nodes.convert import stamp_message
from ros_nodes.inputs.calibration import Calibration
from ros_nodes.inputs.listener import Listener
from ros_nodes.inputs.stamps import StampOrder, stamp_fault
from ros_nodes.life.monitor import Level, Status
from ros_nodes.life.run import PROFILE

BITS = (10, 12, 16)
RECENT = 5.0  # seconds for which a fault stays in the status
SILENT = 1.0  # seconds without a frame that count as an error; at least PERIODS intervals
PERIODS = 5
RECTIFIED = re.compile(r"[/_]rect(?=[/_]|$)|rectified")  # names of image_proc's topics
LARGE = (
    "images larger than the publisher's shared memory get lost: start it with "
    f"FASTRTPS_DEFAULT_PROFILES_FILE={PROFILE} (segment_size)"
)


@dataclass(frozen=True)
class CameraConfig:
    """Image input."""

    transport: Literal["raw", "compressed"] = "raw"
    """Message type. Raw: sensor_msgs/Image on `image`; compressed: CompressedImage on
    `image/compressed`."""
    bits: int = option(16, least=10, most=16)
    """Number of used bits in 16-bit pixels: 10, 12 or 16."""
    rectify: bool = True
    """Whether images are raw and are rectified here; false: they are rectified already, and P of
    camera_info is their K."""
    info_file: Path = Path()
    """Calibration file (camera_info YAML), used while camera_info is missing or uncalibrated; empty
    for none."""
    max_step_back: float = option(1.0, above=0)
    """Largest step back of a stamp that counts as an image out of order, which is dropped, seconds;
    a longer one means a restarted clock or bag."""

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.bits not in BITS:
            raise ConfigError(f"bits: one of {', '.join(map(str, BITS))}, got {self.bits}")


@dataclass(frozen=True)
class Received:
    """A message and its time of arrival."""

    message: Image | CompressedImage
    received_ns: int
    """Time of arrival by the node's clock, nanoseconds."""


@dataclass(frozen=True)
class CameraFrame:
    """A decoded and rectified frame."""

    rgb: np.ndarray
    """Rectified image. (H, W, 3) uint8"""
    K: np.ndarray | None
    """Intrinsics of rgb, pixels; None without a calibration. (3, 3)"""
    camera: Camera | None
    """Camera with these intrinsics and the image size."""
    stamp_ns: int
    """Stamp, nanoseconds."""
    stamp: float
    """Stamp, seconds."""
    header: Header
    """Header for messages about this frame."""
    covered: np.ndarray | None
    """Pixels that rectification could fill; None if all are. (H, W) bool"""
    epoch: int
    """Epoch of the stamps; it grows each time the stamps go back."""


class CameraInput:
    """Subscribes to a camera and reports its faults.

    Subscribes (best effort, newest `queue` only): `image` (sensor_msgs/Image), or
    `image/compressed` (sensor_msgs/CompressedImage); `camera_info` (sensor_msgs/CameraInfo), next
    to the image topic unless it is remapped itself, as in image_transport.
    """

    def __init__(
        self,
        node: Node,
        config: CameraConfig,
        put: Callable[[Received], object],
        *,
        queue: int = 1,
    ) -> None:
        """Set up; subscribes in `start`.

        Args:
            node: node that the topic names are relative to.
            config: settings, fixed.
            put: called with each message on the executor's thread; True if it dropped one.
            queue: number of images kept while the executor is busy.

        Raises:
            DataError: the calibration file is invalid.
        """
        self._node, self._config, self._put = node, config, put
        file = None if config.info_file == Path() else config.info_file
        self._calibration = Calibration(rectify=config.rectify, file=file)
        kind = Image if config.transport == "raw" else CompressedImage
        image, info = topics(node, config.transport)
        self._image = Listener(node, image, (kind,), self._on_image, depth=queue)
        self._info = Listener(node, info, (CameraInfo,), self._on_info, depth=1)
        self._order = StampOrder(config.max_step_back)
        self._faults: dict[str, tuple[float, str]] = {}
        self._dropped = self._refused = self._lost = 0
        self._last_good = -np.inf

    def start(self) -> None:
        """Subscribe, if not subscribed yet."""
        self._lost = 0
        self._info.start()
        self._image.start()

    def stop(self) -> None:
        """Unsubscribe; `start` begins again."""
        self._image.stop()
        self._info.stop()

    # --- the executor's thread --------------------------------------------------------------------

    def _on_image(self, message: Image | CompressedImage) -> None:
        received = Received(message, self._node.get_clock().now().nanoseconds)
        self._dropped += bool(self._put(received))

    def _on_info(self, message: CameraInfo) -> None:
        self._calibration.latest = message

    # --- the worker's thread ----------------------------------------------------------------------

    def read(self, received: Received) -> CameraFrame:
        """Decode a message into a frame.

        Raises:
            DataError: why the message is skipped.
        """
        try:
            frame = self._read(received.message, received.received_ns)
        except DataError as error:
            self._refused += 1
            self._faults["refused"] = time.monotonic(), f"an image is left out: {error}"
            raise
        self._last_good = time.monotonic()
        return frame

    def _read(self, message: Image | CompressedImage, received_ns: int) -> CameraFrame:
        # Decode first: a broken message must not advance the stamps either.
        if self._config.transport == "raw":
            rgb = read_image(message, bits=self._config.bits)
        else:
            rgb = read_compressed(message, bits=self._config.bits)
        header_ns = nanoseconds(message.header.stamp)
        if fault := stamp_fault(header_ns, received_ns):
            self._note("stamp", fault)
        stamp_ns, frame_id = header_ns or received_ns, message.header.frame_id
        self._order.check(stamp_ns)
        info = self._calibration.latest
        picture = self._calibration.apply(rgb, info)
        self._compare_info(info, frame_id, (rgb.shape[0], rgb.shape[1]))
        return CameraFrame(
            rgb=picture.rgb,
            K=None if picture.camera is None else picture.camera.K,
            camera=picture.camera,
            stamp_ns=stamp_ns,
            stamp=seconds(stamp_ns),
            header=Header(stamp=stamp_message(stamp_ns), frame_id=frame_id),
            covered=picture.covered,
            epoch=self._order.epoch,
        )

    def _compare_info(self, info: CameraInfo | None, frame_id: str, size: tuple[int, int]) -> None:
        if fault := self._calibration.other_size(info, size):
            self._note("size", fault)
        if self._calibration.rectifies and RECTIFIED.search(self._image.topic):
            self._note(
                "rectified",
                f"images of {self._image.topic} seem to be rectified and are rectified once more; "
                "set camera.rectify to false",
            )
        if info is not None and info.header.frame_id != frame_id:
            self._note(
                "frame_id",
                f"image is of frame {frame_id!r}, camera_info of {info.header.frame_id!r}; are "
                "they of one camera?",
            )

    def _note(self, kind: str, fault: str) -> None:
        """Keep the newest fault of a kind for the status."""
        self._faults[kind] = time.monotonic(), fault

    # --- the executor's thread again --------------------------------------------------------------

    def status(self, now: float) -> Status:
        """Return the status of task "input" at steady time `now`, seconds."""
        silence = self._silence(now)
        faults = [silence] if silence else []
        if self._image.lost > self._lost:
            self._faults["lost"] = now, f"{self._image.lost} images lost; {LARGE}"
            self._lost = self._image.lost
        # A copy, because the worker may add to it meanwhile.
        faults += [fault for when, fault in [*self._faults.values()] if now - when < RECENT]
        if not silence:
            faults += self._unknown_camera()
        level: Level = "warn" if faults else "ok"
        if silence or self._only_bad(now):
            level = "error"
        return Status(level, "; ".join(faults) or "images come in", self._figures(now))

    def _silence(self, now: float) -> str:
        """Return a fault if no image arrives, with likely causes; empty if images arrive."""
        age = self._image.age(now)
        if age is not None and age <= max(SILENT, PERIODS * self._image.period):
            return ""
        what = "no image" if age is None else f"no image for {age:.1f} s"
        where = f"on {self._image.topic} ({self._image.publishers()})"
        return "; ".join([f"{what} {where}", *self._image.hints()])

    def _unknown_camera(self) -> list[str]:
        if self._calibration.is_calibrated:
            return []
        where = f"on {self._info.topic} ({self._info.publishers()})"
        if self._calibration.latest is not None:
            what = f"camera_info {where} is not calibrated (K[0] is 0)"
        else:
            what = "; ".join([f"no camera_info {where}", *self._info.hints()])
        if self._config.info_file != Path():
            return [f"{what}; the calibration of {self._config.info_file} is taken"]
        return [f"{what}; publish it or set camera.info_file"]

    def _only_bad(self, now: float) -> bool:
        """Whether images arrive but none of them is usable."""
        when, _ = self._faults.get("refused", (-np.inf, ""))
        return bool(now - when < RECENT and when - self._last_good > SILENT)

    def _figures(self, now: float) -> dict[str, str | float | int]:
        return {
            "topic": self._image.topic,
            "input_hz": self._image.rate.hz(now),
            "dropped": self._dropped,
            "lost": self._image.lost,
            "bad": self._refused,
            "bad_last": self._faults.get("refused", (0.0, ""))[1],
            "camera": self._calibration.summary(),
            "epoch": self._order.epoch,
        }


def topics(node: Node, transport: str) -> tuple[str, str]:
    """Return the topics of images and of camera_info.

    As in image_transport, both follow a remapped `image` unless they are remapped themselves.
    """
    base = node.resolve_topic_name("image")
    image = base if transport == "raw" else _own_or(node, "image/compressed", f"{base}/compressed")
    return image, _own_or(node, "camera_info", f"{base.rpartition('/')[0]}/camera_info")


def _own_or(node: Node, topic: str, other: str) -> str:
    resolved = node.resolve_topic_name(topic)
    return other if resolved == node.resolve_topic_name(topic, only_expand=True) else resolved
