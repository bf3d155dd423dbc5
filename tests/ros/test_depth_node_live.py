# SPDX-License-Identifier: Apache-2.0
"""What the depth node is told while it runs: size, encoding, mask, rule, reset; who listens."""

import cv2
import numpy as np
import pytest
from depth_rig import (
    CAMERA,
    PAIR_K,
    REAL_K,
    SECOND,
    START,
    STEP,
    grey,
    pixels,
    pose,
    texture,
    values_of,
)
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_made import image
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import Trigger

from depthkit.camera import Camera
from depthkit.ros_messages import seconds
from depthkit.runtime import DepthEngine, DepthStream

pytestmark = pytest.mark.ros

ODOMETRY = {"source": "odometry", "wait": 1.0}


def pair_rig(rigs, made_models, *topics, **more):
    """The made pair network with poses and K."""
    parameters = {"model": made_models / "pair.onnx", "motion": ODOMETRY} | more
    rig = rigs(*topics, **parameters)
    rig.calibrate(PAIR_K, (48, 64))
    return rig


# --- what is sent ---------------------------------------------------------------------------------


def test_size_and_encoding_change_while_it_runs(rigs):
    """Half the width takes K along by camera.py; millimetres have 0 for unknown."""
    rig = rigs(model="shading-colon", output_width=64)
    rig.calibrate(REAL_K, (96, 128))
    rig.show(texture(), START)
    depth, info = rig.got["depth"][-1], rig.got["depth/camera_info"][-1]
    small = Camera(128, 96, 64, 64, 63.5, 47.5).resized((48, 64))
    assert (depth.height, depth.width, info.height, info.width) == (48, 64, 48, 64)
    assert info.k.tolist() == small.K.ravel().tolist()
    metres = pixels(depth)
    assert rig.probe.set_parameter("depth_node", "encoding", "16UC1").successful
    assert rig.probe.set_parameter("depth_node", "output_width", 0).successful
    rig.show(texture(), START + STEP)
    full = pixels(rig.got["depth"][-1], np.uint16)
    assert rig.got["depth"][-1].encoding == "16UC1" and full.shape == (96, 128)
    assert np.abs(full[1::2, 1::2] / 1000 - metres).max() <= 0.0005 + 1e-6


def test_largest_depth_and_least_confidence_are_unknown(rigs, made_models):
    """20 m is beyond 15 m; a confidence that no pixel reaches leaves nothing."""
    rig = pair_rig(rigs, made_models, baseline={"rule": "nearest"}, max_depth_out=15.0)
    rig.fly(5)
    assert np.isnan(pixels(rig.got["depth"][-1])).all()
    rig.probe.set_parameter("depth_node", "max_depth_out", 0.0)
    rig.fly(1, first=5)
    assert np.isfinite(pixels(rig.got["depth"][-1])).all()
    rig.probe.set_parameter("depth_node", "min_confidence", 1.0)
    rig.fly(1, first=6)
    assert np.isnan(pixels(rig.got["depth"][-1])).all()
    assert pixels(rig.got["confidence"][-1]).max() > 0


def test_dark_frame_of_an_endoscope_is_unknown(rigs):
    """The lit circle has depth, its dark surround is NaN; a drawn mask does the same."""
    rig = rigs(model="shading-colon", mask="auto")
    rig.calibrate(REAL_K, (96, 128))
    v, u = np.mgrid[:96, :128]
    disc = np.hypot(u - 63.5, v - 47.5) < 40
    rgb = texture() // 2 + 100
    rgb[~disc] = 3
    rig.show(rgb, START)
    known = np.isfinite(pixels(rig.got["depth"][-1]))
    assert not known[~disc].any() and known[disc].mean() > 0.9
    assert rig.probe.set_parameter("depth_node", "mask", "").successful
    rig.show(rgb, START + STEP)
    assert np.isfinite(pixels(rig.got["depth"][-1])).all()
    for name in ("/nowhere.png", "~nobody-here/mask.png", "n" * 5000):  # none ends the node
        answer = rig.probe.set_parameter("depth_node", "mask", name)
        assert not answer.successful and "no mask that can be read" in answer.reason


def test_reliable_and_best_effort_readers_are_both_served(rigs):
    """Both kinds of subscriber get the frame."""
    rig = rigs("baseline", model="shading-colon")
    rig.calibrate(REAL_K, (96, 128))
    kinds = (ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT)
    got = [
        rig.probe.collect("depth", Image, qos=QoSProfile(depth=5, reliability=kind))
        for kind in kinds
    ]
    depth = next(one for one in rig.node.publishers if one.topic_name == "/depth")
    rig.graph.spin_until(lambda: depth.get_subscription_count() == 2)
    rig.probe.publish("image", image(texture(), START, frame_id=CAMERA))
    rig.graph.spin_until(lambda: all(len(messages) == 1 for messages in got))


# --- what is computed -----------------------------------------------------------------------------


def test_nothing_is_computed_without_subscribers(rigs, made_models):
    """Frames that nobody asks for are counted as idle and not even read."""
    rig = rigs("depth/camera_info", model=made_models / "mono.onnx")
    for i in range(3):
        made = image(grey(100, (32, 48)), START + i * STEP, frame_id=CAMERA, encoding="cmyk8")
        rig.probe.publish("image", made)
        rig.graph.spin_until(lambda i=i: rig.value("output", "idle") == str(i + 1))
    assert rig.status("output").message.startswith("idle: nobody subscribes")
    assert (rig.value("output", "sent"), rig.value("output", "refused")) == ("0", "0")
    depth = rig.probe.collect("depth_relative", Image)
    publisher = next(one for one in rig.node.publishers if one.topic_name == "/depth_relative")
    rig.graph.spin_until(publisher.get_subscription_count)
    rig.probe.publish("image", image(grey(100, (32, 48)), START + SECOND, frame_id=CAMERA))
    rig.probe.wait_for(depth)
    assert rig.value("output", "sent") == "1"


def test_rule_changes_while_it_runs(rigs, made_models):
    """A new rule starts a new stream with the next frame; one that is none is refused."""
    rig = pair_rig(rigs, made_models, baseline={"rule": "fixed", "shift": 2})
    rig.fly(4)
    assert values_of(rig.got["baseline"][-1].status[0])["shifts"] == "2"
    assert rig.probe.set_parameter("depth_node", "baseline.rule", "nearest").successful
    assert rig.fly(5, first=4)[0] == "no past frame yet"
    words = values_of(rig.got["baseline"][-1].status[0])
    assert (words["rule"], words["shifts"]) == ("nearest", "3")
    answer = rig.probe.set_parameter("depth_node", "baseline.shift", 0)
    assert not answer.successful and "baseline.shift: 1 or more, got 0" in answer.reason
    answer = rig.probe.set_parameter("depth_node", "model", "other.onnx")
    assert not answer.successful


def test_reset_forgets_the_past(rigs, made_models):
    """After ~/reset the next frame is the first."""
    rig = pair_rig(rigs, made_models)
    rig.fly(3)
    assert rig.probe.call("/depth_node/reset", Trigger).success
    assert rig.fly(2, first=3)[0] == "no past frame yet"
    assert len(rig.got["depth"]) == 3 and rig.value("output", "resets") == "1"


def test_stopped_node_starts_again(rigs, made_models):
    """Stop and start, as a lifecycle does: silent in between, and then from the beginning."""
    rig = pair_rig(rigs, made_models)
    rig.fly(3)
    rig.component.stop()
    rig.send(grey(), START + 3 * STEP, T=pose(0.3))
    rig.graph.spin_for(0.2)
    assert len(rig.got["baseline"]) == 3
    rig.component.start()
    rig.probe.wait_for_reader("image", Image)
    assert rig.fly(2, first=4) == ["no past frame yet", rig.got["baseline"][-1].status[0].message]


def test_compressed_images(rigs):
    """A JPEG gives what the same decoded frame gives."""
    rig = rigs(model="shading-colon", camera={"transport": "compressed"})
    message = CompressedImage(format="rgb8; jpeg compressed bgr8")
    ok, data = cv2.imencode(".jpg", texture()[..., ::-1])
    assert ok
    message.data.frombytes(data.tobytes())
    message.header = image(texture(), START, frame_id=CAMERA).header
    rig.calibrate(REAL_K, (96, 128))
    rig.probe.publish("image/compressed", message)
    rig.probe.wait_for(rig.got["depth"])
    decoded = np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])
    with DepthEngine.open("shading-colon") as engine:
        expected = DepthStream(engine).process(decoded, stamp=seconds(START), K=REAL_K).depth
    assert np.array_equal(pixels(rig.got["depth"][0]), expected)
