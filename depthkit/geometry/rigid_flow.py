# SPDX-License-Identifier: Apache-2.0
"""Rigid flow: the optical flow of a static scene under camera motion."""

from typing import NamedTuple

import torch
from torch import Tensor

from depthkit.geometry.projection import pixel_grid, reproject, size_of
from depthkit.geometry.warp import inside


class RigidFlow(NamedTuple):
    """Flow of a static scene."""

    flow: Tensor
    """Flow (u, v) from target to source, pixels; 0 for points behind the source. (B, 2, H, W)"""
    valid: Tensor
    """Pixels whose point lies in front of and inside the source. (B, 1, H, W) bool"""


def rigid_flow(depth: Tensor, *, T_source_target: Tensor, K: Tensor) -> RigidFlow:
    """Compute the flow caused by depth and camera motion: K [R|t] D(m) K^-1 m - m [Zhou 2017].

    Args:
        depth: depth of the target along the optical axis, metres, > 0. (B, 1, H, W)
        T_source_target: target-frame points to source frame, metres. (B, 4, 4)
        K: intrinsics of both images at H x W, pixels. (B, 3, 3)

    Returns:
        The flow and its validity. Flow that leaves the image keeps its value and gradient; points
        behind the source have no pixel, so their flow is 0 without a gradient.
    """
    pixels, depth_in_source = reproject(
        depth, T_source_target=T_source_target, K_target=K, K_source=K
    )
    here = pixel_grid(*size_of(depth), depth)[:2].unflatten(1, size_of(depth))
    ahead = depth_in_source.detach() > 1e-6
    flow = torch.where(ahead, pixels - here, 0.0)
    return RigidFlow(flow, inside(pixels.detach(), depth_in_source.detach(), size_of(depth)))
