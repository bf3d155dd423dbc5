# SPDX-License-Identifier: Apache-2.0
"""A start from points that are known already: the camera sees a place of a saved map.

Without it a session waits for parallax and then has a unit of its own. Two pictures in a row must
be found at poses that agree, with each other and with the turn that the tracks have seen between
them; the features that fit the pose of the second become the first landmarks.
"""

from dataclasses import dataclass

import numpy as np

from depthkit.rigid import inverse, log_so3
from depthkit.runtime.odometry.loop_checks import AGREE_TURN
from depthkit.runtime.odometry.place_match import PIXELS, PlaceHit, Query, seen_points
from depthkit.runtime.odometry.place_view import PlaceView

STEP = 0.3
"""Largest motion between two such pictures, as a part of the scene's depth."""
LEAST = 30
"""Number of known points that a start needs."""


@dataclass(frozen=True, eq=False)
class KnownStart:
    """Where a picture is in a saved map, and which of its points it sees."""

    view: int
    """Saved keyframe in which it was found."""
    T_view_cam: np.ndarray
    """Pose of the picture in that keyframe, unit of the map. (4, 4)"""
    pixels: np.ndarray
    """(N, 2)"""
    points: np.ndarray
    """In the axes of the picture's camera, unit of the map. (N, 3)"""
    sigmas: np.ndarray
    """Relative standard deviations of their depths, as the keyframe saw them. (N,)"""
    depth: float
    """Median depth of the points."""


@dataclass(frozen=True, eq=False)
class _Found:
    """A picture that was found, until the next one confirms it."""

    T_map_cam: np.ndarray
    R_cam_start: np.ndarray
    map: int
    depth: float


class StartInMap:
    """Waits for two pictures in a row that agree (kept state)."""

    def __init__(self) -> None:
        """Start with no picture."""
        self._before: _Found | None = None

    @property
    def is_near(self) -> bool:
        """Whether the last picture was found, so that the next one should be asked at once."""
        return self._before is not None

    def miss(self) -> None:
        """Take a picture that was not found."""
        self._before = None

    def confirmed(
        self, hit: PlaceHit, *, T_map_view: np.ndarray, map: int, R_cam_start: np.ndarray
    ) -> bool:
        """Take a picture that was found; say whether the one before agrees.

        Args:
            hit: its pose in a saved keyframe.
            T_map_view: pose of that keyframe in its map. (4, 4)
            map: which map that is.
            R_cam_start: turn of the camera since the tracks began, by the tracks. (3, 3)
        """
        now = _Found(T_map_view @ hit.T_view_cam, R_cam_start, map, hit.depth)
        before, self._before = self._before, now
        if before is None or before.map != map:
            return False
        between = inverse(before.T_map_cam) @ now.T_map_cam
        told = before.R_cam_start @ now.R_cam_start.T
        turn = float(np.linalg.norm(log_so3(told.T @ between[:3, :3])))
        near = min(before.depth, now.depth)
        return bool(turn < AGREE_TURN and np.linalg.norm(between[:3, 3]) < STEP * near)


def known_start(
    query: Query, hit: PlaceHit, view: PlaceView, neighbours: tuple[PlaceView, ...]
) -> KnownStart | None:
    """Collect the points of a saved keyframe and its neighbours that fit the pose of a picture.

    Args:
        query: the picture.
        hit: its pose in the keyframe.
        view: the keyframe.
        neighbours: other keyframes of its segment.

    Returns:
        The start; None where too few points fit.
    """
    seen = [seen_points(query, one, into=view) for one in (view, *neighbours)]
    index = np.concatenate([one for one, _ in seen])
    known = np.concatenate([points for _, points in seen])
    # 1. Points that fit the pose.
    T_cam_view = inverse(hit.T_view_cam)
    points = known[:, :3] @ T_cam_view[:3, :3].T + T_cam_view[:3, 3]
    front = points[:, 2] > 1e-3 * hit.depth
    rays = points / np.where(front, points[:, 2], 1.0)[:, None]
    error = np.linalg.norm((rays @ query.K.T)[:, :2] - query.features.pixels[index], axis=1)
    good = np.flatnonzero(front & (error < max(2.0, PIXELS * query.width)))
    # 2. A feature that two keyframes know counts once.
    _, first = np.unique(index[good], return_index=True)
    good = good[first]
    if len(good) < LEAST:
        return None
    return KnownStart(
        view.id,
        hit.T_view_cam,
        query.features.pixels[index[good]],
        points[good],
        known[good, 3],
        float(np.median(points[good, 2])),
    )
