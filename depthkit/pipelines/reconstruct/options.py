# SPDX-License-Identifier: Apache-2.0
"""Options of `reconstruct`: one record from the command line or from Python down to each frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from depthkit.errors import ConfigError
from depthkit.pipelines.checks import check_at_least, check_choices, check_positive, check_size
from depthkit.pipelines.odometry.options import WIDEST, ScaleSources


@dataclass(frozen=True)
class ReconstructOptions:
    """One run of `reconstruct`: what to read, what is known, what to write."""

    source: Path
    """Sequence folder, folder of images, video, ROS bag or one sequence of a data set."""
    out: Path
    """Folder to write; it appears when all of it is there."""
    camera: Path | None = None
    """Calibration file; a sequence has its own, a bag and most data sets too."""
    fov: float | None = None
    """Without a calibration: horizontal field of view of a pinhole, degrees; None: by EXIF, else
    found from the motion of points."""
    scale: ScaleSources = ScaleSources()
    """What may turn lengths into metres."""
    imu_to_camera: Path | None = None
    """File with T_cam_imu; None for what the source says."""
    imu_units: str = ""
    """Units of the samples where they are not rad/s and m/s2: deg/s, g, mg, or two of them."""
    imu_topic: str = ""
    """Bags: topic of the IMU; empty for the only one."""
    every: int = 1
    """Take every n-th frame."""
    size: tuple[int, int] | None = None
    """(H, W) that frames are resized to before everything else, pixels; None keeps theirs."""
    max_gap: float | None = None
    """Longest pause between two frames that are one segment, seconds; None: 3 s, more where the
    frames themselves are slower."""
    voxel: float | None = None
    """Finest detail of the surface, in metres or the path's own unit; None: by the scene's depth.
    """
    topic: str = ""
    """Bags: pictures to take; empty for the only ones."""
    bits: Literal[10, 12, 16] = 16
    """Bags: bits in use of a 16-bit pixel."""
    force: bool = False
    """Replace an earlier output."""

    def __post_init__(self) -> None:
        check_choices(self)
        check_at_least(1, every=self.every)
        check_positive(max_gap=self.max_gap, fov=self.fov, voxel=self.voxel)
        check_size(self.size)
        if self.fov is not None and self.fov >= WIDEST:
            raise ConfigError(f"fov: degrees below {WIDEST}, got {self.fov:g}")
        if self.fov is not None and self.camera is not None:
            raise ConfigError("camera and fov are two answers to one question; give one of the two")
