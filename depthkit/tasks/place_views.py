# SPDX-License-Identifier: Apache-2.0
"""Another look at the same place: cut out, turned, in perspective, in another light and season."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from kornia.geometry.transform import get_perspective_transform
from torch import Tensor

from depthkit.config import PlaceConfig
from depthkit.geometry.projection import pixel_grid, size_of
from depthkit.geometry.warp import sample

_LUMA = (0.299, 0.587, 0.114)  # of ITU-R BT.601, as OpenCV's grey
_GAMMA, _GAIN, _TINT, _GRADIENT = 0.6, 0.4, 0.2, 0.5  # largest changes at strength 1
_NOISE, _COVERED, _MATRIX = 0.03, 0.3, 0.15


class Looks(NamedTuple):
    """Varied pictures, and their rasters changed by the same geometry."""

    images: Tensor
    """RGB in [0, 1]. (B, 3, H, W)"""
    rasters: Tensor | None
    """Second modality in [0, 1]. (B, 3, H, W)"""


@torch.no_grad()
def vary_looks(images: Tensor, rasters: Tensor | None, config: PlaceConfig) -> Looks:
    """Vary each picture on its own; what is drawn comes from torch's generator.

    Args:
        images: RGB in [0, 1]. (B, 3, H, W)
        rasters: second modality of each, where there is one. (B, 3, H, W)
        config: how far.
    """
    # 1. The same part of the picture and of its raster.
    if config.rotation or config.crop or config.perspective:
        pixels = _look_elsewhere(images, config)
        images = sample(images, pixels)
        rasters = None if rasters is None else sample(rasters, pixels)
    # 2. Light, colour and what stands before the camera: of the picture alone.
    return Looks(change_season(images, strength=config.season), rasters)


def _look_elsewhere(images: Tensor, config: PlaceConfig) -> Tensor:
    """Draw a homography for each picture; return where its pixels come from. (B, 2, H, W)"""
    height, width = size_of(images)
    span = images.new_tensor([width - 1, height - 1])
    corners = images.new_tensor([[0, 0], [1, 0], [1, 1], [0, 1]]) - 0.5

    def draw(*shape: int) -> Tensor:  # from -1 to 1
        return 2 * torch.rand(len(images), *shape, device=images.device) - 1

    scale = 1 - config.crop * (draw(1, 1) + 1) / 2
    angle = math.radians(config.rotation) * draw()
    R = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(-1, 2, 2)
    moved = scale * corners * span @ R  # about the middle, pixels
    moved = moved + (draw(1, 2) * (1 - scale) / 2 + draw(4, 2) * config.perspective) * span
    before = (corners * span + span / 2).expand(len(images), -1, -1)
    H = get_perspective_transform(before, moved + span / 2)
    there = H @ pixel_grid(height, width, images)  # (B, 3, H*W)
    return (there[:, :2] / there[:, 2:].clamp(min=1e-3)).unflatten(2, (height, width))


def change_season(images: Tensor, *, strength: float) -> Tensor:
    """Change light and colours of each picture, blur it, add noise and cover parts of it.

    Args:
        images: RGB in [0, 1]. (B, 3, H, W)
        strength: 0 for none.
    """
    if strength == 0:
        return images
    count, device = len(images), images.device

    def draw(*shape: int) -> Tensor:  # from -1 to 1, times the strength
        return strength * (2 * torch.rand(count, *shape, device=device) - 1)

    # 1. Seasons: colours mixed among each other about their grey, then a tint.
    grey = (images * images.new_tensor(_LUMA)[:, None, None]).sum(1, keepdim=True)
    colour = (images - grey) * (1 + draw(1, 1, 1)).clamp(0, 2)
    mixed = torch.einsum("bij,bjhw->bihw", _MATRIX * draw(3, 3), colour) + colour + grey
    mixed = mixed * (1 + _TINT * draw(3, 1, 1))
    # 2. Time of day: contrast, exposure, a gradient of light across the picture, gamma.
    mean = mixed.mean((1, 2, 3), keepdim=True)
    lit = (mixed - mean) * (1 + _GAIN * draw(1, 1, 1)).clamp(min=0.2) + mean
    lit = lit * (1 + _GAIN * draw(1, 1, 1)) * _gradient_of_light(lit, _GRADIENT * draw(2))
    lit = lit.clamp(1e-3, 1).pow((_GAMMA * draw(1, 1, 1)).exp())
    # 3. Camera: blur and noise.
    soft = F.avg_pool2d(F.pad(lit, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    soft = torch.lerp(lit, soft, draw(1, 1, 1).clamp(0, 1))
    noise = _NOISE * draw(1, 1, 1).clamp(min=0) * torch.randn_like(soft)
    # 4. What stands before it: one flat patch in every second picture.
    return _cover((soft + noise).clamp(0, 1), share=min(_COVERED * strength, 0.6))


def _gradient_of_light(images: Tensor, slope: Tensor) -> Tensor:
    """Return a factor that is 1 in the middle and linear in the position. (B, 1, H, W)"""
    height, width = size_of(images)
    v = torch.linspace(-1, 1, height, device=images.device)[:, None]
    u = torch.linspace(-1, 1, width, device=images.device)
    factor = 1 + slope[:, :1, None] * u + slope[:, 1:, None] * v
    return factor.clamp(min=0.2)[:, None]


def _cover(images: Tensor, *, share: float) -> Tensor:
    """Put a patch of one colour on about half of the pictures; share: its largest side, of 1."""
    count, (height, width), device = len(images), size_of(images), images.device
    side, middle, drawn = (torch.rand(count, 2, device=device) for _ in range(3))
    half = side * share / 2 * (drawn[:, :1] < 0.5)
    v = (torch.arange(height, device=device) + 0.5) / height
    u = (torch.arange(width, device=device) + 0.5) / width
    rows = (v - middle[:, :1]).abs() < half[:, :1]
    columns = (u - middle[:, 1:]).abs() < half[:, 1:]
    covered = (rows[:, :, None] & columns[:, None])[:, None]
    return torch.where(covered, torch.rand(count, 3, 1, 1, device=device), images)
