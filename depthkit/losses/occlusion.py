# SPDX-License-Identifier: Apache-2.0
"""Which pixels of one view the other one sees, found from flow: learnt, classical or rigid."""

import torch
from torch import Tensor

from depthkit.errors import check_shape
from depthkit.geometry.projection import pixel_grid, size_of
from depthkit.geometry.warp import warp_by_flow


@torch.no_grad()
def forward_backward(
    flow: Tensor, backward: Tensor, *, share: float = 0.01, slack: float = 0.5
) -> Tensor:
    """Tell which pixels come back: |f + f_b(m + f)|^2 < share (|f|^2 + |f_b|^2) + slack.

    [Meister 2018, eq. 1] with its constants. A hidden pixel lands on what hides it, and comes back
    as that moves. Needs flow that is right already where both views see.

    Args:
        flow: first view -> second, pixels (u, v). (B, 2, H, W)
        backward: second view -> first. (B, 2, H, W)
        share: share of the squared lengths that may differ.
        slack: square pixels.

    Returns:
        Pixels of the first view that the second sees: inside and consistent. (B, 1, H, W) bool
    """
    check_shape("forward_backward: flow", flow, "B 2 H W")
    check_shape("forward_backward: backward", backward, " ".join(map(str, flow.shape)))
    back, inside = warp_by_flow(backward, flow)
    gap = (flow + back).square().sum(1, keepdim=True)
    lengths = (flow.square() + back.square()).sum(1, keepdim=True)
    return inside & (gap < share * lengths + slack)


@torch.no_grad()
def seen_by_splatting(backward: Tensor, *, least: float = 0.4) -> Tensor:
    """Tell which pixels of the first view something of the second comes from [Wang 2018, OAFlow].

    Each pixel of the second view is laid, bilinearly, where its backward flow leads; the sum is the
    range map. Needs the backward flow alone, and lets it be wrong by more than the check above.

    Args:
        backward: second view -> first, pixels (u, v). (B, 2, H, W)
        least: smallest value of the range map where a pixel is seen. Where the view grows by a
            factor of s along each side it is 1 / s^2, not 1.

    Returns:
        Pixels of the first view that the second sees. (B, 1, H, W) bool
    """
    return range_map(backward) >= least


def range_map(backward: Tensor) -> Tensor:
    """Count, bilinearly, the pixels that flow leads to each pixel.

    Args:
        backward: pixels (u, v). (B, 2, H, W)

    Returns:
        1 where as many come as there are; pixels led outside are lost. (B, 1, H, W)
    """
    check_shape("range_map: backward", backward, "B 2 H W")
    batch, (height, width) = len(backward), size_of(backward)
    pixels = backward + pixel_grid(height, width, backward)[:2].unflatten(1, (height, width))
    corner = pixels.floor()
    u, v = corner.flatten(2).unbind(1)  # (B, H*W)
    right, low = (pixels - corner).flatten(2).unbind(1)
    total = backward.new_zeros(batch, height * width)
    for du, dv in ((0, 0), (1, 0), (0, 1), (1, 1)):
        weight = (right if du else 1 - right) * (low if dv else 1 - low)
        at_u, at_v = u + du, v + dv
        hit = (at_u >= 0) & (at_u < width) & (at_v >= 0) & (at_v < height)
        index = (at_v * width + at_u).where(hit, 0).long()
        total.scatter_add_(1, index, weight * hit)
    return total.view(batch, 1, height, width)
