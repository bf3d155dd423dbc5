# SPDX-License-Identifier: Apache-2.0
"""Settings of the geometric odometry."""

from dataclasses import dataclass

from depthkit.config.ranges import check_ranges, option, require
from depthkit.runtime.odometry.front_end import TRACKS
from depthkit.runtime.odometry.window import SOLVERS, Solver


@dataclass(frozen=True)
class GeometricConfig:
    """Settings of the geometric odometry; the defaults serve all cameras."""

    camera_height: float = option(0.0, least=0)
    """Height of the camera over level ground, metres: a source of scale; 0 = unknown."""
    step_source: str = "speed"
    """Name of the source of `Motion.displacement`: speed, twist or another odometry."""
    step_sigma: float = option(0.02, above=0)
    """Relative standard deviation of that length."""
    loops: bool = False
    """Whether loops are looked for; they correct the map, never the odometry."""
    solver: Solver = "numpy"
    """Solver of the window: our own, or `gtsam` (an extra)."""
    tracks: int = option(TRACKS, least=50, most=5000)
    """Number of tracks kept alive."""
    max_pixels: int = option(600_000, least=10_000)
    """Number of pixels of the working image; larger frames are reduced."""
    max_gap: float = option(3.0, above=0)
    """Longest pause between two frames that are compared directly, seconds; after a longer one the
    place must be found again."""
    keep_path: bool = True
    """Whether every frame is remembered for `smoothed`; a robot that runs for hours needs it
    not."""

    def __post_init__(self) -> None:
        check_ranges(self)
        require(self.solver in SOLVERS, f"solver: expected numpy or gtsam, got {self.solver!r}")
