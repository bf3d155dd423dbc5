# SPDX-License-Identifier: Apache-2.0
"""Soft ternary census: compares which neighbours are brighter, not how bright they are.

What changes the light of a whole neighbourhood, such as exposure or shade, costs nothing
[Meister 2018, UnFlow, with the constants of its code]. The gradient is written out by hand: pairs
of pixels are looked at once for both, and few pictures at a time, so that they stay in the cache.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from depthkit.errors import check_shape

_LEVELS = 255.0  # grey levels of the published constants
_SOFT_SIGN = 0.81  # square grey levels: differences well below 0.9 are no difference
_SOFT_STEP = 0.1
_FAR = 1e18  # grey levels: in 32 bits the same number less any level; its square is finite
_CACHED = 1 << 14  # pixels looked at together


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
        radius: radius of the neighbourhood, pixels; the published one is 3.

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


class _Census(torch.autograd.Function):
    """Distance of grey pictures (B, H, W), differentiable in the first, once.

    Lines are filled up on the right, so that a neighbour is one offset in memory, and left of a
    line is what fills the one above. The fill is so far from any grey level that its difference to
    a pixel is the same number in both pictures: it costs nothing and pulls nowhere.
    """

    @staticmethod
    def forward(ctx: Any, grey: Tensor, wanted: Tensor, radius: int) -> Tensor:
        batch, height, width = grey.shape
        pitch = width + radius
        pictures = F.pad(torch.stack([grey, wanted]), (0, radius), value=_FAR).flatten(2)
        total = torch.zeros_like(pictures[0])
        few = max(1, _CACHED // (height * width))
        offsets = [v * pitch + u for v, u in _half(radius)]
        slopes = []
        for both, sums in zip(pictures.split(few, 1), total.split(few), strict=True):
            for offset in offsets:
                distance, slope = _compare(both, offset, with_slope=ctx.needs_input_grad[0])
                for part in _pair(sums, offset):
                    part += distance
                slopes.append(slope)
        count = _neighbours(grey, radius)
        ctx.offsets, ctx.few, ctx.radius = offsets, few, radius
        ctx.save_for_backward(count, *(slope for slope in slopes if slope is not None))
        return total.view(batch, height, pitch)[..., :width] / count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        count, *slopes = ctx.saved_tensors
        shares = grads[0] * (2 * _SOFT_STEP * _SOFT_SIGN / count)
        weights = F.pad(shares, (0, ctx.radius)).flatten(1)
        gradient = torch.zeros_like(weights)
        rest = iter(slopes)
        for weight, sums in zip(weights.split(ctx.few), gradient.split(ctx.few), strict=True):
            for offset in ctx.offsets:
                here, there = _pair(weight, offset)
                change = (here + there).mul_(next(rest))
                here, there = _pair(sums, offset)
                here -= change
                there += change
        batch, height, width = shares.shape
        return gradient.view(batch, height, -1)[..., :width], None, None


def _pair(x: Tensor, offset: int) -> tuple[Tensor, Tensor]:
    """View the pixels that have this neighbour, and the neighbours. (..., n - offset) each"""
    return x[..., :-offset], x[..., offset:]


def _compare(both: Tensor, offset: int, *, with_slope: bool) -> tuple[Tensor, Tensor | None]:
    """Compare image and target, (2, n, H*pitch), at one offset: the distance, and its slope.

    Distance e / (0.1 + e), e = (t - s)^2, t = d r, r = (0.81 + d^2)^-1/2, so dt/dd = 0.81 r^3. The
    slope is by the image's difference d, over 2 * 0.1 * 0.81.
    """
    here, there = _pair(both, offset)
    d = there - here
    r = (d * d).add_(_SOFT_SIGN).rsqrt_()
    t, s = d.mul_(r)
    gap = t.sub_(s)
    square = gap * gap
    inverse = (square + _SOFT_STEP).reciprocal_()
    distance = square.mul_(inverse)
    if not with_slope:
        return distance, None
    inverse.mul_(r[0])
    return distance, gap.mul_(inverse).mul_(inverse).mul_(r[0])


def _neighbours(grey: Tensor, radius: int) -> Tensor:
    """Count the neighbours of each pixel inside the picture. (H, W)"""
    inside = F.pad(torch.ones_like(grey[:1]), (radius,) * 4)
    return F.avg_pool2d(inside, 2 * radius + 1, 1, divisor_override=1)[0] - 1
