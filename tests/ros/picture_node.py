# SPDX-License-Identifier: Apache-2.0
"""A camera of 640x480 bgr8 pictures at 30 Hz; each is full of the number of those to come."""

import sys
from dataclasses import dataclass

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from ros_nodes.life.params import declare
from ros_nodes.life.run import run_node

SIZE = 640 * 480 * 3


@dataclass(frozen=True)
class PictureConfig:
    """What the camera can be told."""

    count: int = 60
    """Pictures in all."""


class Camera:
    """Send pictures once somebody looks."""

    def __init__(self, node: Node) -> None:
        self._node, self._left = node, declare(node, PictureConfig).count
        qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._publisher = node.create_publisher(Image, "image", qos)

    def start(self) -> None:
        """Begin."""
        self._timer = self._node.create_timer(1 / 30, self._send)

    def stop(self) -> None:
        """Pause."""
        self._node.destroy_timer(self._timer)

    def close(self) -> None:
        """End."""
        self._node.destroy_publisher(self._publisher)

    def _send(self) -> None:
        if not self._left or not self._publisher.get_subscription_count():
            return
        self._left -= 1
        message = Image(height=480, width=640, step=640 * 3, encoding="bgr8")
        message.header.stamp = self._node.get_clock().now().to_msg()
        message.data.frombytes(bytes([self._left % 256]) * SIZE)
        self._publisher.publish(message)


if __name__ == "__main__":
    sys.exit(run_node("camera", Camera))
