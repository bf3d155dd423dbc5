# SPDX-License-Identifier: Apache-2.0
"""Keypoints and descriptors of a picture: a VGG without pooling, and a light network for robots.

Both give one logit for each pixel and a grid of descriptors. What the logit means is the task's
matter: log odds that the pixel is matched well [Gleize 2023, SiLK], or one of the 64 places of its
8 x 8 cell beside "no point" with logit 0 [DeTone 2018, SuperPoint, with its dustbin kept at 0].
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthkit.errors import ConfigError, check_shape
from depthkit.geometry.projection import size_of
from depthkit.models.similarity_blocks import convolve

LUMA = (0.299, 0.587, 0.114)  # of ITU-R BT.601, as OpenCV's grey
CELL = 8
"""Side of a cell of the detector, pixels; sides of pictures are filled up to a multiple."""
LEAST_SIDE = 33
"""Smallest side of a picture, pixels."""
_LEAST_CONTRAST = 0.02  # of [0, 1]: a blank wall is not blown up to texture
_LEAST_SQUARE = 1e-8  # of a descriptor's length: an all-zero one stays finite


class Keypoints(NamedTuple):
    """What the network says of a picture."""

    logits: Tensor
    """One number for each pixel: more where a keypoint is likelier. (B, 1, H, W)"""
    descriptors: Tensor
    """Descriptors of length 1, one for each block of `stride` pixels a side.
    (B, C, H / stride, W / stride)"""


class KeypointNet(nn.Module):
    """A picture in, logits and descriptors out."""

    def __init__(self, body: nn.Module, *, stride: int) -> None:
        """Wrap a body; stride: pixels from one descriptor to the next."""
        super().__init__()
        self.body, self.stride = body, stride

    def forward(self, image: Tensor) -> Keypoints:
        """Find keypoints and describe them.

        Args:
            image: RGB in [0, 1], sides multiples of 8. (B, 3, H, W)

        Raises:
            ShapeError: a side is no multiple of 8.
        """
        check_shape("KeypointNet: image", image, "B 3 H W")
        height, width = size_of(image)
        if height % CELL or width % CELL:
            check_shape(
                "KeypointNet: image", image, f"B 3 {-(-height // 8) * 8} {-(-width // 8) * 8}"
            )
        logits, x = self.body(level_brightness(image))
        x = x.float()
        # Not F.normalize: the norm along strided channels takes torch five times as long.
        return Keypoints(
            logits.float(), x * (x.square().sum(1, keepdim=True) + _LEAST_SQUARE).rsqrt()
        )


def level_brightness(image: Tensor) -> Tensor:
    """Turn a picture grey, and take its mean brightness and contrast out.

    Args:
        image: RGB in [0, 1]. (B, 3, H, W)

    Returns:
        Mean 0, standard deviation 1 or less. (B, 1, H, W)
    """
    grey = (image * image.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)
    difference = grey - grey.mean((2, 3), keepdim=True)
    contrast = difference.square().mean((2, 3), keepdim=True)
    return difference * (contrast + _LEAST_CONTRAST**2).rsqrt()


def keypoint_probability(logits: Tensor) -> Tensor:
    """Return how likely each pixel is the keypoint of its cell, "no point" at logit 0.

    (B, 1, H, W) -> (B, 1, H, W)
    """
    cells = F.pixel_unshuffle(logits, CELL)  # (B, 64, h, w), v % 8 * 8 + u % 8
    cells = torch.cat([cells, torch.zeros_like(cells[:, :1])], 1).softmax(1)
    return F.pixel_shuffle(cells[:, :-1], CELL)


class VggBody(nn.Module):
    """A VGG without pooling, 64-64-128-128 channels as published [Gleize 2023, 3.2].

    Filled up at the borders where the paper cuts them off, so that maps keep the picture's size.
    """

    def __init__(self, channels: int, *, width: float = 1.0) -> None:
        """Make it; channels: numbers of a descriptor, width: multiple of the published channels."""
        super().__init__()
        narrow, wide = max(8, round(64 * width)), max(8, round(128 * width))
        steps = ((1, narrow), (narrow, narrow), (narrow, wide), (wide, wide))
        self.trunk = nn.Sequential(
            *(
                nn.Sequential(convolve(before, after), convolve(after, after))
                for before, after in steps
            )
        )
        self.score = nn.Sequential(convolve(wide, wide), nn.Conv2d(wide, 1, 1))
        self.describe = nn.Sequential(convolve(wide, wide), nn.Conv2d(wide, channels, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (B, 1, H, W) and descriptors (B, C, H, W) of any length."""
        x = self.trunk(x)
        return self.score(x), self.describe(x)


class LightBody(nn.Module):
    """Most work at 1/4 to 1/16 of the picture (ours, after the widths of XFeat [Potje 2024]).

    Blocks of 4 x 4 pixels become channels at the start and at the end, so that no convolution runs
    at full size and a keypoint still has a pixel of its own.
    """

    STRIDE = 4
    _FINE, _MIDDLE, _COARSE = 24, 64, 96  # channels at 1/4, 1/8 and 1/16

    def __init__(self, channels: int) -> None:
        """Make it; channels: numbers of a descriptor."""
        super().__init__()
        fine, middle, coarse = self._FINE, self._MIDDLE, self._COARSE
        self.stem = nn.Sequential(convolve(self.STRIDE**2, fine), convolve(fine, fine))
        self.down = nn.Sequential(_halve(fine, middle), convolve(middle, middle))
        self.deep = nn.Sequential(_halve(middle, coarse), convolve(coarse, coarse))
        self.lift = convolve(coarse, middle, kernel=1)
        self.join = convolve(middle, middle)
        self.skip = convolve(fine, middle, kernel=1)
        self.mix = convolve(middle, middle, kernel=1)
        self.describe = nn.Conv2d(middle, channels, 1)
        self.corner = convolve(fine, fine)
        self.score = nn.Sequential(
            convolve(fine + middle, middle, kernel=1), nn.Conv2d(middle, self.STRIDE**2, 1)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (B, 1, H, W) and descriptors (B, C, H / 4, W / 4) of any length."""
        fine = self.stem(F.pixel_unshuffle(x, self.STRIDE))
        middle = self.down(fine)
        lifted = _grow(self.lift(self.deep(_even(middle))))
        middle = self.join(middle + lifted[..., : middle.shape[2], : middle.shape[3]])
        mixed = self.mix(self.skip(fine) + _grow(middle))
        score = self.score(torch.cat([self.corner(fine), mixed], 1))
        return F.pixel_shuffle(score, self.STRIDE), self.describe(mixed)


def _halve(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )


def _even(x: Tensor) -> Tensor:
    """Repeat the last row and column where a side is odd: the coarser map is cut back after."""
    return F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2), mode="replicate")


def _grow(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear")


def build_keypoint_net(name: str, *, channels: int, width: float = 1.0) -> KeypointNet:
    """Make a network with random weights.

    Args:
        name: value of `model.keypoints`: light or vgg.
        channels: numbers of a descriptor.
        width: channels of the vgg, as a multiple of the published ones.

    Raises:
        ConfigError: another name.
    """
    match name:
        case "light":
            return KeypointNet(LightBody(channels), stride=LightBody.STRIDE)
        case "vgg":
            return KeypointNet(VggBody(channels, width=width), stride=1)
    raise ConfigError(f"model.keypoints: unknown network {name!r}")
