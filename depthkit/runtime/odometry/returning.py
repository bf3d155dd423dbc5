# SPDX-License-Identifier: Apache-2.0
"""Maps of ended segments and of earlier sessions, and the way back into them; loops beside it.

At the start and after a loss the odometry begins a new segment. While that has no map of its own,
two maps of this session are searched, the last one and the largest: at the last known pose first,
as after a covered lens, then among the places by features. A place of a saved map gives the new
segment its first landmarks.
"""

from dataclasses import dataclass

import numpy as np

from depthkit.rigid import inverse
from depthkit.runtime.odometry.finder import Finder
from depthkit.runtime.odometry.front_end import WorkingFrame
from depthkit.runtime.odometry.known_start import KnownStart, StartInMap, known_start
from depthkit.runtime.odometry.landmark_map import LandmarkMap
from depthkit.runtime.odometry.loop import LoopCloser
from depthkit.runtime.odometry.map_tracker import MapTracker, Tracked
from depthkit.runtime.odometry.place_map import PlaceMap
from depthkit.runtime.odometry.place_match import PlaceHit, Query
from depthkit.runtime.odometry.place_view import Keyframe
from depthkit.runtime.odometry.saved_map import restore
from depthkit.runtime.odometry.segment import Segment
from depthkit.runtime.result import SparsePoints

EVERY = 3
"""Number of keyframes from one place to the next, where no loops are looked for."""
PAUSE = 1.0
"""And the time, seconds: a place costs 40 ms."""
MOST_PLACES = 200
"""Number of places kept for a return."""
SOON = 5
"""Number of frames after a loss that are matched with the last keyframes of the map."""
EVERY_FRAME = 3
"""While lost, every n-th frame is compared with the places: that costs 50 ms."""


class Places:
    """Places seen, for a return and for loops (kept state)."""

    def __init__(
        self,
        *,
        loops: bool,
        valid: np.ndarray | None = None,
        finder: Finder = Finder(),  # noqa: B008 (without state)
    ) -> None:
        """Start without places, or with those of a saved map.

        Args:
            loops: whether loops are looked for.
            valid: where features may lie, at the working size; everywhere if None. (H, W) bool
            finder: how places are found, and those of earlier sessions.
        """
        self.closer = None
        if loops or finder.is_mapping:
            self.closer = LoopCloser(
                finder.loops, valid=valid, detector=finder.detector, describe=finder.describe
            )
            self._map = self.closer.places
        else:
            self._map = PlaceMap(valid=valid, detector=finder.detector, describe=finder.describe)
        if self.closer is not None and finder.saved is not None:
            restore(self.closer, finder.saved)
        self._ended: list[_Ended] = []
        self._where: dict[int, _Place] = {}
        self._latest: tuple[Keyframe, _Place] | None = None
        self._added = self._asked = self._kept = 0
        self._kept_at = -np.inf
        self._start = StartInMap()
        self._tie: KnownStart | None = None

    @property
    def correction(self) -> np.ndarray | None:
        """Pose of the odometry's world in the map; None before a loop. (4, 4)"""
        return None if self.closer is None else self.closer.correction

    def forget(self) -> None:
        """Drop the ended map: it is another camera's."""
        self._ended, self._latest, self._start = [], None, StartInMap()

    def end(self, segment: Segment, world: LandmarkMap, T_map_cam: np.ndarray) -> None:
        """Keep the map of a segment that ended; the last one and the largest stay."""
        self._ended = [one for one in self._ended if one.segment is not segment]
        self._ended = sorted(self._ended, key=lambda one: -len(one.world.keyframes))[:1]
        self._ended.append(_Ended(segment, world, T_map_cam))
        self._asked, self._start = 0, StartInMap()
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
        )
        newest = world.keyframes[-1]
        place = _Place(segment, newest.number, newest.T_world_cam, segment.factor)
        if self.closer is not None:
            self.closer.add(keyframe)
            if self._tie is not None:
                self.closer.begin_in(self._tie)
                self._tie = None
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
    ) -> tuple[Tracked, Segment | None] | None:
        """Go on in a known map, if the frame sees it.

        Args:
            frame: the newest frame.
            tracker: goes on in that map.
            R_since: rotation since the last map was left, where a gyro says it. (3, 3)

        Returns:
            The pose, and the segment that goes on; None for the new one, which begins in the saved
            map.
        """
        self._asked += 1
        # 1. Where the camera was last, turned as the gyro says.
        for ended in reversed(self._ended):
            T = inverse(ended.T_map_cam)
            if R_since is not None and ended is self._ended[-1]:
                T[:3] = R_since @ T[:3]
            if (tracked := tracker.resume(frame, ended.world, T)) is not None:
                return self._resumed(tracked, ended)
        # 2. By the features of the keyframes that were seen last: the view is seldom far away yet.
        if self._ended and self._asked <= SOON:
            last = self._ended[-1]
            if (tracked := tracker.resume_matched(frame, last.world)) is not None:
                return self._resumed(tracked, last)
        # 3. Anywhere among the places, now and then.
        if not self._start.is_near and self._asked % EVERY_FRAME != 1:
            return None
        query = self._map.query(frame.gray, frame.K)
        hit = self._map.find(query)
        if hit is None:
            self._start.miss()
            return None
        for ended in reversed(self._ended):
            found = self._pose_in(hit, ended)
            tracked = None if found is None else tracker.resume(frame, ended.world, found)
            if tracked is not None:
                return self._resumed(tracked, ended)
        return self._begun(query, hit, frame, tracker)

    def _resumed(self, tracked: Tracked, ended: "_Ended") -> tuple[Tracked, Segment]:
        self._ended = [one for one in self._ended if one is not ended]
        return tracked, ended.segment

    def _pose_in(self, hit: PlaceHit, ended: "_Ended") -> np.ndarray | None:
        """Return T_cam_world of a hit in units of an ended map; None if it is of another one."""
        place = self._where.get(hit.view)
        if place is None or place.segment is not ended.segment:
            return None
        relative = hit.T_view_cam.copy()
        relative[:3, 3] /= place.factor  # published unit to that of the map
        return inverse(place.T_map_cam(ended.world) @ relative)

    def _begun(
        self, query: Query, hit: PlaceHit, frame: WorkingFrame, tracker: MapTracker
    ) -> tuple[Tracked, None] | None:
        """Begin the new segment with points of the saved map, once two pictures agree."""
        closer = self.closer
        if closer is None or hit.view not in closer.graph.held:
            self._start.miss()
            return None
        sure = self._start.confirmed(
            hit,
            T_map_view=closer.graph.poses[hit.view],
            map=closer.graph.map_of(hit.view),
            R_cam_start=tracker.T[:3, :3],
        )
        if not sure:
            return None
        start = known_start(query, hit, self._map.views[hit.view], self._map.neighbours(hit.view))
        if start is None:
            return None
        self._tie = start
        return tracker.start_known(frame, start.pixels, start.points, start.sigmas), None


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
