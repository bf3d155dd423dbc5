# SPDX-License-Identifier: Apache-2.0
"""A place's descriptor, learnt from pairs of pictures that show one place.

Two copies of one network describe the two pictures of each pair [Khokhlova 2020]; every other
picture of the batch that shows another place is a wrong answer. The loss is a choice: the paper's
decision on |G(x1) - G(x2)|, or one of the cosines of descriptors.
"""

from copy import deepcopy

import torch
from torch import Tensor, nn

from depthkit.config import PlaceConfig, TrainConfig
from depthkit.data.snippet import Snippet
from depthkit.losses.place import (
    Relations,
    contrastive_loss,
    decision_loss,
    false_wins,
    first_is_right,
    multi_similarity_loss,
    relate,
    triplet_loss,
)
from depthkit.models.place_net import PlaceNet, build_place_net, fold_whitening, join
from depthkit.tasks.held_out import same_draws
from depthkit.tasks.output import TaskOutput
from depthkit.tasks.place_views import Looks, vary_looks
from depthkit.tasks.precision import full_precision

_FORGOTTEN = 0.02  # a step's share in the statistics: those of the last 50 steps or so


class Place(nn.Module):
    """The task; its network is `place_net`, with `decision` beside it where the loss has one."""

    steps: Tensor
    """Steps in the statistics. () int64"""
    mean: Tensor
    """Running mean of the codes of each of n branches. (n, D)"""
    moments: Tensor
    """Running mean of their products. (n, D, D)"""

    def __init__(self, place_net: PlaceNet, *, place: PlaceConfig, numbers: int) -> None:
        """Wrap a network; numbers: of its descriptor."""
        super().__init__()
        self.place_net, self.place = place_net, place
        self.decision = nn.Linear(numbers, 1) if place.objective == "decision" else None
        count = len(place_net.branches)
        width = numbers // count
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(count, width))
        self.register_buffer("moments", torch.zeros(count, width, width))

    def forward(self, snippet: Snippet, *, draws: bool = False) -> TaskOutput:
        """Describe both pictures of each place, and compare all with all."""
        with same_draws(snippet.target.device, training=self.training):
            return self._judge(snippet, draws)

    def _judge(self, snippet: Snippet, draws: bool) -> TaskOutput:
        looks = vary_looks(*pictures_of(snippet), self.place)
        codes = self.place_net.codes(*looks)
        with full_precision(snippet.target.device):
            codes = codes.float()
            descriptors = join(codes)
            relations = relate(snippet.places.transpose(0, 1).flatten(0, 1), apart=self.place.apart)
            loss = self._loss(codes.flatten(1), descriptors, relations)
            if self.training:
                self._remember(codes.detach())
        with torch.no_grad():
            health = _health(descriptors.detach(), relations)
            images = _pictures(looks) if draws else {}
        name = f"loss/{self.place.objective}"
        judged = health["health/false_wins"]
        return TaskOutput(loss, judged, {name: loss.detach()} | health, images=images)

    def _loss(self, codes: Tensor, descriptors: Tensor, relations: Relations) -> Tensor:
        """Return the chosen loss; codes are of any length, descriptors of length 1. (N, D) each"""
        if self.decision is not None:
            gap = (codes[:, None] - codes).abs()  # (N, N, D)
            return decision_loss(self.decision(gap)[..., 0], relations)
        match self.place.objective:
            case "contrastive":
                return contrastive_loss(descriptors, relations, margin=self.place.distance)
            case "triplet":
                return triplet_loss(descriptors, relations, margin=self.place.margin)
        return multi_similarity_loss(descriptors, relations)

    @torch.no_grad()
    def _remember(self, codes: Tensor) -> None:
        """Follow mean and products of the codes. (N, n, D)"""
        self.steps += 1
        share = max(_FORGOTTEN, 1 / int(self.steps))
        self.mean.lerp_(codes.mean(0), share)
        products = torch.einsum("bni,bnj->nij", codes, codes) / len(codes)
        self.moments.lerp_(products, share)

    @torch.no_grad()
    def describe(self, snippet: Snippet) -> Tensor:
        """Describe target and source as they are, without variation. (B, 2, D)"""
        images, rasters = pictures_of(snippet)
        descriptors = self.place_net(images, rasters).float()
        return torch.stack(descriptors.chunk(2), 1)

    def finished_net(self) -> PlaceNet:
        """Return a copy of the network with whitening folded into its last layers."""
        net = deepcopy(self.place_net)
        if int(self.steps) == 0:  # nothing has been seen that could be whitened
            return net
        for branch, mean, moments in zip(net.each_branch(), self.mean, self.moments, strict=True):
            kept = self.place.kept // len(net.branches) or None
            branch.linear = fold_whitening(
                branch.linear,
                mean,
                moments - torch.outer(mean, mean),
                whitening=self.place.whitening,
                kept=kept,
            )
        return net


def pictures_of(snippet: Snippet) -> tuple[Tensor, Tensor | None]:
    """Return targets, then first sources, and their rasters where there are some. (2B, 3, H, W)"""
    images = torch.cat([snippet.target, snippet.sources[:, 0]])
    if snippet.rasters.numel() == 0:
        return images, None
    return images, torch.cat([snippet.rasters[:, 0], snippet.rasters[:, 1]])


def _health(descriptors: Tensor, relations: Relations) -> dict[str, Tensor]:
    """Measure what shows a run that learns nothing."""
    cosines = descriptors @ descriptors.T
    return {
        "health/false_wins": false_wins(cosines, relations),
        "health/recall_at_1": first_is_right(cosines, relations),
        "health/right": cosines[relations.same].mean(),
        "health/wrong": cosines[relations.different].mean(),
    }


def _pictures(looks: Looks) -> dict[str, Tensor]:
    """Show some pairs as the network sees them."""
    first, second = looks.images.chunk(2)
    shown = {"target": first[:4], "second": second[:4]}
    if looks.rasters is not None:
        shown["target_raster"] = looks.rasters[: len(first)][:4]
    return shown


def build_place(config: TrainConfig) -> Place:
    """Make the task from its configuration, with random weights."""
    model = config.model
    net = build_place_net(
        model.place,
        pooling=model.place_pooling,
        numbers=model.place_numbers,
        size=config.data.size,
        second=model.place_second,
        fusion=model.place_fusion,
        weights=model.encoder_weights,
    )
    return Place(net, place=config.place, numbers=model.place_numbers)
