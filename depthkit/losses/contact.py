# SPDX-License-Identifier: Apache-2.0
"""Depth of what moves, by the ground it stands on: a prior of roads."""

import math

import torch
from torch import Tensor

from depthkit.errors import check_shape

_NEARER = math.log(1.5)
"""Logarithm of the road's depth at the lower border over that of what the border cuts."""


def ground_contact_loss(inverse_depth: Tensor, moving: Tensor) -> Tensor:
    """Pull what moves to the depth of where it stands [after Moon 2024, From-Ground-To-Objects].

    L = mean m |log d(u, v) - log d(u, b)|, b >= v the first row below with m(u, b) < 1/2; that
    depth gets no gradient. Road users stand upright on the road, whose depth the static scene
    teaches. The paper compares each pixel with the next one, and masks of object classes say what
    may move; here any weights do, and logarithms make far ones count as much.

    What the lower border cuts stands nearer than the road that is seen there, who knows how much:
    taken for two thirds of the road's median depth along the border, the middle of what is left
    from a third on. Where no road is seen there it is taught nothing. (Ours.)

    Args:
        inverse_depth: 1 / metres, above 0. (B, 1, H, W)
        moving: how likely each pixel moves, in [0, 1]. (B, 1, H, W)

    Returns:
        Mean over all pixels. ()
    """
    check_shape("ground_contact_loss: inverse_depth", inverse_depth, "B 1 H W")
    shape = " ".join(map(str, inverse_depth.shape))
    check_shape("ground_contact_loss: moving", moving, shape)
    last = inverse_depth.shape[2] - 1
    rows = torch.arange(last + 1, device=moving.device).view(1, 1, -1, 1).expand_as(moving)
    stands = torch.where(moving < 0.5, rows, last).flip(2).cummin(2).values.flip(2)
    log = inverse_depth.log()
    known = log.detach()
    border, cut = known[:, :, -1:], moving[:, :, -1:] >= 0.5  # (B, 1, 1, W)
    road = border.masked_fill(cut, torch.nan).nanmedian(3, keepdim=True).values  # (B, 1, 1, 1)
    nearer = torch.where(road.isfinite(), road + _NEARER, known)
    ground = torch.where((stands == last) & cut, nearer, known.gather(2, stands))
    return (moving * (log - ground).abs()).mean()
