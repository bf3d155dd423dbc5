# SPDX-License-Identifier: Apache-2.0
"""Residuals of a bundle adjustment and its normal equations with the points eliminated.

Numbers of the observations lie in rows, one row for each component, so that every operation runs
over all observations at once: 3x3 blocks one by one would cost more than their arithmetic.
"""

from dataclasses import dataclass

import numpy as np

from depthkit.multiview.bundle_problem import BundleProblem, StepPrior

HUBER = 2.0
"""Reprojection error above which an observation's weight falls, standard deviations."""
BEHIND = 1e-3
"""Smallest depth in front of a camera, in units of the world, at which a projection is defined."""
LOOSE = 2.0
"""Standard deviation of a step of a point, in its distances: a point that its observations leave
undetermined (straight ahead, or seen once) stays where it is."""
FARTHEST = 100.0
"""Error beyond which the cost of an observation no longer grows, standard deviations."""
_UPPER = (0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)
"""Upper triangle of a symmetric 3x3 block."""


@dataclass(frozen=True, eq=False)
class Layout:
    """Observations sorted by point and frame, so that sums do not depend on their order."""

    order: np.ndarray
    """Index of each sorted observation in the problem. (M,)"""
    frame: np.ndarray
    point: np.ndarray
    rays: np.ndarray
    """(2, M)"""
    sigma: np.ndarray
    seen: np.ndarray
    """Points with an observation. (P,)"""
    first: np.ndarray
    """First observation of each seen point. (P,)"""
    run: np.ndarray
    """Which of the seen points an observation belongs to. (M,)"""
    free: np.ndarray
    """Indices of the free frames. (K,)"""
    on: np.ndarray
    """Observations by free frames. (m,)"""
    slot: np.ndarray
    """Their frames among the free ones. (m,)"""


@dataclass(frozen=True, eq=False)
class Seen:
    """The observations at one estimate."""

    residual: np.ndarray
    """Whitened; infinite behind the camera. (2, M)"""
    points: np.ndarray
    """Points in the camera. (3, M)"""
    rotation: np.ndarray
    """Rotation of each observation's frame. (3, 3, M)"""


def lay_out(problem: BundleProblem) -> Layout:
    """Sort the observations."""
    order = np.argsort(problem.point * len(problem.free) + problem.frame, kind="stable")
    point, frame = problem.point[order], problem.frame[order]
    seen, first, run = np.unique(point, return_index=True, return_inverse=True)
    free = np.flatnonzero(problem.free)
    slots = np.full(len(problem.free), -1)
    slots[free] = np.arange(len(free))
    on = np.flatnonzero(slots[frame] >= 0)
    return Layout(
        order=order,
        frame=frame,
        point=point,
        rays=np.ascontiguousarray(problem.rays[order].T),
        sigma=problem.sigma[order],
        seen=seen,
        first=first,
        run=run,
        free=free,
        on=on,
        slot=slots[frame[on]],
    )


def see(T: np.ndarray, X: np.ndarray, layout: Layout) -> Seen:
    """Project the points into the frames.

    Args:
        T: T_cam_world of the frames. (F, 4, 4)
        X: points in the world. (N, 3)
        layout: the observations.
    """
    M = np.take(np.ascontiguousarray(T[:, :3].reshape(-1, 12).T), layout.frame, axis=1)
    M = M.reshape(3, 4, -1)
    x = np.take(np.ascontiguousarray(X.T), layout.point, axis=1)
    Xc = M[:, 0] * x[0] + M[:, 1] * x[1] + M[:, 2] * x[2] + M[:, 3]
    front = Xc[2] > BEHIND
    z = np.where(front, Xc[2], 1.0)
    residual = (Xc[:2] / z - layout.rays) / layout.sigma
    residual[:, ~front] = np.inf
    return Seen(residual, Xc, M[:, :3])


def errors_of(residual: np.ndarray) -> np.ndarray:
    """Return the lengths of residuals. (2, M) -> (M,)"""
    return np.sqrt(residual[0] ** 2 + residual[1] ** 2)


def cost_of(residual: np.ndarray) -> float:
    """Return Huber's cost; a point behind a camera costs as much as one at FARTHEST."""
    error = np.minimum(errors_of(residual), FARTHEST)
    return float(np.where(error > HUBER, HUBER * (2 * error - HUBER), error**2).sum())


def prior_cost(problem: BundleProblem, T: np.ndarray) -> float:
    """Return the cost of the step and pose priors."""
    total = 0.0
    if problem.steps is not None:
        residual, _ = step_residuals(problem.steps, T)
        total += float((residual**2).sum())
    for prior in problem.poses:
        twist = twist_between(T[prior.frame], prior.T_cam_world)
        total += float(twist @ prior.information @ twist)
    return total


def centres_of(T: np.ndarray) -> np.ndarray:
    """Return camera centres in the world. (F, 4, 4) -> (F, 3)"""
    return -(np.swapaxes(T[:, :3, :3], 1, 2) @ T[:, :3, 3:])[..., 0]


def step_residuals(steps: StepPrior, T: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return whitened log ratios of lengths (S,), and slopes with the second centre (S, 3)."""
    c = centres_of(T)
    between = c[steps.frames[:, 1]] - c[steps.frames[:, 0]]
    length = np.maximum(np.linalg.norm(between, axis=1), 1e-9)
    residual = (np.log(length) - np.log(steps.lengths)) / steps.sigma
    return residual, between / (length**2 * steps.sigma)[:, None]


def twist_between(T: np.ndarray, T_prior: np.ndarray) -> np.ndarray:
    """Return the small twist that takes the prior's pose to this one, to first order. (6,)"""
    D = T @ np.linalg.inv(T_prior)
    turn = 0.5 * np.array([D[2, 1] - D[1, 2], D[0, 2] - D[2, 0], D[1, 0] - D[0, 1]])
    return np.concatenate([D[:3, 3], turn])


class NormalEquations:
    """Normal equations at one linearisation, in blocks."""

    def __init__(self, problem: BundleProblem, layout: Layout, T: np.ndarray, seen: Seen) -> None:
        """Linearise.

        Args:
            problem: the priors are read.
            layout: its observations.
            T: T_cam_world of the frames. (F, 4, 4)
            seen: the observations from there.
        """
        self.layout, self.count, self.size = layout, len(layout.free), 6 * len(layout.free)
        # 1. Residuals, and slopes with the point, times the root of Huber's weight.
        front = np.isfinite(seen.residual[0])
        r = np.where(front, seen.residual, 0.0)
        weight = np.sqrt(HUBER / np.maximum(errors_of(r), HUBER))
        r *= weight
        iz = 1.0 / np.where(front, seen.points[2], 1.0)
        s = np.where(front, weight * iz / layout.sigma, 0.0)
        u, v = seen.points[0] * iz, seen.points[1] * iz
        R = seen.rotation
        self.a, self.b = s * (R[0] - u * R[2]), s * (R[1] - v * R[2])  # (3, M) each
        # 2. Blocks of the points: sums over their observations.
        rows = [self.a[i] * self.a[j] + self.b[i] * self.b[j] for i, j in _UPPER]
        self.V = np.stack([self._sum_by_point(row) for row in rows])  # (6, P)
        distance = (seen.points[:, layout.first] ** 2).sum(axis=0) + BEHIND
        self.V[[0, 3, 5]] += 1 / (LOOSE**2 * distance)
        gradient = self.a * r[0] + self.b * r[1]
        self.b_X = -np.stack([self._sum_by_point(row) for row in gradient])  # (3, P)
        # 3. Blocks of the free poses.
        self._add_poses(seen.points, r, np.stack([s, s * u, s * v]))
        self._add_priors(problem, T)

    def _sum_by_point(self, row: np.ndarray) -> np.ndarray:
        total = np.bincount(self.layout.run, weights=row, minlength=len(self.layout.seen))
        return total.astype(np.float64, copy=False)  # of nothing it would be integers

    def _add_poses(self, Xc: np.ndarray, r: np.ndarray, slopes: np.ndarray) -> None:
        """Set slopes of both residuals with the twists (m, 6), and the blocks of the poses."""
        on = self.layout.on
        (x, y, z), (s, su, sv), o = Xc[:, on], slopes[:, on], np.zeros(len(on))
        # A row g of the point's slopes gives g on the translation and X x g on the rotation.
        J_a = np.stack([s, o, -su, -su * y, s * z + su * x, -s * y], axis=1)
        J_b = np.stack([o, s, -sv, -(sv * y + s * z), sv * x, s * x], axis=1)
        self.J_a, self.J_b, r = J_a, J_b, r[:, on]
        self.U = np.zeros((self.count, 6, self.count, 6))
        self.b_T = np.zeros((self.count, 6))
        for k in range(self.count):
            mine = self.layout.slot == k
            J = np.concatenate([J_a[mine], J_b[mine]])
            self.U[k, :, k] = J.T @ J
            self.b_T[k] = -J.T @ np.concatenate([r[0, mine], r[1, mine]])

    def _add_priors(self, problem: BundleProblem, T: np.ndarray) -> None:
        slots = np.full(len(problem.free), -1)
        slots[self.layout.free] = np.arange(self.count)
        if problem.steps is not None:
            residual, slope = step_residuals(problem.steps, T)
            for (a, b), one, g in zip(problem.steps.frames, residual, slope, strict=True):
                # A twist moves a centre by -R^T rho alone.
                sides = ((slots[a], T[a, :3, :3] @ g), (slots[b], -T[b, :3, :3] @ g))
                self._add_rank_one([(k, J) for k, J in sides if k >= 0], one)
        for prior in problem.poses:
            k = slots[prior.frame]
            if k >= 0:
                twist = twist_between(T[prior.frame], prior.T_cam_world)
                self.U[k, :, k] += prior.information
                self.b_T[k] -= prior.information @ twist

    def _add_rank_one(self, sides: list[tuple[int, np.ndarray]], residual: float) -> None:
        for k, J in sides:
            self.b_T[k, :3] -= residual * J
            for other, J_other in sides:
                self.U[k, :3, other, :3] += np.outer(J, J_other)

    def _roots(self, damping: float) -> np.ndarray:
        """Return the Cholesky factors C of the damped blocks of the points, V = C C^T. (6, P)

        Rows: C00, C10, C20, C11, C21, C22.
        """
        V = self.V
        grown = V[[0, 3, 5]] * (1.0 + damping)
        c00 = np.sqrt(grown[0])
        c10, c20 = V[1] / c00, V[2] / c00
        c11 = np.sqrt(grown[1] - c10**2)
        c21 = (V[4] - c20 * c10) / c11
        return np.stack([c00, c10, c20, c11, c21, np.sqrt(grown[2] - c20**2 - c21**2)])

    def _coupling(self, C: np.ndarray) -> np.ndarray:
        """Return C^-1 W^T, the coupling of points and poses. (3 P, 6 K)"""
        on, run = self.layout.on, self.layout.run[self.layout.on]
        C = C[:, run]
        a, b = (_forward(C, one[:, on]).T[:, :, None] for one in (self.a, self.b))
        D = np.zeros((len(self.layout.seen), 3, self.count, 6))
        D[run, :, self.layout.slot] = a * self.J_a[:, None] + b * self.J_b[:, None]
        return D.reshape(3 * len(D), self.size)

    def reduced(self) -> np.ndarray:
        """Return the information of the free poses with the points eliminated. (6 K, 6 K)"""
        D = self._coupling(self._roots(0.0))
        return self.U.reshape(self.size, self.size) - D.T @ D

    def solve(self, damping: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the damped step of the free poses (K, 6) and of the seen points (P, 3)."""
        C = self._roots(damping)
        q = _forward(C, self.b_X)
        if self.count == 0:
            return np.zeros((0, 6)), _backward(C, q).T
        D, q_flat = self._coupling(C), q.T.reshape(-1)
        S = self.U.reshape(self.size, self.size) - D.T @ D
        diagonal = np.einsum("ii->i", S)
        diagonal += damping * np.einsum("kiki->ki", self.U).reshape(-1) + 1e-9
        step = np.linalg.solve(S, self.b_T.reshape(-1) - q_flat @ D)
        rest = (q_flat - D @ step).reshape(-1, 3).T
        return step.reshape(-1, 6), _backward(C, rest).T


def _forward(C: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Solve C x = b for many lower triangles. (6, N), (3, N) -> (3, N)"""
    x0 = b[0] / C[0]
    x1 = (b[1] - C[1] * x0) / C[3]
    return np.stack([x0, x1, (b[2] - C[2] * x0 - C[4] * x1) / C[5]])


def _backward(C: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Solve C^T x = b for many lower triangles. (6, N), (3, N) -> (3, N)"""
    x2 = b[2] / C[5]
    x1 = (b[1] - C[4] * x2) / C[3]
    return np.stack([(b[0] - C[1] * x1 - C[2] * x2) / C[0], x1, x2])
