# SPDX-License-Identifier: Apache-2.0
"""Maps of ended segments, and the way back into them; loops beside it.

After a loss the odometry begins a new segment. While that has no map of its own, two earlier maps
are searched, the last one and the largest: at the last known pose first, as after a covered lens,
then among its places by features.
"""

from dataclasses import dataclass

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

EVERY = 3
"""Number of keyframes from one place to the next, where no loops are looked for."""
PAUSE = 1.0
"""And the time, seconds: a place costs 40 ms."""
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
        self._ended: list[_Ended] = []
        self._where: dict[int, _Place] = {}
        self._latest: tuple[Keyframe, _Place] | None = None
        self._added = self._asked = self._kept = 0
        self._kept_at = -np.inf

    @property
    def correction(self) -> np.ndarray | None:
        """Pose of the odometry's world in the map; None before a loop. (4, 4)"""
        return None if self.closer is None else self.closer.correction

    def forget(self) -> None:
        """Drop the ended map: it is another camera's."""
        self._ended, self._latest = [], None

    def end(self, segment: Segment, world: LandmarkMap, T_map_cam: np.ndarray) -> None:
        """Keep the map of a segment that ended; the last one and the largest stay."""
        self._ended = [one for one in self._ended if one.segment is not segment]
        self._ended = sorted(self._ended, key=lambda one: -len(one.world.keyframes))[:1]
        self._ended.append(_Ended(segment, world, T_map_cam))
        self._asked = 0
        if self._latest is not None:  # the place that was left is the likeliest to be seen again
            self._keep(*self._latest)
            self._latest = None

    @property
    def last(self) -> tuple[Segment, LandmarkMap] | None:
        """Segment and map that ended last."""
        return (self._ended[-1].segment, self._ended[-1].world) if self._ended else None

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
            unrest=world.unrest.ratio,
        )
        newest = world.keyframes[-1]
        place = _Place(segment, newest.number, newest.T_world_cam, segment.factor)
        if self.closer is not None:
            self.closer.add(keyframe)
            self._where[keyframe.id] = place
            self._where = {id: one for id, one in self._where.items() if id in self._map.views}
        elif self._added < self._kept + EVERY or abs(frame.stamp - self._kept_at) < PAUSE:
            self._latest = keyframe, place
        else:
            self._latest = None
            self._keep(keyframe, place)

    def _keep(self, keyframe: Keyframe, place: "_Place") -> None:
        """Make a keyframe a place; the oldest place is forgotten where there are too many."""
        self._map.add(keyframe)
        self._where[keyframe.id] = place
        self._kept, self._kept_at = keyframe.id, keyframe.stamp
        if len(self._map.views) > MOST_PLACES:
            oldest = min(self._map.views)
            self._map.remove(oldest)
            self._where.pop(oldest, None)

    def find(
        self, frame: WorkingFrame, tracker: MapTracker, R_since: np.ndarray | None
    ) -> tuple[Tracked, Segment] | None:
        """Go on in an ended map, if the frame sees it.

        Args:
            frame: the newest frame.
            tracker: goes on in that map.
            R_since: rotation since the last map was left, where a gyro says it. (3, 3)
        """
        self._asked += 1
        for ended in reversed(self._ended):
            # 1. Where the camera was last, turned as the gyro says.
            T = inverse(ended.T_map_cam)
            if R_since is not None and ended is self._ended[-1]:
                T[:3] = R_since @ T[:3]
            tracked = tracker.resume(frame, ended.world, T)
            # 2. Anywhere among the places of that map, now and then.
            if tracked is None and self._asked % EVERY_FRAME == 1:
                found = self._relocalise(frame, ended)
                tracked = None if found is None else tracker.resume(frame, ended.world, found)
            if tracked is not None:
                self._ended = [one for one in self._ended if one is not ended]
                return tracked, ended.segment
        return None

    def _relocalise(self, frame: WorkingFrame, ended: "_Ended") -> np.ndarray | None:
        """Return T_cam_world of the frame in units of the segment's map; None if not found."""
        hit = Relocaliser(self._map).find(frame.gray, frame.K)
        place = None if hit is None else self._where.get(hit.keyframe)
        if hit is None or place is None or place.segment is not ended.segment:
            return None
        relative = inverse(self._map.views[hit.keyframe].T_world_cam) @ hit.T_world_cam
        relative[:3, 3] /= place.factor  # published unit to that of the map
        return inverse(place.T_map_cam(ended.world) @ relative)


@dataclass(frozen=True, eq=False)
class _Ended:
    """A map that was left."""

    segment: Segment
    world: LandmarkMap
    T_map_cam: np.ndarray
    """Last pose in it. (4, 4)"""


@dataclass(frozen=True, eq=False)
class _Place:
    """Where a place lies in its segment's map."""

    segment: Segment
    number: int
    """Number of its keyframe."""
    T_first: np.ndarray
    """Pose of the keyframe when it was made, units of the map. (4, 4)"""
    factor: float
    """Published unit per unit of the map at that time."""

    def T_map_cam(self, world: LandmarkMap) -> np.ndarray:
        """Pose of the keyframe as the map has it now, or as it was made if forgotten. (4, 4)"""
        kept = [one for one in world.keyframes if one.number == self.number]
        return kept[0].T_world_cam if kept else self.T_first
