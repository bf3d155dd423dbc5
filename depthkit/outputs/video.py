# SPDX-License-Identifier: Apache-2.0
"""Videos: of frames as they are, and of frames with their coloured depth side by side."""

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from depthkit.errors import DataError, EngineError


class VideoFile:
    """An mp4 of frames; it appears under its name when it is finished."""

    def __init__(self, path: Path, *, fps: float) -> None:
        """Args: path: ends in .mp4. fps: frames a second."""
        self.path, self.fps = path, fps
        self.partial = path.with_name(f".partial_{path.name}")
        self.writer: Any = None
        self.size: tuple[int, int] = (0, 0)
        self.count = 0

    def add(self, rgb: np.ndarray, name: str) -> None:
        """Append one frame.

        Args:
            rgb: the frame. (H, W, 3) uint8
            name: of the frame, for the error message.
        """
        if self.writer is None:
            self._open((rgb.shape[0], rgb.shape[1]))
        if rgb.shape[:2] != self.size:
            got, first = (f"{w}x{h}" for h, w in (rgb.shape[:2], self.size))
            raise DataError(
                f"{name}: is {got}, the video began with {first}; use frames of one size"
            )
        self.writer.write(np.ascontiguousarray(rgb[..., ::-1]))
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


class SideBySideVideo:
    """An mp4 of frames and their coloured depth beside them."""

    def __init__(self, path: Path, *, fps: float) -> None:
        """Args: path: ends in .mp4. fps: frames a second."""
        self.file = VideoFile(path, fps=fps)
        self.size: tuple[int, int] = (0, 0)

    def add(self, rgb: np.ndarray, colours: np.ndarray, name: str) -> None:
        """Append one frame.

        Args:
            rgb: the frame. (H, W, 3) uint8
            colours: its depth, painted. (H, W, 3) uint8
            name: of the frame, for the error message.
        """
        size = rgb.shape[0], rgb.shape[1]
        if self.file.count == 0:
            self.size = size
        if size != self.size:
            got, first = (f"{w}x{h}" for h, w in (size, self.size))
            raise DataError(
                f"{name}: is {got}, the video began with {first}; use frames of one size or leave "
                "out --video"
            )
        self.file.add(np.hstack([rgb, colours]), name)

    def close(self) -> None:
        """Finish the file; a video that lost frames (full disk) is an error."""
        self.file.close()
