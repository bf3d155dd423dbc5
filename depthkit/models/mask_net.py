# SPDX-License-Identifier: Apache-2.0
"""What tends to move, predicted from one picture: a small U-Net."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthkit.errors import ShapeError, check_shape
from depthkit.geometry.projection import size_of
from depthkit.geometry.warp import resize
from depthkit.models.encoder import LightEncoder
from depthkit.models.mono_depth import Conv3x3

CHANNELS = (16, 32, 48, 64, 96)
_FIRST_ODDS = 2.2  # log odds of nine to one: so much is static before anything is learnt


class MaskNet(nn.Module):
    """Log odds that a pixel is static, by its appearance and place: a car in its lane, a wall."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = LightEncoder(channels=CHANNELS)
        self.merge = nn.ModuleList(
            Conv3x3(below + skip, skip)
            for skip, below in zip(CHANNELS[:-1], CHANNELS[1:], strict=True)
        )
        self.head = Conv3x3(CHANNELS[0], 1, activate=False)

    def forward(self, image: Tensor) -> Tensor:
        """Tell what is static.

        Args:
            image: RGB in [0, 1], 33 pixels a side or more. (B, 3, H, W)

        Returns:
            Log odds of static, in 32 bits, enlarged from half of the size. (B, 1, H, W)
        """
        check_shape("MaskNet: image", image, "B 3 H W")
        if min(image.shape[-2:]) <= 32:  # the last map would be one pixel: nothing to reflect
            size = tuple(image.shape[-2:])
            raise ShapeError(f"MaskNet: image must be 33 pixels a side or more, got {size}")
        features = self.encoder(image)
        x = features[-1]
        for merge, skip in zip(reversed(self.merge), reversed(features[:-1]), strict=True):
            x = merge(torch.cat([F.interpolate(x, size_of(skip), mode="nearest"), skip], 1))
        return resize(_FIRST_ODDS + self.head(x).float(), size_of(image))
