# SPDX-License-Identifier: Apache-2.0
"""Loops: a place seen again corrects the map, and joins segments; the odometry never jumps.

A keyframe is compared with the older ones by its features (`place_map`). A hit counts when the
correction that it implies is one that drift explains (the alarm), and when the next keyframe or the
one after finds the same correction (two hits in a row). Then it enters the pose graph.
"""

from collections import Counter, deque
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from depthkit.multiview.features import Detector, Sift
from depthkit.multiview.similarity import (
    inverse_similarity,
    make_similarity,
    rigid_of,
    scale_of,
)
from depthkit.rigid import inverse
from depthkit.runtime.odometry.known_start import KnownStart
from depthkit.runtime.odometry.loop_checks import (
    METRIC_SCALE,
    Since,
    difference,
    disagreement,
    drift_alarm,
    has_returned,
)
from depthkit.runtime.odometry.loop_graph import LoopGraph, loop_sigmas
from depthkit.runtime.odometry.loop_path import LoopPath
from depthkit.runtime.odometry.loop_records import LoopConfig, LoopEvent
from depthkit.runtime.odometry.place_map import PlaceMap
from depthkit.runtime.odometry.place_match import PlaceHit
from depthkit.runtime.odometry.place_view import Keyframe, PlaceView
from depthkit.runtime.odometry.places import Describe

PATIENCE = 2
"""Number of keyframes within which a second hit must follow."""
SOLVE_ABOVE = 4.0
"""Error of a new loop, in standard deviations, above which the graph is solved again; 4.3 is the
99 % bound of seven exact errors."""
WEIGHT = 0.1
"""Weight in the graph below which a loop is given up: the others contradict it."""


@dataclass(frozen=True, eq=False)
class _Hit:
    """A hit with the motion that it means."""

    place: PlaceHit
    keyframe: int
    number: int
    """Number of keyframes added up to this one."""
    metric: bool
    """Whether both keyframes say metres."""
    scale_known: bool
    motion: np.ndarray
    """Points in the new keyframe to points in the old one, a similarity. (4, 4)"""
    linked: bool = False
    """Whether it is in the graph."""


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
        self._pending: _Hit | None = None
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
            self.events.append(event)
            self.counts[event.reason.split(":")[0] or event.kind] += 1
        self._thin()
        return event

    def tie(self, start: KnownStart) -> None:
        """Lay the newest keyframe's segment into a saved map, whose points it began with."""
        old, view = start.view, self._newest
        if view is None:
            raise RuntimeError("there is no keyframe to tie")
        self._graph.join(old, view.id, start.T_view_cam)
        self._graph.link(old, view.id, start.T_view_cam, loop_sigmas(start.depth, 0.0))
        self._corrected.add(self._graph.map_of(old))
        none, count = float("nan"), len(start.points)
        self.events.append(LoopEvent("joined", view.stamp, view.id, old, count, 1.0, none))
        self.counts["joined"] += 1

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
    def graph(self) -> LoopGraph:
        """Poses of the kept keyframes, and the maps of segments."""
        return self._graph

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

    def _judge(self, place: PlaceHit, view: PlaceView) -> LoopEvent | None:
        """Check a hit, wait for the second one, then correct; None while waiting."""
        hit = self._implied(place, view)
        if not self._joins(hit) and not self._is_news(hit):
            return None
        before, self._pending = self._pending, None
        reason = self._alarm(hit)
        if reason:
            return self._event("refused", hit, reason)
        self._pending = hit
        if before is None or not self._is_in_row(before, hit):
            return None
        said = self._S_map_odom(before) @ view.T_world_cam
        known = before.scale_known and hit.scale_known
        spread = float(np.hypot(before.place.scale_sigma, hit.place.scale_sigma)) if known else None
        depth = self._since(hit).depth
        reason = disagreement(said, self._said(hit), depth, scale_sigma=spread)
        if reason:
            return self._event("refused", hit, reason)
        return self._correct(before, hit)

    def _implied(self, place: PlaceHit, view: PlaceView) -> _Hit:
        """Turn a hit into a motion with scale; metres keep theirs."""
        metric = self.places.views[place.view].metric and view.metric
        known = np.isfinite(place.scale)
        motion = make_similarity(place.T_view_cam, place.scale if known and not metric else 1.0)
        return _Hit(place, view.id, self._number, metric, bool(known), motion)

    def _said(self, hit: _Hit) -> np.ndarray:
        """Pose of the new keyframe in the old one's map by the hit. (4, 4)"""
        return self._graph.poses[hit.place.view] @ hit.motion

    def _S_map_odom(self, hit: _Hit) -> np.ndarray:
        """Where a hit puts the world of the new segment in the old map. (4, 4)"""
        odom = self.places.views[hit.keyframe].T_world_cam
        return self._said(hit) @ inverse_similarity(odom)

    def _is_in_row(self, before: _Hit, hit: _Hit) -> bool:
        """Whether two hits follow each other, of one segment and into one map."""
        views = self.places.views
        if before.place.view not in views or before.keyframe not in views:
            return False
        one_segment = views[before.keyframe].segment == views[hit.keyframe].segment
        one_map = self._graph.map_of(before.place.view) == self._graph.map_of(hit.place.view)
        return one_segment and one_map and hit.number - before.number <= PATIENCE

    def _joins(self, hit: _Hit) -> bool:
        return self._graph.map_of(hit.place.view) != self._graph.map_of(hit.keyframe)

    def _is_news(self, hit: _Hit) -> bool:
        """Whether the place was out of sight in between, or is one of an earlier session."""
        if hit.place.view in self._graph.held:
            return True
        unit = float(scale_of(self._graph.poses[hit.place.view]))
        motion = hit.place.T_view_cam.copy()
        motion[:3, 3] *= unit
        between = self._graph.between(hit.place.view, hit.keyframe)
        return has_returned(between, motion, hit.place.depth * unit)

    def _since(self, hit: _Hit) -> Since:
        """Measure what lies between the visits; nothing where they are in two maps."""
        old, depth = hit.place.view, hit.place.depth
        depth *= float(scale_of(self._graph.poses[old]))
        if self._joins(hit):
            return Since(0.0, 0, depth, hit.metric, hit.scale_known)
        between = self._graph.between(old, hit.keyframe)
        path = np.linalg.norm(np.diff(between[:, :3, 3], axis=0), axis=1).sum()
        return Since(float(path), len(between), depth, hit.metric, hit.scale_known)

    def _alarm(self, hit: _Hit) -> str:
        """Say why a hit cannot be right; empty if it can."""
        if hit.metric and hit.scale_known and abs(np.log(hit.place.scale)) > METRIC_SCALE:
            return f"scale of metres: both say metres, lengths differ by {hit.place.scale:.2f}"
        if not self._joins(hit):
            return drift_alarm(self._said(hit), self._graph.poses[hit.keyframe], self._since(hit))
        if not (hit.metric or hit.scale_known):
            return "scale unknown: too few points that both segments have placed"
        return ""

    def _correct(self, before: _Hit, hit: _Hit) -> LoopEvent | None:
        """Enter two agreeing hits into the graph and solve it; None where nothing changes."""
        joins, old_map = self._joins(hit), self._graph.map_of(hit.place.view)
        jump = difference(self._said(hit), self._graph.poses[hit.keyframe])[0]
        if joins:
            self._graph.join(hit.place.view, hit.keyframe, hit.motion)
        new = [hit] if before.linked else [before, hit]
        error = max(self._link(one) for one in new)
        self._corrected.add(old_map)
        self._pending = replace(hit, linked=True)
        if before.linked and error <= SOLVE_ABOVE:
            return None
        if not joins:
            self._graph.explain(hit.place.view, hit.keyframe)
        weights = self._graph.solve(self._relative)
        if joins:
            return self._event("joined", hit)
        if weights[hit.place.view, hit.keyframe] >= WEIGHT:
            return self._event("closed", hit, jump=jump)
        for one in new:
            self._graph.unlink(one.place.view, one.keyframe)
        self._pending = None
        return self._event("refused", hit, "contradicted: other loops outweigh it", jump=jump)

    def _link(self, hit: _Hit) -> float:
        """Enter one hit as an edge; returns its error before, in standard deviations."""
        sigmas = loop_sigmas(hit.place.depth, hit.place.scale_sigma)
        if hit.metric:
            sigmas[6] = 0.01
        self._graph.link(hit.place.view, hit.keyframe, hit.motion, sigmas)
        return self._graph.error(hit.place.view, hit.keyframe)

    def _event(
        self,
        kind: Literal["closed", "joined", "refused"],
        hit: _Hit,
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
