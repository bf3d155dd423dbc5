# SPDX-License-Identifier: Apache-2.0
"""The depth node with a flow network: what is static, after depth and only where asked for."""

import numpy as np
import pytest
from depth_rig import PAIR_K, START, STEP, grey, pixels, pose, texture, values_of
from ros_made import nanoseconds_of
from runtime.onnx_makers import write_flow, write_mono
from sensor_msgs.msg import Image

from depthkit.ros_messages import seconds
from depthkit.runtime import DepthEngine, DepthStream, FlowEngine, MovingStream

pytestmark = pytest.mark.ros

SIZE = (48, 64)
ODOMETRY = {"source": "odometry", "wait": 1.0}
TOPIC = "static_probability"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """metric.onnx and free.onnx of single frames, flow.onnx: u, v = brightness / 10."""
    folder = tmp_path_factory.mktemp("static")
    write_mono(folder / "metric.onnx", size=SIZE, scale="metric", scale_source="made")
    write_mono(folder / "free.onnx", size=SIZE)
    write_flow(folder / "flow.onnx", size=SIZE)
    return folder


def static_rig(rigs, models, *topics, depth="metric.onnx", **more):
    """The node with a camera and poses; `baseline` tells when a frame is done."""
    parameters = {"model": models / depth, "flow_model": models / "flow.onnx", "motion": ODOMETRY}
    rig = rigs(*(topics or ("baseline", "depth", "depth_relative")), **parameters | more)
    rig.calibrate(PAIR_K, SIZE)
    return rig


def listen(rig):
    """Subscribe to the probability and wait until the node knows."""
    got = rig.probe.collect(TOPIC, Image)
    (end,) = [one for one in rig.node.publishers if one.topic_name == f"/{TOPIC}"]
    rig.graph.spin_until(end.get_subscription_count)
    return got


def begin(rig):
    """Wait until the first frame is kept: one that comes before that takes its place."""
    rig.graph.spin_until(lambda: "no frame before" in rig.status("static").message)


def frames(count):
    """Dark pictures, so that flow is a pixel or two."""
    return [texture(SIZE, seed=i) // 12 for i in range(count)]


@pytest.mark.parametrize("depth", ["metric.onnx", "free.onnx"])
def test_probability_is_the_streams_to_the_byte(rigs, models, depth):
    """Stamp and frame are the image's; the numbers those of the offline engines, also where the
    unit of depth is another than that of the poses."""
    rig = static_rig(rigs, models, depth=depth)
    got = listen(rig)
    for i, rgb in enumerate(frames(4)):
        rig.show(rgb, START + i * STEP, T=pose(0.1 * i))
        if i == 0:
            begin(rig)
        rig.graph.spin_until(lambda i=i: len(got) == i)
    assert [nanoseconds_of(message) for message in got] == [START + i * STEP for i in (1, 2, 3)]
    assert {message.header.frame_id for message in got} == {"camera"}
    with DepthEngine.open(models / depth) as engine, FlowEngine.open(models / "flow.onnx") as flows:
        stream, moving = DepthStream(engine), MovingStream(flows)
        wanted = []
        for i, rgb in enumerate(frames(4)):
            result = stream.process(rgb, stamp=seconds(START + i * STEP), K=PAIR_K)
            same = depth == "metric.onnx"
            wanted.append(moving.process(rgb, result, T_world_cam=pose(0.1 * i), same_unit=same))
    for message, result in zip(got, wanted[1:], strict=True):
        assert (message.encoding, message.height, message.width) == ("32FC1", *SIZE)
        assert np.array_equal(pixels(message), result.probability, equal_nan=True)
    status = rig.status("static")
    assert status.level == b"\0" and status.message == "static scene by residual"
    values = values_of(status)
    assert values["sent"] == "3" and float(values["network_p50_ms"]) > 0


def test_with_a_network_of_pairs(rigs, made_models, models):
    """Its motion is asked for once, by depth; a mask and the size sent hold here too."""
    more = {"model": made_models / "pair.onnx", "output_width": 32}
    rig = static_rig(rigs, models, **more)
    got = listen(rig)
    for i in range(20):  # the first ones have no depth yet, and one may overtake another
        rig.fly(1, first=i)
        if got:
            break
    rig.graph.spin_until(lambda: got)
    assert (got[-1].height, got[-1].width) == (24, 32)
    assert np.isfinite(pixels(got[-1])).any()


def test_nothing_is_computed_for_nobody(rigs, models):
    """Without a subscriber the flow network never runs."""
    rig = static_rig(rigs, models)
    for i, rgb in enumerate(frames(3)):
        rig.show(rgb, START + i * STEP, T=pose(0.1 * i))
    status = rig.status("static")
    assert "nobody subscribes" in status.message and values_of(status)["sent"] == "0"


def test_depth_is_computed_for_it_alone(rigs, models):
    """Nobody listens to depth itself: it is computed all the same."""
    rig = static_rig(rigs, models, "depth/camera_info")
    got = listen(rig)
    for i, rgb in enumerate(frames(2)):
        rig.send(rgb, START + i * STEP, T=pose(0.1 * i))
        rig.graph.spin_until(lambda i=i: int(rig.value("output", "sent")) == i + 1)
        if i == 0:
            begin(rig)
    rig.graph.spin_until(lambda: got)
    assert nanoseconds_of(got[0]) == START + STEP


def test_off_there_is_no_topic(rigs, models):
    """Without flow_model: no publisher, no task in /diagnostics."""
    rig = static_rig(rigs, models, flow_model="")
    assert not [one for one in rig.node.publishers if one.topic_name == f"/{TOPIC}"]
    rig.show(grey(), START)
    rig.status("output")
    assert not [s for s in rig.said[-1].status if s.name.endswith(": static")]


def test_depth_waits_for_nothing(rigs, models, monkeypatch):
    """A flow network that hangs: depth of all frames comes, the waiting ones are counted."""
    from threading import Event

    hang, begun = Event(), Event()
    real = FlowEngine.network_flow

    def slow(self, first, second):
        begun.set()
        hang.wait(20)
        return real(self, first, second)

    monkeypatch.setattr(FlowEngine, "network_flow", slow)
    rig = static_rig(rigs, models)
    got = listen(rig)
    for i, rgb in enumerate(frames(6)):
        rig.show(rgb, START + i * STEP, T=pose(0.1 * i))
        if i == 0:
            begin(rig)
        if i == 1:
            rig.graph.spin_until(begun.is_set)
    assert len(rig.got["depth"]) == 6 and not got
    hang.set()
    rig.graph.spin_until(lambda: len(got) == 2)
    assert [nanoseconds_of(message) for message in got] == [START + STEP, START + 5 * STEP]
    assert int(values_of(rig.status("static"))["dropped"]) == 3


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({"motion": {"source": "none"}}, "set motion.source to odometry"),
        ({"motion": {"source": "speed", "speed": 1.0}}, "set motion.source to odometry"),
    ],
)
def test_what_is_missing_is_said(rigs, models, more, line):
    """Depth goes on; /diagnostics says what the comparison lacks."""
    rig = static_rig(rigs, models, **more)
    got = listen(rig)
    for i in range(3):
        rig.show(frames(3)[i], START + i * STEP)
    rig.graph.spin_until(lambda: line in rig.status("static").message)
    assert rig.status("static").level == b"\1" and not got and len(rig.got["depth"]) == 3


def test_a_reset_forgets_the_frame_before(rigs, models):
    """The frame after it is compared with none."""
    rig = static_rig(rigs, models)
    got = listen(rig)
    for i, rgb in enumerate(frames(2)):
        rig.show(rgb, START + i * STEP, T=pose(0.1 * i))
        if i == 0:
            begin(rig)
    rig.graph.spin_until(lambda: len(got) == 1)
    rig.component._on_reset(None, type("Response", (), {})())
    rig.show(frames(3)[2], START + 2 * STEP, T=pose(0.2))
    rig.graph.spin_until(lambda: "no frame before" in rig.status("static").message)
    assert len(got) == 1


@pytest.mark.parametrize(
    ("name", "line"),
    [("nothing.onnx", "no such model file"), ("metric.onnx", "kind flow, got mono")],
)
def test_a_model_that_is_missing_does_not_stop_depth(rigs, models, name, line):
    """The task says what is wrong; depth is sent as ever."""
    rig = static_rig(rigs, models, flow_model=models / name)
    rig.show(grey(), START)
    status = rig.status("static")
    assert status.level == b"\2" and line in status.message and len(rig.got["depth"]) == 1
