# SPDX-License-Identifier: Apache-2.0
"""Pose graphs with known answers: closed paths with drift of motion and scale, wrong loops."""

from time import process_time

import numpy as np
import pytest

from depthkit.errors import DataError, ShapeError
from depthkit.multiview.block_cholesky import solve_blocks
from depthkit.multiview.pose_graph import Edges, optimise_graph
from depthkit.multiview.similarity import (
    inverse_similarity,
    make_similarity,
    rigid_of,
    scale_of,
)
from depthkit.rigid import exp_se3, make_pose

CHAIN = np.array([0.05, 0.05, 0.05, 0.01, 0.01, 0.01, 0.01])


def circle(count: int, radius: float = 5.0) -> np.ndarray:
    """Drive a circle once: poses that look along the path; the last one is one step short."""
    angle = 2 * np.pi * np.arange(count) / count
    twists = np.zeros((count, 6))
    twists[:, 4] = -angle
    place = np.column_stack([np.cos(angle), np.zeros(count), np.sin(angle)]) * radius
    return make_pose(exp_se3(twists)[:, :3, :3], place)


def chained(motions: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Chain motions from a start."""
    poses = [start]
    for motion in motions:
        poses.append(poses[-1] @ motion)
    return np.stack(poses)


def edges_of(pairs: list[tuple[int, int]], motions: np.ndarray, loops: int) -> Edges:
    """Edges of which the last `loops` carry the kernel."""
    first, second = np.array(pairs).T
    kernel = np.arange(len(pairs)) >= len(pairs) - loops
    return Edges(first, second, motions, np.tile(CHAIN, (len(pairs), 1)), kernel)


def between(poses: np.ndarray, pairs: list[tuple[int, int]]) -> np.ndarray:
    """Motions of pairs of nodes."""
    first, second = np.array(pairs).T
    return inverse_similarity(poses[first]) @ poses[second]


def test_similarity_inverts_and_splits() -> None:
    """S times its inverse is the identity; scale and rigid part are those put in."""
    T = exp_se3(np.array([[1.0, 2, 3, 0.1, -0.4, 0.2], [0, 1, 0, 2, 0, 1]]))
    S = make_similarity(T, np.array([0.3, 4.0]))
    np.testing.assert_allclose(S @ inverse_similarity(S), np.tile(np.eye(4), (2, 1, 1)), atol=1e-12)
    np.testing.assert_allclose(scale_of(S), [0.3, 4.0], rtol=1e-12)
    np.testing.assert_allclose(rigid_of(S), T, atol=1e-12)


def test_blocks_are_solved_as_the_dense_matrix() -> None:
    """A chain with cross links of 3x3 blocks against numpy's solver."""
    rng = np.random.default_rng(0)
    pairs = [(i, i + 1) for i in range(11)] + [(0, 7), (9, 2), (2, 9)]
    blocks, dense = rng.normal(size=(len(pairs), 3, 3)), np.zeros((36, 36))
    for (i, j), block in zip(pairs, blocks, strict=True):
        dense[3 * i : 3 * i + 3, 3 * j : 3 * j + 3] += block
        dense[3 * j : 3 * j + 3, 3 * i : 3 * i + 3] += block.T
    dense += 30 * np.eye(36)
    diagonal = np.stack([dense[3 * i : 3 * i + 3, 3 * i : 3 * i + 3] for i in range(12)])
    right = rng.normal(size=(12, 3))
    x = solve_blocks(diagonal, np.array(pairs), blocks, right)
    np.testing.assert_allclose(x.ravel(), np.linalg.solve(dense, right.ravel()), rtol=1e-9)


@pytest.mark.parametrize("scales", [False, True])
def test_consistent_edges_are_met_exactly(scales: bool) -> None:
    """From a wrong start the true circle is found where all edges agree."""
    truth = circle(40)
    if scales:
        truth = make_similarity(truth, np.exp(0.02 * np.arange(40)))
    pairs = [(i, i + 1) for i in range(39)] + [(39, 0), (10, 30)]
    start = truth @ exp_se3(0.1 * np.random.default_rng(1).normal(size=(40, 6)))
    start[0] = truth[0]
    edges = edges_of(pairs, between(truth, pairs), 2)
    solution = optimise_graph(start, edges, scales=scales)
    np.testing.assert_allclose(solution.poses, truth, atol=1e-6)
    np.testing.assert_allclose(solution.weights, 1.0, atol=1e-6)


def test_square_shares_its_gap_evenly() -> None:
    """Four steps of 1 m without turning that end 0.5 m beside the start: each takes 0.1 m.

    Five edges of equal weight, one gap: by symmetry each of them takes a fifth.
    """
    steps = np.array([[1.0, 0, 0], [0, 0, 1], [-1, 0, 0], [0.5, 0, -1]])
    motions = make_pose(np.tile(np.eye(3), (4, 1, 1)), steps)
    sigmas = np.tile(np.array([1.0, 1, 1, 1e-6, 1e-6, 1e-6, 1]), (5, 1))
    edges = Edges(
        np.array([0, 1, 2, 3, 4]),
        np.array([1, 2, 3, 4, 0]),
        np.concatenate([motions, np.eye(4)[None]]),
        sigmas,
        np.zeros(5, bool),
    )
    solution = optimise_graph(chained(motions, np.eye(4)), edges)
    expected = [[0, 0, 0], [0.9, 0, 0], [0.8, 0, 1], [-0.3, 0, 1], [0.1, 0, 0]]
    np.testing.assert_allclose(solution.poses[:, :3, 3], expected, atol=1e-6)
    np.testing.assert_allclose(solution.errors, 0.1, atol=1e-6)


def test_drift_of_a_circle_is_closed() -> None:
    """3 % too long a step and 0.2 degrees a step of turn: the loop takes nine tenths of it."""
    truth = circle(60)
    pairs = [(i, i + 1) for i in range(59)]
    motions = between(truth, pairs)
    motions[:, :3, 3] *= 1.03
    motions = motions @ exp_se3([0, 0, 0, 0, np.radians(0.2), 0])
    drifted = chained(motions, truth[0])
    loop = between(truth, [(59, 0)])
    edges = edges_of([*pairs, (59, 0)], np.concatenate([motions, loop]), 1)
    solution = optimise_graph(drifted, edges)
    before = np.linalg.norm(drifted[:, :3, 3] - truth[:, :3, 3], axis=1)
    after = np.linalg.norm(solution.poses[:, :3, 3] - truth[:, :3, 3], axis=1)
    assert before.max() > 1.0
    assert after.max() < 0.35  # 3 % of the diameter, which no loop can see, and little else
    assert solution.weights[-1] > 0.9


def test_scale_drift_is_undone_with_scales_only() -> None:
    """A step that shrinks by 1 % each time: Sim(3) finds the circle, SE(3) cannot.

    With rotations exact, the scale error is linear in its logarithm and spreads evenly.
    """
    truth, rate = circle(60), np.log(0.99)
    pairs = [(i, i + 1) for i in range(59)]
    factor = np.exp(rate * np.arange(60))
    motions = between(truth, pairs)
    motions[:, :3, 3] *= factor[:59, None]
    drifted = chained(motions, truth[0])
    # The last node measures lengths factor[59] times too small: in its unit the loop is shorter.
    loop = make_similarity(between(truth, [(0, 59)]), np.array([1 / factor[59]]))
    edges = edges_of([*pairs, (0, 59)], np.concatenate([motions, loop]), 1)
    edges.sigmas[:, :3] = 0.01
    edges.sigmas[:, 3:6] = 1e-4
    path = {s: optimise_graph(drifted, edges, scales=s).poses[:, :3, 3] for s in (False, True)}
    error = {s: np.linalg.norm(path[s] - truth[:, :3, 3], axis=1).max() for s in path}
    assert np.linalg.norm(drifted[:, :3, 3] - truth[:, :3, 3], axis=1).max() > 2.0
    assert error[True] < 0.1
    assert error[False] > 1.0


def test_wrong_loop_loses_its_weight() -> None:
    """Two right loops against one that says opposite ends are one place."""
    truth = circle(60)
    pairs = [(i, i + 1) for i in range(59)] + [(59, 0), (58, 1), (15, 45)]
    motions = between(truth, pairs)
    motions[:59, :3, 3] *= 1.02
    motions[-1] = np.eye(4)
    drifted = chained(motions[:59], truth[0])
    solution = optimise_graph(drifted, edges_of(pairs, motions, 3))
    assert solution.weights[-1] < 1e-3
    assert solution.weights[-3:-1].min() > 0.9
    error = np.linalg.norm(solution.poses[:, :3, 3] - truth[:, :3, 3], axis=1)
    assert error.max() < 0.25  # 2 % of the diameter of 10 m


def test_fixed_node_and_second_part_stay() -> None:
    """Two parts, each with a fixed node: both keep it to the bit."""
    truth = circle(6)
    pairs = [(0, 1), (1, 2), (3, 4), (4, 5)]
    start = truth @ exp_se3([0.1, 0, 0, 0, 0, 0])
    solution = optimise_graph(start, edges_of(pairs, between(truth, pairs), 0), fixed=(0, 4))
    np.testing.assert_array_equal(solution.poses[[0, 4]], rigid_of(start)[[0, 4]])


def test_what_is_not_measured_leaves_no_trace() -> None:
    """An edge with an infinite sigma of the translation turns its node and does not shift it."""
    edges = Edges(
        np.array([0, 0]),
        np.array([1, 1]),
        np.stack([make_pose(np.eye(3), [1, 2, 3]), exp_se3([9, 9, 9, 0, 0.2, 0])]),
        np.array([[1.0] * 3 + [np.inf] * 3 + [1.0], [np.inf] * 3 + [1.0] * 3 + [1.0]]),
        np.zeros(2, bool),
    )
    solution = optimise_graph(np.tile(np.eye(4), (2, 1, 1)), edges)
    np.testing.assert_allclose(solution.poses[1, :3, 3], [1, 2, 3], atol=1e-9)
    np.testing.assert_allclose(
        solution.poses[1, :3, :3], exp_se3([0, 0, 0, 0, 0.2, 0])[:3, :3], atol=1e-9
    )


def test_thousand_keyframes_take_seconds_at_most() -> None:
    """Two laps, 1000 nodes, 40 loops; 0.6 s on an AVX2 core, the bound allows a slow one."""
    truth = np.concatenate([circle(500, 50.0)] * 2)
    pairs = [(i, i + 1) for i in range(999)] + [(i, i + 500) for i in range(0, 480, 12)]
    motions = between(truth, pairs)
    motions[:999, :3, 3] *= 1.01
    motions[:999] = motions[:999] @ exp_se3([0, 0, 0, 0, 1e-4, 0])
    drifted = chained(motions[:999], truth[0])
    edges = edges_of(pairs, motions, 40)
    started = process_time()
    solution = optimise_graph(drifted, edges, scales=True)
    assert process_time() - started < 5.0
    gaps = solution.poses[500:980, :3, 3] - solution.poses[:480, :3, 3]
    assert np.linalg.norm(gaps, axis=1).max() < 0.3


def test_bad_graphs_are_named() -> None:
    """A loose node, an edge to nowhere, a zero sigma, a wrong shape."""
    edges = edges_of([(0, 1)], np.eye(4)[None], 0)
    with pytest.raises(DataError, match="node 2 hangs on no fixed node"):
        optimise_graph(np.tile(np.eye(4), (3, 1, 1)), edges)
    with pytest.raises(DataError, match=r"0\.\.0"):
        optimise_graph(np.eye(4)[None], edges)
    with pytest.raises(ShapeError, match="poses"):
        optimise_graph(np.eye(4), edges)
    with pytest.raises(DataError, match="above 0"):
        Edges(edges.first, edges.second, edges.motions, np.zeros((1, 7)), edges.kernel)
