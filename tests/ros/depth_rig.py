# SPDX-License-Identifier: Apache-2.0
"""The depth node in a running graph, with a camera and an odometry before it, readers behind it."""

from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from ros_made import camera_info, image, nanoseconds_of, odometry
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from depthkit.rigid import matrix_to_quaternion
from ros_nodes.depth_node import DepthNode
from ros_nodes.lifecycle import build_component

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND  # nanoseconds; a plausible day
KINDS = {
    "depth": Image,
    "depth_relative": Image,
    "confidence": Image,
    "depth/camera_info": CameraInfo,
    "baseline": DiagnosticArray,
}
CAMERA = "camera"  # frame of the images and, so that no extrinsic is needed, of the odometry


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
