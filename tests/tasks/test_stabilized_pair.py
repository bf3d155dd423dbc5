# SPDX-License-Identifier: Apache-2.0
"""Pairs without labels: the truth costs least, the scale of motion nothing, roles and still pairs.

The world is a room of boxes with exact depth, poses and turning camera.
"""

import math
from dataclasses import replace

import pytest
import torch
from small_run import write_world
from torch import Tensor, nn

from depthkit.config import TrainConfig
from depthkit.config.strict_yaml import load_config
from depthkit.data.sequence import open_sequence
from depthkit.data.snippet import Snippet, collate
from depthkit.data.snippet_loading import SnippetDataset
from depthkit.errors import ConfigError
from depthkit.geometry.se3 import exp_so3, inverse, log_so3, rigid_motion
from depthkit.models.pose_net import PoseOutput
from depthkit.tasks import build_task
from depthkit.tasks.rebuilding import balance, still_loss
from depthkit.tasks.stabilized_pair import StabilizedPair
from depthkit.tasks.supervised_pair import enlarge_inverse
from depthkit.tasks.window import normalise_baseline, turn, window_of

SHIFTS = (-2, 2, 1)
WORDS = (
    "task=stabilized_pair",
    "model.depth=depthnet",
    "model.width=0.125",
    "model.pose=light",
    "data.shifts=[-2,2,1]",
    "data.size=[64,96]",
    "loss.auto_mask=false",
    "loss.reduction=mean",
    "loss.ssim_weight=0.1",
    "loss.full_resolution=false",
    "loss.scales=3",
    "loss.smoothness=gradient_diffusion",
    "loss.smoothness_weight=0",
)


class SaysDepth(nn.Module):
    """A pair network that says one map, at a quarter of the size, and keeps what it was shown."""

    def __init__(self, depth: Tensor) -> None:
        super().__init__()
        self.depth = nn.Parameter(depth)

    def forward(self, previous, current):
        """Remember the frames and answer."""
        self.seen = previous, current
        return [self.depth]


class SaysMotion(nn.Module):
    """A pose network that says given motions of pairs in time order, other by other."""

    def __init__(self, T_others_target: Tensor, earlier: tuple[bool, ...]) -> None:
        super().__init__()
        columns = zip(earlier, T_others_target.unbind(1), strict=True)
        T = torch.cat([inverse(T) if first else T for first, T in columns])
        self.vectors = torch.cat([log_so3(T[:, :3, :3]), T[:, :3, 3]], 1)

    def forward(self, pairs):
        """Return the motions, (S*B, 1, 6)."""
        return PoseOutput(self.vectors[:, None])


@pytest.fixture(scope="module")
def snippet(tmp_path_factory) -> Snippet:
    """Three targets of the box world, far apart, with two earlier and four later frames."""
    sequence = open_sequence(write_world(tmp_path_factory.mktemp("world") / "room"))
    data = SnippetDataset([sequence], shifts=SHIFTS, size=(64, 96))
    return collate([data[(i, 0)] for i in (1, 8, 15)])


def config_of(*words: str) -> TrainConfig:
    """Return the small configuration with differences."""
    chosen = dict(word.split("=", 1) for word in (*WORDS, *words))
    return load_config(TrainConfig, None, [f"{k}={v}" for k, v in chosen.items()])


def build(*words: str) -> StabilizedPair:
    """Return the task with random weights."""
    torch.manual_seed(0)
    return build_task(config_of(*words), SHIFTS)


def exact(snippet: Snippet, *words: str, depth=1.0, length=1.0, turned=0.0) -> StabilizedPair:
    """Return the task with networks that say the truth, times factors, turned by radians."""
    task = build("loss.scales=1", "loss.full_resolution=true", *words)
    T = snippet.T_source_target_gt
    baseline = T[:, 0, :3, 3].norm(dim=-1)[:, None, None, None]
    at_nominal = snippet.depth_gt * (0.3 / baseline)
    inverse_depth = nn.functional.avg_pool2d(1 / at_nominal, 4)
    task.depth_net = SaysDepth(depth / inverse_depth)
    R = exp_so3(torch.tensor([0.0, turned, 0.0])) @ T[..., :3, :3]
    earlier = tuple(shift < 0 for shift in SHIFTS)
    task.pose_net = SaysMotion(rigid_motion(R, length * T[..., :3, 3]), earlier)
    return task


def photometric(task: StabilizedPair, snippet: Snippet) -> float:
    """Return the photometric term."""
    return task(snippet).terms["loss/photometric"].item()


def test_the_truth_costs_least(snippet):
    """Exact depth and motion: a small loss, which rises with any other depth or rotation."""
    best = photometric(exact(snippet), snippet)
    assert best < 0.25 * (snippet.target[:, None] - snippet.sources).abs().mean()
    for factor in (0.7, 1.4):
        assert photometric(exact(snippet, depth=factor), snippet) > 1.2 * best
    for angle in (-0.03, 0.03):
        assert photometric(exact(snippet, turned=angle), snippet) > 1.2 * best


@pytest.mark.parametrize("orientation", ["network", "measured"])
def test_the_unit_of_the_translations_does_not_matter(snippet, orientation):
    """All translations times 7, or 0.1: the same loss, for the pair is D0 apart by definition."""
    word = f"stabilized.orientation={orientation}"
    losses = [photometric(exact(snippet, word, length=x), snippet) for x in (0.1, 1.0, 7.0)]
    assert losses == pytest.approx([losses[1]] * 3, rel=1e-3)  # 1e-5 is added to |t|, as published


def test_normalising_by_hand():
    """|t_r| = 0.6 and D0 = 0.3: all translations are halved; the rotations stay."""
    T = torch.eye(4).repeat(1, 2, 1, 1)
    T[0, 0, :3, 3], T[0, 1, :3, 3] = torch.tensor([0.0, 0.6, 0.0]), torch.tensor([0.2, 0.0, -1.0])
    T[0, 1, :3, :3] = exp_so3(torch.tensor([0.1, 0.2, 0.3]))
    scaled = normalise_baseline(T, 0, 0.3)
    torch.testing.assert_close(scaled[0, 0, :3, 3], torch.tensor([0, 0.3, 0]), rtol=1e-4, atol=0)
    torch.testing.assert_close(scaled[0, 1, :3, 3], torch.tensor([0.1, 0, -0.5]), rtol=1e-4, atol=0)
    assert torch.equal(scaled[..., :3, :3], T[..., :3, :3])


def test_measured_lengths_replace_the_networks():
    """Directions stay; 0.2 and 0.8 m are measured, so the second is four times D0 long."""
    T = torch.eye(4).repeat(1, 2, 1, 1)
    T[0, :, :3, 3] = torch.tensor([[5.0, 0.0, 0.0], [0.0, 0.0, -5.0]])
    scaled = normalise_baseline(T, 0, 0.3, lengths=torch.tensor([[0.2, 0.8]]))
    wanted = torch.tensor([[0.3, 0.0, 0.0], [0.0, 0.0, -1.2]])
    torch.testing.assert_close(scaled[0, :, :3, 3], wanted, rtol=1e-3, atol=1e-6)


def test_turning_takes_the_rotation_out():
    """A yaw of 90 degrees at most is out of view; a roll of 180 about the axis turns the image."""
    image = torch.rand(1, 3, 5, 7)
    K = torch.tensor([[[4.0, 0, 3], [0, 4.0, 2], [0, 0, 1]]])
    T = torch.eye(4)[None].clone()
    T[0, :3, :3] = exp_so3(torch.tensor([0.0, 0.0, math.pi]))
    torch.testing.assert_close(turn(image, T, K), image.flip(2, 3), rtol=1e-4, atol=1e-5)


def test_the_pair_network_sees_the_reference_turned(snippet):
    """With the true rotation the frame shown lies nearer to the target than the frame itself."""
    task = exact(snippet)
    task(snippet)
    previous, current = task.depth_net.seen
    assert torch.equal(current, snippet.target)
    T = snippet.T_source_target_gt[:, 0]
    expected = turn(snippet.sources[:, 0], T, snippet.K)
    torch.testing.assert_close(previous, expected, rtol=1e-3, atol=1e-3)
    assert (previous - current).abs().mean() < (snippet.sources[:, 0] - current).abs().mean()


def test_measured_orientation_needs_no_rotation_of_the_network(snippet):
    """A pose network that turns wildly changes nothing where the orientation is measured."""
    word = "stabilized.orientation=measured"
    task = exact(snippet, word)
    best = photometric(exact(snippet), snippet)
    T = snippet.T_source_target_gt
    R = T[..., :3, :3]
    seen = torch.eye(4).repeat(*T.shape[:2], 1, 1)
    seen[..., :3, 3] = (R.mT @ T[..., :3, 3:])[..., 0]  # in the axes of the target
    task.pose_net = SaysMotion(seen, tuple(shift < 0 for shift in SHIFTS))
    task.pose_net.vectors[:, :3] = 0.7
    assert photometric(task, snippet) == pytest.approx(best, rel=1e-3)


def test_a_measured_translation_needs_no_pose_network(snippet):
    """Whatever the pose network says, the known motion is used: the loss is that of the truth."""
    task = exact(snippet, "stabilized.orientation=measured", "stabilized.measured_translation=true")
    best = photometric(exact(snippet), snippet)
    task.pose_net.vectors[:] = torch.rand_like(task.pose_net.vectors)
    assert photometric(task, snippet) == pytest.approx(best, rel=1e-3)


def test_any_frame_can_be_the_target(snippet):
    """With the second source as the target: its truth is T_0_2, T_1_2, T_3_2, times stay beside."""
    window = window_of(snippet, SHIFTS, target=2, reference=1)
    assert window.times == (2, 0, -2, 1)
    assert torch.equal(window.target, snippet.sources[:, 1])
    assert torch.equal(window.others[:, 0], snippet.target)
    T = snippet.T_source_target_gt
    torch.testing.assert_close(window.T_others_target_gt[:, 0], inverse(T[:, 1]))
    torch.testing.assert_close(
        window.T_others_target_gt[:, 1], T[:, 0] @ inverse(T[:, 1]), atol=1e-5, rtol=0
    )


def test_the_milestones_draw_target_and_reference(snippet):
    """Fixed at first; drawn where switched on, again the same from the same seed; never at test."""
    task = build()
    assert {(w.times[0], w.reference) for w in draws(task, snippet)} == {(0, 0)}
    free = build("stabilized.random_target=true", "stabilized.random_reference=true")
    torch.manual_seed(3)
    drawn = [(w.times[0], w.reference) for w in draws(free, snippet)]
    assert {t for t, _ in drawn} == {0, *SHIFTS} and {r for _, r in drawn} == {0, 1, 2}
    torch.manual_seed(3)
    assert drawn == [(w.times[0], w.reference) for w in draws(free, snippet)]
    assert {(w.times[0], w.reference) for w in draws(free.eval(), snippet)} == {(0, 0)}


def draws(task: StabilizedPair, snippet: Snippet) -> list:
    """Choose roles forty times."""
    return [task._choose_window(snippet) for _ in range(40)]


def test_still_pairs_ask_for_the_farthest():
    """Net 60 of 100 on the one still pair: smooth L1 of 0.4, 0.08; the other does not count."""
    maps = [torch.full((2, 1, 4, 4), 60.0), torch.full((2, 1, 2, 2), 60.0)]
    maps[0][1] = 3.0
    assert still_loss(maps, torch.tensor([True, False]), 100.0).item() == pytest.approx(0.08)
    assert still_loss(maps, torch.tensor([False, False]), 100.0).item() == 0


def test_still_pairs_are_a_frame_with_itself(snippet):
    """Nearly all pairs still: the network is shown the target twice, and nothing else teaches."""
    task = exact(snippet, "stabilized.same_ratio=0.999999")
    output = task(snippet)
    previous, current = task.depth_net.seen
    assert torch.equal(previous, current)
    assert output.terms["loss/photometric"].item() == 0 and output.terms["loss/still"].item() > 0
    assert "loss/still" not in task.eval()(snippet).terms


def test_only_rotations_are_supervised(snippet):
    """The rotation term is the angle, 0.02 rad, whatever the translations; unknown ones are out."""
    word = "loss.rotation_weight=2"
    output = exact(snippet, word, turned=0.02, length=5.0)(snippet)
    assert output.terms["loss/rotation"].item() == pytest.approx(0.04, rel=1e-3)
    T = snippet.T_source_target_gt.clone()
    T[1:] = torch.nan
    task = exact(snippet, word, turned=0.02)
    output = task(replace(snippet, T_source_target_gt=T))
    assert output.terms["loss/rotation"].item() == pytest.approx(0.04, rel=1e-3)
    output.loss.backward()
    assert task.depth_net.depth.grad.isfinite().all()


def test_pairs_without_a_measured_orientation_do_not_teach(snippet):
    """Where it is to be used and unknown: no gradient for their depth, and no NaN."""
    task = exact(snippet, "stabilized.orientation=measured")
    T = snippet.T_source_target_gt.clone()
    T[1] = torch.nan
    task(replace(snippet, T_source_target_gt=T)).loss.backward()
    moved = task.depth_net.depth.grad.abs().sum((1, 2, 3)) > 0
    assert moved.tolist() == [True, False, True]


def test_evaluation_is_displacement_scaled(snippet):
    """Depth at D0 beside the truth scaled by the measured baseline of the first source."""
    found = exact(snippet).eval()(snippet).prediction
    assert found.metric and found.depth().shape == found.truth.shape == (3, 1, 64, 96)
    ratio = (found.depth() / found.truth).log()
    assert ratio.abs().median() < 0.02
    assert exact(snippet)(snippet).prediction is None


@pytest.mark.parametrize(
    "words",
    [
        ("stabilized.orientation=measured", "stabilized.measured_displacement=true"),
        pytest.param(
            ("model.pose=posenet", "model.pose_input=snippet", "stabilized.random_target=true"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ("model.pose=flow", "loss.full_resolution=true", "loss.reduction=minimum"),
            marks=pytest.mark.slow,
        ),
        ("model.depth=sweepnet", "loss.smoothness=edge_aware", "loss.smoothness_weight=0.1"),
        pytest.param(
            ("stabilized.same_ratio=0.5", "loss.smoothness_weight=3", "loss.rotation_weight=1"),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["measured", "posenet", "full", "sweep", "still"],
)
def test_thirty_steps_lower_the_loss(snippet, words):
    """Overfit three windows with each of the networks and options: the loss falls."""
    task = build(*words).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(task.parameters(), lr=2e-3)
    losses = []
    for _ in range(30):
        output = task(snippet, draws=True)
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        losses.append(output.loss.item())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in task.depth_net.parameters())
    assert sum(losses[-5:]) < 0.97 * sum(losses[:5])
    health = {name for name in output.terms if name.startswith("health/")}
    assert {"health/depth_spread", "health/in_view", "health/displacement"} <= health
    assert all(p.min() >= 0 and p.max() <= 1 for p in output.images.values())


def test_window_motions_of_a_snippet_net_are_relative_to_the_target(snippet):
    """A pose network over the whole window: chained by hand from its motions to the last frame."""
    task = build("model.pose=posenet", "model.pose_input=snippet")
    window = window_of(snippet, SHIFTS, target=3, reference=0)  # times: 1, then 0, -2, 2
    T = task.predict_motions(window, snippet.K)
    frames = torch.cat(
        [window.others[:, i] for i in (1, 0)] + [window.target, window.others[:, 2]], 1
    )
    vectors = task.pose_net(frames).motions  # -2, 0, 1 to the last frame, 2
    first, zero, one = (rigid_motion(exp_so3(v[:, :3]), v[:, 3:]) for v in vectors.unbind(1))
    torch.testing.assert_close(T[:, 0], zero @ inverse(one), atol=1e-6, rtol=0)
    torch.testing.assert_close(T[:, 1], first @ inverse(one), atol=1e-6, rtol=0)
    torch.testing.assert_close(T[:, 2], inverse(one), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("model.depth=light", "model.depth: 'light' does not fit task stabilized_pair"),
        ("loss.auto_mask=true", "loss.auto_mask"),
        ("loss.gauge_weight=0.1", "loss.gauge_weight: not a part of task stabilized_pair"),
        ("stabilized.flexible_every=5", "stabilized.flexible_every: .* symmetrical"),
        (
            "data.shifts=[-2,-1,1,2] stabilized.flexible_every=5 stabilized.flexible_longest=1",
            "stabilized.flexible_longest: 2 or more",
        ),
        ("stabilized.same_ratio=1", "stabilized.same_ratio|same_ratio"),
        ("stabilized.orientation=imu", "orientation"),
    ],
)
def test_a_bad_configuration_is_one_line(word, message):
    """What does not fit the task is said in one line that names the key."""
    with pytest.raises(ConfigError, match=message) as caught:
        first = "loss.reduction=minimum" if "auto_mask" in word else "data.flip=true"
        config_of(first, *word.split())
    assert "\n" not in str(caught.value)


def test_maps_are_enlarged_in_inverse_depth():
    """2 m beside 20 m: a quarter of the way they mix to 1 / (0.75 / 2 + 0.25 / 20) = 2.58 m."""
    depth = torch.tensor([[2.0, 20.0]]).expand(2, 2)[None, None]
    large = enlarge_inverse(depth, (8, 8))[0, 0, 0]
    assert large[[0, 7]].tolist() == pytest.approx([2, 20])
    # c = (c' + 0.5) / 4 - 0.5: columns 3 and 4 lie at 0.375 and 0.625
    mixed = [1 / ((1 - x) / 2 + x / 20) for x in (0.375, 0.625)]
    assert large[3:5].tolist() == pytest.approx(mixed)


def test_balancing_changes_the_gradient_alone():
    """Times Z / 10: 0.2 at 2 m, 1 at 10 m, and 5 at most."""
    depth = torch.tensor([2.0, 10.0, 90.0], requires_grad=True)
    passed = balance(depth)
    assert torch.equal(passed, depth)
    passed.sum().backward()
    assert depth.grad.tolist() == pytest.approx([0.2, 1.0, 5.0])
