# SPDX-License-Identifier: Apache-2.0
"""Loops: a place seen again corrects the map, and joins segments; the odometry never jumps.

A keyframe is compared with the older ones by its features (`place_map`). A hit counts when the
correction that it implies is one that drift explains (the alarm), and when the next keyframe or the
one after finds the same correction (two hits in a row). Then it enters the pose graph.
"""

from collections import Counter, deque
from dataclasses import replace
from typing import Literal

import numpy as np

from depthkit.errors import DataError
from depthkit.multiview.features import Detector, Sift
from depthkit.multiview.similarity import rigid_of, scale_of
from depthkit.rigid import inverse
from depthkit.runtime.odometry.known_start import KnownStart
from depthkit.runtime.odometry.loop_checks import difference, disagreement
from depthkit.runtime.odometry.loop_graph import LoopGraph
from depthkit.runtime.odometry.loop_hit import (
    Hit,
    alarm,
    joins,
    make_hit,
    returned,
    said,
    said_world,
    since,
)
from depthkit.runtime.odometry.loop_path import LoopPath
from depthkit.runtime.odometry.loop_records import LoopConfig, LoopEvent
from depthkit.runtime.odometry.loop_sigmas import loop_sigmas
from depthkit.runtime.odometry.place_map import PlaceMap
from depthkit.runtime.odometry.place_match import PlaceHit
from depthkit.runtime.odometry.place_view import Keyframe, PlaceView
from depthkit.runtime.odometry.places import Describe

PATIENCE = 2
"""Number of keyframes within which a second hit must follow."""
SOLVE_ABOVE = 4.0
"""Error of a new loop, in standard deviations, above which the graph is solved again; 4.3 is the
99 % bound of seven exact errors."""
CONTRADICTED = "contradicted: the odometry or other loops outweigh it"


class LoopCloser:
    """Loops over keyframes: the map's pose graph, and where the odometry lies in it (kept state).

    Scale: where keyframes are metric the graph keeps their lengths to 0.1 % a step; elsewhere its
    poses are similarities, and a loop also corrects the drift of scale.
    """

    def __init__(
        self,
        config: LoopConfig = LoopConfig(),  # noqa: B008 (frozen)
        *,
        valid: np.ndarray | None = None,
        detector: Detector = Sift(),  # noqa: B008 (without state)
        describe: Describe | None = None,
    ) -> None:
        """Start empty.

        Args:
            config: settings.
            valid: where features may lie; everywhere if None. (H, W) bool
            detector: finds the features.
            describe: learnt descriptor by which places are retrieved; VLAD of the features if None.
        """
        self._config = config
        self.places = PlaceMap(valid=valid, detector=detector, describe=describe)
        """Kept keyframes; a `Relocaliser` searches in them."""
        self.events: deque[LoopEvent] = deque(maxlen=5000)
        """Loops found and refused, oldest first."""
        self.counts: Counter[str] = Counter()
        """Number of events by kind, refused ones by the first words of the reason."""
        self._graph, self._path = LoopGraph(), LoopPath()
        self._pending: Hit | None = None
        self._newest: PlaceView | None = None
        self._number = 0
        self._corrected: set[int] = set()
        self._relative = False

    def keep(self, view: PlaceView, code: np.ndarray | None = None, *, map: int) -> None:
        """Take a keyframe of a saved map, which stays where it is.

        Args:
            view: number and segment below those of this session; its pose in its map.
            code: its learnt descriptor, where places are retrieved by one. (D,)
            map: number of the segment in whose frame its pose is.
        """
        self.places.keep(view, code)
        self._graph.hold(view.id, view.segment, view.T_world_cam, map=map)
        self._relative |= not view.metric

    def add(self, keyframe: Keyframe) -> LoopEvent | None:
        """Take the next keyframe; returns what became of a place seen again, None without one.

        Args:
            keyframe: number and stamp above the last one's.
        """
        query = self.places.add(keyframe)
        view = self.places.views[keyframe.id]
        self._hang(view)
        recent = [v.id for v in self.places.views.values() if v.segment == view.segment]
        leave_out = frozenset(recent[-self._config.recent - 1 :])
        place = self.places.find(query, leave_out=leave_out, min_inliers=self._config.min_inliers)
        event = None if place is None else self._judge(place, view)
        if event is not None:
            self._note(event)
        self._thin()
        return event

    def begin_in(self, start: KnownStart) -> None:
        """Lay the newest keyframe's segment into a saved map, whose points it began with."""
        view, old = self._newest, start.view
        if view is None:
            raise RuntimeError("there is no keyframe to lay into the map")
        self._graph.join(old, view.id, start.T_view_cam)
        self._graph.link(old, view.id, start.T_view_cam, loop_sigmas(start.depth, 0.0))
        self._corrected.add(self._graph.map_of(old))
        count, none = len(start.points), float("nan")
        self._note(LoopEvent("joined", view.stamp, view.id, old, count, 1.0, none))

    @property
    def graph(self) -> LoopGraph:
        """Poses of the kept keyframes, and the maps of segments."""
        return self._graph

    @property
    def correction(self) -> np.ndarray | None:
        """Pose of the odometry's world in the map, map -> odom; None before a loop. (4, 4)

        A rigid motion in the odometry's own unit that puts the newest keyframe where the graph has
        it; `scale` says how many of the map's units one of the odometry's is.
        """
        if self._newest is None or self._graph.map_of(self._newest.id) not in self._corrected:
            return None
        T_map_cam = rigid_of(self._graph.poses[self._newest.id])
        T_map_cam[:3, 3] /= self.scale
        return T_map_cam @ inverse(self._newest.T_world_cam)

    @property
    def scale(self) -> float:
        """Lengths of the map per length of the odometry at the newest keyframe; 1 without loops."""
        return 1.0 if self._newest is None else float(scale_of(self._graph.poses[self._newest.id]))

    @property
    def map(self) -> int:
        """Number of the newest keyframe's map: the oldest segment that it is joined to."""
        return 0 if self._newest is None else self._graph.map_of(self._newest.id)

    def corrected(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the stamps (N,) and poses (N, 4, 4) of all keyframes by the graph.

        Each in its map and the map's unit; `corrected_maps` names the maps.
        """
        return self._path.stamps(), self._path.poses(self._graph)

    def corrected_maps(self) -> np.ndarray:
        """Return the map of each keyframe: poses of two maps are not comparable. (N,) int"""
        return self._path.maps(self._graph)

    def S_map_odom(self, stamps: np.ndarray, segments: np.ndarray) -> np.ndarray:
        """Return where the odometry's world lies in the map at given times.

        Args:
            stamps: seconds. (N,)
            segments: segment of each. (N,)

        Returns:
            Similarities by the last keyframe before each stamp, to multiply the odometry's poses
            and points from the left; NaN in segments without keyframes. (N, 4, 4)
        """
        return self._path.at(self._graph, stamps, segments)

    def _hang(self, view: PlaceView) -> None:
        """Put a keyframe into the graph and the path."""
        self._number += 1
        metric = view.metric and (self._newest is None or self._newest.metric)
        self._graph.add(view.id, view.segment, view.T_world_cam, depth=view.depth, metric=metric)
        self._path.add(view)
        self._newest = view
        self._relative |= not view.metric

    def tie(self, old: int, keyframe: int, T_old_cam: np.ndarray, *, scale: float = 1.0) -> bool:
        """Enter a loop that comes from elsewhere, as from a marker, without asking for features.

        The graph weighs it: what neither drift explains nor other loops support is taken out again.

        Args:
            old: number of a kept keyframe.
            keyframe: number of a later one in the same map.
            T_old_cam: pose of the later one in the old one, in its unit. (4, 4)
            scale: lengths in the old one's unit per length in the later one's.

        Returns:
            Whether the map follows it now.

        Raises:
            DataError: a keyframe is not kept, they are in two maps or in the wrong order.
        """
        kept = self.places.views
        if old not in kept or keyframe not in kept or old >= keyframe:
            raise DataError(
                f"LoopCloser.tie: expected two kept keyframes, the older one first, got {old} and "
                f"{keyframe}"
            )
        depth = kept[old].depth
        place = PlaceHit(old, T_old_cam, 0, 0.0, scale, 0.0, depth if np.isfinite(depth) else 1.0)
        hit = self._hit(place, kept[keyframe])
        if joins(self._graph, hit):
            raise DataError(f"LoopCloser.tie: keyframes {old} and {keyframe} are in two maps")
        event = self._enter([hit], explained=not alarm(self._graph, hit))
        self._note(event)
        return event.kind == "closed"

    def _note(self, event: LoopEvent) -> None:
        self.events.append(event)
        self.counts[event.reason.split(":")[0] or event.kind] += 1

    def _judge(self, place: PlaceHit, view: PlaceView) -> LoopEvent | None:
        """Check a hit, wait for the second one, then correct; None while waiting."""
        graph, hit = self._graph, self._hit(place, view)
        if not joins(graph, hit) and not returned(graph, hit):
            return None
        before, self._pending = self._pending, None
        reason = alarm(graph, hit)
        if reason:
            return self._event("refused", hit, reason)
        self._pending = hit
        if before is None or not self._is_in_row(before, hit):
            return None
        expected = said_world(graph, before, self._T_world_cam(before)) @ view.T_world_cam
        known = before.scale_known and hit.scale_known
        spread = float(np.hypot(before.place.scale_sigma, hit.place.scale_sigma)) if known else None
        depth = since(graph, hit).depth
        reason = disagreement(expected, said(graph, hit), depth, scale_sigma=spread)
        if reason:
            return self._event("refused", hit, reason)
        return self._correct(before, hit)

    def _hit(self, place: PlaceHit, view: PlaceView) -> Hit:
        metric = self.places.views[place.view].metric and view.metric
        return make_hit(place, view.id, number=self._number, metric=metric)

    def _T_world_cam(self, hit: Hit) -> np.ndarray:
        return self.places.views[hit.keyframe].T_world_cam

    def _is_in_row(self, before: Hit, hit: Hit) -> bool:
        """Whether two hits follow each other, of one segment and into one map."""
        views, graph = self.places.views, self._graph
        if before.old not in views or before.keyframe not in views:
            return False
        one_segment = graph.one_segment(before.keyframe, hit.keyframe)
        one_map = graph.map_of(before.old) == graph.map_of(hit.old)
        return one_segment and one_map and hit.number - before.number <= PATIENCE

    def _correct(self, before: Hit, hit: Hit) -> LoopEvent | None:
        """Enter two agreeing hits into the graph; None where nothing changes."""
        graph, old_map = self._graph, self._graph.map_of(hit.old)
        joined = joins(graph, hit)
        if joined:
            graph.join(hit.old, hit.keyframe, hit.motion)
        self._pending = replace(hit, linked=True)
        if before.linked and not joined:
            self._link(hit, explained=True)
            if graph.error(hit.old, hit.keyframe) <= SOLVE_ABOVE:
                return None
        event = self._enter([hit] if before.linked else [before, hit], explained=not joined)
        if event.kind == "refused":
            self._pending = None
            return event
        self._corrected.add(old_map)
        return self._event("joined", hit) if joined else event

    def _enter(self, hits: list[Hit], *, explained: bool) -> LoopEvent:
        """Put hits into the graph and solve it; what the graph does not believe leaves no trace.

        Args:
            hits: of one place, the last one is the newest.
            explained: whether drift explains them, so that the chains yield.
        """
        graph, hit = self._graph, hits[-1]
        before = graph.state()
        jump = difference(said(graph, hit), graph.poses[hit.keyframe])[0]
        for one in hits:
            self._link(one, explained=explained)
        undone = graph.settle(self._relative)
        if (hit.old, hit.keyframe) in undone:
            graph.restore(before)
            return self._event("refused", hit, CONTRADICTED, jump=jump)
        if undone:
            self.counts["undone"] += len(undone)
        self._corrected.add(graph.map_of(hit.old))
        return self._event("closed", hit, jump=jump)

    def _link(self, hit: Hit, *, explained: bool) -> None:
        self._graph.link(hit.old, hit.keyframe, hit.motion, hit.sigmas)
        if explained:
            self._graph.explain(hit.old, hit.keyframe)

    def _event(
        self,
        kind: Literal["closed", "joined", "refused"],
        hit: Hit,
        reason: str = "",
        jump: float = float("nan"),
    ) -> LoopEvent:
        stamp, place = self.places.views[hit.keyframe].stamp, hit.place
        scale = float(scale_of(hit.motion)) if np.isfinite(place.scale) else float("nan")
        return LoopEvent(kind, stamp, hit.keyframe, place.view, place.inliers, scale, jump, reason)

    def _thin(self) -> None:
        """Drop keyframes beyond the limit."""
        while len(self.places.views) > self._config.keep:
            node = self._graph.closest(spare=self._config.recent)
            if node is None or (self._pending and node == self._pending.keyframe):
                return
            self._path.drop(node, self._graph.drop(node))
            self.places.remove(node)
