# SPDX-License-Identifier: Apache-2.0
"""Motion chained from real ONNX files: numbers by hand, torch's flow, and every way to lose it."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx_makers import write_mono, write_pose
from small_run import small_config
from torch_predictors import Predictor

from depthkit.errors import EngineError
from depthkit.export.graphs import FlowPoseGraph
from depthkit.geometry import se3
from depthkit.models import pose_net
from depthkit.rigid import inverse
from depthkit.runtime.network.backend import Backend
from depthkit.runtime.network.manifest import Check, Manifest
from depthkit.runtime.odometry.odometry_engine import OdometryEngine, grey, motion_from_vector
from depthkit.tasks import build_task

SIZE = (32, 48)
MOTION = (0, 0, 0.1, 0.2, 0, 0)  # of the network at brightness 100: T_later_earlier
GOOD, BLIND = 100, 255


def flat(level: int = GOOD, size=SIZE) -> np.ndarray:
    """A frame of one grey. (H, W, 3) uint8"""
    return np.full((*size, 3), level, np.uint8)


def texture(shift: int = 0, size=SIZE) -> np.ndarray:
    """A smooth random picture, moved to the right by whole pixels. (H, W, 3) uint8"""
    rng = np.random.default_rng(0)
    u, v = np.meshgrid(np.arange(size[1]) - shift, np.arange(size[0]))
    waves = rng.uniform(0.05, 0.5, (3, 6, 3))
    levels = [sum(np.sin(a * u + b * v + 9 * c) for a, b, c in one) for one in waves]
    return (120 + 18 * np.stack(levels, -1)).clip(0, 240).astype(np.uint8)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A pose network whose motion is `MOTION` times the later frame's brightness / 100."""
    return write_pose(tmp_path_factory.mktemp("pose") / "pose.onnx", motion=MOTION)


@pytest.fixture
def engine(path):
    """At work."""
    with OdometryEngine.open(path, backend="onnxruntime") as one:
        yield one


def feed(engine, *frames, start=0.0, period=0.1):
    """Process frames at a steady rate."""
    return [engine.process(rgb, stamp=start + i * period) for i, rgb in enumerate(frames)]


# --- the chain ------------------------------------------------------------------------------------


def test_straight_motion_by_hand(tmp_path):
    """Points move by +0.2 in x each frame, so the camera moves by -0.2: after five, -1."""
    path = write_pose(tmp_path / "pose.onnx", motion=(0, 0, 0, 0.2, 0, 0))
    with OdometryEngine.open(path) as engine:
        results = feed(engine, *[flat()] * 6)
    places = [result.T_world_cam[:3, 3].tolist() for result in results]
    assert places == pytest.approx(np.outer(np.arange(6), [-0.2, 0, 0]), abs=1e-6)
    assert results[1].T_previous_current[:3, 3] == pytest.approx([-0.2, 0, 0], abs=1e-6)
    assert [result.reason for result in results[1:]] == [""] * 5


def test_motions_are_chained_in_order(engine):
    """T_world_cam of frame n is the product of T_previous_current, first motion leftmost."""
    results = feed(engine, *(flat(level) for level in (100, 50, 200, 20)))
    expected = np.eye(4)
    for level, result in zip((50, 200, 20), results[1:], strict=True):
        T_later_earlier = motion_from_vector(np.array(MOTION) * level / 100)
        assert result.T_previous_current == pytest.approx(inverse(T_later_earlier), abs=1e-6)
        expected = expected @ inverse(T_later_earlier)
        assert result.T_world_cam == pytest.approx(expected, abs=1e-6)


def test_the_first_frame_is_the_world(engine):
    """No motion yet, and said so; scale, stamp and segment are there all the same."""
    first = engine.process(flat(), stamp=7.5)
    assert first.T_previous_current is None and (first.T_world_cam == np.eye(4)).all()
    assert first.reason == "first frame of segment 0: no motion yet"
    assert (first.stamp, first.segment, first.scale) == (7.5, 0, "relative")
    assert first.scale_source == "no unit was taught"


def test_a_vector_is_a_motion_as_in_training():
    """The torch twin's numbers, at zero and at large angles."""
    rng = np.random.default_rng(2)
    for vector in (np.zeros(6), 1e-6 * rng.normal(size=6), *rng.normal(size=(5, 6))):
        expected = se3.motion_from_vector(torch.from_numpy(vector)).numpy()
        assert motion_from_vector(vector) == pytest.approx(expected, abs=1e-12)


def test_results_are_the_callers(engine):
    """Writing into a result changes no later one."""
    first, second = feed(engine, flat(), flat())
    first.T_world_cam[:] = second.T_world_cam[:] = np.nan
    assert np.isfinite(engine.process(flat(), stamp=0.2).T_world_cam).all()


@pytest.mark.parametrize("size", [SIZE, (96, 128)])
def test_a_reused_buffer_does_no_harm(tmp_path, size):
    """A driver fills the frame it gave again: the earlier frame keeps its own pixels."""
    path = write_pose(tmp_path / "flow.onnx", motion=(0, 0, 0, 1, 0, 0), flow=True)
    found = []
    for reuse in (False, True):
        with OdometryEngine.open(path) as engine:
            buffer = texture(0, size)
            engine.process(buffer, stamp=0)
            later = buffer if reuse else buffer.copy()
            later[:] = texture(3, size)
            found.append(engine.process(later, stamp=0.1).T_previous_current)
    assert (found[0] == found[1]).all() and abs(found[0][0, 3]) > 0.2


# --- flow -----------------------------------------------------------------------------------------


def test_flow_is_that_of_the_training(tmp_path):
    """The graph gets what `models.pose_net.dis_flow` says, bit for bit; 3 px to the right by hand.

    The network here answers with the mean flow, which the camera's motion is the inverse of.
    """
    path = write_pose(tmp_path / "flow.onnx", size=(64, 96), motion=(0, 0, 0, 1, 0, 0), flow=True)
    earlier, later = texture(0, (64, 96)), texture(3, (64, 96))
    with OdometryEngine.open(path) as engine:
        inputs = [engine._inputs(earlier, later)["flow"] for _ in range(2)]
        result = feed(engine, earlier, later)[1]
    tensors = (torch.from_numpy(np.moveaxis(f, -1, 0)[None]) / 255 for f in (earlier, later))
    expected = pose_net.dis_flow(*tensors).numpy()
    assert all((flow == expected).all() for flow in inputs)
    assert np.median(expected[0, 0]) == pytest.approx(3, abs=0.1)
    assert result.T_previous_current[0, 3] == pytest.approx(-expected[0, 0].mean(), rel=1e-4)


@pytest.mark.parametrize("size", [(64, 96), (90, 150)])
def test_poses_are_those_of_the_torch_predictor(size):
    """FlowPose with random weights behind the engine: the chain of `Predictor.relative_pose`."""
    torch.manual_seed(0)
    config = small_config(Path("none"), "model.pose=flow")
    task = build_task(config, (-1, 1))
    task.pose_net.head[-1].bias.data.normal_(0, 3)
    predictor = Predictor(task, size=(64, 96), shifts=(-1, 1), scale="relative")
    graph = FlowPoseGraph(task.pose_net).eval()

    def compute(inputs):
        tensors = (torch.from_numpy(inputs[name]) for name in ("earlier", "later", "flow"))
        with torch.inference_mode():
            return {"motion": graph(*tensors).numpy()}

    manifest = Manifest(
        "pose", "flow", (64, 96), "relative", "words", Check({}, 1, {}), 1e-4, flow="dis_medium"
    )
    backend = Backend(manifest, compute, name="torch", precision="fp32", threads=1)
    frames, expected = [texture(3 * i, size) for i in range(4)], np.eye(4)
    with OdometryEngine(backend) as engine:
        results = feed(engine, *frames)
    for earlier, later, result in zip(frames, frames[1:], results[1:], strict=False):
        expected = expected @ inverse(predictor.relative_pose(earlier, later))
        assert result.T_world_cam == pytest.approx(expected, abs=1e-5)
    assert np.linalg.norm(expected[:3, 3]) > 0.05


def test_grey_is_that_of_the_training():
    """The mean of the channels, cut to whole levels: (1, 1, 0) is 0, (255, 255, 254) is 254."""
    rgb = np.array([[[1, 1, 0], [255, 255, 254], [9, 9, 9], [1, 2, 3]]], np.uint8)
    assert grey(rgb).tolist() == [[0, 254, 9, 2]]


# --- faults ---------------------------------------------------------------------------------------

FAULTS = {
    "frame must be RGB": lambda stamp: (flat()[..., 0], stamp),
    "uint16": lambda stamp: (flat().astype(np.uint16), stamp),
    "black": lambda stamp: (flat(3), stamp),
    "another size: 48x32 before, 60x40 now": lambda stamp: (flat(GOOD, (40, 60)), stamp),
    "time ran back by 0.050 s": lambda stamp: (flat(), stamp - 0.15),
    "came before": lambda stamp: (flat(), 0.2),  # a repeated stamp
    "no frame for 3.10 s, over 1": lambda stamp: (flat(), stamp + 3),
    "stamp must be finite, got nan": lambda _: (flat(), np.nan),
    "answer is not finite": lambda stamp: (flat(BLIND), stamp),
}


@pytest.mark.parametrize("words", FAULTS)
def test_each_fault_ends_the_segment_and_is_recovered_from(engine, words):
    """A reason and no motion, one segment more, and it goes on by itself from the last pose."""
    before = feed(engine, flat(), flat(), flat())[-1]
    rgb, stamp = FAULTS[words](0.3)
    fault = engine.process(rgb, stamp=stamp)
    assert words in fault.reason and "\n" not in fault.reason
    assert fault.T_previous_current is None and fault.segment == 1
    good = rgb if "another size" in words else flat()
    after = feed(engine, *[good] * 3, start=0.1 + (stamp if np.isfinite(stamp) else 0.3))
    assert [result.segment for result in after] == [1, 1, 1]
    assert after[-1].reason == "" and after[-1].T_previous_current is not None
    # The unknown motion moves nothing: a new segment starts at the last known pose.
    assert (fault.T_world_cam == before.T_world_cam).all()


def test_a_row_of_bad_frames_breaks_the_chain_once(engine):
    """Ten black frames are one gap; the segment after them begins with its own first frame."""
    feed(engine, flat(), flat())
    dark = feed(engine, *[flat(0)] * 10, start=0.2)
    assert {result.segment for result in dark} == {1}
    back = feed(engine, flat(), flat(), start=1.2)
    assert back[0].reason == "first frame of segment 1: no motion yet" and back[1].segment == 1


def test_bad_frames_before_the_first_good_one_break_nothing(engine):
    """A camera that starts up black has lost no motion."""
    assert [result.segment for result in feed(engine, flat(0), flat(0), flat(), flat())] == [0] * 4


def test_a_bag_that_starts_again_goes_on(engine):
    """Time jumps back by an hour once: one break, then motion as before."""
    feed(engine, flat(), flat(), start=3600)
    results = feed(engine, flat(), flat(), flat(), start=0)
    assert [result.reason == "" for result in results] == [False, True, True]
    assert {result.segment for result in results} == {1}


def test_reset_forgets_all(engine):
    """Pose, segment and time begin again."""
    feed(engine, flat(), flat(0), flat(), flat(), start=50)
    engine.reset()
    first = engine.process(flat(), stamp=0.0)
    assert first.segment == 0 and (first.T_world_cam == np.eye(4)).all() and "first" in first.reason


def test_a_failing_backend_is_not_bridged(engine):
    """An error of the runtime is raised; the frames around it are not taken for neighbours."""
    feed(engine, flat(), flat())
    run, engine.backend.run = engine.backend.run, lambda _: 1 / 0
    with pytest.raises(ZeroDivisionError):
        engine.process(flat(), stamp=0.2)
    engine.backend.run = run
    results = feed(engine, flat(), flat(), start=0.3)
    assert results[0].reason == "first frame of segment 1: no motion yet"
    assert results[1].reason == "" and results[1].segment == 1


# --- the engine -----------------------------------------------------------------------------------


def test_a_stride_uses_every_third_frame(path):
    """The two between are said to be left out; time is watched on them too."""
    with OdometryEngine.open(path, stride=3, max_gap=0.15) as engine:
        results = feed(engine, *[flat()] * 7)
        assert [i for i, result in enumerate(results) if result.reason == ""] == [3, 6]
        assert [i for i, result in enumerate(results) if result.left_out] == [1, 2, 4, 5]
        assert [result.since for result in results[::3]] == pytest.approx([None, 0, 0.3])
        assert results[1].reason == "left out: frame 1 of stride 3" and results[6].segment == 0
        assert "no frame for" in engine.process(flat(), stamp=0.9).reason


def test_impossible_settings_are_refused(path, tmp_path):
    """Another kind of network, a gap of 0, a stride of 0; a list is the caller's bug."""
    with pytest.raises(EngineError, match="got mono; write one with 'depthkit export"):
        OdometryEngine.open(write_mono(tmp_path / "mono.onnx"))
    for given in ({"max_gap": 0.0}, {"stride": 0}):
        with pytest.raises(EngineError, match="max_gap > 0 and stride >= 1 must hold"):
            OdometryEngine.open(path, **given)
    with OdometryEngine.open(path) as engine, pytest.raises(TypeError, match="numpy array"):
        engine.process([[[1, 2, 3]]], stamp=0.0)


def test_a_closed_engine_says_so(path):
    """The first frame too."""
    engine = OdometryEngine.open(path)
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.process(flat(), stamp=0.0)


def test_threads_take_turns(engine):
    """Calls from many threads leave one chain: as many motions as the segments' frames allow."""
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda i: engine.process(flat(), stamp=i * 1e-3), range(200)))
    moved = sum(result.reason == "" for result in results)
    assert moved + max(result.segment for result in results) + 1 == 200
    expected = np.linalg.matrix_power(inverse(motion_from_vector(np.array(MOTION))), moved)
    final = engine.process(flat(0), stamp=1.0).T_world_cam
    assert final == pytest.approx(expected, abs=1e-4)
