# SPDX-License-Identifier: Apache-2.0
"""A node around a component that says what is done with it; echoes `words` through a worker."""

import sys
from dataclasses import dataclass
from typing import Literal

from rclpy.node import Node
from std_msgs.msg import String

from depthkit.config.ranges import check_ranges, option
from depthkit.errors import DataError
from ros_nodes.life.params import declare, follow
from ros_nodes.life.run import run_node
from ros_nodes.life.slot import LatestSlot, Worker


@dataclass(frozen=True)
class SmallConfig:
    """What the small node can be told."""

    fail: Literal["no", "data", "bug"] = "no"
    """How not to build."""
    gain: float = option(1.0, above=0, most=10, live=True)
    """Of nothing."""

    def __post_init__(self) -> None:
        check_ranges(self)


class Small:
    """Echo what comes on `words` to `echo`."""

    def __init__(self, node: Node) -> None:
        config = declare(node, SmallConfig)
        if config.fail == "data":
            raise DataError("no data; bring some\nsecond line")
        if config.fail == "bug":
            raise ZeroDivisionError("a bug")
        self._unfollow = follow(node, SmallConfig, config, self._apply)
        self._node, self._slot = node, LatestSlot[String]()
        self._publisher = node.create_publisher(String, "echo", 10)
        self._worker = Worker(
            self._slot, self._publisher.publish, on_error=self._complain, name="echo"
        )
        print("built")

    def _apply(self, config: SmallConfig) -> None:
        print(f"gain {config.gain}")

    def _complain(self, error: Exception) -> None:
        self._node.get_logger().error(str(error))

    def start(self) -> None:
        """Subscribe."""
        self._subscription = self._node.create_subscription(String, "words", self._slot.put, 10)
        self._worker.start()
        print("started")

    def stop(self) -> None:
        """Unsubscribe."""
        self._node.destroy_subscription(self._subscription)
        self._worker.stop()
        print("stopped")

    def close(self) -> None:
        """Fall silent."""
        self._node.destroy_publisher(self._publisher)
        self._unfollow()
        print("closed")


if __name__ == "__main__":
    sys.exit(run_node("small", Small))
