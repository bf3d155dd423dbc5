# SPDX-License-Identifier: Apache-2.0
"""One pair and its known motion: metres as the torch predictor says them, refusals in one line."""

import numpy as np
import pytest
from onnx_makers import write_pair
from torch import nn
from torch_predictors import PairPredictor

from depthkit.camera import resize_matrix
from depthkit.config import SupervisedConfig
from depthkit.errors import EngineError, ShapeError
from depthkit.rigid import exp_se3
from depthkit.runtime.depth.depth_engine import DepthEngine
from depthkit.runtime.depth.one_pair import depth_of_pair
from depthkit.tasks.supervised_pair import SupervisedPair

K = np.array([[50.0, 0, 31.5], [0, 50, 23.5], [0, 0, 1]])  # of the pair network's 48 x 64


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A random frame, no brighter than 90. (H, W, 3) uint8"""
    return np.random.default_rng(seed).integers(1, 90, (height, width, 3), dtype=np.uint8)


def flat(level: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A frame of one grey. (H, W, 3) uint8"""
    return np.full((height, width, 3), level, np.uint8)


def moved(x: float, y: float = 0, z: float = 0, turn=(0, 0, 0)) -> np.ndarray:
    """A motion. (4, 4)"""
    T = exp_se3(np.array([0, 0, 0, *turn], dtype=float))
    T[:3, 3] = x, y, z
    return T


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A network that says the earlier frame's brightness, metres at 0.3 m, for f = 50."""
    with DepthEngine.open(write_pair(tmp_path_factory.mktemp("model") / "pair.onnx")) as engine:
        yield engine


class Brightness(nn.Module):
    """The torch twin of `write_pair`."""

    def forward(self, previous, current):
        """Return the finest map."""
        return [255 * previous.mean(1, keepdim=True)]


class FullSizePair(SupervisedPair):
    """A task whose network answers at the frames' size."""

    def enlarge(self, depth, size):
        """Clip, as the task's own does."""
        return depth.clamp(max=self.supervised.max_depth)


@pytest.fixture
def predictor() -> PairPredictor:
    """The torch twin of the engine."""
    task = FullSizePair(Brightness(), SupervisedConfig())
    return PairPredictor(task, size=(48, 64), focal=50.0)


@pytest.mark.parametrize("size", [(48, 64), (96, 128), (241, 321), (90, 70), (37, 50)])
def test_a_known_pair_is_what_torch_says(pair, predictor, size):
    """Same metres as the torch predictor at the frame's size, of any camera; K is handed on."""
    camera = resize_matrix((48, 64), size) @ K
    camera[0, 0] = camera[1, 1]
    T, frames = moved(0.3, 0, -0.4), (noise(*size), noise(*size, 1))
    expected = predictor.depth(*frames, T_current_previous=T, K=camera)
    result = depth_of_pair(pair, *frames, T_current_previous=T, K=camera, stamp=2.0)
    assert np.allclose(result.depth, expected, rtol=1e-5) and result.depth.dtype == np.float32
    assert np.array_equal(result.K, camera) and result.scale == "metric" and result.stamp == 2.0


def test_a_known_turn_is_what_torch_says(pair, predictor):
    """Frames of the network's own size: turned like the torch predictor's, to the rounding."""
    T, frames = moved(0.3, turn=(0.05, -0.1, 0.2)), (noise(48, 64), noise(48, 64, 1))
    expected = predictor.depth(*frames, T_current_previous=T, K=K)
    result = depth_of_pair(pair, *frames, T_current_previous=T, K=K)
    assert 0.5 < result.valid.mean() < 1
    off = np.abs(result.depth - expected)[result.valid]
    assert off.max() <= 1.01 and np.median(off) == 0  # a grey level is a metre here


def test_metres_grow_with_the_distance(pair):
    """At |t| = 0.5 m whatever its direction: 0.5 / 0.3 of the answer; 100 m at D0 is the limit."""
    frames = flat(60), flat(9)
    result = depth_of_pair(pair, *frames, T_current_previous=moved(0.3, 0, -0.4), K=K)
    assert result.depth == pytest.approx(np.full((48, 64), 100.0), rel=1e-6) and result.valid.all()
    far = depth_of_pair(pair, flat(200), flat(9), T_current_previous=moved(0.03), K=K)
    assert far.depth.max() == pytest.approx(10) and not far.valid.any()


def test_pairs_without_an_answer_are_refused(pair):
    """No motion, motion that is no number, hardly a common view, no rotation matrix: one line."""
    frames = flat(60), flat(9)
    for T, words in (
        (moved(0.0029), "no depth from no motion"),
        (np.full((4, 4), np.nan), "not finite"),
        (moved(0.3, turn=(0, 1.0, 0)), "less than half of the picture"),
    ):
        with pytest.raises(EngineError, match=words) as caught:
            depth_of_pair(pair, *frames, T_current_previous=T, K=K)
        assert "\n" not in str(caught.value)


def test_shapes_are_the_callers_bug(pair):
    """A motion of 3 x 4 keeps its traceback."""
    with pytest.raises(ShapeError, match="T_current_previous must be"):
        depth_of_pair(pair, flat(60), flat(9), T_current_previous=moved(0.3)[:3], K=K)
