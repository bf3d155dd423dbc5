# SPDX-License-Identifier: Apache-2.0
"""Kept keyframes and the search among them: what loops and relocalisation share."""

import numpy as np

from depthkit.errors import DataError
from depthkit.multiview.features import detect_sift
from depthkit.runtime.odometry.place_match import MIN_INLIERS, PlaceHit, Query, check_place
from depthkit.runtime.odometry.place_view import Keyframe, PlaceView, add_points, view_of
from depthkit.runtime.odometry.places import Places

RING = 3
"""Number of last keyframes whose features are intersected with those of a new one."""
FEATURES_KEPT = 400
"""Features kept of a keyframe that has left the ring: 60 kB."""
CANDIDATES = 4
"""Number of places that are checked; on AirSim's second lap one of four is right in 99 %."""
SURE = 2.0
"""Multiple of the smallest number of inliers at which no further place is checked."""


class PlaceMap:
    """Keyframes with features and points, found again by an image (kept state)."""

    def __init__(self, *, valid: np.ndarray | None = None) -> None:
        """Start empty.

        Args:
            valid: where features may lie; everywhere if None. (H, W) bool
        """
        self._valid = valid
        self._places = Places()
        self.views: dict[int, PlaceView] = {}
        """Kept keyframes by number, in the order of time."""

    def query(self, gray: np.ndarray, K: np.ndarray) -> Query:
        """Find the features of an image that is looked for.

        Args:
            gray: undistorted image, 0..255. (H, W) uint8
            K: intrinsics, pixels. (3, 3)
        """
        return Query(detect_sift(gray, valid=self._valid), K, gray.shape[1])

    def add(self, keyframe: Keyframe) -> Query:
        """Keep a keyframe; returns its features as a query for places.

        Raises:
            DataError: its number is not above the last one.
        """
        if self.views and keyframe.id <= max(self.views):
            raise DataError(
                f"PlaceMap: numbers of keyframes must rise, got {keyframe.id} after "
                f"{max(self.views)}"
            )
        query = self.query(keyframe.gray, keyframe.K)
        view = view_of(keyframe, query.features)
        for other in self._ring(keyframe.segment):
            self.views[other.id], view = add_points(other, view)
        self.views[view.id] = view
        self._places.add(view.id, view.features)
        self._thin_features()
        return Query(query.features, query.K, query.width, view.points, view.sigmas)

    def remove(self, key: int) -> None:
        """Forget a keyframe."""
        del self.views[key]
        self._places.remove(key)

    def find(
        self,
        query: Query,
        *,
        leave_out: frozenset[int] = frozenset(),
        min_inliers: int = MIN_INLIERS,
    ) -> PlaceHit | None:
        """Find the kept keyframe whose points an image sees, and the pose of the image in it.

        Args:
            query: the image.
            leave_out: keyframes that are not asked, as the most recent ones.
            min_inliers: smallest number of features that must agree.

        Returns:
            The hit with the most inliers, None without one.
        """
        best: PlaceHit | None = None
        for key, _ in self._places.find(query.features, count=CANDIDATES, leave_out=leave_out):
            near = self._neighbours(key)
            hit = check_place(query, self.views[key], neighbours=near, min_inliers=min_inliers)
            if hit is not None and (best is None or hit.inliers > best.inliers):
                best = hit
            if best is not None and best.inliers >= SURE * min_inliers:
                break
        return best

    def _ring(self, segment: int) -> list[PlaceView]:
        """Return the last keyframes, as far as they belong to the segment."""
        last = list(self.views.values())[-RING:]
        return [view for view in last if view.segment == segment]

    def _neighbours(self, key: int) -> tuple[PlaceView, ...]:
        """Return the kept keyframes before and after one, in its segment."""
        keys = list(self.views)
        at = keys.index(key)
        near = [self.views[k] for k in (*keys[max(0, at - 1) : at], *keys[at + 1 : at + 2])]
        return tuple(view for view in near if view.segment == self.views[key].segment)

    def _thin_features(self) -> None:
        """Keep only features with positions of the keyframe that has just left the ring."""
        keys = list(self.views)
        if len(keys) > RING:
            key = keys[-RING - 1]
            self.views[key] = self.views[key].thinned(FEATURES_KEPT)
