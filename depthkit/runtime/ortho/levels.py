# SPDX-License-Identifier: Apache-2.0
"""Features of an orthophoto at several ground resolutions, kept by the cells of a grid.

Each feature is found once, in the cell it lies in; a tile of any position is a block of cells.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from depthkit.multiview.features import Detector, Features

CELL = 128
"""Side of a cell, pixels of its level."""
TILE = 2
"""Cells along the side of a tile; tiles begin at every cell, so that they overlap by half."""
BORDER = 32
"""Pixels around a cell that its features may draw from."""
FACTOR = 2.0
"""Ratio of ground resolution between levels where the height is unknown."""
FINEST = 2.0
"""Largest enlargement of the orthophoto: frames may be finer than it."""


@dataclass(frozen=True, eq=False)
class Level:
    """The orthophoto at one ground resolution."""

    scale: float
    """Pixels of the level per pixel of the orthophoto."""
    rows: int
    columns: int
    features: Features
    """Those of all cells, row by row; positions are pixels of the orthophoto."""
    starts: np.ndarray
    """Where each cell's features begin; one more than cells. (rows columns + 1,) int64"""

    def block(self, row: int, column: int, *, size: int, ring: int = 0) -> Features:
        """Return the features of a square of cells.

        Args:
            row, column: its first cell.
            size: cells along its side.
            ring: further cells on each side.
        """
        left, right = max(0, column - ring), min(self.columns, column + size + ring)
        rows = range(max(0, row - ring), min(self.rows, row + size + ring))
        index = [
            np.arange(self.starts[r * self.columns + left], self.starts[r * self.columns + right])
            for r in rows
        ]
        return self.features.take(np.concatenate(index))

    def centre(self, row: int, column: int) -> np.ndarray:
        """Return the centre of the tile that begins at a cell, pixels of the orthophoto. (2,)"""
        middle = (np.array([column, row]) + TILE / 2) * CELL
        return middle / self.scale - 0.5

    @property
    def tiles(self) -> list[tuple[int, int]]:
        """First cells (row, column) of all tiles; a level narrower than a tile has one there."""
        rows, columns = (range(max(1, n - TILE + 1)) for n in (self.rows, self.columns))
        return [(row, column) for row in rows for column in columns]


def scales_without_height(size: tuple[int, int]) -> list[float]:
    """Return the scales of levels whose tiles reach from small frames to the whole orthophoto.

    Args:
        size: of the orthophoto, (H, W) pixels.
    """
    scales: list[float] = []
    scale = FINEST
    while not scales or TILE * CELL / scale < FACTOR * min(size):
        scales.append(scale)
        scale /= FACTOR
    return scales


def scale_of_height(footprint: float, resolution: float) -> float:
    """Return the scale of the level whose tiles are as wide as a frame's shorter side.

    Args:
        footprint: of that side on the ground, metres.
        resolution: of the orthophoto, metres a pixel.
    """
    return float(min(FINEST, TILE * CELL * resolution / footprint))


def resize(picture: np.ndarray, scale: float) -> np.ndarray:
    """Bring an orthophoto, or the mask of it, to the resolution of a level."""
    height, width = picture.shape[:2]
    size = max(1, round(width * scale)), max(1, round(height * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return picture if size == (width, height) else cv2.resize(picture, size, interpolation=how)


def build_level(gray: np.ndarray, valid: np.ndarray, scale: float, detector: Detector) -> Level:
    """Find the features of an orthophoto at one ground resolution.

    Args:
        gray: the orthophoto. (H, W) uint8
        valid: where it is picture at all. (H, W) bool
        scale: pixels of the level per pixel of the orthophoto.
        detector: finds and describes them.
    """
    # 1. The picture of the level, with a border that holds no features.
    small = resize(gray, scale)
    mask = resize(valid.astype(np.uint8), scale) > 0
    rows, columns = (max(1, -(-n // CELL)) for n in small.shape)
    ends = [n * CELL - m for n, m in zip((rows, columns), small.shape, strict=True)]
    pads = (BORDER, ends[0] + BORDER), (BORDER, ends[1] + BORDER)
    small, mask = np.pad(small, pads, mode="edge"), np.pad(mask, pads)
    # 2. Cell by cell: only what lies inside it is kept.
    found = [
        _of_cell(small, mask, row, column, detector)
        for row in range(rows)
        for column in range(columns)
    ]
    # 3. One record, positions in pixels of the orthophoto by the half-pixel rule.
    counts = [len(one) for one in found]
    pixels = (np.concatenate([one.pixels for one in found]) + 0.5) / scale - 0.5
    features = Features(
        pixels.astype(np.float32),
        np.concatenate([one.descriptors for one in found]),
        np.concatenate([one.scales for one in found]) / np.float32(scale),
        np.concatenate([one.angles for one in found]),
        found[0].ratio,
    )
    return Level(scale, rows, columns, features, np.concatenate([[0], np.cumsum(counts)]))


def _of_cell(
    small: np.ndarray, mask: np.ndarray, row: int, column: int, detector: Detector
) -> Features:
    """Find the features of one cell, pixels of the level without its border."""
    top, left, side = row * CELL, column * CELL, CELL + 2 * BORDER
    window = slice(top, top + side), slice(left, left + side)
    features = detector.detect(
        np.ascontiguousarray(small[window]), valid=np.ascontiguousarray(mask[window])
    )
    inside = (features.pixels >= BORDER - 0.5) & (features.pixels < BORDER + CELL - 0.5)
    kept = features.take(np.flatnonzero(inside.all(axis=1)))
    corner = np.array([left - BORDER, top - BORDER], np.float32)
    return Features(kept.pixels + corner, kept.descriptors, kept.scales, kept.angles, kept.ratio)
