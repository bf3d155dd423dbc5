# SPDX-License-Identifier: Apache-2.0
"""All keyframes of a run by their kept neighbour: the corrected path, also of dropped ones."""

import numpy as np

from depthkit.multiview.similarity import rigid_of
from depthkit.runtime.odometry.loop_graph import LoopGraph
from depthkit.runtime.odometry.place_view import PlaceView


class LoopPath:
    """Stamps and odometry poses of all keyframes, 150 bytes each (kept state)."""

    def __init__(self) -> None:
        self._nodes: list[int] = []
        self._stamps: list[float] = []
        self._segments: list[int] = []
        self._odom: list[np.ndarray] = []
        self._heirs: dict[int, int] = {}

    def add(self, view: PlaceView) -> None:
        """Take the next keyframe."""
        self._nodes.append(view.id)
        self._stamps.append(view.stamp)
        self._segments.append(view.segment)
        self._odom.append(view.T_world_cam)

    def drop(self, node: int, heir: int) -> None:
        """Let a dropped keyframe move with a kept one."""
        self._heirs[node] = heir

    def stamps(self) -> np.ndarray:
        """Return the stamps of all keyframes, seconds. (N,)"""
        return np.array(self._stamps)

    def maps(self, graph: LoopGraph) -> np.ndarray:
        """Return the map of each keyframe. (N,) int"""
        return np.array([graph.maps[segment] for segment in self._segments], int)

    def poses(self, graph: LoopGraph) -> np.ndarray:
        """Return the poses of all keyframes in their maps. (N, 4, 4)"""
        if not self._nodes:
            return np.zeros((0, 4, 4))
        return rigid_of(self._S_map_odom(graph) @ np.stack(self._odom))

    def at(self, graph: LoopGraph, stamps: np.ndarray, segments: np.ndarray) -> np.ndarray:
        """Return S_map_odom by the last keyframe before each stamp in its segment. (N, 4, 4)"""
        found = np.full((len(stamps), 4, 4), np.nan)
        S, own_stamps, own_segments = self._S_map_odom(graph), self.stamps(), self._segments
        for segment in set(own_segments):
            here = np.asarray(segments) == segment
            index = np.flatnonzero(np.asarray(own_segments) == segment)
            after = np.searchsorted(own_stamps[index], np.asarray(stamps)[here], side="right")
            found[here] = S[index[np.maximum(after - 1, 0)]]
        return found

    def _S_map_odom(self, graph: LoopGraph) -> np.ndarray:
        """Return where each keyframe's kept neighbour puts the odometry's world. (N, 4, 4)"""
        placed = {node: graph.S_map_odom(node) for node in graph.poses}
        return np.stack([placed[self._kept(node)] for node in self._nodes])

    def _kept(self, node: int) -> int:
        """Follow a dropped keyframe to a kept one, and shorten the way for the next time."""
        way = []
        while node in self._heirs:
            way.append(node)
            node = self._heirs[node]
        for passed in way:
            self._heirs[passed] = node
        return node
