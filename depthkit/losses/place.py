# SPDX-License-Identifier: Apache-2.0
"""Losses of a place's descriptor: pictures of one place alike, of two places unlike.

All compare every picture of a batch with every other one. A pair of which nothing is known (near
by, but not the same view) counts neither as right nor as wrong.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from depthkit.errors import check_shape

_POSITIVE, _NEGATIVE = 2.0, 50.0  # alpha and beta of [Wang 2019]
_LEVEL, _MARGIN = 0.5, 0.1  # lambda and epsilon of [Wang 2019], cosines
_LEAST = 1e-12  # of a squared distance: its root stays differentiable


class Relations(NamedTuple):
    """What is known of the pairs of N pictures; symmetrical, and neither holds on the diagonal."""

    same: Tensor
    """They show one place. (N, N) bool"""
    different: Tensor
    """They show two places. (N, N) bool"""


def relate(places: Tensor, *, apart: float) -> Relations:
    """Tell which pictures of a batch show one place and which two.

    Picture i and picture i + N / 2 are a pair of one place. Two places are pictures of different
    worlds, or farther from each other than `apart` times the larger of their two distances.

    Args:
        places: world, position, distance at which another place begins. (N, 5)
        apart: multiple of that distance.
    """
    check_shape("relate: places", places, "N 5")
    count = len(places)
    same = torch.eye(count, dtype=torch.bool, device=places.device).roll(count // 2, 0)
    world, position, radius = places[:, 0], places[:, 1:4], places[:, 4]
    far = torch.cdist(position[None], position[None])[0]
    reach = apart * torch.maximum(radius[:, None], radius)
    different = (world[:, None] != world) | (far > reach)
    own = torch.eye(count, dtype=torch.bool, device=places.device)
    return Relations(same & ~own, different & ~own & ~same)


def multi_similarity_loss(codes: Tensor, relations: Relations) -> Tensor:
    """Return the multi-similarity loss [Wang 2019, eq. 10 and 11], with their mining.

    Of an anchor's wrong answers those count whose cosine exceeds its least right one less 0.1; of
    its right ones those below its highest wrong one plus 0.1.

    L = mean of log(1 + sum exp(-2 (s - 0.5))) / 2 + log(1 + sum exp(50 (s - 0.5))) / 50

    Args:
        codes: descriptors of length 1. (N, D)
        relations: of their pairs.

    Returns:
        () mean over the anchors that have a right and a wrong answer.
    """
    cosines = codes @ codes.T
    same, different = relations
    least_right = cosines.masked_fill(~same, torch.inf).amin(1, keepdim=True).detach()
    most_wrong = cosines.masked_fill(~different, -torch.inf).amax(1, keepdim=True).detach()
    right = same & (cosines < most_wrong + _MARGIN)
    wrong = different & (cosines > least_right - _MARGIN)
    pull = _log_sum(-_POSITIVE * (cosines - _LEVEL), right) / _POSITIVE
    push = _log_sum(_NEGATIVE * (cosines - _LEVEL), wrong) / _NEGATIVE
    return _mean(pull + push, same.any(1) & different.any(1))


def triplet_loss(codes: Tensor, relations: Relations, *, margin: float) -> Tensor:
    """Return max(0, margin + s_wrong - s_right) with each anchor's hardest answers [Hermans 2017].

    Args:
        codes: descriptors of length 1. (N, D)
        relations: of their pairs.
        margin: by how much the right cosine shall lead.
    """
    cosines = codes @ codes.T
    right = cosines.masked_fill(~relations.same, torch.inf).amin(1)
    wrong = cosines.masked_fill(~relations.different, -torch.inf).amax(1)
    usable = relations.same.any(1) & relations.different.any(1)
    lead = torch.where(usable, wrong, 0.0) - torch.where(usable, right, 0.0)
    return _mean(F.relu(margin + lead), usable)


def contrastive_loss(codes: Tensor, relations: Relations, *, margin: float) -> Tensor:
    """Return d^2 of right pairs and max(0, margin - d)^2 of wrong ones [Hadsell 2006, eq. 4].

    Args:
        codes: descriptors of length 1. (N, D)
        relations: of their pairs.
        margin: distance that two places shall have.

    Returns:
        () half the mean over right pairs, plus half the mean over wrong ones.
    """
    squared = (2 - 2 * codes @ codes.T).clamp(min=0)
    short = F.relu(margin - (squared + _LEAST).sqrt()).square()
    return (_mean(squared, relations.same) + _mean(short, relations.different)) / 2


def decision_loss(log_odds: Tensor, relations: Relations) -> Tensor:
    """Return the binary cross-entropy of the decision "one place" [Khokhlova 2020].

    Right and wrong pairs have half of the weight each, as in the paper's batches.

    Args:
        log_odds: of one place, from |G(x1) - G(x2)|. (N, N)
        relations: of the pairs.
    """
    right = _mean(F.softplus(-log_odds), relations.same)
    return (right + _mean(F.softplus(log_odds), relations.different)) / 2


def false_wins(cosines: Tensor, relations: Relations) -> Tensor:
    """Return the share of wrong answers that beat an anchor's right one. (N, N) -> ()"""
    right = cosines.masked_fill(~relations.same, torch.inf).amin(1, keepdim=True)
    usable = relations.different & relations.same.any(1, keepdim=True)
    return _mean((cosines >= right).float(), usable)


def first_is_right(cosines: Tensor, relations: Relations) -> Tensor:
    """Return the share of anchors whose best answer shows the same place: R@1. (N, N) -> ()"""
    right = cosines.masked_fill(~relations.same, -torch.inf).amax(1)
    wrong = cosines.masked_fill(~relations.different, -torch.inf).amax(1)
    return _mean((right > wrong).float(), relations.same.any(1) & relations.different.any(1))


def _log_sum(values: Tensor, usable: Tensor) -> Tensor:
    """Return log(1 + sum of exp) over the usable ones of each row, without overflow. (N, N)"""
    zero = values.new_zeros(len(values), 1)
    return torch.cat([zero, values.masked_fill(~usable, -torch.inf)], 1).logsumexp(1)


def _mean(values: Tensor, usable: Tensor) -> Tensor:
    """Return the mean over what counts, 0 where nothing does. ()"""
    return torch.where(usable, values, 0.0).sum() / usable.sum().clamp(min=1)
