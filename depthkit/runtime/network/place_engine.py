# SPDX-License-Identifier: Apache-2.0
"""One descriptor of a whole picture from an exported network: to find pictures of the same place.

Two pictures show the same place where the dot product of their descriptors is high. The engine
keeps no pictures; an index of them is `runtime/odometry/places.py`.
"""

import cv2
import numpy as np

from depthkit.errors import DataError
from depthkit.runtime.network.engine import Engine
from depthkit.runtime.preprocess import to_size

LEAST_SIDE = 8
"""Pixels: a smaller picture says nothing of a place."""


class PlaceEngine(Engine):
    """Runs an exported network of places; a context manager. Threads may share it."""

    kinds = ("place",)
    remedy = "train one with task place"

    @property
    def name(self) -> str:
        """Name of the network, such as light."""
        return self.manifest.network

    @property
    def width(self) -> int:
        """Numbers of a descriptor."""
        return sum(self.parts)

    @property
    def parts(self) -> tuple[int, ...]:
        """Numbers of each modality's own descriptor, in order: their lists may be merged late."""
        return self.manifest.place_parts

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """Return the descriptor of a picture; see `describe`. (D,) float32"""
        return self.describe(picture)

    def describe(self, picture: np.ndarray, second: np.ndarray | None = None) -> np.ndarray:
        """Describe a picture.

        Args:
            picture: RGB (H, W, 3) or grey (H, W) uint8, of any size; it is brought to the size of
                the network, each side on its own.
            second: raster of the same place, for a network that takes one: depth, or classes as
                colours. As the picture

        Returns:
            Descriptor of length 1. (D,) float32

        Raises:
            DataError: not such a picture, or one too few or too many.
            EngineError: a closed engine.
        """
        frames = {"frame": self._frame("picture", picture)}
        if second is not None:
            frames["second"] = self._frame("second", second)
        if self.manifest.takes_raster != (second is not None):
            wanted = "a picture and a raster" if self.manifest.takes_raster else "one picture"
            raise DataError(f"{self.name}: describes {wanted}, got {len(frames)}")
        return self.backend.run(frames)["place"][0].astype(np.float32, copy=False)

    def _frame(self, what: str, picture: np.ndarray) -> np.ndarray:
        """Bring a picture to the network's size. -> (1, H, W, 3) uint8"""
        colour = picture.ndim == 3 and picture.shape[2] == 3
        if picture.dtype != np.uint8 or not (picture.ndim == 2 or colour):
            raise DataError(
                f"{what}: expected (H, W, 3) or (H, W) uint8, got {picture.dtype} {picture.shape}"
            )
        if min(picture.shape[:2]) < LEAST_SIDE:
            height, width = picture.shape[:2]
            raise DataError(
                f"{what}: {width}x{height} pixels are too few to tell a place; give {LEAST_SIDE} "
                "or more a side"
            )
        rgb = picture if colour else cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB)
        return np.ascontiguousarray(to_size(rgb, self.manifest.size))[None]
