# SPDX-License-Identifier: Apache-2.0
"""Options of `localise`, and the record of what it has done."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from depthkit.errors import ConfigError
from depthkit.pipelines.checks import check_at_least, check_choices, check_positive
from depthkit.pipelines.models import PLAIN, EngineOptions

WIDEST = 170  # degrees: what a pinhole still makes sense of


@dataclass(frozen=True)
class LocaliseOptions:
    """One run of `localise`: what to read, what is known, what to write."""

    source: Path
    """Sequence folder, folder of images, video, ROS bag or one sequence of a data set."""
    ortho: Path
    """Orthophoto: GeoTIFF, or a picture with a world file."""
    out: Path
    """Folder to write; it appears when all of it is there."""
    crs: str = ""
    """Coordinate system of the orthophoto, EPSG:N; empty for what its files say."""
    features: Path | None = None
    """Model of kind features; None for SIFT."""
    places: Path | None = None
    """Model of kind place; None for VLAD of the features."""
    height: float | None = None
    """Height of the camera above the ground, right within a third, metres; None: unknown."""
    tilt_sigma: float = 5.0
    """Standard deviation of the optical axis from straight down, degrees."""
    camera: Path | None = None
    """Calibration file; a sequence has its own, a bag and most data sets too."""
    fov: float | None = None
    """Without a calibration: horizontal field of view of a pinhole, degrees."""
    every: int = 1
    """Take every n-th frame."""
    topic: str = ""
    """Bags: pictures to take; empty for the only ones."""
    bits: Literal[10, 12, 16] = 16
    """Bags: bits in use of a 16-bit pixel."""
    engine: EngineOptions = PLAIN
    """What the models run on."""
    force: bool = False
    """Replace an earlier output."""

    def __post_init__(self) -> None:
        check_choices(self)
        check_at_least(1, every=self.every)
        check_positive(height=self.height, fov=self.fov, tilt_sigma=self.tilt_sigma)
        if self.tilt_sigma > 45:
            raise ConfigError(f"tilt_sigma: degrees up to 45, got {self.tilt_sigma:g}")
        if self.fov is not None and self.fov >= WIDEST:
            raise ConfigError(f"fov: degrees below {WIDEST}, got {self.fov:g}")
        if self.fov is not None and self.camera is not None:
            raise ConfigError("camera and fov are two answers to one question; give one of the two")


@dataclass(frozen=True)
class LocaliseSummary:
    """What was done: printed, and kept as summary.json."""

    source: str
    ortho: str
    out: str
    crs: str
    """Coordinate system of the orthophoto."""
    ground_resolution: float
    """Ground resolution of the orthophoto, metres a pixel."""
    tiles: int
    """Tiles of all ground resolutions that were searched."""
    features: str
    """What found and described the features."""
    places: str
    """What described the tiles."""
    frames: int
    """Frames that could be read."""
    skipped: tuple[str, ...]
    """Unreadable frames, one line each with the reason."""
    found: int
    """Frames with a place."""
    coverage: float
    """Share of the readable frames that have a place."""
    found_by: dict[str, int]
    """Frames found by a search everywhere, and near the place of the frame before."""
    not_found: dict[str, int]
    """Reasons of frames without a place, and how many they are."""
    sigma_position: float | None
    """Median standard deviation of the horizontal position, metres; null with no frame found."""
    sigma_altitude: float | None
    """The same of the altitude above the plane, metres."""
    sigma_heading: float | None
    """The same of the heading, degrees."""
    altitude: float | None
    """Median altitude above the plane, metres."""
    origin: tuple[float, float]
    """Latitude and longitude, degrees, of the point that the trajectory counts metres from."""
    index_seconds: float
    """Time to index the orthophoto."""
    milliseconds: float
    """Mean time to look for a frame."""
    notes: tuple[str, ...]
    """What the figures alone would hide."""
    files: dict[str, str]
    """Kind of output -> file inside `out`."""
