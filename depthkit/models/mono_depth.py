# SPDX-License-Identifier: Apache-2.0
"""Single-view depth: an encoder with a U-Net decoder [Godard 2019], and DispNetS [Zhou 2017].

Every depth network returns inverse depth, 1 / metres, finest scale first. A sigmoid s becomes
1 / max_depth + (1 / min_depth - 1 / max_depth) s; with 0.1 and 100 this is Zhou's 10 s + 0.01 too.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthkit.errors import ConfigError, ShapeError, check_shape
from depthkit.models.encoder import ENCODERS, LightEncoder, ResNetEncoder, build_encoder

DEPTH_NETWORKS = (*ENCODERS, "dispnet")
_SCALES = 4


class InverseDepthRange(nn.Module):
    """Maps logits to inverse depth between 1 / max_depth and 1 / min_depth."""

    def __init__(self, min_depth: float, max_depth: float) -> None:
        super().__init__()
        if not 0 < min_depth < max_depth:
            raise ConfigError(f"0 < min_depth < max_depth must hold, got {min_depth}, {max_depth}")
        self.least, self.span = 1 / max_depth, 1 / min_depth - 1 / max_depth

    def forward(self, logits: Tensor) -> Tensor:
        """Return inverse depth in 32 bits, whatever the network ran in. (B, 1, h, w)"""
        return self.least + self.span * torch.sigmoid(logits.float())


class UNetDepth(nn.Module):
    """Encoder, then five times {convolve, double, join the skip, convolve}, a head a scale."""

    def __init__(
        self,
        encoder: ResNetEncoder | LightEncoder,
        *,
        min_depth: float,
        max_depth: float,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.to_inverse_depth = InverseDepthRange(min_depth, max_depth)
        slim = isinstance(encoder, LightEncoder)
        widths = (12, 16, 32, 64, 96) if slim else (16, 32, 64, 128, 256)  # finest first
        below = (*widths[1:], encoder.channels[4])
        skips = (0, *encoder.channels[:4])
        self.before = nn.ModuleList(Conv3x3(b, w) for b, w in zip(below, widths, strict=True))
        self.after = nn.ModuleList(Conv3x3(w + s, w) for w, s in zip(widths, skips, strict=True))
        self.heads = nn.ModuleList(Conv3x3(w, 1, activate=False) for w in widths[:_SCALES])

    def forward(self, image: Tensor) -> list[Tensor]:
        """Predict inverse depth.

        Args:
            image: RGB in [0, 1], 33 pixels a side or more. (B, 3, H, W)

        Returns:
            Inverse depth, 1 / metres, at 1, 1/2, 1/4 and 1/8 of the size. (B, 1, h, w) each
        """
        check_shape("UNetDepth: image", image, "B 3 H W")
        if min(image.shape[-2:]) <= 32:  # the last map would be one pixel: nothing to reflect
            size = tuple(image.shape[-2:])
            raise ShapeError(f"UNetDepth: image must be 33 pixels a side or more, got {size}")
        features = self.encoder(image)
        sizes = [image.shape[-2:], *(f.shape[-2:] for f in features[:4])]
        x, logits = features[4], []
        for level in reversed(range(5)):
            x = F.interpolate(self.before[level](x), sizes[level], mode="nearest")
            if level > 0:
                x = torch.cat([x, features[level - 1]], 1)
            x = self.after[level](x)
            if level < _SCALES:
                logits.append(self.heads[level](x))
        return [self.to_inverse_depth(logit) for logit in reversed(logits)]


class Conv3x3(nn.Module):
    """A 3x3 convolution with reflected borders and SiLU.

    Monodepth2 has ELU here; SiLU is as smooth and, in bf16 on a CPU, thirty times faster.
    """

    def __init__(self, before: int, after: int, *, activate: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, 3, padding=1, padding_mode="reflect")
        self.activation = nn.SiLU(inplace=True) if activate else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, size kept. (B, before, H, W) -> (B, after, H, W)"""
        return self.activation(self.conv(x))


class DispNetS(nn.Module):
    """Zhou's single-view network [Zhou 2017, fig. 4a]: seven strided stages, no normalisation."""

    def __init__(self, *, min_depth: float, max_depth: float) -> None:
        super().__init__()
        self.to_inverse_depth = InverseDepthRange(min_depth, max_depth)
        down = (32, 64, 128, 256, 512, 512, 512)
        kernels = (7, 5, 3, 3, 3, 3, 3)
        up = (16, 32, 64, 128, 256, 512, 512)  # finest first
        self.down = nn.ModuleList(
            nn.Sequential(*_conv(b, w, k, 2), *_conv(w, w, k, 1))
            for b, w, k in zip((3, *down[:-1]), down, kernels, strict=True)
        )
        self.up = nn.ModuleList(
            nn.Sequential(
                nn.ConvTranspose2d(b, w, 3, stride=2, padding=1, output_padding=1), nn.ReLU(True)
            )
            for b, w in zip((*up[1:], down[-1]), up, strict=True)
        )
        skips = (0, *down[:-1])
        guided = [level < _SCALES - 1 for level in range(7)]  # joined by the coarser prediction
        self.join = nn.ModuleList(
            nn.Sequential(*_conv(w + s + g, w, 3, 1))
            for w, s, g in zip(up, skips, guided, strict=True)
        )
        self.heads = nn.ModuleList(nn.Conv2d(w, 1, 3, padding=1) for w in up[:_SCALES])
        self.apply(_xavier)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Predict inverse depth at four scales; arguments and result as `UNetDepth`."""
        check_shape("DispNetS: image", image, "B 3 H W")
        features = [image]
        for stage in self.down:
            features.append(stage(features[-1]))
        x, maps = features[7], list[Tensor]()
        for level in reversed(range(7)):
            height, width = features[level].shape[-2:]
            parts = [self.up[level](x)[..., :height, :width]]
            if level > 0:
                parts.append(features[level])
            if level < _SCALES - 1:
                parts.append(F.interpolate(maps[-1], (height, width), mode="bilinear"))
            x = self.join[level](torch.cat(parts, 1))
            if level < _SCALES:
                maps.append(self.to_inverse_depth(self.heads[level](x)))
        return maps[::-1]


def _conv(before: int, after: int, kernel: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(before, after, kernel, stride, kernel // 2), nn.ReLU(inplace=True)]


def _xavier(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def build_depth_network(
    name: str, *, min_depth: float, max_depth: float, encoder_weights: str | None = None
) -> UNetDepth | DispNetS:
    """Make a single-view depth network by name, one of `DEPTH_NETWORKS`.

    Raises:
        ConfigError: unknown name, or an empty depth range.
    """
    if name == "dispnet":
        if encoder_weights is not None:
            raise ConfigError(f"'dispnet' has no ImageNet weights, got {encoder_weights!r}")
        return DispNetS(min_depth=min_depth, max_depth=max_depth)
    encoder = build_encoder(name, weights=encoder_weights)
    return UNetDepth(encoder, min_depth=min_depth, max_depth=max_depth)
