# SPDX-License-Identifier: Apache-2.0
"""Small pictures of a run: frames with their depth, and a sheet of all of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import cv2
import numpy as np

from depthkit.runtime.result import CONFIDENT_SIGMA

if TYPE_CHECKING:
    from depthkit.runtime.result import DepthResult

COLUMNS, SHEET = 6, (6, 4)
"""Frames of the strip; columns and rows of the sheet."""
WIDTH = 220
"""Width of one small picture, pixels."""
NO_POSE, NO_DEPTH, EDGE = (213, 94, 0), (230, 159, 0), 4
"""RGB of the frame around a small picture without a pose, without depth; its width, pixels."""
GAP = 4


@dataclass
class FilmStrip:
    """Keeps a few small pictures, spread evenly over a run of known length."""

    total: int
    """Frames of the run."""
    rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=list)
    """Frame, depth painted, and depth of confident pixels alone, of each column."""
    sheet: list[np.ndarray] = field(default_factory=list)
    _count: int = 0

    def add(
        self,
        rgb: np.ndarray,
        painted: np.ndarray | None,
        result: DepthResult | None,
        *,
        is_placed: bool,
    ) -> None:
        """Take the next frame.

        Args:
            rgb: (H, W, 3) uint8
            painted: its depth in colours; None without depth. (H, W, 3) uint8
            result: its depth.
            is_placed: it has a pose.
        """
        self._count += 1
        if self._count > len(self.sheet) * self.total / (SHEET[0] * SHEET[1]):
            small = _small(rgb if painted is None else np.vstack([rgb, painted]))
            colour = NO_DEPTH if is_placed else NO_POSE
            self.sheet.append(small if painted is not None else _framed(_below(small), colour))
        due = self._count > (len(self.rows) + 0.5) * self.total / COLUMNS
        if due and painted is not None and result is not None and len(self.rows) < COLUMNS:
            sure = np.zeros(rgb.shape[:2], bool)
            if result.sigma is not None:
                sure = result.sigma <= CONFIDENT_SIGMA
            confident = np.where(sure[..., None], painted, np.uint8(0))
            self.rows.append((_small(rgb), _small(painted), _small(confident)))

    def draw_strip(self) -> np.ndarray | None:
        """Return the strip: frames, their depth, its confident pixels; None without any."""
        if not self.rows:
            return None
        lines = [_side_by_side([one[i] for one in self.rows]) for i in range(3)]
        return np.vstack(lines)

    def draw_sheet(self) -> np.ndarray:
        """Return the sheet, in the order of the frames."""
        columns, height = SHEET[0], max(one.shape[0] for one in self.sheet)
        blank = np.full((height, WIDTH, 3), 255, np.uint8)
        cells = [_padded(one, height) for one in self.sheet]
        cells += [blank] * (-len(cells) % columns)
        rows = [cells[i : i + columns] for i in range(0, len(cells), columns)]
        return np.vstack([_side_by_side(row) for row in rows])


def _small(rgb: np.ndarray) -> np.ndarray:
    size = WIDTH, max(1, round(rgb.shape[0] * WIDTH / rgb.shape[1]))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA))


def _below(small: np.ndarray) -> np.ndarray:
    """Leave the place of the depth empty."""
    return np.vstack([small, np.full_like(small, 40)])


def _framed(small: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    framed = small.copy()
    height, width = small.shape[:2]
    cv2.rectangle(framed, (0, 0), (width - 1, height - 1), colour, EDGE)
    return framed


def _padded(small: np.ndarray, height: int) -> np.ndarray:
    missing = height - small.shape[0]
    return np.pad(small, ((0, missing), (0, 0), (0, 0)), constant_values=255)


def _side_by_side(pictures: list[np.ndarray]) -> np.ndarray:
    """Put pictures of one height into a row, with gaps around."""
    row = [np.pad(one, ((0, GAP), (0, GAP), (0, 0)), constant_values=255) for one in pictures]
    return np.hstack(row)
