# SPDX-License-Identifier: Apache-2.0
"""The coop task: what moves is found and teaches depth and motion nothing; runs, faults, resume."""

import dataclasses
import math
import sys

import cv2
import numpy as np
import pytest
import torch
from small_run import call, curve, read_log, small_config, write_world
from street_truth import StreetPair, street_pair
from torch import Tensor, nn

from depthkit.config import TrainConfig
from depthkit.config.strict_yaml import load_config, to_yaml
from depthkit.data.sequence import SequenceWriter
from depthkit.errors import CheckpointError, ConfigError, TrainingError
from depthkit.evaluation.moving import average_precision
from depthkit.geometry.se3 import log_so3
from depthkit.losses.contact import ground_contact_loss
from depthkit.models.checkpoint import read_checkpoint
from depthkit.models.pose_net import PoseOutput
from depthkit.synth.boxes import box_camera
from depthkit.tasks import build_task
from depthkit.tasks.coop import NETWORKS, Coop
from depthkit.tasks.coop_terms import agreement, appearance, contact
from depthkit.tasks.loaded import load_task
from depthkit.training import loop
from depthkit.training.loop import train

WORDS = (
    "task=coop",
    "model.depth=light",
    "model.pose=light",
    "model.flow_width=0.25",
    "data.shifts=[1]",
    "coop.warmup_steps=0",
)
PIXELS = (  # errors of single pixels, and nothing but them
    "loss.ssim_weight=0",
    "loss.scales=1",
    "loss.smoothness_weight=0",
    "loss.auto_mask=false",
    "flow.photometric=ssim",
    "flow.smoothness_weight=0",
    "flow.scale_weights=[1]",
    "coop.window=1",
)


class SaysDepth(nn.Module):
    """A depth network that says one map."""

    def __init__(self, depth: Tensor) -> None:
        super().__init__()
        self.inverse_depth = nn.Parameter(1 / depth)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Answer, whatever the image."""
        return [self.inverse_depth]


class SaysMotion(nn.Module):
    """A pose network that says one motion for every pair."""

    def __init__(self, T: Tensor) -> None:
        super().__init__()
        self.vector = nn.Parameter(torch.cat([log_so3(T[:, :3, :3]), T[:, :3, 3]], 1))

    def forward(self, pairs: Tensor) -> PoseOutput:
        """Answer, whatever the pairs."""
        return PoseOutput(self.vector[:, None])


class SaysFlow(nn.Module):
    """A flow network that says one flow at full size."""

    def __init__(self, flow: Tensor) -> None:
        super().__init__()
        self.flow = nn.Parameter(flow)

    def forward(self, pairs: Tensor) -> list[Tensor]:
        """Answer, whatever the pairs."""
        return [self.flow]


class SaysOdds(nn.Module):
    """A mask network that says one map."""

    def __init__(self, odds: Tensor) -> None:
        super().__init__()
        self.odds = nn.Parameter(odds)

    def forward(self, image: Tensor) -> Tensor:
        """Answer, whatever the image."""
        return self.odds


def config_of(*words: str) -> TrainConfig:
    """Return the small configuration with differences."""
    return load_config(TrainConfig, None, [*WORDS, *words])


def build(*words: str, shifts: tuple[int, ...] = (1,)) -> Coop:
    """Return the task with random weights."""
    torch.manual_seed(0)
    return build_task(config_of(*words), shifts)


def exact(street: StreetPair, *words: str) -> Coop:
    """Return the task with three networks that say the truth."""
    task = build(*words)
    task.depth_net = SaysDepth(street.depth.where(street.depth > 0, 1e5))  # the sky has none
    task.pose_net = SaysMotion(street.T_second_first)
    task.flow_net = SaysFlow(torch.cat([street.flow, street.backward]))
    return task


@pytest.fixture(scope="module")
def street() -> StreetPair:
    """A frame with traffic and the next one."""
    return street_pair()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A sequence of a room of boxes."""
    return write_world(tmp_path_factory.mktemp("world") / "room")


# --- what moves ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "least", "least_noisy"),
    [
        (("coop.evidence=photometric",), 0.65, 0.7),
        (("coop.evidence=photometric", "coop.delta=ratio"), 0.65, 0.75),
        (("coop.evidence=gap",), 0.7, 0.85),
        (("coop.evidence=both",), 0.68, 0.85),
        (("coop.evidence=both", "coop.delta=ratio"), 0.65, 0.85),
        (("coop.mask=cc",), 0.5, 0.45),
    ],
    ids=["photometric", "ratio", "gap", "both", "both-ratio", "cc"],
)
@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_exact_networks_find_what_moves(street, words, least, least_noisy, noise):
    """With the truth for depth, motion and flow the static probability ranks moving pixels last.

    No noise at all is the harder case: the law is as narrow as it may be, and the least that the
    window carries across the border of a moving body is enough to be taken for moving."""
    task, snippet = exact(street, *words).train(), street.snippet()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        task.flow_net.flow += noise * torch.randn(task.flow_net.flow.shape, generator=generator)
    for _ in range(3):
        task(snippet)  # the law of Delta is learnt
    static = task.eval().static_probability(snippet)
    assert static.shape == (1, 1, 96, 192) and static.min() >= 0 and static.max() <= 1
    judged = (street.known & street.visible).numpy().ravel()
    moving, score = street.moving.numpy().ravel()[judged], 1 - static.numpy().ravel()[judged]
    assert 0.01 < moving.mean() < 0.5
    assert average_precision(score, moving) > (least_noisy if noise else least)


def test_moving_pixels_teach_flow_alone(street):
    """Where the hard mask says moving, depth gets no gradient and flow gets one; motion neither."""
    words = (*PIXELS, "coop.mask=hard", "coop.balance=none")
    task, snippet = exact(street, *words).train(), street.snippet()
    task(snippet)
    for net in (task.depth_net, task.pose_net, task.flow_net):
        net.zero_grad()
    task(snippet).loss.backward()
    moving = task.static_probability(snippet) < 0.5
    taught = task.depth_net.inverse_depth.grad != 0
    assert moving.sum() > 50 and not (taught & moving).any()
    static = ~moving & street.known & street.visible
    assert (taught & static).sum() > 0.8 * static.sum()
    by_flow = task.flow_net.flow.grad[:1].abs().sum(1, keepdim=True) > 0
    assert (by_flow & moving).sum() > 0.8 * (moving & street.visible).sum()


def test_nothing_static_teaches_depth_and_motion_nothing(street):
    """A law by which all moves leaves them without gradient, and flow with one."""
    task, snippet = exact(street, *PIXELS, "coop.mask=hard").eval(), street.snippet()
    task.delta.law.copy_(torch.tensor([-2.0, 1e-3, 0.1, 0.5]))
    output = task(snippet)
    output.loss.backward()
    assert output.terms["health/static"] < 1e-6
    assert not task.depth_net.inverse_depth.grad.any() and not task.pose_net.vector.grad.any()
    assert task.flow_net.flow.grad.any()


def test_all_pixels_teach_in_warm_up(street):
    """For its steps the photometric term is view_synthesis' own; then moving pixels drop out."""
    words = ("loss.scales=1", "coop.warmup_steps=2", "coop.rigid_teaches_flow=1")
    task, snippet = exact(street, *words).train(), street.snippet()
    outputs = [task(snippet).terms for _ in range(3)]
    photometric = [terms["loss/photometric"].item() for terms in outputs]
    assert photometric[0] == photometric[1] > 1.05 * photometric[2]
    assert ["loss/rigid_teaches_flow" in terms for terms in outputs] == [False, False, True]
    plain = exact(street, "loss.scales=1", "coop.mask=none")
    assert plain(snippet).terms["loss/photometric"].item() == pytest.approx(photometric[0])


def test_agreement_teaches_as_weighted(street):
    """Each direction reaches its own networks, and the truth agrees with itself where static."""
    for word, taught in (("rigid_teaches_flow", "flow_net"), ("flow_teaches_rigid", "depth_net")):
        words = (*PIXELS, "coop.mask=hard", "coop.balance=none", f"coop.{word}=1")
        task, snippet = exact(street, *words).eval(), street.snippet()
        assert task(snippet).terms[f"loss/{word}"] < 0.5  # pixels
        with torch.no_grad():
            task.flow_net.flow += 3.0
        answers = task._answer(snippet)
        evidence = task.compare(snippet, answers)
        static = torch.ones_like(snippet.depth_gt)
        weights = {"to_flow": 0.0, "to_rigid": 0.0, "to_" + word.split("_")[2]: 1.0}
        agreement(snippet, answers, evidence, static, **weights)[word].backward()
        for name in ("flow_net", "depth_net"):
            gradients = [p.grad for p in getattr(task, name).parameters()]
            assert any(g is not None and g.any() for g in gradients) == (name == taught)


def test_the_least_share_moves_whatever_is_seen(street):
    """Both laws keep to it from their first step."""
    words = ("coop.momentum=0", "coop.least_share=0.14")
    task = exact(street, *words).train()
    task(street.snippet())
    assert [law.current().share.item() >= 0.1399 for law in (task.delta, task.gap)] == [True] * 2


def test_what_moves_learns_the_depth_of_its_ground(street):
    """The term reaches depth of pixels known to move alone, as weighted, and is none in warm-up."""
    words = (*PIXELS, "coop.mask=hard", "coop.balance=none")
    task, snippet = exact(street, *words, "coop.contact_weight=2").train(), street.snippet()
    static = torch.ones_like(snippet.depth_gt)
    static[..., 30:90, 50:100] = 0
    answers = task._answer(snippet)
    evidence = task.compare(snippet, answers)
    known = torch.ones_like(static, dtype=torch.bool)
    known[..., 75:, 50:100] = False
    difference = evidence.difference._replace(known=known)
    evidence = evidence._replace(difference=difference)
    term = contact(answers, evidence, static, weight=2)["ground_contact"]
    term.backward()
    taught = task.depth_net.inverse_depth.grad != 0
    moves = (static == 0) & known
    assert not taught[~moves].any() and taught[moves].float().mean() > 0.5
    assert not any(p.grad is not None and p.grad.any() for p in task.flow_net.parameters())
    expected = 2 * ground_contact_loss(answers.inverse_depths[0], moves.float())
    torch.testing.assert_close(term, expected)
    once, twice = (
        exact(street, *words, f"coop.contact_weight={w}").train()(snippet) for w in (1, 2)
    )
    ratio = twice.terms["loss/ground_contact"] / once.terms["loss/ground_contact"]
    assert ratio == pytest.approx(2, rel=1e-5)
    warm = exact(street, *words, "coop.contact_weight=2", "coop.warmup_steps=1").train()
    assert warm(snippet).terms["loss/ground_contact"] == 0
    assert "loss/ground_contact" not in exact(street, *words)(snippet).terms


@pytest.mark.parametrize("evidence", ["photometric", "gap", "both"])
def test_looks_and_evidence_add_up(street, evidence):
    """Log odds by looks, and 0.3 of the evidence's log likelihood ratio."""
    task = exact(street, f"coop.evidence={evidence}", "coop.mask_weight=1").train()
    odds = 3 * torch.randn(street.depth.shape, generator=torch.Generator().manual_seed(0))
    task.mask_net = SaysOdds(odds)
    task(street.snippet())
    found = task.eval().static_probability(street.snippet())
    answers = task._answer(street.snippet())
    seen = task.compare(street.snippet(), answers)
    parts = {
        "photometric": task.delta.evidence(seen.difference.delta),
        "gap": task.gap.evidence(seen.score),
    }
    parts["both"] = parts["photometric"] + parts["gap"]
    assert parts[evidence].std() > 0.1
    torch.testing.assert_close(found, (0.3 * parts[evidence] + odds).sigmoid())


def test_the_mask_network_learns_what_evidence_says_and_not_its_own_word(street):
    """Its term: cross entropy with the posterior it has no part in, on known pixels; none but it
    learns from that."""
    words = (*PIXELS, "coop.balance=none", "coop.contact_weight=0.1")
    task, snippet = exact(street, *words, "coop.mask_weight=0.5").train(), street.snippet()
    plain = exact(street, *words).train()
    task.mask_net = SaysOdds(torch.full_like(street.depth, -1.0))
    plain(snippet)
    wanted = plain.eval().static_probability(snippet)
    output = task(snippet)
    known = street.known & task.compare(snippet, task._answer(snippet)).difference.known
    surprise = -(
        wanted * math.log(1 / (1 + math.e)) + (1 - wanted) * math.log(math.e / (1 + math.e))
    )
    expected = 0.5 * (surprise * known).mean()
    torch.testing.assert_close(output.terms["loss/mask"], expected.detach())
    answers = task._answer(snippet)
    appearance(answers.static_odds, wanted, known, weight=0.5)["mask"].backward()
    assert task.mask_net.odds.grad[known].all() and not task.mask_net.odds.grad[~known].any()
    nets = (task.depth_net, task.pose_net, task.flow_net)
    assert not any(p.grad is not None and p.grad.any() for net in nets for p in net.parameters())
    alone, task.mask_net.odds.grad = task.mask_net.odds.grad, None
    task.eval()(snippet).loss.backward()  # nor does it learn from any other term
    torch.testing.assert_close(task.mask_net.odds.grad, alone)


def test_in_warm_up_the_mask_network_learns_nothing(street):
    """What young networks disagree on says nothing of what moves; the gradients are 0, not none."""
    task = exact(street, "coop.mask_weight=1", "coop.warmup_steps=1").train()
    for learns in (False, True):
        task.zero_grad()
        output = task(street.snippet())
        output.loss.backward()
        grads = [weight.grad for weight in task.mask_net.parameters()]
        assert all(grad is not None and bool(grad.any()) == learns for grad in grads)
        assert (output.terms["loss/mask"] > 0) == learns


def test_a_mask_network_is_there_only_where_it_is_used():
    """No weight, no network; and the rule of CC has no posterior to learn."""
    assert build().mask_net is None and build("coop.mask_weight=0.1").mask_net is not None
    for mask in ("none", "cc"):
        with pytest.raises(ConfigError, match="mask_weight: the network learns the posterior"):
            build(f"coop.mask={mask}", "coop.mask_weight=0.1")
    with pytest.raises(ConfigError, match="mask_weight: 0 or more, got -1"):
        build("coop.mask_weight=-1")


# --- as a task -----------------------------------------------------------------------------------


def test_starts_from_the_weights_of_view_synthesis():
    """One seed: depth and pose networks are equal to the last bit, whatever flow adds."""
    nets = ("model.depth=light", "model.pose=resnet18")
    torch.manual_seed(7)
    plain = build_task(load_config(TrainConfig, None, [*nets]), (-1, 1)).state_dict()
    torch.manual_seed(7)
    coop = build_task(load_config(TrainConfig, None, [*nets, "task=coop"]), (-1, 1)).state_dict()
    assert all(torch.equal(coop[name], value) for name, value in plain.items())
    assert any(name.startswith("flow_net.") for name in coop)


@pytest.mark.parametrize("size", [(64, 128), (50, 71), (67, 96)])
@pytest.mark.parametrize("full", [True, False])
def test_any_size_gives_finite_terms_and_pictures(street, size, full):
    """Sizes that are no multiple of 64 too; pictures are in [0, 1] at the size of the frames."""
    cut = {
        name: getattr(street.snippet(), name)[..., : size[0], : size[1]]
        for name in ("target", "sources", "valid", "depth_gt")
    }
    snippet = dataclasses.replace(street.snippet(), **cut)
    task = build(f"loss.full_resolution={full}", "coop.mask_weight=1").train()
    output = task(snippet, draws=True)
    output.loss.backward()
    assert output.loss.isfinite() and all(v.isfinite() for v in output.terms.values())
    names = ("static", "static_by_looks", "delta", "flow", "rigid_flow", "visible", "target")
    for name in (*names, "rebuilt_by_flow"):
        picture = output.images[name]
        assert picture.shape[-2:] == size and picture.min() >= 0 and picture.max() <= 1
    assert output.values["delta"].isfinite().any() and not (output.values["gap"] < 0).any()
    parts = [v for name, v in output.terms.items() if name.startswith("loss/")]
    torch.testing.assert_close(output.loss.detach(), torch.stack(parts).sum())


@pytest.mark.parametrize(
    ("mask", "weight"), [("none", 0), ("cc", 0), ("posterior", 0), ("hard", 0), ("posterior", 1)]
)
def test_every_weight_learns(street, mask, weight):
    """All weights get a finite gradient under every mask; its norms are measured by network."""
    words = (f"coop.mask={mask}", f"coop.mask_weight={weight}", "coop.static_flow_weight=0.5")
    task = build(*words).train()
    nn.init.normal_(task.flow_net.head.weight, std=0.05)
    output = task(street.snippet())
    output.loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in task.parameters())
    for name in ("depth_net", "pose_net", "flow_net"):
        gradients = [p.grad.norm() for p in getattr(task, name).parameters()]
        total = torch.stack(gradients).norm().item()
        assert output.terms[f"gradient/{name}"].item() == pytest.approx(total, rel=1e-4)


def test_balance_shares_the_gradient_of_a_real_step(street):
    """From the second step on the same snippet the three norms are nearly equal."""
    task, snippet = build("coop.balance=gradient", "coop.mask=none").train(), street.snippet()
    nn.init.normal_(task.flow_net.head.weight, std=0.05)
    norms = []
    for _ in range(2):
        task.zero_grad()
        output = task(snippet)
        output.loss.backward()
        norms.append(task.balance.measured.clone())
    limited = ((task.balance.factors == 100) | (task.balance.factors == 0.01)).any()
    assert norms[0].max() > 2 * norms[0].min()
    assert limited or norms[1].max() < 1.05 * norms[1].min()


def test_flow_may_have_its_teacher(street):
    """Classical flow pulls for its steps in training, and is asked for nothing in evaluation."""
    task = build("flow.teacher=dis", "flow.teacher_steps=2").train()
    snippet = dataclasses.replace(street.snippet(), valid=torch.ones_like(street.known))
    told = [task(snippet).terms.get("loss/flow_teacher", 0) for _ in range(3)]
    assert told[0] > told[1] > told[2] == 0
    assert "loss/flow_teacher" not in build("flow.teacher=dis").eval()(snippet).terms


def test_pictures_are_drawn_where_they_are_wanted(street):
    """All else that comes back is the same without them, to the last bit."""
    outputs = []
    for draws in (True, False):
        task = exact(street).train()
        outputs.append(task(street.snippet(), draws=draws))
    drawn, plain = outputs
    names = {"flow", "rigid_flow", "rebuilt_by_flow", "visible", "delta", "static", "target"}
    assert names < drawn.images.keys() and plain.images == {}
    assert drawn.terms.keys() == plain.terms.keys() and torch.equal(drawn.loss, plain.loss)
    assert all(torch.equal(drawn.terms[name], value) for name, value in plain.terms.items())


# --- as a run ------------------------------------------------------------------------------------


def run_config(root, *words: str) -> TrainConfig:
    """Return the small run's configuration."""
    common = ("task=coop", "model.flow_width=0.25", "coop.warmup_steps=2", "flow.occlusion_from=3")
    return small_config(root, *common, "coop.mask_weight=0.5", *words)


@pytest.mark.slow
def test_a_resumed_run_is_the_uninterrupted_one(world, tmp_path):
    """Law, balance and steps are in the checkpoint, across the end of warm-up and occlusion."""
    words = ("optimizer.steps=5", "run.save_every=2", "optimizer.schedule=constant")
    train(run_config(world, *words), tmp_path / "whole")
    train(run_config(world, *words, "optimizer.steps=2"), tmp_path / "parts")
    train(run_config(world, *words), tmp_path / "parts", resume=True)
    whole, parts = curve(tmp_path / "whole"), curve(tmp_path / "parts")
    for key in (k for k in whole if k[0] > 2):
        assert parts[key] == pytest.approx(whole[key], rel=1e-4, abs=1e-7), key
    last = "checkpoints/last.safetensors"
    (one, _), (other, _) = (read_checkpoint(tmp_path / name / last) for name in ("whole", "parts"))
    assert {"task.delta.law", "task.gap.law", "task.balance.norms", "task.steps"} <= one.keys()
    kept = ("task.delta", "task.gap", "task.balance", "task.steps")
    for name in (n for n in one if n.startswith(kept)):
        torch.testing.assert_close(other[name], one[name], rtol=1e-4, atol=1e-7)
    loaded = load_task(tmp_path / "whole")
    assert isinstance(loaded.task, Coop) and loaded.task.steps == 5 and loaded.scale == "relative"


def test_a_run_draws_what_it_logs(world, tmp_path, monkeypatch):
    """With a picture every other step the steps between draw none."""
    make, drawn = loop.build_task, []

    def watched(*args):
        task = make(*args)
        task.register_forward_hook(
            lambda task, _, out: drawn.append("static" in out.images) if task.training else None
        )
        return task

    monkeypatch.setattr(loop, "build_task", watched)
    train(run_config(world, "run.image_every=2"), tmp_path / "run")
    assert drawn == [True, True, False, True]  # the first logged step, then every other


def _broken(answer: Tensor, *, gradient: bool) -> Tensor:
    if not gradient:
        return answer * math.nan
    answer.register_hook(lambda g: g * math.nan)
    return answer


def test_flow_starts_from_a_run_of_its_own(world, tmp_path):
    """The flow network's weights are the flow run's; those of another width are refused."""
    words = ("task=flow", "model.flow_width=0.25", "data.shifts=[1]", "optimizer.steps=1")
    train(small_config(world, *words), tmp_path / "flow")
    start = f"model.flow_init={tmp_path / 'flow'}"
    still = ("optimizer.steps=1", "optimizer.learning_rate=1e-12")
    train(run_config(world, start, *still), tmp_path / "coop")
    last = "checkpoints/last.safetensors"
    flow, coop = (read_checkpoint(tmp_path / name / last)[0] for name in ("flow", "coop"))
    for name in (n for n in flow if n.startswith("task.flow_net.")):
        torch.testing.assert_close(coop[name], flow[name], rtol=0, atol=1e-9)
    with pytest.raises(CheckpointError, match=r"^model\.init: .*task flow has no depth network"):
        train(run_config(world, f"model.init={tmp_path / 'flow'}"), tmp_path / "wrong")
    with pytest.raises(CheckpointError, match=r"^model\.flow_init: .*misshaped"):
        train(run_config(world, start, "model.flow_width=0.5"), tmp_path / "other")


def test_a_start_with_another_mask_network_is_one_line(world, tmp_path):
    """A run without one, a run with one: what to set is said, at a start and at a resume."""
    words = ("optimizer.steps=1", "optimizer.learning_rate=1e-12")
    weights = {"with": "coop.mask_weight=0.5", "without": "coop.mask_weight=0"}
    for name, weight in weights.items():
        train(run_config(world, *words, weight), tmp_path / name)
    lines = {"without": "holds no mask network; set coop.mask_weight to 0",
             "with": "holds a mask network; set coop.mask_weight above 0"}  # fmt: skip
    for name, other in (("with", "without"), ("without", "with")):
        config = run_config(world, *words, weights[other], f"model.init={tmp_path / name}")
        with pytest.raises(CheckpointError, match=lines[name]):
            train(config, tmp_path / f"from_{name}")
        again = run_config(world, "optimizer.steps=2", weights[other])
        with pytest.raises(CheckpointError, match=r"holds another coop\.mask_weight"):
            train(again, tmp_path / name, resume=True)


def test_depth_and_motion_start_from_view_synthesis(world, tmp_path):
    """From a run of view_synthesis both networks are taken; the flow network begins by itself."""
    train(small_config(world, "optimizer.steps=1"), tmp_path / "plain")
    still = ("optimizer.steps=1", "optimizer.learning_rate=1e-12")
    train(run_config(world, f"model.init={tmp_path / 'plain'}", *still), tmp_path / "coop")
    last = "checkpoints/last.safetensors"
    plain, coop = (read_checkpoint(tmp_path / name / last)[0] for name in ("plain", "coop"))
    for name in (n for n in plain if n.startswith("task.") and n.endswith("weight")):
        torch.testing.assert_close(coop[name], plain[name], rtol=0, atol=1e-9)


def spoil(monkeypatch, name: str, *, gradient: bool) -> None:
    """Make one network of the next run say NaN, or give NaN gradients, from its third step on."""
    make = loop.build_task

    def spoilt(*args):
        task = make(*args)
        net = task.flow_net.head if name == "flow_net" else getattr(task, name)

        def break_answer(_, __, answer):
            if not (task.training and task.steps >= 2):
                return answer
            if isinstance(answer, Tensor):  # of the mask network, or the head of the flow network
                return _broken(answer, gradient=gradient)
            if isinstance(answer, list):
                return [_broken(each, gradient=gradient) for each in answer]
            return answer._replace(motions=_broken(answer.motions, gradient=gradient))

        net.register_forward_hook(break_answer)
        return task

    monkeypatch.setattr(loop, "build_task", spoilt)


@pytest.mark.parametrize("name", ["depth_net", "pose_net", "flow_net", "mask_net"])
@pytest.mark.parametrize("gradient", [False, True])
def test_a_network_that_diverges_is_named(world, tmp_path, monkeypatch, name, gradient):
    """NaN in one network stops the run; the message names it, and the last checkpoint is whole."""
    spoil(monkeypatch, name, gradient=gradient)
    words = ("optimizer.steps=5", "run.save_every=1", "model.pose=posenet")
    with pytest.raises(TrainingError) as stop:
        train(run_config(world, *words), tmp_path / "run")
    said = str(stop.value)
    assert "step 3" in said and name in said
    assert not any(other in said for other in {*NETWORKS, "mask_net"} - {name})
    last = tmp_path / "run" / "checkpoints" / "last.safetensors"
    assert f"the last good checkpoint is {last}" in said
    tensors, state = read_checkpoint(last)
    assert state["step"] == 2 and all(t.isfinite().all() for t in tensors.values())


def write_clip(path, frames: list[np.ndarray]):
    """Write frames as a sequence with the box world's camera."""
    with SequenceWriter(
        path, box_camera((64, 96)), depth_kind="none", source={}, ext="png"
    ) as writer:
        for i, frame in enumerate(frames):
            writer.add_frame(frame, i / 10)
    return path


def noise_picture(height: int, width: int, *, grain: int = 4) -> np.ndarray:
    """Return enlarged noise. (H, W, 3)"""
    size = (height // grain, width // grain, 3)
    small = np.random.default_rng(0).integers(0, 255, size, dtype=np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def test_a_clip_without_motion_is_named(tmp_path, capsys):
    """A camera that stands still: the run ends well, and says 'still video' once."""
    clip = write_clip(tmp_path / "still", [noise_picture(64, 96)] * 12)
    train(run_config(clip, "optimizer.steps=12", "optimizer.batch_size=2"), tmp_path / "run")
    warnings = [line for line in capsys.readouterr().err.splitlines() if "warning:" in line]
    assert sum("still video" in line for line in warnings) == 1
    assert math.isfinite(read_log(tmp_path / "run")[-1]["val/loss"])


@pytest.mark.slow
def test_a_clip_of_pure_rotation_is_named(tmp_path, capsys):
    """A camera that only turns (frames slide over a far picture): 'no parallax' is said."""
    wide = noise_picture(64, 96 + 2 * 24, grain=16)
    clip = write_clip(tmp_path / "turns", [wide[:, 2 * i : 2 * i + 96] for i in range(24)])
    words = ("optimizer.steps=60", "optimizer.batch_size=2", "optimizer.learning_rate=3e-4")
    more = ("data.flip=false", "data.colour_jitter=0", "model.pose=flow", "loss.auto_mask=false")
    more += ("optimizer.schedule=constant",)
    train(run_config(clip, *words, *more), tmp_path / "run")
    said = capsys.readouterr().err
    assert "no parallax" in said, [
        (line["step"], line["health/parallax"], line["health/displacement"])
        for line in read_log(tmp_path / "run")
        if "health/parallax" in line
    ]


@pytest.mark.slow
def test_two_processes_learn_as_one(world, tmp_path):
    """Two torchrun processes: the law of Delta is that of one process, losses agree to 2 %."""
    words = ("model.depth=dispnet", "model.pose=posenet", "optimizer.steps=3")
    config = run_config(world, *words, "optimizer.schedule=constant")
    train(config, tmp_path / "alone")
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    program = [*launcher, f"--log-dir={tmp_path}", "--nproc_per_node=2", "-m", "--", "depthkit"]
    done = call([*program, "train", str(tmp_path / "config.yaml"), "--run", str(tmp_path / "run")])
    assert done.returncode == 0, done.stderr
    alone, both = (curve(tmp_path / name) for name in ("alone", "run"))
    for step in (1, 2, 3):
        key = (step, "loss/total")
        assert both[key] == pytest.approx(alone[key], rel=0.02)
    for name in ("location", "scale", "share"):
        key = (1, f"delta/{name}")
        assert both[key] == pytest.approx(alone[key], rel=1e-3, abs=1e-5)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("coop.mask=guess", "mask"),
        ("coop.window=4", "window"),
        ("coop.momentum=1", "momentum"),
        ("coop.warmup_steps=-1", "warmup_steps"),
        ("coop.balance=step", "balance"),
        ("coop.shares=[1,0,1]", "shares"),
        ("coop.cc_rigid_weight=0", "cc_rigid_weight"),
        ("coop.rigid_teaches_flow=-1", "rigid_teaches_flow"),
        ("flow.window=[64,96]", "flow.window"),
    ],
)
def test_wrong_values_are_named(word, said):
    """Each bad value is one line that names its key."""
    with pytest.raises(ConfigError, match=said):
        config_of(word)
