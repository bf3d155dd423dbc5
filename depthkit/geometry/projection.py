# SPDX-License-Identifier: Apache-2.0
"""Pinhole projection.

The only place that makes pixel grids: (0, 0) is the centre of the top-left pixel.
"""

import torch
from torch import Tensor

from depthkit.camera import resize_matrix
from depthkit.errors import check_shape


def pixel_grid(height: int, width: int, like: Tensor) -> Tensor:
    """Return the pixels (u, v, 1), row by row, with the type and device of `like`. (3, H*W)"""
    v = torch.arange(height, dtype=like.dtype, device=like.device)
    u = torch.arange(width, dtype=like.dtype, device=like.device)
    vv, uu = torch.meshgrid(v, u, indexing="ij")
    return torch.stack([uu, vv, torch.ones_like(uu)]).flatten(1)


def backproject(depth: Tensor, K: Tensor) -> Tensor:
    """Lift pixels to points in the camera frame: M = Z K^-1 m.

    Args:
        depth: along the optical axis, metres. (B, 1, H, W)
        K: intrinsics at H x W, pixels. (B, 3, 3)

    Returns:
        Points, metres. (B, 3, H, W)
    """
    check_shape("backproject: depth", depth, "B 1 H W")
    check_shape("backproject: K", K, "B 3 3")
    height, width = depth.shape[-2:]
    rays = torch.linalg.inv(K) @ pixel_grid(height, width, depth)  # (B, 3, H*W)
    return (rays * depth.flatten(2)).unflatten(2, (height, width))


def project(points: Tensor, K: Tensor) -> tuple[Tensor, Tensor]:
    """Project points of the camera frame into the image.

    Args:
        points: metres. (B, 3, H, W)
        K: intrinsics, pixels. (B, 3, 3)

    Returns:
        pixels: (u, v); meaningless where depth <= 0. (B, 2, H, W)
        depth: along the optical axis, metres. (B, 1, H, W)
    """
    check_shape("project: points", points, "B 3 H W")
    check_shape("project: K", K, "B 3 3")
    return _divide((K @ points.flatten(2)).unflatten(2, points.shape[-2:]))


def reproject(
    depth: Tensor, *, T_source_target: Tensor, K_target: Tensor, K_source: Tensor
) -> tuple[Tensor, Tensor]:
    """Find each target pixel in the source: p_s ~ K_s (R Z K_t^-1 p_t + t) [Zhou 2017, eq. 2].

    The same as backproject, move, project, in one matrix product: K_s R K_t^-1 is a single
    homography of the pixel grid, scaled by depth and shifted by K_s t.

    Args:
        depth: depth of the target, metres. (B, 1, H, W)
        T_source_target: target-frame points to source frame, metres. (B, 4, 4)
        K_target, K_source: intrinsics, pixels. (B, 3, 3)

    Returns:
        pixels: (u, v) in the source; meaningless where its depth <= 0. (B, 2, H, W)
        depth: depth of those points in the source frame, metres. (B, 1, H, W)
    """
    check_shape("reproject: depth", depth, "B 1 H W")
    check_shape("reproject: T_source_target", T_source_target, "B 4 4")
    height, width = depth.shape[-2:]
    R, t = T_source_target[:, :3, :3], T_source_target[:, :3, 3:]
    homography = K_source @ R @ torch.linalg.inv(K_target)
    rays = homography @ pixel_grid(height, width, depth)  # (B, 3, H*W)
    points = torch.addcmul(K_source @ t, rays, depth.flatten(2))
    return _divide(points.unflatten(2, (height, width)))


def _divide(homogeneous: Tensor) -> tuple[Tensor, Tensor]:
    depth = homogeneous[:, 2:]
    # Points at or behind the camera have no pixel; the clamp keeps numbers and gradients finite.
    return homogeneous[:, :2] / depth.clamp(min=1e-6), depth


def size_of(image: Tensor) -> tuple[int, int]:
    """Return an image's (H, W)."""
    return image.shape[-2], image.shape[-1]


def resize_intrinsics(K: Tensor, from_size: tuple[int, int], to_size: tuple[int, int]) -> Tensor:
    """Return the intrinsics after an image is resized. (B, 3, 3), sizes are (H, W)"""
    return torch.as_tensor(resize_matrix(from_size, to_size), dtype=K.dtype, device=K.device) @ K


def flow_to(pixels: Tensor) -> Tensor:
    """Return the way of each pixel of the grid to where it has moved, pixels. (B, 2, H, W)"""
    height, width = pixels.shape[-2:]
    return pixels - pixel_grid(height, width, pixels)[:2].unflatten(1, (height, width))


def displacement(pixels: Tensor) -> Tensor:
    """Return how far each pixel of the grid has moved, pixels. (B, 2, H, W) -> (B, 1, H, W)"""
    u, v = flow_to(pixels).split(1, dim=1)
    return torch.hypot(u, v)
