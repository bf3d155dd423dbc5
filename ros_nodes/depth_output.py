# SPDX-License-Identifier: Apache-2.0
"""Outputs of the depth node: depth with its camera, confidence, and the baselines with the reason.

Only metres go to `depth`; depth up to one unknown factor goes to `depth_relative`. An unknown pixel
is NaN (REP 118), or 0 in millimetres.
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

# Reliable matches reliable and best-effort subscribers. One frame is kept: older ones are stale.
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
    "depth_sigma": Image,
    "baseline": DiagnosticArray,
}
COMPUTED = ("depth", "depth_relative", "confidence", "depth_sigma", "baseline")
"""Topics whose subscribers make the node compute."""


@dataclass(frozen=True)
class OutputConfig:
    """Format and filtering of the published depth."""

    encoding: Literal["32FC1", "16UC1"] = option("32FC1", live=True)
    """Encoding of depth in metres: 32-bit metres with NaN for unknown, or 16-bit millimetres with 0
    for unknown and beyond 65.534 m (half the bandwidth). Relative depth is always 32FC1."""
    output_width: int = option(0, least=0, live=True)
    """Width of the published maps and their camera_info, pixels; reduced by taking the nearest
    pixel. 0, or more than the camera's width: the camera's own size."""
    min_confidence: float = option(0.0, least=0, most=1, live=True)
    """Smallest confidence of a known pixel; 0 keeps all. Single-frame networks have no
    confidence."""
    max_depth_out: float = option(0.0, least=0, live=True)
    """Largest depth of a known pixel, metres; 0 keeps all. Metric depth only."""

    def __post_init__(self) -> None:
        check_ranges(self)


class DepthOutput:
    """Publishers of the depth node. One thread sends; any thread may call the queries."""

    def __init__(self, node: Node) -> None:
        self._node, self._name = node, node.get_fully_qualified_name().lstrip("/")
        self._publishers: dict[str, Publisher] = {
            topic: node.create_publisher(kind, topic, SENT) for topic, kind in TOPICS.items()
        }

    def wanted(self) -> bool:
        """Whether any computed topic has subscribers."""
        return any(map(self.has_subscribers, COMPUTED))

    def has_subscribers(self, topic: str) -> bool:
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
        """Publish the outputs of a frame on topics with subscribers.

        Args:
            result: result of the engine; without depth, only the baselines and the reason are sent.
            header: header of the image; all messages carry its stamp and frame.
            camera: camera of the image; None if unknown, and no camera_info is sent.
            inside: pixels inside the field of view; None if all are. (H, W) bool
            config: format and filtering.
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
        """Publish depth on the topic of its scale, confidence and sigma."""
        known = maps.known(config, metric=metric)
        encoding = config.encoding if metric else "32FC1"
        self._give(
            "depth" if metric else "depth_relative",
            lambda: depth_message(maps.depth, known, header, encoding=encoding),
        )
        if (confidence := maps.confidence) is not None:
            sure = np.where(maps.valid, confidence, np.float32(0))
            self._give("confidence", lambda: image_message(sure, "32FC1", header))
        if (sigma := maps.sigma) is not None:
            spread = np.where(maps.valid, sigma, np.float32(np.nan))
            self._give("depth_sigma", lambda: image_message(spread, "32FC1", header))

    def _give(self, topic: str, make: Callable[[], Any]) -> None:
        """Make and publish a message if the topic has subscribers."""
        if self.has_subscribers(topic):
            self._publishers[topic].publish(make())

    def close(self) -> None:
        """Leave the graph."""
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)
        self._publishers.clear()


@dataclass(frozen=True, eq=False)
class Maps:
    """The maps of a frame at the published size."""

    depth: np.ndarray
    """Depth. (h, w) float32"""
    valid: np.ndarray
    """Pixels of known depth inside the field of view. (h, w) bool"""
    confidence: np.ndarray | None
    """Confidence, 0 to 1; None if the engine has none. (h, w) float32"""
    sigma: np.ndarray | None = None
    """Relative standard deviation; None if the source has none. (h, w) float32"""

    @property
    def size(self) -> tuple[int, int]:
        """Size (h, w)."""
        return self.depth.shape[0], self.depth.shape[1]

    def known(self, config: OutputConfig, *, metric: bool) -> np.ndarray:
        """Return the pixels that are published as known. (h, w) bool

        Args:
            config: smallest confidence and largest depth.
            metric: depth is in metres, so that the largest depth applies.
        """
        known = self.valid
        if config.min_confidence > 0 and self.confidence is not None:
            known = known & (self.confidence >= config.min_confidence)
        if config.max_depth_out > 0 and metric:
            known = known & (self.depth <= config.max_depth_out)
        return known


def maps_of(result: DepthResult, inside: np.ndarray | None, width: int) -> Maps | None:
    """Reduce the maps of a result; None if it has no depth.

    Args:
        result: result of the engine.
        inside: pixels inside the field of view; None if all are. (H, W) bool
        width: published width, pixels; 0 for the camera's.
    """
    if result.depth is None or result.valid is None:
        return None
    size = output_size(result.depth.shape, width)
    valid, confidence, sigma = nearest(result.valid, size), result.confidence, result.sigma
    return Maps(
        nearest(result.depth, size),
        valid if inside is None else valid & nearest(inside, size),
        None if confidence is None else nearest(confidence, size),
        None if sigma is None else nearest(sigma, size),
    )


def output_size(size: tuple[int, ...], width: int) -> tuple[int, int]:
    """Return (h, w) of the published maps: the camera's aspect ratio, never larger than the camera.

    Args:
        size: size of the camera's frames, (H, W).
        width: published width, pixels; 0 for the camera's.
    """
    height, full = size
    return (height, full) if not 0 < width < full else (max(1, round(height * width / full)), width)


def nearest(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Reduce a map by taking the nearest pixel, so that depths of two surfaces are not averaged.

    Args:
        values: map to reduce. (H, W)
        size: new size (h, w).

    Returns:
        The reduced map; the map itself if it has that size already. (h, w)
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
    """Report the earlier frames behind a depth and the reason for them; or why depth is missing.

    Args:
        result: result of the engine.
        header: header of the image.
        name: name of the node, without the leading slash.
    """
    decision, why = result.decision, result.reason
    values = {"scale": result.scale, "scale_source": result.scale_source, "no_depth": why}
    message = why or "a single-frame network has no baseline"
    if decision is not None:
        message = why or decision.reason
        values |= {
            "rule": decision.rule,
            "shifts": _text(decision.shifts, "d"),
            "baselines_m": _text(decision.baselines, ".4f"),
            "parallax_px": _text(decision.parallax, ".2f"),
            "weights": _text(decision.weights, ".3f"),
            "wanted_m": _text(decision.wanted, ".4f"),
            "rotation_deg": _text(decision.rotation, ".2f"),
            "reason": decision.reason,
        }
    status = DiagnosticStatus(
        level=DiagnosticStatus.WARN if why else DiagnosticStatus.OK,
        name=f"{name}: baseline",
        message=message,
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )
    return DiagnosticArray(header=header, status=[status])


def _text(numbers: Iterable[float], how: str) -> str:
    return ", ".join(format(number, how) for number in numbers)
