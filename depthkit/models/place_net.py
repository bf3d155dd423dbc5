# SPDX-License-Identifier: Apache-2.0
"""One descriptor of a whole picture: what a place looks like, as a few hundred numbers of length 1.

An encoder, a pooling over the picture (generalised mean [Radenovic 2018, GeM], or regional maxima
[Tolias 2016, R-MAC]) and a linear layer; or the published head of three convolutions [Khokhlova
2020]. A second modality (a raster of semantics or depth, or edges of the picture itself) is fused
before the encoder, or described by a network of its own.
"""

from collections.abc import Iterator
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthkit.errors import ConfigError, check_shape
from depthkit.geometry.projection import size_of
from depthkit.models.encoder import build_encoder

STRIDE = 32  # pixels of the picture along one side of the coarsest map's pixels
_LUMA = (0.299, 0.587, 0.114)  # of ITU-R BT.601, as OpenCV's grey
_LEAST = 1e-6  # of a feature that is raised to a power, and of a length
_HEAD = (1024, 512, 256)  # channels of the published head
_FLOOR = 1e-3  # of the largest variance: numbers that vary less are noise, not to be enlarged

Pooling = Literal["gem", "rmac", "convolutional"]
Fusion = Literal["early", "concatenated"]
Second = Literal["none", "edges", "raster"]
Whitening = Literal["none", "pca", "whitened"]


class GeneralisedMean(nn.Module):
    """GeM: (mean of x^p)^(1/p) over the picture; p = 1 is the mean, large p the maximum."""

    def __init__(self, exponent: float = 3.0) -> None:
        super().__init__()
        self.exponent = nn.Parameter(torch.tensor(exponent))

    def forward(self, maps: Tensor) -> Tensor:
        """Pool. (B, C, h, w) -> (B, C)"""
        raised = maps.float().clamp(min=_LEAST).pow(self.exponent)
        return raised.mean((2, 3)).pow(1 / self.exponent)


class RegionalMaximum(nn.Module):
    """R-MAC: the sum of the maxima of overlapping square regions of three sizes, length 1 each."""

    def forward(self, maps: Tensor) -> Tensor:
        """Pool. (B, C, h, w) -> (B, C)"""
        maps = maps.float()
        found = [unit(maps[..., v, u].amax((2, 3))) for v, u in regions(size_of(maps))]
        return torch.stack(found).sum(0)


def regions(size: tuple[int, int], *, levels: int = 3) -> Iterator[tuple[slice, slice]]:
    """Yield the regions of R-MAC: at level l squares of side 2 min(h, w) / (l + 1).

    Along the shorter side there are l of them; along the longer one the number whose overlap comes
    nearest to 40 % [Tolias 2016, section 3.1].

    Args:
        size: (h, w) of the map, pixels.
        levels: number of sizes.
    """
    short, long = min(size), max(size)
    extra = 0
    if long > short:
        overlap = [abs(1 - (long - short) / (n * short) - 0.4) for n in range(1, 7)]
        extra = 1 + min(range(len(overlap)), key=overlap.__getitem__)
    for level in range(1, levels + 1):
        side = max(1, 2 * short // (level + 1))
        counts = [level + (extra if length > short else 0) for length in size]
        steps = [
            [(length - side) * i // max(1, count - 1) for i in range(count)]
            for length, count in zip(size, counts, strict=True)
        ]
        for top in steps[0]:
            for left in steps[1]:
                yield slice(top, top + side), slice(left, left + side)


class Convolutional(nn.Module):
    """Three 3x3 convolutions with tanh, then all their numbers in a row [Khokhlova 2020]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        widths = (channels, *_HEAD)
        layers = list[nn.Module]()
        for before, after in zip(widths[:-1], widths[1:], strict=True):
            layers += [nn.Conv2d(before, after, 3, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(after), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def forward(self, maps: Tensor) -> Tensor:
        """Convolve and flatten. (B, C, h, w) -> (B, 256 h w)"""
        return self.layers(maps).flatten(1).float()


class Branch(nn.Module):
    """Encoder, pooling and linear layer: one code of one picture."""

    def __init__(
        self,
        encoder: str,
        *,
        pooling: Pooling,
        numbers: int,
        size: tuple[int, int],
        weights: str | None = None,
    ) -> None:
        """Make it with random weights; see `build_place_net`."""
        super().__init__()
        self.encoder = build_encoder(encoder, weights=weights)
        channels = self.encoder.channels[-1]
        self.pool, width = build_pooling(pooling, channels, size)
        self.linear = nn.Linear(width, numbers)

    def forward(self, image: Tensor) -> Tensor:
        """Return a code of any length. (B, 3, H, W) in [0, 1] -> (B, D)"""
        pooled = self.pool(self.encoder(image)[-1])
        return self.linear(unit(pooled)).float()


class EarlyFusion(nn.Module):
    """A first convolution that mixes two pictures into one, 0.5 of each channel at the start."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(6, 3, 1)
        with torch.no_grad():
            half = 0.5 * torch.eye(3)
            self.mix.weight.copy_(torch.cat([half, half], 1)[..., None, None])
            self.mix.bias.zero_()  # type: ignore[union-attr]

    def forward(self, image: Tensor, second: Tensor) -> Tensor:
        """Mix. (B, 3, H, W) twice -> (B, 3, H, W)"""
        return self.mix(torch.cat([image, second], 1))


class PlaceNet(nn.Module):
    """A picture in, and where it has one its second modality; a descriptor of length 1 out."""

    def __init__(self, branches: list[Branch], *, second: Second) -> None:
        """Wrap one branch, or one for each modality.

        Args:
            branches: one: colour alone, or fused early; two: colour and the second modality, whose
                descriptors are put one after the other.
            second: none, edges (Sobel's, of the picture itself) or raster (a picture of its own).
        """
        super().__init__()
        self.branches, self.second = nn.ModuleList(branches), second
        fuses = second != "none" and len(branches) == 1
        self.fuse = EarlyFusion() if fuses else None

    @property
    def takes_raster(self) -> bool:
        """Whether a second picture has to be given."""
        return self.second == "raster"

    @property
    def parts(self) -> tuple[int, ...]:
        """Numbers of each branch's descriptor."""
        return tuple(branch.linear.out_features for branch in self.each_branch())

    def each_branch(self) -> list[Branch]:
        """Return the branches, colour first."""
        return [cast(Branch, branch) for branch in self.branches]

    def codes(self, image: Tensor, second: Tensor | None = None) -> Tensor:
        """Return the code of each branch, of any length: what whitening is fitted on.

        Args:
            image: RGB in [0, 1]. (B, 3, H, W)
            second: raster in [0, 1] where the network takes one. (B, 3, H, W)

        Returns:
            Codes of the n branches. (B, n, D)
        """
        check_shape("PlaceNet: image", image, "B 3 H W")
        if self.second == "none":
            return self.branches[0](image)[:, None]
        other = edges(image) if second is None else second
        if self.fuse is not None:
            return self.branches[0](self.fuse(image, other))[:, None]
        return torch.stack([b(x) for b, x in zip(self.branches, (image, other), strict=True)], 1)

    def forward(self, image: Tensor, second: Tensor | None = None) -> Tensor:
        """Describe pictures; see `codes`. (B, 3, H, W) -> (B, n D), of length 1"""
        return join(self.codes(image, second))


def join(codes: Tensor) -> Tensor:
    """Bring codes to length 1 and put them one after the other, again of length 1 together.

    The cosine of two joined descriptors is the mean of the modalities' cosines.

    Args:
        codes: of the n branches. (B, n, D)

    Returns:
        Descriptors. (B, n D)
    """
    return (unit(codes) / codes.shape[1] ** 0.5).flatten(1)


def unit(codes: Tensor) -> Tensor:
    """Bring vectors along the last axis to length 1; zero stays zero."""
    return codes * (codes.square().sum(-1, keepdim=True) + _LEAST**2).rsqrt()


def edges(image: Tensor) -> Tensor:
    """Return the strength of Sobel's gradient of the grey picture, three times the same.

    A step of s between two even halves has strength 4 s: steps of a quarter and more are all 1.

    Args:
        image: RGB in [0, 1]. (B, 3, H, W)

    Returns:
        In [0, 1]. (B, 3, H, W)
    """
    grey = (image * image.new_tensor(_LUMA)[:, None, None]).sum(1, keepdim=True)
    across = image.new_tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    kernels = torch.stack([across, across.T])[:, None]  # (2, 1, 3, 3)
    gradient = F.conv2d(F.pad(grey, (1, 1, 1, 1), mode="replicate"), kernels)
    strength = (gradient.square().sum(1, keepdim=True) + _LEAST**2).sqrt()
    return strength.clamp(max=1).expand(-1, 3, -1, -1)


@torch.no_grad()
def fold_whitening(
    linear: nn.Linear,
    mean: Tensor,
    covariance: Tensor,
    *,
    whitening: Whitening,
    kept: int | None = None,
) -> nn.Linear:
    """Return a linear layer whose numbers are centred, uncorrelated and in order of variance.

    y' = S P^T (W x + b - mean) with the eigenvectors P of the covariance, largest first; S is 1
    (pca) or 1 / sqrt(eigenvalue) (whitened) [Jegou 2012]. The first numbers are the most telling
    ones: a code may be cut after any of them.

    Args:
        linear: the layer before. Its weights are W (D, C) and b (D,)
        mean: of its answers. (D,)
        covariance: of its answers. (D, D)
        whitening: none returns the layer as it is.
        kept: how many numbers stay; None for all.
    """
    if whitening == "none":
        return linear
    values, vectors = torch.linalg.eigh(covariance.double())
    values, vectors = values.flip(0), vectors.flip(1)  # largest first
    vectors = vectors * vectors.gather(0, vectors.abs().argmax(0, keepdim=True)).sign()
    if whitening == "whitened":
        vectors = vectors / (values + _FLOOR * values[0]).clamp(min=1e-12).sqrt()
    turn = vectors[:, :kept].T
    folded = nn.Linear(linear.in_features, len(turn))
    folded.weight.copy_(turn @ linear.weight.double())
    folded.bias.copy_(turn @ (linear.bias.double() - mean.double()))
    return folded


def build_pooling(name: str, channels: int, size: tuple[int, int]) -> tuple[nn.Module, int]:
    """Make a pooling; return it and how many numbers it gives.

    Args:
        name: value of `model.place_pooling`.
        channels: of the coarsest map.
        size: (H, W) of the pictures, pixels.

    Raises:
        ConfigError: another name.
    """
    match name:
        case "gem":
            return GeneralisedMean(), channels
        case "rmac":
            return RegionalMaximum(), channels
        case "convolutional":
            rows, columns = (-(-side // STRIDE) for side in size)
            return Convolutional(channels), _HEAD[-1] * rows * columns
    raise ConfigError(f"model.place_pooling: unknown pooling {name!r}")


def build_place_net(
    encoder: str,
    *,
    pooling: Pooling,
    numbers: int,
    size: tuple[int, int],
    second: Second = "none",
    fusion: Fusion = "early",
    weights: str | None = None,
) -> PlaceNet:
    """Make a network with random weights.

    Args:
        encoder: light, resnet18 or resnet50.
        pooling: what turns the encoder's coarsest map into one vector.
        numbers: of the descriptor; concatenated modalities have half of them each.
        size: (H, W) of the pictures, pixels: the convolutional head has one size only.
        second: the second modality.
        fusion: of the second modality: early, or descriptors put one after the other.
        weights: ImageNet weights of a ResNet; see `build_encoder`.

    Raises:
        ConfigError: an unknown name, or an odd number to be shared.
    """
    count = 2 if second != "none" and fusion == "concatenated" else 1
    if numbers % count:
        raise ConfigError(f"model.place_numbers: even for two modalities, got {numbers}")
    branches = [
        Branch(encoder, pooling=pooling, numbers=numbers // count, size=size, weights=weights)
        for _ in range(count)
    ]
    return PlaceNet(branches, second=second)
