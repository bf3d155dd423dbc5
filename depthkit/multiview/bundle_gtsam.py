# SPDX-License-Identifier: Apache-2.0
"""The same bundle adjustment by GTSAM, as a factor graph: a second opinion on our own solver.

Projection factors with Huber's kernel, Levenberg-Marquardt over poses and points [Dellaert and
Kaess, Factor Graphs for Robot Perception, 2017]. GTSAM is an extra: `pip install depthkit[gtsam]`.
"""

from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np

from depthkit.errors import EngineError
from depthkit.installation import install_line
from depthkit.multiview.bundle_normal import HUBER, LOOSE, errors_of, lay_out, see
from depthkit.multiview.bundle_problem import BundleProblem, BundleSolution, PosePrior
from depthkit.rigid import inverse

GAIN = 1e-4
"""Relative fall of the cost below which the optimum is reached."""
_TURN_FIRST = np.array([3, 4, 5, 0, 1, 2])
"""GTSAM's twists have the rotation first."""


def solve_bundle_gtsam(problem: BundleProblem, *, iterations: int = 6) -> BundleSolution:
    """Minimise the reprojection errors over the free poses and all points, as `solve_bundle` does.

    A point is drawn to its start value with a deviation of LOOSE distances: straight ahead it has
    no depth, and the graph would be singular.

    Args:
        problem: start values and observations.
        iterations: largest number of Levenberg-Marquardt steps.

    Raises:
        EngineError: GTSAM is not installed.
    """
    gtsam = _gtsam()
    used = _in_front(problem)
    layout = lay_out(used)
    free, T, X = layout.free, problem.T_cam_world.copy(), problem.points.copy()
    if len(free) + len(layout.seen) == 0:
        return BundleSolution(T, X, np.zeros(0), np.zeros((0, 0)), 0)
    # 1. The graph, and the start values of its variables: frames, then points.
    graph, values = _graph(gtsam, used), gtsam.Values()
    frames = _frames_of(used)
    for k in frames:
        values.insert(int(k), gtsam.Pose3(inverse(T[k])))
    for p in layout.seen:
        values.insert(len(T) + int(p), X[p])
    # 2. Solve.
    settings = gtsam.LevenbergMarquardtParams()
    settings.setMaxIterations(iterations)
    settings.setRelativeErrorTol(GAIN)
    optimizer = gtsam.LevenbergMarquardtOptimizer(graph, values, settings)
    values = optimizer.optimize() if iterations > 0 else values
    # 3. Read out; held poses keep their bytes.
    for k in free:
        if values.exists(int(k)):
            T[k] = inverse(values.atPose3(int(k)).matrix())
    for p in layout.seen:
        X[p] = values.atPoint3(len(T) + int(p))
    return BundleSolution(
        T,
        X,
        _errors(problem, T, X),
        _information(gtsam, graph, values, free),
        optimizer.iterations(),
    )


def _gtsam() -> ModuleType:
    try:
        import gtsam
    except ImportError as error:
        raise EngineError(
            f"solver 'gtsam' needs GTSAM (Python 3.11 or newer); run: {install_line('gtsam')}"
        ) from error
    return gtsam


def _in_front(problem: BundleProblem) -> BundleProblem:
    """Leave out observations of points that start behind their camera."""
    layout = lay_out(problem)
    front = np.empty(len(layout.order), bool)
    residual = see(problem.T_cam_world, problem.points, layout).residual
    front[layout.order] = np.isfinite(residual[0])
    named = ("frame", "point", "rays", "sigma")
    return replace(problem, **{name: getattr(problem, name)[front] for name in named})


def _frames_of(problem: BundleProblem) -> np.ndarray:
    """List the free frames and those that any factor names."""
    steps = np.zeros(0, int) if problem.steps is None else problem.steps.frames.reshape(-1)
    priors = np.array([one.frame for one in problem.poses], int)
    free = np.flatnonzero(problem.free)
    return np.unique(np.concatenate([problem.frame, steps, priors, free]))


def _graph(gtsam: Any, problem: BundleProblem) -> Any:
    graph, count = gtsam.NonlinearFactorGraph(), len(problem.free)
    # 1. Held poses.
    for k in _frames_of(problem):
        if not problem.free[k]:
            pose = gtsam.Pose3(inverse(problem.T_cam_world[k]))
            graph.add(gtsam.NonlinearEqualityPose3(int(k), pose))
    # 2. Observations on the plane z = 1, in the order of points.
    camera, huber = gtsam.Cal3_S2(1.0, 1.0, 0.0, 0.0, 0.0), gtsam.noiseModel.mEstimator.Huber
    noises = {
        float(sigma): gtsam.noiseModel.Robust.Create(
            huber.Create(HUBER), gtsam.noiseModel.Isotropic.Sigma(2, float(sigma))
        )
        for sigma in np.unique(problem.sigma)
    }
    layout = lay_out(problem)
    for ray, sigma, k, p in zip(
        layout.rays.T, layout.sigma, layout.frame.tolist(), layout.point.tolist(), strict=True
    ):
        factor = gtsam.GenericProjectionFactorCal3_S2
        graph.add(factor(ray, noises[float(sigma)], k, count + p, camera))
    # 3. Points without a depth of their own.
    Xc = see(problem.T_cam_world, problem.points, layout).points[:, layout.first]
    for p, distance in zip(layout.seen, np.linalg.norm(Xc, axis=0), strict=True):
        noise = gtsam.noiseModel.Isotropic.Sigma(3, LOOSE * float(distance))
        graph.add(gtsam.PriorFactorPoint3(count + int(p), problem.points[p], noise))
    # 4. What is known of lengths and poses.
    _add_steps(gtsam, graph, problem)
    for prior in problem.poses:
        graph.add(_pose_factor(gtsam, prior))
    return graph


def _pose_factor(gtsam: Any, prior: PosePrior) -> Any:
    """Draw a pose; GTSAM's twist acts on the right of T_world_cam, so it is ours with the sign
    changed, which an information does not see."""
    information = prior.information[np.ix_(_TURN_FIRST, _TURN_FIRST)]
    noise = gtsam.noiseModel.Gaussian.Information(information)
    return gtsam.PriorFactorPose3(prior.frame, gtsam.Pose3(inverse(prior.T_cam_world)), noise)


def _add_steps(gtsam: Any, graph: Any, problem: BundleProblem) -> None:
    """Add the logarithms of known lengths, as factors of our own."""
    if problem.steps is None:
        return
    steps = problem.steps
    for (a, b), length, sigma in zip(steps.frames, steps.lengths, steps.sigma, strict=True):
        noise = gtsam.noiseModel.Isotropic.Sigma(1, float(sigma))
        keys = [int(a), int(b)]
        graph.add(gtsam.CustomFactor(noise, keys, _log_length(float(np.log(length)))))


def _log_length(told: float) -> Any:
    """Return the error function of a told length: its logarithm and slopes with both poses."""

    def error(factor: Any, values: Any, slopes: list[np.ndarray] | None) -> np.ndarray:
        first, second = (values.atPose3(key) for key in factor.keys())  # noqa: SIM118 (no dict)
        between = second.translation() - first.translation()
        length = max(float(np.linalg.norm(between)), 1e-9)
        if slopes is not None:
            # A twist moves a centre by R v.
            for i, (pose, sign) in enumerate(((first, -1.0), (second, 1.0))):
                slope = sign * between @ pose.rotation().matrix() / length**2
                slopes[i] = np.concatenate([np.zeros(3), slope])[None]
        return np.array([np.log(length) - told])

    return error


def _errors(problem: BundleProblem, T: np.ndarray, X: np.ndarray) -> np.ndarray:
    layout, errors = lay_out(problem), np.empty(len(problem.frame))
    errors[layout.order] = errors_of(see(T, X, layout).residual)
    return errors


def _information(gtsam: Any, graph: Any, values: Any, free: np.ndarray) -> np.ndarray:
    """Return the marginal information of the free poses, in our order of twists. (6 K, 6 K)"""
    if len(free) == 0:
        return np.zeros((0, 0))
    joint = gtsam.Marginals(graph, values).jointMarginalInformation([int(k) for k in free])
    order = (6 * np.arange(len(free))[:, None] + _TURN_FIRST).reshape(-1)
    return joint.fullMatrix()[np.ix_(order, order)]
