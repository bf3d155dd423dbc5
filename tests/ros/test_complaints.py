# SPDX-License-Identifier: Apache-2.0
"""What is told of frames without an answer, and how often."""

import pytest
from rclpy.logging import LoggingSeverity
from ros_graph import Graph

from ros_nodes.life.monitor import Complaints, Monitor

pytestmark = pytest.mark.ros


def test_every_reason_is_counted_and_a_bug_is_written_once(
    graph: Graph, capfd: pytest.CaptureFixture[str]
) -> None:
    """The figures have them all, with how bad they are; a bug is said at once, and once."""
    told: list[tuple[str, str]] = []
    node = graph.node("eye")
    complaints = Complaints(node, "depth", lambda *words: told.append(words), monitor=Monitor(node))
    for reason in ("too dark", "too bright"):
        complaints.refuse(reason)
    for number in (1, 2):
        complaints.bug(ZeroDivisionError(f"number\n{number}"))
    bug = "a bug, please report it: ZeroDivisionError: number"
    assert told == [
        ("too dark", "warn"),
        ("too bright", "warn"),
        (f"{bug} 1", "error"),
        (f"{bug} 2", "error"),
    ]
    lines = [line.partition("[eye]: ")[2] for line in capfd.readouterr().err.splitlines()]
    assert lines == [f"output: no depth: {bug} 1"]


def test_traceback_of_a_bug_is_for_debugging(
    graph: Graph, capfd: pytest.CaptureFixture[str]
) -> None:
    """At log level debug it says where it happened."""
    node = graph.node("eye")
    node.get_logger().set_level(LoggingSeverity.DEBUG)
    try:
        raise KeyError("gone")
    except KeyError as error:
        Complaints(node, "depth", lambda *_: None, monitor=Monitor(node)).bug(error)
    node.get_logger().set_level(LoggingSeverity.UNSET)
    assert "test_complaints.py" in capfd.readouterr().err
