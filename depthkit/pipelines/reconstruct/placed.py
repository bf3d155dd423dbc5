# SPDX-License-Identifier: Apache-2.0
"""Where each frame was, for good: smoothed poses by segment, levelled where gravity is known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from depthkit.rigid import make_pose

if TYPE_CHECKING:
    from depthkit.runtime.odometry.geometric import GeometricOdometry
    from depthkit.runtime.odometry.live_path import SmoothedPath

LEVEL_SIGMA = math.radians(5.0)
"""Largest standard deviation of roll and pitch with which a world is levelled."""
FIRST, LEVELLED = "first camera", "levelled by the IMU"
AXES = {
    FIRST: "those of the first camera: x right, y down, z forward",
    LEVELLED: "levelled by the IMU: y down along gravity, z forward as the first camera looked",
}
"""Axes of a world, in words."""


@dataclass(frozen=True, eq=False)
class Placed:
    """One frame's pose."""

    T_world_cam: np.ndarray
    """In the world of its segment. (4, 4)"""
    segment: int
    metric: bool
    """Whether lengths are metres."""


@dataclass(frozen=True, eq=False)
class PlacedFrames:
    """Every frame that has a pose."""

    by_stamp: dict[float, Placed]
    sizes: dict[int, int]
    """Frames of each segment, the largest segment first."""
    axes: dict[int, str]
    """FIRST or LEVELLED, for each segment."""

    @property
    def main(self) -> int:
        """The largest segment."""
        return next(iter(self.sizes))

    def of(self, segment: int) -> list[tuple[float, Placed]]:
        """Return stamps and poses of one segment, in order."""
        return [(t, one) for t, one in sorted(self.by_stamp.items()) if one.segment == segment]


def place_frames(smoothed: SmoothedPath, odometry: GeometricOdometry) -> PlacedFrames:
    """Collect the poses of all frames; each segment starts at its own origin.

    Args:
        smoothed: every frame by the final keyframes, at least one.
        odometry: what made them; its IMU may know which way is down in the last segment.
    """
    segments = [int(one) for one in smoothed.segments]
    counts = {one: segments.count(one) for one in dict.fromkeys(segments)}
    sizes = dict(sorted(counts.items(), key=lambda item: -item[1]))
    R = _level(odometry, smoothed.poses[-1])
    R_level = {} if R is None else {segments[-1]: R}
    found = {}
    for stamp, T, segment, metric in zip(
        smoothed.stamps, smoothed.poses, segments, smoothed.metric, strict=True
    ):
        R = R_level.get(segment)
        T = T if R is None else make_pose(R, np.zeros(3)) @ T
        found[float(stamp)] = Placed(T, segment, bool(metric))
    axes = {one: LEVELLED if one in R_level else FIRST for one in sizes}
    return PlacedFrames(found, sizes, axes)


def _level(odometry: GeometricOdometry, T_world_cam: np.ndarray) -> np.ndarray | None:
    """Return R_level_world with y along gravity, nearest to the world's heading; None if unknown.

    Args:
        odometry: at its end.
        T_world_cam: the last pose. (4, 4)
    """
    aid = getattr(odometry, "aid", None)
    gravity = None if aid is None else aid.gravity_in_world
    if gravity is None or gravity.sigma > LEVEL_SIGMA:
        return None
    down = gravity.direction / np.linalg.norm(gravity.direction)
    # The heading is that of the first camera, or of the last one where the first looked down.
    for ahead in (np.array([0.0, 0.0, 1.0]), T_world_cam[:3, 2]):
        forward = ahead - (ahead @ down) * down
        if np.linalg.norm(forward) > 0.2:
            forward /= np.linalg.norm(forward)
            return np.stack([np.cross(down, forward), down, forward])
    return None
