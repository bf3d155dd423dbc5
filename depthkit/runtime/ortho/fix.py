# SPDX-License-Identifier: Apache-2.0
"""What became of a frame that was looked for in an orthophoto, and the places on the way to it."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from depthkit.runtime.ortho.plane_pose import PlanePose
from depthkit.runtime.ortho.tile_index import Tile

FoundBy = Literal["search", "previous frame"]


@dataclass(frozen=True, eq=False)
class Hypothesis:
    """A pose above a tile, and what speaks for it."""

    tile: Tile
    origin: np.ndarray
    """Point of the orthophoto that is the origin of the pose, pixels. (2,)"""
    metres: np.ndarray
    """Metres east and north of a pixel's steps there. (2, 2)"""
    pose: PlanePose
    matches: int
    evidence: float

    @property
    def foot(self) -> np.ndarray:
        """Point of the orthophoto below the camera, pixels. (2,)"""
        return self.origin + np.linalg.solve(self.metres, self.pose.T_plane_cam[:2, 3])


@dataclass(frozen=True, eq=False)
class OrthoFix:
    """Where a frame was taken."""

    pixel: np.ndarray
    """Point of the orthophoto below the camera, (u, v). (2,)"""
    latitude: float
    """WGS84, degrees north."""
    longitude: float
    """WGS84, degrees east."""
    altitude: float
    """Height of the camera above the plane of the ground, metres."""
    heading: float
    """Where the top of the frame points, degrees clockwise from true north, 0 to 360."""
    tilt: float
    """Angle of the optical axis from straight down, degrees."""
    R_ground_cam: np.ndarray
    """Rotation of the camera to east, north, up. (3, 3)"""
    covariance: np.ndarray
    """Covariance of position (metres) and rotation (radians) about east, north, up. (6, 6)"""
    corners: np.ndarray
    """Corners of the frame in the orthophoto, (u, v), from the top left on clockwise. (4, 2)"""
    inliers: int
    """Matched features that agree."""
    matches: int
    """Matched features."""
    evidence: float
    """Negative power of ten of the expected number of such agreements by chance."""
    rival: float
    """The same of the best other place; 0 where there is none."""
    similarity: float
    """Cosine of the descriptors of the frame and the tile it was found by."""
    found_by: FoundBy
    """search: among all tiles; previous frame: near the place of the frame before."""

    @property
    def sigma_position(self) -> float:
        """Standard deviation of the horizontal position, metres: root of the sum of both axes."""
        return float(np.sqrt(self.covariance[0, 0] + self.covariance[1, 1]))

    @property
    def sigma_altitude(self) -> float:
        """Standard deviation of the altitude, metres."""
        return float(np.sqrt(self.covariance[2, 2]))

    @property
    def sigma_heading(self) -> float:
        """Standard deviation of the heading, degrees."""
        return float(np.degrees(np.sqrt(self.covariance[5, 5])))


@dataclass(frozen=True)
class NotFound:
    """A frame without a place."""

    reason: str
    """Why not."""
    evidence: float = 0.0
    """That of the best place there was."""
