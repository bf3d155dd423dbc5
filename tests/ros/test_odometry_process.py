# SPDX-License-Identifier: Apache-2.0
"""The odometry node as a process, with a network that `depthkit export --part pose` wrote."""

import math
from itertools import count
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the network is made by training's own code")

import torch
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry
from odometry_rig import AHEAD, START, STEP, place, variances
from ros_graph import Graph, Probe
from ros_made import image
from runtime.onnx_makers import write_pose
from sensor_msgs.msg import Image
from small_run import small_config
from std_srvs.srv import Trigger

from depthkit.cli import main
from depthkit.config.strict_yaml import to_mapping
from depthkit.models.checkpoint import save_checkpoint
from depthkit.rigid import quaternion_to_matrix
from depthkit.ros_messages import seconds
from depthkit.runtime import OdometryEngine
from depthkit.runtime.odometry.odometry_chain import OdometryChain, body_motion
from depthkit.tasks import build_task
from ros_nodes.inputs.frames import ExtrinsicConfig

pytestmark = pytest.mark.ros

FRAMES, SIZE = 10, (64, 96)
# Columns are the optical axes in the body's: x right = -y, y down = -z, z ahead = +x.
OPTICAL = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """A pose network on flow with random weights, out of the command line's own export."""
    folder = tmp_path_factory.mktemp("exported")
    config = small_config(folder, "model.pose=flow")
    torch.manual_seed(0)
    task = build_task(config, tuple(config.data.shifts))
    task.pose_net.head[-1].bias.data.normal_(0, 0.3)
    state = {
        "commit": "abc",
        "config": to_mapping(config),
        "shifts": list(config.data.shifts),
        "sequences": ["room"],
        "scale": "relative",
        "focal": 48.0,
    }
    weights = {f"task.{name}": value for name, value in task.state_dict().items()}
    save_checkpoint(folder / "small.safetensors", weights, state)
    out = folder / "pose.onnx"
    words = ["export", folder / "small.safetensors", "--part", "pose", "--out", out]
    assert main([str(word) for word in words]) == 0
    return out


def texture(shift: int) -> np.ndarray:
    """A smooth random picture, moved to the right by whole pixels. (H, W, 3) uint8"""
    rng = np.random.default_rng(0)
    u, v = np.meshgrid(np.arange(SIZE[1]) - shift, np.arange(SIZE[0]))
    waves = rng.uniform(0.05, 0.5, (3, 6, 3))
    levels = [sum(np.sin(a * u + b * v + 9 * c) for a, b, c in one) for one in waves]
    return (120 + 18 * np.stack(levels, -1)).clip(0, 240).astype(np.uint8)


def offline(path: Path, stamps: list[int]) -> list[np.ndarray]:
    """Chain what the engine says of the same frames, relative, along the body's axes."""
    chain, poses = OdometryChain(max_speed=np.inf), []
    turned = ExtrinsicConfig(rpy=tuple(AHEAD["rpy"])).matrix
    assert turned[:3, :3] == pytest.approx(OPTICAL, abs=1e-12)
    with OdometryEngine.open(path) as engine:
        for i, stamp in enumerate(stamps):
            result = engine.process(texture(2 * i), stamp=seconds(stamp))
            if result.T_previous_current is not None:
                motion = body_motion(result.T_previous_current, turned)
                chain.move(motion, since=result.since, stamp=result.stamp)
                poses.append(chain.pose().T_odom_base)
    return poses


def test_live_equals_offline(graph, processes, exported):
    """Positions are those of the bare engine on the same frames, whatever ROS lies between.

    Metric odometry begins once three motions have said that a unit is as long as 1 m/s makes it.
    """
    scale = {"source": "speed", "speed": 1.0, "needed": 3, "max_spread": 100.0}
    parameters = {"model": exported, "extrinsic": AHEAD, "scale": scale, "stride": 1}
    process = processes.start("ros_nodes.odometry_node", parameters=parameters)
    probe = graph.probe()
    relative, metric = (probe.collect(t, Odometry) for t in ("odometry_relative", "odometry"))
    said = probe.collect("/diagnostics", DiagnosticArray)
    probe.wait_for_reader("image", Image)
    stamp = warm_up(probe, relative, texture(0))
    before = handled(said, graph)
    assert probe.call("odometry_node/reset", Trigger).success
    relative.clear()
    metric.clear()
    stamps = [stamp + i * STEP for i in range(1, FRAMES + 1)]
    for i, stamp in enumerate(stamps):
        probe.publish("image", image(texture(2 * i), stamp))
        if i == 0:  # it has no motion that could be waited for
            graph.spin_until(lambda: handled(said, graph) > before)
        probe.wait_for(relative, i)
    expected = offline(exported, stamps)
    assert len(relative) == len(expected) == FRAMES - 1
    for message, T in zip(relative, expected, strict=True):
        assert place(message) == T[:3, 3].tolist()
        q = message.pose.pose.orientation
        assert quaternion_to_matrix([q.x, q.y, q.z, q.w]) == pytest.approx(T[:3, :3], abs=1e-9)
    assert np.linalg.norm(place(relative[-1])) > 0.05
    probe.wait_for(metric, FRAMES - 3)
    assert process.is_running() and "Traceback" not in process.stderr()
    assert process.end() == 0


def warm_up(probe: Probe, got: list[Odometry], picture: np.ndarray) -> int:
    """Send one picture again and again until the node is seen to answer; return the last stamp.

    That its readers are there does not mean that its writers have found their readers.
    """
    stamps = count(START + STEP, STEP)

    def answers() -> int:
        stamp = next(stamps)
        probe.publish("image", image(picture, stamp))
        probe.graph.spin_for(0.05)
        return stamp if got else 0

    return probe.graph.spin_until(answers)


def handled(said: list[DiagnosticArray], graph: Graph) -> int:
    """Return how many frames the engine has answered to, in two diagnostics alike."""

    def newest() -> list[int]:
        tasks = [status for array in said for status in array.status]
        outputs = [status for status in tasks if status.name == "odometry_node: output"]
        values = [{item.key: item.value for item in status.values} for status in outputs]
        return [int(one["frames"]) for one in values[-2:]]

    said.clear()
    graph.spin_until(lambda: len(newest()) == 2 and len(set(newest())) == 1)
    return newest()[-1]


def test_a_gap_between_processes_is_honest(graph, processes, tmp_path):
    """A camera that stops for 3 s of its own time: lost with 9999, then on from the last pose."""
    record = {"scale": "metric", "scale_source": "known"}
    path = write_pose(tmp_path / "ahead.onnx", motion=(0, 0, 0, 0, 0, -0.2), **record)
    processes.start("ros_nodes.odometry_node", parameters={"model": path, "extrinsic": AHEAD})
    probe = graph.probe()
    got = probe.collect("odometry", Odometry)
    probe.wait_for_reader("image", Image)
    grey = np.full((32, 48, 3), 100, np.uint8)
    stamp = warm_up(probe, got, grey)
    graph.spin_for(0.2)
    before = got[-1]
    known = len(got)
    probe.publish("image", image(grey, stamp + 30 * STEP))
    lost = probe.wait_for(got, known + 1)[-1]
    assert (variances(lost.pose.covariance) == 9999).all() and place(lost) == place(before)
    probe.publish("image", image(grey, stamp + 31 * STEP))
    after = probe.wait_for(got, known + 2)[-1]
    assert place(after)[0] - place(before)[0] == pytest.approx(0.2, abs=1e-6)
    assert math.sqrt(variances(after.pose.covariance)[0]) > 5


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"model": "nowhere.onnx", "wait_for_model": False}, "nowhere.onnx: no such model file"),
        ({"max_speed": 0.0}, "max_speed: above 0, got 0.0"),
        ({"extrinsic": {"source": "none"}}, "extrinsic.source"),
    ],
)
def test_known_errors_are_one_line(processes, parameters, words):
    """Exit code 1, no traceback, the parameter or file named."""
    process = processes.start("ros_nodes.odometry_node", parameters=parameters)
    assert process.wait() == 1
    assert words in process.stderr() and "Traceback" not in process.stderr()
