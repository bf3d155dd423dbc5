# SPDX-License-Identifier: Apache-2.0
"""GTSAM and our own solver agree: poses, points, errors, information, priors."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from bundle_world import SIGMA, exact, moved_start, twists_between, with_noise

from depthkit.errors import EngineError
from depthkit.multiview.bundle import BundleProblem, PosePrior, StepPrior, solve_bundle
from depthkit.multiview.bundle_gtsam import solve_bundle_gtsam
from depthkit.rigid import exp_se3


def both(problem: BundleProblem, iterations: int = 30) -> tuple:
    """Solve with both solvers, or skip where GTSAM is missing."""
    pytest.importorskip("gtsam", reason="extra [gtsam] is not installed")
    return solve_bundle(problem, iterations=iterations), solve_bundle_gtsam(
        problem, iterations=iterations
    )


def in_sigmas(ours: object, theirs: object, free: np.ndarray) -> float:
    """Root mean square of the difference of the free poses, in the metric of the information."""
    twists = twists_between(theirs.T_cam_world[free], ours.T_cam_world[free])
    return float(np.sqrt(twists @ ours.information @ twists / len(twists)))


def test_exact_observations_give_the_truth() -> None:
    """Both find poses and points; the weak prior of GTSAM's points pulls by 1e-6 of a distance."""
    truth = exact()
    _, theirs = both(moved_start(truth))
    assert np.abs(theirs.T_cam_world - truth.T_cam_world).max() < 1e-4
    assert np.abs(theirs.points - truth.points).max() < 1e-2
    assert (theirs.T_cam_world[:2] == truth.T_cam_world[:2]).all()


@pytest.mark.parametrize("seed", range(3))
def test_noisy_observations_give_the_same_poses(seed: int) -> None:
    """With noise and wrong observations the poses differ by less than a tenth of their sigma."""
    problem = with_noise(moved_start(exact(points=80), seed), seed)
    rays = problem.rays.copy()
    rays[::25] += 20 * SIGMA
    ours, theirs = both(replace(problem, rays=rays))
    assert in_sigmas(ours, theirs, problem.free) < 0.1
    assert np.abs(ours.errors - theirs.errors).max() < 0.5
    scale = np.sqrt(np.outer(np.diag(ours.information), np.diag(ours.information)))
    assert np.abs((ours.information - theirs.information) / scale).max() < 0.02


def test_priors_mean_the_same() -> None:
    """A told length and a pose from elsewhere act alike in both."""
    truth = exact(held=1)
    T = exp_se3(np.array([0.02, -0.01, 0.03, 0.01, 0, -0.02])) @ truth.T_cam_world[4]
    information = np.diag([400.0, 500, 600, 7000, 8000, 9000])
    information[0, 4] = information[4, 0] = 300.0
    problem = replace(
        with_noise(truth),
        steps=StepPrior(np.array([[0, 1], [2, 3]]), np.array([0.6, 0.55]), np.array([0.05, 0.02])),
        poses=(PosePrior(4, T, information),),
    )
    ours, theirs = both(problem, iterations=60)
    assert in_sigmas(ours, theirs, problem.free) < 0.15
    without = solve_bundle(with_noise(exact()), iterations=60)
    assert in_sigmas(ours, without, problem.free) > 1.0, "the priors move the poses at all"


def test_a_point_behind_its_camera_is_left_out() -> None:
    """Its error is infinite and the graph is solved without it."""
    truth = exact()
    behind = replace(
        truth,
        points=np.concatenate([truth.points, [[0.0, 0.0, -5.0]]]),
        frame=np.append(truth.frame, 4),
        point=np.append(truth.point, len(truth.points)),
        rays=np.concatenate([truth.rays, [[0.1, 0.1]]]),
        sigma=np.append(truth.sigma, SIGMA),
    )
    _, theirs = both(behind)
    assert np.isinf(theirs.errors[-1]) and theirs.errors[:-1].max() < 0.1


def test_same_bytes_twice_in_any_order() -> None:
    """The graph is built in the order of points, whatever that of the observations."""
    problem = with_noise(moved_start(exact(points=30)))
    order = np.random.default_rng(0).permutation(len(problem.frame))
    named = ("frame", "point", "rays", "sigma")
    shuffled = replace(problem, **{name: getattr(problem, name)[order] for name in named})
    (_, first), (_, other) = both(problem, 5), both(shuffled, 5)
    assert first.T_cam_world.tobytes() == other.T_cam_world.tobytes()
    assert first.points.tobytes() == other.points.tobytes()


def test_nothing_free_and_nothing_seen() -> None:
    """Held poses alone come back; with points it is a triangulation."""
    truth = exact(frames=3, points=10)
    none = np.zeros(0, int)
    held = replace(truth, free=np.zeros(3, bool))
    empty = replace(held, frame=none, point=none, rays=np.zeros((0, 2)), sigma=np.zeros(0))
    _, theirs = both(empty)
    assert (theirs.T_cam_world == truth.T_cam_world).all() and len(theirs.errors) == 0
    _, points = both(replace(held, points=truth.points * 1.02))
    assert np.abs(points.points - truth.points).max() < 1e-2


def test_scale_stays_where_nothing_fixes_it() -> None:
    """One held frame alone: the farthest camera keeps its distance, and the information is that of
    the observations, which say nothing of the scale."""
    problem = with_noise(moved_start(exact(held=1), size=0.005))
    _, theirs = both(problem)
    lengths = []
    for T in (problem.T_cam_world, theirs.T_cam_world):
        centres = -(np.swapaxes(T[:, :3, :3], 1, 2) @ T[:, :3, 3:])[..., 0]
        lengths.append(np.linalg.norm(centres[-1] - centres[0]))
    assert abs(np.log(lengths[1] / lengths[0])) < 2e-3
    assert np.linalg.eigvalsh(theirs.information)[0] < 1e3


def test_a_pose_without_observations_stays() -> None:
    """Nothing names the last frame: it keeps its start value, and the others are found."""
    truth = exact()
    on = truth.frame < 5
    named = ("frame", "point", "rays", "sigma")
    blind = replace(truth, **{name: getattr(truth, name)[on] for name in named})
    ours, theirs = both(blind)
    for solution in (ours, theirs):
        assert np.abs(solution.T_cam_world - truth.T_cam_world).max() < 1e-4


def test_missing_gtsam_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the wheel: one line with the command that installs it."""
    monkeypatch.setitem(sys.modules, "gtsam", None)
    with pytest.raises(EngineError, match=r"solver 'gtsam' needs GTSAM.*\[gtsam\]"):
        solve_bundle_gtsam(exact())
