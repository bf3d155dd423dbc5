# SPDX-License-Identifier: Apache-2.0
"""What the depth node sends of a frame: depth with its camera, confidence, baselines with the why.

Metres go to `depth` and nothing else ever does; depth of one unknown factor goes to
`depth_relative`. A pixel that is not known is NaN (REP 118), or 0 in millimetres.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from depthkit.camera import Camera
from depthkit.config.ranges import check_ranges, option
from depthkit.runtime import DepthResult
from ros_nodes.convert import camera_info_message, depth_message, image_message

# Reliable matches reliable and best-effort subscribers alike. One frame is kept: old is stale.
SENT = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.VOLATILE,
)
TOPICS = {
    "depth": Image,
    "depth_relative": Image,
    "depth/camera_info": CameraInfo,
    "confidence": Image,
    "baseline": DiagnosticArray,
}
ASKING = ("depth", "depth_relative", "confidence", "baseline")
"""Topics whose subscribers make the node compute."""


@dataclass(frozen=True)
class OutputConfig:
    """What of the depth is sent, and how."""

    encoding: Literal["32FC1", "16UC1"] = option("32FC1", live=True)
    """Of depth in metres: 32-bit metres with NaN for unknown, or 16-bit millimetres with 0 for
    unknown and beyond 65.534 m (half the bandwidth). Relative depth is always 32FC1."""
    output_width: int = option(0, least=0, live=True)
    """Pixels; the maps sent are reduced to it by taking the nearest pixel, and camera_info with
    them. 0, or more than the camera has: the camera's own size."""
    min_confidence: float = option(0.0, least=0, most=1, live=True)
    """Pixels below it are unknown; 0 keeps all. Networks of single frames tell none."""
    max_depth_out: float = option(0.0, least=0, live=True)
    """Metres; what is farther is unknown, 0 keeps all. Of metric depth alone."""

    def __post_init__(self) -> None:
        check_ranges(self)


class DepthOutput:
    """The publishers of the depth node. One thread sends; any may ask what is wanted."""

    def __init__(self, node: Node) -> None:
        self._node, self._name = node, node.get_fully_qualified_name().lstrip("/")
        self._publishers: dict[str, Publisher] = {
            topic: node.create_publisher(kind, topic, SENT) for topic, kind in TOPICS.items()
        }

    def wanted(self) -> bool:
        """Whether somebody listens to anything that has to be computed."""
        return any(map(self.heard, ASKING))

    def heard(self, topic: str) -> bool:
        """Whether a topic has subscribers."""
        return bool(self._publishers[topic].get_subscription_count())

    def send(
        self,
        result: DepthResult,
        header: Header,
        *,
        camera: Camera | None,
        inside: np.ndarray | None,
        config: OutputConfig,
    ) -> None:
        """Send what there is of a frame to those who listen.

        Args:
            result: of the engine; without depth, only the baselines and the reason are sent.
            header: of the image, whose stamp and frame all messages carry.
            camera: of the image; None where it is not known, and no camera_info is sent.
            inside: the pixel is picture at all; None where all are. (H, W) bool
            config: what is sent.
        """
        maps = maps_of(result, inside, config.output_width)
        if maps is not None and camera is not None:
            info = camera.resized(maps.size)
            self._give("depth/camera_info", lambda: camera_info_message(info, header))
        if maps is not None:
            self._send_maps(maps, header, metric=result.scale == "metric", config=config)
        self._give("baseline", lambda: baseline_message(result, header, self._name))

    def _send_maps(
        self, maps: "Maps", header: Header, *, metric: bool, config: OutputConfig
    ) -> None:
        """Send depth where its own scale belongs, and confidence."""
        known = maps.known(config, metric=metric)
        encoding = config.encoding if metric else "32FC1"
        self._give(
            "depth" if metric else "depth_relative",
            lambda: depth_message(maps.depth, known, header, encoding=encoding),
        )
        if (confidence := maps.confidence) is not None:
            sure = np.where(maps.seen, confidence, np.float32(0))
            self._give("confidence", lambda: image_message(sure, "32FC1", header))

    def _give(self, topic: str, make: Callable[[], Any]) -> None:
        """Make and send a message where somebody listens."""
        if self.heard(topic):
            self._publishers[topic].publish(make())

    def close(self) -> None:
        """Leave the graph."""
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)
        self._publishers.clear()


@dataclass(frozen=True, eq=False)
class Maps:
    """The maps of a frame at the size sent."""

    depth: np.ndarray
    """(h, w) float32"""
    seen: np.ndarray
    """The engine knows the pixel, and it is picture. (h, w) bool"""
    confidence: np.ndarray | None
    """0 to 1, where the engine tells. (h, w) float32"""

    @property
    def size(self) -> tuple[int, int]:
        """(h, w)."""
        return self.depth.shape[0], self.depth.shape[1]

    def known(self, config: OutputConfig, *, metric: bool) -> np.ndarray:
        """Return which pixels are sent as known. (h, w) bool

        Args:
            config: the least confidence, and the largest depth.
            metric: depth is metres, which a largest depth can be compared with.
        """
        known = self.seen
        if config.min_confidence > 0 and self.confidence is not None:
            known = known & (self.confidence >= config.min_confidence)
        if config.max_depth_out > 0 and metric:
            known = known & (self.depth <= config.max_depth_out)
        return known


def maps_of(result: DepthResult, inside: np.ndarray | None, width: int) -> Maps | None:
    """Reduce the maps of a result; None where it has no depth.

    Args:
        result: of the engine.
        inside: the pixel is picture at all; None where all are. (H, W) bool
        width: wanted, pixels; 0 for the camera's.
    """
    if result.depth is None or result.valid is None:
        return None
    size = output_size(result.depth.shape, width)
    valid, confidence = nearest(result.valid, size), result.confidence
    return Maps(
        nearest(result.depth, size),
        valid if inside is None else valid & nearest(inside, size),
        None if confidence is None else nearest(confidence, size),
    )


def output_size(size: tuple[int, ...], width: int) -> tuple[int, int]:
    """Return (h, w) of the maps sent: of this width and the camera's shape, never larger.

    Args:
        size: of the camera's frames, (H, W).
        width: wanted, pixels; 0 for the camera's.
    """
    height, full = size
    return (height, full) if not 0 < width < full else (max(1, round(height * width / full)), width)


def nearest(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Reduce a map by taking the nearest pixel: no depth between two surfaces is made up.

    Args:
        values: (H, W)
        size: wanted (h, w).

    Returns:
        The map itself where it has that size already. (h, w)
    """
    if values.shape == size:
        return values
    # The centre of output pixel i lies at (i + 0.5) / s - 0.5; its nearest pixel is the floor of
    # that plus 0.5.
    rows, columns = (
        np.floor((np.arange(few) + 0.5) * (many / few)).astype(np.intp)
        for many, few in zip(values.shape, size, strict=True)
    )
    return values[rows[:, None], columns]


def baseline_message(result: DepthResult, header: Header, name: str) -> DiagnosticArray:
    """Say with which earlier frames a frame was seen, and why; or why it has no depth.

    Args:
        result: of the engine.
        header: of the image.
        name: of the node, without the leading slash.
    """
    decision, why = result.decision, result.reason
    values = {"scale": result.scale, "scale_source": result.scale_source, "no_depth": why}
    message = why or "a network of single frames has no baseline"
    if decision is not None:
        message = why or decision.reason
        values |= {
            "rule": decision.rule,
            "shifts": _words(decision.shifts, "d"),
            "baselines_m": _words(decision.baselines, ".4f"),
            "parallax_px": _words(decision.parallax, ".2f"),
            "weights": _words(decision.weights, ".3f"),
            "wanted_m": _words(decision.wanted, ".4f"),
            "rotation_deg": _words(decision.rotation, ".2f"),
            "reason": decision.reason,
        }
    status = DiagnosticStatus(
        level=DiagnosticStatus.WARN if why else DiagnosticStatus.OK,
        name=f"{name}: baseline",
        message=message,
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )
    return DiagnosticArray(header=header, status=[status])


def _words(numbers: Iterable[float], how: str) -> str:
    return ", ".join(format(number, how) for number in numbers)
