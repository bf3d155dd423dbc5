# SPDX-License-Identifier: Apache-2.0
"""Bundle adjustment: poses and points from the pixels where several frames see them.

Levenberg-Marquardt on robust reprojection errors; the points are eliminated first (Schur
complement), so that a step costs one small dense system of the free poses [Triggs et al., Bundle
Adjustment: A Modern Synthesis, 2000, section 6].
"""

import numpy as np

from depthkit.multiview.bundle_normal import (
    Layout,
    NormalEquations,
    cost_of,
    errors_of,
    lay_out,
    prior_cost,
    see,
)
from depthkit.multiview.bundle_problem import BundleProblem, BundleSolution, PosePrior, StepPrior
from depthkit.rigid import exp_se3, straightened

__all__ = ["BundleProblem", "BundleSolution", "PosePrior", "StepPrior", "solve_bundle"]

GAIN = 1e-4
"""Relative fall of the cost below which the optimum is reached."""
STUCK = 1e4
"""Damping above which no step is tried any more."""


def solve_bundle(problem: BundleProblem, *, iterations: int = 6) -> BundleSolution:
    """Minimise the reprojection errors over the free poses and all points.

    Same input, same bytes, in whatever order the observations come. At least one frame must be
    held, or a pose prior given, and the scale needs a second one or a step prior; without them the
    damping holds what is undetermined.

    Args:
        problem: start values and observations.
        iterations: largest number of Levenberg-Marquardt steps.
    """
    layout = lay_out(problem)
    T, X = problem.T_cam_world.copy(), problem.points.copy()
    seen = see(T, X, layout)
    cost = cost_of(seen.residual) + prior_cost(problem, T)
    system = NormalEquations(problem, layout, T, seen)
    damping, done = 1e-4, 0
    while done < iterations and damping <= STUCK:
        done += 1
        T_new, X_new = _moved(T, X, layout, *system.solve(damping))
        seen_new = see(T_new, X_new, layout)
        cost_new = cost_of(seen_new.residual) + prior_cost(problem, T_new)
        if not cost_new < cost:  # neither where it is no number
            damping *= 100.0
            continue
        gain, cost = (cost - cost_new) / cost, cost_new
        T, X, seen = T_new, X_new, seen_new
        system = NormalEquations(problem, layout, T, seen)
        damping = max(damping * 0.1, 1e-9)
        if gain < GAIN:
            break
    errors = np.empty(len(layout.order))
    errors[layout.order] = errors_of(seen.residual)
    return BundleSolution(T, X, errors, system.reduced(), done)


def _moved(
    T: np.ndarray, X: np.ndarray, layout: Layout, step_T: np.ndarray, step_X: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    T, X = T.copy(), X.copy()
    T[layout.free] = straightened(exp_se3(step_T) @ T[layout.free])
    X[layout.seen] += step_X
    return T, X
