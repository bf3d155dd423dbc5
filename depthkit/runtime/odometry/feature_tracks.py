# SPDX-License-Identifier: Apache-2.0
"""The pose of a frame by matched features, where its tracks are lost: blur, a jerk, missing frames.

KLT needs pictures that look alike nearly pixel by pixel; descriptors do not. The features of the
newest keyframes get positions by the landmarks beside them and by intersection, those that a frame
matches give its pose by PnP, and they become tracks.
"""

from dataclasses import dataclass, field

import numpy as np

from depthkit.multiview.features import Detector
from depthkit.rigid import inverse
from depthkit.runtime.odometry.front_end import WorkingFrame
from depthkit.runtime.odometry.landmark_map import MAPPED, Keyframe, LandmarkMap
from depthkit.runtime.odometry.place_match import Query, pooled_hit
from depthkit.runtime.odometry.place_view import Keyframe as PlaceKeyframe
from depthkit.runtime.odometry.place_view import PlaceView, add_points, view_of

NEWEST = 4
"""Number of newest keyframes that are matched."""
LEAST_MATCHED = 25
"""Matches that must agree on a pose, as of a place seen again."""


@dataclass(frozen=True, eq=False)
class Matched:
    """What the features of a frame say."""

    T_cam_world: np.ndarray
    """(4, 4)"""
    pixels: np.ndarray
    """(N, 2)"""
    points: np.ndarray
    """In the world of the map. (N, 3)"""
    origin: np.ndarray
    """Centre of the keyframe whose rays the points lie on. (3,)"""
    sigmas: np.ndarray
    """Relative standard deviations of their depths. (N,)"""


@dataclass(eq=False)
class FeatureTracks:
    """Features of the newest keyframes of a map, found when they are first needed (kept state)."""

    detector: Detector
    _views: list[PlaceView] = field(default_factory=list)
    _of: tuple[LandmarkMap, int] | None = None

    def match(self, world: LandmarkMap, frame: WorkingFrame) -> Matched | None:
        """Find the pose of a frame by the features of the map's newest keyframes.

        Args:
            world: the map.
            frame: the frame.

        Returns:
            None where too few features agree.
        """
        views = self._views_of(world, frame)
        features = self.detector.detect(frame.image, valid=frame.valid)
        hit = pooled_hit(
            Query(features, frame.K, frame.image.shape[1]), views, min_inliers=LEAST_MATCHED
        )
        if hit is None:
            return None
        newest = views[-1].T_world_cam
        points = hit.points[:, :3] @ newest[:3, :3].T + newest[:3, 3]
        return Matched(
            T_cam_world=inverse(newest @ hit.T_view_cam),
            pixels=features.pixels[hit.index],
            points=points,
            origin=newest[:3, 3],
            sigmas=hit.points[:, 3],
        )

    def _views_of(self, world: LandmarkMap, frame: WorkingFrame) -> list[PlaceView]:
        """Return the newest keyframes with features and their positions, as the map is now."""
        newest = world.keyframes[-NEWEST:]
        if self._of is None or self._of[0] is not world or self._of[1] != newest[-1].number:
            self._of, self._views = (world, newest[-1].number), []
            for one in newest:
                features = self.detector.detect(one.image, valid=frame.valid)
                view = view_of(_as_place(world, one, frame), features)
                for i, other in enumerate(self._views):
                    self._views[i], view = add_points(other, view)
                self._views.append(view)
        return self._views


def _as_place(world: LandmarkMap, keyframe: Keyframe, frame: WorkingFrame) -> PlaceKeyframe:
    """Hand over a keyframe with its measured landmarks."""
    good = world.sigma[keyframe.slots] < MAPPED
    return PlaceKeyframe(
        id=keyframe.number,
        stamp=keyframe.stamp,
        segment=0,
        gray=keyframe.image,
        K=frame.K,
        T_world_cam=keyframe.T_world_cam,
        pixels=frame.pixels(keyframe.rays[good]),
        positions=world.position[keyframe.slots[good]],
    )
