# SPDX-License-Identifier: Apache-2.0
"""The depth node in a running graph: the engine's metres to the byte, and never others."""

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
from geometry_msgs.msg import TwistStamped
from ros_made import nanoseconds_of

from depthkit.camera import Camera, SourceCamera
from depthkit.ros_messages import seconds
from depthkit.runtime import DepthEngine, DepthStream
from depthkit.runtime.motion.told import Motion
from depthkit.undistort import build_geometry

pytestmark = pytest.mark.ros

ODOMETRY = {"source": "odometry", "wait": 1.0}


def pair_rig(rigs, made_models, *topics, **more):
    """The made pair network with poses and K."""
    parameters = {"model": made_models / "pair.onnx", "motion": ODOMETRY} | more
    rig = rigs(*topics, **parameters)
    rig.calibrate(PAIR_K, (48, 64))
    return rig


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
            stream.process(rgb, stamp=seconds(stamp), K=REAL_K, motion=Motion(T))
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


def test_metres_by_hand(rigs, made_models):
    """Net value 20 at three frames of 0.1 m, which is D0, is 20 m; the first frame has none."""
    rig = pair_rig(rigs, made_models, baseline={"rule": "nearest"})
    assert rig.fly(5)[0] == "no past frame yet"
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


def test_unknown_pixels_are_nan(rigs, made_models):
    """A turn leaves pixels that no earlier frame saw: NaN, and confidence 0."""
    rig = pair_rig(rigs, made_models, baseline={"rule": "nearest"})
    for i in range(6):
        rig.show(grey(), START + i * STEP, T=pose(0.1 * i, turn=2.0 * i))
    depth, sure = pixels(rig.got["depth"][-1]), pixels(rig.got["confidence"][-1])
    assert 0.7 < np.isfinite(depth).mean() < 1
    assert depth[np.isfinite(depth)] == pytest.approx(20.0) and not sure[np.isnan(depth)].any()


def test_twist_gives_metres_too(rigs, made_models):
    """1 m/s at 10 frames a second: three frames are D0."""
    rig = rigs(
        model=made_models / "pair.onnx",
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


def test_a_speed_gives_metres_and_may_change(rigs, made_models):
    """1 m/s at 10 frames a second, then 3: the shift that is nearest to D0 follows."""
    rig = rigs(
        model=made_models / "pair.onnx",
        motion={"source": "speed", "speed": 1.0},
        baseline={"rule": "nearest"},
    )
    rig.calibrate(PAIR_K, (48, 64))
    for i in range(5):
        rig.show(grey(), START + i * STEP)
    assert values_of(rig.got["baseline"][-1].status[0])["shifts"] == "3"
    assert rig.probe.set_parameter("depth_node", "motion.speed", 3).successful
    for i in range(5, 8):
        rig.show(grey(), START + i * STEP)
    assert values_of(rig.got["baseline"][-1].status[0])["shifts"] == "1"
    assert pixels(rig.got["depth"][-1]) == pytest.approx(20.0, rel=1e-5)


def test_a_distorted_camera_is_rectified(rigs):
    """Depth is of the rectified picture, its camera_info has no distortion, its border is NaN."""
    rig, D = rigs(model="shading-colon"), (0.5, 0.2, 0.0, 0.0, 0.0)
    rig.calibrate(REAL_K, (96, 128), D=D)
    rig.show(texture(), START)
    source = SourceCamera(Camera(128, 96, 64, 64, 63.5, 47.5), "brown_conrady", D)
    geometry = build_geometry(source)
    with DepthEngine.open("shading-colon") as engine:
        K = geometry.camera.K
        result = DepthStream(engine).process(geometry.colour(texture()), stamp=seconds(START), K=K)
    depth, info = rig.got["depth"][0], rig.got["depth/camera_info"][0]
    assert info.k.tolist() == K.ravel().tolist() and not any(info.d)
    assert (info.height, info.width) == (depth.height, depth.width) == geometry.camera.size
    known = result.valid & geometry.valid
    assert 0.8 < known.mean() < 0.9
    assert np.array_equal(pixels(depth), np.where(known, result.depth, np.nan), equal_nan=True)


# --- relative depth -------------------------------------------------------------------------------


def test_relative_depth_has_its_own_topic(rigs, made_models):
    """A network without a unit never reaches `depth`; without a camera there is no camera_info."""
    rig = rigs(model=made_models / "mono.onnx")
    rig.show(grey(100, (32, 48)), START)
    rig.calibrate(PAIR_K, (32, 48))
    rig.show(grey(100, (32, 48)), START + STEP)
    assert not rig.got["depth"] and len(rig.got["depth_relative"]) == 2
    assert pixels(rig.got["depth_relative"][0]) == pytest.approx(1 / (0.1 + 100 / 255), rel=1e-5)
    assert [nanoseconds_of(m) for m in rig.got["depth/camera_info"]] == [START + STEP]


def test_pairs_without_motion_are_relative_and_say_so(rigs, made_models):
    """How far the camera went is not known: nothing on `depth`, and what to do in diagnostics."""
    rig = rigs(model=made_models / "pair.onnx")
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
