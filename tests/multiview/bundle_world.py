# SPDX-License-Identifier: Apache-2.0
"""Random points seen by cameras on a path, exactly: problems for the tests of both solvers."""

from dataclasses import replace

import numpy as np

from depthkit.multiview.bundle import BundleProblem
from depthkit.rigid import exp_se3, log_se3

SIGMA = 1e-3
"""Standard deviation of a ray: half a pixel at a focal length of 500."""


def seen_from(T: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Project points with their own cameras. (M, 4, 4), (M, 3) -> (M, 2)"""
    Xc = (T[:, :3, :3] @ X[:, :, None])[..., 0] + T[:, :3, 3]
    return Xc[:, :2] / Xc[:, 2:]


def exact(frames: int = 6, points: int = 60, held: int = 2, seed: int = 0) -> BundleProblem:
    """Cameras half a metre apart, sideways and forward; every camera sees every second point."""
    rng = np.random.default_rng(seed)
    twists = 0.05 * rng.normal(size=(frames, 6))
    twists[:, 0] -= 0.4 * np.arange(frames)
    twists[:, 2] -= 0.3 * np.arange(frames)
    T = exp_se3(twists)
    X = np.column_stack([rng.uniform(-3, 5, points), rng.uniform(-3, 3, points)])
    X = np.column_stack([X, rng.uniform(6, 15, points)])
    frame, point = np.nonzero((np.arange(frames)[:, None] + np.arange(points)[None]) % 3 > 0)
    rays = seen_from(T[frame], X[point])
    free = np.arange(frames) >= held
    return BundleProblem(T, free, X, frame, point, rays, np.full(len(rays), SIGMA))


def with_noise(problem: BundleProblem, seed: int = 0, sigmas: float = 1.0) -> BundleProblem:
    """Add Gaussian noise to the rays."""
    noise = np.random.default_rng(seed).normal(size=problem.rays.shape) * sigmas * SIGMA
    return replace(problem, rays=problem.rays + noise)


def moved_start(problem: BundleProblem, seed: int = 1, size: float = 0.02) -> BundleProblem:
    """Start the free poses and all points beside the truth."""
    rng = np.random.default_rng(seed)
    twists = size * rng.normal(size=(len(problem.free), 6)) * problem.free[:, None]
    T = np.where(problem.free[:, None, None], exp_se3(twists) @ problem.T_cam_world, 0.0)
    T[~problem.free] = problem.T_cam_world[~problem.free]
    return replace(
        problem,
        T_cam_world=T,
        points=problem.points + 5 * size * rng.normal(size=problem.points.shape),
    )


def twists_between(T: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Twists on the left that take the others to these, in one row. (F, 4, 4) -> (6 F,)"""
    return log_se3(T @ np.linalg.inv(other)).reshape(-1)
