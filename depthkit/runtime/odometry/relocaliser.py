# SPDX-License-Identifier: Apache-2.0
"""Find the camera again after a loss: pose of one image in the kept keyframes."""

from dataclasses import dataclass

import numpy as np

from depthkit.runtime.odometry.place_map import PlaceMap
from depthkit.runtime.odometry.place_match import MIN_INLIERS


@dataclass(frozen=True, eq=False)
class Relocalised:
    """Pose of an image in a known segment."""

    T_world_cam: np.ndarray
    """Pose in the world of the segment, in its unit. (4, 4)"""
    inliers: int
    """Number of points that agree."""
    keyframe: int
    """Kept keyframe in which the image was found."""
    segment: int
    """Segment of that keyframe: the odometry may go on in it."""


class Relocaliser:
    """Search for a lost camera among kept keyframes (holds them, changes nothing)."""

    def __init__(self, places: PlaceMap, *, min_inliers: int = MIN_INLIERS) -> None:
        """Search in a map of places.

        Args:
            places: kept keyframes, as `LoopCloser.places`.
            min_inliers: smallest number of points that must agree.
        """
        self._places, self._min_inliers = places, min_inliers

    def find(self, gray: np.ndarray, K: np.ndarray) -> Relocalised | None:
        """Find the pose of an image, None where no kept keyframe sees the same points.

        Args:
            gray: undistorted image, 0..255. (H, W) uint8
            K: intrinsics, pixels. (3, 3)
        """
        hit = self._places.find(self._places.query(gray, K), min_inliers=self._min_inliers)
        if hit is None:
            return None
        view = self._places.views[hit.view]
        return Relocalised(view.T_world_cam @ hit.T_view_cam, hit.inliers, view.id, view.segment)
