# SPDX-License-Identifier: Apache-2.0
"""A sequence through player and depth node is what `depthkit infer sweep` writes, to the byte.

Nothing is a double here: images and camera_info go out, odometry and sweep are the real ones.
"""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rosbags.rosbag2", reason="rosbags is not installed (extra [bag])")

from geometric_rig import over_plane
from ros_graph import Graph
from runtime.plane_flight import SIZE, K
from sensor_msgs.msg import Image

from depthkit.camera import Camera
from depthkit.cli import main
from depthkit.data.bag_writer import stamp_of
from depthkit.data.sequence import SequenceWriter, open_sequence
from depthkit.outputs.depth_folder import DepthFolder
from depthkit.ros_messages import nanoseconds
from ros_nodes.depth_node import DepthNode
from ros_nodes.player_node import Player

pytestmark = [pytest.mark.ros, pytest.mark.slow]

FRAMES = 14
RATES = (0.2, 0.05, 0.02)  # a busy machine drops frames, which no decision after them would survive


def write_flight(path: Path) -> None:
    """Write a flight along a plane, without poses."""
    camera = Camera(*SIZE, K[0, 0], K[1, 1], K[0, 2], K[1, 2])
    with SequenceWriter(path, camera, ext="png") as writer:
        for i in range(FRAMES):
            writer.add_frame(over_plane(0.2 * i), 100 + 0.1 * i)


def test_images_and_camera_info_give_the_bytes_of_infer(graph: Graph, tmp_path: Path) -> None:
    """Relative depth, found motion and all: live equals offline."""
    write_flight(tmp_path / "flight")
    words = ["infer", "sweep", str(tmp_path / "flight"), "--out", str(tmp_path / "offline")]
    assert main([*words, "--quality", "fast", "--threads", "1"]) == 0
    said = json.loads((tmp_path / "offline" / "summary.json").read_text())
    assert said["scale"] == "relative"
    received = next(filter(None, (replay(graph, tmp_path / "flight", rate) for rate in RATES)))
    times = open_sequence(tmp_path / "flight").times
    names = {stamp_of(time): f"{i:06d}" for i, time in enumerate(times)}
    live = DepthFolder(tmp_path / "live", scale="relative", scale_source="")
    for message in received:
        depth = np.frombuffer(message.data, np.float32).reshape(SIZE[::-1])
        name = names[nanoseconds(message.header.stamp)]
        live.add(name, np.where(np.isfinite(depth), depth, np.float32(0)))
    found = {path.name: path.read_bytes() for path in (tmp_path / "live").glob("*.png")}
    folder = tmp_path / "offline" / "depth"
    wanted = {path.name: path.read_bytes() for path in folder.glob("*.png")}
    assert len(wanted) >= FRAMES // 2 and found == wanted


def replay(graph: Graph, source: Path, rate: float) -> list[Image]:
    """Play the flight slowly to a depth node; return what it sent, nothing where one was lost."""
    parameters = {"model": "sweep", "quality": "fast"}
    node = DepthNode(graph.node(f"depth_node_{rate * 100:.0f}", parameters=parameters))
    received = graph.probe().collect("depth_relative", Image)
    ended: list[str] = []
    given = {"source": source, "rate": rate, "stamps": "source", "wait_for_subscribers": 1}
    player = Player(
        graph.node(f"player_{rate * 100:.0f}", parameters=given), lambda: ended.append("end")
    )
    node.start()
    player.start()
    try:
        graph.spin_until(lambda: ended, timeout=120.0)
        graph.spin_until(lambda: node._figures.sent + node._figures.refused == FRAMES, timeout=10.0)
        graph.spin_until(lambda: len(received) == node._figures.sent)
    except TimeoutError:
        return []
    finally:
        player.stop()
        node.stop()
        player.close()
        node.close()
    return received
