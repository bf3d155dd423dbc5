# SPDX-License-Identifier: Apache-2.0
"""Pose graph over rigid motions or similarities: many measured motions, one consistent path.

Nodes are poses, edges are measured motions between two of them. The sum of squared errors is
minimised by damped Gauss-Newton steps. Edges that may be wrong (loops) carry a Geman-McClure
kernel that is narrowed step by step (graduated non-convexity: Yang, Antonante, Tzoumas and Carlone,
RA-L 2020): a right loop is believed although the drift it corrects is large, and a wrong one loses
its weight against the right ones. With scales the nodes are similarities, 7 degrees of freedom
(Strasdat, Montiel and Davison, RSS 2010).
"""

from dataclasses import dataclass, replace

import numpy as np

from depthkit.errors import DataError, check_shape
from depthkit.multiview.block_cholesky import solve_blocks
from depthkit.multiview.similarity import inverse_similarity, rigid_of, scale_of
from depthkit.rigid import exp_se3, log_so3, skew

KERNEL = 5.0
"""Standard deviations at which an edge with a kernel keeps a quarter of its weight; the norm of
seven exact errors stays below 4.3 in 99 % of cases (chi-square)."""
HARDENING = 3.0
"""Factor by which the squared width of the kernel shrinks at each step."""
STEPS = 60
ROUNDING = 1e-11
"""Rise of the cost, relative and absolute, that rounding explains."""
SETTLED = 1e-7
"""Relative decrease of the cost below which the path no longer moves."""


@dataclass(frozen=True, eq=False)
class Edges:
    """Measured motions between nodes."""

    first: np.ndarray
    """Node in whose axes the motion is measured. (E,) int"""
    second: np.ndarray
    """Node whose pose is measured. (E,) int"""
    motions: np.ndarray
    """Points in `second` to points in `first`: rigid motions or similarities. (E, 4, 4)"""
    sigmas: np.ndarray
    """Standard deviations: translation (3, unit of `first`), rotation (3, radians), logarithm of
    the scale (1); inf = not measured. (E, 7)"""
    kernel: np.ndarray
    """Whether the edge may be wrong and carries the robust kernel. (E,) bool"""

    def __post_init__(self) -> None:
        """Check shapes and standard deviations.

        Raises:
            ShapeError: an array has another length.
            DataError: a standard deviation is not above 0.
        """
        count = len(self.first)
        check_shape("Edges: second", self.second, f"{count}")
        check_shape("Edges: motions", self.motions, f"{count} 4 4")
        check_shape("Edges: sigmas", self.sigmas, f"{count} 7")
        check_shape("Edges: kernel", self.kernel, f"{count}")
        if not (self.sigmas > 0).all():
            raise DataError("Edges: sigmas must be above 0; use inf for what is not measured")


@dataclass(frozen=True, eq=False)
class GraphSolution:
    """The poses that fit the edges best."""

    poses: np.ndarray
    """Nodes, points in the node to points in the world. (N, 4, 4) float64"""
    weights: np.ndarray
    """Weight that the kernel leaves to each edge, 0 to 1; 1 without kernel. (E,)"""
    errors: np.ndarray
    """Error of each edge in standard deviations: the norm over what it measures. (E,)"""
    steps: int
    """Number of Gauss-Newton steps."""


def optimise_graph(
    poses: np.ndarray,
    edges: Edges,
    *,
    fixed: tuple[int, ...] = (0,),
    scales: bool = False,
    kernel: float = KERNEL,
) -> GraphSolution:
    """Find the poses that fit all edges best.

    Args:
        poses: nodes to start from, rigid or similarities. (N, 4, 4)
        edges: measured motions; over them every node is reached from a fixed one.
        fixed: nodes that stay where they are.
        scales: let the nodes have scales; otherwise scales are ignored.
        kernel: standard deviations at which the kernel leaves a quarter of the weight.

    Raises:
        ShapeError: poses are not (N, 4, 4).
        DataError: an edge names a node that is not there, or a node hangs on no fixed one.
    """
    _check(poses, edges, fixed)
    nodes = np.array(poses, np.float64)
    if not scales:
        nodes, edges = rigid_of(nodes), replace(edges, motions=rigid_of(edges.motions))
    # 1. A kernel so wide that every edge is believed.
    square = _errors(nodes, edges)
    width = max(1.0, 2.0 * float(square[edges.kernel].max(initial=0.0)) / kernel**2)
    cost, steps = np.inf, 0
    while steps < STEPS:
        steps += 1
        # 2. One damped Gauss-Newton step at the weights of this width.
        weights = _weights(square, edges.kernel, width * kernel**2)
        nodes, square = _step(nodes, edges, weights, fixed=fixed, scales=scales)
        # 3. At the last width: until the cost settles. Before: the next width.
        before, cost = cost, _cost(square, edges.kernel, width * kernel**2)
        if width == 1.0 and before - cost <= SETTLED * cost + ROUNDING:
            break
        if width > 1.0:
            width, cost = max(1.0, width / HARDENING), np.inf
    weights = _weights(square, edges.kernel, kernel**2)
    return GraphSolution(nodes, weights, np.sqrt(square), steps)


def edge_errors(poses: np.ndarray, edges: Edges) -> np.ndarray:
    """Return the error of each edge at given poses, in standard deviations. (E,)"""
    return np.sqrt(_errors(np.asarray(poses, np.float64), edges))


def _check(poses: np.ndarray, edges: Edges, fixed: tuple[int, ...]) -> None:
    """Refuse edges to nowhere, and nodes that nothing holds."""
    check_shape("optimise_graph: poses", poses, "N 4 4")
    count, ends = len(poses), np.concatenate([edges.first, edges.second, fixed])
    if len(ends) and (ends.min() < 0 or ends.max() >= count):
        raise DataError(
            f"optimise_graph: edges and fixed nodes must lie in 0..{count - 1}, got "
            f"{int(ends.min())}..{int(ends.max())}"
        )
    held = np.zeros(count, bool)
    held[list(fixed)] = True
    neighbours: list[list[int]] = [[] for _ in range(count)]
    for a, b in zip(edges.first.tolist(), edges.second.tolist(), strict=True):
        neighbours[a].append(b)
        neighbours[b].append(a)
    front = list(fixed)
    while front:
        new = {n for node in front for n in neighbours[node] if not held[n]}
        held[list(new)] = True
        front = sorted(new)
    if not held.all():
        loose = int(np.flatnonzero(~held)[0])
        raise DataError(
            f"optimise_graph: node {loose} hangs on no fixed node; fix one node of each part"
        )


def _weights(square: np.ndarray, kernel: np.ndarray, width: float) -> np.ndarray:
    """Weights of Geman and McClure's kernel for squared errors; 1 without kernel. (E,)"""
    return np.where(kernel, (width / (width + square)) ** 2, 1.0)


def _cost(square: np.ndarray, kernel: np.ndarray, width: float) -> float:
    """Sum of squared errors, with the kernel where an edge carries it."""
    return float(np.where(kernel, width * square / (width + square), square).sum())


def _residuals(nodes: np.ndarray, edges: Edges) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Errors of the edges over translation, rotation and log scale, not yet over their sigmas.

    Returns:
        Residuals (E, 7), the measured motions G = S_first^-1 S_second of the nodes (E, 4, 4), and
        their difference to the edges, Z^-1 G. (E, 4, 4)
    """
    G = inverse_similarity(nodes[edges.first]) @ nodes[edges.second]
    difference = inverse_similarity(edges.motions) @ G
    rotation = log_so3(rigid_of(difference)[:, :3, :3])
    log_scale = np.log(scale_of(difference))[:, None]
    return np.hstack([difference[:, :3, 3], rotation, log_scale]), G, difference


def _errors(nodes: np.ndarray, edges: Edges) -> np.ndarray:
    """Squared errors in standard deviations. (E,)"""
    return ((_residuals(nodes, edges)[0] / edges.sigmas) ** 2).sum(axis=1)


def _jacobians(
    residuals: np.ndarray, G: np.ndarray, difference: np.ndarray, Z: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives of the residuals by steps (translation, rotation, log scale) of both nodes.

    A step multiplies a node from the right by (exp(sigma) exp(phi), rho). With
    E = Z^-1 S_first^-1 S_second a step of `second` is E D, one of `first` is Z^-1 D^-1 Z E.
    """
    count = len(residuals)
    by_first, by_second = np.zeros((count, 7, 7)), np.zeros((count, 7, 7))
    turn = _inverse_right_jacobian(residuals[:, 3:6])
    from_first = inverse_similarity(Z)[:, :3, :3]
    place = G[:, :3, 3]
    by_second[:, :3, :3] = difference[:, :3, :3]
    by_second[:, 3:6, 3:6] = turn
    by_second[:, 6, 6] = 1.0
    by_first[:, :3, :3] = -from_first
    by_first[:, :3, 3:6] = from_first @ skew(place)
    by_first[:, :3, 6] = -(from_first @ place[:, :, None])[:, :, 0]
    by_first[:, 3:6, 3:6] = -turn @ np.swapaxes(rigid_of(G)[:, :3, :3], 1, 2)
    by_first[:, 6, 6] = -1.0
    return by_first, by_second


def _inverse_right_jacobian(phi: np.ndarray) -> np.ndarray:
    """Derivative of log(R exp(d)) by d at d = 0, for R = exp(phi). (N, 3) -> (N, 3, 3)

    Sola, Deray and Atchuthan, "A micro Lie theory for state estimation in robotics", eq. 144.
    """
    angle = np.linalg.norm(phi, axis=1)
    safe = np.maximum(angle, 1e-4)
    factor = 1.0 / safe**2 - (1.0 + np.cos(safe)) / (2.0 * safe * np.sin(safe))
    factor = np.where(angle < 1e-3, 1.0 / 12.0, factor)
    W = skew(phi)
    return np.eye(3) + 0.5 * W + factor[:, None, None] * (W @ W)


def _step(
    nodes: np.ndarray, edges: Edges, weights: np.ndarray, *, fixed: tuple[int, ...], scales: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Take one step that lowers the weighted cost; the nodes stay where none does."""
    system = _normal_equations(nodes, edges, weights, fixed=fixed, size=7 if scales else 6)
    before = float(weights @ _errors(nodes, edges))
    for damping in (1e-10, 1e-4, 1e-2, 1.0, 100.0):
        moved = _moved(nodes, system.free, _solve(system, damping))
        square = _errors(moved, edges)
        if float(weights @ square) <= before * (1.0 + ROUNDING) + ROUNDING:
            return moved, square
    return nodes, _errors(nodes, edges)


@dataclass(frozen=True, eq=False)
class _System:
    """Normal equations of the nodes that are not fixed."""

    free: np.ndarray
    """Nodes that may move. (F,) int"""
    diagonal: np.ndarray
    pairs: np.ndarray
    blocks: np.ndarray
    right: np.ndarray


def _normal_equations(
    nodes: np.ndarray, edges: Edges, weights: np.ndarray, *, fixed: tuple[int, ...], size: int
) -> _System:
    """Build J^T W J and -J^T W r in blocks of `size` rows (6: no scales)."""
    residuals, G, difference = _residuals(nodes, edges)
    a, b = (J[:, :, :size] for J in _jacobians(residuals, G, difference, edges.motions))
    information = weights[:, None] / edges.sigmas**2
    weighted_a, weighted_b = (np.swapaxes(J * information[:, :, None], 1, 2) for J in (a, b))
    diagonal, right = np.zeros((len(nodes), size, size)), np.zeros((len(nodes), size))
    np.add.at(diagonal, edges.first, weighted_a @ a)
    np.add.at(diagonal, edges.second, weighted_b @ b)
    np.add.at(right, edges.first, -(weighted_a @ residuals[:, :, None])[:, :, 0])
    np.add.at(right, edges.second, -(weighted_b @ residuals[:, :, None])[:, :, 0])
    free = np.setdiff1d(np.arange(len(nodes)), fixed)
    index = np.full(len(nodes), -1)
    index[free] = np.arange(len(free))
    pairs = np.column_stack([index[edges.first], index[edges.second]])
    inner = (pairs >= 0).all(axis=1) & (pairs[:, 0] != pairs[:, 1])
    blocks = (weighted_a @ b)[inner]
    return _System(free, diagonal[free], pairs[inner], blocks, right[free])


def _solve(system: _System, damping: float) -> np.ndarray:
    """Steps of the free nodes, the diagonal raised by a fraction (Marquardt). (F, 6 or 7)"""
    diagonal = system.diagonal.copy()
    size = np.arange(diagonal.shape[1])
    diagonal[:, size, size] *= 1.0 + damping
    return solve_blocks(diagonal, system.pairs, system.blocks, system.right)


def _moved(nodes: np.ndarray, free: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Multiply nodes from the right by their steps."""
    moves = exp_se3(np.hstack([np.zeros((len(steps), 3)), steps[:, 3:6]]))
    moves[:, :3, 3] = steps[:, :3]
    if steps.shape[1] == 7:
        moves[:, :3, :3] *= np.exp(steps[:, 6])[:, None, None]
    moved = nodes.copy()
    moved[free] = nodes[free] @ moves
    return moved
