# SPDX-License-Identifier: Apache-2.0
"""The task: the truth costs next to nothing, every option runs, known motions give the scale."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_run import ZHOU, batch_of, small_config, write_world
from torch import Tensor, nn

from depthkit.config import TrainConfig
from depthkit.data.sequence import open_sequence
from depthkit.data.snippet import Snippet
from depthkit.data.snippet_loading import SnippetDataset
from depthkit.errors import ConfigError
from depthkit.geometry.se3 import inverse, log_so3
from depthkit.models.pose_net import PoseOutput
from depthkit.tasks import TaskOutput, build_task
from depthkit.tasks.view_synthesis import ViewSynthesis

SHIFTS = (-1, 1)
L1 = ("loss.ssim_weight=0", "loss.smoothness_weight=0", "loss.scales=1")
PLAIN = ("loss.auto_mask=false", "loss.reduction=minimum")


class TrueDepth(nn.Module):
    """Answers with the truth, times a factor, at one scale."""

    def __init__(self, depth: Tensor, factor: float = 1.0) -> None:
        super().__init__()
        self.inverse_depth = 1 / (factor * depth)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the target's inverse depth; whatever the image. (B, 1, H, W)"""
        return [self.inverse_depth]


class TruePose(nn.Module):
    """Answers with the true motions of the pairs, which come in time order, source by source."""

    def __init__(self, snippet: Snippet, factor: float = 1.0) -> None:
        super().__init__()
        before, after = snippet.T_source_target_gt.unbind(1)
        T = torch.cat([inverse(before), after])  # later frame from earlier
        self.vectors = torch.cat([log_so3(T[:, :3, :3]), factor * T[:, :3, 3]], 1)

    def forward(self, pairs: Tensor) -> PoseOutput:
        """Return the motions, (S*B, 1, 6)."""
        return PoseOutput(self.vectors[:, None])


class NoPose(nn.Module):
    """Answers every pair with the identity."""

    def forward(self, pairs: Tensor) -> PoseOutput:
        """Return zeros, (S*B, 1, 6)."""
        return PoseOutput(torch.zeros(len(pairs), 1, 6))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> SnippetDataset:
    """Snippets of the box world with exact depth and poses."""
    sequence = open_sequence(write_world(tmp_path_factory.mktemp("world") / "room"))
    return SnippetDataset([sequence], shifts=SHIFTS, size=(64, 96))


@pytest.fixture(scope="module")
def snippet(data) -> Snippet:
    """Three targets, far apart."""
    return batch_of(data, 2, 9, 16)


def build(*words: str, seed: int = 0) -> ViewSynthesis:
    """Return a task of the small networks."""
    torch.manual_seed(seed)
    return build_task(config(*words), SHIFTS)


def config(*words: str) -> TrainConfig:
    """Return the small configuration; the data are not opened by it."""
    return small_config(Path("unused"), *words)


def with_truth(snippet: Snippet, *words: str, factor: float = 1.0) -> ViewSynthesis:
    """Return a task whose networks say the truth, depth and baseline times a factor."""
    task = build(*L1, *PLAIN, *words)
    task.depth_net = TrueDepth(snippet.depth_gt, factor)
    task.pose_net = TruePose(snippet, factor)
    return task


def photometric(output: TaskOutput) -> float:
    """Return the photometric loss."""
    return float(output.terms["loss/photometric"])


# --- exact truth ---------------------------------------------------------------------------------


def test_the_truth_costs_next_to_nothing(snippet):
    """True depth and motion rebuild the target to under 1 % of the range; no motion does not."""
    task = with_truth(snippet)
    truth = photometric(task(snippet))
    task.pose_net = NoPose()
    still = photometric(task(snippet))
    assert truth < 0.01 and still > 5 * truth


def test_the_truth_is_better_than_its_neighbours(snippet):
    """A wrong scale of the motion, a mirrored one and a flat depth all cost more."""
    truth = photometric(with_truth(snippet)(snippet))
    wrong = with_truth(snippet)
    for factor in (0.7, 1.3, -1.0):
        wrong.pose_net = TruePose(snippet, factor)
        assert photometric(wrong(snippet)) > 1.5 * truth
    flat = with_truth(snippet)
    flat.depth_net = TrueDepth(torch.full_like(snippet.depth_gt, float(snippet.depth_gt.median())))
    assert photometric(flat(snippet)) > 1.5 * truth


def test_scale_is_free(snippet):
    """Depth and baseline times the same factor are the same pictures: monocular scale is free."""
    once, tenfold = (photometric(with_truth(snippet, factor=f)(snippet)) for f in (1.0, 10.0))
    assert tenfold == pytest.approx(once, rel=1e-3)


def test_the_truth_keeps_the_scene_in_the_auto_mask(snippet):
    """With the truth most pixels beat standing still, and nearly all are in view."""
    health = with_truth(snippet, "loss.auto_mask=true")(snippet).terms
    assert health["health/kept"] > 0.75 and health["health/in_view"] > 0.75
    assert health["health/displacement"] > 1


def test_the_truth_agrees_with_itself(snippet):
    """SC-Depth's difference at the true depths is next to nothing; at a wrong scale it is not."""
    task = with_truth(snippet, "loss.consistency_weight=1")

    class BothDepths(TrueDepth):
        """The target's depth, or the sources' where they are asked for."""

        def forward(self, image: Tensor) -> list[Tensor]:
            """Sources come folded into the batch."""
            if len(image) == len(self.inverse_depth):
                return [self.inverse_depth]
            return [self.of_sources]

    def cost(factor: float) -> float:
        net = BothDepths(snippet.depth_gt)
        net.of_sources = 1 / (factor * sources_depth(snippet))
        task.depth_net = net
        return float(task(snippet).terms["loss/consistency"])

    assert cost(1.0) < 0.02
    assert cost(1.5) == pytest.approx(0.5 / 2.5, abs=0.06)  # |a - 1.5 a| / (a + 1.5 a)


_DATA: dict[str, SnippetDataset] = {}


@pytest.fixture(autouse=True)
def remember(data):
    """Let `sources_depth` reach the data set."""
    _DATA["data"] = data


def sources_depth(snippet: Snippet) -> Tensor:
    """Return the true depth of the sources, source by source. (S*B, 1, H, W)"""
    sequence = _DATA["data"].sequences[0]
    frames = [int(name.rsplit("/", 1)[1]) for name in snippet.names]
    maps = [sequence.read_depth(frame + shift) for shift in SHIFTS for frame in frames]
    return torch.from_numpy(np.stack(maps))[:, None]


# --- every switch --------------------------------------------------------------------------------


SWITCHES = {
    "modern": (),
    "zhou": (*ZHOU, "model.depth=light"),
    "zhou without masks": (*ZHOU, "model.depth=light", "loss.explainability_weight=0"),
    "mean": ("loss.reduction=mean", "loss.auto_mask=false"),
    "minimum, no auto-mask": ("loss.auto_mask=false",),
    "own resolutions": ("loss.full_resolution=false",),
    "consistency": ("loss.consistency_weight=0.5",),
    "consistency, own resolutions": ("loss.consistency_weight=0.5", "loss.full_resolution=false"),
    "baseline": ("loss.baseline_weight=0.05",),
    "rotation": ("loss.rotation_weight=0.1",),
    "one scale": ("loss.scales=1",),
    "second order": ("loss.smoothness=second_order",),
    "L1": ("loss.ssim_weight=0",),
    "snippet poses of an encoder": ("model.pose_input=snippet",),
    "posenet": ("model.pose=posenet",),
}


@pytest.mark.parametrize("name", SWITCHES)
def test_every_switch_teaches_both_networks(name, snippet):
    """Each option gives a finite loss, the sum of its terms, and a gradient in both networks."""
    task = build(*SWITCHES[name])
    output = task(snippet, draws=True)
    output.loss.backward()
    parts = [v for n, v in output.terms.items() if n.startswith("loss/")]
    assert output.loss.item() == pytest.approx(torch.stack(parts).sum().item(), rel=1e-5)
    for net in (task.depth_net, task.pose_net):
        gradients = [p.grad for p in net.parameters() if p.grad is not None]
        assert sum(float(g.abs().sum()) for g in gradients) > 0
        assert all(g.isfinite().all() for g in gradients)
    for image in output.images.values():
        assert image.shape[0] == 3 and image.shape[1] in (1, 3)
        assert image.min() > -1e-6
        assert image.max() < 1 + 1e-6


def test_figures_and_pictures_carry_no_gradient(snippet):
    """What is logged keeps no graph alive."""
    output = build()(snippet, draws=True)
    logged = output.terms | output.images
    assert [name for name, value in logged.items() if value.requires_grad] == []


@pytest.mark.parametrize("name", ["modern", "zhou", "consistency"])
def test_sizes_that_do_not_divide_run(name, data):
    """Sizes that are no multiple of 32 run at every scale."""
    odd = SnippetDataset(data.sequences, shifts=SHIFTS, size=(67, 101))
    output = build(*SWITCHES[name])(batch_of(odd, 0, 5), draws=True)
    assert output.loss.isfinite() and output.images["rebuilt"].shape[1] == 3


def test_unknown_pixels_do_not_teach(snippet):
    """Nothing outside `valid` changes the loss: colours there may be anything."""
    valid = torch.ones_like(snippet.valid)
    valid[..., :20] = False
    target = snippet.target.clone()
    target[..., :20] = 0.5
    task = build(*L1, "loss.auto_mask=false", "loss.reduction=mean")
    task.depth_net, task.pose_net = TrueDepth(snippet.depth_gt), TruePose(snippet)
    first = photometric(task(replace(snippet, valid=valid)))
    second = photometric(task(replace(snippet, valid=valid, target=target)))
    assert first == pytest.approx(second, rel=1e-6)
    assert photometric(task(replace(snippet, target=target))) > second


def test_source_order_follows_the_shifts(snippet):
    """Sources given in the other order, with their shifts, are the same task."""
    backwards = replace(
        snippet,
        sources=snippet.sources.flip(1),
        shifts=snippet.shifts.flip(1),
        T_source_target_gt=snippet.T_source_target_gt.flip(1),
    )
    words = ("loss.baseline_weight=0.05", "loss.rotation_weight=0.1")
    losses = []
    for shifts, views in ((SHIFTS, snippet), (SHIFTS[::-1], backwards)):
        torch.manual_seed(0)
        losses.append(build_task(config(*words), shifts).eval()(views).loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_explainability_needs_zhous_network():
    """Masks without the network that makes them are a configuration error."""
    with pytest.raises(ConfigError, match="explainability"):
        config("loss.explainability_weight=0.2", "loss.reduction=mean", "loss.auto_mask=false")


# --- known motions -------------------------------------------------------------------------------


def learn(task: ViewSynthesis, snippet: Snippet, steps: int) -> None:
    """Teach the task one batch, ever more gently."""
    optimizer = torch.optim.Adam(task.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        task(snippet).loss.backward()
        optimizer.step()
        schedule.step()


def baselines(task: ViewSynthesis, snippet: Snippet) -> Tensor:
    """Return |t| of each predicted motion, metres."""
    with torch.no_grad():
        pairs = [
            torch.cat([source, snippet.target] if shift < 0 else [snippet.target, source], 1)
            for shift, source in zip(SHIFTS, snippet.sources.unbind(1), strict=True)
        ]
        return task.pair_motion(torch.cat(pairs))[:, :3, 3].norm(dim=-1)


def test_known_baselines_give_metres(snippet):
    """Neighbouring frames are 0.3 m apart: predicted baselines go there from next to zero."""
    task = build(*PLAIN, *L1, "loss.baseline_weight=10")
    true = snippet.T_source_target_gt[..., :3, 3].norm(dim=-1).mean()
    before = baselines(task, snippet).mean()
    learn(task, snippet, 30)
    assert before < 0.1 * true
    assert baselines(task, snippet).tolist() == pytest.approx([float(true)] * 6, rel=0.15)


def test_known_motions_that_are_right_cost_nothing(snippet):
    """Baseline and rotation terms vanish at the truth and have hand-made values beside it."""
    words = ("loss.baseline_weight=2", "loss.rotation_weight=3")
    terms = with_truth(snippet, *words)(snippet).terms
    assert terms["loss/baseline"] < 1e-5 and terms["loss/rotation"] < 1e-2
    task = with_truth(snippet, *words)
    task.pose_net = NoPose()
    terms, truth = task(snippet).terms, snippet.T_source_target_gt
    lengths = truth[..., :3, 3].norm(dim=-1)
    angles = log_so3(truth[..., :3, :3]).norm(dim=-1)
    assert terms["loss/baseline"] == pytest.approx(2 * float(lengths.mean()), rel=1e-4)
    assert terms["loss/rotation"] == pytest.approx(3 * float(angles.mean()), rel=1e-2)


def test_sources_without_a_pose_are_left_out(snippet):
    """NaN motions count in neither mean nor gradient; with none known the terms are zero."""
    words = ("loss.baseline_weight=1", "loss.rotation_weight=1")
    T = snippet.T_source_target_gt.clone()
    T[0, 0] = torch.nan
    task = build(*words)
    output = task(replace(snippet, T_source_target_gt=T))
    output.loss.backward()
    assert output.loss.isfinite()
    assert all(p.grad.isfinite().all() for p in task.pose_net.parameters() if p.grad is not None)
    unknown = task(replace(snippet, T_source_target_gt=torch.full_like(T, torch.nan)))
    assert unknown.terms["loss/baseline"] == unknown.terms["loss/rotation"] == 0
