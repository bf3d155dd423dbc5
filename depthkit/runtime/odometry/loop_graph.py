# SPDX-License-Identifier: Apache-2.0
"""The graph of kept keyframes: chains of the odometry, loops, and segments that were joined."""

from dataclasses import dataclass, replace

import numpy as np

from depthkit.multiview.pose_graph import optimise_graph
from depthkit.multiview.similarity import inverse_similarity, rigid_of, scale_of
from depthkit.runtime.odometry.loop_edges import (
    GraphEdge,
    few_loops,
    rehung,
    residual,
    stacked,
    widening,
)
from depthkit.runtime.odometry.loop_sigmas import chain_sigmas, gaps

EXPLAINED = 1.5
"""Standard deviations of a chain up to which it explains a loop."""
WEIGHT = 0.1
"""Weight in the graph below which a loop is given up: the others contradict it."""


@dataclass(frozen=True, eq=False)
class GraphState:
    """Poses and edges at one time."""

    poses: dict[int, np.ndarray]
    edges: list[GraphEdge]


class LoopGraph:
    """Poses of keyframes in their map, which loops correct (kept state).

    Each segment starts a map of its own; `join` lays one map into another with rotation,
    translation and scale.
    """

    def __init__(self) -> None:
        self.poses: dict[int, np.ndarray] = {}
        """Keyframes in their map, similarities where scales drift. each (4, 4)"""
        self.maps: dict[int, int] = {}
        """Map of each segment: the number of the oldest segment that it was joined to."""
        self._odom: dict[int, np.ndarray] = {}
        self._segments: dict[int, int] = {}
        self._last: dict[int, int] = {}
        self._edges: list[GraphEdge] = []
        self.held: set[int] = set()
        """Keyframes of a saved map, which stay where they are."""

    def hold(self, node: int, segment: int, T_map_cam: np.ndarray, *, map: int) -> None:
        """Add a keyframe of a saved map.

        Args:
            node: its number.
            segment: its segment.
            T_map_cam: pose in its map. (4, 4)
            map: number of the segment in whose frame that is.
        """
        self.poses[node] = self._odom[node] = np.array(T_map_cam, np.float64)
        self._segments[node], self.maps[segment], self._last[segment] = segment, map, node
        self.held.add(node)

    def add(
        self, node: int, segment: int, T_odom_cam: np.ndarray, *, depth: float, metric: bool
    ) -> None:
        """Hang a keyframe on the last one of its segment.

        Args:
            node: its number.
            segment: its segment.
            T_odom_cam: pose in the world of the segment. (4, 4)
            depth: median depth of the scene, for the uncertainty; may be NaN.
            metric: whether the motion since the last keyframe is in metres.
        """
        last = self._last.get(segment)
        if last is None:
            self.maps[segment] = segment
            self.poses[node] = np.array(T_odom_cam, np.float64)
        else:
            motion = inverse_similarity(self._odom[last]) @ T_odom_cam
            self.poses[node] = self.poses[last] @ motion
            sigmas = chain_sigmas(motion, depth, metric)
            self._edges = [*self._edges, GraphEdge(last, node, motion, sigmas, False)]
        self._odom[node], self._segments[node] = np.array(T_odom_cam, np.float64), segment
        self._last[segment] = node

    def map_of(self, node: int) -> int:
        """Return the map in which a keyframe lies."""
        return self.maps[self._segments[node]]

    def S_map_odom(self, node: int) -> np.ndarray:
        """Return where the world of a keyframe's segment lies in its map, near it. (4, 4)"""
        return self.poses[node] @ inverse_similarity(self._odom[node])

    def between(self, first: int, second: int) -> np.ndarray:
        """Return the poses of the keyframes from one to another of the same map, without scale.

        Both are included, in the map's unit; of a saved map, those since it was seen last.
        (N, 4, 4)
        """
        nodes = [n for n in sorted(self.poses) if self._start_of(first) <= n <= second]
        nodes = [n for n in nodes if self.map_of(n) == self.map_of(first)]
        return rigid_of(np.stack([self.poses[n] for n in nodes]))

    def _start_of(self, old: int) -> int:
        """Return the keyframe from which the way to a new one counts: of a saved map the one that
        was tied to it last, as all of it is held."""
        if old not in self.held:
            return old
        tied = [e.second for e in self._edges if e.loop and e.first in self.held]
        return max(tied, default=1 + max(self.held))

    def one_segment(self, first: int, second: int) -> bool:
        """Whether the odometry itself leads from one keyframe to the other."""
        return self._segments[first] == self._segments[second]

    def told(self, first: int, second: int) -> np.ndarray:
        """Return the poses that the odometry alone gives the keyframes between two of a segment.

        Both are included, in the map and unit of the first. (N, 4, 4)
        """
        nodes = [n for n in sorted(self.poses) if first <= n <= second]
        nodes = [n for n in nodes if self._segments[n] == self._segments[first]]
        return self.S_map_odom(first) @ np.stack([self._odom[n] for n in nodes])

    def link(self, old: int, new: int, motion: np.ndarray, sigmas: np.ndarray) -> None:
        """Tie two keyframes of one map by a loop: points in `new` to points in `old`."""
        self.unlink(old, new)
        self._edges = [*self._edges, GraphEdge(old, new, motion, sigmas, True)]

    def unlink(self, old: int, new: int) -> None:
        """Take a loop out again."""
        self._edges = [e for e in self._edges if not (e.loop and (e.first, e.second) == (old, new))]

    def error(self, old: int, new: int) -> float:
        """Return the error of a loop at the present poses, in its own standard deviations."""
        edge = self._loop(old, new)
        ends = np.stack([self.poses[old], self.poses[new]])
        return float(np.linalg.norm(residual(edge, ends) / edge.sigmas))

    def explain(self, old: int, new: int) -> None:
        """Measure by how much the chains that a loop spans must be widened to explain it.

        Drift has a part that does not average out, as a bias of scale; a chain that counts on
        noise alone would outweigh the right loop. What is explained is the drift of the odometry
        itself where it leads from one end to the other, so that it does not depend on other loops.
        A chain is widened as half of the loops that span it say: a wrong loop does not make room
        for itself.
        """
        edge = self._loop(old, new)
        own = self.one_segment(old, new)
        ends = np.stack([(self._odom if own else self.poses)[n] for n in (old, new)])
        error, variance = residual(edge, ends), edge.sigmas**2
        start = self._start_of(old)
        chain = [e for e in self._edges if not e.loop and start <= e.first and e.second <= new]
        variance = variance + sum((e.sigmas**2 for e in chain), np.zeros(7))
        # An error of rotation or scale moves what lies behind it by its arm.
        path = rigid_of(self.told(old, new) if own else self.between(old, new))[:, :3, 3]
        arm = 0.5 * float(np.linalg.norm(path - path[0], axis=1).max())
        arm /= float(scale_of(self.poses[old])) if own else 1.0
        variance[:3] += arm**2 * (variance[3] + min(variance[6], 1.0))
        parts = (slice(0, 3), slice(3, 6), slice(6, 7))
        errors = [float(np.linalg.norm(error[p] / np.sqrt(variance[p]))) for p in parts]
        widened = replace(edge, widening=max(1.0, max(errors) / EXPLAINED))
        self._edges = [widened if e is edge else e for e in self._edges]

    def _loop(self, old: int, new: int) -> GraphEdge:
        return next(e for e in self._edges if e.loop and (e.first, e.second) == (old, new))

    def join(self, old: int, new: int, motion: np.ndarray) -> None:
        """Lay the map of `new` into that of `old`, so that `motion` holds between the two."""
        target, moved = self.map_of(old), self.map_of(new)
        S = self.poses[old] @ motion @ inverse_similarity(self.poses[new])
        for node in [n for n in self.poses if self.map_of(n) == moved]:
            self.poses[node] = S @ self.poses[node]
        self.maps = {s: target if m == moved else m for s, m in self.maps.items()}

    def solve(self, scales: bool) -> dict[tuple[int, int], float]:
        """Correct all poses by the loops; returns the weight that each loop was left with.

        The first keyframe of each map, and all of a saved one, stay where they are.
        """
        nodes = sorted(self.poses)
        index = {node: i for i, node in enumerate(nodes)}
        fixed = {self.map_of(node): index[node] for node in reversed(nodes)}
        held = {index[node] for node in self.held} | set(fixed.values())
        solution = optimise_graph(
            np.stack([self.poses[node] for node in nodes]),
            stacked(self._edges, index, widened=widening(self._edges)),
            fixed=tuple(sorted(held)),
            scales=scales,
        )
        self.poses = dict(zip(nodes, solution.poses, strict=True))
        pairs = zip(self._edges, solution.weights, strict=True)
        return {(e.first, e.second): float(w) for e, w in pairs if e.loop}

    def settle(self, scales: bool) -> list[tuple[int, int]]:
        """Solve, take out the loops that the others and the odometry contradict, solve again.

        A loop between two segments stays, with the little weight it has, where no other one holds
        them together.

        Returns:
            The loops taken out, as pairs of keyframes.
        """
        undone: list[tuple[int, int]] = []
        while True:
            weights = self.solve(scales)
            held = {self._joined(pair) for pair, w in weights.items() if w >= WEIGHT}
            wrong = [
                pair
                for pair, w in weights.items()
                if w < WEIGHT and (self.one_segment(*pair) or self._joined(pair) in held)
            ]
            if not wrong:
                return undone
            for pair in wrong:
                self.unlink(*pair)
            undone += wrong

    def _joined(self, pair: tuple[int, int]) -> frozenset[int]:
        """Return the segments of two keyframes."""
        return frozenset(self._segments[node] for node in pair)

    def state(self) -> GraphState:
        """Return poses and edges as they are, for `restore`."""
        return GraphState(self.poses, self._edges)

    def restore(self, state: GraphState) -> None:
        """Go back to a state; no keyframe may have come, gone or been joined since."""
        self.poses, self._edges = state.poses, state.edges

    def closest(self, spare: int) -> int | None:
        """Return the keyframe that lies closest to both neighbours of its segment.

        Args:
            spare: number of newest keyframes that are not asked.

        Returns:
            Its number, None where no keyframe has two neighbours.
        """
        nodes = np.array(sorted(self.poses))
        poses = rigid_of(np.stack([self.poses[n] for n in nodes]))
        gap = gaps(poses, np.array([self._segments[n] for n in nodes]))
        gap = gap[: max(0, len(nodes) - 2 - spare)]
        if not np.isfinite(gap).any():
            return None
        return int(nodes[1 + int(gap.argmin())])

    def drop(self, node: int) -> int:
        """Forget a keyframe; its edges move to the one before it in its segment (else after it).

        Returns:
            The keyframe that its edges moved to.

        Raises:
            KeyError: it is not there, or the only one of its segment.
        """
        segment = self._segments[node]
        own = sorted(n for n in self.poses if self._segments[n] == segment and n != node)
        heir = max((n for n in own if n < node), default=None)
        heir = own[0] if heir is None else heir
        motion = inverse_similarity(self._odom[heir]) @ self._odom[node]
        chain = [e for e in self._edges if {e.first, e.second} == {heir, node} and not e.loop]
        extra = chain[0].sigmas ** 2 if chain else np.zeros(7)
        moved = [rehung(e, node, heir, motion, extra) for e in self._edges if e not in chain]
        self._edges = few_loops([e for e in moved if e.first != e.second])
        for table in (self.poses, self._odom, self._segments):
            del table[node]
        self.held.discard(node)
        if self._last[segment] == node:
            self._last[segment] = heir
        return heir
