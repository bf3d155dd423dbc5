# SPDX-License-Identifier: Apache-2.0
"""What is named where a depth model is named, and what each kind needs."""

import pytest
from fake_sweep import FakeSweep
from onnx_makers import write_mono, write_pair

from depthkit.errors import ConfigError
from depthkit.runtime.config import BaselineConfig
from depthkit.runtime.depth.depth_engine import DepthEngine
from depthkit.runtime.depth.depth_method import network_method, sweep_method
from depthkit.runtime.depth.depth_stream import DepthStream


def test_the_sweep_needs_poses_of_any_unit(fake_sweep: type[FakeSweep]) -> None:
    """It runs on numba, has no scale of its own, and takes a longer gap than its own."""
    with sweep_method(threads=2) as method:
        assert (method.kind, method.engine, method.own_scale) == ("sweep", None, None)
        assert method.uses_motion and method.needs_poses and method.takes_relative_poses
        assert (method.runs_on.name, method.runs_on.threads) == ("numba", 2)
        source = method.build(max_gap=7.5)
    assert isinstance(source, FakeSweep) and source.config.max_gap == 7.5


def test_quality_is_the_working_size(fake_sweep: type[FakeSweep]) -> None:
    """A quarter, half, or all of the camera's width."""
    shrinks = [sweep_method(word).sweep.shrink for word in ("fast", "normal", "fine")]
    assert shrinks == [4, 2, 1]
    with pytest.raises(ConfigError, match="quality: one of fast, normal, fine, got 'best'"):
        sweep_method("best")


def test_networks_say_what_they_need(tmp_path) -> None:
    """Pairs take motion and its scale, single frames have their own."""
    with network_method(DepthEngine.open(write_pair(tmp_path / "pair.onnx"))) as pair:
        assert pair.uses_motion and not pair.needs_poses and pair.own_scale is None
        stream = pair.build(BaselineConfig(rule="nearest"), max_gap=3.0)
        assert isinstance(stream, DepthStream)
        assert (stream.config.rule, stream.config.max_gap) == ("nearest", 3.0)
    file = write_mono(tmp_path / "mono.onnx", scale="metric")
    with network_method(DepthEngine.open(file)) as mono:
        assert not mono.uses_motion and mono.own_scale == "metric"
        assert mono.runs_on.name.startswith("onnxruntime")


def test_warming_up_runs_the_sweep_and_leaves_no_trace(fake_sweep: type[FakeSweep]) -> None:
    """Three frames with parallax through a stream of its own; a network needs none."""
    method = sweep_method("fast")
    method.warm_up()
    (used,) = fake_sweep.made
    assert [motion.T_world_cam[0, 3] for motion in used.told] == pytest.approx([0.0, 0.1, 0.2])
    assert method.build() is not used
