# SPDX-License-Identifier: Apache-2.0
"""A video to look at: frames and their coloured depth side by side."""

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from depthkit.errors import DataError, EngineError


class SideBySideVideo:
    """An mp4 of frames and their coloured depth beside them."""

    def __init__(self, path: Path, *, fps: float) -> None:
        """Args: path: ends in .mp4. fps: frames a second."""
        self.path, self.fps = path, fps
        self.partial = path.with_name(f".partial_{path.name}")
        self.writer: Any = None
        self.size: tuple[int, int] = (0, 0)
        self.count = 0

    def add(self, rgb: np.ndarray, colours: np.ndarray, name: str) -> None:
        """Append one frame.

        Args:
            rgb: the frame. (H, W, 3) uint8
            colours: its depth, painted. (H, W, 3) uint8
            name: of the frame, for the error message.
        """
        pair = np.hstack([rgb, colours])
        if self.writer is None:
            self._open(pair.shape[:2])
        if pair.shape[:2] != self.size:
            got, first = (f"{w // 2}x{h}" for h, w in (pair.shape[:2], self.size))
            raise DataError(
                f"{name}: is {got}, the video began with {first}; use frames of one size or leave "
                "out --video"
            )
        self.writer.write(np.ascontiguousarray(pair[..., ::-1]))
        self.count += 1

    def close(self) -> None:
        """Finish the file; a video that lost frames (full disk) is an error."""
        if self.writer is None:
            return
        self.writer.release()
        check = cv2.VideoCapture(str(self.partial))
        kept = int(check.get(cv2.CAP_PROP_FRAME_COUNT))
        check.release()
        if kept != self.count:
            raise EngineError(
                f"{self.path}: video holds {kept} of {self.count} frames; is the disk full?"
            )
        os.replace(self.partial, self.path)

    def _open(self, size: tuple[int, int]) -> None:
        fourcc = cv2.VideoWriter.fourcc(*"mp4v")
        self.writer = cv2.VideoWriter(str(self.partial), fourcc, self.fps, size[::-1])
        if not self.writer.isOpened():
            raise EngineError(
                f"{self.path}: this OpenCV cannot write mp4 video; leave out --video and use the "
                "pictures in colour/"
            )
        self.size = size
