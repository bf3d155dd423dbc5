# SPDX-License-Identifier: Apache-2.0
"""Which pixels may teach: minimum over sources, auto-mask, explainability."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from depthkit.errors import check_shape


class Reduced(NamedTuple):
    """The error of a snippet's target over its sources."""

    error: Tensor
    """What is minimised; pixels that may not teach carry a value and no gradient. (B, 1, H, W)"""
    kept: Tensor
    """Pixels that teach. (B, 1, H, W) bool"""


def reduce_minimum(errors: Tensor, valid: Tensor, identity_errors: Tensor | None = None) -> Reduced:
    """Take each pixel's best source; drop those that look best unwarped [Godard 2019, eq. 4, 5].

    A pixel hidden in one source is seen in another: the minimum picks that one. A pixel that the
    unwarped source explains better does not move against the camera: the auto-mask drops it.

    Args:
        errors: errors of the warped sources. (S, B, 1, H, W)
        valid: the warped source is inside its image. (S, B, 1, H, W) bool
        identity_errors: errors of the unwarped sources, without gradient; None for no auto-mask.
            (S, B, 1, H, W)

    Returns:
        The smallest error and the pixels kept. Where all sources are invalid, the smallest
        identity error stands in, so that leaving the image never pays; without one, zero: average
        over the kept pixels then.
    """
    check_shape("reduce_minimum: errors", errors, "S B 1 H W")
    shape = " ".join(map(str, errors.shape))
    check_shape("reduce_minimum: valid", valid, shape)
    if identity_errors is not None:
        check_shape("reduce_minimum: identity_errors", identity_errors, shape)
    best = errors.masked_fill(~valid, torch.inf).amin(0)
    any_valid = valid.any(0)
    if identity_errors is None:
        return Reduced(torch.where(any_valid, best, torch.zeros_like(best)), any_valid)
    still = identity_errors.amin(0)
    kept = any_valid & (best.detach() < still)
    return Reduced(torch.where(kept, best, still), kept)


def reduce_mean(errors: Tensor, valid: Tensor, weights: Tensor | None = None) -> Reduced:
    """Average each pixel over its sources; invalid ones count zero [Zhou 2017, eq. 1, 3].

    Args:
        errors: errors of the warped sources. (S, B, 1, H, W)
        valid: the warped source is inside its image. (S, B, 1, H, W) bool
        weights: explainability of each source in [0, 1]; None for all one. (S, B, 1, H, W)
    """
    check_shape("reduce_mean: errors", errors, "S B 1 H W")
    shape = " ".join(map(str, errors.shape))
    check_shape("reduce_mean: valid", valid, shape)
    if weights is not None:
        check_shape("reduce_mean: weights", weights, shape)
    weighted = errors if weights is None else errors * weights
    return Reduced((weighted * valid).mean(0), valid.any(0))


def explainability_loss(weights: Tensor) -> Tensor:
    """Pull explainability to one, lest it mask everything: cross-entropy [Zhou 2017, eq. 4]."""
    return F.binary_cross_entropy(weights, torch.ones_like(weights))
