# SPDX-License-Identifier: Apache-2.0
"""The verdict at the end of a run: planted networks on a world with exact truth."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from small_run import read_log, small_config, write_config
from torch import nn

from depthkit.cli import main
from depthkit.data.held_tracks import depth_tracks, flow_tracks, move_points
from depthkit.data.poses_note import PosesNote
from depthkit.data.sequence import Sequence, open_sequence
from depthkit.data.snippet import Snippet
from depthkit.data.snippet_loading import SnippetDataset
from depthkit.evaluation.track_scores import (
    best_constant,
    reproject_points,
    sample_points,
    score_points,
)
from depthkit.geometry.rigid_flow import rigid_flow
from depthkit.tasks import Prediction, TaskOutput
from depthkit.training import loop, verdict
from depthkit.training.device import build_fabric
from depthkit.training.verdict import judge_run

LONG = "optimizer.steps=100"
ZERO = torch.zeros(())


class SaysTruth(nn.Module):
    """A task whose depth is a function of the true one."""

    def __init__(self, change) -> None:
        super().__init__()
        self.change = change

    def forward(self, snippet: Snippet, *, draws: bool = False) -> TaskOutput:
        """Answer in evaluation mode alone."""
        assert not self.training
        found = Prediction("depth", self.change(snippet.depth_gt), metric=False)
        return TaskOutput(ZERO, ZERO, {}, found)


class SaysFlow(nn.Module):
    """A task of flow that knows a share of the true flow."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, snippet: Snippet, *, draws: bool = False) -> TaskOutput:
        """Answer with the rigid flow of exact depth and motion."""
        flows = [
            rigid_flow(snippet.depth_gt, T_source_target=T, K=snippet.K).flow
            for T in snippet.T_source_target_gt.unbind(1)
        ]
        return TaskOutput(ZERO, ZERO, {}, flow=self.share * torch.stack(flows, 1))


def held_out(sequence: Sequence, shifts=(-2, 2)) -> SnippetDataset:
    """Return every frame as held out."""
    return SnippetDataset([sequence], shifts=shifts, size=(64, 96))


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Judge four frames, for speed."""
    monkeypatch.setattr(verdict, "FRAMES", 4)


def judge(sequence: Sequence, task: nn.Module, *words: str):
    """Judge a planted task."""
    config = small_config(Path("unused"), LONG, *words)
    return judge_run(task, held_out(sequence), config, build_fabric(config.run))


# --- the tracks ----------------------------------------------------------------------------------


def true_depth(sequence: Sequence, tracks, frame: int) -> np.ndarray:
    """Read the exact depth at the points."""
    places = move_points(tracks.pixels, tracks.size, sequence.camera.size)
    return sample_points(sequence.read_depth(frame), places)


def test_tracks_have_the_depth_of_the_scene(world):
    """With exact poses the median error of the points is under 5 %, in metres."""
    sequence = open_sequence(world)
    for frame in (0, 12, 23):
        tracks = depth_tracks(sequence, frame)
        assert tracks.has_unit and len(tracks.depth) > 50
        error = np.abs(tracks.depth / true_depth(sequence, tracks, frame) - 1)
        assert np.median(error) < 0.05


def test_without_poses_two_views_give_depth_up_to_a_factor(world):
    """The essential matrix of the tracks stands in; scaled by medians the depth is the same."""
    sequence = replace(open_sequence(world), poses=None)
    tracks = depth_tracks(sequence, 12)
    truth = true_depth(sequence, tracks, 12)
    scaled = tracks.depth * np.median(truth / tracks.depth)
    assert not tracks.has_unit and np.median(np.abs(scaled / truth - 1)) < 0.06
    assert np.linalg.norm(tracks.T_other_frame[:3, 3]) == pytest.approx(1)


def test_tracks_bridge_no_two_segments(world):
    """A frame alone in its segment has no other to be seen from."""
    note = PosesNote("odometry", "up_to_scale", ((0, 11), (12, 12), (13, 23)))
    assert depth_tracks(replace(open_sequence(world), note=note), 12) is None


def test_a_still_camera_gives_no_tracks_of_depth(world):
    """The same picture again and again: a rotation explains it, poses or not."""
    sequence = open_sequence(world)
    still = replace(sequence, frames=sequence.frames[:1] * 24)
    assert depth_tracks(replace(still, poses=None), 12) is None


def test_flow_of_tracks_is_that_of_the_scene(world):
    """In pixels of the sought size, beside the rigid flow of the exact depth and motion."""
    sequence = open_sequence(world)
    tracks = flow_tracks(sequence, 10, 12, (32, 48))
    assert tracks.pixels.max() < 48 and len(tracks.pixels) > 50
    K = sequence.camera.resized((32, 48)).K
    T = np.linalg.inv(sequence.poses[12]) @ sequence.poses[10]
    places = move_points(tracks.pixels, (32, 48), sequence.camera.size)
    depth = sample_points(sequence.read_depth(10), places)
    there = reproject_points(tracks.pixels, depth, K=K, T_other_frame=T)
    missed = np.linalg.norm(there - tracks.pixels - tracks.moved, axis=1)
    assert np.median(missed) < 0.1


# --- the scores ----------------------------------------------------------------------------------


def test_the_best_constant_is_the_best():
    """Of 1, 2, 4, 8 it is 1 or 2 (weights 1, 1/2, 1/4, 1/8: half of 1.875 is reached at 1)."""
    depth = np.array([4.0, 1.0, 8.0, 2.0])
    assert best_constant(depth) == 1.0
    rng = np.random.default_rng(0)
    depth = rng.uniform(1, 9, 101)
    errors = [np.mean(np.abs(c - depth) / depth) for c in np.linspace(1, 9, 801)]
    own = np.mean(np.abs(best_constant(depth) - depth) / depth)
    assert own <= min(errors) + 1e-12


def test_points_are_scored_by_hand():
    """Depths 2 and 4 said as 1 and 1: scaled by 3 they are off by 1/2 and 1/4; the camera moved by
    1 sideways at f = 100, so that 2 m are seen 50 px and 4 m 25 px to the left, 3 m 33.3 px."""
    T = np.eye(4)
    T[0, 3] = -1.0
    K = np.array([[100.0, 0, 0], [0, 100, 0], [0, 0, 1]])
    pixels = np.zeros((2, 2))
    seen = np.array([[-50.0, 0], [-25, 0]])
    score = score_points(
        np.ones(2), np.array([2.0, 4.0]), pixels=pixels, seen=seen, K=K, T_other_frame=T
    )
    assert score.abs_rel == pytest.approx((0.5 + 0.25) / 2)
    assert score.unscaled == pytest.approx((0.5 + 0.75) / 2)
    assert score.constant == pytest.approx((0 + 0.5) / 2)  # the constant 2
    assert score.reprojection == pytest.approx((50 / 3 + 25 / 3) / 2)
    assert score.reprojection_constant == pytest.approx(12.5)


def test_maps_are_read_between_pixels():
    """Bilinear inside, the border outside, and maps of several channels alike."""
    values = np.array([[0.0, 1.0], [2.0, 3.0]])
    pixels = np.array([[0.5, 0.5], [1.0, 0.25], [-3.0, 9.0]])
    assert sample_points(values, pixels).tolist() == [1.5, 1.5, 2.0]
    assert sample_points(np.dstack([values, values]), pixels)[:, 1].tolist() == [1.5, 1.5, 2.0]


# --- the verdict ---------------------------------------------------------------------------------


def test_true_depth_passes_with_its_figures(world):
    """In any unit it beats the constant by far, and reprojects to a pixel."""
    found = judge(open_sequence(world), SaysTruth(lambda z: 7 * z))
    assert found.learnt and found.abs_rel < 0.5 * found.abs_rel_constant
    assert found.reprojection_px < 0.3 * found.reprojection_px_constant
    assert found.frames == 4 and found.points > 200 and found.abs_rel_unscaled is None
    assert found.sentence.startswith("verdict: depth of held-out tracks is off by 0.0")


def test_metres_are_scored_without_scaling(world):
    """With known motion the unit is the poses': 20 % too far is 20 % off, and no loss of shape."""
    words = ("loss.motion=known", "loss.auto_mask=false")
    exact, far = (
        judge(open_sequence(world), SaysTruth(lambda z, k=k: k * z), *words) for k in (1.0, 1.2)
    )
    assert exact.abs_rel_unscaled < 0.08 and 0.18 < far.abs_rel_unscaled < 0.26
    assert far.abs_rel == pytest.approx(exact.abs_rel, abs=1e-4)


@pytest.mark.parametrize("change", [torch.ones_like, lambda z: 1 / z, torch.rand_like])
def test_what_learnt_nothing_is_told(world, change):
    """A constant, near and far swapped, noise: none is better than the best constant."""
    torch.manual_seed(0)
    found = judge(open_sequence(world), SaysTruth(change))
    assert found.learnt is False and found.abs_rel >= found.abs_rel_constant
    assert found.sentence.startswith("verdict: learnt nothing: depth of held-out tracks is off by")


def test_the_verdict_is_the_same_again(world):
    """Same input, same figures."""
    first, second = (judge(open_sequence(world), SaysTruth(lambda z: z)) for _ in range(2))
    assert first == second


def test_flow_is_judged_by_the_way_of_the_tracks(world):
    """True flow passes; 5 % of it is not 10 % better than none."""
    right, wrong = (judge(open_sequence(world), SaysFlow(share)) for share in (1.0, 0.05))
    assert right.learnt and right.flow_px < 0.2 * right.flow_px_still
    assert wrong.learnt is False and "learnt nothing: flow is off by" in wrong.sentence


def test_where_nothing_can_be_judged_it_says_why(world):
    """A short run, a camera that stands still, a scene at one depth."""
    sequence = open_sequence(world)
    short = judge(sequence, SaysTruth(lambda z: z), "optimizer.steps=99")
    still = replace(sequence, frames=sequence.frames[:1] * 24, poses=None)
    blind = judge(still, SaysTruth(lambda z: z))
    assert short.learnt is None and short.sentence.startswith("no verdict: 99 steps are a trial")
    assert blind.learnt is None and "too little texture or parallax" in blind.sentence


# --- runs ----------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch):
    """Let a run of one step be judged, and take no constant for one."""
    monkeypatch.setattr(verdict, "LEAST_STEPS", 1)
    monkeypatch.setattr(loop, "find_constant", lambda scores: None)


def test_a_run_that_learnt_nothing_exits_with_3(world, tmp_path, capsys, quick):
    """The sentence ends the run; verdict.yaml, the log and the JSON hold the figures."""
    settings = write_config(tmp_path / "config.yaml", world, "optimizer.steps=1")
    words = ["train", str(settings), "--run", str(tmp_path / "run")]
    assert main(words) == 3
    said = capsys.readouterr()
    assert "learnt nothing" in said.err.splitlines()[-1] and "next:" not in said.err
    kept = yaml.safe_load((tmp_path / "run" / "verdict.yaml").read_text())
    assert kept["learnt"] is False and kept["sentence"] in said.err
    assert kept["flow_px"] > 0  # of predicted depth and motion
    logged = read_log(tmp_path / "run")[-1]
    assert logged["verdict/abs_rel"] == kept["abs_rel"]
    shutil.rmtree(tmp_path / "run")
    assert main([*words, "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["verdict"] == kept


def test_a_trial_is_not_judged_and_exits_with_0(world, tmp_path, capsys, monkeypatch):
    """A few steps: the reason stands in verdict.yaml, and what to do next at the end."""
    monkeypatch.setattr(loop, "find_constant", lambda scores: None)
    settings = write_config(tmp_path / "config.yaml", world, "optimizer.steps=1")
    assert main(["train", str(settings), "--run", str(tmp_path / "run")]) == 0
    kept = yaml.safe_load((tmp_path / "run" / "verdict.yaml").read_text())
    assert kept["learnt"] is None and "1 steps are a trial" in kept["sentence"]
    assert "next:" in capsys.readouterr().err.splitlines()[-1]


def test_a_judged_run_that_learnt_ends_as_before(world, tmp_path, capsys, quick, monkeypatch):
    """Exit 0, and the verdict before the last line."""
    found = verdict.Verdict(True, "verdict: fine")
    monkeypatch.setattr(loop, "judge_run", lambda *args: found)
    settings = write_config(tmp_path / "config.yaml", world, "optimizer.steps=1")
    assert main(["train", str(settings), "--run", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().err
    assert "verdict: fine" in said and "next:" in said.splitlines()[-1]


PAIR = ("task=supervised_pair", "model.depth=depthnet", "model.width=0.125", "data.shifts=[-3]")
STABILIZED = ("task=stabilized_pair", *PAIR[1:3], "loss.auto_mask=false")
COOP = ("task=coop", "model.flow_width=0.25", "coop.warmup_steps=0")


@pytest.mark.parametrize(
    "words",
    [
        PAIR,
        pytest.param(COOP, marks=pytest.mark.slow),
        pytest.param(STABILIZED, marks=pytest.mark.slow),
        ("task=supervised_mono",),
        ("task=flow", "model.flow_width=0.25"),
        ("loss.motion=known", "loss.auto_mask=false"),
    ],
)
def test_every_task_is_judged(world, tmp_path, quick, words):
    """Depth of one frame, of a pair at its baseline, and flow: each gets figures of its kind."""
    result = loop.train(small_config(world, "optimizer.steps=1", *words), tmp_path / "run")
    found = result.verdict
    assert found.points > 100 and found.learnt is not None
    assert (found.abs_rel is None) == (words[0] == "task=flow")
    unit = words[0] in ("task=supervised_mono", "loss.motion=known")
    assert (found.abs_rel_unscaled is not None) == unit
