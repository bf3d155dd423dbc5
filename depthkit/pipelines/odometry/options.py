# SPDX-License-Identifier: Apache-2.0
"""Options of `odometry`, and what may turn its lengths into metres."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from depthkit.errors import ConfigError
from depthkit.pipelines.checks import check_at_least, check_choices, check_positive

WORD = Path("odometry")
"""In place of a file of poses: the poses are those of the odometry."""
REMEDY = "give --speed, --camera-height or an IMU"
"""What turns relative lengths into metres."""
WIDEST = 170  # degrees: what a pinhole still makes sense of


@dataclass(frozen=True)
class ScaleSources:
    """What is known beside the frames; several together are weighed by their sigmas."""

    camera_height: float | None = None
    """Height of the camera over flat ground, metres."""
    speed: float | None = None
    """Speed of the camera all the way, metres a second."""
    imu: str | Path = "auto"
    """auto: the samples of the source; none: no IMU; or a table of samples, or a sequence folder
    with imu.csv, on the clock of the frames."""

    def __post_init__(self) -> None:
        check_positive(camera_height=self.camera_height, speed=self.speed)

    @property
    def names(self) -> tuple[str, ...]:
        """Sources of metres that were given, in words."""
        words = {"camera height": self.camera_height, "speed": self.speed}
        return tuple(name for name, value in words.items() if value is not None)


@dataclass(frozen=True)
class OdometryOptions:
    """One run of `odometry`: what to read, what is known, what to write."""

    source: Path
    """Sequence folder, folder of images, video, ROS bag or one sequence of a data set."""
    out: Path
    """Folder to write; it appears when all of it is there."""
    camera: Path | None = None
    """Calibration file; a sequence has its own, a bag and most data sets too."""
    fov: float | None = None
    """Without a calibration: horizontal field of view of a pinhole, degrees."""
    scale: ScaleSources = ScaleSources()
    """What may turn lengths into metres."""
    imu_to_camera: Path | None = None
    """File with T_cam_imu; None for what the source says."""
    imu_units: str = ""
    """Units of the samples where they are not rad/s and m/s2: deg/s, g, mg, or two of them."""
    imu_topic: str = ""
    """Bags: topic of the IMU; empty for the only one."""
    loops: bool = False
    """Look for places that are seen again after a long time."""
    features: Path | None = None
    """ONNX file of kind features: learned keypoints for keyframes, loops and lost tracks; None for
    SIFT."""
    places: Path | None = None
    """ONNX file of kind place: learned descriptor by which places are retrieved; None for the
    features themselves."""
    map: Path | None = None
    """Folder of a map: read if it is there, and extended at the end; a new one is begun."""
    map_read_only: bool = False
    """Read the map and leave it as it is."""
    every: int = 1
    """Take every n-th frame."""
    max_gap: float | None = None
    """Longest pause between two frames that are one segment, seconds; None: 3 s, more where the
    frames themselves are slower."""
    format: Literal["tum", "kitti"] = "tum"
    """Format of the trajectories."""
    topic: str = ""
    """Bags: pictures to take; empty for the only ones."""
    bits: Literal[10, 12, 16] = 16
    """Bags: bits in use of a 16-bit pixel."""
    write_poses: bool = False
    """Also write poses.txt and poses.yaml into the source, a sequence folder without poses."""
    force: bool = False
    """Replace an earlier output."""

    def __post_init__(self) -> None:
        check_choices(self)
        check_at_least(1, every=self.every)
        check_positive(max_gap=self.max_gap, fov=self.fov)
        if self.fov is not None and self.fov >= WIDEST:
            raise ConfigError(f"fov: degrees below {WIDEST}, got {self.fov:g}")
        if self.fov is not None and self.camera is not None:
            raise ConfigError("camera and fov are two answers to one question; give one of the two")
        if self.map_read_only and self.map is None:
            raise ConfigError("map_read_only: there is no map; give the folder of one (--map)")
