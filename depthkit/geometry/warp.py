# SPDX-License-Identifier: Apache-2.0
"""View synthesis: the target reconstructed from a source. Only here `grid_sample` is called."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from depthkit.errors import check_shape
from depthkit.geometry.projection import pixel_grid, reproject, size_of


class Warped(NamedTuple):
    """A source view warped to the target's pixel grid."""

    image: Tensor
    """Sampled source, border colours outside. (B, C, H, W)"""
    valid: Tensor
    """Pixels whose point lies in front of and inside the source. (B, 1, H, W) bool"""
    depth: Tensor
    """Depth of the target's points in the source frame, metres. (B, 1, H, W)"""
    pixels: Tensor
    """Position (u, v) of each target pixel in the source. (B, 2, H, W)"""


def sample(image: Tensor, pixels: Tensor) -> Tensor:
    """Sample an image bilinearly at pixel positions; outside, the nearest border pixel.

    Args:
        image: (B, C, H, W)
        pixels: (u, v), integer pixel centres. (B, 2, h, w)

    Returns:
        Values at those positions. (B, C, h, w)
    """
    check_shape("sample: image", image, "B C H W")
    check_shape("sample: pixels", pixels, "B 2 h w")
    height, width = image.shape[-2:]
    # With integer pixel centres W - 1 is the far edge: that is align_corners=True and nothing else.
    span = pixels.new_tensor([max(width - 1, 1), max(height - 1, 1)]).view(1, 2, 1, 1)
    grid = (pixels * (2 / span) - 1).permute(0, 2, 3, 1)  # (B, h, w, 2)
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=True)


def inside(pixels: Tensor, depth: Tensor, size: tuple[int, int]) -> Tensor:
    """Return which positions lie on the image, half a pixel of margin, and in front of the camera.

    (B, 1, h, w) bool
    """
    u, v = pixels[:, :1], pixels[:, 1:]
    height, width = size
    return (u > -0.5) & (u < width - 0.5) & (v > -0.5) & (v < height - 0.5) & (depth > 1e-6)


def warp_to_target(
    source: Tensor,
    depth: Tensor,
    *,
    T_source_target: Tensor,
    K: Tensor,
    K_source: Tensor | None = None,
) -> Warped:
    """Reconstruct the target view by sampling a source image [Zhou 2017, eq. 2].

    Args:
        source: RGB in [0, 1], or any map of the source. (B, C, h, w)
        depth: target depth along the optical axis, metres, > 0. (B, 1, H, W)
        T_source_target: target-frame points to source frame, metres. (B, 4, 4)
        K: intrinsics of the target at H x W, and of the source unless given. (B, 3, 3)
        K_source: intrinsics of the source at h x w, pixels. (B, 3, 3)

    Returns:
        The source's values on the target's pixel grid, where they are valid, and the depth of
        the target's points in the source frame.
    """
    K_source = K if K_source is None else K_source
    pixels, depth_in_source = reproject(
        depth, T_source_target=T_source_target, K_target=K, K_source=K_source
    )
    valid = inside(pixels.detach(), depth_in_source.detach(), size_of(source))
    return Warped(sample(source, pixels), valid, depth_in_source, pixels)


def warp_by_flow(image: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """Reconstruct the first view by sampling the second at the end of each flow vector.

    Args:
        image: any map of the second view; of another size where the two share their first pixel.
            (B, C, H, W)
        flow: first -> second, pixels (u, v). (B, 2, h, w)

    Returns:
        image: its values on the first view's pixel grid; border values outside. (B, C, h, w)
        valid: the flow ends inside the second view. (B, 1, h, w) bool
    """
    check_shape("warp_by_flow: flow", flow, "B 2 h w")
    check_shape("warp_by_flow: image", image, f"{len(flow)} C H W")
    return sample(image, _follow(flow)), ends_inside(flow, size_of(image))


def ends_inside(flow: Tensor, size: tuple[int, int]) -> Tensor:
    """Return which flow vectors end inside a view of (H, W). (B, 2, h, w) -> (B, 1, h, w) bool"""
    pixels = _follow(flow.detach())
    return inside(pixels, torch.ones_like(pixels[:, :1]), size)


def _follow(flow: Tensor) -> Tensor:
    """Return the end positions of flow vectors, pixels (u, v). (B, 2, h, w)"""
    return flow + pixel_grid(*size_of(flow), flow)[:2].unflatten(1, size_of(flow))


def resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize by the one pixel convention: bilinear between pixel centres, area when shrinking."""
    if size_of(image) == tuple(size):
        return image
    if size[0] < image.shape[-2]:
        return F.interpolate(image, size, mode="area")
    return F.interpolate(image, size, mode="bilinear", align_corners=False)


def shrink(image: Tensor, step: int) -> Tensor:
    """Average blocks of step x step pixels; the last ones are filled up by the border.

    Unlike `resize` a pixel covers the same square of the image whatever the image's size.

    Args:
        image: (B, C, H, W)
        step: pixels.

    Returns:
        (B, C, h, w), h = ceil(H / step), w = ceil(W / step).
    """
    if step == 1:
        return image
    height, width = size_of(image)
    if height % step or width % step:
        image = F.pad(image, (0, -width % step, 0, -height % step), mode="replicate")
    return F.avg_pool2d(image, step)


def stack_views(views: Tensor) -> Tensor:
    """Fold the sources of a snippet into the batch, source by source. (B, S, ...) -> (S*B, ...)"""
    return torch.cat(views.unbind(1))
