# SPDX-License-Identifier: Apache-2.0
"""Pairs with known depth: the target by hand, the published weights, pairs that teach nothing."""

import math
from dataclasses import replace

import pytest
import torch
from pair_truth import pair_snippet
from torch import nn

from depthkit.config import SupervisedConfig, TrainConfig
from depthkit.config.strict_yaml import load_config
from depthkit.tasks import build_task
from depthkit.tasks.supervised_pair import SupervisedPair, turn_slightly, turned_source

WORDS = (
    "task=supervised_pair",
    "model.depth=depthnet",
    "model.width=0.125",
    "data.shifts=[-3]",
    "data.size=[64,64]",
)


class Constant(nn.Module):
    """Says one depth everywhere, at five scales."""

    def __init__(self, depth: float) -> None:
        super().__init__()
        self.depth = nn.Parameter(torch.tensor(depth))

    def forward(self, previous, current):
        """Remember the frames and answer."""
        self.seen = previous, current
        height, width = current.shape[-2:]
        sizes = [(-(-height // s), -(-width // s)) for s in (4, 8, 16, 32, 64)]
        return [self.depth.expand(len(current), 1, *size) for size in sizes]


def task_of(depth: float = 10.0, **options) -> SupervisedPair:
    """Return the task with a network that says one depth."""
    return SupervisedPair(Constant(depth), SupervisedConfig(**options))


def test_truth_is_scaled_to_the_nominal_baseline_and_clipped():
    """8 m seen over 0.6 m count as 4 m over 0.3 m; over 0.02 m they would be 120, that is 100."""
    snippet = pair_snippet(torch.full((2, 1, 64, 64), 8.0), [[0, 0.36, 0.48], [0, 0, -0.02]])
    truth = task_of().truth(snippet)
    assert truth.depth[0].unique().tolist() == pytest.approx([4.0])
    assert truth.depth[1].unique().tolist() == [100.0]
    assert truth.known.all()


def test_a_pair_without_motion_is_all_far():
    """No parallax is what infinitely far looks like: max_depth, where depth is unknown too."""
    depth = torch.full((1, 1, 64, 64), 8.0)
    depth[..., :32] = 0
    truth = task_of(max_depth=50.0).truth(pair_snippet(depth, [[0, 0, 0]]))
    assert truth.depth.unique().tolist() == [50.0] and truth.known.all()


def test_what_is_not_known_does_not_teach():
    """Depth 0, pixels that are no image, and pairs without a pose have no truth."""
    depth = torch.full((2, 1, 64, 64), 8.0)
    depth[0, :, :16] = 0
    snippet = pair_snippet(depth, [[0, 0, 0.3], [math.nan] * 3])
    valid = snippet.valid.clone()
    valid[0, :, -16:] = False
    truth = task_of().truth(replace(snippet, valid=valid))
    assert truth.known[0, 0, :, 0].tolist() == [False] * 16 + [True] * 32 + [False] * 16
    assert not truth.known[1].any() and (truth.depth.isfinite()).all()


def test_loss_has_the_published_weights():
    """An error of 2 m everywhere costs 2 (0.32 + 0.08 + 0.02 + 0.01 + 0.005)."""
    output = task_of(10.0)(pair_snippet(torch.full((2, 1, 64, 64), 8.0), [[0.3, 0, 0]] * 2))
    assert output.loss.item() == pytest.approx(2 * 0.435)
    assert output.terms["loss/finest"].item() == pytest.approx(2)


def test_coarse_truth_is_the_mean_of_the_known():
    """Halves of 6 and 14 m, the 14 unknown in part: coarse pixels never mix in the unknown."""
    depth = torch.full((1, 1, 64, 64), 6.0)
    depth[..., 32:] = 0
    output = task_of(7.0)(pair_snippet(depth, [[0, 0.3, 0]]))
    assert output.loss.item() == pytest.approx(1 * 0.435)


def test_a_batch_without_truth_keeps_the_run_alive():
    """Only pairs without poses: loss 0 and a gradient of zero, not NaN."""
    task = task_of()
    output = task(pair_snippet(torch.zeros(2, 1, 64, 64), [[math.nan] * 3] * 2))
    output.loss.backward()
    assert output.loss.item() == 0 and task.depth_net.depth.grad.item() == 0


def test_the_source_goes_in_first():
    """The network answers for its second frame: that is the target, whose depth is known."""
    task = task_of()
    snippet = pair_snippet(torch.ones(1, 1, 64, 64), [[0, 0, 0.3]])
    task(snippet)
    previous, current = task.depth_net.seen
    assert torch.equal(previous, snippet.sources[:, 0]) and torch.equal(current, snippet.target)


@pytest.mark.parametrize("size", [(64, 64), (70, 97)])
def test_evaluation_gives_depth_at_the_size_of_the_frame(size):
    """Clipped at max_depth, beside the truth, unknown ones 0; nothing of it when training."""
    depth = torch.full((1, 1, *size), 8.0)
    depth[..., :7] = 0
    snippet, task = pair_snippet(depth, [[0, 0, 0.6]]), task_of(30.0, max_depth=20.0)
    assert task(snippet).prediction is None
    found = task.eval()(snippet).prediction
    assert found.metric and found.depth().shape == found.truth.shape == (1, 1, *size)
    assert found.depth().unique().tolist() == [20.0]
    assert found.truth.unique().tolist() == [0.0, 4.0]


def test_enlarging_keeps_half_pixels():
    """Blocks of four pixels, a mean at the middle of each; between them bilinear in 1 / Z."""
    depth = torch.tensor([[10.0, 30.0]]).expand(2, 2)[None, None]
    large = task_of().enlarge(depth, (8, 7))[0, 0]
    # c = (c' + 0.5) / 4 - 0.5: columns 1 and 2 lie at -0.125 and 0.125, columns 5 and 6 at 0.875...
    assert large.shape == (8, 7)
    # so 1 / large[2] is 0.1 + 0.125 (1/30 - 0.1) = 0.091667, and so on.
    assert large[0].tolist() == pytest.approx([10, 10, 120 / 11, 40 / 3, 120 / 7, 24, 30])


def test_pictures_are_pictures():
    """All pictures lie in [0, 1], whatever the depth."""
    snippet = pair_snippet(torch.full((2, 1, 64, 64), 8.0), [[0.3, 0, 0]] * 2)
    output = task_of(250.0)(snippet, draws=True)
    assert {"target", "source", "depth", "truth"} <= output.images.keys()
    assert all(p.min() >= 0 and p.max() <= 1 for p in output.images.values())


@pytest.mark.parametrize("loss", ["l1", "berhu", "scale_invariant"])
def test_thirty_steps_lower_the_loss(loss):
    """Overfit four pairs: the last loss is well below the first."""
    torch.manual_seed(0)
    config = load_config(TrainConfig, None, [*WORDS, f"supervised.loss={loss}"])
    task = build_task(config, (-3,))
    near = torch.rand(4, 1, 1, 1).expand(4, 1, 64, 64) * 20 + 5
    snippet = pair_snippet(near * torch.linspace(1, 2, 64), [[0.3, 0, 0]] * 4)
    optimizer = torch.optim.AdamW(task.parameters(), lr=3e-3)
    losses = []
    for _ in range(30):
        output = task(snippet)
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        losses.append(output.loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_a_slight_turn_moves_pixels_by_its_angle() -> None:
    """0.5 deg at f = 100 px are 0.9 px: what is left has that size, and the seed decides it."""
    ramp = torch.arange(64.0).div(63).expand(64, 3, 64, 64)
    K = torch.tensor([[100.0, 0, 31.5], [0, 100, 31.5], [0, 0, 1]]).repeat(64, 1, 1)
    torch.manual_seed(0)
    turned = turn_slightly(ramp, K, degrees=0.5)
    shift = 63 * (turned - ramp)[:, 0, 32, 32]  # of the middle: pan alone moves it along u
    # Deviation uniform from 0 to 0.873 px: the rms of the shift is 0.873 / sqrt(3) = 0.5 px.
    assert 0.35 < shift.square().mean().sqrt() < 0.65
    torch.manual_seed(0)
    assert torch.equal(turn_slightly(ramp, K, degrees=0.5), turned)


def test_a_known_rotation_is_taken_out():
    """A source rolled by 180 degrees comes back upright, and so does the direction of motion."""
    depth = torch.full((1, 1, 64, 64), 8.0)
    snippet = pair_snippet(depth, [[0.3, 0, 0]])
    T = snippet.T_source_target_gt.clone()
    T[0, 0, :3, :3] = torch.diag(torch.tensor([-1.0, -1.0, 1.0]))
    K = torch.tensor([[[64.0, 0, 31.5], [0, 64.0, 31.5], [0, 0, 1]]])
    rolled = replace(snippet, sources=snippet.sources.flip(3, 4), T_source_target_gt=T, K=K)
    image, t = turned_source(rolled)
    torch.testing.assert_close(image, snippet.sources[:, 0], atol=1e-4, rtol=0)
    torch.testing.assert_close(t, torch.tensor([[-0.3, 0, 0]]))
    plain, t = turned_source(snippet)
    assert plain is snippet.sources[:, 0] or torch.equal(plain, snippet.sources[:, 0])
    torch.testing.assert_close(t, torch.tensor([[0.3, 0, 0]]))
