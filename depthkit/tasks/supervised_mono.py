# SPDX-License-Identifier: Apache-2.0
"""Depth of a single frame, learnt from known depth [Eigen 2014], on the networks of view synthesis.

They predict inverse depth; what is judged is depth in metres, scale by scale, against the mean of
the known pixels that a pixel of the map covers.
"""

import torch
from torch import Tensor, nn

from depthkit.config import ModelConfig, SupervisedConfig
from depthkit.data.snippet import Snippet
from depthkit.geometry.projection import size_of
from depthkit.geometry.warp import resize
from depthkit.losses.supervised import build_loss, shrink_known, taught_loss
from depthkit.models.mono_depth import DispNetS, UNetDepth, build_depth_network
from depthkit.tasks.output import Prediction, TaskOutput
from depthkit.tasks.pictures import nearness_picture
from depthkit.tasks.precision import full_precision


class SupervisedMono(nn.Module):
    """The task; its network is `depth_net`. Sources of a snippet are not looked at."""

    def __init__(self, depth_net: UNetDepth | DispNetS, supervised: SupervisedConfig) -> None:
        super().__init__()
        self.depth_net, self.supervised = depth_net, supervised
        self.judge, self.taught = build_loss(supervised.loss), supervised.teacher == "sweep"

    def forward(self, snippet: Snippet, *, draws: bool = False) -> TaskOutput:
        """Predict the target's depth, and judge each scale that has a weight."""
        # The network answers for the camera's own focal length: what is enlarged looks nearer.
        zoom = snippet.zoom.reshape(-1, 1, 1, 1)
        inverse_depths = [each / zoom for each in self.depth_net(snippet.target)]
        with full_precision(snippet.target.device):
            depth = snippet.taught[:, :1] if self.taught else snippet.depth_gt
            known = snippet.valid & (depth > 0)
            truth = depth.clamp(max=self.supervised.max_depth)
            losses = [
                weight * self._judge(1 / inverse_depth, truth, known, snippet.taught[:, 1:], level)
                for level, (weight, inverse_depth) in enumerate(
                    zip(self.supervised.scale_weights, inverse_depths, strict=False)
                )
            ]
        finest = inverse_depths[0].detach()
        terms = {
            "loss/finest": losses[0].detach() / self.supervised.scale_weights[0],
            "health/depth_spread": finest.log().std((1, 2, 3)).mean(),
            "health/depth_mean": (-finest.log()).mean().exp(),
        }
        loss = torch.stack(losses).sum()
        pictures = _pictures(snippet, finest, truth, known) if draws else {}
        prediction = None if self.training else Prediction("depth", 1 / finest, metric=True)
        return TaskOutput(loss, loss.detach(), terms, prediction, pictures)

    def _judge(
        self, depth: Tensor, truth: Tensor, known: Tensor, sigma: Tensor, level: int
    ) -> Tensor:
        """Judge one scale; a teacher's depth at full size, by its sigma."""
        if self.taught:
            return taught_loss(1 / resize(1 / depth, size_of(truth)), truth * known, sigma)
        return self.judge(depth, *shrink_known(truth, known, 2**level))


def _pictures(
    snippet: Snippet, inverse_depth: Tensor, truth: Tensor, known: Tensor
) -> dict[str, Tensor]:
    relative_error = ((1 / inverse_depth - truth) / truth).abs()
    return {
        "target": snippet.target,
        "inverse_depth": nearness_picture(inverse_depth),
        "error": relative_error.where(known, torch.zeros_like(truth)).clamp(max=1),
    }


def build_supervised_mono(model: ModelConfig, supervised: SupervisedConfig) -> SupervisedMono:
    """Make the task from its configuration, the network with random or ImageNet weights."""
    depth_net = build_depth_network(
        model.depth,
        min_depth=model.min_depth,
        max_depth=model.max_depth,
        encoder_weights=model.encoder_weights,
    )
    return SupervisedMono(depth_net, supervised)
