# SPDX-License-Identifier: Apache-2.0
"""The shading task: the truth is free, terms by hand, what is unknown is left out, it learns."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from depthkit.config import SupervisedConfig, TrainConfig
from depthkit.config.strict_yaml import load_config
from depthkit.data.snippet import Snippet
from depthkit.errors import ConfigError
from depthkit.models.shading_net import ShadingNet
from depthkit.tasks import build_task
from depthkit.tasks.shading import Shading

ENDOSCOPE = Path(__file__).resolve().parents[2] / "configs" / "endoscope"
FARTHEST = 0.25
TERMS = {"loss/depth", "loss/edge", "loss/curvature"}


class Says(nn.Module):
    """Answers with a given depth, whatever the image; its inverse can learn."""

    def __init__(self, depth: Tensor) -> None:
        super().__init__()
        self.inverse_depth = nn.Parameter(1 / depth)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the inverse depth. [(B, 1, H, W)]"""
        return [self.inverse_depth]


def tubes(count: int, size: int = 64, seed: int = 0) -> Snippet:
    """Tubes of 1.5 to 3 cm seen from inside, lit from the camera: L = cos(theta) / r^2."""
    rng = torch.Generator().manual_seed(seed)
    spread = lambda: 2 * torch.rand(count, 1, 1, generator=rng) - 1  # noqa: E731
    pixels = (torch.arange(size) + 0.5) / (size / 2) - 1
    y, x = torch.meshgrid(pixels, pixels, indexing="ij")
    radius = 0.0225 + 0.0075 * spread()
    cx, cy = 0.5 * radius * spread(), 0.5 * radius * spread()  # the axis at the camera's plane
    dx, dy = x - 0.5 * spread(), y - 0.5 * spread()  # and where it heads
    # |z d - c| = radius, the farther root
    a, b, c = dx * dx + dy * dy, dx * cx + dy * cy, cx * cx + cy * cy - radius**2
    z = ((b + (b * b - a * c).sqrt()) / a).clamp(max=FARTHEST)
    ray = x * x + y * y + 1
    facing = (((dx * z - cx) * x + (dy * z - cy) * y) / radius / ray.sqrt()).clamp(0.02, 1)
    light = (2e-4 * facing / (ray * z * z)).clamp(0, 1) ** (1 / 2.2)
    rgb = torch.stack([light, 0.6 * light, 0.5 * light], 1)
    return snippet_of(rgb, z[:, None])


def snippet_of(rgb: Tensor, depth: Tensor) -> Snippet:
    """A batch of targets without sources."""
    batch = len(rgb)
    return Snippet(
        target=rgb,
        sources=rgb.new_zeros(batch, 0, *rgb.shape[1:]),
        K=torch.eye(3).expand(batch, 3, 3),
        shifts=torch.zeros(batch, 0, dtype=torch.long),
        T_source_target_gt=torch.zeros(batch, 0, 4, 4),
        valid=torch.ones_like(depth, dtype=torch.bool),
        depth_gt=depth,
        names=tuple(f"tube/{i:06d}" for i in range(batch)),
    )


def flat(depth: float, size: tuple[int, int] = (8, 8)) -> Tensor:
    """A wall at one depth, metres. (2, 1, H, W)"""
    return torch.full((2, 1, *size), depth)


def task_saying(depth: Tensor, **supervised) -> Shading:
    """The task around a network that answers with a depth."""
    options = {"max_depth": FARTHEST, "edge_weight": 1.0, "curvature_weight": 1.0} | supervised
    return Shading(Says(depth), SupervisedConfig(**options))


def wall(depth: Tensor) -> Snippet:
    """A snippet with this truth and any picture."""
    return snippet_of(torch.rand(len(depth), 3, *depth.shape[-2:]), depth)


@pytest.mark.parametrize("loss", ["l1", "l2", "huber", "berhu", "log_l1", "scale_invariant"])
def test_the_truth_is_free_in_every_loss(loss):
    """True depth costs nothing, in each term."""
    snippet = tubes(2, 32)
    output = task_saying(snippet.depth_gt, loss=loss)(snippet)
    assert set(output.terms) >= TERMS
    assert max(float(output.terms[name]) for name in TERMS) < 1e-5 and output.loss < 1e-5


def test_gamma_depth_by_hand():
    """An eighth of max_depth is (1 / 8)^(2 / 3) = 1 / 4 of gamma depth; a wall has no shape."""
    terms = task_saying(flat(FARTHEST / 8))(wall(flat(FARTHEST))).terms
    assert float(terms["loss/depth"]) == pytest.approx(0.75)
    assert float(terms["loss/edge"]) == float(terms["loss/curvature"]) == 0


def test_shape_terms_by_hand():
    """A step from 1/4 to 1 of gamma depth, unseen: 0.75 on 1 of 7 differences along x, on 2 of 6
    second ones; coarser, where it is the middle of 4 and of 2, on 1 of 3 and 2 of 2, on 1 of 1."""
    step = flat(FARTHEST)
    step[..., :4] = FARTHEST / 8
    terms = task_saying(flat(FARTHEST), edge_weight=2.0, curvature_weight=3.0)(wall(step)).terms
    assert float(terms["loss/edge"]) == pytest.approx(2 * 0.75 * (1 / 7 + 1 / 3 + 1) / 3)
    assert float(terms["loss/curvature"]) == pytest.approx(3 * 0.75 * (2 / 6 + 2 / 2 + 0) / 3)


def test_a_term_of_no_weight_is_not_there_and_the_loss_is_the_sum():
    """0 switches a term off; what is logged adds up to what is minimised."""
    snippet = tubes(2, 32)
    wrong = snippet.depth_gt * 0.7
    output = task_saying(wrong)(snippet)
    assert float(output.loss.detach()) == pytest.approx(sum(float(output.terms[n]) for n in TERMS))
    plain = task_saying(wrong, edge_weight=0.0, curvature_weight=0.0)(snippet)
    assert {n for n in plain.terms if n.startswith("loss/")} == {"loss/depth"}


def test_truth_beyond_max_depth_counts_as_max_depth():
    """The lumen's end at 40 cm is asked for as 25 cm, and a prediction beyond is drawn back."""
    assert float(task_saying(flat(FARTHEST))(wall(flat(0.4))).terms["loss/depth"]) == 0
    task = task_saying(flat(0.4))
    task(wall(flat(0.4))).loss.backward()
    assert (task.depth_net.inverse_depth.grad < 0).all()  # less loss with more inverse depth


def test_unknown_pixels_teach_nothing_and_break_nothing():
    """Depth 0 and pixels outside the endoscope's circle: no cost, no gradient, nothing NaN."""
    snippet = wall(flat(0.1))
    snippet.depth_gt[:, :, :2] = 0
    snippet.valid[:, :, 6:] = False
    snippet.depth_gt[:, :, 6:] = 7
    said = flat(0.1)
    said[:, :, :2], said[:, :, 6:] = 0.02, 0.03
    task = task_saying(said)
    output = task(snippet, draws=True)
    output.loss.backward()
    assert float(output.loss.detach()) == pytest.approx(0, abs=1e-6)
    gradient = task.depth_net.inverse_depth.grad
    assert gradient.isfinite().all()
    assert (gradient[:, :, :2] == 0).all() and (gradient[:, :, 6:] == 0).all()
    assert (output.images["error"][:, :, 6:] == 0).all()


def test_a_batch_without_truth_is_zero():
    """Loss 0 with a gradient of zeros; its mean error is no number, and no crash."""
    task = task_saying(flat(0.1))
    output = task(wall(flat(0.0)))
    output.loss.backward()
    assert float(output.loss.detach()) == 0
    assert (task.depth_net.inverse_depth.grad == 0).all()
    assert output.terms["health/abs_rel"].isnan()


def test_health_and_pictures():
    """Spread, mean and error by hand; pictures in [0, 1]; nothing logged holds a graph."""
    said = flat(0.1)
    said[..., 4:] = 0.2
    output = task_saying(said)(wall(flat(0.1)), draws=True)
    assert float(output.terms["health/abs_rel"]) == pytest.approx(0.5)
    assert float(output.terms["health/depth_mean"]) == pytest.approx((0.1 * 0.2) ** 0.5)
    assert float(output.terms["health/depth_spread"]) == pytest.approx(0.349, abs=1e-3)
    assert set(output.images) == {"target", "inverse_depth", "error"}
    for picture in output.images.values():
        assert picture.min() >= 0 and picture.max() <= 1 and picture.shape[-2:] == (8, 8)
    assert not any(x.requires_grad for x in (*output.terms.values(), *output.images.values()))


def test_depth_to_be_scored_comes_when_evaluating_only():
    """Validation scores metres; in training nothing is handed over."""
    task = task_saying(flat(0.1))
    assert task.train()(wall(flat(0.1))).prediction is None
    torch.testing.assert_close(task.eval()(wall(flat(0.1))).prediction.depth(), flat(0.1))


def test_depth_is_learnt_from_shading():
    """Twenty steps on four tubes: the loss falls below a third of what it was."""
    torch.manual_seed(0)
    task = build_task(load_config(TrainConfig, ENDOSCOPE / "shading.yaml"), ())
    optimizer = torch.optim.AdamW(task.parameters(), lr=3e-3, fused=True)
    snippet, losses = tubes(4, 32), []
    for _ in range(20):
        output = task(snippet)
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        losses.append(float(output.loss.detach()))
    assert sum(losses[-3:]) / 3 < losses[0] / 3


def test_the_network_is_found_where_predictors_look():
    """`depth_net` of the built task takes a frame of any size to inverse depth in range."""
    task = build_task(load_config(TrainConfig, ENDOSCOPE / "shading.yaml"), ()).eval()
    assert isinstance(task.depth_net, ShadingNet)
    with torch.no_grad():
        depth = 1 / task.depth_net(torch.rand(1, 3, 50, 70))[0]
    assert depth.shape == (1, 1, 50, 70)
    assert depth.min() * 1.001 >= 0.001 and depth.max() <= FARTHEST * 1.001


def test_the_shipped_recipes_differ_in_their_order_alone():
    """Curriculum and all-at-once: equal steps, equal settings; stage k sees levels 1 to k."""
    stages, every = (
        load_config(TrainConfig, ENDOSCOPE / f"{n}.yaml") for n in ("shading", "shading_all")
    )
    assert not every.stages and len(stages.stages) == 5
    steps = [load_config(TrainConfig, ENDOSCOPE / "shading.yaml", words) for words in stages.stages]
    assert sum(stage.optimizer.steps for stage in steps) == every.optimizer.steps
    for k, stage in enumerate(steps[:-1], 1):
        assert stage.data.train == tuple(f"colon_l{level}_*" for level in range(1, k + 1))
    assert steps[-1].data.train == every.data.train == ("colon_l*",)
    for part in ("data", "model", "supervised", "run"):
        assert getattr(stages, part) == getattr(every, part)


def test_settings_that_cannot_work_are_refused():
    """Truth beyond what the network can say, and weights it has no file of, are named."""
    path = ENDOSCOPE / "shading.yaml"
    with pytest.raises(ConfigError, match=r"supervised.max_depth: 0.5 m is farther than the net"):
        build_task(load_config(TrainConfig, path, ["supervised.max_depth=0.5"]), ())
    with pytest.raises(ConfigError, match="model.encoder_weights: the shading network learns"):
        build_task(load_config(TrainConfig, path, ["model.encoder_weights=imagenet"]), ())
