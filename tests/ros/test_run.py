# SPDX-License-Identifier: Apache-2.0
"""How a node starts, spins and ends, in processes of its own."""

import signal

import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from ros_graph import Graph
from ros_processes import Processes
from std_msgs.msg import String

pytestmark = pytest.mark.ros

NODE = "tests/ros/small_node.py"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_a_node_with_exit_0(processes: Processes, number: int) -> None:
    """Everything is stopped in order, and nothing is said on the error stream but the log."""
    node = processes.start(NODE)
    node.wait_for_text("started")
    node.signal(number)
    assert node.wait(10) == 0
    assert node.stdout().split() == ["built", "started", "stopped", "closed"]
    assert "Traceback" not in node.stderr()
