# SPDX-License-Identifier: Apache-2.0
"""Frames, poses and depth one after the other: what is compared with what, and why not."""

from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from onnx_makers import write_flow

from depthkit.errors import DataError, EngineError
from depthkit.multiview.rigid_flow import rigid_flow
from depthkit.runtime import DepthResult, FlowEngine, MovingStream
from depthkit.runtime.flow.flow_engine import SmallFlow
from depthkit.runtime.network.manifest import Mixture, StaticLaw

SIZE = (32, 48)
K = np.array([[40.0, 0, 23.5], [0, 40, 15.5], [0, 0, 1]])
DELTA, GAP = Mixture(0.0, 0.02, 0.2, 0.1), Mixture(0.3, 0.2, 1.5, 0.1)
LAW = StaticLaw("photometric", DELTA, GAP, ssim_weight=0.85, window=5)
BOTH = replace(LAW, evidence="both", delta=Mixture(0.0, 0.1, 1.0, 0.1), ratio=True)


class SaysFlow:
    """A flow network that says one flow, and remembers what it was asked."""

    def __init__(
        self, flow: np.ndarray, law: StaticLaw | None = None, odds: np.ndarray | None = None
    ) -> None:
        self.manifest = SimpleNamespace(size=flow.shape[:2], static_law=law)
        self.said, self.asked = SmallFlow(flow, odds), []

    def network_frame(self, rgb: np.ndarray) -> np.ndarray:
        """Bring a frame to this size."""
        size = self.manifest.size
        return rgb if rgb.shape[:2] == size else cv2.resize(rgb, size[::-1])

    def network_flow(self, first: np.ndarray, second: np.ndarray) -> SmallFlow:
        """Answer, whatever the frames."""
        self.asked.append((first, second))
        return self.said


def texture(size=SIZE, seed=0) -> np.ndarray:
    """A picture with something to see everywhere."""
    rng = np.random.default_rng(seed)
    return cv2.blur(rng.integers(0, 256, (*size, 3), dtype=np.uint8), (3, 3))


def depth_of(stamp: float, size=SIZE, *, K=K, metres: float = 4.0) -> DepthResult:
    """A wall."""
    depth = np.full(size, metres, np.float32)
    known = np.ones(size, bool)
    return DepthResult(depth, known, None, K, "metric", "a wall", stamp)


def pose(x: float) -> np.ndarray:
    """A camera x metres to the right."""
    T = np.eye(4)
    T[0, 3] = x
    return T


def sideways() -> np.ndarray:
    """The flow from a camera at 0.2 m to one at 0: a wall at 4 m and f = 40 goes 2 px right."""
    return rigid_flow(np.full(SIZE, 4.0), T_source_target=pose(0.2), K=K).flow


def test_a_still_scene_is_static_and_a_mover_is_not():
    """Flow as depth and motion say: near 1; where it says otherwise, near 0; beyond, unknown."""
    flow = sideways()
    assert flow[0, 0] == pytest.approx([2, 0])
    flow[10:20, 10:20] += [6, 3]
    stream = MovingStream(SaysFlow(flow))
    first, second = texture(), texture(seed=1)
    assert stream.process(first, depth_of(0), T_world_cam=pose(0)).probability is None
    result = stream.process(second, depth_of(0.1), T_world_cam=pose(0.2))
    assert (result.rule, result.unit, result.stamp, result.reason) == ("residual", 1, 0.1, "")
    assert result.probability[5, 5] > 0.99 and result.probability[15, 15] < 0.01
    assert np.isnan(result.probability[:, -2:]).all()
    (asked,) = stream.engine.asked  # from now to before
    assert np.array_equal(asked[0], second) and np.array_equal(asked[1], first)


def test_frames_are_the_stream_s_own():
    """A driver that fills one buffer again and again changes nothing kept."""
    stream, buffer = MovingStream(SaysFlow(sideways())), texture()
    before = buffer.copy()
    stream.process(buffer, depth_of(0), T_world_cam=pose(0))
    buffer[:] = texture(seed=1)
    stream.process(buffer, depth_of(0.1), T_world_cam=pose(0.2))
    assert np.array_equal(stream.engine.asked[0][1], before)


def test_another_size_of_the_camera():
    """A camera twice as large, K with it: the same answer at its size."""
    size, large = (64, 96), np.diag([2.0, 2, 1]) @ K
    large[:2, 2] += 0.5
    flow = sideways()
    flow[10:20, 10:20] += [6, 3]
    stream = MovingStream(SaysFlow(flow))
    for stamp, x in ((0.0, 0.0), (0.1, 0.2)):
        depth = depth_of(stamp, size, K=large)
        depth.valid[:, :8] = False
        result = stream.process(texture(size), depth, T_world_cam=pose(x))
    assert result.probability.shape == size and result.probability.dtype == np.float32
    assert result.probability[10, 20] > 0.99 and result.probability[30, 30] < 0.01
    assert np.isnan(result.probability[:, :7]).all()


def test_the_unit_is_followed_where_it_is_not_shared():
    """Poses in half metres: the factor 2 is found; standing still, the last one is kept."""
    stream = MovingStream(SaysFlow(sideways()))
    stream.process(texture(), depth_of(0), T_world_cam=pose(0), same_unit=False)
    result = stream.process(texture(), depth_of(0.1), T_world_cam=pose(0.1), same_unit=False)
    assert result.unit == pytest.approx(2) and result.probability[5, 5] > 0.99
    result = stream.process(texture(), depth_of(0.2), T_world_cam=pose(0.1), same_unit=False)
    assert result.unit == pytest.approx(2)
    stream.reset()
    for stamp in (0.3, 0.4):
        result = stream.process(texture(), depth_of(stamp), T_world_cam=pose(0), same_unit=False)
    assert result.probability is None and "little parallax, or flow contradicts it" in result.reason


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"T_world_cam": None}, "how the camera moved is not known"),
        ({"T_world_cam": np.full((4, 4), np.nan)}, "how the camera moved is not known"),
        ({"stamp": 5.0}, "no frame for 5.00 s, over 1"),
        ({"stamp": 0.0}, "came before"),
        ({"K": None}, "intrinsics are not known"),
        ({"rgb": texture((40, 48))}, "frames of another size: 48x32 before, 48x40 now"),
        ({"depth": replace(depth_of(0.1), depth=None, reason="too dark")}, "too dark"),
    ],
)
def test_why_there_is_none(change, line):
    """Each lack has its words, costs no run of the network, and the next frame goes on."""
    stream = MovingStream(SaysFlow(sideways()))
    stream.process(texture(), depth_of(0), T_world_cam=pose(0))
    depth = change.get("depth", depth_of(change.get("stamp", 0.1)))
    depth = replace(depth, K=change.get("K", K))
    rgb = change.get("rgb", texture())
    result = stream.process(rgb, depth, T_world_cam=change.get("T_world_cam", pose(0.2)))
    assert result.probability is None and line in result.reason and not stream.engine.asked
    for stamp, x in ((7.0, 0.0), (7.1, 0.2)):
        result = stream.process(texture(), depth_of(stamp), T_world_cam=pose(x))
    assert result.reason == "" and len(stream.engine.asked) == 1


def test_what_looks_say_is_in_the_answer():
    """Of two frames without any evidence of motion, what the mask network says comes out."""
    odds = np.where(np.mgrid[:32, :48][1] < 24, -4.0, 4.0).astype(np.float32)
    results = []
    for said in (None, odds):
        law = replace(LAW, evidence="gap", window=1, temper=None if said is None else 0.3)
        stream = MovingStream(SaysFlow(sideways(), law, said))
        stream.process(texture(), depth_of(0), T_world_cam=pose(0))
        results.append(stream.process(texture(), depth_of(0.1), T_world_cam=pose(0.2)))
    without, with_odds = (result.probability for result in results)
    known = np.isfinite(without)
    assert (without[known] == 1).all() and np.array_equal(np.isfinite(with_odds), known)
    # At the location of the law: 0.3 log(tail / (2 scale)) more than looks say.
    ratio = 0.3 * np.log(GAP.tail / (2 * GAP.scale))
    assert with_odds[5, 5] == pytest.approx(1 / (1 + np.exp(4 - ratio)), rel=1e-5)
    assert with_odds[5, 40] == pytest.approx(1 / (1 + np.exp(-4 - ratio)), rel=1e-5)


@pytest.mark.parametrize("law", [LAW, replace(LAW, evidence="gap"), BOTH])
def test_the_law_of_the_training_is_the_rule(law):
    """The wall seen 2 px to the side: static where flow adds nothing to what depth explains."""
    far, wide = sideways(), texture((32, 60))
    stream = MovingStream(SaysFlow(far, law))
    stream.process(wide[:, 8:56], depth_of(0), T_world_cam=pose(0))
    result = stream.process(wide[:, 10:58], depth_of(0.1), T_world_cam=pose(0.2))
    assert result.rule == law.evidence and np.nanmin(result.probability) > 0.9


def test_a_gap_along_the_parallax_is_less_than_one_across():
    """Parallax of 2 px: 1 px along it scores 1 / 0.9, 1 px across 1 / 0.6, 1 px of none 1 / 0.5."""
    flow = sideways()
    flow[5, 5, 0] += 1
    flow[5, 9, 1] += 1
    law = replace(LAW, evidence="gap", window=1)
    scores = np.array([1 / 0.9, 1 / 0.6, 2])
    odds = 33.75 * np.exp((0.3 - scores) * (5 - 1 / 1.5))  # 0.9 * 1.5 / (2 * 0.2 * 0.1)
    wanted = odds / (1 + odds)
    stream = MovingStream(SaysFlow(flow, law))
    stream.process(texture(), depth_of(0), T_world_cam=pose(0))
    found = stream.process(texture(), depth_of(0.1), T_world_cam=pose(0.2)).probability
    assert found[5, [5, 9]] == pytest.approx(wanted[:2], abs=1e-4)
    stream.engine.said = SmallFlow(flow - sideways(), None)  # the camera stands
    found = stream.process(texture(), depth_of(0.2), T_world_cam=pose(0.2)).probability
    assert found[5, [5, 9]] == pytest.approx(wanted[2], abs=1e-4)


def test_a_real_engine_and_bad_frames(tmp_path):
    """The same with an engine on a file; what is no frame is refused, a closed engine says so."""
    with FlowEngine.open(write_flow(tmp_path / "flow.onnx", size=SIZE, static_law=LAW)) as engine:
        assert engine.manifest.static_law == LAW
        stream = MovingStream(engine)
        for stamp, x in ((0.0, 0.0), (0.1, 0.2)):
            result = stream.process(texture() // 20, depth_of(stamp), T_world_cam=pose(x))
        assert result.probability.shape == SIZE and result.timing.network_ms > 0
        with pytest.raises(DataError, match="must be RGB"):
            stream.process(texture()[..., 0], depth_of(0.2), T_world_cam=pose(0))
    with pytest.raises(EngineError, match="closed"):
        stream.process(texture(), depth_of(0.2), T_world_cam=pose(0.2))
