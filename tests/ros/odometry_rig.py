# SPDX-License-Identifier: Apache-2.0
"""The odometry node in a running graph, with a camera before it and readers behind it."""

import math
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry, Path
from ros_made import camera_info, image
from sensor_msgs.msg import CameraInfo, Image

from depthkit.ros_messages import seconds
from ros_nodes.life.lifecycle import build_component
from ros_nodes.odometry_node import OdometryNode

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND  # nanoseconds; a plausible day
STEP = SECOND // 10
KINDS = {"odometry": Odometry, "odometry_relative": Odometry, "path": Path}
AHEAD = {  # a camera 0.3 m ahead of the body's origin and 0.5 m above it, that looks along x
    "source": "parameters",
    "xyz": [0.3, 0.0, 0.5],
    "rpy": [-math.pi / 2, 0.0, -math.pi / 2],
}
SIZE = (32, 48)


def flat(level: int = 100, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A frame of one brightness; the made network's motion is in proportion. (H, W, 3) uint8"""
    return np.full((*size, 3), level, np.uint8)


class Rig:
    """One node under test. `show` sends a frame and waits until the node is done with it."""

    def __init__(self, graph: Any, topics: tuple[str, ...] = ("odometry",), **parameters: Any):
        """Start the node and subscribe to some of its outputs; parameters nest."""
        self.graph = graph
        self.node = graph.node(
            "odometry_node",
            parameters={"extrinsic": AHEAD, **parameters},
            automatically_declare_parameters_from_overrides=True,
        )
        self.component = build_component(self.node, OdometryNode)
        self.probe = graph.probe()
        self.got = {topic: self.probe.collect(topic, KINDS[topic]) for topic in topics}
        self.said: list[DiagnosticArray] = self.probe.collect("/diagnostics", DiagnosticArray)
        self.component.start()
        self.probe.wait_for_reader("image", Image)
        self.probe.wait_for_reader("camera_info", CameraInfo)
        names = {f"/{topic}" for topic in topics}
        ends = [one for one in self.node.publishers if one.topic_name in names]
        graph.spin_until(lambda: all(one.get_subscription_count() for one in ends))
        self.stamp = START

    def close(self) -> None:
        """Stop the node."""
        self.component.stop()
        self.component.close()

    # --- sending

    def show(self, rgb: np.ndarray, stamp: int | None = None, **more: Any) -> None:
        """Send a frame, by default a step after the last one, and wait until it was handled."""
        self.stamp = self.stamp + STEP if stamp is None else stamp
        done = self._handled()
        self.probe.publish("image", image(rgb, self.stamp, **{"frame_id": "camera", **more}))
        self.graph.spin_until(lambda: self._handled() > done)

    def drive(self, *levels: int) -> None:
        """Show frames of these brightnesses, one a step."""
        for level in levels:
            self.show(flat(level))

    def calibrate(self, K: np.ndarray, size: tuple[int, int], **more: Any) -> None:
        """Send camera_info and wait until the node knows it."""
        self.probe.publish("camera_info", camera_info(K, size, START, **more))
        self.graph.spin_until(lambda: "no camera_info" not in self.status("input").message)

    def tell(self, topic: str, message: Any, stamp: int) -> None:
        """Send what scales the motion up to a stamp and wait until the node knows it."""
        self.probe.publish(topic, message)
        (source,) = self.component.method.scale._motion._topics
        self.graph.spin_until(lambda: source.covers(seconds(stamp)))

    def _handled(self) -> int:
        figures = self.component.figures
        return figures.frames + figures.left_out + figures.refused + figures.idle

    # --- reading

    def odometry(self, count: int, topic: str = "odometry") -> list[Odometry]:
        """Wait for as many messages and no more; return them."""
        self.probe.wait_for(self.got[topic], count)
        self.graph.spin_for(0.05)
        assert len(self.got[topic]) == count
        return self.got[topic]

    def status(self, task: str) -> Any:
        """Ask for diagnostics now; return the task's status."""
        self.said.clear()
        self.component.monitor.publish()
        self.probe.wait_for(self.said)
        return next(s for s in self.said[-1].status if s.name == f"odometry_node: {task}")

    def value(self, task: str, key: str) -> str:
        """Return one value of a task's status."""
        return next(item.value for item in self.status(task).values if item.key == key)


def place(message: Odometry) -> list[float]:
    """Return x, y, z of a pose, metres."""
    p = message.pose.pose.position
    return [p.x, p.y, p.z]


def yaw(message: Odometry) -> float:
    """Return the turn about z of a pose that has no other, radians."""
    q = message.pose.pose.orientation
    assert [q.x, q.y] == [0, 0] or max(abs(q.x), abs(q.y)) < 1e-6
    return 2 * math.atan2(q.z, q.w)


def twist(message: Odometry) -> list[float]:
    """Return the six numbers of a twist."""
    linear, angular = message.twist.twist.linear, message.twist.twist.angular
    return [linear.x, linear.y, linear.z, angular.x, angular.y, angular.z]


def variances(covariance: Any) -> np.ndarray:
    """Return the diagonal of 36 numbers. (6,)"""
    return np.diag(np.reshape(covariance, (6, 6)))
