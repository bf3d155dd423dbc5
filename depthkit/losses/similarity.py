# SPDX-License-Identifier: Apache-2.0
"""Losses of learned similarity: true matches above false ones, hidden pixels above none.

L = L_nocc + L_occ [Chebbi 2023]: visible points have a true match and false ones beside it; hidden
points have false ones only.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from depthkit.errors import check_shape


class Candidates(NamedTuple):
    """Scores of the places that a point is compared with: cosines, or log odds of an MLP."""

    true: Tensor
    """Score at the true place; of a hidden point, where it would be. (B, N)"""
    others: Tensor
    """Scores at the offsets beside it. (B, N, O)"""
    admissible: Tensor
    """Offsets that are false for certain and lie in the picture. (B, N, O) bool"""

    def false(self, pick: Tensor) -> Tensor:
        """Return the scores of chosen offsets. (B, N) int -> (B, N)"""
        return self.others.gather(2, pick[..., None])[..., 0]


def offsets(farthest: int, like: Tensor) -> Tensor:
    """Return -farthest .. farthest - 1, pixels, with the type and device of `like`. (O,)"""
    return torch.arange(-farthest, farthest, dtype=like.dtype, device=like.device)


def hardest(candidates: Candidates) -> Tensor:
    """Return the admissible offset that looks most like a match. (B, N) int"""
    masked = candidates.others.detach().masked_fill(~candidates.admissible, -torch.inf)
    return masked.argmax(2)


def random_admissible(candidates: Candidates) -> Tensor:
    """Return a random admissible offset, all alike. (B, N) int"""
    drawn = torch.rand_like(candidates.others.detach())
    return drawn.masked_fill(~candidates.admissible, -1.0).argmax(2)


def triplet_loss(true: Tensor, false: Tensor, usable: Tensor, *, margin: float) -> Tensor:
    """Return the mean of max(0, margin + false - true).

    Args:
        true: cosines of true matches. (B, N)
        false: cosines of false ones. (B, N)
        usable: points that count. (B, N) bool
        margin: by how much the true one shall lead.

    Returns:
        () 0 where no point counts.
    """
    check_shape("triplet_loss: false", false, " ".join(map(str, true.shape)))
    return mean_of(F.relu(margin + false - true), usable)


def contrast_loss(candidates: Candidates, usable: Tensor, *, temperature: float) -> Tensor:
    """Return the cross-entropy of picking the true match out of all admissible offsets [Oord 2018].

    Args:
        candidates: cosines.
        usable: points that count. (B, N) bool
        temperature: divisor of the cosines.
    """
    others = candidates.others.masked_fill(~candidates.admissible, -torch.inf)
    logits = torch.cat([candidates.true[..., None], others], 2) / temperature
    return mean_of(logits.logsumexp(2) - logits[..., 0], usable)


def hidden_loss(found: Tensor, hidden: Tensor, *, level: Tensor, margin: float) -> Tensor:
    """Return the mean of max(0, margin + found - level): hidden points shall match nothing.

    Args:
        found: cosines of hidden points with whatever is compared. (B, N)
        hidden: points that count. (B, N) bool
        level: the mean cosine of true matches. ()
        margin: by how much hidden points shall stay below it.
    """
    return mean_of(F.relu(margin + found - level), hidden)


def decision_loss(log_odds: Tensor, usable: Tensor, *, match: bool) -> Tensor:
    """Return the binary cross-entropy of a decision.

    Args:
        log_odds: of a match. (B, N)
        usable: points that count. (B, N) bool
        match: whether these are matches.
    """
    return mean_of(F.softplus(-log_odds if match else log_odds), usable)


def mean_of(values: Tensor, usable: Tensor) -> Tensor:
    """Return the mean over the points that count, 0 where there are none. (B, N) -> ()"""
    return torch.where(usable, values, 0.0).sum() / usable.sum().clamp(min=1)
