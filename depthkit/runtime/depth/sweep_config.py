# SPDX-License-Identifier: Apache-2.0
"""Settings of depth from several views by plane sweep."""

from dataclasses import dataclass
from typing import Literal

from depthkit.config.ranges import check_ranges, option, require


@dataclass(frozen=True)
class SweepConfig:
    """How the past frames of a stream are chosen, compared and fused."""

    shrink: int = option(2, least=1, live=True)
    """Camera's size over the size at which frames are compared: 4 is three times as fast as 2 and
    loses thin things."""
    planes: int = option(64, least=16, most=256, live=True)
    """Number of inverse depths that are tried."""
    paths: Literal[4, 8] = option(8, live=True)
    """Directions of the semi-global matching."""
    cost: Literal["census", "zncc", "learned"] = option("census", live=True)
    """What is compared. learned needs a network of kind features."""
    parallaxes: tuple[float, ...] = option((0.03, 0.05, 0.08, 0.12), live=True)
    """Wanted mean parallax of each source at the median depth, as a share of the width."""
    least_parallax: float = option(0.01, above=0, below=1, live=True)
    """Mean parallax below which a source is not used, as a share of the width."""
    min_overlap: float = option(0.5, above=0, most=1, live=True)
    """Smallest share of the frame that a source must show."""
    capacity: int = option(32, least=4, live=True)
    """Number of past frames kept, thinned so that short and long baselines are there."""
    max_age: float = option(10.0, above=0, live=True)
    """Largest age of a past frame, seconds: the scene may change and the odometry drifts."""
    max_gap: float = option(1.0, above=0, live=True)
    """Longest pause between two frames, seconds; after a longer one the past frames are dropped."""
    max_speed: float = option(100.0, above=0, live=True)
    """Largest speed of poses in metres, m/s; a faster one is taken for a jump of the odometry, and
    the past frames are dropped."""
    correct_poses: bool = option(True, live=True)
    """Mend the relative poses by tracks before the sweep."""
    fuse: bool = option(True, live=True)
    """Carry the last depth along and fuse it with the new one."""

    def __post_init__(self) -> None:
        check_ranges(self)
        rising = all(a < b for a, b in zip(self.parallaxes, self.parallaxes[1:], strict=False))
        require(
            bool(self.parallaxes) and rising and 0 < self.parallaxes[0] < 1,
            f"parallaxes: rising shares of the width, got {list(self.parallaxes)}",
        )
