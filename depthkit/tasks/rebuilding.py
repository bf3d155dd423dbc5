# SPDX-License-Identifier: Apache-2.0
"""What a pair's depth is judged by where no depth is known: the target rebuilt from other frames.

The maps of a pair network are depth, metres at the nominal baseline D0, at 1/4 of the size and
less.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from depthkit.config import LossConfig
from depthkit.geometry.projection import resize_intrinsics, size_of
from depthkit.geometry.warp import Warped, resize, stack_views, warp_to_target
from depthkit.losses.masks import reduce_minimum
from depthkit.losses.photometric import photometric_error
from depthkit.losses.smoothness import (
    edge_aware_smoothness,
    gradient_diffusion_smoothness,
    second_order_smoothness,
)
from depthkit.tasks.supervised_pair import LEAST_DEPTH, enlarge_inverse

_MIDDLE = 10.0  # metres at D0, where a gradient is passed on as it is
_MOST_PULL = 5.0  # times the gradient, of far depths


class Views(NamedTuple):
    """What a depth is judged by."""

    target: Tensor
    """(B, 3, H, W)"""
    others: Tensor
    """(B, S, 3, H, W)"""
    T_others_target: Tensor
    """At the nominal baseline. (B, S, 4, 4)"""
    K: Tensor
    """At H x W, pixels. (B, 3, 3)"""
    valid: Tensor
    """Pixels of the target that may teach. (B, 1, H, W) bool"""


class Rebuilt(NamedTuple):
    """The target rebuilt from all other frames."""

    error: Tensor
    """()"""
    kept: Tensor
    """Pixels that teach. (S*B or B, 1, h, w) bool"""
    warped: Warped
    target: Tensor
    """At the size it is judged at. (B, 3, h, w)"""


def balance(depth: Tensor) -> Tensor:
    """Pass depth on; on the way back its gradient is multiplied by depth / 10 m.

    A metre moves a pixel by f D0 / Z^2: a near thing taken for a far one hardly pulls itself back,
    and what is far hardly learns at all. So each learns about as if log depth were predicted. Ours.
    """
    fixed = depth.detach()
    return fixed + (depth - fixed) * (fixed / _MIDDLE).clamp(max=_MOST_PULL)


def levels_of(
    maps: list[Tensor], size: tuple[int, int], *, full_resolution: bool
) -> list[tuple[float, Tensor]]:
    """Return each depth to be judged with its weight, the one at full size first.

    All maps enlarged, each half the weight of the finer; or, as published, the finest enlarged and
    every map at its own size, weighted by its share of the width. There the finest is judged at the
    coarser sizes too (ours): what is near has moved by many pixels, and by one of those.
    """
    if full_resolution:
        return [
            (0.5**level, enlarge_inverse(depth, size, level=level))
            for level, depth in enumerate(maps)
        ]
    own = [(depth.shape[-1] / size[1], depth) for depth in maps]
    shrunk = [
        (weight, 1 / resize(1 / maps[0].clamp(min=LEAST_DEPTH), size_of(coarse)))
        for weight, coarse in own[1:]
    ]
    return [(1.0, enlarge_inverse(maps[0], size)), *own, *shrunk]


def still_loss(maps: list[Tensor], still: Tensor, max_depth: float) -> Tensor:
    """Ask for the farthest depth where a frame was paired with itself: smooth L1 of net / max to 1.

    Args:
        maps: depth at each scale, metres at D0. (B, 1, h, w) each
        still: which pairs. (B,) bool
        max_depth: metres.

    Returns:
        Mean over those pairs, then over the scales; 0 without such pairs. ()
    """
    count = still.sum().clamp(min=1)
    means = []
    for depth in maps:
        share = depth / max_depth
        error = F.smooth_l1_loss(share, torch.ones_like(share), reduction="none").mean((1, 2, 3))
        means.append((error * still).sum() / count)
    return torch.stack(means).mean()


def rebuild(depth: Tensor, views: Views, loss: LossConfig) -> Rebuilt:
    """Rebuild the target from all others with a depth of any size, and judge it at that size."""
    full, size, count = size_of(views.target), size_of(depth), views.others.shape[1]
    target = resize(views.target, size)
    sources = resize(stack_views(views.others), size)  # (S*B, 3, h, w)
    K = resize_intrinsics(views.K, full, size).repeat(count, 1, 1)
    T = stack_views(views.T_others_target)
    warped = warp_to_target(sources, depth.repeat(count, 1, 1, 1), T_source_target=T, K=K)
    error = photometric_error(
        warped.image, target.repeat(count, 1, 1, 1), ssim_weight=loss.ssim_weight
    )
    valid = warped.valid & resize(views.valid.float(), size).ge(1).repeat(count, 1, 1, 1)
    if loss.reduction == "minimum":
        reduced = reduce_minimum(*(x.unflatten(0, (count, -1)) for x in (error, valid)))
        return Rebuilt(_mean(reduced.error, reduced.kept), reduced.kept, warped, target)
    return Rebuilt(_mean(error, valid), valid, warped, target)


def _mean(error: Tensor, valid: Tensor) -> Tensor:
    """Average over the pixels that count: with zeros in it, leaving the image would pay."""
    return (error * valid).sum() / valid.sum().clamp(min=1)


def smoothness(name: str, inverse_depth: Tensor, image: Tensor) -> Tensor:
    """Return a smoothness loss by name; the image comes at any size. ()"""
    match name:
        case "second_order":
            return second_order_smoothness(inverse_depth)
        case "edge_aware":
            return edge_aware_smoothness(inverse_depth, resize(image, size_of(inverse_depth)))
    return gradient_diffusion_smoothness(inverse_depth, resize(image, size_of(inverse_depth)))
