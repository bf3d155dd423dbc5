# SPDX-License-Identifier: Apache-2.0
"""Depth of the sweep as a teacher: weights by hand, one unit, made once, refusals."""

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_run import batch_of, read_log, small_config
from torch import nn

from depthkit.data.augment import mirror, zoom_and_crop
from depthkit.data.poses_note import PosesNote, save_poses_note
from depthkit.data.sequence import open_sequence
from depthkit.data.snippet import collate
from depthkit.data.snippet_loading import SnippetDataset
from depthkit.data.teacher_maps import TeacherWriter, open_teacher
from depthkit.errors import ConfigError, DataError
from depthkit.losses.supervised import taught_loss
from depthkit.pipelines import teach
from depthkit.pipelines.teach import _spread, make_teachers, sweep_settings
from depthkit.pipelines.train import describe, train
from depthkit.runtime.result import DepthResult
from depthkit.tasks import build_task
from depthkit.training import loop
from depthkit.training.data import open_run_data
from depthkit.training.motion_unit import fix_unit

TAUGHT = ("supervised.teacher=sweep", "loss.motion=known", "loss.auto_mask=false")
MONO = ("task=supervised_mono", "supervised.teacher=sweep")


class Oracle:
    """A depth source that says the true depth of a world, sure of the left half alone."""

    def __init__(self, root: Path, *, sigma: float = 0.05) -> None:
        self.sequence, self.sigma = open_sequence(root), sigma
        self.asked: list[int] = []
        self.resets = 0

    def reset(self) -> None:
        """Count."""
        self.resets += 1

    def process(self, rgb, *, stamp, K, motion) -> DepthResult:
        """Answer in the unit of the poses, from the second frame on."""
        i = int(np.argmin(np.abs(self.sequence.times - stamp)))
        self.asked.append(i)
        np.testing.assert_array_equal(motion.T_world_cam, self.sequence.poses[i])
        depth = self.sequence.read_depth(i)
        sigma = np.full(depth.shape, self.sigma, np.float32)
        sigma[:, depth.shape[1] // 2 :] = 0.5
        empty = i == 0
        return DepthResult(
            depth=None if empty else depth,
            valid=None if empty else np.ones(depth.shape, bool),
            confidence=None,
            K=K,
            scale="metric",
            scale_source="",
            stamp=stamp,
            reason="no past frame yet" if empty else "",
            sigma=None if empty else sigma,
        )


@pytest.fixture
def room(world, tmp_path):
    """A copy of the world, whose folder may be written to."""
    return Path(shutil.copytree(world, tmp_path / "room"))


@pytest.fixture
def oracle(room, monkeypatch):
    """The true depth in place of the sweep."""
    found = Oracle(room)
    monkeypatch.setattr(teach, "_sweep", lambda settings: found)
    return found


# --- the loss ------------------------------------------------------------------------------------


def maps(*rows: list[float], dtype=torch.float32) -> list[torch.Tensor]:
    """Return each row as a map of one row of pixels."""
    return [torch.tensor(row, dtype=dtype)[None, None, None] for row in rows]


def test_a_teacher_weighs_by_its_sigma():
    """Twice too far at sigma 0.1 (weight 10), right at 0.05 (weight 20), one unknown: ln 2 / 3."""
    pred, truth, sigma = maps([2.0, 3.0, 9.0], [1.0, 3.0, 0.0], [0.1, 0.05, 0.0])
    assert float(taught_loss(pred, truth, sigma)) == pytest.approx(math.log(2) / 3, rel=1e-6)
    # Surer than a percent counts as a percent: weights 100 and 100.
    pred, truth, sigma = maps([2.0, 3.0], [1.0, 3.0], [1e-5, 0.01])
    assert float(taught_loss(pred, truth, sigma)) == pytest.approx(math.log(2) / 2, rel=1e-6)


def test_gradients_of_a_teacher_are_exact_and_nothing_where_unknown():
    """d/dp = sign / (p sigma sum of weights), by hand and by differences."""
    pred, truth, sigma = maps(
        [2.0, 3.0, 9.0], [1.0, 4.0, 0.0], [0.1, 0.05, 0.0], dtype=torch.float64
    )
    pred.requires_grad_()
    taught_loss(pred, truth, sigma).backward()
    expected = [10 / 30 / 2, -20 / 30 / 3, 0.0]
    assert pred.grad.flatten().tolist() == pytest.approx(expected)
    assert torch.autograd.gradcheck(lambda p: taught_loss(p, truth, sigma), (pred,))


def test_a_teacher_that_knows_nothing_costs_nothing():
    """No known pixel: 0, with a gradient of zeros."""
    pred, truth, sigma = maps([2.0, 3.0], [0.0, 0.0], [0.0, 0.0])
    pred.requires_grad_()
    loss = taught_loss(pred, truth, sigma)
    loss.backward()
    assert float(loss.detach()) == 0 and pred.grad.abs().sum() == 0


# --- the maps ------------------------------------------------------------------------------------


def test_maps_come_back_as_written(room):
    """Depth to a step of its scale, sigma to 1e-4, in a unit scaled by a factor; 0 is unknown."""
    sequence = open_sequence(room)
    depth = np.array([[0.0, 1.2345, 7.0]])
    with TeacherWriter(sequence, "abc", 1000.0) as writer:
        writer.add("000003", depth, np.array([[0.7, 0.05, 0.02]]))
    teacher = open_teacher(sequence)
    assert teacher.made_of == "abc" and teacher.read("000004", 4) is None
    scaled = replace(teacher, factors=np.full(24, 0.5))
    for each, factor in ((teacher, 1.0), (scaled, 0.5)):
        found, sigma = each.read("000003", 3)
        np.testing.assert_allclose(found, depth * factor, atol=6e-4)
        np.testing.assert_allclose(sigma, [[0, 0.05, 0.02]], atol=1e-6)
    assert not list(room.glob(".teacher*"))


def test_an_interrupted_teacher_leaves_nothing(room):
    """Half of the maps are none."""
    with pytest.raises(KeyboardInterrupt), TeacherWriter(open_sequence(room), "a", 1.0) as writer:
        writer.add("000003", np.ones((2, 2)), np.ones((2, 2)))
        raise KeyboardInterrupt
    assert open_teacher(open_sequence(room)) is None and not list(room.glob(".teacher*"))


def test_the_sweep_is_asked_once_and_again_after_new_poses(room, oracle):
    """Every posed frame, one segment; the next run reads; other poses are other maps."""
    config = small_config(room, *TAUGHT)
    notes = []
    make_teachers(config, replace(teach.SILENT, note=notes.append))
    assert oracle.asked == list(range(24)) and oracle.resets == 1
    assert notes == ["room: the sweep is sure of 48% of the pixels"]  # half, but of the first
    before = open_teacher(oracle.sequence).read("000007", 7)
    make_teachers(config)
    assert len(oracle.asked) == 24
    save_poses_note(room, PosesNote("given", "metric", ((0, 11), (12, 23))))
    make_teachers(config)
    assert len(oracle.asked) == 48 and oracle.resets == 3
    np.testing.assert_allclose(open_teacher(oracle.sequence).read("000007", 7), before, rtol=5e-3)


def test_only_what_the_sweep_is_sure_of_teaches(room, oracle):
    """The left half of a frame holds the true depth with its sigma, the right nothing."""
    config = small_config(room, *TAUGHT)
    make_teachers(config)
    data = open_run_data(config.data, seed=0, known_motion=True, taught=True)
    snippet = data.train.plain()[(5, 0)]
    depth, sigma = snippet.taught
    np.testing.assert_allclose(depth[:, :48], snippet.depth_gt[0, :, :48], rtol=2e-3)
    assert (depth[:, 48:] == 0).all() and (sigma[:, 48:] == 0).all()
    assert sigma[:, :48].unique().tolist() == pytest.approx([0.05])


def test_the_teacher_follows_every_change_of_a_snippet(room, oracle):
    """Mirrored, enlarged and cropped as the known depth is."""
    config = small_config(room, *TAUGHT)
    make_teachers(config)
    snippet = open_run_data(config.data, seed=0, known_motion=True, taught=True).train.plain()[
        (5, 0)
    ]
    marked = replace(snippet, depth_gt=snippet.taught[:1].clone())
    for changed in (mirror(marked), zoom_and_crop(marked, 1.3, np.array([0.2, 0.7]))):
        assert torch.equal(changed.taught[:1], changed.depth_gt) and (changed.taught > 0).any()
    untaught = replace(snippet, taught=torch.zeros(2, 0, 0))
    assert zoom_and_crop(mirror(untaught), 1.2, np.zeros(2)).taught.shape == (2, 0, 0)


def test_poses_up_to_scale_take_the_teacher_along(room, oracle):
    """Known motion brings each segment to usual depth 1; the teacher's depth by the same factor."""
    save_poses_note(room, PosesNote("odometry", "up_to_scale", ((0, 11), (12, 23))))
    config = small_config(room, *TAUGHT)
    make_teachers(config)
    data = open_run_data(config.data, seed=0, known_motion=True, taught=True)
    (scaled,), unit = fix_unit([open_sequence(room)], (-1, 1))
    for place in (3, 15):
        frame = data.train.index[place][1]
        snippet = data.train.plain()[(place, 0)]
        known = snippet.taught[0] > 0
        ratio = (snippet.taught[0] / snippet.depth_gt[0])[known].median()
        assert float(ratio) == pytest.approx(unit.factors[0][frame], rel=2e-3)
    assert unit.factors[0][0] != unit.factors[0][23]


# --- the tasks -----------------------------------------------------------------------------------


class SaysDepth(nn.Module):
    """A depth network that says one map at one scale."""

    def __init__(self, depth: torch.Tensor) -> None:
        super().__init__()
        self.inverse = nn.Parameter(1 / depth)

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Answer, whatever the image."""
        return [self.inverse]


@pytest.mark.parametrize("words", [TAUGHT, MONO])
@pytest.mark.parametrize("factor", [1.0, 1.2])
def test_a_task_pays_the_relative_error(room, words, factor):
    """True depth costs nothing beside the rebuilt views, 20 % too far ln 1.2 times the weight."""
    config = small_config(room, *words, "loss.teacher_weight=0.5", "supervised.scale_weights=[0.5]")
    shifts = () if config.single_view else (-1, 1)
    snippet = batch_of(SnippetDataset([open_sequence(room)], shifts=shifts, size=(64, 96)), 4, 9)
    sigma = torch.full_like(snippet.depth_gt, 0.05)
    snippet = replace(snippet, taught=torch.cat([snippet.depth_gt, sigma], 1))
    task = build_task(config, shifts)
    task.depth_net = SaysDepth(factor * snippet.depth_gt)
    output = task(snippet)
    paid = output.terms.get("loss/teacher", output.loss.detach())
    assert float(paid) == pytest.approx(0.5 * math.log(factor), abs=1e-6)
    output.loss.backward()
    assert task.depth_net.inverse.grad.isfinite().all()


@pytest.mark.parametrize("words", [TAUGHT, MONO])
def test_a_run_learns_from_the_sweep(room, oracle, tmp_path, words):
    """`depthkit.pipelines.train` asks the sweep, then trains; the checkpoint is metric."""
    config = small_config(room, *words, "optimizer.steps=6", "data.zoom=1.2")
    assert describe(config)[0].loss is not None and not (room / "teacher").exists()
    result = train(config, tmp_path / "run")
    assert result.steps == 6 and len(oracle.asked) == 24
    if words is TAUGHT:
        assert read_log(tmp_path / "run")[0]["loss/teacher"] > 0


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("supervised.teacher=sweep",), "has the unit of the poses; set loss.motion: known"),
        (("task=flow", "supervised.teacher=sweep"), "for tasks view_synthesis, supervised_mono"),
        (("supervised.teacher=lidar",), "supervised.teacher"),
        ((*TAUGHT, "loss.teacher_weight=-1"), "teacher_weight"),
    ],
)
def test_settings_that_do_not_fit_are_one_line(words, message):
    """Before anything is read."""
    with pytest.raises(ConfigError, match=message) as error:
        small_config(Path("unused"), *words)
    assert "\n" not in str(error.value)


def test_data_that_cannot_teach_are_one_line(room, tmp_path, monkeypatch):
    """An unsure sweep, several processes at once, no poses, poses up to scale for metres, and a
    loop that is started without the maps."""
    config = small_config(room, *TAUGHT)
    with pytest.raises(DataError, match="is sure of 0.0% of the pixels: too little parallax"):
        make_teachers(config, make_stream=lambda settings: Oracle(room, sigma=0.4))
    assert not (room / "teacher").exists()
    with pytest.raises(DataError, match="room: no depth of the sweep"):
        loop.train(config, tmp_path / "run")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(DataError, match="several processes would make it at once"):
        make_teachers(config)
    monkeypatch.delenv("WORLD_SIZE")
    save_poses_note(room, PosesNote("odometry", "up_to_scale", ((0, 23),)))
    monkeypatch.setattr(teach, "_sweep", lambda settings: Oracle(room))
    with pytest.raises(DataError, match="poses in metres, and these are up to scale"):
        train(small_config(room, *MONO), tmp_path / "run")
    (room / "poses.txt").unlink()
    for words in (TAUGHT, MONO):
        with pytest.raises(DataError, match=r"sweep needs poses \(poses.txt\).*prepare --poses"):
            train(small_config(room, *words), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_fast_camera_is_looked_at_now_and_then():
    """At 50 Hz every third frame, at 10 Hz each, over a pause too."""
    frames = np.arange(9)
    assert _spread(frames, frames / 50).tolist() == [0, 3, 6]
    assert _spread(frames, frames / 10).tolist() == frames.tolist()
    assert _spread(frames[[0, 1, 7, 8]], frames / 50).tolist() == [0, 7]


def test_views_are_compared_at_about_320_pixels(room):
    """Frames of 96 pixels as they are, of 640 at half size."""
    sequence = open_sequence(room)
    assert sweep_settings(sequence).shrink == 1
    large = replace(sequence, camera=sequence.camera.resized((480, 640)))
    assert sweep_settings(large).shrink == 2


# --- focal length --------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [TAUGHT, MONO])
def test_what_is_enlarged_is_answered_nearer(room, words):
    """96 pixels become 120: the network sees a scene 1.25 times nearer, and depth is its answer
    times 1.25, so that known lengths teach one scale whatever the zoom."""
    config = small_config(room, *words)
    shifts = () if config.single_view else (-1, 1)
    data = SnippetDataset([open_sequence(room)], shifts=shifts, size=(64, 96))
    snippet = zoom_and_crop(data[(5, 0)], 1.25, np.array([0.5, 0.5]))
    assert float(snippet.zoom) == 1.25 and float(data[(5, 0)].zoom) == 1
    fx = float(data[(5, 0)].K[0, 0])
    assert float(snippet.K[0, 0]) == pytest.approx(1.25 * fx)
    batch = collate([replace(snippet, taught=torch.zeros(2, 64, 96))])
    task = build_task(config, shifts).eval()
    task.depth_net = SaysDepth(torch.full((1, 1, 64, 96), 2.0))
    depth = task(batch).prediction.depth().detach()
    assert float(depth.mean()) == pytest.approx(2.5, rel=1e-6)


def test_learnt_motion_keeps_its_free_scale(room):
    """Where a pose network learns the scale beside depth nothing is multiplied."""
    config = small_config(room)
    data = SnippetDataset([open_sequence(room)], shifts=(-1, 1), size=(64, 96))
    batch = collate([zoom_and_crop(data[(5, 0)], 1.25, np.array([0.5, 0.5]))])
    task = build_task(config, (-1, 1)).eval()
    task.depth_net = SaysDepth(torch.full((1, 1, 64, 96), 2.0))
    assert float(task.find_depths(batch)[0].detach().mean()) == 0.5
