# SPDX-License-Identifier: Apache-2.0
"""From a name to an engine: runs are exported on the way, and answer as torch does."""

import argparse
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from runtime.onnx_makers import write_mono
from small_run import small_config, write_world
from torch_predictors import PairPredictor, Predictor, load_predictor

from depthkit.cli import arguments, main
from depthkit.data.sequence import open_sequence
from depthkit.errors import CheckpointError, EngineError
from depthkit.pipelines import models as engines
from depthkit.pipelines.models import (
    EngineOptions,
    has_own_pose,
    needs_export,
    open_depth,
    open_flow,
    open_odometry,
)
from depthkit.rigid import inverse
from depthkit.runtime.depth.one_pair import depth_of_pair
from depthkit.runtime.network import manifest
from depthkit.tasks import loaded as predict
from depthkit.tasks.loaded import load_task
from depthkit.training.loop import train
from depthkit.trajectory import load_tum

Output = pytest.CaptureFixture[str]
PAIR = ("task=supervised_pair", "model.depth=depthnet", "model.width=0.125", "data.shifts=[-3]")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sequence with depth and poses."""
    return write_world(tmp_path_factory.mktemp("world") / "room")


@pytest.fixture(scope="module")
def run(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one step that learns depth and motion."""
    path = tmp_path_factory.mktemp("run") / "run"
    train(small_config(world, "optimizer.steps=1", "run.validate_every=1"), path)
    return path


def test_a_part_that_a_run_has_not_is_not_called_exported(run: Path, capsys: Output):
    """open_flow of a run without flow: the error alone."""
    with pytest.raises(EngineError, match="no flow"):
        open_flow(run)
    assert capsys.readouterr().err == ""


def test_a_run_is_exported_on_the_way(run: Path, world: Path, tmp_path: Path, capsys: Output):
    """infer RUN: one note, depth and chained motion as torch gives them, nothing left behind."""
    words = ["infer", run, world, "--out", tmp_path / "out", "--trajectory", "tum", "--every", 8]
    assert main([str(word) for word in words]) == 0
    assert "exported to a temporary ONNX file" in capsys.readouterr().err
    predictor, sequence = load_predictor(run), open_sequence(world)
    assert isinstance(predictor, Predictor)
    frames = [sequence.read_frame(i) for i in (0, 8, 16)]
    with open_depth(run) as engine:
        for rgb in frames:
            depth = engine.depth(rgb).depth
            assert depth is not None
            np.testing.assert_allclose(depth, predictor.depth(rgb), rtol=1e-4)
    pose = np.eye(4)
    for before, now in zip(frames, frames[1:], strict=False):
        pose = pose @ inverse(predictor.relative_pose(before, now))
    found = load_tum(tmp_path / "out/trajectory_tum.txt").T_world_cam
    np.testing.assert_allclose(found[-1], pose, atol=1e-5)


def test_a_pair_run_is_exported_too(world: Path, tmp_path: Path, capsys: Output) -> None:
    """A pair network's run answers as torch does, and has no motion to give."""
    train(small_config(world, *PAIR, "optimizer.steps=1"), tmp_path / "run")
    predictor, sequence = load_predictor(tmp_path / "run"), open_sequence(world)
    assert isinstance(predictor, PairPredictor) and sequence.poses is not None
    frames, K = [sequence.read_frame(i) for i in (4, 5)], sequence.camera.K
    T = inverse(sequence.poses[5]) @ sequence.poses[4]
    with open_depth(tmp_path / "run") as engine:
        depth = depth_of_pair(engine, *frames, T_current_previous=T, K=K).depth
    expected = predictor.depth(*frames, T_current_previous=T, K=K)
    # Turned at another size and rounded to whole levels: a few pixels differ by more.
    assert depth is not None and np.median(np.abs(depth - expected) / expected) < 2e-2
    with pytest.raises(EngineError, match="learnt depth alone"):
        open_odometry(tmp_path / "run")


def test_motion_that_no_robot_can_ask_for_is_none(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pose network of whole snippets: `infer --rerun` asks for none, and so does not fail."""
    assert has_own_pose(run)
    net: Any = SimpleNamespace(pose_net=object(), pairwise=False)
    snippets = replace(load_task(run), task=net)
    monkeypatch.setattr(predict, "load_task", lambda _: snippets)
    assert not has_own_pose(run)


def test_names_are_told_apart(tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files and shipped files run as they are, runs and shipped weights are exported, others are
    an error that lists the names there are; a file of that name here comes first."""
    monkeypatch.setattr(manifest, "SHIPPED", tmp_path)
    monkeypatch.chdir(tmp_path)
    write_mono(tmp_path / "ready.onnx")
    (tmp_path / "raw.safetensors").write_bytes(b"")
    assert not needs_export(Path("ready")) and not needs_export(tmp_path / "ready.onnx")
    assert needs_export(Path("raw")) and needs_export(run)
    assert needs_export(run / "checkpoints/last.safetensors")
    with pytest.raises(CheckpointError, match=r"shipped name \(raw, ready\)"):
        needs_export(Path("rea"))
    (tmp_path / "ready").mkdir()
    assert needs_export(Path("ready"))
    assert open_depth(tmp_path / "ready.onnx").kind == "mono"


def test_threads_follow_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """OMP_NUM_THREADS where it is a number, else the cores this process may use."""
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert engines.default_threads() == 3
    for nonsense in ("", "0", "all"):
        monkeypatch.setenv("OMP_NUM_THREADS", nonsense)
        assert engines.default_threads() >= 1
    parser = argparse.ArgumentParser()
    arguments.add_engine_arguments(parser)
    args = parser.parse_args(["--threads", "2", "--backend", "openvino"])
    assert engines.engine_options(**vars(args)) == EngineOptions("openvino", 2, "default")


def test_words_are_those_of_the_runtime() -> None:
    """The lists that --help shows without loading the runtime are the runtime's own."""
    from typing import get_args

    from depthkit.runtime import config
    from depthkit.runtime.network import backend

    assert (arguments.BACKENDS, arguments.PRECISIONS) == (backend.BACKENDS, backend.PRECISIONS)
    assert get_args(config.Rule) == arguments.RULES
