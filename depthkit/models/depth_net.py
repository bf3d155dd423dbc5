# SPDX-License-Identifier: Apache-2.0
"""DepthNet: depth from a pair of frames without rotation, at a known baseline [Pinard 2017a].

One stream like FlowNetS on six channels, all kernels 3x3. It predicts depth at the baseline of its
training (D0); at another one the true depth is |t| / D0 times that. It has no input for K and so is
bound to the focal length, in pixels, of its training.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthkit.errors import ConfigError, ShapeError, check_shape

STRIDE = 64  # of the coarsest features
FINEST = 4  # pixels of the image under a pixel of the finest map, along each side
_DOWN = (32, 64, 128, 256, 256, 512)  # channels at 1/2 .. 1/64
_UP = (32, 64, 128, 256)  # of the decoder at 1/4 .. 1/32


class DepthNet(nn.Module):
    """The published layout with batch normalisation and ELU + 1, optionally narrower."""

    def __init__(self, width: float = 1.0, *, normalise: bool = True, evidence: int = 0) -> None:
        """Make the network with Xavier's random weights.

        Args:
            width: channels as a share of the published ones.
            normalise: batch normalisation in every layer, as in the best released networks.
            evidence: channels that the caller adds to the two frames, see models/sweep_net.py.

        Raises:
            ConfigError: a width that leaves no channel.
        """
        super().__init__()
        if not width > 0:
            raise ConfigError(f"DepthNet: width must be above 0, got {width}")
        down = [_scaled(channels, width) for channels in _DOWN]
        up = [_scaled(channels, width) for channels in _UP]
        self.down = nn.ModuleList(
            _stage(before, after, normalise, depth=1 if level < 2 else 2)
            for level, (before, after) in enumerate(
                zip((6 + evidence, *down[:-1]), down, strict=True)
            )
        )
        # Level 0 is 1/4, level 4 is 1/64; a level's features are skip + decoder + depth from below.
        features = [skip + u + 1 for skip, u in zip(down[1:5], up, strict=True)] + [down[5]]
        self.up = nn.ModuleList(
            _double(below, after, normalise) for below, after in zip(features[1:], up, strict=True)
        )
        self.heads = nn.ModuleList(nn.Conv2d(c, 1, 3, padding=1) for c in features)
        self.raise_depth = nn.ModuleList(
            nn.ConvTranspose2d(1, 1, 4, stride=2, padding=1, bias=False) for _ in up
        )
        self.apply(_initialise)

    def forward(
        self, previous: Tensor, current: Tensor, evidence: Tensor | None = None
    ) -> list[Tensor]:
        """Predict the depth of the current frame at the nominal baseline.

        Sizes that are no multiple of 64 are filled up at the right and lower border, and the maps
        cut back; each pixel of a map covers 4, 8, ... pixels of the image, counted from its corner.

        Args:
            previous: RGB in [0, 1], turned as the current frame is. (B, 3, H, W), 32 pixels or more
            current: RGB in [0, 1]. (B, 3, H, W)
            evidence: what else is known of each pixel, about unit deviation. (B, E, H, W)

        Returns:
            Depth, metres at the nominal baseline, > 0, at 1/4, 1/8, ... 1/64 of the size when
            training, at 1/4 alone otherwise. (B, 1, ceil(H / 4), ceil(W / 4)) and so on
        """
        check_shape("DepthNet: previous", previous, "B 3 H W")
        if current.shape != previous.shape:  # compared whole: export's sizes are symbols
            shapes = f"{tuple(previous.shape)}, got {tuple(current.shape)}"
            raise ShapeError(f"DepthNet: current must be {shapes}")
        height, width = current.shape[-2:]
        if min(height, width) < 32:
            size = (height, width)
            raise ShapeError(f"DepthNet: frames must be 32 pixels a side or more, got {size}")
        x = whiten(previous, current)
        if evidence is not None:
            x = torch.cat([x, evidence], 1)
        if height % STRIDE or width % STRIDE:
            x = F.pad(x, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")
        skips = []
        for stage in self.down:
            x = stage(x)
            skips.append(x)
        raws = [_in_full_precision(self.heads[4], x)]
        for level in reversed(range(4)):
            grown, guess = self.up[level](x), self.raise_depth[level](raws[-1])
            x = torch.cat([skips[level + 1], grown, guess], 1)
            raws.append(_in_full_precision(self.heads[level], x))
        wanted = raws[::-1] if self.training else raws[-1:]
        return [
            F.elu(_cut(raw, height, width, FINEST * 2**level)) + 1
            for level, raw in enumerate(wanted)
        ]


def whiten(previous: Tensor, current: Tensor) -> Tensor:
    """Return mean and difference of two frames, each at about unit deviation. (B, 6, H, W)

    The published input is the frames themselves, less 0.5, over 0.2. Parallax below a pixel lives
    in their difference alone, several times smaller than they are: it is enlarged here, and the
    first layer may undo this. A choice of ours, for short trainings.
    """
    mean = (previous + current).sub_(1.0).div_(0.4)
    return torch.cat([mean, (current - previous).div_(0.05)], 1)


def _scaled(channels: int, width: float) -> int:
    """Scale a number of channels; whole vectors of eight are what processors like."""
    return max(8, 8 * round(channels * width / 8))


def _stage(before: int, after: int, normalise: bool, *, depth: int) -> nn.Sequential:
    layers = _conv(before, after, normalise, stride=2)
    return nn.Sequential(*layers, *(_conv(after, after, normalise) if depth == 2 else []))


def _double(before: int, after: int, normalise: bool) -> nn.Sequential:
    """Double the size: a transposed convolution, then a plain one."""
    grow = nn.ConvTranspose2d(before, after, 4, stride=2, padding=1)
    return nn.Sequential(grow, *_conv(after, after, normalise))


def _conv(before: int, after: int, normalise: bool, stride: int = 1) -> list[nn.Module]:
    layers: list[nn.Module] = [nn.Conv2d(before, after, 3, stride, 1, bias=not normalise)]
    if normalise:
        layers.append(nn.BatchNorm2d(after, eps=1e-3))
    return [*layers, nn.ReLU(inplace=True)]


def _in_full_precision(head: nn.Module, x: Tensor) -> Tensor:
    """Sixteen bits would round a depth of 100 m to steps of half a metre."""
    with torch.autocast(x.device.type, enabled=False):
        return head(x.float())


def _cut(depth: Tensor, height: int, width: int, step: int) -> Tensor:
    """Leave the map of the image alone, pixels that it fills in part included."""
    return depth[..., : -(-height // step), : -(-width // step)]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.xavier_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
