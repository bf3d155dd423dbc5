# SPDX-License-Identifier: Apache-2.0
"""Single frames with known depth: losses by hand, weights of scales, any of the networks."""

from dataclasses import replace

import pytest
import torch
from pair_truth import pair_snippet
from torch import nn

from depthkit.config import SupervisedConfig, TrainConfig
from depthkit.config.strict_yaml import load_config
from depthkit.errors import ConfigError
from depthkit.tasks import build_task
from depthkit.tasks.supervised_mono import SupervisedMono


class Constant(nn.Module):
    """Says one depth everywhere, at four scales."""

    def __init__(self, depth: float) -> None:
        super().__init__()
        self.inverse_depth = nn.Parameter(torch.tensor(1 / depth))

    def forward(self, image):
        """Inverse depth, finest first."""
        height, width = image.shape[-2:]
        sizes = [(-(-height // s), -(-width // s)) for s in (1, 2, 4, 8)]
        return [self.inverse_depth.expand(len(image), 1, *size) for size in sizes]


def alone(depth: torch.Tensor):
    """Return targets without sources."""
    snippet = pair_snippet(depth, [[0.0, 0, 0]] * len(depth))
    return replace(snippet, sources=snippet.sources[:, :0])


def test_loss_is_in_metres_of_depth():
    """1 / (1 / 5) m against 3 m: 2 m at weights 1 and 0.5, scales beyond the list not judged."""
    task = SupervisedMono(Constant(5.0), SupervisedConfig(scale_weights=(1.0, 0.5)))
    output = task(alone(torch.full((2, 1, 20, 30), 3.0)))
    assert output.loss.item() == pytest.approx(2 * 1.5)
    assert output.terms["loss/finest"].item() == pytest.approx(2)


def test_unknown_pixels_do_not_teach_and_far_ones_are_clipped():
    """Half unknown, half 50 m clipped to 10: an error of 5 m, and none from the unknown."""
    depth = torch.zeros(1, 1, 16, 16)
    depth[..., :8] = 50
    task = SupervisedMono(Constant(5.0), SupervisedConfig(scale_weights=(1.0,), max_depth=10.0))
    assert task(alone(depth)).loss.item() == pytest.approx(5)


def test_evaluation_gives_metres():
    """Depth at the frame's size when evaluating, none when training."""
    task, snippet = SupervisedMono(Constant(5.0), SupervisedConfig()), alone(torch.ones(1, 1, 9, 7))
    assert task(snippet).prediction is None
    depth = task.eval()(snippet).prediction.depth()
    assert depth.shape == (1, 1, 9, 7) and depth.unique().tolist() == pytest.approx([5.0])


def test_no_truth_at_all_keeps_the_run_alive():
    """Loss 0 with a gradient of zero."""
    task = SupervisedMono(Constant(5.0), SupervisedConfig())
    output = task(alone(torch.zeros(2, 1, 16, 16)), draws=True)
    output.loss.backward()
    assert output.loss.item() == 0 and task.depth_net.inverse_depth.grad.item() == 0
    assert all(p.isfinite().all() and p.min() >= 0 and p.max() <= 1 for p in output.images.values())


@pytest.mark.parametrize("network", ["light", "resnet18", "dispnet"])
def test_every_single_view_network_learns_from_depth(network):
    """Loss and gradients are finite, at an odd size."""
    words = ["task=supervised_mono", f"model.depth={network}", "supervised.loss=berhu"]
    task = build_task(load_config(TrainConfig, None, words), ())
    output = task(alone(torch.rand(2, 1, 45, 70) + 1))
    output.loss.backward()
    assert output.loss.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in task.parameters())


@pytest.mark.parametrize("network", ["depthnet", "shading"])
def test_networks_of_other_tasks_are_refused(network):
    """A pair network cannot answer for one frame: the key is named."""
    with pytest.raises(ConfigError, match=r"model\.depth.*does not fit task supervised_mono"):
        load_config(TrainConfig, None, ["task=supervised_mono", f"model.depth={network}"])
