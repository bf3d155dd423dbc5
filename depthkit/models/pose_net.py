# SPDX-License-Identifier: Apache-2.0
"""Camera motion from stacked frames: a ResNet head [Godard 2019] and Zhou's PoseExpNet [Zhou 2017].

Both return six numbers a motion, axis-angle (radians) then translation (the depth network's unit),
times 0.01, so that training starts near the identity.
"""

from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthkit.errors import ConfigError, check_shape
from depthkit.geometry.projection import pixel_grid
from depthkit.geometry.warp import resize, sample
from depthkit.models.encoder import ENCODERS, build_encoder

POSE_NETWORKS = ("flow", *ENCODERS, "posenet")
_SCALES = 4


class PoseOutput(NamedTuple):
    """Prediction of a pose network for a stack of frames."""

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
        self.frames = motions + 1
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
        check_shape("PoseNet: frames", frames, f"B {3 * self.frames} H W")
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


class FlowPose(nn.Module):
    """Motion read off an optical flow field: OpenCV's DIS first, a small network after. Ours.

    A network on stacked frames has to discover matching by itself, which takes most of a short run
    and all of a small data set. Dense inverse search [Kroeger 2016] matches without learning, in a
    few milliseconds on a CPU. Convolutions on the flow, its photometric residual, the position in
    the image and the colours answer with the motion.
    """

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(
            *_conv_norm(11, 32, 3, 1),
            *_conv_norm(32, 64, 3, 2),
            *_conv_norm(64, 128, 3, 2),
            *_conv_norm(128, 128, 3, 2),
            nn.Conv2d(128, 6, 1),
        )

    def forward(self, frames: Tensor, flow: Tensor | None = None) -> PoseOutput:
        """Predict the motion of a pair. RGB in [0, 1], frames stacked, (B, 6, H, W) -> (B, 1, 6)

        The flow (B, 2, H, W) is computed here, unless given: an exported network has no OpenCV.
        """
        check_shape("FlowPose: frames", frames, "B 6 H W")
        with torch.no_grad(), torch.autocast(frames.device.type, enabled=False):
            evidence = flow_evidence(frames, flow)
        return PoseOutput(0.03 * self.head(evidence).float().mean((2, 3))[:, None])


def flow_evidence(frames: Tensor, flow: Tensor | None = None) -> Tensor:
    """Gather what a pair shows of its motion, at a quarter of the resolution.

    Args:
        frames: a pair in time order, RGB in [0, 1], stacked. (B, 6, H, W)
        flow: `dis_flow` of it; computed where not given. (B, 2, H, W)

    Returns:
        Flow from the first to the second (2), the colours' residual along it (1), image position
        (2), both pairs of lengths in fractions of the width, and the colours (6). (B, 11, H/4, W/4)
    """
    first, second = frames.chunk(2, 1)
    height, width = map(int, frames.shape[-2:])  # plain numbers: export cannot pool to symbols
    flow = dis_flow(first, second) if flow is None else flow
    here = pixel_grid(height, width, frames)[:2].unflatten(1, (height, width))
    residual = (sample(second, here + flow) - first).abs().mean(1, keepdim=True)
    middle = here.new_tensor([(width - 1) / 2, (height - 1) / 2])[:, None, None]
    position = ((here - middle) * (4 / width)).expand(frames.shape[0], -1, -1, -1)
    evidence = [flow * (16 / width), 4 * residual, position, (frames - 0.45) / 0.225]
    return resize(torch.cat(evidence, 1), (height // 4, width // 4))


def dis_flow(first: Tensor, second: Tensor) -> Tensor:
    """Compute dense inverse search flow of each pair, on the CPU [Kroeger 2016].

    Args:
        first, second: RGB in [0, 1]. (B, 3, H, W)

    Returns:
        Where each pixel of the first lies in the second, minus its own position. (B, 2, H, W)
    """
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = torch.cat([first, second]).mul(255).mean(1).byte().cpu().numpy()
    pairs = zip(grey[: len(first)], grey[len(first) :], strict=True)
    flows = np.stack([search.calc(a, b, None) for a, b in pairs])  # type: ignore[call-overload]
    return torch.from_numpy(flows).permute(0, 3, 1, 2).to(first)


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
) -> EncoderPose | PoseNet | FlowPose:
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
    if name == "flow" and frames == 2 and not explainability:
        return FlowPose()
    if explainability:
        raise ConfigError(f"explainability needs the pose network 'posenet', got {name!r}")
    encoder = build_encoder(name, frames=frames, weights=encoder_weights)
    return EncoderPose(encoder, channels=encoder.channels[-1], motions=frames - 1)
