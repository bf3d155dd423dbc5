# SPDX-License-Identifier: Apache-2.0
"""The depth node's model: missing, tampered, late, refused; and the node as a process."""

import signal
import threading
from pathlib import Path

import numpy as np
import pytest
from depth_rig import SECOND, START, pixels, values_of
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from ros_made import camera_info, image, nanoseconds_of
from runtime.onnx_makers import write_mono, write_pose
from sensor_msgs.msg import CameraInfo, Image

from depthkit.camera import resize_matrix
from depthkit.errors import EngineError
from ros_nodes.life.model_keeper import ModelKeeper

pytestmark = pytest.mark.ros

K = np.array([[50.0, 0, 23.5], [0, 50, 15.5], [0, 0, 1]])
GREY = np.full((32, 48, 3), 100, np.uint8)
DEPTH = 1 / (0.1 + 100 / 255)  # what the made network says of it


class Engine:
    """Something that is opened and closed."""

    def __init__(self):
        self.closed = False

    def close(self):
        """Note it."""
        self.closed = True


class Opener:
    """Fails with the lines given, one a try, then opens."""

    def __init__(self, *lines):
        self.lines, self.tried = list(lines), threading.Event()

    def __call__(self):
        if self.lines:
            raise EngineError(self.lines.pop(0))
        self.tried.set()
        return Engine()


def wait_for(keeper):
    """Wait for its thread to open the engine."""
    thread = keeper._thread
    if thread is not None:
        thread.join(5.0)
    return keeper.engine


def test_keeper_opens_at_once():
    """No thread, no fault, and closing closes."""
    keeper = ModelKeeper(Opener(), wait=True, say=print)
    keeper.start()
    engine = keeper.engine
    assert engine is not None and (keeper.fault, keeper.tries) == ("", 1)
    keeper.close()
    assert engine.closed and keeper.engine is None


def test_keeper_without_patience_raises():
    """The reason is the engine's own."""
    with pytest.raises(EngineError, match="no such model file"):
        ModelKeeper(Opener("no such model file"), wait=False, say=print)


def test_keeper_tries_until_it_opens():
    """Each new reason is said once, and forgotten when the engine is there."""
    said = []
    keeper = ModelKeeper(
        Opener("gone", "gone", "torn", "gone"), wait=True, say=said.append, period=0.01
    )
    assert (keeper.engine, keeper.fault) == (None, "gone")
    keeper.start()
    assert wait_for(keeper) is not None
    assert (said, keeper.fault, keeper.tries) == (["gone", "torn", "gone"], "", 5)
    keeper.close()


def test_keeper_stops_trying_and_begins_again():
    """A stopped keeper tries no more; started again it does."""
    opener = Opener("gone")
    keeper = ModelKeeper(opener, wait=True, say=print, period=0.01)
    keeper.stop()
    assert not opener.tried.is_set() and keeper.engine is None
    keeper.start()
    assert opener.tried.wait(5.0) and wait_for(keeper) is not None
    keeper.stop()
    assert not keeper.engine.closed
    keeper.close()


def tampered(source: Path, target: Path) -> None:
    """Copy a model file with one byte changed."""
    data = bytearray(source.read_bytes())
    data[len(data) // 2] ^= 0xFF
    target.write_bytes(data)


@pytest.mark.parametrize("fault", ["missing", "tampered"])
def test_node_waits_for_its_model(rigs, graph, tmp_path, fault):
    """Why there is none is in diagnostics and in every refusal; the right file ends it."""
    file, good = tmp_path / "model.onnx", write_mono(tmp_path / "good.onnx")
    good.with_suffix(".json").unlink()
    line = f"{file}: no such model file"
    if fault == "tampered":
        tampered(good, file)
        line = f"{file}: "
    rig = rigs(model=file)
    status = rig.status("model")
    assert status.level == b"\2" and status.message.startswith(line)
    assert "\n" not in status.message
    rig.send(GREY, START)
    graph.spin_until(lambda: rig.value("output", "refused") == "1")
    assert rig.value("output", "last_refusal") == status.message
    good.rename(file)
    graph.spin_until(lambda: rig.status("model").level == b"\0", timeout=6.0)
    rig.show(GREY, START + SECOND)
    assert pixels(rig.got["depth_relative"][0]) == pytest.approx(DEPTH, rel=1e-5)
    assert not rig.got["depth"] and len(rig.got["depth_relative"]) == 1


def test_model_of_another_kind(rigs, tmp_path):
    """A pose network is for another node, and the status says for which."""
    rig = rigs(model=write_pose(tmp_path / "pose.onnx"))
    status = rig.status("model")
    assert status.level == b"\2"
    assert "got pose; a pose network is for odometry" in status.message


def test_model_says_what_it_is(rigs):
    """Kind, backend, scale and hash of a shipped model."""
    rig = rigs(model="shading-colon")
    status = rig.status("model")
    values = values_of(status)
    assert status.level == b"\0" and (values["kind"], values["scale"]) == ("mono", "metric")
    assert values["backend"].startswith("onnxruntime") and values["size"] == "128x128"
    assert len(values["sha256"]) == 12 and values["scale_source"] == "known depth in training"


# --- as a process ---------------------------------------------------------------------------------


def test_process_answers_and_ends_well(graph, processes):
    """`python -m` with a shipped name: metres in another process; SIGINT is exit 0 and quiet."""
    node = processes.start("ros_nodes.depth_node", parameters={"model": "shading-colon"})
    probe = graph.probe()
    depth = probe.collect("depth", Image)
    probe.wait_for_reader("image", Image)
    probe.wait_for_reader("camera_info", CameraInfo)
    probe.wait_for_writer("depth")
    rgb = np.random.default_rng(0).integers(60, 255, (96, 128, 3), dtype=np.uint8)
    K_large = resize_matrix((48, 64), (96, 128)) @ K
    sent = []

    def answered():
        sent.append(START + len(sent) * SECOND // 10)
        probe.publish("camera_info", camera_info(K_large, (96, 128), sent[-1]))
        probe.publish("image", image(rgb, sent[-1], frame_id="camera_optical"))
        graph.spin_for(0.1)
        return depth

    graph.spin_until(answered)
    assert nanoseconds_of(depth[0]) in sent and depth[0].header.frame_id == "camera_optical"
    assert np.isfinite(pixels(depth[0])).any()
    node.signal(signal.SIGINT)
    assert node.wait() == 0 and "Traceback" not in node.stderr()


@pytest.mark.parametrize(
    ("parameters", "line"),
    [
        ({"model": "nowhere.onnx", "wait_for_model": False}, "nowhere.onnx: no such model file"),
        ({"model": "shading-colon", "mask": "/nowhere.png"}, "/nowhere.png: no mask that can be"),
        ({"encoding": "32FC2"}, "parameter encoding: expected one of 32FC1, 16UC1, got '32FC2'"),
        ({"min_confidence": 2.0}, "parameter min_confidence: 0 to 1, got 2.0"),
    ],
)
def test_process_refuses_in_one_line(processes, parameters, line):
    """A mistake of the user: exit 1, one line, no traceback."""
    node = processes.start("ros_nodes.depth_node", parameters=parameters)
    assert node.wait() == 1
    (said,) = [text for text in node.stderr().splitlines() if text.strip()]
    assert said.startswith(f"depth_node: {line}")


def test_lifecycle(graph, processes, tmp_path):
    """A model that is not there is a configure FAILURE; once there: configure, activate, depth."""
    file = tmp_path / "model.onnx"
    processes.start(
        "ros_nodes.depth_node",
        parameters={"model": file, "wait_for_model": False},
        arguments=["--lifecycle"],
    )
    probe = graph.probe()

    def change(transition):
        request = ChangeState.Request(transition=Transition(id=transition))
        return probe.call("/depth_node/change_state", ChangeState, request).success

    assert not change(Transition.TRANSITION_CONFIGURE)
    write_mono(file)
    assert change(Transition.TRANSITION_CONFIGURE)
    depth = probe.collect("depth_relative", Image)
    probe.wait_for_writer("depth_relative")
    assert change(Transition.TRANSITION_ACTIVATE)
    probe.wait_for_reader("image", Image)
    sent = []

    def answered():
        sent.append(START + len(sent) * SECOND // 10)
        probe.publish("image", image(GREY, sent[-1]))
        graph.spin_for(0.1)
        return depth

    graph.spin_until(answered)
    assert pixels(depth[0]) == pytest.approx(DEPTH, rel=1e-5)
    assert change(Transition.TRANSITION_DEACTIVATE)
    depth.clear()
    for _ in range(3):
        answered()
    assert not depth and change(Transition.TRANSITION_CLEANUP)
