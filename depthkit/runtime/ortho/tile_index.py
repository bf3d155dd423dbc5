# SPDX-License-Identifier: Apache-2.0
"""Which tiles of an orthophoto look like a frame: VLAD of their features, or a learnt descriptor.

VLAD of features that turn with the picture (SIFT) does not care about the heading. A learnt
descriptor, and features without an orientation, are asked for several headings.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np

from depthkit.errors import DataError
from depthkit.multiview.features import Features
from depthkit.runtime.odometry.places import learn_words, vlad
from depthkit.runtime.ortho.levels import CELL, TILE, Level, resize

HEADINGS = 8
"""Headings at which a frame is described where its description turns with it."""
MOST_TILES = 60_000
"""Tiles of VLAD in 1 GB of memory."""
Describe: TypeAlias = Callable[[np.ndarray], np.ndarray]
"""Colours (H, W, 3) uint8 to a vector of length 1. (D,) float32"""


@dataclass(frozen=True)
class Tile:
    """A square of the orthophoto that may hold a frame."""

    level: int
    """Number of its level."""
    row: int
    column: int
    """Its first cell."""
    similarity: float
    """Cosine of its descriptor and the frame's."""


class TileIndex:
    """Descriptors of all tiles of all levels (kept state)."""

    def __init__(
        self, levels: list[Level], rgb: np.ndarray, describe: Describe | None = None
    ) -> None:
        """Describe all tiles.

        Args:
            levels: of the orthophoto.
            rgb: the orthophoto. (H, W, 3) uint8
            describe: learnt descriptor of a picture; VLAD of the features if None.

        Raises:
            DataError: no feature anywhere, or too many tiles for the memory.
        """
        self._places = [(n, *cell) for n, level in enumerate(levels) for cell in level.tiles]
        if len(self._places) > MOST_TILES:
            raise DataError(
                f"orthophoto: {len(self._places)} tiles, at most {MOST_TILES}; give --height, or a "
                "part of it"
            )
        pool = [one.features.descriptors for one in levels if len(one.features)]
        if not pool:
            raise DataError("orthophoto: holds no feature at all; is it blank?")
        self._describe = describe
        self._words = np.zeros((0, 0), np.float32) if describe else learn_words(pool)
        self._vectors = np.stack(
            self._learnt(levels, rgb, describe) if describe else self._by_features(levels)
        )

    def __len__(self) -> int:
        return len(self._places)

    def find(self, rgb: np.ndarray, features: Features, *, count: int) -> list[Tile]:
        """Find the tiles that look most like a frame, best first.

        Args:
            rgb: the frame, for a learnt descriptor. (H, W, 3) uint8
            features: those of the frame, for VLAD.
            count: largest number of tiles.
        """
        if self._describe is None:
            queries = [vlad(features.descriptors, self._words)]
        else:
            angles = np.arange(HEADINGS) * (360.0 / HEADINGS)
            queries = [self._describe(_square(rgb, float(angle))) for angle in angles]
        similarity = (self._vectors @ np.stack(queries, axis=1).astype(np.float32)).max(axis=1)
        order = np.argsort(-similarity, kind="stable")[:count]
        found = [(*self._places[i], float(similarity[i])) for i in order]
        return [Tile(n, row, column, alike) for n, row, column, alike in found]

    def _by_features(self, levels: list[Level]) -> list[np.ndarray]:
        return [
            vlad(levels[n].block(row, column, size=TILE).descriptors, self._words)
            for n, row, column in self._places
        ]

    def _learnt(self, levels: list[Level], rgb: np.ndarray, describe: Describe) -> list[np.ndarray]:
        vectors = []
        for number, level in enumerate(levels):
            small = resize(rgb, level.scale)
            for n, row, column in self._places:
                if n == number:
                    vectors.append(describe(_tile(small, row, column)))
        return vectors


def _tile(small: np.ndarray, row: int, column: int) -> np.ndarray:
    """Cut a tile out of the picture of its level; what is missing at the border is repeated."""
    side = TILE * CELL
    part = small[row * CELL : row * CELL + side, column * CELL : column * CELL + side]
    ends = side - part.shape[0], side - part.shape[1]
    return np.pad(part, ((0, ends[0]), (0, ends[1]), (0, 0)), mode="edge")


def _square(rgb: np.ndarray, angle: float) -> np.ndarray:
    """Turn a frame and cut its middle square out, at the size of a tile; angle in degrees."""
    height, width = rgb.shape[:2]
    side = TILE * CELL
    A = turning(width, height, angle)
    # From the middle of the turned frame to the middle of a tile, at a tile's size.
    scale = side / min(height, width)
    middle = (np.array(turned_size(width, height, angle)) - 1) / 2
    A = np.column_stack([A[:, :2], A[:, 2] - middle]) * scale
    A[:, 2] += (side - 1) / 2
    small = cv2.GaussianBlur(rgb, (0, 0), 0.5 / scale) if scale < 1 else rgb
    return cv2.warpAffine(small, A, (side, side), borderMode=cv2.BORDER_REFLECT)


def turning(width: int, height: int, angle: float) -> np.ndarray:
    """Return the map of a picture's pixels to those of the picture turned about its middle. (2, 3)

    Args:
        width, height: of the picture.
        angle: degrees, from u towards v.
    """
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    R = np.array([[c, -s], [s, c]])
    middle = (np.array([width, height]) - 1) / 2
    target = (np.array(turned_size(width, height, angle)) - 1) / 2
    return np.column_stack([R, target - R @ middle])


def turned_size(width: int, height: int, angle: float) -> tuple[int, int]:
    """Return width and height of a picture that holds the turned one."""
    c, s = abs(np.cos(np.radians(angle))), abs(np.sin(np.radians(angle)))
    return round(width * c + height * s), round(width * s + height * c)
