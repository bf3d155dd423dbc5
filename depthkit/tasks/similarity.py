# SPDX-License-Identifier: Apache-2.0
"""Learned similarity: descriptors whose matches score above everything else nearby.

DeepSim-Nets [Chebbi 2023]: a triplet loss on cosines or cross-entropy on the log odds of an MLP;
false matches are drawn 1.5 to 8 pixels beside the true one along the direction of search, and later
are the hardest ones there; pixels that the other view hides shall match nothing. Rendered worlds
give exact pairs by depth and motion, any picture does by a homography.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthkit.config import SimilarityConfig, TrainConfig
from depthkit.data.snippet import Snippet
from depthkit.geometry.projection import size_of
from depthkit.geometry.warp import sample
from depthkit.losses.similarity import (
    Candidates,
    contrast_loss,
    decision_loss,
    hardest,
    hidden_loss,
    mean_of,
    offsets,
    random_admissible,
    triplet_loss,
)
from depthkit.models.similarity_net import Decision, FeaturesNet, build_features_net
from depthkit.tasks.held_out import same_draws
from depthkit.tasks.output import TaskOutput
from depthkit.tasks.precision import full_precision
from depthkit.tasks.similarity_pairs import MatchPairs, make_pairs


class Similarity(nn.Module):
    """The task; its network is `features_net`, with `decision_net` beside it where one decides."""

    steps: Tensor
    """Training steps done: the hardest false matches begin by it. () int64"""

    def __init__(
        self,
        features_net: FeaturesNet,
        *,
        similarity: SimilarityConfig,
        decision_net: Decision | None = None,
    ) -> None:
        super().__init__()
        self.features_net, self.decision_net = features_net, decision_net
        self.similarity = similarity
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, snippet: Snippet, *, draws: bool = False) -> TaskOutput:
        """Describe both views of pairs, and judge true and false matches."""
        with same_draws(snippet.target.device, training=self.training):
            return self._judge(snippet, draws)

    def _judge(self, snippet: Snippet, draws: bool) -> TaskOutput:
        pairs = make_pairs(snippet, self.similarity)
        descriptors = self.features_net(torch.cat([pairs.first, pairs.second]))
        with full_precision(snippet.target.device):
            first, second = descriptors.float().chunk(2)
            candidates = self._compare(first, second, pairs)
            terms = self._terms(candidates, pairs)
            loss = torch.stack(list(terms.values())).sum()
            if self.training:
                self.steps += 1
        with torch.no_grad():
            health = _health(candidates, pairs)
            pictures = _pictures(pairs, first, second) if draws else {}
        logged = {f"loss/{name}": value.detach() for name, value in terms.items()}
        return TaskOutput(loss, health["health/false_wins"], logged | health, images=pictures)

    def _compare(self, first: Tensor, second: Tensor, pairs: MatchPairs) -> Candidates:
        """Score each point at its true place and at all offsets along the direction of search."""
        steps = offsets(self.similarity.farthest, first)
        beside = pairs.matches[:, :, None] + steps[:, None] * pairs.direction[:, :, None]
        places = torch.cat([pairs.matches[:, :, None], beside], 2)  # (B, N, 1 + O, 2)
        there = F.normalize(sample(second, places.permute(0, 3, 1, 2)), dim=1)
        u, v = pairs.points.unbind(2)
        index = (v * first.shape[3] + u)[:, None].expand(-1, first.shape[1], -1)
        here = first.flatten(2).gather(2, index)[..., None]  # (B, C, N, 1)
        if self.decision_net is None:
            scores = (here * there).sum(1)
        else:
            here, there = (x.permute(0, 2, 3, 1) for x in (here.expand_as(there), there))
            scores = self.decision_net(here, there)
        height, width = size_of(second)
        limits = places.new_tensor([width - 1, height - 1])
        in_picture = ((beside >= 0) & (beside <= limits)).all(3)
        return Candidates(
            scores[..., 0],
            scores[..., 1:],
            in_picture & (steps.abs() >= self.similarity.nearest),
        )

    def _terms(self, candidates: Candidates, pairs: MatchPairs) -> dict[str, Tensor]:
        """Return the terms of visible and of hidden points, () each."""
        config = self.similarity
        mined = not self.training or int(self.steps) >= config.hardest_from
        false = candidates.false((hardest if mined else random_admissible)(candidates))
        usable = candidates.admissible.any(2)
        visible, hidden = pairs.visible & usable, pairs.hidden & usable
        true = candidates.true
        if self.decision_net is not None:
            seen = decision_loss(true, visible, match=True)
            seen = seen + decision_loss(false, visible, match=False)
            unseen = decision_loss(true, hidden, match=False)
            unseen = unseen + decision_loss(false, hidden, match=False)
        else:
            level = mean_of(true, visible).detach()
            unseen = hidden_loss(
                torch.maximum(true, false), hidden, level=level, margin=config.margin
            )
            if config.objective == "triplet":
                seen = triplet_loss(true, false, visible, margin=config.margin)
            else:
                seen = contrast_loss(candidates, visible, temperature=config.temperature)
        return {"visible": seen, "hidden": config.hidden_weight * unseen}


def _health(candidates: Candidates, pairs: MatchPairs) -> dict[str, Tensor]:
    """Measure what shows a run that learns nothing."""
    usable = candidates.admissible.any(2)
    visible, hidden = pairs.visible & usable, pairs.hidden & usable
    hardest_false = candidates.false(hardest(candidates))
    random_false = candidates.false(random_admissible(candidates))
    wins = (hardest_false >= candidates.true).float()
    random_wins = (random_false >= candidates.true).float()
    return {
        "health/false_wins": mean_of(wins, visible),
        "health/random_false_wins": mean_of(random_wins, visible),
        "health/true": mean_of(candidates.true, visible),
        "health/false": mean_of(hardest_false, visible),
        "health/hidden": mean_of(candidates.true, hidden),
        "health/visible": visible.float().mean(),
    }


def _pictures(pairs: MatchPairs, first: Tensor, second: Tensor) -> dict[str, Tensor]:
    """Show the views, and three numbers of the descriptors as colours."""
    few = slice(0, 4)
    return {
        "target": pairs.first[few],
        "second": pairs.second[few],
        "first_descriptors": (first[few, :3] / 2 + 0.5).clamp(0, 1),
        "second_descriptors": (second[few, :3] / 2 + 0.5).clamp(0, 1),
    }


def build_similarity(config: TrainConfig) -> Similarity:
    """Make the task from its configuration, with random weights."""
    model, similarity = config.model, config.similarity
    channels = model.feature_channels
    decision = Decision(channels) if similarity.decision == "mlp" else None
    net = build_features_net(model.features, channels=channels)
    return Similarity(net, similarity=similarity, decision_net=decision)
