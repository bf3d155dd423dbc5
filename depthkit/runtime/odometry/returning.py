# SPDX-License-Identifier: Apache-2.0
"""Maps of ended segments, and the way back into the last of them; loops beside it.

After a loss the odometry begins a new segment. While that has no map of its own, the last map is
searched: at the last known pose first, as after a covered lens, then among its places by features.
"""

import numpy as np

from depthkit.rigid import inverse
from depthkit.runtime.odometry.front_end import WorkingFrame
from depthkit.runtime.odometry.landmark_map import LandmarkMap
from depthkit.runtime.odometry.loop import LoopCloser
from depthkit.runtime.odometry.map_tracker import MapTracker, Tracked
from depthkit.runtime.odometry.place_map import PlaceMap
from depthkit.runtime.odometry.place_view import Keyframe
from depthkit.runtime.odometry.relocaliser import Relocaliser
from depthkit.runtime.odometry.segment import Segment
from depthkit.runtime.result import SparsePoints

EVERY = 4
"""Every n-th keyframe is kept as a place, where no loops are looked for."""
MOST_PLACES = 200
"""Number of places kept for a return."""
EVERY_FRAME = 3
"""While lost, every n-th frame is compared with the places: that costs 50 ms."""


class Places:
    """Places seen, for a return and for loops (kept state)."""

    def __init__(self, *, loops: bool, valid: np.ndarray | None = None) -> None:
        """Start without places.

        Args:
            loops: whether loops are looked for.
            valid: where features may lie, at the working size; everywhere if None. (H, W) bool
        """
        self.closer = LoopCloser(valid=valid) if loops else None
        self._map = PlaceMap(valid=valid) if self.closer is None else self.closer.places
        self._ended: tuple[Segment, LandmarkMap, np.ndarray] | None = None
        self._where: dict[int, tuple[Segment, np.ndarray]] = {}
        """Segment, and pose in units of its map, of each place."""
        self._latest: tuple[Keyframe, Segment, np.ndarray] | None = None
        """The newest keyframe, while it is no place: it becomes one when the segment ends."""
        self._added = self._asked = 0

    @property
    def correction(self) -> np.ndarray | None:
        """Pose of the odometry's world in the map; None before a loop. (4, 4)"""
        return None if self.closer is None else self.closer.correction

    def forget(self) -> None:
        """Drop the ended map: it is another camera's."""
        self._ended = self._latest = None

    def end(self, segment: Segment, world: LandmarkMap, T_map_cam: np.ndarray) -> None:
        """Keep the map of a segment that ended; where it was last is a place."""
        if self._latest is not None and self._latest[1] is segment:
            self._keep(*self._latest)
        self._latest = None
        self._ended, self._asked = (segment, world, T_map_cam), 0

    def add(
        self,
        segment: Segment,
        frame: WorkingFrame,
        world: LandmarkMap,
        points: SparsePoints,
        size: tuple[int, int],
    ) -> None:
        """Take a keyframe of the odometry; its points at the camera's size."""
        self._added += 1
        scale = np.array(frame.image.shape[::-1]) / size[::-1]
        keyframe = Keyframe(
            id=self._added,
            stamp=frame.stamp,
            segment=segment.number,
            gray=frame.gray,
            K=frame.K,
            T_world_cam=segment.T_world_cam.copy(),
            pixels=(points.pixels + 0.5) * scale - 0.5,
            positions=points.positions,
            metric=segment.metric,
        )
        T_map_cam = world.keyframes[-1].T_world_cam
        if self.closer is not None:
            self._where[keyframe.id] = segment, T_map_cam
            self.closer.add(keyframe)
        elif self._added % EVERY:
            self._latest = keyframe, segment, T_map_cam
        else:
            self._latest = None
            self._keep(keyframe, segment, T_map_cam)

    def _keep(self, keyframe: Keyframe, segment: Segment, T_map_cam: np.ndarray) -> None:
        """Make a keyframe a place; the oldest place is forgotten where there are too many."""
        self._where[keyframe.id] = segment, T_map_cam
        self._map.add(keyframe)
        if len(self._map.views) > MOST_PLACES:
            oldest = min(self._map.views)
            self._map.remove(oldest)
            self._where.pop(oldest, None)

    def find(self, frame: WorkingFrame, tracker: MapTracker) -> tuple[Tracked, Segment] | None:
        """Go on in the ended map, if the frame sees it."""
        if self._ended is None:
            return None
        segment, world, T_map_cam = self._ended
        # 1. Where the camera was last.
        tracked = tracker.resume(frame, world, inverse(T_map_cam))
        # 2. Anywhere among the places of that map, now and then.
        self._asked += 1
        if tracked is None and self._asked % EVERY_FRAME == 1:
            T = self._relocalise(frame, segment)
            tracked = None if T is None else tracker.resume(frame, world, T)
        if tracked is None:
            return None
        self._ended = None
        return tracked, segment

    def _relocalise(self, frame: WorkingFrame, segment: Segment) -> np.ndarray | None:
        """Return T_cam_world of the frame in units of the segment's map; None if not found."""
        hit = Relocaliser(self._map).find(frame.gray, frame.K)
        if hit is None or self._where.get(hit.keyframe, (None,))[0] is not segment:
            return None
        view = self._map.views[hit.keyframe]
        relative = inverse(view.T_world_cam) @ hit.T_world_cam  # published unit
        T_map_view = self._where[hit.keyframe][1]
        relative[:3, 3] /= segment.factor
        return inverse(T_map_view @ relative)
