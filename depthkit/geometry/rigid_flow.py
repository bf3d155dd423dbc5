# SPDX-License-Identifier: Apache-2.0
"""Rigid flow: where the scene's points go in the image when the camera alone moves."""

from typing import NamedTuple

import torch
from torch import Tensor

from depthkit.geometry.projection import pixel_grid, reproject, size_of
from depthkit.geometry.warp import inside


class RigidFlow(NamedTuple):
    """Flow of a scene that stands still."""

    flow: Tensor
    """From the target to the source, pixels (u, v); 0 for points behind it. (B, 2, H, W)"""
    valid: Tensor
    """The point lies in front of and inside the source. (B, 1, H, W) bool"""


def rigid_flow(depth: Tensor, *, T_source_target: Tensor, K: Tensor) -> RigidFlow:
    """Compute the flow that depth and camera motion make: K [R|t] D(m) K^-1 m - m [Zhou 2017].

    Args:
        depth: of the target along the optical axis, metres, > 0. (B, 1, H, W)
        T_source_target: target-frame points to source frame, metres. (B, 4, 4)
        K: intrinsics of both images at H x W, pixels. (B, 3, 3)

    Returns:
        The flow and where it can be seen. Flow that leaves the image is a number like any other;
        that of points behind the source is 0 without a gradient, for they have no pixel.
    """
    pixels, depth_in_source = reproject(
        depth, T_source_target=T_source_target, K_target=K, K_source=K
    )
    here = pixel_grid(*size_of(depth), depth)[:2].unflatten(1, size_of(depth))
    ahead = depth_in_source.detach() > 1e-6
    flow = torch.where(ahead, pixels - here, 0.0)
    return RigidFlow(flow, inside(pixels.detach(), depth_in_source.detach(), size_of(depth)))
