# SPDX-License-Identifier: Apache-2.0
"""SfSNet: depth from the shading of one frame, for a light that rides on the camera [Ruano 2023].

An EfficientNet-B0 encoder and a light U-Net decoder that stops at half the size, as published; the
last doubling is bilinear. The network predicts gamma depth e = (depth / max_depth)^(1 / 1.5), the
form in which the paper stores depth: it spreads the near range, where an endoscope works.
"""

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from depthkit.errors import ConfigError, check_shape

GAMMA = 1.5
"""depth = max_depth * e^GAMMA, e in [0, 1] [Ruano 2023, the published decoding: 25 cm * e^1.5]."""
_STRIDE = 32
_WIDTHS = (32, 48, 64, 128)  # of the decoder, finest (1/2) first


class ShadingNet(nn.Module):
    """EfficientNet-B0 U-Net; returns inverse depth as every depth network here does."""

    def __init__(self, *, min_depth: float, max_depth: float) -> None:
        """Make the network with random weights; the paper trains from scratch.

        Args:
            min_depth: nearest depth it can predict, metres.
            max_depth: farthest depth it can predict, metres; 0.25 in the paper.

        Raises:
            ConfigError: an empty depth range.
        """
        super().__init__()
        if not 0 < min_depth < max_depth:
            raise ConfigError(f"0 < min_depth < max_depth must hold, got {min_depth}, {max_depth}")
        self.max_depth = max_depth
        self.least = (min_depth / max_depth) ** (1 / GAMMA)
        self.encoder = EfficientEncoder()
        below = (*_WIDTHS[1:], self.encoder.channels[-1])
        self.decoder = nn.ModuleList(
            _convolve(b + s, w)
            for b, s, w in zip(below, self.encoder.channels[:-1], _WIDTHS, strict=True)
        )
        self.head = nn.Conv2d(_WIDTHS[0], 1, 3, padding=1)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Predict inverse depth.

        Args:
            image: RGB in [0, 1], of any size: edges are repeated to a multiple of 32, then cut off.
                (B, 3, H, W)

        Returns:
            One map of inverse depth, 1 / metres, in 32 bits. [(B, 1, H, W)]
        """
        check_shape("ShadingNet: image", image, "B 3 H W")
        height, width = image.shape[-2:]
        bottom, right = -height % _STRIDE, -width % _STRIDE
        *skips, x = self.encoder(F.pad(image, (0, right, 0, bottom), mode="replicate"))
        for skip, convolve in zip(reversed(skips), reversed(self.decoder), strict=True):
            x = F.interpolate(x, scale_factor=2, mode="nearest")
            x = convolve(torch.cat([x, skip], 1))
        gamma_depth = self.least + (1 - self.least) * torch.sigmoid(self.head(x).float())
        gamma_depth = F.interpolate(gamma_depth, scale_factor=2, mode="bilinear")
        depth = self.max_depth * gamma_depth[..., :height, :width].pow(GAMMA)
        return [1 / depth]


class EfficientEncoder(nn.Module):
    """torchvision's EfficientNet-B0 up to its last stage [Tan 2019], cut where its maps halve."""

    channels = (16, 24, 40, 112, 320)

    def __init__(self) -> None:
        super().__init__()
        # Whole blocks are dropped at random against overfitting; a short run has none to fear.
        layers = torchvision.models.efficientnet_b0(weights=None, stochastic_depth_prob=0).features
        _widen_depthwise(layers)
        cuts = ((0, 2), (2, 3), (3, 4), (4, 6), (6, 8))  # layer 8, to 1280 channels, classifies
        self.stages = nn.ModuleList(nn.Sequential(*layers[start:end]) for start, end in cuts)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Encode RGB in [0, 1]. (B, 3, H, W) -> (B, C_i, H/2^i, W/2^i), i = 1..5"""
        features, x = list[Tensor](), (images - 0.45) / 0.225
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


class Depthwise(nn.Conv2d):
    """A depthwise convolution in 32 bits: in bf16 its gradients take a CPU ten times as long."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, whatever the network runs in. (B, C, H, W) -> (B, C, h, w) float32"""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


def _widen_depthwise(module: nn.Module) -> None:
    """Put `Depthwise` for each depthwise convolution; names and shapes of weights stay."""
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d) and child.groups > 1:
            kernel, stride = child.kernel_size[0], child.stride[0]
            channels = child.in_channels
            wide = Depthwise(
                channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False
            )
            wide.weight = child.weight
            setattr(module, name, wide)
        else:
            _widen_depthwise(child)


def _convolve(before: int, after: int) -> nn.Sequential:
    conv = nn.Conv2d(before, after, 3, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(after), nn.SiLU(inplace=True))
