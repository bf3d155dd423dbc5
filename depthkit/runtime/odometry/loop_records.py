# SPDX-License-Identifier: Apache-2.0
"""Settings of the loop closer, and what it says of a place seen again."""

from dataclasses import dataclass
from typing import Literal

from depthkit.runtime.odometry.place_match import MIN_INLIERS


@dataclass(frozen=True)
class LoopConfig:
    """Settings of the loop closer."""

    recent: int = 20
    """Number of last keyframes of the segment that are no loop."""
    min_inliers: int = MIN_INLIERS
    """Smallest number of points that must agree on the pose."""
    keep: int = 600
    """Largest number of keyframes kept; beyond, the one closest to its neighbours is dropped."""


@dataclass(frozen=True, eq=False)
class LoopEvent:
    """A place seen again: what it did, or why it was refused."""

    kind: Literal["closed", "joined", "refused"]
    """closed: it corrects the map. joined: it laid one segment's map into another's."""
    stamp: float
    """Stamp of the new keyframe, seconds."""
    keyframe: int
    old: int
    """The keyframe of the same place."""
    inliers: int
    scale: float
    """Lengths in the old keyframe's unit per length in the new one's; NaN where unmeasured. It
    comes from the depths of points that both have placed."""
    jump: float
    """How far the correction moves the new keyframe, unit of the old one; NaN between two maps."""
    reason: str = ""
    """Why it was refused; empty otherwise."""
