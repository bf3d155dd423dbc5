# SPDX-License-Identifier: Apache-2.0
"""Parts of the extractors of descriptors: attention gates, and MS-AFF [Chebbi 2023, Dai 2021]."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_STEM, _WIDE, _NARROW = 32, 64, 16
_SCALES = 4  # 1, 1/2, 1/4, 1/8
_BLOCKS = 3  # residual blocks of a scale


def convolve(before: int, after: int, *, kernel: int = 3) -> nn.Sequential:
    """Make a convolution with batch normalisation and ReLU; the size stays."""
    return nn.Sequential(
        nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )


class AttentionGate(nn.Module):
    """Weighs the pixels of a skip by what the coarser level knows [Oktay 2018, eq. 1 and 2]."""

    def __init__(self, channels: int) -> None:
        """Make the gate; channels: of the skip and of the coarser maps."""
        super().__init__()
        inner = channels // 2
        self.of_skip, self.of_coarse = (
            nn.Sequential(nn.Conv2d(channels, inner, 1, bias=False), nn.BatchNorm2d(inner))
            for _ in range(2)
        )
        self.weigh = nn.Conv2d(inner, 1, 1)

    def forward(self, skip: Tensor, coarse: Tensor) -> Tensor:
        """Weigh a skip; both at one size. (B, C, H, W)"""
        return skip * torch.sigmoid(self.weigh(F.relu(self.of_skip(skip) + self.of_coarse(coarse))))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside an identity, or a 1x1 convolution where the width changes."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first = convolve(before, after)
        self.second = nn.Sequential(
            nn.Conv2d(after, after, 3, padding=1, bias=False), nn.BatchNorm2d(after)
        )
        self.beside = nn.Identity() if before == after else nn.Conv2d(before, after, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H, W)"""
        return F.relu(self.beside(x) + self.second(self.first(x)))


class AttentionalFusion(nn.Module):
    """Mixes two maps pixel by pixel, by what their sum shows there and on average [Dai 2021].

    w = sigmoid(local(a + b) + overall(a + b)); the result is w a + (1 - w) b.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.local, self.overall = (self._branch(channels) for _ in range(2))

    @staticmethod
    def _branch(channels: int) -> nn.Sequential:
        return nn.Sequential(
            convolve(channels, _NARROW, kernel=1),
            nn.Conv2d(_NARROW, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Fuse two maps of one size. (B, C, H, W)"""
        both = fine + coarse
        weight = torch.sigmoid(self.local(both) + self.overall(both.mean((2, 3), keepdim=True)))
        return weight * fine + (1 - weight) * coarse


class MultiScaleFusion(nn.Module):
    """MS-AFF: one stem at four sizes of the picture, fused from coarse to fine."""

    def __init__(self, channels: int) -> None:
        """Make it with random weights; channels: numbers of a descriptor."""
        super().__init__()
        self.stem = nn.Sequential(
            convolve(2, _STEM), convolve(_STEM, _STEM), convolve(_STEM, _STEM)
        )
        self.stages = nn.ModuleList(
            nn.Sequential(
                ResidualBlock(_STEM, _WIDE),
                *(ResidualBlock(_WIDE, _WIDE) for _ in range(_BLOCKS - 1)),
            )
            for _ in range(_SCALES)
        )
        self.fusions = nn.ModuleList(AttentionalFusion(_WIDE) for _ in range(_SCALES - 1))
        self.tail = nn.Sequential(
            convolve(_WIDE, _WIDE), convolve(_WIDE, _WIDE), nn.Conv2d(_WIDE, channels, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Describe a picture whose sides are multiples of 8. (B, 2, H, W) -> (B, C, H, W)"""
        maps = list[Tensor]()
        for level, stage in enumerate(self.stages):
            maps.append(stage(self.stem(F.avg_pool2d(x, 2**level) if level else x)))
        fused = maps.pop()
        for fuse in reversed(self.fusions):
            fused = fuse(maps.pop(), F.interpolate(fused, scale_factor=2, mode="bilinear"))
        return self.tail(fused)
