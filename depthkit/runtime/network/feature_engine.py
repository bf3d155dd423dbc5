# SPDX-License-Identifier: Apache-2.0
"""Descriptors of every pixel from an exported network: what `Describe` of the matching costs is.

Two pixels look alike where the dot product of their descriptors is near 1. The engine keeps no
frames.
"""

from time import perf_counter
from typing import NamedTuple

import numpy as np

from depthkit.runtime.network.engine import Engine
from depthkit.runtime.network.picture import as_rgb, fill_up
from depthkit.runtime.preprocess import to_size
from depthkit.runtime.result import Timing

_LEAST_LENGTH = 1e-12  # of a descriptor between two opposite ones: its direction is arbitrary


class FeatureResult(NamedTuple):
    """Descriptors of one picture."""

    features: np.ndarray
    """Descriptors of length 1. (H, W, C) float32"""
    timing: Timing
    """Duration of the call's stages."""


class FeatureEngine(Engine):
    """Runs an exported network of features; a context manager. Threads may share it."""

    kinds = ("features",)
    remedy = "train one with task similarity, or adopt one"

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """Return the descriptors of every pixel of a picture; see `describe`. (H, W, C) float32"""
        return self.describe(picture).features

    def describe(self, picture: np.ndarray) -> FeatureResult:
        """Describe every pixel of a picture.

        Args:
            picture: grey (H, W) or RGB (H, W, 3) uint8, of any size. A network of one size sees it
                resized.

        Returns:
            Descriptors at the picture's size; those of a network with a stride lie between its own
            bilinearly.

        Raises:
            DataError: not such a picture.
            EngineError: a closed engine.
        """
        started = perf_counter()
        frame = self._network_frame(as_rgb(picture))[None]
        prepared = perf_counter()
        answers = self.backend.run({"frame": frame})
        answered = perf_counter()
        found = _at_size(answers["features"][0], picture.shape[:2], stride=self._step(picture))
        return FeatureResult(found, Timing.until_now(started, prepared, answered))

    def _network_frame(self, rgb: np.ndarray) -> np.ndarray:
        """Resize where the network knows one size only, else fill up by border pixels."""
        if not self.manifest.dynamic:
            return np.ascontiguousarray(to_size(rgb, self.manifest.size))
        return fill_up(rgb, self.manifest.size_multiple)

    def _step(self, picture: np.ndarray) -> tuple[float, float]:
        """Return pixels of the picture along the sides of an output pixel, (down, across)."""
        stride = float(self.manifest.stride)
        if self.manifest.dynamic:
            return stride, stride
        height, width = self.manifest.size
        return picture.shape[0] / height * stride, picture.shape[1] / width * stride


def _at_size(
    features: np.ndarray, size: tuple[int, int], *, stride: tuple[float, float]
) -> np.ndarray:
    """Bring descriptors to the pixels of the picture. (C, h, w) -> (H, W, C)"""
    maps = np.ascontiguousarray(features.transpose(1, 2, 0))
    if stride == (1.0, 1.0):
        return np.ascontiguousarray(maps[: size[0], : size[1]])
    # Output pixel (i, j) covers a block of the picture: c' = s (c + 0.5) - 0.5.
    v = (np.arange(size[0], dtype=np.float32) + 0.5) / np.float32(stride[0]) - 0.5
    u = (np.arange(size[1], dtype=np.float32) + 0.5) / np.float32(stride[1]) - 0.5
    grown = _between(_between(maps, v, axis=0), u, axis=1)
    length = np.linalg.norm(grown, axis=2, keepdims=True)
    return grown / np.maximum(length, np.float32(_LEAST_LENGTH))


def _between(maps: np.ndarray, at: np.ndarray, *, axis: int) -> np.ndarray:
    """Interpolate linearly along one axis; outside, the border's values."""
    at = np.clip(at, 0, maps.shape[axis] - 1)
    first = np.minimum(at.astype(np.intp), max(maps.shape[axis] - 2, 0))
    share = (at - first).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1)).astype(np.float32)
    low, high = (maps.take(first + step, axis=axis, mode="clip") for step in (0, 1))
    return low + share * (high - low)
