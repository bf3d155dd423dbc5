# SPDX-License-Identifier: Apache-2.0
"""Optical flow of a pair: pyramid, warping and cost volume [Sun 2018, PWC-Net], kept small; RAFT.

Networks answer with flow from the first frame to the second, finest first, in pixels of the full
picture whatever the size of the map.
"""

import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torchvision.models.optical_flow import raft_small

from depthkit.errors import CheckpointError, ConfigError, check_shape
from depthkit.geometry.projection import size_of
from depthkit.geometry.warp import resize, warp_by_flow
from depthkit.models.checkpoint import load_weights
from depthkit.models.cost_volume import RADIUS, SHIFTS, correlate

FLOW_NETWORKS = ("pwc", "raft_small")
STRIDE = 64  # of the coarsest features
_PYRAMID = (16, 32, 48, 64, 96, 128)  # channels at 1/2 .. 1/64
_FINEST = 1  # level of the pyramid, 1/4, up to which flow is estimated
_MATCHED = 32  # channels that are correlated, the same at all levels
_ESTIMATOR = (96, 64, 48, 32)
_PASSED = 32  # channels handed to the next finer level


class PwcFlow(nn.Module):
    """A coarse flow, doubled and corrected from 1/64 to 1/4 of the size, by one estimator.

    As in IRR-PWC [Hur 2019] all levels share their estimator: fewer weights, and what is learnt of
    small motions serves the large ones. Features are normalised before they are correlated
    [Jonschkowski 2020, UFlow]. Heads begin at zero, so that training starts from no motion. Ours:
    the estimator gets as input where the correlations expect the match, which it would take a long
    training to read off the volume by itself.
    """

    shifts: Tensor
    """(u, v) of each plane of the cost volume, pixels of its level. (2, 81)"""

    def __init__(self, *, width: float = 1.0) -> None:
        """Make the network with random weights.

        Args:
            width: channels of the pyramid and the estimator, as a share of those above.

        Raises:
            ConfigError: a width that leaves no channel.
        """
        super().__init__()
        if not width > 0:
            raise ConfigError(f"PwcFlow: width must be above 0, got {width}")
        down = [_scaled(channels, width) for channels in _PYRAMID]
        self.pyramid = nn.ModuleList(
            nn.Sequential(_conv(before, after, 2), _conv(after, after, 1))
            for before, after in zip((3, *down[:-1]), down, strict=True)
        )
        self.match = nn.ModuleList(nn.Conv2d(c, _MATCHED, 1) for c in down[_FINEST:])
        widths = [_scaled(channels, width) for channels in _ESTIMATOR]
        before = (SHIFTS + 3 + _MATCHED + _PASSED + 2, *widths)
        self.estimator = nn.Sequential(
            *(_conv(b, a, 1) for b, a in zip(before, (*widths, _PASSED), strict=True))
        )
        self.head = nn.Conv2d(_PASSED, 2, 3, padding=1)
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(10.0)))
        reach = torch.arange(-RADIUS, RADIUS + 1.0)
        v, u = torch.meshgrid(reach, reach, indexing="ij")
        self.register_buffer("shifts", torch.stack([u, v]).flatten(1), persistent=False)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, a=0.1)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.zeros_(self.head.weight)

    def forward(self, pairs: Tensor) -> list[Tensor]:
        """Estimate the flow of pairs of frames.

        Args:
            pairs: RGB in [0, 1], the first frame and then the second. (N, 6, H, W)

        Returns:
            Flow, pixels (u, v) of the full picture, finest first: enlarged to the full size, then
            at 1/8, 1/16, ... 1/64, rounded up. (N, 2, H, W), (N, 2, h, w) ...
        """
        check_shape("PwcFlow: pairs", pairs, "N 6 H W")
        features = [level.chunk(2) for level in self.encode(torch.cat(pairs.chunk(2, 1)))]
        first, second = ([level[i] for level in features] for i in (0, 1))
        return self.decode(first, second, size_of(pairs))

    def encode(self, frames: Tensor) -> list[Tensor]:
        """Compute the features of frames, to be used in as many pairs as they are in.

        Args:
            frames: RGB in [0, 1]; filled up to a multiple of 64 here. (N, 3, H, W)

        Returns:
            Features at 1/4, 1/8, ... 1/64. (N, 32, h, w) each
        """
        height, width = size_of(frames)
        x = (frames - 0.45) / 0.225
        if height % STRIDE or width % STRIDE:
            x = F.pad(x, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")
        features = []
        for level, stage in enumerate(self.pyramid):
            x = stage(x)
            if level >= _FINEST:
                features.append(_normalise(self.match[level - _FINEST](x)))
        return features

    def decode(
        self, first: list[Tensor], second: list[Tensor], size: tuple[int, int]
    ) -> list[Tensor]:
        """Estimate flow from the features of both frames.

        Args:
            first, second: as `encode` returns them. (N, 32, h, w) each
            size: (H, W) of the frames.

        Returns:
            As `forward`.
        """
        flow = torch.zeros_like(first[-1][:, :2], dtype=torch.float32)
        passed = first[-1].new_zeros(flow.shape[0], _PASSED, *size_of(flow))
        flows = []
        for level in reversed(range(len(first))):
            stride = 4 * 2**level
            flow = resize(flow, size_of(first[level]))  # in pixels of the full picture: no factor
            passed = F.interpolate(passed, size_of(flow), mode="nearest")
            warped = _warp(second[level], flow / stride)
            volume = correlate(first[level], warped)
            match = self._expect(volume)
            evidence = (volume, match, first[level], passed, flow * (0.1 / stride))
            passed = self.estimator(_together(evidence, volume))
            flow = flow + stride * _full(self.head, passed)
            flows.append(flow)
        padded = (4 * flow.shape[-2], 4 * flow.shape[-1])
        flows[-1] = resize(flow, padded)
        return [_crop(flow, size, padded) for flow in reversed(flows)]

    def _expect(self, volume: Tensor) -> Tensor:
        """Return the shift expected of a softmax over the volume, and its peak. (N, 3, h, w)

        The peak, the sum of squares, is 1 where one shift answers and 1/81 where all do.
        """
        if torch.is_grad_enabled():
            return _Expectation.apply(volume.float(), self.log_sharpness, self.shifts)
        share = (volume.float() * self.log_sharpness.exp()).softmax(1)
        shift = torch.einsum("nkhw,dk->ndhw", share, self.shifts)
        return torch.cat([shift, share.square().sum(1, keepdim=True)], 1)


class _Expectation(torch.autograd.Function):
    """`PwcFlow._expect` with its gradient written out; differentiable once.

    Pixel by pixel, as the volume lies in memory: shares p, their expected shift m and peak q. With
    a the gradient by m and b by q, that of the logits is p (a (shift - m) + 2 b (p - q)).
    """

    @staticmethod
    def forward(ctx: Any, volume: Tensor, log_sharpness: Tensor, shifts: Tensor) -> Tensor:
        rows = volume.permute(0, 2, 3, 1)  # (N, h, w, 81)
        with torch.autocast(volume.device.type, enabled=False):
            logits = rows * log_sharpness.exp()
            share = logits.softmax(3)
            peak = torch.linalg.vecdot(share, share)[..., None]
            expected = torch.cat([share @ shifts.T, peak], 3)
        ctx.save_for_backward(logits, share, expected, log_sharpness, shifts)
        return expected.permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        logits, share, expected, log_sharpness, shifts = ctx.saved_tensors
        by_expected = grads[0].permute(0, 2, 3, 1) * grads[0].new_tensor([1.0, 1.0, 2.0])
        change = by_expected[..., :2] @ shifts
        change.addcmul_(share, by_expected[..., 2:])
        change.sub_(torch.linalg.vecdot(by_expected, expected)[..., None]).mul_(share)
        by_sharpness = (change * logits).sum()  # dot loses digits over millions
        by_volume = change.mul_(log_sharpness.exp())
        return by_volume.permute(0, 3, 1, 2), by_sharpness, None


class RaftSmall(nn.Module):
    """torchvision's RAFT [Teed 2020], the small one, behind the same interface.

    Without trained weights it learns far slower than `PwcFlow` on a CPU; with them it teaches.
    """

    def __init__(self) -> None:
        super().__init__()
        self.net = raft_small(weights=None, progress=False)

    def forward(self, pairs: Tensor) -> list[Tensor]:
        """Estimate the flow of pairs, the last refinement first. As `PwcFlow`, all at full size."""
        check_shape("RaftSmall: pairs", pairs, "N 6 H W")
        height, width = size_of(pairs)
        # Its coarsest correlations need 16 pixels at 1/8, its layers a multiple of 8.
        fill = (0, max(128 - width, -width % 8), 0, max(128 - height, -height % 8))
        x = 2 * F.pad(pairs, fill, mode="replicate") - 1
        with torch.autocast(pairs.device.type, enabled=False):  # it mixes types under autocast
            flows = self.net(*x.float().chunk(2, 1), num_flow_updates=12)
        return [flow[..., :height, :width] for flow in reversed(flows)]

    def load(self, path: Path) -> None:
        """Load torchvision's file of this network, .pth or .safetensors.

        Raises:
            CheckpointError: the file is missing or does not fit.
        """
        if not path.is_file():
            raise CheckpointError(
                f"no flow weights at {path}; depthkit never downloads: fetch torchvision's file of "
                "raft_small once, or set the weights to null"
            )
        try:
            state = (
                load_file(path)
                if path.suffix == ".safetensors"
                else torch.load(path, map_location="cpu", weights_only=True)
            )
        except Exception as error:  # torch and safetensors raise many kinds for a bad file
            raise CheckpointError(f"{path}: not a weights file ({type(error).__name__})") from error
        if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
            raise CheckpointError(f"{path}: not a weights file (no names with tensors)")
        load_weights(self.net, state, str(path))


def build_flow_network(
    name: str, *, width: float = 1.0, weights: str | None = None
) -> PwcFlow | RaftSmall:
    """Make a flow network by name, one of `FLOW_NETWORKS`.

    Args:
        name: "pwc" or "raft_small".
        width: channels of the pwc, as a multiple of its default ones.
        weights: None for random ones, or torchvision's file of the raft_small (.pth or
            .safetensors); nothing is downloaded.

    Raises:
        ConfigError: unknown name, or weights for a network that has none.
        CheckpointError: the file is missing or does not fit.
    """
    match name:
        case "pwc":
            if weights is not None:
                raise ConfigError(f"flow network 'pwc' has no weights of others, got {weights!r}")
            return PwcFlow(width=width)
        case "raft_small":
            network = RaftSmall()
            if weights is not None:
                network.load(Path(weights))
            return network
    raise ConfigError(f"unknown flow network {name!r}; choose one of {', '.join(FLOW_NETWORKS)}")


def stride_of(flow: Tensor, size: tuple[int, int]) -> int:
    """Return how many pixels of a picture of (H, W) a pixel of a network's flow covers."""
    return 2 ** math.ceil(math.log2(size[1] / flow.shape[-1]))


def _scaled(channels: int, width: float) -> int:
    """Scale a number of channels; whole vectors of eight are what processors like."""
    return max(8, 8 * round(channels * width / 8))


def _conv(before: int, after: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride, padding=1), nn.LeakyReLU(0.1, inplace=True)
    )


def _normalise(features: Tensor) -> Tensor:
    """Bring each image's features to mean 0 and deviation 1, so that matches have one scale."""
    return F.group_norm(features, 1)


def _warp(features: Tensor, flow: Tensor) -> Tensor:
    """Warp in 32 bits: 16 would place them by whole pixels; then go back to their own type."""
    with torch.autocast(features.device.type, enabled=False):
        return warp_by_flow(features.float(), flow)[0].to(features.dtype)


def _full(head: nn.Module, x: Tensor) -> Tensor:
    """Run a head in 32 bits: its sums are pixels."""
    with torch.autocast(x.device.type, enabled=False):
        return head(x.float())


def _together(maps: tuple[Tensor, ...], like: Tensor) -> Tensor:
    """Stack maps along the channels, in one type; in training in the order convolutions read."""
    if torch.is_grad_enabled():
        return torch.cat([x.to(like, memory_format=torch.channels_last) for x in maps], 1)
    return torch.cat([x.to(like.dtype) for x in maps], 1)


def _crop(flow: Tensor, size: tuple[int, int], padded: tuple[int, int]) -> Tensor:
    """Cut a map of the padded picture to what covers the picture."""
    sides = zip(size, size_of(flow), padded, strict=True)
    height, width = (-(-side * now // whole) for side, now, whole in sides)
    return flow[..., :height, :width]
