# SPDX-License-Identifier: Apache-2.0
"""Outputs of the map node: surface, grid, and marks of near obstacles."""

from typing import Any

import numpy as np
from nav_msgs.msg import OccupancyGrid
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header

from depthkit.mapping.band_grid import Grid
from ros_nodes.convert import cloud_message, grid_message


def _qos(durability: DurabilityPolicy) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=1,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=durability,
    )


# A map server's QoS: whoever subscribes later gets the last map; volatile subscribers match too.
LASTING, PASSING = _qos(DurabilityPolicy.TRANSIENT_LOCAL), _qos(DurabilityPolicy.VOLATILE)
TOPICS: dict[str, dict[str, tuple[type, QoSProfile]]] = {
    "map": {"surface": (PointCloud2, LASTING), "grid": (OccupancyGrid, LASTING)},
    "near_obstacles": {"obstacles": (PointCloud2, PASSING)},
}


class MapOutput:
    """Publishers of the topics of one mode."""

    def __init__(self, node: Node, mode: str) -> None:
        """Advertise the topics.

        Args:
            node: names are relative to it.
            mode: a key of `TOPICS`.
        """
        self._node = node
        self._publishers: dict[str, Publisher] = {
            topic: node.create_publisher(kind, topic, qos)
            for topic, (kind, qos) in TOPICS[mode].items()
        }
        self.sent = dict.fromkeys(self._publishers, 0)
        """Number of messages sent, by topic."""

    def has_subscribers(self, topic: str) -> bool:
        """Whether a topic of the mode has subscribers."""
        publisher = self._publishers.get(topic)
        return publisher is not None and bool(publisher.get_subscription_count())

    def send_points(self, topic: str, positions: np.ndarray, header: Header) -> None:
        """Send points in the header's frame, metres. (N, 3)"""
        self._send(topic, cloud_message(positions, header))

    def send_grid(self, grid: Grid, header: Header) -> None:
        """Send the grid of the height band."""
        self._send("grid", grid_message(grid.cells, grid.corner, grid.cell, header))

    def _send(self, topic: str, message: Any) -> None:
        self._publishers[topic].publish(message)
        self.sent[topic] += 1

    def close(self) -> None:
        """Leave the graph."""
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)
        self._publishers.clear()
