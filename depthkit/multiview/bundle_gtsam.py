# SPDX-License-Identifier: Apache-2.0
"""The same bundle adjustment by GTSAM, as a factor graph: a second opinion on our own solver.

Projection factors with Huber's kernel, Levenberg-Marquardt over poses and points [Dellaert and
Kaess, Factor Graphs for Robot Perception, 2017]. GTSAM is the extra `gtsam`.
"""

from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np

from depthkit.errors import EngineError
from depthkit.installation import install_line
from depthkit.multiview.bundle_normal import (
    HUBER,
    LOOSE,
    centres_of,
    errors_of,
    lay_out,
    see,
)
from depthkit.multiview.bundle_problem import BundleProblem, BundleSolution, PosePrior, StepPrior
from depthkit.rigid import inverse

GAIN = 1e-4
"""Relative fall of the cost below which the optimum is reached."""
SINGULAR = 2000.0
"""Ratio of a point's largest to its smallest deviation up to which GTSAM solves for it: it takes a
ratio of pivots above 2^12 for singular."""
SAME_SCALE = 1e-3
"""Relative deviation of the scale while a problem is solved in which nothing fixes it."""
UNTIED = 500.0
"""Standard deviation of a pose around its start value, units and radians."""
_TURN_FIRST = np.array([3, 4, 5, 0, 1, 2])
"""GTSAM's twists have the rotation first."""


def solve_bundle_gtsam(problem: BundleProblem, *, iterations: int = 6) -> BundleSolution:
    """Minimise the reprojection errors over the free poses and all points, as `solve_bundle` does.

    Five to ten times the time of our own solver.

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
    for k in free:
        values.insert(int(k), gtsam.Pose3(inverse(T[k])))
    for p in layout.seen:
        values.insert(len(T) + int(p), X[p])
    # 2. Step by step, each with the points held loosely where they are.
    settings = gtsam.LevenbergMarquardtParams()
    settings.setMaxIterations(1)
    held_scale = _with_scale_held(used)
    cost, done = graph.error(values), 0
    for done in range(1, iterations + 1):  # noqa: B007 (reported)
        loose = _with_points(gtsam, graph, values, used)
        if held_scale is not used:
            _add_steps(gtsam, loose, held_scale)
        values = gtsam.LevenbergMarquardtOptimizer(loose, values, settings).optimize()
        before, cost = cost, graph.error(values)
        if before - cost <= GAIN * before:
            break
    # 3. Read out; held poses keep their bytes.
    for k in free:
        T[k] = inverse(values.atPose3(int(k)).matrix())
    for p in layout.seen:
        X[p] = values.atPoint3(len(T) + int(p))
    information = _information(gtsam, _with_points(gtsam, graph, values, used), values, free)
    return BundleSolution(T, X, _errors(problem, T, X), information, done)


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


def _graph(gtsam: Any, problem: BundleProblem) -> Any:
    """Build the graph; held poses are no variables but known cameras."""
    graph, count = gtsam.NonlinearFactorGraph(), len(problem.free)
    # 1. Observations on the plane z = 1, in the order of points.
    K, layout = gtsam.Cal3_S2(1.0, 1.0, 0.0, 0.0, 0.0), lay_out(problem)
    held = {
        int(k): gtsam.PinholeCameraCal3_S2(gtsam.Pose3(inverse(problem.T_cam_world[k])), K)
        for k in np.flatnonzero(~problem.free)
    }
    huber = gtsam.noiseModel.mEstimator.Huber.Create(HUBER)
    noises = {
        float(sigma): gtsam.noiseModel.Robust.Create(
            huber, gtsam.noiseModel.Isotropic.Sigma(2, float(sigma))
        )
        for sigma in np.unique(problem.sigma)
    }
    for ray, sigma, k, p in zip(
        layout.rays.T, layout.sigma, layout.frame.tolist(), layout.point.tolist(), strict=True
    ):
        noise = noises[float(sigma)]
        if k in held:
            graph.add(gtsam.TriangulationFactorCal3_S2(held[k], ray, noise, count + p))
        else:
            graph.add(gtsam.GenericProjectionFactorCal3_S2(ray, noise, k, count + p, K))
    # 2. Poses: what is known of them and of lengths.
    untied = gtsam.noiseModel.Isotropic.Sigma(6, UNTIED)
    for k in layout.free:
        pose = gtsam.Pose3(inverse(problem.T_cam_world[k]))
        graph.add(gtsam.PriorFactorPose3(int(k), pose, untied))
    _add_steps(gtsam, graph, problem)
    for prior in problem.poses:
        if problem.free[prior.frame]:
            graph.add(_pose_factor(gtsam, prior))
    return graph


def _with_points(gtsam: Any, graph: Any, values: Any, problem: BundleProblem) -> Any:
    """Return the graph with every point drawn to where it is, as `solve_bundle` damps its steps.

    Straight ahead a point has no depth of its own, and the graph would be singular. A prior about
    the first start value instead drew far points near (MH_01: 0.024 m in place of 0.005).
    """
    whole, count, layout = gtsam.NonlinearFactorGraph(), len(problem.free), lay_out(problem)
    whole.push_back(graph)
    views = np.bincount(layout.run, minlength=len(layout.seen))
    loose = np.minimum(LOOSE, SINGULAR * layout.sigma[layout.first] / np.sqrt(views))
    Xc = see(problem.T_cam_world, problem.points, layout).points[:, layout.first]
    for p, sigma in zip(layout.seen, loose * np.linalg.norm(Xc, axis=0), strict=True):
        key, noise = count + int(p), gtsam.noiseModel.Isotropic.Sigma(3, float(sigma))
        whole.add(gtsam.PriorFactorPoint3(key, values.atPoint3(key), noise))
    return whole


def _with_scale_held(problem: BundleProblem) -> BundleProblem:
    """Return the problem with its scale kept at the start values, where nothing else fixes it.

    With one held pose alone the scale is free, and GTSAM lets it wander: over the first eight
    keyframes of MH_01 by a sixth. The length to the farthest camera is held.
    """
    held, free = np.flatnonzero(~problem.free), np.flatnonzero(problem.free)
    if len(held) != 1 or len(free) == 0 or problem.steps is not None or problem.poses:
        return problem
    centres = centres_of(problem.T_cam_world)
    lengths = np.linalg.norm(centres[free] - centres[held[0]], axis=1)
    farthest = int(lengths.argmax())
    if lengths[farthest] < 1e-9:
        return problem
    ends = np.array([[held[0], free[farthest]]])
    return replace(
        problem, steps=StepPrior(ends, lengths[farthest : farthest + 1], np.array([SAME_SCALE]))
    )


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
    steps, centres = problem.steps, centres_of(problem.T_cam_world)
    for ends, length, sigma in zip(steps.frames, steps.lengths, steps.sigma, strict=True):
        free = [int(k) for k in ends if problem.free[k]]
        known = [centres[k] for k in ends if not problem.free[k]]
        if free:
            noise = gtsam.noiseModel.Isotropic.Sigma(1, float(sigma))
            error = _log_length(float(np.log(length)), known)
            graph.add(gtsam.CustomFactor(noise, free, error))


def _log_length(told: float, known: list[np.ndarray]) -> Any:
    """Return the error function of a told length: its logarithm and slopes with the free poses.

    Args:
        told: logarithm of the length.
        known: centre of the end that is held, if one is.
    """

    def error(factor: Any, values: Any, slopes: list[np.ndarray] | None) -> np.ndarray:
        poses = [values.atPose3(key) for key in factor.keys()]  # noqa: SIM118 (no dict)
        ends = known + [pose.translation() for pose in poses]
        between = ends[1] - ends[0]
        length = max(float(np.linalg.norm(between)), 1e-9)
        if slopes is not None:
            # A twist moves a centre by R v; the last pose is the second end.
            for i, (pose, sign) in enumerate(zip(reversed(poses), (1.0, -1.0), strict=False)):
                slope = sign * between @ pose.rotation().matrix() / length**2
                slopes[len(poses) - 1 - i] = np.concatenate([np.zeros(3), slope])[None]
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
