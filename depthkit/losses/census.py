# SPDX-License-Identifier: Apache-2.0
"""Soft ternary census: compares which neighbours are brighter, not how bright they are.

What changes the light of a whole neighbourhood, such as exposure or shade, costs nothing
[Meister 2018, UnFlow, with the constants of its code]. The gradient is written out by hand: pairs
of pixels are looked at once for both, and picture by picture, so that they stay in the cache.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from depthkit.errors import check_shape

_LEVELS = 255.0  # grey levels of the published constants
_SOFT_SIGN = 0.81  # square grey levels: differences well below 0.9 are no difference
_SOFT_STEP = 0.1


def charbonnier(x: Tensor, *, epsilon: float = 1e-3, power: float = 0.45) -> Tensor:
    """Return (x^2 + epsilon^2)^power: a robust penalty with a gradient at 0 [Sun 2014]."""
    return (x * x + epsilon * epsilon) ** power


def census_distance(image: Tensor, target: Tensor, *, radius: int = 1) -> Tensor:
    """Return how far the census of two pictures differs, from 0 to nearly 1 [Meister 2018].

    For each neighbour, t = d / sqrt(0.81 + d^2) of d, its grey level minus the pixel's; the
    distance is the mean over the neighbours of e / (0.1 + e), e = (t_image - t_target)^2.

    Args:
        image: RGB in [0, 1], the view that carries the gradient. (B, 3, H, W)
        target: RGB in [0, 1]; it gets no gradient. (B, 3, H, W)
        radius: of the square of neighbours, pixels; the published one is 3.

    Returns:
        Mean over the neighbours inside the picture. (B, 1, H, W)
    """
    check_shape("census_distance: image", image, "B 3 H W")
    check_shape("census_distance: target", target, " ".join(map(str, image.shape)))
    if not 1 <= radius < min(image.shape[-2:]):
        raise ValueError(f"census_distance: radius must be 1 or more, below H and W; got {radius}")
    grey, wanted = (_LEVELS * x.mean(1) for x in (image, target.detach()))
    return _Census.apply(grey, wanted, radius)[:, None]


def _half(radius: int) -> list[tuple[int, int]]:
    """List the shifts (dv, du) to one of each two opposite neighbours."""
    reach = range(-radius, radius + 1)
    return [(v, u) for v in range(radius + 1) for u in reach if v > 0 or u > 0]


def _pair(x: Tensor, shift: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """View the pixels that have this neighbour, and the neighbours. (h, w) each"""
    height, width = x.shape
    v, u = shift
    here = x[: height - v, max(0, -u) : width - max(0, u)]
    there = x[v:, max(0, u) : width + min(0, u)]
    return here, there


class _Census(torch.autograd.Function):
    """Distance of grey pictures (B, H, W), differentiable in the first, once."""

    @staticmethod
    def forward(ctx: Any, grey: Tensor, wanted: Tensor, radius: int) -> Tensor:
        shifts = _half(radius)
        count = _neighbours(grey, shifts)
        total = torch.zeros_like(grey)
        slopes = []
        for x, y, sums in zip(grey.unbind(), wanted.unbind(), total.unbind(), strict=True):
            for shift in shifts:
                distance, slope = _compare(x, y, shift, with_slope=ctx.needs_input_grad[0])
                for part in _pair(sums, shift):
                    part += distance
                slopes.append(slope)
        ctx.shifts = shifts
        ctx.save_for_backward(count, *(slope for slope in slopes if slope is not None))
        return total / count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        count, *slopes = ctx.saved_tensors
        weights = grads[0] / count
        gradient = torch.zeros_like(weights)
        rest = iter(slopes)
        for weight, sums in zip(weights.unbind(), gradient.unbind(), strict=True):
            for shift in ctx.shifts:
                here, there = _pair(weight, shift)
                change = (here + there).mul_(next(rest))
                here, there = _pair(sums, shift)
                here -= change
                there += change
        return gradient, None, None


def _compare(
    x: Tensor, y: Tensor, shift: tuple[int, int], *, with_slope: bool
) -> tuple[Tensor, Tensor | None]:
    """Compare two grey pictures at one shift: the distance, and its slope by the difference in x.

    Distance e / (0.1 + e), e = (t - s)^2, t = d r, r = (0.81 + d^2)^-1/2, so dt/dd = 0.81 r^3.
    """
    (here, there), (here_y, there_y) = _pair(x, shift), _pair(y, shift)
    d, other = there - here, there_y - here_y
    r = (d * d).add_(_SOFT_SIGN).rsqrt_()
    other.mul_((other * other).add_(_SOFT_SIGN).rsqrt_())
    gap = d.mul_(r).sub_(other)
    square = gap * gap
    inverse = (square + _SOFT_STEP).reciprocal_()
    distance = square.mul_(inverse)
    if not with_slope:
        return distance, None
    cube = (r * r).mul_(r)
    return distance, gap.mul_(inverse).mul_(inverse).mul_(cube).mul_(2 * _SOFT_STEP * _SOFT_SIGN)


def _neighbours(grey: Tensor, shifts: list[tuple[int, int]]) -> Tensor:
    """Count the neighbours of each pixel inside the picture. (H, W)"""
    count = torch.zeros_like(grey[0])
    for shift in shifts:
        for part in _pair(count, shift):
            part += 1
    return count
