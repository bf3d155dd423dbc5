# SPDX-License-Identifier: Apache-2.0
"""A stream of frames through a real ONNX file: metres by hand, faults with reasons, recovery."""

import gc
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from onnx_makers import write_mono, write_pair

from depthkit.errors import EngineError, ShapeError
from depthkit.rigid import exp_se3
from depthkit.runtime.config import BaselineConfig
from depthkit.runtime.depth.depth_engine import DepthEngine
from depthkit.runtime.depth.depth_stream import DepthStream
from depthkit.runtime.motion.told import Motion

K = np.array([[50.0, 0, 31.5], [0, 50, 23.5], [0, 0, 1]])  # of the pair network's 48 x 64
NEAREST = BaselineConfig(rule="nearest")


def grey(level: int = 20, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    """A frame of one brightness, which the network says is its net value."""
    return np.full((*size, 3), level, np.uint8)


def pose(x: float, turn: float = 0.0) -> np.ndarray:
    """A camera x metres to the right, turned about the vertical, degrees. (4, 4)"""
    T = exp_se3(np.array([0, 0, 0, 0, np.radians(turn), 0]))
    T[0, 3] = x
    return T


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A pair network that says the earlier frame's brightness, D0 = 0.3 m, and a mono network."""
    folder = tmp_path_factory.mktemp("models")
    write_pair(folder / "pair.onnx")
    write_mono(folder / "mono.onnx")
    return folder


@pytest.fixture(scope="module")
def engine(models):
    """The pair network at work."""
    with DepthEngine.open(models / "pair.onnx", backend="onnxruntime") as opened:
        yield opened


def run(stream, index, rgb=None, *, x=None, **more):
    """One frame of a flight of 0.1 m a frame at 10 frames a second."""
    given = {"stamp": 0.1 * index, "K": K, "T_world_cam": pose(0.1 * index if x is None else x)}
    given |= {"rgb": grey() if rgb is None else rgb} | more
    motion = Motion(**{name: given.pop(name) for name in Motion._fields if name in given})
    return stream.process(given.pop("rgb"), motion=motion, **given)


def ready(engine, config=NEAREST, count=6):
    """A stream after a good start."""
    stream = DepthStream(engine, config)
    results = [run(stream, index) for index in range(count)]
    assert results[0].reason == "no past frame yet" and results[-1].reason == ""
    return stream


# --- metres ---------------------------------------------------------------------------------------


def test_depth_is_the_net_value_times_the_baseline(engine):
    """Three frames of 0.1 m back is D0: net value 20 is 20 m, parallax 0.75 px."""
    result = run(ready(engine), 6)
    assert result.depth == pytest.approx(20.0) and result.depth.dtype == np.float32
    assert result.depth.shape == result.valid.shape == result.confidence.shape == (48, 64)
    assert result.valid.all() and (result.scale, result.stamp) == ("metric", 0.1 * 6)
    assert "poses" in result.scale_source and np.array_equal(result.K, K)
    decision = result.decision
    assert (decision.rule, decision.shifts) == ("nearest", (3,))
    assert decision.baselines == pytest.approx((0.3,)) and decision.wanted == (0.3,)
    assert decision.parallax == pytest.approx((50 * 0.3 / 20,))
    assert result.timing.network_ms > 0


def test_turns_are_taken_out(engine):
    """A camera that turns as it moves sees the same depth; pixels it had not seen are not valid."""
    stream = DepthStream(engine, NEAREST)
    for index in range(8):
        result = run(stream, index, T_world_cam=pose(0.1 * index, turn=2.0 * index))
    assert result.decision.rotation == pytest.approx((6.0,))
    assert result.depth == pytest.approx(20.0)
    assert 0.8 < result.valid.mean() < 1


def test_multi_range_follows_the_depth(engine):
    """A scene at net value 20, wanted at 10, asks for twice the last baseline, frame by frame."""
    stream = DepthStream(engine, replace(BaselineConfig(), target=10.0))
    for index in range(3):
        result = run(stream, index)
    for index in (3, 4, 5):
        wanted = 2 * result.decision.baselines[0]
        result = run(stream, index)
        assert result.decision.wanted == pytest.approx((wanted,) * 3)
    assert result.depth == pytest.approx(20 * result.decision.baselines[0] / 0.3)


def test_several_baselines_are_one_run_and_one_map(engine):
    """Near at the left and far at the right: the shares of both baselines are in the result."""
    both = np.concatenate([grey(8)[:, :32], grey(70)[:, 32:]], axis=1)
    stream = DepthStream(engine, BaselineConfig())
    for index in range(30):
        result = run(stream, index, both, stamp=index / 30, x=0.05 * index)
    assert len(result.decision.shifts) >= 2 and result.valid.all()
    assert result.decision.wanted == tuple(sorted(result.decision.wanted))


def test_best_of_n_keeps_the_map_nearest_to_the_middle(engine):
    """The past frame of brightness 50 wins over the others, and depth is that of its baseline."""
    stream = DepthStream(engine, BaselineConfig(rule="best_of_n"))
    for index, level in enumerate([10, 90, 50, 80, 5]):
        run(stream, index, grey(level))
    result = run(stream, 5)
    assert result.decision.shifts == (3,) and "best of 4" in result.decision.reason
    assert result.depth == pytest.approx(50.0)


def test_feedback_lengthens_the_shift_of_a_far_scene(engine):
    """Mean net value 60 against 30 wanted doubles the shift: 3, then 6."""
    stream = DepthStream(engine, BaselineConfig(rule="feedback"))
    shifts = [run(stream, index, grey(60)).decision for index in range(12)]
    assert shifts[4].shifts[0] >= 3 and shifts[11].shifts[0] > 6


def test_displacements_stand_in_for_poses(engine):
    """0.1 m a frame, added up, is 0.3 m for three; no direction, so confidence is the blind one."""
    stream = DepthStream(engine, NEAREST)
    for index in range(7):
        result = run(stream, index, T_world_cam=None, displacement=0.1, R_world_cam=np.eye(3))
    assert result.decision.baselines == pytest.approx((0.3,)) and result.scale == "metric"
    assert result.depth == pytest.approx(20.0) and "displacements" in result.scale_source
    assert 0 < result.confidence.mean() < 1


def test_without_displacement_depth_is_relative(engine):
    """The fixed shift, no baselines, and the result says so: never metres."""
    stream = DepthStream(engine, BaselineConfig())
    for index in range(7):
        result = run(stream, index, T_world_cam=None)
    assert result.scale == "relative" and "unknown" in result.scale_source
    assert result.decision.shifts == (3,) and result.decision.baselines == ()
    assert "displacement unknown" in result.decision.reason
    assert result.depth == pytest.approx(20.0)


def test_frames_of_another_camera_come_back_at_its_size(engine):
    """Twice the size at twice the focal length: the map has the camera's size and its K."""
    stream = DepthStream(engine, NEAREST)
    double = np.array([[100.0, 0, 63.5], [0, 100, 47.5], [0, 0, 1]])
    for index in range(7):
        result = run(stream, index, grey(20, (96, 128)), K=double)
    assert result.depth.shape == (96, 128) and result.depth == pytest.approx(20.0)
    assert np.array_equal(result.K, double)


def test_mono_networks_pass_through(models):
    """A mono network needs no past, no K and no motion; its faults have reasons too."""
    with DepthEngine.open(models / "mono.onnx", backend="onnxruntime") as opened:
        stream = DepthStream(opened)
        result = stream.process(grey(51, (32, 48)), stamp=1.0)
        assert result.depth == pytest.approx(1 / 0.3, rel=1e-5) and result.decision is None
        for bad in (grey(0), grey()[..., 0], grey().astype(np.float32)):
            assert stream.process(bad, stamp=2.0).depth is None
        assert "focal" in stream.process(grey(), stamp=3.0, K=np.zeros((3, 3))).reason
        assert stream.process(grey(51, (32, 48)), stamp=1.0).reason == ""


# --- faults: no crash, a reason, recovery by itself ----------------------------------------------

NAN = np.full((4, 4), np.nan)
LEFT_OUT = {
    "dtype": ({"rgb": grey().astype(np.float32)}, "must be RGB"),
    "grey": ({"rgb": grey()[..., 0]}, "must be RGB"),
    "empty": ({"rgb": grey()[:0]}, "must be RGB"),
    "black": ({"rgb": grey(0)}, "black"),
    "nan pose": ({"T_world_cam": NAN}, "pose is not finite"),
    "no pose": ({"T_world_cam": None}, "no pose for this frame"),
    "expected pose": ({"T_world_cam": None, "expected": True}, "no pose for this frame"),
    "no K": ({"K": None}, "no intrinsics"),
    "nan K": ({"K": np.full((3, 3), np.nan)}, "K must be finite"),
    "no focal length": ({"K": np.diag([1e-310, 50, 1])}, "focal lengths above 0"),
    "other lens": ({"K": np.diag([500.0, 500, 1])}, "out of range"),
    "repeated": ({"stamp": 0.5}, "came before"),
    "nan stamp": ({"stamp": np.nan}, "finite"),
}


@pytest.mark.parametrize(("given", "reason"), LEFT_OUT.values(), ids=LEFT_OUT)
def test_a_bad_frame_is_left_out(engine, given, reason):
    """No depth and the reason; the past stays, so the next good frame has depth at once."""
    stream = ready(engine)
    result = run(stream, 6, **given)
    assert result.depth is result.valid is result.confidence is None
    assert reason in result.reason and "\n" not in result.reason
    after = run(stream, 7)
    assert after.reason == "" and after.depth == pytest.approx(20.0)


NEW_START = {
    "backwards": ({"stamp": 0.2}, 0.3, "time ran back by 0.300 s"),
    "gap": ({"stamp": 9.0}, 9.1, "no frame for 8.50 s"),
    "size": ({"rgb": grey(20, (50, 64))}, 0.7, "another size: 64x48 before, 64x50 now"),
    "K": ({"K": K * [[1.1], [1.1], [1]]}, 0.7, "intrinsics changed"),
    "jump": ({"T_world_cam": pose(50.0)}, 0.7, "pose jumped by 49.5 m"),
}


@pytest.mark.parametrize(("given", "stamp", "reason"), NEW_START.values(), ids=NEW_START)
def test_a_new_start_forgets_the_past(engine, given, stamp, reason):
    """The frame says why the past is forgotten; the next one pairs with it and has depth."""
    stream = ready(engine)
    result = run(stream, 6, **given)
    assert reason in result.reason and "past is forgotten" in result.reason
    x = given.get("T_world_cam", pose(0.6))[0, 3] + 0.3
    after = run(stream, 7, x=x, **({**given, "stamp": stamp, "T_world_cam": pose(x)}))
    assert after.reason == "" and after.decision.shifts == (1,)
    assert after.depth == pytest.approx(20.0)


def test_noise_of_the_intrinsics_is_no_new_start(engine):
    """A calibration that is estimated on the way flickers: the network's size must not with it."""
    stream, size = DepthStream(engine, NEAREST), (96, 128)
    edge = 50.0 * 128 / 64.5  # a focal length at which the width is rounded up or down
    for index in range(7):
        factor = 1 + 1e-4 * (-1) ** index
        flickering = np.array([[edge * factor, 0, 63.5], [0, edge * factor, 47.5], [0, 0, 1]])
        result = run(stream, index, grey(20, size), K=flickering)
        assert index == 0 or result.reason == ""
        assert np.array_equal(result.K, flickering)
    slow = [run(stream, 7 + i, grey(20, size), K=flickering * (1 + 3e-4 * i)) for i in range(9)]
    assert any("intrinsics changed" in one.reason for one in slow), "small steps add up"


def test_hovering_and_turning_are_refused(engine):
    """On the spot there is no depth, turning or not; moving on there is again."""
    stream = DepthStream(engine, NEAREST)
    for index in range(4):
        result = run(stream, index, x=0.0)
    assert result.reason.startswith("no translation") and result.decision.shifts == ()
    result = run(stream, 4, T_world_cam=pose(0.3, turn=60.0))
    assert result.reason.startswith("turned too far")
    assert run(stream, 5, x=0.3).reason == ""


def test_a_missing_displacement_cuts_off_the_past(engine):
    """Nothing before it has a known distance: one frame without depth, then from there on."""
    stream = DepthStream(engine, NEAREST)
    steps = [0.1] * 6 + [None] + [0.1] * 4
    results = [
        run(stream, i, T_world_cam=None, displacement=step, expected=step is None)
        for i, step in enumerate(steps)
    ]
    assert "no displacement for this frame" in results[6].reason
    assert results[7].reason == "no past frame yet" and results[8].decision.shifts == (1,)


def test_all_too_far_is_said(engine):
    """Where the network says its farthest everywhere, that is no depth."""
    stream = DepthStream(engine, NEAREST)
    for index in range(7):
        result = run(stream, index, grey(200))
    assert result.depth is None and "farther than the longest baseline" in result.reason


def test_bugs_of_the_caller_raise(engine, models):
    """What is no array, and shapes that no sensor makes; a closed engine."""
    stream = ready(engine)
    with pytest.raises(TypeError, match="numpy array"):
        run(stream, 6, [[1, 2]])
    with pytest.raises(ShapeError):
        run(stream, 6, T_world_cam=np.eye(3))
    with pytest.raises(ShapeError):
        run(stream, 6, K=np.eye(4))
    closed = DepthEngine.open(models / "pair.onnx", backend="onnxruntime")
    stream = ready(closed)
    closed.close()
    with pytest.raises(EngineError):
        run(stream, 6)


# --- live equals offline --------------------------------------------------------------------------


def flight(seed=0, count=40):
    """Random frames, poses and faults."""
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.uniform(0.01, 0.16, count))
    for index in range(count):
        rgb = rng.integers(0, 120, (48, 64, 3), dtype=np.uint8)
        T = NAN if index % 11 == 7 else pose(x[index], turn=rng.normal(0, 2))
        yield rgb, 0.1 * index + 3.0 * (index > 25), T


@pytest.mark.parametrize("rule", ["fixed", "best_of_n", "nearest", "feedback", "multi_range"])
def test_same_frames_give_the_same_bytes(engine, rule):
    """Two streams, one of them used and reset before, agree to the bit and in every decision."""
    fresh, used = (DepthStream(engine, BaselineConfig(rule=rule)) for _ in range(2))
    for rgb, stamp, T in flight(seed=5, count=9):
        used.process(rgb, stamp=stamp, K=K, motion=Motion(T))
    used.reset()
    known = 0
    for rgb, stamp, T in flight():
        a, b = (s.process(rgb, stamp=stamp, K=K, motion=Motion(T)) for s in (fresh, used))
        assert (a.reason, a.decision, a.scale) == (b.reason, b.decision, b.scale)
        if a.depth is not None:
            known += 1
            for name in ("depth", "valid", "confidence"):
                assert getattr(a, name).tobytes() == getattr(b, name).tobytes()
    assert known > 20


def test_the_stream_keeps_no_hand_on_the_frame(engine):
    """A driver that fills one buffer again and again gives the depths of separate frames."""
    apart, shared = DepthStream(engine, NEAREST), DepthStream(engine, NEAREST)
    buffer = grey()
    for index in range(8):
        frame = grey(10 + index)
        buffer[...] = frame
        a, b = run(apart, index, frame), run(shared, index, buffer)
    assert a.depth.tobytes() == b.depth.tobytes() and a.depth == pytest.approx(14.0)


def test_memory_stays_flat(engine):
    """Long runs keep the ring and nothing else: 20 more frames add less than four of them."""
    stream = DepthStream(engine, replace(NEAREST, capacity=5))
    tracemalloc.start()
    try:
        counts = []
        for index in range(36):
            run(stream, index)
            if index in (15, 35):
                gc.collect()
                counts.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert counts[1] - counts[0] < 4 * grey().nbytes
    assert len(stream._ring) == 5
