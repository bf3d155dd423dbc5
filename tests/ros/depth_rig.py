# SPDX-License-Identifier: Apache-2.0
"""The depth node in a running graph, with a camera and an odometry before it, readers behind it."""

from typing import Any

import cv2
import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from ros_made import camera_info, image, nanoseconds_of, odometry
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from depthkit.rigid import exp_se3, matrix_to_quaternion
from ros_nodes.depth_node import DepthNode
from ros_nodes.life.lifecycle import build_component

SECOND = 1_000_000_000
STEP = SECOND // 10
START = 1_700_000_000 * SECOND  # nanoseconds; a plausible day
PAIR_K = np.array([[50.0, 0, 31.5], [0, 50, 23.5], [0, 0, 1]])  # of the made pair network, 48 x 64
REAL_K = np.array([[64.0, 0, 63.5], [0, 64, 47.5], [0, 0, 1]])  # of depthnet-stillbox, 96 x 128
KINDS = {
    "depth": Image,
    "depth_relative": Image,
    "confidence": Image,
    "depth/camera_info": CameraInfo,
    "baseline": DiagnosticArray,
}
CAMERA = "camera"  # frame of the images and, so that no extrinsic is needed, of the odometry


def texture(size: tuple[int, int] = (96, 128), seed: int = 0, shift: int = 0) -> np.ndarray:
    """A smooth random picture, moved sideways. (H, W, 3) uint8"""
    wide = np.random.default_rng(seed).integers(0, 255, (size[0], size[1] + 64, 3), dtype=np.uint8)
    smooth = cv2.GaussianBlur(wide, (0, 0), 2)
    smooth = cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX)
    return np.ascontiguousarray(smooth[:, shift : shift + size[1]])


def grey(level: int = 20, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    """A frame of one brightness, which the made pair network takes for its net value."""
    return np.full((*size, 3), level, np.uint8)


def pose(x: float, turn: float = 0.0) -> np.ndarray:
    """A camera x metres to the right, turned about the vertical, degrees. (4, 4)"""
    T = exp_se3(np.array([0, 0, 0, 0, np.radians(turn), 0]))
    T[0, 3] = x
    return T


class Rig:
    """One node under test. `show` sends a frame and waits until the node has answered for it."""

    def __init__(self, graph: Any, topics: tuple[str, ...] = tuple(KINDS), **parameters: Any):
        """Start the node and subscribe.

        Args:
            graph: of the fixture.
            topics: outputs that are subscribed to; without `baseline`, `show` does not work.
            parameters: of the node; mappings nest.
        """
        self.graph = graph
        self.node = graph.node(
            "depth_node",
            parameters=parameters,
            automatically_declare_parameters_from_overrides=True,
        )
        self.component = build_component(self.node, DepthNode)
        self.probe = graph.probe()
        self.got = {topic: self.probe.collect(topic, KINDS[topic]) for topic in topics}
        self.said: list[DiagnosticArray] = self.probe.collect("/diagnostics", DiagnosticArray)
        self.component.start()
        self.heard: list[CameraInfo] = self.probe.collect("camera_info", CameraInfo)
        if parameters.get("camera", {}).get("transport") == "compressed":
            self.probe.wait_for_reader("image/compressed", CompressedImage)
        else:
            self.probe.wait_for_reader("image", Image)
        self.probe.wait_for_reader("camera_info", CameraInfo)
        names = {f"/{topic}" for topic in topics}
        ends = [one for one in self.node.publishers if one.topic_name in names]
        graph.spin_until(lambda: all(one.get_subscription_count() for one in ends))

    def close(self) -> None:
        """Stop the node."""
        self.component.stop()
        self.component.close()

    # --- sending

    def calibrate(self, K: np.ndarray, size: tuple[int, int], **more: Any) -> None:
        """Send camera_info and wait until it was heard, by the node first."""
        self.heard.clear()
        self.probe.publish(
            "camera_info", camera_info(K, size, START, **{"frame_id": CAMERA, **more})
        )
        self.probe.wait_for(self.heard)

    def send(self, rgb: np.ndarray, stamp: int, *, T: np.ndarray | None = None) -> None:
        """Send a frame, and before it its pose; wait for nothing."""
        if T is not None:
            self.move(T, stamp)
        self.probe.publish("image", image(rgb, stamp, frame_id=CAMERA))

    def move(self, T: np.ndarray, stamp: int) -> None:
        """Send the camera's pose as odometry. (4, 4)"""
        quaternion = matrix_to_quaternion(T[:3, :3])
        self.probe.publish("odometry", odometry(T[:3, 3], quaternion, stamp, child_frame_id=CAMERA))

    def show(self, rgb: np.ndarray, stamp: int, *, T: np.ndarray | None = None) -> str:
        """Send a frame, wait for what the node says of it, return that: why, or how."""
        self.send(rgb, stamp, T=T)
        words = self.got["baseline"]
        self.graph.spin_until(lambda: words and nanoseconds_of(words[-1]) == stamp)
        answers = sum(message.status[0].level == b"\0" for message in words)
        depth, relative = self.got.get("depth", []), self.got.get("depth_relative", [])
        self.graph.spin_until(lambda: len(depth) + len(relative) == answers)
        return words[-1].status[0].message

    def fly(self, count: int, *, first: int = 0, level: int = 20) -> list[str]:
        """Fly 0.1 m a frame past what the made pair network knows; return what was said of each."""
        return [
            self.show(grey(level), START + i * STEP, T=pose(0.1 * i))
            for i in range(first, first + count)
        ]

    # --- reading

    def status(self, task: str) -> Any:
        """Ask for diagnostics now; return the task's status."""
        self.said.clear()
        self.component.monitor.publish()
        self.probe.wait_for(self.said)
        return next(s for s in self.said[-1].status if s.name == f"depth_node: {task}")

    def value(self, task: str, key: str) -> str:
        """Return one value of a task's status."""
        return values_of(self.status(task))[key]


def values_of(status: Any) -> dict[str, str]:
    """Return the values of a status by key."""
    return {item.key: item.value for item in status.values}


def pixels(message: Image, dtype: Any = np.float32) -> np.ndarray:
    """Return (H, W) of an image without padding."""
    assert message.step == message.width * np.dtype(dtype).itemsize
    return np.frombuffer(message.data, dtype).reshape(message.height, message.width)
