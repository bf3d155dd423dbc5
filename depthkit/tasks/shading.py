# SPDX-License-Identifier: Apache-2.0
"""Depth from the shading of one frame, lit from the camera itself: an endoscope [Ruano 2023].

Learnt from known depth, first on plain worlds, then on richer ones (the curriculum is the config's
`stages`). All terms compare gamma depth (depth / max_depth)^(1 / 1.5), in [0, 1]: what the network
predicts and the paper stores. So their weights do not depend on the size of the world.
"""

import torch
from torch import Tensor, nn

from depthkit.config import SupervisedConfig, TrainConfig
from depthkit.data.snippet import Snippet
from depthkit.errors import ConfigError
from depthkit.losses.shape import curvature_loss, edge_loss
from depthkit.losses.supervised import build_loss
from depthkit.models.shading_net import GAMMA, ShadingNet
from depthkit.tasks.output import Prediction, TaskOutput
from depthkit.tasks.pictures import nearness_picture
from depthkit.tasks.precision import full_precision


class Shading(nn.Module):
    """The task; its network is `depth_net`. Sources of a snippet are not looked at."""

    def __init__(self, depth_net: ShadingNet, supervised: SupervisedConfig) -> None:
        super().__init__()
        self.depth_net, self.supervised = depth_net, supervised
        self.judge = build_loss(supervised.loss)

    def forward(self, snippet: Snippet, *, draws: bool = False) -> TaskOutput:
        """Predict the target's depth; judge it, its edges and its curvature."""
        inverse_depth = self.depth_net(snippet.target)[0]
        with full_precision(snippet.target.device):
            depth, known = 1 / inverse_depth, snippet.valid & (snippet.depth_gt > 0)
            terms = self._terms(depth, snippet.depth_gt, known)
            loss = torch.stack(list(terms.values())).sum()
        logged = {f"loss/{name}": value.detach() for name, value in terms.items()}
        with torch.no_grad():
            relative_error = ((depth - snippet.depth_gt) / snippet.depth_gt).abs()
            logged |= _health(depth, relative_error, known)
            pictures = _pictures(snippet, inverse_depth, relative_error, known) if draws else {}
        prediction = None if self.training else Prediction("depth", depth.detach(), metric=True)
        return TaskOutput(loss, loss.detach(), logged, prediction, pictures)

    def _terms(self, depth: Tensor, truth: Tensor, known: Tensor) -> dict[str, Tensor]:
        """Return the weighted terms; a term of weight 0 is not there."""
        farthest = self.supervised.max_depth
        maps = self._gamma_depth(depth), self._gamma_depth(truth.clamp(max=farthest)), known
        terms = {"depth": self.judge(*maps)}
        if self.supervised.edge_weight > 0:
            terms["edge"] = self.supervised.edge_weight * edge_loss(*maps)
        if self.supervised.curvature_weight > 0:
            terms["curvature"] = self.supervised.curvature_weight * curvature_loss(*maps)
        return terms

    def _gamma_depth(self, depth: Tensor) -> Tensor:
        return (depth / self.supervised.max_depth).pow(1 / GAMMA)


def _pictures(
    snippet: Snippet, inverse_depth: Tensor, relative_error: Tensor, known: Tensor
) -> dict[str, Tensor]:
    return {
        "target": snippet.target,
        "inverse_depth": nearness_picture(inverse_depth),
        "error": relative_error.where(known, torch.zeros_like(relative_error)).clamp(max=1),
    }


def _health(depth: Tensor, relative_error: Tensor, known: Tensor) -> dict[str, Tensor]:
    """Measure what shows a run that learns nothing."""
    log_depth = depth.log()
    return {
        "health/depth_spread": log_depth.std((1, 2, 3)).mean(),
        "health/depth_mean": log_depth.mean().exp(),
        "health/abs_rel": relative_error[known].mean(),
    }


def build_shading(config: TrainConfig) -> Shading:
    """Make the task from its configuration, with random weights.

    Raises:
        ConfigError: encoder weights, which this network has none of; or truth that reaches farther
            than the network can predict.
    """
    model, supervised = config.model, config.supervised
    if model.encoder_weights is not None:
        raise ConfigError(
            "model.encoder_weights: the shading network learns from scratch, as published, "
            f"got {model.encoder_weights!r}; remove it"
        )
    if supervised.max_depth > model.max_depth:
        raise ConfigError(
            f"supervised.max_depth: {supervised.max_depth} m is farther than the network "
            f"can predict (model.max_depth, {model.max_depth} m); set both to the world's depth"
        )
    net = ShadingNet(min_depth=model.min_depth, max_depth=model.max_depth)
    return Shading(net, supervised)
