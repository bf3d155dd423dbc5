# SPDX-License-Identifier: Apache-2.0
"""The depth node in a running graph: the engine's metres, the image's stamp, only where asked."""

import cv2
import numpy as np
import pytest
from depth_rig import CAMERA, SECOND, START, Rig, pixels, values_of
from geometry_msgs.msg import TwistStamped
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_made import image, nanoseconds_of
from runtime.onnx_makers import write_mono, write_pair
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import Trigger

from depthkit.camera import Camera
from depthkit.rigid import exp_se3
from depthkit.ros_messages import seconds
from depthkit.runtime import DepthEngine, DepthStream

pytestmark = pytest.mark.ros

STEP = SECOND // 10
PAIR_K = np.array([[50.0, 0, 31.5], [0, 50, 23.5], [0, 0, 1]])  # of the made pair network, 48 x 64
REAL_K = np.array([[64.0, 0, 63.5], [0, 64, 47.5], [0, 0, 1]])  # of depthnet-stillbox, 96 x 128
ODOMETRY = {"source": "odometry", "wait": 1.0}


def texture(size=(96, 128), seed=0, shift=0):
    """A smooth random picture, moved sideways. (H, W, 3) uint8"""
    wide = np.random.default_rng(seed).integers(0, 255, (size[0], size[1] + 64, 3), dtype=np.uint8)
    smooth = cv2.GaussianBlur(wide, (0, 0), 2)
    smooth = cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX)
    return np.ascontiguousarray(smooth[:, shift : shift + size[1]])


def grey(level=20, size=(48, 64)):
    """A frame of one brightness, which the made pair network takes for its net value."""
    return np.full((*size, 3), level, np.uint8)


def pose(x, turn=0.0):
    """A camera x metres to the right, turned about the vertical, degrees. (4, 4)"""
    T = exp_se3(np.array([0, 0, 0, 0, np.radians(turn), 0]))
    T[0, 3] = x
    return T


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A pair network that says the earlier frame's brightness, D0 = 0.3 m; a relative mono one."""
    folder = tmp_path_factory.mktemp("models")
    write_pair(folder / "pair.onnx")
    write_mono(folder / "mono.onnx")
    return folder


@pytest.fixture
def rigs(graph):
    """Makes a running depth node with a camera; all are stopped at the end."""
    made = []

    def make(*topics, **parameters):
        made.append(Rig(graph, *([topics] if topics else []), **parameters))
        return made[-1]

    yield make
    for rig in made:
        rig.close()


def pair_rig(rigs, models, *topics, **more):
    """The made pair network with poses and K."""
    parameters = {"model": models / "pair.onnx", "motion": ODOMETRY} | more
    rig = rigs(*topics, **parameters)
    rig.calibrate(PAIR_K, (48, 64))
    return rig


def fly(rig, count, *, first=0, level=20):
    """A flight of 0.1 m a frame; return what was said of each frame."""
    return [
        rig.show(grey(level), START + i * STEP, T=pose(0.1 * i))
        for i in range(first, first + count)
    ]


# --- metres, stamps, frames -----------------------------------------------------------------------


def test_depth_of_single_frames_is_the_engines_to_the_byte(rigs):
    """Stamp, frame, size and camera are the image's; depth is what the engine says offline."""
    rig = rigs(model="shading-colon")
    rig.calibrate(REAL_K, (96, 128))
    stamps = [START + 7 + i * 33_333_333 for i in range(3)]
    for i, stamp in enumerate(stamps):
        rig.show(texture(seed=i), stamp)
    assert [nanoseconds_of(message) for message in rig.got["depth"]] == stamps
    assert [nanoseconds_of(message) for message in rig.got["depth/camera_info"]] == stamps
    assert {message.header.frame_id for message in rig.got["depth"]} == {CAMERA}
    with DepthEngine.open("shading-colon") as engine:
        stream = DepthStream(engine)
        for i, message in enumerate(rig.got["depth"]):
            result = stream.process(texture(seed=i), stamp=seconds(stamps[i]), K=REAL_K)
            expected = np.where(result.valid, result.depth, np.float32(np.nan))
            assert (message.encoding, message.height, message.width) == ("32FC1", 96, 128)
            assert bytes(message.data) == expected.tobytes()
    info = rig.got["depth/camera_info"][0]
    assert (info.height, info.width) == (96, 128) and info.k.tolist() == REAL_K.ravel().tolist()
    assert not rig.got["depth_relative"] and not rig.got["confidence"]


def test_depth_of_pairs_is_the_streams_to_the_byte(rigs):
    """A shipped pair network, poses from odometry: depth, confidence and decisions as offline."""
    rig = rigs(model="depthnet-stillbox", motion=ODOMETRY)
    rig.calibrate(REAL_K, (96, 128))
    frames = [(texture(shift=3 * i), START + i * STEP, pose(0.12 * i)) for i in range(6)]
    for rgb, stamp, T in frames:
        rig.show(rgb, stamp, T=T)
    with DepthEngine.open("depthnet-stillbox") as engine:
        stream = DepthStream(engine)
        results = [
            stream.process(rgb, stamp=seconds(stamp), K=REAL_K, T_world_cam=T)
            for rgb, stamp, T in frames
        ]
    known = [result for result in results if result.depth is not None]
    assert len(known) == len(rig.got["depth"]) == len(rig.got["confidence"]) == 5
    for result, depth, sure in zip(known, rig.got["depth"], rig.got["confidence"], strict=True):
        expected = np.where(result.valid, result.depth, np.float32(np.nan))
        assert bytes(depth.data) == expected.tobytes()
        assert np.array_equal(pixels(sure), np.where(result.valid, result.confidence, 0))
    words = values_of(rig.got["baseline"][-1].status[0])
    shifts = ", ".join(map(str, results[-1].decision.shifts))
    assert (words["rule"], words["shifts"]) == ("multi_range", shifts)


def test_metres_by_hand(rigs, models):
    """Net value 20 at three frames of 0.1 m, which is D0, is 20 m; the first frame has none."""
    rig = pair_rig(rigs, models, baseline={"rule": "nearest"})
    assert fly(rig, 5)[0] == "no past frame yet"
    assert len(rig.got["depth"]) == 4 and len(rig.got["baseline"]) == 5
    assert pixels(rig.got["depth"][-1]) == pytest.approx(20.0)
    words = values_of(rig.got["baseline"][-1].status[0])
    assert (words["shifts"], words["baselines_m"], words["weights"]) == ("3", "0.3000", "1.000")
    status = rig.status("output")
    values = values_of(status)
    assert status.level == b"\0" and status.message == "metric depth; scale: camera poses"
    assert (values["sent"], values["refused"], values["scale"]) == ("4", "1", "metric")
    assert values["last_refusal"] == "no past frame yet" and float(values["age_p50_ms"]) > 0
    assert float(values["overhead_p50_ms"]) < 20


def test_unknown_pixels_are_nan(rigs, models):
    """A turn leaves pixels that no earlier frame saw: NaN, and confidence 0."""
    rig = pair_rig(rigs, models, baseline={"rule": "nearest"})
    for i in range(6):
        rig.show(grey(), START + i * STEP, T=pose(0.1 * i, turn=2.0 * i))
    depth, sure = pixels(rig.got["depth"][-1]), pixels(rig.got["confidence"][-1])
    assert 0.7 < np.isfinite(depth).mean() < 1
    assert depth[np.isfinite(depth)] == pytest.approx(20.0) and not sure[np.isnan(depth)].any()


def test_twist_gives_metres_too(rigs, models):
    """1 m/s at 10 frames a second: three frames are D0."""
    rig = rigs(
        model=models / "pair.onnx",
        motion={"source": "twist", "wait": 1.0},
        baseline={"rule": "nearest"},
    )
    rig.calibrate(PAIR_K, (48, 64))
    message = TwistStamped()
    message.twist.linear.x = 1.0
    rig.probe.wait_for_reader("twist", TwistStamped)
    for i in range(6):
        stamp = START + i * STEP
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, SECOND)
        rig.probe.publish("twist", message)
        rig.show(grey(), stamp)
    assert pixels(rig.got["depth"][-1]) == pytest.approx(20.0)
    assert "displacements" in rig.value("output", "scale_source")


# --- relative depth -------------------------------------------------------------------------------


def test_relative_depth_has_its_own_topic(rigs, models):
    """A network without a unit never reaches `depth`; without a camera there is no camera_info."""
    rig = rigs(model=models / "mono.onnx")
    rig.show(grey(100, (32, 48)), START)
    rig.calibrate(PAIR_K, (32, 48))
    rig.show(grey(100, (32, 48)), START + STEP)
    assert not rig.got["depth"] and len(rig.got["depth_relative"]) == 2
    assert pixels(rig.got["depth_relative"][0]) == pytest.approx(1 / (0.1 + 100 / 255), rel=1e-5)
    assert [nanoseconds_of(m) for m in rig.got["depth/camera_info"]] == [START + STEP]


def test_pairs_without_motion_are_relative_and_say_so(rigs, models):
    """How far the camera went is not known: nothing on `depth`, and what to do in diagnostics."""
    rig = rigs(model=models / "pair.onnx")
    rig.calibrate(PAIR_K, (48, 64))
    for i in range(5):
        rig.show(grey(), START + i * STEP)
    assert not rig.got["depth"] and len(rig.got["depth_relative"]) >= 1
    status = rig.status("model")
    assert status.level == b"\1" and status.message.endswith("for metres set motion.source")


def test_a_network_that_needs_direction_says_what_to_do(rigs):
    """The sweep network with a twist: an error that names both ways out."""
    rig = rigs(model="sweepnet-stillbox", motion={"source": "twist", "wait": 0.0})
    status = rig.status("model")
    assert status.level == b"\2" and "direction of motion" in status.message
    assert "set motion.source to odometry, or take" in status.message


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


def test_largest_depth_and_least_confidence_are_unknown(rigs, models):
    """20 m is beyond 15 m; a confidence that no pixel reaches leaves nothing."""
    rig = pair_rig(rigs, models, baseline={"rule": "nearest"}, max_depth_out=15.0)
    fly(rig, 5)
    assert np.isnan(pixels(rig.got["depth"][-1])).all()
    rig.probe.set_parameter("depth_node", "max_depth_out", 0.0)
    fly(rig, 1, first=5)
    assert np.isfinite(pixels(rig.got["depth"][-1])).all()
    rig.probe.set_parameter("depth_node", "min_confidence", 1.0)
    fly(rig, 1, first=6)
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
    answer = rig.probe.set_parameter("depth_node", "mask", "/nowhere.png")
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


def test_nothing_is_computed_without_subscribers(rigs, models):
    """Frames that nobody asks for are counted as idle, also those that are no pictures."""
    rig = rigs("depth/camera_info", model=models / "mono.onnx")
    for i in range(3):
        rig.probe.publish("image", image(grey(100, (32, 48)), START + i * STEP, frame_id=CAMERA))
        rig.graph.spin_until(lambda i=i: rig.value("output", "idle") == str(i + 1))
    assert rig.status("output").message.startswith("idle: nobody subscribes")
    assert (rig.value("output", "sent"), rig.value("output", "refused")) == ("0", "0")
    depth = rig.probe.collect("depth_relative", Image)
    publisher = next(one for one in rig.node.publishers if one.topic_name == "/depth_relative")
    rig.graph.spin_until(publisher.get_subscription_count)
    rig.probe.publish("image", image(grey(100, (32, 48)), START + SECOND, frame_id=CAMERA))
    rig.probe.wait_for(depth)
    assert rig.value("output", "sent") == "1"


def test_rule_changes_while_it_runs(rigs, models):
    """A new rule starts a new stream with the next frame; one that is none is refused."""
    rig = pair_rig(rigs, models, baseline={"rule": "fixed", "shift": 2})
    fly(rig, 4)
    assert values_of(rig.got["baseline"][-1].status[0])["shifts"] == "2"
    assert rig.probe.set_parameter("depth_node", "baseline.rule", "nearest").successful
    assert fly(rig, 5, first=4)[0] == "no past frame yet"
    words = values_of(rig.got["baseline"][-1].status[0])
    assert (words["rule"], words["shifts"]) == ("nearest", "3")
    answer = rig.probe.set_parameter("depth_node", "baseline.shift", 0)
    assert not answer.successful and "baseline.shift: 1 or more, got 0" in answer.reason
    answer = rig.probe.set_parameter("depth_node", "model", "other.onnx")
    assert not answer.successful


def test_reset_forgets_the_past(rigs, models):
    """After ~/reset the next frame is the first."""
    rig = pair_rig(rigs, models)
    fly(rig, 3)
    assert rig.probe.call("/depth_node/reset", Trigger).success
    assert fly(rig, 2, first=3)[0] == "no past frame yet"
    assert len(rig.got["depth"]) == 3 and rig.value("output", "resets") == "1"


def test_stopped_node_starts_again(rigs, models):
    """Stop and start, as a lifecycle does: silent in between, and then from the beginning."""
    rig = pair_rig(rigs, models)
    fly(rig, 3)
    rig.component.stop()
    rig.send(grey(), START + 3 * STEP, T=pose(0.3))
    rig.graph.spin_for(0.2)
    assert len(rig.got["baseline"]) == 3
    rig.component.start()
    rig.probe.wait_for_reader("image", Image)
    assert fly(rig, 2, first=4) == ["no past frame yet", rig.got["baseline"][-1].status[0].message]


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
