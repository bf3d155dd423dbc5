# SPDX-License-Identifier: Apache-2.0
"""Runs on known motion: gaps are not bridged, the unit is fixed, checkpoints say what it is."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_run import curve, small_config

from depthkit.data.poses_note import PosesNote, save_poses_note
from depthkit.data.sequence import open_sequence, write_split
from depthkit.data.snippet_loading import SnippetDataset
from depthkit.data.sparse_depth import triangulate_points, usual_depth
from depthkit.errors import CheckpointError, DataError, EngineError
from depthkit.export.describe import name_scale
from depthkit.export.graphs import build_graph
from depthkit.models.checkpoint import read_checkpoint
from depthkit.tasks import build_task
from depthkit.tasks.loaded import load_task
from depthkit.training.data import open_run_data
from depthkit.training.loop import train
from depthkit.training.motion_unit import begin_at, fix_unit, with_known_motion
from depthkit.training.starts import load_start
from depthkit.trajectory import Trajectory, save_tum

KNOWN = ("loss.motion=known", "loss.auto_mask=false")
RELATIVE = PosesNote("odometry", "up_to_scale", ((0, 23),))


def copy(world: Path, path: Path, note: PosesNote | None = None, *, factor=1.0, gap=()) -> Path:
    """Copy the world, its translations times a factor, without the poses of some frames."""
    shutil.copytree(world, path)
    sequence = open_sequence(world)
    poses = np.array(sequence.poses)
    poses[:, :3, 3] *= np.broadcast_to(factor, len(poses))[:, None]
    kept = np.setdiff1d(np.arange(len(poses)), gap)
    save_tum(path / "poses.txt", Trajectory(sequence.times[kept], poses[kept]))
    if note is not None:
        save_poses_note(path, note)
    return path


# --- gaps and segments ---------------------------------------------------------------------------


def test_a_snippet_bridges_no_gap_and_no_two_segments(world, tmp_path):
    """Frame 9 has no pose and a segment ends at 15: by hand, these targets are left at [-2, 1]."""
    note = replace(RELATIVE, segments=((0, 15), (16, 23)))
    sequence = open_sequence(copy(world, tmp_path / "a", note, gap=[9]))
    known = np.flatnonzero(with_known_motion(sequence, (-2, 1)))
    assert known.tolist() == [2, 3, 4, 5, 6, 7, 10, 12, 13, 14, 18, 19, 20, 21, 22]
    data = SnippetDataset([sequence], shifts=(-2, 1), size=(64, 96))
    T = {frame: data[(i, 0)].T_source_target_gt for i, (_, frame) in enumerate(data.index)}
    assert all(T[frame].isfinite().all() for frame in known)
    assert T[15][0].isfinite().all() and T[15][1].isnan().all()


def test_the_run_takes_those_targets_and_holds_out_the_last_of_them(world, tmp_path):
    """Nothing between frames of two segments teaches or is judged."""
    note = replace(RELATIVE, segments=((0, 15), (16, 23)))
    root = copy(world, tmp_path / "a", note, gap=[9])
    config = small_config(root, *KNOWN, "data.shifts=[-2,1]")
    data = open_run_data(config.data, seed=0, known_motion=True)
    assert [frame for _, frame in data.val.index] == [22]
    assert len(data.train) == 14
    assert all(bool(data.train[(i, 0)].T_source_target_gt.isfinite().all()) for i in range(14))


# --- the unit ------------------------------------------------------------------------------------


def test_the_usual_depth_is_that_of_the_scene(world):
    """Triangulated points of exact poses: corners are not all pixels, so within 25 % of
    the true median depth."""
    sequence = open_sequence(world)
    depth, way = usual_depth(sequence, 0, 2)
    true = np.median([np.median(sequence.read_depth(i)) for i in range(24)])
    assert depth == pytest.approx(true, rel=0.25) and way == "median depth of tracked points"


def test_points_are_triangulated_exactly():
    """Four points by hand: sideways, forwards, too far for parallax, and a wrong match."""
    K = np.array([[100.0, 0, 50], [0, 100, 40], [0, 0, 1]])
    T = np.eye(4)
    T[:3, 3] = [-0.5, 0, -0.2]
    points = np.array([[0.3, -0.2, 2.0], [1.0, 0.5, 5.0], [10.0, 5.0, 400.0], [0.3, -0.2, 2.0]])
    a, b = ((p @ K.T)[:, :2] / p[:, 2:] for p in (points, points + T[:3, 3]))
    b[3, 1] += 30
    depth, far = triangulate_points(a, b, T, K)
    assert far.tolist() == [False, False, True]
    assert depth[:2] == pytest.approx([2.0, 5.0], rel=1e-9)
    assert 20 < depth[2] < 400


def test_poses_up_to_scale_come_to_one_unit(world, tmp_path):
    """Whatever the factors of two segments, motions are those of usual depth 1 in each."""
    note = replace(RELATIVE, segments=((0, 11), (12, 23)))
    factor = np.repeat([7.0, 0.02], 12)
    scaled = open_sequence(copy(world, tmp_path / "a", note, factor=factor))
    plain = open_sequence(copy(world, tmp_path / "b", note))
    (first,), unit = fix_unit([scaled], (-2, 2))
    (second,), _ = fix_unit([plain], (-2, 2))
    steps = [np.diff(s.poses[:12, :3, 3], axis=0) for s in (first, second)]
    np.testing.assert_allclose(steps[0], steps[1], rtol=1e-4, atol=1e-6)
    assert usual_depth(first, 1, 2)[0] == pytest.approx(1, rel=1e-4)
    assert (unit.metric, unit.depth) == (False, 1.0)
    assert unit.source == "none: median depth of tracked points of each training segment is 1"


def test_metric_poses_stay_metres(world):
    """They are not touched, and the network begins at the usual depth in metres."""
    sequence = open_sequence(world)
    (same,), unit = fix_unit([sequence], (-2, 2))
    np.testing.assert_array_equal(same.poses, sequence.poses)
    assert unit.metric and unit.depth == usual_depth(sequence, 0, 2)[0]


def test_without_parallax_the_baseline_stands_in(world, tmp_path):
    """Steps of a ten thousandth leave every point too far: 20 baselines are one unit."""
    root = copy(world, tmp_path / "a", RELATIVE, factor=1e-4)
    sequence = open_sequence(root)
    turned = np.array(sequence.poses)
    turned[:, :3, :3] = np.eye(3)
    still = replace(sequence, poses=turned, frames=sequence.frames[:1] * 24)
    depth, way = usual_depth(still, 0, 2)
    steps = np.linalg.norm(turned[2:, :3, 3] - turned[:-2, :3, 3], axis=1)
    assert depth == pytest.approx(20 * np.median(steps)) and way == "20 x the median baseline"


@pytest.mark.parametrize("depth", [0.2, 1.0, 30.0])
def test_a_network_begins_at_the_usual_depth(depth):
    """Its fresh answer is that depth within a factor of 1.5, all over."""
    torch.manual_seed(0)
    task = build_task(small_config(Path("unused"), *KNOWN), (-1, 1)).eval()
    begin_at(task.depth_net, depth)
    answer = 1 / task.depth_net(torch.rand(1, 3, 64, 96))[0].detach()
    assert depth / 1.5 < float(answer.min()) <= float(answer.max()) < 1.5 * depth


# --- refusals ------------------------------------------------------------------------------------


def broken(world: Path, path: Path, kind: str) -> Path:
    """Write data that known motion cannot use."""
    match kind:
        case "none":
            copy(world, path / "a").joinpath("poses.txt").unlink()
        case "sparse":
            copy(world, path / "a", gap=range(1, 24, 2))
        case "still":
            copy(world, path / "a", factor=0.0)
        case "mixed":
            copy(world, path / "b", RELATIVE)
            copy(world, path / "a")
            write_split(path, train=["a", "b"])
            return path
        case "far":
            copy(world, path / "a", factor=1e4)
    return path / "a"


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("none", "loss.motion needs poses .*prepare --poses odometry"),
        ("sparse", r"poses of all sources \[-1, 1\] known in one segment \(12 of 24"),
        ("still", "the camera never moves between frames 1 apart in a"),
        ("mixed", "poses of a are metres and those of b up to scale"),
        ("far", "the usual depth is .* set model.min_depth and max_depth"),
    ],
)
def test_what_known_motion_cannot_use_is_one_line(world, tmp_path, kind, message):
    """Before the first step, with what to do."""
    root = broken(world, tmp_path, kind)
    with pytest.raises(DataError, match=message) as error:
        train(small_config(root, *KNOWN), tmp_path / "run")
    assert "\n" not in str(error.value)


# --- runs ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def refined(world, tmp_path_factory) -> Path:
    """A short run with corrections on poses up to scale."""
    folder = tmp_path_factory.mktemp("refined")
    root = copy(world, folder / "world", RELATIVE, factor=3.0)
    words = ("loss.motion=refined", "loss.auto_mask=false", "run.save_every=2")
    train(small_config(root, *words), folder / "run")
    return folder / "run"


def test_a_run_on_metric_poses_is_metric_and_has_no_pose_part(world, tmp_path):
    """Scale and its source stand in the checkpoint; --part pose is refused in one line."""
    train(small_config(world, *KNOWN, "optimizer.steps=2"), tmp_path / "run")
    loaded = load_task(tmp_path / "run")
    graph = build_graph(loaded, "depth", dynamic=False)
    assert name_scale(loaded, graph) == ("metric", "known poses in training, metres")
    with pytest.raises(EngineError, match="no pose; take its depth"):
        build_graph(loaded, "pose", dynamic=False)


def test_corrections_stay_with_the_training_set(refined):
    """They are in the checkpoint, taught, and no part of the task that is loaded from it."""
    tensors, state = read_checkpoint(refined / "checkpoints" / "last.safetensors")
    table = tensors["task.motion.table"]
    assert table.shape == (2 * 21, 6) and table.abs().max() > 0
    assert state["scale"] == "relative" and "of each training segment is 1" in state["scale_source"]
    assert load_task(refined).task.motion.table is None


def test_a_refined_run_goes_on_exactly(refined, tmp_path):
    """Stopped after two steps and resumed, it has the curve of the uninterrupted one."""
    root = refined.parent / "world"
    words = ("loss.motion=refined", "loss.auto_mask=false", "run.save_every=2")
    train(small_config(root, *words, "optimizer.steps=2"), tmp_path / "run")
    train(small_config(root, *words), tmp_path / "run", resume=True)
    whole, resumed = curve(refined), curve(tmp_path / "run")
    last = {key: value for key, value in whole.items() if key[0] >= 3}
    assert last and all(resumed[key] == value for key, value in last.items())


def test_runs_start_from_each_other_whatever_the_motion(trained, refined):
    """Depth goes over; from or to a run without pose network no pose weights are asked for."""
    words = {"known": KNOWN, "learnt": ()}
    for motion, source in (("known", trained), ("learnt", refined), ("known", refined)):
        task = build_task(small_config(Path("unused"), *words[motion]), (-1, 1))
        load_start(task, source, name="view_synthesis")
        tensors, _ = read_checkpoint(source / "checkpoints" / "last.safetensors")
        for name, value in task.depth_net.state_dict().items():
            assert torch.equal(value, tensors[f"task.depth_net.{name}"])


def test_a_run_cannot_change_its_motion_when_resumed(refined):
    """Learnt and known motion are other networks: resuming says which part differs."""
    config = small_config(refined.parent / "world", "optimizer.steps=6")
    with pytest.raises(CheckpointError, match="another loss.motion"):
        train(config, refined, resume=True)
