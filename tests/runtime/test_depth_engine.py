# SPDX-License-Identifier: Apache-2.0
"""Depth of real ONNX files: numbers by hand, the torch predictors' answers, faults, threads."""

import threading
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from onnx_makers import write_mono, write_pair, write_pose
from torch import nn
from torch_predictors import Predictor

from depthkit.camera import resize_matrix
from depthkit.errors import DataError, EngineError
from depthkit.rigid import exp_se3
from depthkit.runtime.depth.depth_engine import DepthEngine
from depthkit.runtime.network.backend import Backend
from depthkit.runtime.network.manifest import Check, Manifest

SIZES = [(32, 48), (240, 320), (64, 48), (33, 51), (17, 20), (101, 30)]
K = np.array([[50.0, 0, 31.5], [0, 50, 23.5], [0, 0, 1]])  # of the pair network's 48 x 64


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A random frame that no network is blind to. (H, W, 3) uint8"""
    return np.random.default_rng(seed).integers(0, 240, (height, width, 3), dtype=np.uint8)


def flat(level: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A frame of one grey. (H, W, 3) uint8"""
    return np.full((height, width, 3), level, np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The files of this module."""
    path = tmp_path_factory.mktemp("models")
    write_mono(path / "mono.onnx")
    write_pair(path / "pair.onnx")
    write_pair(path / "pair64.onnx", size=(64, 64), size_multiple=64)
    return path


@pytest.fixture
def mono(folder):
    """A network whose depth is 1 / (0.1 + brightness / 255), for 32 x 48."""
    with DepthEngine.open(folder / "mono.onnx", backend="onnxruntime") as engine:
        yield engine


@pytest.fixture
def pair(folder):
    """A network that says the earlier frame's brightness, metres at 0.3 m, for f = 50."""
    with DepthEngine.open(folder / "pair.onnx", backend="onnxruntime") as engine:
        yield engine


# --- single frames --------------------------------------------------------------------------------


class Brightness(nn.Module):
    """The torch twin of `write_mono`."""

    def forward(self, frame):
        """Return the finest map, inverse depth."""
        return [frame.mean(1, keepdim=True) + 0.1]


@pytest.mark.parametrize("size", SIZES)
def test_depth_of_a_frame_is_what_torch_says(mono, size):
    """Landscape, portrait, odd and small frames: the torch predictor's map, at the frame's size."""
    task = nn.Module()
    task.depth_net = Brightness()
    predictor = Predictor(task, size=(32, 48), shifts=(-1, 1), scale="relative")
    result = mono.depth(noise(*size), stamp=4.5)
    assert result.depth.shape == size and result.depth.dtype == np.float32
    assert np.allclose(result.depth, predictor.depth(noise(*size)), rtol=1e-5, atol=0)
    assert result.valid.all() and result.valid.dtype == bool
    assert (result.stamp, result.reason, result.K) == (4.5, "", None)


def test_depth_of_a_grey_frame_by_hand(mono):
    """Brightness 102 is 0.4 of white: inverse depth 0.5, depth 2."""
    assert mono.depth(flat(102)).depth == pytest.approx(np.full((48, 64), 2.0), rel=1e-6)


def test_scale_and_camera_are_said(mono):
    """Relative or metric, with its source; K is that of the map, which has the frame's size."""
    result = mono.depth(flat(9), K=K)
    assert (result.scale, result.scale_source) == ("relative", "no unit was taught")
    assert np.array_equal(result.K, K) and result.K is not K
    assert result.timing.network_ms > 0 and result.timing.total_ms < 10_000


def test_metres_of_another_focal_length_are_doubted(tmp_path):
    """A metric network of single frames has learnt one field of view, and says so."""
    given = {"scale": "metric", "scale_source": "known depth", "focal": 37.5}
    with DepthEngine.open(write_mono(tmp_path / "m.onnx", **given)) as engine:
        assert engine.depth(flat(9), K=K).scale_source == "known depth"  # 50 px of 64 is 37.5 of 48
        said = engine.depth(flat(9), K=np.diag([2, 2, 1]) @ K).scale_source
    assert said == "known depth; learnt at a focal length of 38 px, this camera has 75"


def test_pixels_without_an_answer_are_not_valid(mono):
    """A white square: NaN there and where it is mixed in; all white: no depth, and a reason."""
    rgb = flat(102, 64, 96)
    rgb[16:32, 24:48] = 255
    result = mono.depth(rgb)
    assert not result.valid[16:32, 24:48].any() and result.valid[:12].all()
    assert result.depth[result.valid] == pytest.approx(2.0, rel=1e-5) and result.reason == ""
    result = mono.depth(flat(255))
    assert result.depth is None and result.valid is None
    assert result.reason == "the network's answer has no finite depth"


def test_views_of_other_memory_are_taken(mono):
    """BGR turned around and rows with padding, as drivers and ROS messages have them."""
    rgb = noise(40, 60)
    padded = np.zeros((40, 200), np.uint8)
    padded[:, :180] = rgb.reshape(40, 180)
    view = np.ndarray((40, 60, 3), np.uint8, buffer=padded, strides=(200, 3, 1))
    for same in (rgb[..., ::-1].copy()[..., ::-1], view):
        assert (mono.depth(same).depth == mono.depth(rgb).depth).all()
    network = noise(32, 48)  # goes in as it is
    assert (mono.depth(network[..., ::-1]).depth == mono.depth(network).depth).all()


def test_frames_that_are_none_are_refused(mono):
    """Data faults are one line; K of zeros too."""
    with pytest.raises(DataError, match=r"got \(8, 9\) uint8"):
        mono.depth(np.zeros((8, 9), np.uint8))
    with pytest.raises(EngineError, match="K must be finite"):
        mono.depth(flat(9), K=np.zeros((3, 3)))


# --- pairs ----------------------------------------------------------------------------------------


def test_pair_maps_by_hand(pair):
    """Three earlier frames of 30, 60 and 130: metres at D0, clipped at 100, where it can't tell."""
    frames = [pair.network_frame(flat(level), K) for level in (30, 60, 130)]
    maps = pair.pair_maps(frames[0], frames, np.stack([np.eye(3)] * 3))
    assert maps.depth.shape == (3, 48, 64) and maps.depth.dtype == np.float32
    assert [np.unique(m).tolist() for m in maps.depth] == [[30], [60], [100]]
    assert maps.valid.all((1, 2)).tolist() == [True, True, False] and maps.covered.all()
    assert (maps.turned == [[[[30]]], [[[60]]], [[[130]]]]).all()
    assert not pair.pair_maps(
        frames[0], [pair.network_frame(flat(0), K)], np.eye(3)[None]
    ).valid.any()


def test_what_bf16_rounds_to_the_limit_is_the_limit(tmp_path):
    """99.5 m of 100 is an answer, 99.75 m may be 100 in eight bits; 0 m is none either."""
    for level, bias, valid in ((99, 0.5, True), (99, 0.75, False), (0, 0, False), (1, 0, True)):
        path = write_pair(tmp_path / "pair.onnx", bias=bias)
        with DepthEngine.open(path, backend="onnxruntime") as engine:
            frame = engine.network_frame(flat(level), K)
            assert (engine.pair_maps(frame, [frame], np.eye(3)[None]).valid == valid).all()


def test_earlier_frames_are_turned_at_the_networks_size(pair):
    """Yawed by 0.2 rad: what the earlier frame did not see is not valid, the rest is turned."""
    columns = np.broadcast_to(np.linspace(20, 80, 128)[None, :, None], (96, 128, 3))
    camera = resize_matrix((48, 64), (96, 128)) @ K
    previous = pair.network_frame(columns.astype(np.uint8), camera)
    R = exp_se3([0, 0, 0, 0, 0.2, 0])[:3, :3]
    maps = pair.pair_maps(previous, [previous], R[None])
    expected = 31.5 + 50 * np.tan(np.arctan((np.arange(64) - 31.5) / 50) - 0.2)
    inside = (expected > 0) & (expected < 63)
    assert maps.depth[0, 24, inside] == pytest.approx(20 + 60 * expected[inside] / 63, abs=1.5)
    assert (maps.valid[0, 24] == (expected > -0.5)).all()
    assert (maps.covered == maps.valid).all() and maps.turned.shape == (1, 48, 64, 3)


def test_one_batch_is_as_many_single_runs(folder):
    """Order, turns and padding to multiples of 64 change nothing."""
    with (
        DepthEngine.open(folder / "pair.onnx") as plain,
        DepthEngine.open(folder / "pair64.onnx") as padded,
    ):
        frames = [plain.network_frame(noise(45, 70, seed), K) for seed in range(4)]
        turns = exp_se3(np.random.default_rng(1).normal(0, 0.1, (4, 6)))[:, :3, :3]
        all_at_once = padded.pair_maps(frames[0], frames, turns)
        assert all_at_once.depth.shape == (4, 45, 70) and all_at_once.turned.shape == (4, 45, 70, 3)
        for i, (frame, turn) in enumerate(zip(frames, turns, strict=True)):
            one = plain.pair_maps(frames[0], [frame], turn[None])
            assert (one.depth[0] == all_at_once.depth[i]).all()
            assert (one.valid[0] == all_at_once.valid[i]).all()


def test_kept_frames_own_their_pixels(pair):
    """A driver fills its buffer again while the frame is in the ring, resized or not."""
    for size in ((48, 64), (96, 128)):
        buffer = flat(30, *size)
        kept = pair.network_frame(buffer, resize_matrix((48, 64), size) @ K)
        buffer[:] = 200
        assert (kept.rgb == 30).all() and np.allclose(kept.K, K)


def test_answers_that_are_no_numbers_do_not_spread(pair):
    """NaN is not valid, and is the farthest depth: a weighted mean stays finite."""
    rgb = flat(30)
    rgb[:, :32] = 255
    frame = pair.network_frame(rgb, K)
    maps = pair.pair_maps(frame, [frame], np.eye(3)[None])
    assert (maps.depth[0, :, :32] == 100).all() and not maps.valid[0, :, :32].any()
    assert (maps.depth[0, :, 32:] == 30).all() and maps.valid[0, :, 32:].all()


def test_frames_that_do_not_fit_are_refused(pair):
    """A rotation that is no number, a field of view far from what was learnt: one line."""
    frame = pair.network_frame(flat(60), K)
    with pytest.raises(EngineError, match="rotation between the frames is not finite"):
        pair.pair_maps(frame, [frame], np.full((1, 3, 3), np.nan))
    with pytest.raises(EngineError, match="focal length 450.0 px of 64x48 frames is out of range"):
        pair.network_frame(flat(60), np.diag([9, 9, 1]) @ K)


# --- the engine -----------------------------------------------------------------------------------


def test_kinds_are_told_apart(mono, pair, tmp_path):
    """Each call names the right one; a pose network is for the other engine."""
    assert (mono.kind, pair.kind, mono.threads) == ("mono", "pair", 1)
    with pytest.raises(EngineError, match="this is a pair network; use DepthStream"):
        pair.depth(flat(9))
    with pytest.raises(EngineError, match="this is a mono network; use depth"):
        mono.network_frame(flat(9), K)
    with pytest.raises(EngineError, match="got pose; a pose network is for odometry"):
        DepthEngine.open(write_pose(tmp_path / "pose.onnx"))
    with pytest.raises(EngineError, match="has no focal; export again"):
        DepthEngine.open(write_pair(tmp_path / "pair.onnx", focal=None))


def test_a_closed_engine_says_so(folder):
    """Closing twice is no error, a call afterwards is."""
    engine = DepthEngine.open(folder / "mono.onnx")
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.depth(flat(9))


def test_opencv_takes_the_engines_threads(folder):
    """A robot that leaves a core free must not find OpenCV on it."""
    before = cv2.getNumThreads()
    for threads in (2, 1):
        with DepthEngine.open(folder / "mono.onnx", threads=threads) as engine:
            assert (engine.threads, cv2.getNumThreads()) == (threads, threads)
    cv2.setNumThreads(before)


def test_threads_get_their_own_answers(mono, pair):
    """Eight threads, two hundred calls: each frame's depth is its own."""
    kept = {level: pair.network_frame(flat(level), K) for level in range(10, 90)}

    def call(i: int) -> bool:
        level = 10 + i % 80
        depth = mono.depth(flat(level, 20 + i % 7, 31)).depth
        maps = pair.pair_maps(kept[10], [kept[level]], np.eye(3)[None])
        right = np.allclose(depth, 1 / (0.1 + level / 255), rtol=1e-5)
        return right and bool((maps.depth == level).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(call, range(200)))


def test_closing_waits_for_the_running_call():
    """The call that runs ends well, the next one is refused, nothing hangs."""
    inside, go_on = threading.Event(), threading.Event()

    def compute(inputs):
        inside.set()
        go_on.wait(10)
        return {"depth": inputs["frame"][..., 0].astype(np.float32)}

    manifest = Manifest("mono", "slow", (32, 48), "relative", "words", Check({}, 1, {}), 1e-4)
    engine = DepthEngine(Backend(manifest, compute, name="slow", precision="fp32", threads=1))
    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(engine.depth, flat(9, 32, 48))
        assert inside.wait(10)
        closing = pool.submit(engine.close)
        assert not closing.done()
        go_on.set()
        assert (running.result(10).depth == 9).all()
        closing.result(10)
    with pytest.raises(EngineError, match="closed"):
        engine.depth(flat(9))
