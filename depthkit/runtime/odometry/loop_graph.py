# SPDX-License-Identifier: Apache-2.0
"""The graph of kept keyframes: chains of the odometry, loops, and segments that were joined."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from depthkit.multiview.pose_graph import Edges, edge_residuals, optimise_graph
from depthkit.multiview.similarity import inverse_similarity, rigid_of
from depthkit.rigid import log_so3

EXPLAINED = 1.5
"""Standard deviations of a chain up to which it explains a loop."""
LOOPS_EACH = 2
"""Number of loops kept at a keyframe that inherits those of dropped neighbours."""


@dataclass(frozen=True, eq=False)
class _Edge:
    first: int
    second: int
    motion: np.ndarray
    sigmas: np.ndarray
    loop: bool


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
        self._edges: list[_Edge] = []
        self._widened = 1.0
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
            self._edges.append(_Edge(last, node, motion, sigmas, False))
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
        nodes = [n for n in sorted(self.poses) if self._since(first) <= n <= second]
        nodes = [n for n in nodes if self.map_of(n) == self.map_of(first)]
        return rigid_of(np.stack([self.poses[n] for n in nodes]))

    def _since(self, old: int) -> int:
        """Return the keyframe from which the way to a new one counts: of a saved map the one that
        was tied to it last, as all of it is held."""
        if old not in self.held:
            return old
        tied = [e.second for e in self._edges if e.loop and e.first in self.held]
        return max(tied, default=1 + max(self.held))

    def link(self, old: int, new: int, motion: np.ndarray, sigmas: np.ndarray) -> None:
        """Tie two keyframes of one map by a loop: points in `new` to points in `old`."""
        self.unlink(old, new)
        self._edges.append(_Edge(old, new, motion, sigmas, True))

    def unlink(self, old: int, new: int) -> None:
        """Take a loop out again."""
        self._edges = [e for e in self._edges if not (e.loop and (e.first, e.second) == (old, new))]

    def error(self, old: int, new: int) -> float:
        """Return the error of a loop at the present poses, in its own standard deviations."""
        edge = self._loop(old, new)
        return float(np.linalg.norm(self._residual(edge) / edge.sigmas))

    def explain(self, old: int, new: int) -> None:
        """Widen the standard deviations of all chains until they explain a loop that is believed.

        Drift has a part that does not average out, as a bias of scale; a chain that counts on
        noise alone would outweigh the right loop.
        """
        loop = self._loop(old, new)
        residual, variance = self._residual(loop), loop.sigmas**2
        since = self._since(old)
        chain = [e for e in self._edges if not e.loop and since <= e.first and e.second <= new]
        variance = variance + sum((e.sigmas**2 for e in chain), np.zeros(7))
        # An error of rotation or scale moves what lies behind it by its arm.
        path = self.between(old, new)[:, :3, 3]
        arm = 0.5 * float(np.linalg.norm(path - path[0], axis=1).max())
        variance[:3] += arm**2 * (variance[3] + min(variance[6], 1.0))
        parts = (slice(0, 3), slice(3, 6), slice(6, 7))
        errors = [float(np.linalg.norm(residual[p] / np.sqrt(variance[p]))) for p in parts]
        self._widened = max(self._widened, max(errors) / EXPLAINED)

    def _loop(self, old: int, new: int) -> _Edge:
        return next(e for e in self._edges if e.loop and (e.first, e.second) == (old, new))

    def _residual(self, edge: _Edge) -> np.ndarray:
        ends = np.stack([self.poses[edge.first], self.poses[edge.second]])
        return edge_residuals(ends, _edges([edge], {edge.first: 0, edge.second: 1}))[0]

    def join(self, old: int, new: int, motion: np.ndarray) -> None:
        """Lay the map of `new` into that of `old`, so that `motion` holds between the two."""
        target, moved = self.map_of(old), self.map_of(new)
        S = self.poses[old] @ motion @ inverse_similarity(self.poses[new])
        for node in [n for n in self.poses if self.map_of(n) == moved]:
            self.poses[node] = S @ self.poses[node]
        self.maps = {s: target if m == moved else m for s, m in self.maps.items()}

    def solve(self, scales: bool) -> dict[tuple[int, int], float]:
        """Correct all poses by the loops; returns the weight that each loop was left with.

        The first keyframe of each map stays where it is.
        """
        nodes = sorted(self.poses)
        index = {node: i for i, node in enumerate(nodes)}
        fixed = {self.map_of(node): index[node] for node in reversed(nodes)}
        held = {index[node] for node in self.held} | set(fixed.values())
        solution = optimise_graph(
            np.stack([self.poses[node] for node in nodes]),
            _edges(self._edges, index, widened=self._widened),
            fixed=tuple(sorted(held)),
            scales=scales,
        )
        self.poses = dict(zip(nodes, solution.poses, strict=True))
        pairs = zip(self._edges, solution.weights, strict=True)
        return {(e.first, e.second): float(w) for e, w in pairs if e.loop}

    def closest(self, spare: int) -> int | None:
        """Return the keyframe that lies closest to both neighbours of its segment.

        Args:
            spare: number of newest keyframes that are not asked.

        Returns:
            Its number, None where no keyframe has two neighbours.
        """
        nodes = np.array(sorted(self.poses))
        poses = rigid_of(np.stack([self.poses[n] for n in nodes]))
        segments = np.array([self._segments[n] for n in nodes])
        step = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
        turn = np.swapaxes(poses[:-1, :3, :3], 1, 2) @ poses[1:, :3, :3]
        # A radian of turn counts as ten median steps: about a field of view.
        far = step / max(float(np.median(step)), 1e-9) + 10 * np.linalg.norm(log_so3(turn), axis=1)
        far = np.where(segments[:-1] == segments[1:], far, np.inf)
        gap = (far[:-1] + far[1:])[: max(0, len(nodes) - 2 - spare)]
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
        moved = [_rehung(e, node, heir, motion, extra) for e in self._edges if e not in chain]
        self._edges = _few_loops([e for e in moved if e.first != e.second])
        for table in (self.poses, self._odom, self._segments):
            del table[node]
        self.held.discard(node)
        if self._last[segment] == node:
            self._last[segment] = heir
        return heir


def _few_loops(edges: list[_Edge]) -> list[_Edge]:
    """Keep the latest LOOPS_EACH loops of each new keyframe, so that an hour stays bounded."""
    later: Counter[int] = Counter()
    kept = []
    for edge in reversed(edges):
        later[edge.second] += edge.loop
        if not edge.loop or later[edge.second] <= LOOPS_EACH:
            kept.append(edge)
    return kept[::-1]


def _edges(edges: list[_Edge], index: dict[int, int], *, widened: float = 1.0) -> Edges:
    """Stack edges for the optimiser, the standard deviations of chains times a factor."""
    return Edges(
        np.array([index[e.first] for e in edges], int),
        np.array([index[e.second] for e in edges], int),
        np.stack([e.motion for e in edges]),
        np.stack([e.sigmas * (1.0 if e.loop else widened) for e in edges]),
        np.array([e.loop for e in edges], bool),
    )


def _rehung(edge: _Edge, node: int, heir: int, motion: np.ndarray, extra: np.ndarray) -> _Edge:
    """Move an end of an edge from a node to its heir; `motion` takes the node to the heir."""
    if node not in (edge.first, edge.second):
        return edge
    sigmas = np.sqrt(edge.sigmas**2 + extra)
    if edge.first == node:
        return _Edge(heir, edge.second, motion @ edge.motion, sigmas, edge.loop)
    return _Edge(edge.first, heir, edge.motion @ inverse_similarity(motion), sigmas, edge.loop)


def chain_sigmas(motion: np.ndarray, depth: float, metric: bool) -> np.ndarray:
    """Standard deviations of one step of the odometry, as `Edges` takes them. (7,)

    2 % of the step and 0.1 % of the depth, 0.1 degrees, and 1 % of scale where lengths are not
    metres: over 100 keyframes 1 degree and 10 % of scale, the size seen on KITTI 02,
    RedKitchen and TUM desk.
    """
    step = float(np.linalg.norm(motion[:3, 3]))
    translation = 0.02 * step + 0.001 * (depth if np.isfinite(depth) else step) + 1e-6
    return np.r_[np.full(3, translation), np.full(3, np.radians(0.1)), 0.001 if metric else 0.01]


def loop_sigmas(depth: float, log_scale: float) -> np.ndarray:
    """Standard deviations of a pose found by PnP, as `Edges` takes them. (7,)

    2 % of the depth, 1 degree and 8 % of scale: more inliers do not help much, the old points have
    errors in common, and rolling shutter bends both views (chosen on RedKitchen, MH_01 and TUM
    desk).
    """
    translation, rotation = 0.02 * depth, np.radians(1.0)
    return np.r_[np.full(3, translation), np.full(3, rotation), max(0.08, log_scale)]
