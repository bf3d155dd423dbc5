# SPDX-License-Identifier: Apache-2.0
"""A place seen again as a motion in the graph: what it says, and why it cannot be right."""

from dataclasses import dataclass

import numpy as np

from depthkit.multiview.similarity import (
    inverse_similarity,
    make_similarity,
    rigid_of,
    scale_of,
)
from depthkit.runtime.odometry.loop_checks import (
    METRIC_SCALE,
    Since,
    drift_alarm,
    has_returned,
)
from depthkit.runtime.odometry.loop_graph import LoopGraph
from depthkit.runtime.odometry.loop_sigmas import loop_sigmas
from depthkit.runtime.odometry.place_match import PlaceHit

METRIC_SIGMA = 0.01
"""Standard deviation of the logarithm of the scale of a loop between metres and metres."""


@dataclass(frozen=True, eq=False)
class Hit:
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

    @property
    def old(self) -> int:
        """The keyframe of the same place."""
        return self.place.view

    @property
    def sigmas(self) -> np.ndarray:
        """Standard deviations of the motion, as `Edges` takes them. (7,)"""
        sigmas = loop_sigmas(self.place.depth, self.place.scale_sigma)
        if self.metric:
            sigmas[6] = METRIC_SIGMA
        return sigmas


def make_hit(place: PlaceHit, keyframe: int, *, number: int, metric: bool) -> Hit:
    """Turn a hit into a motion with scale; metres keep theirs.

    Args:
        place: pose of the new keyframe in the old one.
        keyframe: the new one.
        number: number of keyframes added up to it.
        metric: whether both say metres.
    """
    known = bool(np.isfinite(place.scale))
    scale = place.scale if known and not metric else 1.0
    return Hit(place, keyframe, number, metric, known, make_similarity(place.T_view_cam, scale))


def said(graph: LoopGraph, hit: Hit) -> np.ndarray:
    """Return the pose of the new keyframe in the old one's map by the hit. (4, 4)"""
    return graph.poses[hit.old] @ hit.motion


def said_world(graph: LoopGraph, hit: Hit, T_world_cam: np.ndarray) -> np.ndarray:
    """Return where a hit puts the world of the new segment in the old map. (4, 4)

    Args:
        graph: poses of the old map.
        hit: the hit.
        T_world_cam: the new keyframe's pose in its own world. (4, 4)
    """
    return said(graph, hit) @ inverse_similarity(T_world_cam)


def joins(graph: LoopGraph, hit: Hit) -> bool:
    """Whether the two keyframes lie in two maps."""
    return graph.map_of(hit.old) != graph.map_of(hit.keyframe)


def returned(graph: LoopGraph, hit: Hit) -> bool:
    """Whether the place was out of sight in between, or is one of an earlier session."""
    if hit.old in graph.held:
        return True
    unit = float(scale_of(graph.poses[hit.old]))
    motion = hit.place.T_view_cam.copy()
    motion[:3, 3] *= unit
    return has_returned(graph.between(hit.old, hit.keyframe), motion, hit.place.depth * unit)


def since(graph: LoopGraph, hit: Hit) -> Since:
    """Measure what lies between the visits; nothing where they are in two maps."""
    depth = hit.place.depth * float(scale_of(graph.poses[hit.old]))
    if joins(graph, hit):
        return Since(0.0, 0, depth, hit.metric, hit.scale_known)
    return _since(graph.between(hit.old, hit.keyframe), depth, hit)


def alarm(graph: LoopGraph, hit: Hit) -> str:
    """Say why a hit cannot be right; empty if it can.

    What it corrects must be drift of the graph or, where another loop may have bent that, of the
    odometry alone: then the graph weighs the two.
    """
    if hit.metric and hit.scale_known and abs(np.log(hit.place.scale)) > METRIC_SCALE:
        return f"scale of metres: both say metres, lengths differ by {hit.place.scale:.2f}"
    if joins(graph, hit):
        if hit.metric or hit.scale_known:
            return ""
        return "scale unknown: too few points that both segments have placed"
    between = since(graph, hit)
    reason = drift_alarm(said(graph, hit), graph.poses[hit.keyframe], between)
    if reason and graph.one_segment(hit.old, hit.keyframe):
        path = graph.told(hit.old, hit.keyframe)
        by_odometry = _since(rigid_of(path), between.depth, hit)
        reason = drift_alarm(said(graph, hit), path[-1], by_odometry) and reason
    return reason


def _since(path: np.ndarray, depth: float, hit: Hit) -> Since:
    """Measure a path. (N, 4, 4)"""
    length = np.linalg.norm(np.diff(path[:, :3, 3], axis=0), axis=1).sum()
    return Since(float(length), len(path), depth, hit.metric, hit.scale_known)
