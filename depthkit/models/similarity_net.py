# SPDX-License-Identifier: Apache-2.0
"""Descriptors of every pixel, to be compared between views [Chebbi 2023, DeepSim-Nets].

What is learnt is where pixels match, densely and over a large support, not disparity: the costs
made of descriptors are regularised as any others, so one training serves other cameras. Three
extractors follow the paper (U-Net32, attention U-Net, MS-AFF in `similarity_blocks.py`); `small`
is ours, for one core of a robot. Two descriptors are compared by their normalised dot product, or
by a small network (`Decision`).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthkit.errors import ConfigError, check_shape
from depthkit.geometry.projection import size_of
from depthkit.models.similarity_blocks import AttentionGate, MultiScaleFusion, convolve

_LUMA = (0.299, 0.587, 0.114)  # of ITU-R BT.601, as OpenCV's grey
_WINDOW = 9  # pixels: side of the square whose mean and contrast are taken out
_LEAST_SQUARE = 1e-8  # of a descriptor's length: an all-zero one stays finite
_LEAST_CONTRAST = 0.02  # of [0, 1]: where there is no texture, noise is not blown up to some


class FeaturesNet(nn.Module):
    """A picture in, descriptors of length 1 out."""

    def __init__(self, extractor: nn.Module, *, stride: int) -> None:
        """Wrap an extractor; pictures are filled up to a multiple of stride, the map cut back."""
        super().__init__()
        self.extractor, self.stride = extractor, stride

    def forward(self, image: Tensor) -> Tensor:
        """Describe every pixel.

        Args:
            image: RGB in [0, 1], of any size. (B, 3, H, W)

        Returns:
            Descriptors of length 1, in 32 bits. (B, C, H, W)
        """
        check_shape("FeaturesNet: image", image, "B 3 H W")
        height, width = size_of(image)
        bottom, right = -height % self.stride, -width % self.stride
        grey = (image * image.new_tensor(_LUMA)[:, None, None]).sum(1, keepdim=True)
        grey = F.pad(grey, (0, right, 0, bottom), mode="replicate")
        x = torch.cat([(grey - 0.45) / 0.225, local_contrast(grey)], 1)
        x = self.extractor(x)[..., :height, :width].float()
        # Not F.normalize: the norm along strided channels takes torch five times as long.
        return x * (x.square().sum(1, keepdim=True) + _LEAST_SQUARE).rsqrt()


def local_contrast(grey: Tensor) -> Tensor:
    """Take the mean and the contrast of the surroundings out of a picture.

    The cameras of a pair differ in brightness and contrast; what is left does not.

    Args:
        grey: in [0, 1]. (B, 1, H, W)

    Returns:
        Differences from the mean around, as multiples of their own size around. (B, 1, H, W)
    """
    # The contrast of the differences, not E[x^2] - E[x]^2, which rounding spoils on even walls.
    difference = grey - _mean_around(grey)
    return difference * (_mean_around(difference.square()) + _LEAST_CONTRAST**2).rsqrt()


def _mean_around(x: Tensor) -> Tensor:
    radius = _WINDOW // 2
    return F.avg_pool2d(F.pad(x, (radius,) * 4, mode="replicate"), _WINDOW, stride=1)


class SmallNet(nn.Module):
    """A U-Net of few channels at full size: most of its work is at 1/2 to 1/8 (ours)."""

    widths = (24, 32, 48, 64)  # at 1, 1/2, 1/4 and 1/8

    def __init__(self, channels: int) -> None:
        super().__init__()
        first, *below = self.widths
        self.stem = nn.Sequential(convolve(2, 16), convolve(16, first))
        self.down = nn.ModuleList(
            nn.Sequential(convolve(before, width), convolve(width, width))
            for before, width in zip(self.widths[:-1], below, strict=True)
        )
        self.up = nn.ModuleList(
            convolve(coarse + fine, fine)
            for fine, coarse in zip(self.widths[:-1], below, strict=True)
        )
        self.head = nn.Conv2d(first, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Describe a picture whose sides are multiples of 8. (B, 2, H, W) -> (B, C, H, W)"""
        maps = [self.stem(x)]
        for stage in self.down:
            maps.append(stage(F.avg_pool2d(maps[-1], 2)))
        x = maps.pop()
        for merge in reversed(self.up):
            x = merge(torch.cat([F.interpolate(x, scale_factor=2, mode="bilinear"), maps.pop()], 1))
        return self.head(x)


class UNet32(nn.Module):
    """U-Net32 of the paper: four poolings from 32 to 512 channels, and their way back.

    With `attention`, gates weigh what the skips pass on [Oktay 2018].
    """

    widths = (32, 64, 128, 256, 512)

    def __init__(self, channels: int, *, attention: bool = False) -> None:
        super().__init__()
        befores = (2, *self.widths[:-1])
        self.down = nn.ModuleList(
            nn.Sequential(convolve(before, width), convolve(width, width))
            for before, width in zip(befores, self.widths, strict=True)
        )
        steps = list(zip(self.widths[:-1], self.widths[1:], strict=True))
        self.grow = nn.ModuleList(convolve(coarse, fine) for fine, coarse in steps)
        self.gates = nn.ModuleList(AttentionGate(fine) for fine, _ in steps if attention)
        self.up = nn.ModuleList(
            nn.Sequential(convolve(2 * fine, fine), convolve(fine, fine)) for fine, _ in steps
        )
        self.head = nn.Conv2d(self.widths[0], channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Describe a picture whose sides are multiples of 16. (B, 2, H, W) -> (B, C, H, W)"""
        maps = list[Tensor]()
        for stage in self.down:
            x = stage(F.max_pool2d(maps[-1], 2) if maps else x)
            maps.append(x)
        x = maps.pop()
        for level in reversed(range(len(self.up))):
            x = self.grow[level](F.interpolate(x, scale_factor=2, mode="bilinear"))
            skip = maps.pop()
            if self.gates:
                skip = self.gates[level](skip, x)
            x = self.up[level](torch.cat([skip, x], 1))
        return self.head(x)


class Decision(nn.Module):
    """Decides from two descriptors whether they match: an MLP 2 C -> 384 -> 384 -> 384 -> 1."""

    width = 384

    def __init__(self, channels: int) -> None:
        """Make it with random weights; channels: numbers of a descriptor."""
        super().__init__()
        layers = list[nn.Module]()
        before = 2 * channels
        for _ in range(3):
            layers += [nn.Linear(before, self.width), nn.ReLU(inplace=True)]
            before = self.width
        self.layers = nn.Sequential(*layers, nn.Linear(before, 1))

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """Return log odds of a match; their sigmoid is the similarity. (..., C) twice -> (...)"""
        return self.layers(torch.cat([left, right], -1))[..., 0]


def build_features_net(name: str, *, channels: int) -> FeaturesNet:
    """Make an extractor with random weights.

    Args:
        name: value of `model.features`.
        channels: numbers of a descriptor.

    Raises:
        ConfigError: another name.
    """
    match name:
        case "small":
            return FeaturesNet(SmallNet(channels), stride=8)
        case "unet32":
            return FeaturesNet(UNet32(channels), stride=16)
        case "attention":
            return FeaturesNet(UNet32(channels, attention=True), stride=16)
        case "ms_aff":
            return FeaturesNet(MultiScaleFusion(channels), stride=8)
    raise ConfigError(f"model.features: unknown extractor {name!r}")
