# SPDX-License-Identifier: Apache-2.0
"""One file that holds a whole run: an mp4 to look at, a recording for the rerun viewer."""

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


class RerunRecording:
    """Frames, depth and camera motion as a .rrd file for the rerun viewer (extra [rerun])."""

    def __init__(self, path: Path, *, K: np.ndarray | None) -> None:
        """Args: path: ends in .rrd. K: intrinsics of the frames; without it no 3-D view. (3, 3)"""
        import rerun

        self.rerun, self.K = rerun, K
        self.stream = rerun.RecordingStream("depthkit")
        self.stream.save(str(path))
        self.stream.log("world", rerun.ViewCoordinates.RDF, static=True)

    def add(
        self, time: float, rgb: np.ndarray, depth: np.ndarray, T_world_cam: np.ndarray | None
    ) -> None:
        """Append one frame.

        Args:
            time: seconds from the start.
            rgb: colours. (H, W, 3) uint8
            depth: in the unit of the translations. (H, W) float32
            T_world_cam: pose where known. (4, 4)
        """
        rr, height, width = self.rerun, *depth.shape
        self.stream.set_time("time", duration=time)
        if T_world_cam is not None:
            pose = rr.Transform3D(translation=T_world_cam[:3, 3], mat3x3=T_world_cam[:3, :3])
            self.stream.log("world/camera", pose)
        if self.K is not None:
            pinhole = rr.Pinhole(image_from_camera=self.K, resolution=[width, height])
            self.stream.log("world/camera/image", pinhole)
        self.stream.log("world/camera/image/rgb", rr.Image(rgb).compress())
        self.stream.log("world/camera/image/depth", rr.DepthImage(depth, meter=1.0))

    def close(self) -> None:
        """Write what is still in memory."""
        self.stream.flush()
        self.stream.disconnect()
