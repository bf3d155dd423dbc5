# SPDX-License-Identifier: Apache-2.0
"""Image encoders: feature maps at 1/2 to 1/32 of the input, from one frame or several stacked."""

from pathlib import Path

import torch
import torchvision
from safetensors.torch import load_file
from torch import Tensor, nn

from depthkit.errors import CheckpointError, ConfigError
from depthkit.models.checkpoint import load_weights

ENCODERS = ("resnet18", "resnet50", "light")
_IMAGENET_FILES = {
    "resnet18": "resnet18-f37072fd.pth",
    "resnet50": "resnet50-11ad3fa6.pth",
}


class ResNetEncoder(nn.Module):
    """torchvision's ResNet up to its last stage [He 2016]."""

    def __init__(self, name: str, *, frames: int = 1) -> None:
        super().__init__()
        net = getattr(torchvision.models, name)(weights=None)
        if frames > 1:
            net.conv1 = nn.Conv2d(3 * frames, 64, 7, stride=2, padding=3, bias=False)
        self.stem = nn.Sequential(net.conv1, net.bn1, net.relu)
        self.pool = net.maxpool
        self.stages = nn.ModuleList([net.layer1, net.layer2, net.layer3, net.layer4])
        wide = 4 if name == "resnet50" else 1
        self.channels = (64, 64 * wide, 128 * wide, 256 * wide, 512 * wide)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Encode RGB in [0, 1]. (B, 3*frames, H, W) -> (B, C_i, H/2^i, W/2^i), i = 1..5"""
        features = [self.stem((images - 0.45) / 0.225)]
        x = self.pool(features[0])
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


class LightEncoder(nn.Module):
    """Two plain 3x3 convolutions a stage: few layers, no branches, what small devices run fastest.

    Depthwise and attention blocks have fewer weights but lose at batch 1 on robots' hardware
    (RT-MonoDepth's finding); residual additions cost memory traffic and buy little at this depth.
    """

    def __init__(
        self, *, frames: int = 1, channels: tuple[int, ...] = (24, 32, 64, 128, 192)
    ) -> None:
        super().__init__()
        self.channels = channels
        widths = (3 * frames, *channels)
        self.stages = nn.ModuleList(
            nn.Sequential(
                *_conv_bn(before, width, 5 if stage == 0 else 3, stride=2),
                *_conv_bn(width, width, 3, stride=1),
            )
            for stage, (before, width) in enumerate(zip(widths[:-1], widths[1:], strict=True))
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """Encode RGB in [0, 1]. (B, 3*frames, H, W) -> (B, C_i, H/2^i, W/2^i), i = 1..5"""
        features, x = [], (images - 0.45) / 0.225
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


def _conv_bn(before: int, after: int, kernel: int, stride: int) -> list[nn.Module]:
    conv = nn.Conv2d(before, after, kernel, stride=stride, padding=kernel // 2, bias=False)
    return [conv, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]


def build_encoder(
    name: str, *, frames: int = 1, weights: str | None = None
) -> ResNetEncoder | LightEncoder:
    """Make an encoder by name.

    Args:
        name: one of `ENCODERS`.
        frames: how many RGB frames are stacked in the input.
        weights: None for random, "imagenet" for torchvision's file in its own cache (never
            downloaded here), or the path of such a file (.pth or .safetensors).

    Raises:
        ConfigError: unknown name, or weights for an encoder that has none.
        CheckpointError: the file is missing or does not fit.
    """
    match name:
        case "resnet18" | "resnet50":
            encoder = ResNetEncoder(name, frames=frames)
            if weights is not None:
                _load_imagenet(encoder, _weights_file(name, weights), frames)
            return encoder
        case "light":
            if weights is not None:
                raise ConfigError(f"encoder 'light' has no ImageNet weights, got {weights!r}")
            return LightEncoder(frames=frames)
    raise ConfigError(f"unknown encoder {name!r}; choose one of {', '.join(ENCODERS)}")


def _weights_file(name: str, weights: str) -> Path:
    if weights != "imagenet":
        return Path(weights)
    return Path(torch.hub.get_dir()) / "checkpoints" / _IMAGENET_FILES[name]


def _load_imagenet(encoder: ResNetEncoder, path: Path, frames: int) -> None:
    if not path.is_file():
        raise CheckpointError(
            f"no encoder weights at {path}; depthkit never downloads: fetch "
            f"torchvision's {path.name} once, or set the encoder weights to null"
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
    renamed = {_rename(key): value for key, value in state.items() if not key.startswith("fc.")}
    for key, value in encoder.state_dict().items():
        if key.endswith("num_batches_tracked"):  # files from before torch 0.4.1 lack these counts
            renamed.setdefault(key, value)
    first = "stem.0.weight"
    if frames > 1 and first in renamed and renamed[first].ndim == 4:
        # The mean over frames of one filter bank: the first layer answers as it did to one frame.
        renamed[first] = renamed[first].repeat(1, frames, 1, 1) / frames
    load_weights(encoder, renamed, str(path))


def _rename(key: str) -> str:
    """Turn torchvision's name of a weight into ours; names of other networks stay as they are."""
    head, dot, tail = key.partition(".")
    names = {"conv1": "stem.0", "bn1": "stem.1"}
    names |= {f"layer{i + 1}": f"stages.{i}" for i in range(4)}
    return names.get(head, head) + dot + tail
