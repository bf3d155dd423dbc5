# SPDX-License-Identifier: Apache-2.0
"""Edges of the graph of keyframes: steps of the odometry, and loops."""

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from depthkit.multiview.pose_graph import Edges, edge_residuals
from depthkit.multiview.similarity import inverse_similarity

LOOPS_EACH = 2
"""Number of loops kept at a keyframe that inherits those of dropped neighbours."""


@dataclass(frozen=True, eq=False)
class GraphEdge:
    """A measured motion between two keyframes."""

    first: int
    second: int
    motion: np.ndarray
    sigmas: np.ndarray
    loop: bool
    widening: float = float("nan")
    """Factor on the standard deviations of chains that explains this loop; NaN: not asked."""


def residual(edge: GraphEdge, ends: np.ndarray) -> np.ndarray:
    """Error of an edge between two poses. (2, 4, 4) -> (7,)"""
    return edge_residuals(ends, stacked([edge], {edge.first: 0, edge.second: 1}))[0]


def few_loops(edges: list[GraphEdge]) -> list[GraphEdge]:
    """Keep the latest LOOPS_EACH loops of each new keyframe, so that an hour stays bounded."""
    later: Counter[int] = Counter()
    kept = []
    for edge in reversed(edges):
        later[edge.second] += edge.loop
        if not edge.loop or later[edge.second] <= LOOPS_EACH:
            kept.append(edge)
    return kept[::-1]


def widening(edges: list[GraphEdge]) -> np.ndarray:
    """Factor on the standard deviations of each edge: the lower median over the loops that span it.

    1 for loops, and where no loop says anything. (E,)
    """
    ends = np.array([(e.first, e.second) for e in edges])
    says = np.array([e.widening for e in edges])
    loops = np.flatnonzero(np.isfinite(says))
    factor = np.ones(len(edges))
    if len(loops) == 0:
        return factor
    spans = (ends[loops, :1] <= ends[:, 0]) & (ends[:, 1] <= ends[loops, 1:])
    count = spans.sum(axis=0)
    ordered = np.sort(np.where(spans, says[loops, None], np.inf), axis=0)
    middle = ordered[np.maximum(count - 1, 0) // 2, np.arange(len(edges))]
    chains = (count > 0) & ~np.array([e.loop for e in edges])
    factor[chains] = middle[chains]
    return factor


def stacked(
    edges: list[GraphEdge], index: dict[int, int], *, widened: np.ndarray | None = None
) -> Edges:
    """Stack edges for the optimiser, their standard deviations times a factor each."""
    sigmas = np.stack([e.sigmas for e in edges])
    return Edges(
        np.array([index[e.first] for e in edges], int),
        np.array([index[e.second] for e in edges], int),
        np.stack([e.motion for e in edges]),
        sigmas if widened is None else sigmas * widened[:, None],
        np.array([e.loop for e in edges], bool),
    )


def rehung(
    edge: GraphEdge, node: int, heir: int, motion: np.ndarray, extra: np.ndarray
) -> GraphEdge:
    """Move an end of an edge from a node to its heir; `motion` takes the node to the heir."""
    if node not in (edge.first, edge.second):
        return edge
    sigmas = np.sqrt(edge.sigmas**2 + extra)
    if edge.first == node:
        return replace(edge, first=heir, motion=motion @ edge.motion, sigmas=sigmas)
    moved = edge.motion @ inverse_similarity(motion)
    return replace(edge, second=heir, motion=moved, sigmas=sigmas)
