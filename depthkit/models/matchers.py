# SPDX-License-Identifier: Apache-2.0
"""LightGlue and LoFTR of kornia with weights from a person's own file; nothing is downloaded.

LightGlue (Lindenberger et al., ICCV 2023) pairs features by attention; the shapes of its weights
say which descriptors it takes. LoFTR (Sun et al., CVPR 2021) pairs points of two pictures without
features; its weights are those of `loftr_outdoor` and `loftr_indoor`, not of `indoor_ds_new`, whose
positional encoding is another one and does not stand in the file.
"""

import pickle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from kornia.feature import LightGlue, LoFTR
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from depthkit.errors import CheckpointError
from depthkit.models.checkpoint import load_weights, take

_PREFIX = "matcher."  # in files saved from a wrapper, with its detector beside it
_BUFFER = "confidence_thresholds"  # follows from the number of layers; old files lack it
_PLAIN, _ORIENTED = 2, 4  # numbers of a position: (u, v), and with scale and angle
_LOFTR_SHIFT = 0.5  # its pixel centres lie at (0.5, 0.5)
LEAST_SIDE = 40
"""Smallest side of a picture that LoFTR takes, pixels: it drops a border of 2 cells of 8."""


class Keypoints(NamedTuple):
    """Features of one picture, as LightGlue takes them."""

    pixels: np.ndarray
    """(N, 2)"""
    descriptors: np.ndarray
    """Compared by Euclidean distance; brought to length 1 here. (N, D)"""
    scales: np.ndarray
    """Diameters of the described patches, pixels; used by weights of oriented features. (N,)"""
    angles: np.ndarray
    """Radians. (N,)"""
    size: tuple[int, int]
    """(H, W) of the picture."""


class LightGlueMatcher:
    """Pairs features by LightGlue (kept weights)."""

    def __init__(self, weights: Path, *, device: str = "cpu") -> None:
        """Load weights; their shapes say how many layers and heads there are.

        Raises:
            CheckpointError: no such file, or weights of another network.
        """
        tensors = _renamed(read_weights(weights))
        self.width, self.is_oriented, net = _light_glue(tensors, weights)
        tensors.setdefault(_BUFFER, net.state_dict()[_BUFFER])
        load_weights(net, tensors, str(weights))
        self._net, self._device = net.eval().to(device), device

    def match(self, a: Keypoints, b: Keypoints) -> np.ndarray:
        """Pair the features of two pictures.

        Returns:
            Indices into a and b, increasing in a. (M, 2) int64, M may be 0

        Raises:
            CheckpointError: descriptors of another length than the weights take.
        """
        for each in (a, b):
            if each.descriptors.shape[1] != self.width:
                raise CheckpointError(
                    f"LightGlue: these weights take descriptors of {self.width} numbers, got "
                    f"{each.descriptors.shape[1]}; give the weights of this detector"
                )
        if not len(a.pixels) or not len(b.pixels):
            return np.zeros((0, 2), np.int64)
        with torch.inference_mode():
            found = self._net({"image0": self._image(a), "image1": self._image(b)})
        index = found["matches"][0].cpu().numpy().astype(np.int64)
        return index[np.argsort(index[:, 0], kind="stable")]

    def _image(self, one: Keypoints) -> dict[str, Tensor]:
        """Return what the network reads of one picture, a batch of 1."""
        height, width = one.size
        # kornia refuses positions beyond the picture, where half of an edge pixel lies.
        pixels = np.clip(one.pixels, 0, (width, height)).astype(np.float32)
        descriptors = torch.from_numpy(one.descriptors.astype(np.float32)).to(self._device)
        image = {
            "keypoints": self._batch(pixels),
            "descriptors": torch.nn.functional.normalize(descriptors, dim=1)[None],
            "image_size": self._batch(np.array([width, height], np.float32)),
        }
        if self.is_oriented:
            image["scales"] = self._batch(one.scales)
            image["oris"] = self._batch(one.angles)
        return image

    def _batch(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values.astype(np.float32)).to(self._device)[None]


class LoftrMatcher:
    """Pairs points of two pictures by LoFTR (kept weights)."""

    def __init__(self, weights: Path, *, device: str = "cpu") -> None:
        """Load weights.

        Raises:
            CheckpointError: no such file, or weights of another network.
        """
        net = LoFTR(pretrained=None)
        load_weights(net, read_weights(weights), str(weights))
        self._net, self._device = net.eval().to(device), device

    def match(self, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pair points of two grey pictures.

        Args:
            a, b: 0..255, sides of any length. (H, W) uint8

        Returns:
            Positions in a and in b, pixels; none in a picture with a side below LEAST_SIDE.
            (M, 2), (M, 2) float32
        """
        if min(*a.shape, *b.shape) < LEAST_SIDE:
            none = np.zeros((0, 2), np.float32)
            return none, none
        with torch.inference_mode():
            found = self._net({"image0": self._image(a), "image1": self._image(b)})
        points = (found[name].cpu().numpy() - _LOFTR_SHIFT for name in ("keypoints0", "keypoints1"))
        first, second = (one.astype(np.float32) for one in points)
        return first, second

    def _image(self, gray: np.ndarray) -> Tensor:
        values = torch.from_numpy(np.ascontiguousarray(gray)).to(self._device)
        return values[None, None].float() / 255


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read tensors by name from .safetensors, or from a file of torch without running its code.

    Raises:
        CheckpointError: no such file, or it holds no weights.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file of weights")
    found: Any
    try:
        if path.suffix == ".safetensors":
            found = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError, SafetensorError):
        raise CheckpointError(
            f"{path}: no file of weights; expected .safetensors, or tensors saved by torch"
        ) from None
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    if not isinstance(found, dict) or not all(isinstance(v, Tensor) for v in found.values()):
        raise CheckpointError(f"{path}: holds no tensors by name; give the weights alone")
    tensors = {str(name): value for name, value in found.items()}
    return take(tensors, _PREFIX) or tensors


def _renamed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Bring names of older files (self_attn.0...) to those of the layers."""
    found = {}
    for name, value in tensors.items():
        kind, _, rest = name.partition(".")
        number, _, tail = rest.partition(".")
        is_old = kind in ("self_attn", "cross_attn")
        found[f"transformers.{number}.{kind}.{tail}" if is_old else name] = value
    return found


def _light_glue(tensors: dict[str, Tensor], path: Path) -> tuple[int, bool, LightGlue]:
    """Build the network that weights fit: length of descriptors, oriented or not, layers."""
    final, position = "log_assignment.0.final_proj.weight", "posenc.Wr.weight"
    if any(name not in tensors or tensors[name].ndim != 2 for name in (final, position)):
        raise CheckpointError(f"{path}: weights of another network: no {final}; not LightGlue's")
    inner = tensors[final].shape[0]
    projection = tensors.get("input_proj.weight")
    width = inner if projection is None else int(projection.shape[1])
    half, numbers = tensors[position].shape
    if numbers not in (_PLAIN, _ORIENTED) or inner % (2 * half):
        raise CheckpointError(
            f"{path}: LightGlue for features with {numbers} numbers of position; those of a "
            f"detector here have {_PLAIN}, or {_ORIENTED} with scale and angle"
        )
    net = LightGlue(
        features=None,  # type: ignore[arg-type]  # kornia: nothing is downloaded
        input_dim=width,
        descriptor_dim=inner,
        add_scale_ori=numbers == _ORIENTED,
        n_layers=sum(name.endswith("final_proj.weight") for name in tensors),
        num_heads=inner // (2 * half),
        flash=False,  # one result on every device
        depth_confidence=-1,  # all layers and all points: nothing is stopped early
        width_confidence=-1,
    )
    return width, numbers == _ORIENTED, net
