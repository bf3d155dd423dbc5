# SPDX-License-Identifier: Apache-2.0
"""A bag through player and depth node gives the bytes that `depthkit infer` writes for it."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rosbags.rosbag2", reason="rosbags is not installed (extra [bag])")

from ros_graph import Graph
from runtime.onnx_makers import write_pair
from sensor_msgs.msg import Image

from depthkit.cli import main
from depthkit.data.bag_writer import BagOptions, stamp_of, write_bag
from depthkit.data.sequence import open_sequence
from depthkit.outputs.depth_folder import DepthFolder
from depthkit.ros_messages import nanoseconds
from depthkit.synth.boxes import write_box_sequence
from ros_nodes.depth_node import DepthNode
from ros_nodes.player_node import Player

pytestmark = pytest.mark.ros

FRAMES, SIZE = 8, (36, 48)
RATES = (0.5, 0.2, 0.05)  # a busy machine drops frames, which no decision after them would survive


@pytest.mark.parametrize(("storage", "is_compressed"), [("sqlite3", False), ("mcap", True)])
def test_replayed_bag_equals_infer(
    graph: Graph, tmp_path: Path, storage: str, is_compressed: bool
) -> None:
    """Pairs in metres by the recorded odometry: same frames, same decisions, same depth."""
    write_box_sequence(tmp_path / "room", FRAMES, SIZE, 2)
    room = open_sequence(tmp_path / "room")
    options = BagOptions(storage=storage, compressed=is_compressed)  # type: ignore[arg-type]
    bag, model = tmp_path / "bag", tmp_path / "pair.onnx"
    write_bag(room, bag, options)
    write_pair(model, weights=(0.2, 0.1), focal=40.0)
    words = ["infer", str(model), str(bag), "--out", str(tmp_path / "offline"), "--threads", "1"]
    assert main(words) == 0
    said = json.loads((tmp_path / "offline" / "summary.json").read_text())
    assert said["scale"] == "metric" and said["frames"] == FRAMES

    transport = "compressed" if is_compressed else "raw"
    received = next(filter(None, (replay(graph, bag, model, transport, rate) for rate in RATES)))
    live = DepthFolder(tmp_path / "live", scale="metric", scale_source="")
    names = {stamp_of(time): f"{i:06d}" for i, time in enumerate(room.times)}
    for message in received:
        depth = np.frombuffer(message.data, np.float32).reshape(SIZE)
        name = names[nanoseconds(message.header.stamp)]
        live.add(name, np.where(np.isfinite(depth), depth, np.float32(0)))
    live.close()
    found = {path.name: path.read_bytes() for path in (tmp_path / "live").glob("*.png")}
    folder = tmp_path / "offline" / "depth"
    wanted = {path.name: path.read_bytes() for path in folder.glob("*.png")}
    assert len(wanted) >= FRAMES - 2 and found == wanted


def frames_done(node: DepthNode) -> int:
    """Frames that had depth, and those that had not."""
    return node._figures.sent + node._figures.refused


def replay(graph: Graph, bag: Path, model: Path, transport: str, rate: float) -> list[Image]:
    """Play a bag slowly to a depth node; return what it sent, nothing where a frame was lost."""
    parameters = {
        "model": model,
        "camera": {"transport": transport},
        "motion": {"source": "odometry", "wait": 1.0},
    }
    node = DepthNode(graph.node(f"depth_node_{rate * 100:.0f}", parameters=parameters))
    received = graph.probe().collect("depth", Image)
    ended: list[str] = []
    given = {"source": bag, "rate": rate, "stamps": "source", "wait_for_subscribers": 1}
    player = Player(
        graph.node(f"player_{rate * 100:.0f}", parameters=given), lambda: ended.append("end")
    )
    node.start()
    player.start()
    try:
        graph.spin_until(lambda: ended, timeout=60.0)
        graph.spin_until(lambda: frames_done(node) == FRAMES, timeout=3.0)
        graph.spin_until(lambda: len(received) == node._figures.sent)
    except TimeoutError:
        return []
    finally:
        player.stop()
        node.stop()
        player.close()
        node.close()
    return received
