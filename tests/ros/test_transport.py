# SPDX-License-Identifier: Apache-2.0
"""Pictures between processes: none is lost with the shipped Fast DDS profile."""

import pytest
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_graph import Graph
from ros_processes import NO_PROFILE, Processes
from sensor_msgs.msg import Image

pytestmark = pytest.mark.ros

COUNT = 60


def test_no_picture_is_lost_between_processes(graph: Graph, processes: Processes) -> None:
    """Two seconds of 640x480 colour at 30 Hz, best effort on both ends: all arrive, whole."""
    lost: list[int] = []
    seen: list[int] = []

    def look(message: Image) -> None:
        assert len(message.data) == 640 * 480 * 3 and message.data[0] == message.data[-1]
        seen.append(message.data[0])

    graph.node("reader").create_subscription(
        Image,
        "image",
        look,
        # A busy test machine may read late; what the transport loses no queue brings back.
        QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT),
        event_callbacks=SubscriptionEventCallbacks(
            message_lost=lambda event: lost.append(event.total_count)
        ),
    )
    camera = processes.start(
        "tests/ros/picture_node.py", parameters={"count": COUNT}, environment=NO_PROFILE
    )
    graph.spin_until(lambda: seen and seen[-1] == 0, timeout=15)
    assert seen == list(range(COUNT - 1, -1, -1)) and lost == []
    assert camera.is_running() and camera.stderr() == ""
