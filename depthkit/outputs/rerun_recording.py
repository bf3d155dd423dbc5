# SPDX-License-Identifier: Apache-2.0
"""A run as a file for the rerun viewer. Without rerun-sdk the program names the extra [rerun]."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


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
        self,
        time: float,
        rgb: np.ndarray,
        depth: np.ndarray | None,
        T_world_cam: np.ndarray | None,
    ) -> None:
        """Append one frame.

        Args:
            time: seconds from the start.
            rgb: colours. (H, W, 3) uint8
            depth: in the unit of the translations, where there is any. (H, W) float32
            T_world_cam: pose where known. (4, 4)
        """
        rr, (height, width) = self.rerun, rgb.shape[:2]
        self.stream.set_time("time", duration=time)
        if T_world_cam is not None:
            pose = rr.Transform3D(translation=T_world_cam[:3, 3], mat3x3=T_world_cam[:3, :3])
            self.stream.log("world/camera", pose)
        if self.K is not None:
            pinhole = rr.Pinhole(image_from_camera=self.K, resolution=[width, height])
            self.stream.log("world/camera/image", pinhole)
        self.stream.log("world/camera/image/rgb", rr.Image(rgb).compress())
        if depth is not None:
            self.stream.log("world/camera/image/depth", rr.DepthImage(depth, meter=1.0))

    def close(self) -> None:
        """Write what is still in memory."""
        self.stream.flush()
        self.stream.disconnect()
