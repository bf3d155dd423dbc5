# SPDX-License-Identifier: Apache-2.0
"""Flow of two frames by a network whose answers are known by hand."""

import numpy as np
import pytest
from onnx_makers import write_flow, write_mono

from depthkit.errors import DataError, EngineError
from depthkit.runtime import DepthEngine, FlowEngine
from depthkit.runtime.flow.flow_engine import resize_flow
from depthkit.runtime.network.backend import check_parity, open_backend


def grey(level: int, size=(32, 48)) -> np.ndarray:
    """A frame of one colour."""
    return np.full((*size, 3), level, np.uint8)


@pytest.fixture
def engine(tmp_path):
    """u = brightness of the earlier frame / 10, v = of the later, at 32 x 48."""
    with FlowEngine.open(write_flow(tmp_path / "flow.onnx")) as opened:
        yield opened


def test_flow_is_of_the_pair_in_its_order(engine):
    """The first frame's pixels flow to the second; the time of each stage is told."""
    result = engine.flow(grey(20), grey(70))
    assert result.flow.shape == (32, 48, 2) and result.flow.dtype == np.float32
    assert result.flow[..., 0] == pytest.approx(2) and result.flow[..., 1] == pytest.approx(7)
    assert engine.flow(grey(70), grey(20)).flow[0, 0] == pytest.approx([7, 2])
    assert result.timing.network_ms > 0


def test_vectors_are_scaled_with_the_picture(engine):
    """A camera three times as wide and twice as high: u three times, v twice as long."""
    flow = engine.flow(grey(20, (64, 144)), grey(70, (64, 144))).flow
    assert flow.shape == (64, 144, 2)
    assert flow[..., 0] == pytest.approx(6) and flow[..., 1] == pytest.approx(14)


def test_resized_flow_leads_to_the_same_place():
    """A pixel and its partner, both moved to the other size by the one pixel convention."""
    v, u = np.mgrid[:8, :10].astype(np.float32)
    flow = np.stack([0.3 * u - 1, 0.2 * v], axis=-1)
    large = resize_flow(flow, (16, 30))
    place, there = np.array([9.5, 4.5]), np.array([9.5, 4.5]) + [0.3 * 9.5 - 1, 0.2 * 4.5]
    scale = np.array([3, 2])
    where = scale * (place + 0.5) - 0.5
    found = large[int(where[1]), int(where[0])] + where.astype(int)
    # Bilinear in a linear flow: exact up to the rounding of the place to a whole pixel.
    assert found == pytest.approx(scale * (there + 0.5) - 0.5, abs=1.5)


def test_what_is_not_known_stays_unknown(engine):
    """Where the network answers NaN there is NaN."""
    assert np.isnan(engine.flow(grey(255), grey(9)).flow[..., 0]).all()


@pytest.mark.parametrize(
    ("other", "line"),
    [(grey(1, (16, 48)), "got 48x32 and 48x16"), (grey(1)[..., 0], "must be RGB")],
)
def test_frames_that_have_no_flow_are_refused(engine, other, line):
    """Two sizes, or what is no colour frame: one line."""
    with pytest.raises(DataError, match=line):
        engine.flow(grey(1), other)


def test_other_kinds_are_named(tmp_path):
    """A depth network is none of flow, and the other way round; both say what to do."""
    mono, flow = write_mono(tmp_path / "mono.onnx"), write_flow(tmp_path / "flow.onnx")
    with pytest.raises(EngineError, match="kind flow, got mono; export one from a run"):
        FlowEngine.open(mono)
    with pytest.raises(EngineError, match="kind mono or pair, got flow"):
        DepthEngine.open(flow)


def test_a_network_without_a_mask_network_says_no_odds(engine):
    """As all files exported before there was one."""
    assert engine.network_flow(grey(1), grey(2)).static_odds is None


def test_closed_is_closed(engine):
    """A call after close is one line."""
    engine.close()
    with pytest.raises(EngineError, match="is closed"):
        engine.flow(grey(1), grey(2))


def test_a_pixel_is_the_least_that_flow_is_judged_by(tmp_path, monkeypatch):
    """Stored flow of 0: an answer of 1e-3 px off is 1e-3 off, not infinitely."""
    backend = open_backend(write_flow(tmp_path / "flow.onnx"))
    assert check_parity(backend).worst == 0
    run = backend.run
    monkeypatch.setattr(backend, "run", lambda x: {"flow": run(x)["flow"] + np.float32(1e-3)})
    parity = check_parity(backend)
    assert 1e-5 < parity.worst <= 1.5e-3 and not parity.holds
