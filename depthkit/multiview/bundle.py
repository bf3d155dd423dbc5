# SPDX-License-Identifier: Apache-2.0
"""Bundle adjustment: poses and points from the pixels where several frames see them.

Levenberg-Marquardt on robust reprojection errors; the points are eliminated first (Schur
complement), so that a step costs one small dense system of the free poses [Triggs et al., Bundle
Adjustment: A Modern Synthesis, 2000, section 6].
"""

from dataclasses import dataclass, replace

import numpy as np

from depthkit.rigid import exp_se3, skew, straightened

HUBER = 2.0
"""Reprojection error above which an observation's weight falls, standard deviations."""
BEHIND = 1e-3
"""Smallest depth in front of a camera, in units of the world, at which a projection is defined."""
LOOSE = 2.0
"""Standard deviation of a step of a point, in its distances: a point that its observations leave
undetermined (straight ahead, or seen once) stays where it is."""


@dataclass(frozen=True, eq=False)
class StepPrior:
    """Known lengths between the centres of frames, each with its own certainty."""

    frames: np.ndarray
    """Indices of both frames. (S, 2) int"""
    lengths: np.ndarray
    """Lengths in the unit of the world. (S,)"""
    sigma: np.ndarray
    """Standard deviations of the lengths' logarithms. (S,)"""


@dataclass(frozen=True, eq=False)
class PosePrior:
    """What is known of one frame's pose from elsewhere, as an information matrix about it."""

    frame: int
    """Index of the frame."""
    T_cam_world: np.ndarray
    """The pose it is drawn to. (4, 4)"""
    information: np.ndarray
    """Inverse covariance of the twist that takes it to the pose, translation first. (6, 6)"""


@dataclass(frozen=True, eq=False)
class BundleProblem:
    """Frames, points and observations; the order of observations does not matter."""

    T_cam_world: np.ndarray
    """Start values. (F, 4, 4)"""
    free: np.ndarray
    """Frames that are optimised; the others are held. (F,) bool"""
    points: np.ndarray
    """Start values. (N, 3)"""
    frame: np.ndarray
    """Frame of each observation. (M,) int"""
    point: np.ndarray
    """Point of each observation; a frame sees a point once. (M,) int"""
    rays: np.ndarray
    """Observed position on the plane z = 1. (M, 2)"""
    sigma: np.ndarray
    """Standard deviation of `rays`, the pixel's over the focal length. (M,)"""
    steps: StepPrior | None = None
    poses: tuple[PosePrior, ...] = ()


@dataclass(frozen=True, eq=False)
class BundleSolution:
    """The optimum, and what the observations say about it."""

    T_cam_world: np.ndarray
    """(F, 4, 4)"""
    points: np.ndarray
    """(N, 3)"""
    errors: np.ndarray
    """Reprojection error of each observation, standard deviations; infinite behind the camera.
    (M,)"""
    information: np.ndarray
    """Information of the free poses with the points eliminated, as twists on the left of
    `T_cam_world`, translation first. (6 free, 6 free)"""
    iterations: int


@dataclass(frozen=True, eq=False)
class _Layout:
    """Observations sorted by point, so that sums over a point are sums over a run."""

    frame: np.ndarray
    point: np.ndarray
    rays: np.ndarray
    sigma: np.ndarray
    starts: np.ndarray
    """Index of each seen point's first observation. (P,)"""
    seen: np.ndarray
    """Points with an observation. (P,)"""
    run: np.ndarray
    """Which of the seen points an observation belongs to. (M,)"""
    slot: np.ndarray
    """Index of an observation's frame among the free ones; -1 where it is held. (M,)"""
    free: np.ndarray
    """Indices of the free frames. (K,)"""


def solve_bundle(problem: BundleProblem, *, iterations: int = 6) -> BundleSolution:
    """Minimise the reprojection errors over the free poses and all points.

    Same input, same bytes. At least one frame must be held, or a pose prior given, and the scale
    needs a second one or a step prior; without them the damping holds what is undetermined.

    Args:
        problem: start values and observations.
        iterations: largest number of Levenberg-Marquardt steps.
    """
    layout = _sort(problem)
    T, X = problem.T_cam_world.copy(), problem.points.copy()
    residual, Xc = _residuals(T, X, layout)
    cost = _cost(residual) + _prior_cost(problem, T)
    damping, done = 1e-4, 0
    for done in range(1, iterations + 1):  # noqa: B007 (reported)
        system = _Normal(problem, layout, T, residual, Xc)
        step_T, step_X = system.solve(damping)
        T_new, X_new = _moved(T, X, layout, step_T, step_X)
        residual_new, Xc_new = _residuals(T_new, X_new, layout)
        cost_new = _cost(residual_new) + _prior_cost(problem, T_new)
        if cost_new < cost:
            gain, cost = (cost - cost_new) / cost, cost_new
            T, X, residual, Xc = T_new, X_new, residual_new, Xc_new
            damping = max(damping * 0.1, 1e-9)
            if gain < 1e-4:
                break
        else:
            damping *= 100.0
            if damping > 1e4:
                break
    information = _Normal(problem, layout, T, residual, Xc).reduced(0.0)
    errors = np.empty(len(residual))
    errors[_order(problem)] = np.sqrt((residual**2).sum(axis=1))
    return BundleSolution(T, X, errors, information, done)


def _order(problem: BundleProblem) -> np.ndarray:
    return np.argsort(problem.point, kind="stable")


def _sort(problem: BundleProblem) -> _Layout:
    order = _order(problem)
    point, frame = problem.point[order], problem.frame[order]
    seen, starts, run = np.unique(point, return_index=True, return_inverse=True)
    free = np.flatnonzero(problem.free)
    slots = np.full(len(problem.free), -1)
    slots[free] = np.arange(len(free))
    rays, sigma = problem.rays[order], problem.sigma[order]
    return _Layout(frame, point, rays, sigma, starts, seen, run, slots[frame], free)


def _residuals(T: np.ndarray, X: np.ndarray, layout: _Layout) -> tuple[np.ndarray, np.ndarray]:
    """Return the whitened residuals (infinite behind the camera) and the points in the camera."""
    R, t = T[:, :3, :3], T[:, :3, 3]
    Xc = (R[layout.frame] @ X[layout.point][:, :, None])[..., 0] + t[layout.frame]  # (M, 3)
    front = Xc[:, 2] > BEHIND
    with np.errstate(divide="ignore", invalid="ignore"):
        residual = (Xc[:, :2] / Xc[:, 2:] - layout.rays) / layout.sigma[:, None]
    residual[~front] = np.inf
    return residual, Xc


def _huber(residual: np.ndarray) -> np.ndarray:
    """Weights of the reweighted least squares: 1 inside HUBER, falling with 1 / error, 0 behind."""
    error = np.sqrt((residual**2).sum(axis=1))
    return np.where(error <= HUBER, 1.0, HUBER / np.maximum(error, HUBER))


def _cost(residual: np.ndarray) -> float:
    """Huber's cost; a point behind a camera costs as much as one 100 deviations away."""
    error = np.minimum(np.sqrt((residual**2).sum(axis=1)), 100.0)
    far = error > HUBER
    return float(np.where(far, HUBER * (2 * error - HUBER), error**2).sum())


def _prior_cost(problem: BundleProblem, T: np.ndarray) -> float:
    total = 0.0
    if problem.steps is not None:
        residual, _ = _step_residuals(problem.steps, T)
        total += float((residual**2).sum())
    for prior in problem.poses:
        twist = _twist_between(T[prior.frame], prior.T_cam_world)
        total += float(twist @ prior.information @ twist)
    return total


def _centres(T: np.ndarray) -> np.ndarray:
    """Camera centres in the world. (F, 4, 4) -> (F, 3)"""
    return -np.einsum("fji,fj->fi", T[:, :3, :3], T[:, :3, 3])


def _step_residuals(steps: StepPrior, T: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whitened log ratios of the lengths, and their slope with the second centre. (S,), (S, 3)"""
    c = _centres(T)
    between = c[steps.frames[:, 1]] - c[steps.frames[:, 0]]
    length = np.maximum(np.linalg.norm(between, axis=1), 1e-9)
    residual = (np.log(length) - np.log(steps.lengths)) / steps.sigma
    return residual, between / (length**2 * steps.sigma)[:, None]


def _twist_between(T: np.ndarray, T_prior: np.ndarray) -> np.ndarray:
    """Small twist that takes the prior's pose to this one, to first order. (6,)"""
    D = T @ np.linalg.inv(T_prior)
    turn = 0.5 * np.array([D[2, 1] - D[1, 2], D[0, 2] - D[2, 0], D[1, 0] - D[0, 1]])
    return np.concatenate([D[:3, 3], turn])


class _Normal:
    """Normal equations at one linearisation, in blocks."""

    def __init__(
        self,
        problem: BundleProblem,
        layout: _Layout,
        T: np.ndarray,
        residual: np.ndarray,
        Xc: np.ndarray,
    ) -> None:
        self.layout, self.count = layout, len(layout.free)
        # 1. Jacobians of the whitened residuals, times the root of Huber's weight.
        front = np.isfinite(residual[:, 0])
        weight = np.where(front, np.sqrt(_huber(np.where(front[:, None], residual, 0.0))), 0.0)
        r = np.where(front[:, None], residual, 0.0) * weight[:, None]
        J_c = _projection_slopes(Xc, front) * (weight / layout.sigma)[:, None, None]  # (M, 2, 3)
        J_X = J_c @ T[layout.frame, :3, :3]  # (M, 2, 3)
        # 2. Blocks of the points: sums over runs of observations.
        outer = np.einsum("mki,mkj->mij", J_X, J_X).reshape(-1, 9)
        self.V = np.add.reduceat(outer, layout.starts, axis=0).reshape(-1, 3, 3)
        distance = (Xc[layout.starts] ** 2).sum(axis=1) + BEHIND
        np.einsum("pii->pi", self.V)[:] += (1 / (LOOSE**2 * distance))[:, None]
        self.b_X = -np.add.reduceat(np.einsum("mki,mk->mi", J_X, r), layout.starts, axis=0)
        # 3. Blocks of the free poses, and the dense coupling (K, 6, P, 3).
        on = layout.slot >= 0
        J_T = np.concatenate([J_c[on], -J_c[on] @ skew(Xc[on])], axis=2)  # (m, 2, 6)
        slot = layout.slot[on]
        self.U = np.zeros((self.count, 6, self.count, 6))
        self.b_T = np.zeros((self.count, 6))
        for k in range(self.count):
            mine = slot == k
            J = J_T[mine].reshape(-1, 6)
            self.U[k, :, k] = J.T @ J
            self.b_T[k] = -J.T @ r[on][mine].reshape(-1)
        self.W = np.zeros((self.count, len(layout.seen), 6, 3))
        self.W[slot, layout.run[on]] = np.einsum("mki,mkj->mij", J_T, J_X[on])
        self._add_priors(problem, T)

    def _add_priors(self, problem: BundleProblem, T: np.ndarray) -> None:
        slots = np.full(len(problem.free), -1)
        slots[self.layout.free] = np.arange(self.count)
        if problem.steps is not None:
            residual, slope = _step_residuals(problem.steps, T)
            for (a, b), one, g in zip(problem.steps.frames, residual, slope, strict=True):
                # A twist moves a centre by -R^T rho alone.
                sides = ((slots[a], T[a, :3, :3] @ g), (slots[b], -T[b, :3, :3] @ g))
                self._add_rank_one([(k, J) for k, J in sides if k >= 0], one)
        for prior in problem.poses:
            k = slots[prior.frame]
            if k >= 0:
                twist = _twist_between(T[prior.frame], prior.T_cam_world)
                self.U[k, :, k] += prior.information
                self.b_T[k] -= prior.information @ twist

    def _add_rank_one(self, sides: list[tuple[int, np.ndarray]], residual: float) -> None:
        for k, J in sides:
            self.b_T[k, :3] -= residual * J
            for other, J_other in sides:
                self.U[k, :3, other, :3] += np.outer(J, J_other)

    def _eliminated(self, damping: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the damped inverse blocks of the points, W V^-1, and the reduced matrix."""
        size = 6 * self.count
        V = self.V.copy()
        diagonal = np.einsum("pii->pi", V)
        diagonal += damping * diagonal
        V_inverse = np.linalg.inv(V)
        WV = self.W @ V_inverse  # (K, P, 6, 3)
        W = self.W.transpose(0, 2, 1, 3).reshape(size, -1)
        S = self.U.reshape(size, size) - WV.transpose(0, 2, 1, 3).reshape(size, -1) @ W.T
        return V_inverse, WV, S

    def reduced(self, damping: float) -> np.ndarray:
        """Return the information of the free poses with the points eliminated. (6 K, 6 K)"""
        return self._eliminated(damping)[2]

    def solve(self, damping: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the damped step of the free poses (K, 6) and of the seen points (P, 3)."""
        V_inverse, WV, S = self._eliminated(damping)
        g = self.b_T - np.einsum("kpij,pj->ki", WV, self.b_X)
        step_T = np.zeros((self.count, 6))
        if self.count:
            diagonal = damping * np.einsum("kiki->ki", self.U).reshape(-1) + 1e-9
            step_T = np.linalg.solve(S + np.diag(diagonal), g.reshape(-1)).reshape(-1, 6)
        rest = self.b_X - np.einsum("kpij,ki->pj", self.W, step_T)
        return step_T, (V_inverse @ rest[:, :, None])[..., 0]


def _projection_slopes(Xc: np.ndarray, front: np.ndarray) -> np.ndarray:
    """Slopes of (x / z, y / z) with the point in the camera; 0 behind it. (M, 2, 3)"""
    z = np.where(front, Xc[:, 2], 1.0)
    J = np.zeros((len(Xc), 2, 3))
    J[:, 0, 0] = J[:, 1, 1] = 1 / z
    J[:, 0, 2], J[:, 1, 2] = -Xc[:, 0] / z**2, -Xc[:, 1] / z**2
    return J


def _moved(
    T: np.ndarray, X: np.ndarray, layout: _Layout, step_T: np.ndarray, step_X: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    T, X = T.copy(), X.copy()
    T[layout.free] = straightened(exp_se3(step_T) @ T[layout.free])
    X[layout.seen] += step_X
    return T, X


def held(problem: BundleProblem) -> BundleProblem:
    """Return the problem with all poses held: the points alone are optimised."""
    return replace(problem, free=np.zeros(len(problem.free), bool))
