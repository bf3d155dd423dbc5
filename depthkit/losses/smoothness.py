# SPDX-License-Identifier: Apache-2.0
"""Smoothness of inverse depth, and of flow."""

import torch
from torch import Tensor

from depthkit.errors import check_shape


def edge_aware_smoothness(inverse_depth: Tensor, image: Tensor) -> Tensor:
    """Penalise first differences, less where the image has edges [Godard 2019, eq. 3].

    L = |dx d*| exp(-|dx I|) + |dy d*| exp(-|dy I|), d* = d / mean(d) of each image: without the
    division the loss would be least at infinite depth.

    Args:
        inverse_depth: 1 / metres. (B, 1, H, W)
        image: RGB in [0, 1] at the same size. (B, 3, H, W)

    Returns:
        Mean over the batch. ()
    """
    check_shape("edge_aware_smoothness: inverse_depth", inverse_depth, "B 1 H W")
    batch, _, height, width = inverse_depth.shape
    check_shape("edge_aware_smoothness: image", image, f"{batch} C {height} {width}")
    normalised = inverse_depth / (inverse_depth.mean((2, 3), keepdim=True) + 1e-7)
    image_dx, image_dy = (d.abs().mean(1, keepdim=True) for d in _differences(image))
    dx, dy = _differences(normalised)
    return (dx.abs() * (-image_dx).exp()).mean() + (dy.abs() * (-image_dy).exp()).mean()


def second_order_smoothness(inverse_depth: Tensor) -> Tensor:
    """Return the mean absolute second derivatives, the two mixed ones counted [Zhou 2017]. ()"""
    check_shape("second_order_smoothness: inverse_depth", inverse_depth, "B 1 H W")
    dx, dy = _differences(inverse_depth)
    return torch.stack([x.abs().mean() for d in (dx, dy) for x in _differences(d)]).sum()


def gradient_diffusion_smoothness(
    inverse_depth: Tensor, image: Tensor, *, kappa: float = 0.5
) -> Tensor:
    """Penalise bends of inverse depth, hardly where the image has edges [Pinard 2018].

    L = mean g(dx I) (dxx d)^2 + mean g(dy I) (dyy d)^2, g(a) = exp(-(a / kappa)^2), where dx I is
    the central difference (I(x + 1) - I(x - 1)) / 2, its absolute values summed over the colours.
    Planes are free: their inverse depth is linear in the pixel.

    Args:
        inverse_depth: 1 / metres. (B, 1, H, W), 3 pixels a side or more
        image: RGB in [0, 1] at the same size. (B, 3, H, W)
        kappa: edge that leaves 1/e of the cost; the published 1 is for colours in [-1, 1].

    Returns:
        Mean over the batch. ()
    """
    check_shape("gradient_diffusion_smoothness: inverse_depth", inverse_depth, "B 1 H W")
    batch, _, height, width = inverse_depth.shape
    check_shape("gradient_diffusion_smoothness: image", image, f"{batch} C {height} {width}")
    costs = []
    for axis in (-1, -2):
        bend = inverse_depth.diff(n=2, dim=axis)
        length = image.shape[axis]
        central = image.narrow(axis, 2, length - 2) - image.narrow(axis, 0, length - 2)
        edge = central.abs().sum(1, keepdim=True) / 2
        costs.append((bend.square() * (-(edge / kappa).square()).exp()).mean())
    return costs[0] + costs[1]


def flow_smoothness(
    flow: Tensor, image: Tensor, *, order: int = 1, sharpness: float = 10.0, epsilon: float = 1e-2
) -> Tensor:
    """Penalise differences of flow, hardly where the image has edges [Jonschkowski 2020, eq. 4].

    L = mean exp(-sharpness |dx I|) rho(dx^k w) + the same along y, with k the order,
    rho(a) = sqrt(a^2 + epsilon^2) - epsilon and |dx I| the mean over the colours; for the second
    order, of the two steps it spans.

    Args:
        flow: pixels of its own size, or any unit. (B, 2, H, W), order + 1 pixels a side or more
        image: RGB in [0, 1] at the same size. (B, 3, H, W)
        order: 1 asks for constant flow, 2 leaves planes free.
        sharpness: 1 / colour difference that leaves 1/e of the cost.
        epsilon: below this rho is square, above it absolute.

    Returns:
        Mean over the batch. ()
    """
    check_shape("flow_smoothness: flow", flow, "B 2 H W")
    batch, _, height, width = flow.shape
    check_shape("flow_smoothness: image", image, f"{batch} C {height} {width}")
    if order not in (1, 2):
        raise ValueError(f"flow_smoothness: order must be 1 or 2, got {order}")
    costs = []
    for axis in (-1, -2):
        edge = image.diff(dim=axis).abs().mean(1, keepdim=True)
        if order == 2:
            steps = edge.shape[axis] - 1
            edge = (edge.narrow(axis, 0, steps) + edge.narrow(axis, 1, steps)) / 2
        bend = flow.diff(n=order, dim=axis)
        rho = (bend.square() + epsilon**2).sqrt() - epsilon
        costs.append((rho * (-sharpness * edge).exp()).mean())
    return costs[0] + costs[1]


def _differences(x: Tensor) -> tuple[Tensor, Tensor]:
    return x[..., :, 1:] - x[..., :, :-1], x[..., 1:, :] - x[..., :-1, :]
