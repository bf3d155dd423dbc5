# SPDX-License-Identifier: Apache-2.0
"""Camera motion from stacked frames: a ResNet head [Godard 2019] and Zhou's PoseExpNet [Zhou 2017].

Both return six numbers a motion, axis-angle (radians) then translation (the depth network's unit),
times 0.01, so that training starts near the identity.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthkit.errors import ConfigError, check_shape
from depthkit.models.encoder import ENCODERS, build_encoder

POSE_NETWORKS = ("matching", *ENCODERS, "posenet")
_SCALES = 4


class PoseOutput(NamedTuple):
    """What a pose network says of a stack of frames."""

    motions: Tensor
    """Axis-angle and translation of each motion. (B, M, 6)"""
    explainability: list[Tensor] | None = None
    """Weights in (0, 1) of each source, finest scale first. (B, M, h, w) each"""


class EncoderPose(nn.Module):
    """An encoder on the stacked frames and four small convolutions [Godard 2019, supplement]."""

    def __init__(self, encoder: nn.Module, *, channels: int, motions: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Sequential(
            nn.Conv2d(channels, 256, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, 6 * motions, 1),
        )

    def forward(self, frames: Tensor) -> PoseOutput:
        """Predict motions. RGB in [0, 1], frames stacked, (B, 3*(M+1), H, W) -> (B, M, 6)"""
        vector = self.head(self.encoder(frames)[-1]).float().mean((2, 3))
        return PoseOutput(0.01 * vector.unflatten(1, (-1, 6)))


class PoseNet(nn.Module):
    """Zhou's pose network [Zhou 2017, fig. 4b]; with its explainability branch if asked."""

    def __init__(self, *, motions: int, explainability: bool = False) -> None:
        super().__init__()
        widths, kernels = (16, 32, 64, 128, 256), (7, 5, 3, 3, 3)
        self.trunk = nn.ModuleList(
            _conv(b, w, k, 2)
            for b, w, k in zip((3 * (motions + 1), *widths[:-1]), widths, kernels, strict=True)
        )
        self.pose = nn.Sequential(
            _conv(256, 256, 3, 2), _conv(256, 256, 3, 2), nn.Conv2d(256, 6 * motions, 1)
        )
        up = widths if explainability else ()  # finest first
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(up[min(level + 1, 4)], w, 4, stride=2, padding=1)
            for level, w in enumerate(up)
        )
        self.masks = nn.ModuleList(nn.Conv2d(w, motions, 3, padding=1) for w in up[:_SCALES])

    def forward(self, frames: Tensor) -> PoseOutput:
        """Predict motions. RGB in [0, 1], frames stacked, (B, 3*(M+1), H, W) -> (B, M, 6)"""
        check_shape("PoseNet: frames", frames, f"B {self.trunk[0][0].in_channels} H W")
        x = (frames - 0.45) / 0.225
        sizes = []
        for stage in self.trunk:
            sizes.append(x.shape[-2:])
            x = stage(x)
        vector = self.pose(x).float().mean((2, 3))
        return PoseOutput(0.01 * vector.unflatten(1, (-1, 6)), self._explain(x, sizes))

    def _explain(self, x: Tensor, sizes: list[torch.Size]) -> list[Tensor] | None:
        if not self.up:
            return None
        weights = []
        for level in reversed(range(len(self.up))):
            height, width = sizes[level]
            x = F.relu(self.up[level](x))[..., :height, :width]
            if level < _SCALES:
                weights.append(torch.sigmoid(self.masks[level](x).float()))
        return weights[::-1]


class MatchingPose(nn.Module):
    """Motion from where things went: match the two frames first, then read the motion off the flow. Ours.

    A network on stacked frames must discover matching by itself, which takes most of a short run. Here it is
    built in: features at 1/8 of both frames, all pairs compared, the softmax's expected position minus
    the own position is a flow (global matching as in GMFlow [Xu 2022]); a few convolutions on flow,
    confidence, image position and target features answer. Random features match well enough to start.
    """

    def __init__(self, *, features: int = 64) -> None:
        super().__init__()
        widths = (24, 48, 64)
        self.features = nn.Sequential(
            *_conv_norm(3, widths[0], 5, 2),
            *_conv_norm(widths[0], widths[1], 3, 2),
            *_conv_norm(widths[1], widths[2], 3, 2),
            nn.Conv2d(widths[2], features, 3, padding=1),
        )
        self.log_sharpness = nn.Parameter(torch.tensor(3.0))
        self.head = nn.Sequential(
            *_conv_norm(features + 5, 64, 3, 1),
            *_conv_norm(64, 96, 3, 2),
            *_conv_norm(96, 128, 3, 2),
            nn.Conv2d(128, 6, 1),
        )
        nn.init.normal_(self.head[-1].weight, std=1e-3)
        nn.init.zeros_(self.head[-1].bias)

    def forward(self, frames: Tensor) -> PoseOutput:
        """Predict the motion of a pair. RGB in [0, 1], frames stacked, (B, 6, H, W) -> (B, 1, 6)"""
        check_shape("MatchingPose: frames", frames, "B 6 H W")
        first, second = frames.chunk(2, 1)
        batch = len(frames)
        both = self.features((torch.cat([first, second]) - 0.45) / 0.225)
        flow, confidence, position = match(
            both[:batch], both[batch:], sharpness=self.log_sharpness.exp()
        )
        evidence = torch.cat([both[:batch].float(), 4 * flow, confidence, position], 1)
        return PoseOutput(0.1 * self.head(evidence).float().mean((2, 3))[:, None])


def match(first: Tensor, second: Tensor, *, sharpness: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compare every position of one feature map with every position of another [Xu 2022, eq. 2, 3].

    Args:
        first, second: features. (B, C, h, w)
        sharpness: what cosine similarity is multiplied with before the softmax. ()

    Returns:
        flow: expected position in the second map minus the own, width = 2. (B, 2, h, w)
        confidence: largest probability. (B, 1, h, w)
        position: own position, (0, 0) in the middle, width = 2. (B, 2, h, w)
    """
    batch, _, height, width = first.shape
    y, x = torch.meshgrid(
        torch.arange(height, device=first.device) - (height - 1) / 2,
        torch.arange(width, device=first.device) - (width - 1) / 2,
        indexing="ij",
    )
    own = torch.stack([x, y]).float() * (2 / width)  # (2, h, w)
    a, b = (F.normalize(f.float(), dim=1).flatten(2) for f in (first, second))
    with torch.autocast(first.device.type, enabled=False):
        probability = (a.mT @ b * sharpness.float()).softmax(-1)  # (B, h*w, h*w)
        expected = (probability @ own.flatten(1).mT).mT.unflatten(2, (height, width))
    confidence = probability.amax(-1).view(batch, 1, height, width)
    position = own.expand(batch, -1, -1, -1)
    return expected - position, confidence, position


def _conv_norm(before: int, after: int, kernel: int, stride: int) -> list[nn.Module]:
    conv = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
    return [conv, nn.GroupNorm(8, after), nn.ReLU(inplace=True)]


def _conv(before: int, after: int, kernel: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, kernel, stride, kernel // 2), nn.ReLU(inplace=True)
    )


def build_pose_network(
    name: str,
    *,
    frames: int = 2,
    explainability: bool = False,
    encoder_weights: str | None = None,
) -> EncoderPose | PoseNet:
    """Make a pose network by name, one of `POSE_NETWORKS`.

    Args:
        name: an encoder's name, or "posenet" for Zhou's.
        frames: stacked in the input; it returns frames - 1 motions.
        explainability: with Zhou's masks ("posenet" only).
        encoder_weights: as `build_encoder`.

    Raises:
        ConfigError: unknown name, or a part this network does not have.
    """
    if name == "posenet":
        if encoder_weights is not None:
            raise ConfigError(f"'posenet' has no ImageNet weights, got {encoder_weights!r}")
        return PoseNet(motions=frames - 1, explainability=explainability)
    if name == "matching" and frames == 2 and not explainability:
        return MatchingPose()
    if explainability:
        raise ConfigError(f"explainability needs the pose network 'posenet', got {name!r}")
    encoder = build_encoder(name, frames=frames, weights=encoder_weights)
    return EncoderPose(encoder, channels=encoder.channels[-1], motions=frames - 1)
