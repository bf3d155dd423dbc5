# SPDX-License-Identifier: Apache-2.0
"""The viewer for a terminal: says what is new once, sums the depth up, paints it where asked."""

import signal
from pathlib import Path

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from ros_graph import Graph, Probe
from ros_processes import CHECKOUT, Process, Processes
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from ros_nodes.convert import depth_message, stamp_message

pytestmark = pytest.mark.ros
SCRIPT = str(CHECKOUT / "scripts" / "watch_ros.py")
SIZE = (30, 40)


def depth_at(second: int, encoding: str) -> Image:
    """Unknown on the left, then 2 m, then 4 m; stamped with a second."""
    depth = np.zeros(SIZE, np.float32)
    depth[:, 20:30], depth[:, 30:] = 2, 4
    header = Header(stamp=stamp_message(second * 10**9 + 5), frame_id="camera")
    return depth_message(depth, depth > 0, header, encoding=encoding)


def status(level: bytes, message: str) -> DiagnosticArray:
    """What a node says of one task."""
    return DiagnosticArray(
        status=[DiagnosticStatus(level=level, name="depth_node: input", message=message)]
    )


def end(process: Process) -> str:
    """End it as Ctrl-C does; return what it printed."""
    process.signal(signal.SIGINT)
    assert process.wait() == 0
    assert process.stderr() == ""
    return process.stdout()


def send_until_said(
    probe: Probe, process: Process, words: str, topic: str, message: object
) -> None:
    """Send a message again and again until the viewer has said something."""
    probe.wait_for_reader(topic, type(message))

    def said() -> bool:
        probe.publish(topic, message)
        probe.graph.spin_for(0.05)
        return words in process.stdout()

    probe.graph.spin_until(said)


@pytest.mark.parametrize("encoding", ["32FC1", "16UC1"])
def test_depth_is_summed_up_and_painted(
    graph: Graph, processes: Processes, tmp_path: Path, encoding: str
) -> None:
    """Half is known, half of it 2 m and half 4 m; near is bright, unknown is black."""
    process = processes.start(SCRIPT, arguments=["--save", tmp_path / "pictures"])
    process.wait_for_text("no depth, and no diagnostics")
    send_until_said(graph.probe(), process, " Hz, ", "depth", depth_at(7, encoding))
    assert " Hz, 40x30, 50 % known, near 2 median 3 far 4 m\n" in end(process)
    [picture] = (tmp_path / "pictures").iterdir()
    assert picture.name == "depth_7_000000005.png"
    painted = cv2.imread(str(picture))
    assert not painted[:, :20].any()
    assert painted[0, 20].sum() > painted[0, 30].sum()


def test_news_are_told_once(graph: Graph, processes: Processes) -> None:
    """The same words with other figures are no news; the way back to OK is."""
    process = processes.start(SCRIPT)
    probe = graph.probe()
    feed = [
        (DiagnosticStatus.OK, "30.0 Hz"),
        (DiagnosticStatus.ERROR, "no image for 1.5 s on /image"),
        (DiagnosticStatus.ERROR, "no image for 2.5 s on /image"),
        (DiagnosticStatus.WARN, "stamps are zero"),
        (DiagnosticStatus.OK, "29.0 Hz"),
        (DiagnosticStatus.OK, "idle"),
        (DiagnosticStatus.WARN, "the end"),
    ]
    said = {"no image for 1.5 s on /image", "stamps are zero", "29.0 Hz", "the end"}
    for level, message in feed:  # a burst could be lost before both ends have found each other
        if message in said:
            send_until_said(probe, process, message, "/diagnostics", status(level, message))
        else:
            probe.publish("/diagnostics", status(level, message))
    lines = [line for line in end(process).splitlines() if "depth_node" in line]
    assert lines == [
        "ERROR depth_node: input: no image for 1.5 s on /image",
        "WARN  depth_node: input: stamps are zero",
        "OK    depth_node: input: 29.0 Hz",
        "WARN  depth_node: input: the end",
    ]


def test_a_folder_that_exists_is_left_alone(processes: Processes, tmp_path: Path) -> None:
    """Wrong usage, said in one line under the usage."""
    process = processes.start(SCRIPT, arguments=["--save", tmp_path])
    assert process.wait() == 2
    assert process.stderr().endswith(f"{tmp_path}: exists already; choose another folder\n")
