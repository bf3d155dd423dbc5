# SPDX-License-Identifier: Apache-2.0
"""Frames with the paths of their landmarks over the last few frames drawn on them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from depthkit.runtime.result import SparsePoints

SHOWN = 4  # frames that are drawn
TAIL = 8  # frames that a path goes back
WIDEST = 720  # pixels of a picture
NEW, OLD = (230, 159, 0), (0, 158, 115)  # RGB: seen for one frame only, and for longer


@dataclass
class TrackPictures:
    """Draws a few frames, spread evenly over a run of known length."""

    total: int
    """Frames of the run."""
    pictures: list[tuple[int, np.ndarray]] = field(default_factory=list)
    """Index of the frame in the run, and what was drawn. (H, W, 3) uint8"""
    _seen: deque[dict[int, np.ndarray]] = field(default_factory=lambda: deque(maxlen=TAIL))
    _count: int = 0

    def add(self, rgb: np.ndarray, points: SparsePoints | None) -> None:
        """Take the next frame; draw it where its turn has come and landmarks are seen.

        Args:
            rgb: (H, W, 3) uint8
            points: landmarks seen in it.
        """
        known = {} if points is None else dict(zip(points.ids.tolist(), points.pixels, strict=True))
        self._seen.append(known)
        self._count += 1
        due = (len(self.pictures) + 1) * self.total / (SHOWN + 1)
        if known and self._count >= due and len(self.pictures) < SHOWN:
            self.pictures.append((self._count - 1, draw_tracks(rgb, list(self._seen))))


def draw_tracks(rgb: np.ndarray, seen: list[dict[int, np.ndarray]]) -> np.ndarray:
    """Draw where the landmarks of the last frame were in the frames before it.

    Args:
        rgb: the last frame. (H, W, 3) uint8
        seen: landmark -> pixel (2,) of each frame, the last one included.

    Returns:
        The picture, at most `WIDEST` wide. (h, w, 3) uint8
    """
    scale = min(1.0, WIDEST / rgb.shape[1])
    size = round(rgb.shape[1] * scale), round(rgb.shape[0] * scale)
    picture = np.ascontiguousarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA))
    for name, pixel in seen[-1].items():
        path = [pixel]
        for earlier in reversed(seen[:-1]):
            if name not in earlier:
                break
            path.append(earlier[name])
        # Pixel centres are integers: a resized picture moves them by half a pixel [camera].
        line = np.rint(scale * (np.array(path) + 0.5) - 0.5).astype(np.int32)
        colour = OLD if len(path) > 1 else NEW
        cv2.polylines(picture, [line], False, colour, 1, cv2.LINE_AA)
        cv2.circle(picture, line[0].tolist(), 2, colour, -1, cv2.LINE_AA)
    return picture
