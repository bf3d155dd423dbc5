# SPDX-License-Identifier: Apache-2.0
"""Motion from the poses: exact at the truth, no pose network, corrections that find a pose error.

The world is a room of boxes with exact depth, poses and turning camera.
"""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_run import batch_of, small_config, write_world
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from depthkit.data.augment import mirror
from depthkit.data.sequence import open_sequence
from depthkit.data.snippet import Snippet
from depthkit.data.snippet_loading import SnippetDataset
from depthkit.errors import ConfigError, EngineError
from depthkit.geometry.se3 import exp_se3, inverse, log_se3
from depthkit.tasks import build_task
from depthkit.tasks.known_motion import KnownMotion

SHIFTS = (-1, 1)
PLAIN = (
    "loss.auto_mask=false",
    "loss.ssim_weight=0",
    "loss.smoothness_weight=0",
    "loss.scales=1",
    "loss.motion=known",
)
PAIR = ("task=stabilized_pair", "model.depth=depthnet", "model.width=0.125")
COOP = ("task=coop", "model.flow_width=0.25", "coop.warmup_steps=0")


class SaysDepth(nn.Module):
    """A depth network that says one map."""

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.values = nn.Parameter(values)

    def forward(self, *images: Tensor) -> list[Tensor]:
        """Answer, whatever the images."""
        return [self.values]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> SnippetDataset:
    """Snippets of the box world."""
    sequence = open_sequence(write_world(tmp_path_factory.mktemp("world") / "room"))
    return SnippetDataset([sequence], shifts=SHIFTS, size=(64, 96))


@pytest.fixture(scope="module")
def snippet(data) -> Snippet:
    """Three targets, far apart."""
    return batch_of(data, 2, 9, 16)


def build(*words: str):
    """Return a small task on known motion."""
    torch.manual_seed(0)
    return build_task(small_config(Path("unused"), *PLAIN, *words), SHIFTS)


def moved(snippet: Snippet, twist: list[float]) -> Snippet:
    """Disturb the known motions by a twist: rotation, rad, then metres."""
    disturbed = exp_se3(torch.tensor(twist)) @ snippet.T_source_target_gt
    return replace(snippet, T_source_target_gt=disturbed)


def photometric(task: nn.Module, snippet: Snippet) -> float:
    """Return the photometric loss."""
    return float(task(snippet).terms["loss/photometric"])


# --- the motion is the poses' --------------------------------------------------------------------


@pytest.mark.parametrize(
    "twist",
    [[0.02, 0, 0, 0, 0, 0], [0, -0.02, 0, 0, 0, 0], [0, 0, 0.04, 0, 0, 0], [0, 0, 0, 0.1, 0, 0]],
)
def test_true_motion_costs_next_to_nothing_and_a_disturbed_one_more(snippet, twist):
    """At the true depth the poses rebuild the target; a degree or 10 cm beside them do not."""
    task = build()
    task.depth_net = SaysDepth(1 / snippet.depth_gt)
    truth = photometric(task, snippet)
    assert truth < 0.01
    assert photometric(task, moved(snippet, twist)) > 1.5 * truth


def test_the_scale_is_not_free(snippet):
    """With known motion depth has its unit: another factor costs, where learnt motion follows."""
    task = build()
    task.depth_net = SaysDepth(1 / snippet.depth_gt)
    truth = photometric(task, snippet)
    for factor in (0.7, 1.4):
        task.depth_net = SaysDepth(factor / snippet.depth_gt)
        assert photometric(task, snippet) > 1.5 * truth


@pytest.mark.parametrize("words", [(), COOP, PAIR])
@pytest.mark.parametrize("motion", ["known", "refined"])
def test_there_is_no_pose_network_and_the_rest_learns(snippet, words, motion):
    """Depth (and flow) get a gradient; nothing of a pose network is built."""
    task = build(*words, f"loss.motion={motion}")
    assert not [name for name in task.state_dict() if "pose" in name]
    if motion == "refined":
        task.motion.add_table(100, depth=1.0)
    output = task(replace(snippet, pairs=torch.arange(6).view(3, 2)), draws=True)
    output.loss.backward()
    assert output.loss.isfinite()
    for name, net in task.named_children():
        grads = [p.grad for p in net.parameters() if p.grad is not None]
        wants = name.endswith("_net") or (name == "motion" and motion == "refined")
        assert bool(sum(float(g.abs().sum()) for g in grads) > 0) == wants


def test_asking_for_a_pose_network_says_that_there_is_none(snippet):
    """In one line that says where motion comes from instead."""
    with pytest.raises(EngineError, match="trained on known motion .*depthkit odometry"):
        build().predict_motions(snippet.target, snippet.sources)


def test_the_stabilised_pair_turns_by_the_poses(snippet):
    """The window's motions are the poses'; the true depth at the nominal baseline is best."""
    task = build(*PAIR)
    baseline = snippet.T_source_target_gt[:, 0, :3, 3].norm(dim=-1)[:, None, None, None]
    at_nominal = snippet.depth_gt * task.nominal_baseline / baseline
    at_nominal = 1 / avg_pool2d(1 / at_nominal, 4)  # the network answers at a quarter of the size
    task.depth_net = SaysDepth(at_nominal)
    truth = photometric(task.eval(), snippet)
    assert truth < 0.03
    assert photometric(task, moved(snippet, [0.02, 0, 0, 0, 0, 0])) > 1.5 * truth
    task.depth_net = SaysDepth(1.5 * at_nominal)
    assert photometric(task, snippet) > 1.5 * truth


def test_coop_compares_flow_with_the_poses_rigid_flow(snippet):
    """Rigid flow of the true depth and the poses is that of the evidence."""
    task = build(*COOP)
    task.depth_net = SaysDepth(1 / snippet.depth_gt)
    evidence = task.compare(snippet, task._answer(snippet))
    wrong = moved(snippet, [0.02, 0, 0, 0, 0, 0])
    other = task.compare(wrong, task._answer(wrong))
    assert evidence.difference.rigid.mean() < 0.5 * other.difference.rigid.mean()


# --- corrections ---------------------------------------------------------------------------------


def table_of(snippet: Snippet) -> tuple[KnownMotion, Snippet]:
    """Return corrections by chance for the pairs of a snippet."""
    motion = KnownMotion(prior=0.01)
    motion.add_table(6, depth=2.0)
    nn.init.normal_(motion.table, generator=torch.Generator().manual_seed(1))
    return motion, replace(snippet, pairs=torch.arange(6).view(3, 2), axes=torch.ones(3, 3))


@pytest.mark.parametrize("vertical", [False, True])
def test_a_correction_is_seen_in_the_mirror(snippet, vertical):
    """Corrected, then mirrored is mirrored, then corrected: M exp(xi) T M."""
    motion, batch = table_of(snippet)
    first = mirror(motion(batch), vertical=vertical).T_source_target_gt
    second = motion(mirror(batch, vertical=vertical)).T_source_target_gt
    torch.testing.assert_close(first, second, atol=1e-6, rtol=0)
    assert not torch.allclose(first, mirror(batch, vertical=vertical).T_source_target_gt, atol=1e-3)


def test_held_out_motions_are_never_corrected(snippet):
    """A correction belongs to the training set: in evaluation the poses count as they are."""
    motion, batch = table_of(snippet)
    assert motion.eval()(batch) is batch and motion.prior(batch) == {}


@pytest.mark.slow
def test_corrections_find_a_pose_error(snippet):
    """Six numbers a pair, taught by the frames, undo most of a disturbance of half a degree."""
    task = build("loss.motion=refined", "loss.motion_prior=1e-4")
    task.depth_net = SaysDepth(1 / snippet.depth_gt)
    for weight in task.depth_net.parameters():
        weight.requires_grad_(False)
    task.motion.add_table(6, depth=float(snippet.depth_gt.median()))
    twist = [0.006, -0.008, 0.005, 0.02, -0.015, 0.02]
    wrong = replace(moved(snippet, twist), pairs=torch.arange(6).view(3, 2))
    optimizer = torch.optim.Adam(task.motion.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        task(wrong).loss.backward()
        optimizer.step()
    left = error(task.motion(wrong), snippet)
    assert left < 0.3 * error(wrong, snippet)


def error(snippet: Snippet, truth: Snippet) -> float:
    """Return the mean rotation error of the motions, rad."""
    off = snippet.T_source_target_gt @ inverse(truth.T_source_target_gt)
    return float(log_se3(off).detach()[..., :3].norm(dim=-1).mean())


# --- configuration -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("loss.gauge_weight=0.05",), "gauge_weight: is for a pose network"),
        (("loss.baseline_weight=0.05",), "baseline_weight: is for a pose network"),
        (("task=supervised_mono",), "loss.motion: for tasks view_synthesis"),
        (("loss.motion=given",), "motion"),
        ((*PAIR, "stabilized.orientation=measured"), "orientation: loss.motion: known gives"),
    ],
)
def test_what_does_not_fit_known_motion_is_refused(words, message):
    """In one line that names the key."""
    with pytest.raises(ConfigError, match=message) as error:
        small_config(Path("unused"), *PLAIN, *words)
    assert "\n" not in str(error.value)
