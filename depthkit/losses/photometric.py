# SPDX-License-Identifier: Apache-2.0
"""Photometric error between a rebuilt view and the target: SSIM and L1, as in Monodepth2.

pe(a, b) = w (1 - SSIM(a, b)) / 2 + (1 - w) |a - b|, w = 0.85 [Godard 2019, eq. 2], with SSIM over
3x3 means, reflected borders, C1 = 0.01^2, C2 = 0.03^2. This is where a training step on a CPU
spends its time outside the networks, so the gradient is written out by hand: three box filters each
way.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from depthkit.errors import check_shape

_C1, _C2 = 0.01**2, 0.03**2


def l1_error(image: Tensor, target: Tensor) -> Tensor:
    """Return the mean absolute colour difference. (B, C, H, W) twice -> (B, 1, H, W)"""
    check_shape("l1_error: image", image, "B C H W")
    check_shape("l1_error: target", target, " ".join(map(str, image.shape)))
    return (image - target).abs().mean(1, keepdim=True)


def ssim(image: Tensor, target: Tensor) -> Tensor:
    """Return the structural similarity over 3x3 windows [Wang 2004, eq. 13].

    Args:
        image: the view that carries the gradient. (B, C, H, W)
        target: the view compared with; it gets no gradient. (B, C, H, W)

    Returns:
        Similarity, 1 where the windows are equal, down to -1. (B, C, H, W)
    """
    check_shape("ssim: image", image, "B C H W")
    check_shape("ssim: target", target, " ".join(map(str, image.shape)))
    return _Ssim.apply(image, target.detach())


def photometric_error(image: Tensor, target: Tensor, *, ssim_weight: float = 0.85) -> Tensor:
    """Return the photometric error of each pixel [Godard 2019, eq. 2].

    Args:
        image: the view rebuilt, colours in [0, 1]. (B, C, H, W)
        target: the view seen, colours in [0, 1]. (B, C, H, W)
        ssim_weight: share of the SSIM term; 0 leaves L1 alone.

    Returns:
        Error, mean over colours. (B, 1, H, W)
    """
    error = l1_error(image, target)
    if ssim_weight == 0:
        return error
    # |SSIM| <= 1, so the published clamp to [0, 1] would only cost time.
    dissimilarity = (1 - ssim(image, target).mean(1, keepdim=True)) / 2
    return ssim_weight * dissimilarity + (1 - ssim_weight) * error


def _box(x: Tensor) -> Tensor:
    """Mean over 3x3, borders reflected. Sums of shifted views: five times faster than pooling."""
    return _sum_3x3(F.pad(x, (1, 1, 1, 1), mode="reflect")).mul_(1 / 9)


def _box_adjoint(g: Tensor) -> Tensor:
    """The transpose of `_box`: what a gradient of the means is for the pixels."""
    height, width = g.shape[-2:]
    g = _sum_3x3(F.pad(g, (2, 2, 2, 2)))  # (..., H+2, W+2): gradient of the padded image
    g[..., 2, :] += g[..., 0, :]
    g[..., height - 1, :] += g[..., height + 1, :]
    g[..., 2] += g[..., 0]
    g[..., width - 1] += g[..., width + 1]
    return g[..., 1 : height + 1, 1 : width + 1].mul(1 / 9)


def _sum_3x3(x: Tensor) -> Tensor:
    rows = (x[..., :-2] + x[..., 1:-1]).add_(x[..., 2:])
    return (rows[..., :-2, :] + rows[..., 1:-1, :]).add_(rows[..., 2:, :])


class _Ssim(torch.autograd.Function):
    """SSIM = (2 mx my + C1)(2 sxy + C2) / ((mx^2 + my^2 + C1)(sx + sy + C2)).

    Differentiable in x, once.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        mx, my = _box(x), _box(y)
        mxx, mxy, myy = _box(x * x), _box(x * y), _box(y * y)
        mm = mx * my
        a1 = (2 * mm).add_(_C1)
        a2 = mxy.sub_(mm).mul_(2).add_(_C2)
        mx2, my2 = mx * mx, my * my
        b2 = mxx.add_(myy).sub_(mx2).sub_(my2).add_(_C2)
        b1 = mx2.add_(my2).add_(_C1)
        inverse = (b1 * b2).reciprocal_()
        s = (a1 * a2).mul_(inverse)
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(x, y, mx, my, a1, a2, b1, b2, inverse, s)
        return s

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (g,) = grads
        x, y, mx, my, a1, a2, b1, b2, inverse, s = ctx.saved_tensors
        gi, gs = g * inverse, g * s
        # by the mean of x (it stands in the variances too), by the mean of x^2, by the mean of x y
        by_mean = 2 * (my * gi * (a2 - a1) + mx * gs * (b1 - b2) * inverse)
        by_square = _box_adjoint(gs.div_(b2))
        by_product = _box_adjoint(gi.mul_(a1))
        gradient = _box_adjoint(by_mean).addcmul_(x, by_square, value=-2)
        return gradient.addcmul_(y, by_product, value=2), None
