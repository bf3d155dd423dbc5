# SPDX-License-Identifier: Apache-2.0
"""Kept keyframes and the search among them: what loops and relocalisation share."""

from dataclasses import replace

import numpy as np

from depthkit.errors import DataError
from depthkit.multiview.features import Detector, Sift
from depthkit.runtime.odometry.place_match import MIN_INLIERS, PlaceHit, Query, check_place
from depthkit.runtime.odometry.place_view import Keyframe, PlaceView, add_points, view_of
from depthkit.runtime.odometry.places import Describe, Places

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

    def __init__(
        self,
        *,
        valid: np.ndarray | None = None,
        detector: Detector = Sift(),  # noqa: B008 (without state)
        describe: Describe | None = None,
    ) -> None:
        """Start empty.

        Args:
            valid: where features may lie; everywhere if None. (H, W) bool
            detector: finds the features of keyframes and of images that are looked for.
            describe: learnt descriptor of a whole picture, by which places are retrieved; VLAD of
                the features if None.
        """
        self._valid, self._detector, self._describe = valid, detector, describe
        self._places = Places()
        self.views: dict[int, PlaceView] = {}
        """Kept keyframes by number, in the order of time."""

    @property
    def detector(self) -> Detector:
        """What finds the features."""
        return self._detector

    @property
    def bytes_each(self) -> int:
        """Mean number of bytes of a kept keyframe: features, points, and its row of the index."""
        if not self.views:
            return 0
        total = sum(view.bytes for view in self.views.values())
        return total // len(self.views) + self._places.bytes_each

    def query(self, gray: np.ndarray, K: np.ndarray) -> Query:
        """Find the features of an image that is looked for, and describe it.

        Args:
            gray: undistorted image, 0..255. (H, W) uint8
            K: intrinsics, pixels. (3, 3)
        """
        features = self._detector.detect(gray, valid=self._valid)
        code = None if self._describe is None else self._describe(gray)
        return Query(features, K, gray.shape[1], code=code)

    def add(self, keyframe: Keyframe) -> Query:
        """Keep a keyframe; returns its features as a query for places.

        Raises:
            DataError: its number is not above the last one.
        """
        self._check_number(keyframe.id)
        query = self.query(keyframe.gray, keyframe.K)
        view = view_of(keyframe, query.features)
        for other in self._ring(keyframe.segment):
            self.views[other.id], view = add_points(other, view)
        self._places.add(view.id, view.features, query.code)
        self.views[view.id] = view
        self._thin_features()
        return replace(query, points=view.points, sigmas=view.sigmas)

    def keep(self, view: PlaceView, code: np.ndarray | None = None) -> None:
        """Keep a finished keyframe, as a saved map has it.

        Args:
            view: features with their positions.
            code: its learnt descriptor, where the map is searched by one, see `code`. (D,)

        Raises:
            DataError: its number is not above the last one; its descriptors are not those of this
                map's detector; it lacks a code, or the code has another length.
        """
        self._check_number(view.id)
        got = view.features.descriptors.shape[1]
        if got != self._detector.width:
            raise DataError(
                f"PlaceMap: expected descriptors of {self._detector.width} numbers "
                f"({self._detector.name}), got {got}; open the map with the detector that made it"
            )
        if (code is None) != (self._describe is None):
            raise DataError(
                f"PlaceMap: keyframe {view.id} {'lacks' if code is None else 'has'} a learnt "
                "descriptor; open the map with the descriptor that made it"
            )
        self._places.add(view.id, view.features, code)
        self.views[view.id] = view

    def code(self, key: int) -> np.ndarray | None:
        """Return the learnt descriptor of a keyframe; None where VLAD serves. (D,)"""
        return None if self._describe is None else self._places.code(key)

    def _check_number(self, key: int) -> None:
        """Refuse a number that does not rise."""
        if self.views and key <= max(self.views):
            raise DataError(
                f"PlaceMap: numbers of keyframes must rise, got {key} after {max(self.views)}"
            )

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
        candidates = self._places.find(
            query.features, query.code, count=CANDIDATES, leave_out=leave_out
        )
        for key, _ in candidates:
            near = self.neighbours(key)
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

    def neighbours(self, key: int) -> tuple[PlaceView, ...]:
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
