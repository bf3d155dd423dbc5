# SPDX-License-Identifier: Apache-2.0
"""Bundle adjustment: exact truth, slopes by differences, priors by hand, points without depth."""

from dataclasses import replace

import numpy as np
import pytest
from bundle_world import SIGMA, exact, moved_start, seen_from, twists_between, with_noise

from depthkit.multiview import bundle_normal
from depthkit.multiview.bundle import (
    BundleProblem,
    PosePrior,
    StepPrior,
    solve_bundle,
)
from depthkit.multiview.bundle_normal import (
    HUBER,
    LOOSE,
    NormalEquations,
    cost_of,
    lay_out,
    prior_cost,
    see,
)
from depthkit.rigid import exp_se3, make_pose

EYE = np.eye(3)


def pair(length: float) -> np.ndarray:
    """Two cameras on the x axis of the world. (2, 4, 4)"""
    return make_pose(np.stack([EYE, EYE]), [[0, 0, 0], [-length, 0, 0]])


def no_points(T: np.ndarray, **priors: object) -> BundleProblem:
    """A problem of poses alone, of which the first is held."""
    none, free = np.zeros(0, int), np.arange(len(T)) > 0
    empty = np.zeros((0, 3)), none, none, np.zeros((0, 2)), np.zeros(0)
    return replace(BundleProblem(T, free, *empty), **priors)


def test_exact_observations_give_the_truth() -> None:
    """From poses 2 cm and points 10 cm beside the truth, back to it; held frames keep their bytes.

    Rounding of the rays, 1e-16, over the baseline's share of a depth allows 1e-9.
    """
    truth = exact()
    start = moved_start(truth)
    solution = solve_bundle(start, iterations=30)
    assert np.abs(start.T_cam_world - truth.T_cam_world)[2:].max() > 1e-3
    assert np.abs(solution.T_cam_world - truth.T_cam_world).max() < 1e-8
    assert np.abs(solution.points - truth.points).max() < 1e-6
    assert solution.errors.max() < 1e-4
    assert (solution.T_cam_world[:2] == truth.T_cam_world[:2]).all()


def cost_at(problem: BundleProblem, T: np.ndarray, X: np.ndarray) -> float:
    return cost_of(see(T, X, lay_out(problem)).residual) + prior_cost(problem, T)


def test_gradient_is_that_of_the_cost() -> None:
    """Poses and points: robust weights, step and pose priors included, by central differences."""
    problem = with_noise(moved_start(exact(points=12), size=1e-3), sigmas=3.0)
    information = np.diag([4e3, 5e3, 6e3, 7e4, 8e4, 9e4])
    problem = replace(
        problem,
        steps=StepPrior(np.array([[1, 2], [3, 4]]), np.array([0.6, 0.4]), np.array([0.02, 0.05])),
        poses=(PosePrior(3, problem.T_cam_world[3], information),),
    )
    T, X, layout = problem.T_cam_world, problem.points, lay_out(problem)
    seen = see(T, X, layout)
    assert (np.abs(seen.residual).max(axis=0) > HUBER).sum() > 10, "robust weights take part"
    system = NormalEquations(problem, layout, T, seen)
    h, slopes_T, slopes_X = 1e-6, [], []
    for k in layout.free:
        for axis in np.eye(6):
            costs = []
            for sign in (1, -1):
                turned = T.copy()
                turned[k] = exp_se3(sign * h * axis) @ T[k]
                costs.append(cost_at(problem, turned, X))
            slopes_T.append((costs[0] - costs[1]) / (2 * h))
    for i in range(len(X)):
        for axis in range(3):
            costs = []
            for sign in (1, -1):
                moved = X.copy()
                moved[i, axis] += sign * h
                costs.append(cost_at(problem, T, moved))
            slopes_X.append((costs[0] - costs[1]) / (2 * h))
    # The system solves H x = b with b = -gradient / 2.
    b_T, b_X = -0.5 * np.array(slopes_T), -0.5 * np.array(slopes_X)
    assert np.abs(system.b_T.reshape(-1) - b_T).max() < 1e-5 * np.abs(b_T).max()
    assert np.abs(system.b_X.T.reshape(-1) - b_X).max() < 1e-5 * np.abs(b_X).max()


def test_information_is_the_dense_schur_complement() -> None:
    """Of the full matrix of squared slopes, taken by differences, points with their loose prior."""
    problem = exact(frames=4, points=7)
    T, X, layout = problem.T_cam_world, problem.points, lay_out(problem)
    base = see(T, X, layout).residual.reshape(-1)
    h, columns = 1e-6, []
    for k in layout.free:
        for axis in np.eye(6):
            moved = T.copy()
            moved[k] = exp_se3(h * axis) @ T[k]
            columns.append((see(moved, X, layout).residual.reshape(-1) - base) / h)
    for i in range(X.size):
        moved = X.copy()
        moved.flat[i] += h
        columns.append((see(T, moved, layout).residual.reshape(-1) - base) / h)
    J, poses = np.stack(columns, axis=1), 6 * len(layout.free)
    H = J.T @ J
    squared = (see(T, X, layout).points[:, layout.first] ** 2).sum(axis=0) + 1e-3
    H[poses:, poses:] += np.diag(np.repeat(1 / (LOOSE**2 * squared), 3))
    schur = H[:poses, :poses] - H[:poses, poses:] @ np.linalg.solve(
        H[poses:, poses:], H[poses:, :poses]
    )
    found = solve_bundle(problem, iterations=0).information
    assert np.abs(found - schur).max() < 1e-4 * np.abs(schur).max()


def test_information_is_that_of_the_errors() -> None:
    """Squared errors in the metric of the information average one a degree of freedom.

    Of 20 draws of 24 numbers the mean has a deviation of sqrt(2 / 480) = 0.065.
    """
    truth, squares = exact(points=40), []
    for seed in range(20):
        solution = solve_bundle(with_noise(truth, seed), iterations=10)
        error = twists_between(solution.T_cam_world[2:], truth.T_cam_world[2:])
        squares.append(error @ solution.information @ error / len(error))
    assert 0.75 < np.mean(squares) < 1.25


def test_wrong_observations_count_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a tenth of the observations 100 deviations off, poses err a fifth of least squares."""
    truth = exact(points=120)
    noisy = with_noise(truth)
    rays = noisy.rays.copy()
    wrong = np.random.default_rng(0).permutation(len(rays))[: len(rays) // 10]
    rays[wrong, 1] += 100 * SIGMA
    robust = solve_bundle(replace(noisy, rays=rays), iterations=20)
    monkeypatch.setattr(bundle_normal, "HUBER", 1e6)
    monkeypatch.setattr(bundle_normal, "FARTHEST", 1e6)
    plain = solve_bundle(replace(noisy, rays=rays), iterations=20)
    off = [
        np.abs(twists_between(one.T_cam_world, truth.T_cam_world)).max() for one in (robust, plain)
    ]
    assert off[0] < 0.2 * off[1]
    assert (robust.errors[wrong] > 50).mean() > 0.8  # two in one point outvote the right ones


def test_huber_cost_by_hand() -> None:
    """Errors 1, 4 and infinite: 1, 2 (8 - 2) = 12, and as one 100 deviations away, 396."""
    residual = np.array([[1.0, 4.0, np.inf], [0.0, 0.0, np.inf]])
    costs = [cost_of(residual[:, i : i + 1]) for i in range(3)]
    assert costs == [1.0, 12.0, 396.0]


def test_one_step_towards_a_length_by_hand() -> None:
    """Length 1 told to be 2: the logarithm's slope is 1, so one step moves ln 2, damped by 1e-4."""
    steps = StepPrior(np.array([[0, 1]]), np.array([2.0]), np.array([0.1]))
    one = solve_bundle(no_points(pair(1.0), steps=steps), iterations=1)
    moved = 1.0 + np.log(2.0) / (1.0 + 1e-4 + 1e-11)
    assert one.T_cam_world[1, :3, 3] == pytest.approx([-moved, 0, 0], abs=1e-9)
    many = solve_bundle(no_points(pair(1.0), steps=steps), iterations=20)
    assert many.T_cam_world[1, :3, 3] == pytest.approx([-2.0, 0, 0], abs=1e-6)


def test_lengths_are_reached_within_their_sigma() -> None:
    """Points seen without scale (one frame held) take the scale of a told length, shape and all."""
    truth = exact(held=1)
    centre = -truth.T_cam_world[1, :3, :3].T @ truth.T_cam_world[1, :3, 3]
    first = -truth.T_cam_world[0, :3, :3].T @ truth.T_cam_world[0, :3, 3]
    told = 1.2 * np.linalg.norm(centre - first)
    steps = StepPrior(np.array([[0, 1]]), np.array([told]), np.array([0.01]))
    T = solve_bundle(replace(truth, steps=steps), iterations=60).T_cam_world
    centres = -(np.swapaxes(T[:, :3, :3], 1, 2) @ T[:, :3, 3:])[..., 0]
    true = -(np.swapaxes(truth.T_cam_world[:, :3, :3], 1, 2) @ truth.T_cam_world[:, :3, 3:])[..., 0]
    assert abs(np.log(np.linalg.norm(centres[1] - centres[0]) / told)) < 0.01
    ratio = np.linalg.norm(centres[1:] - centres[0], axis=1)
    ratio /= np.linalg.norm(true[1:] - true[0], axis=1)
    assert ratio == pytest.approx(np.full(5, 1.2), abs=0.01)


def test_pose_priors_meet_at_their_weighted_mean() -> None:
    """Translations 0 and 1 with informations 1 and 3: the pose lies at 0.75, turned by nothing."""
    priors = tuple(
        PosePrior(1, make_pose(EYE, [x, 0.0, 0.0]), weight * np.eye(6))
        for x, weight in ((0.0, 1.0), (1.0, 3.0))
    )
    solution = solve_bundle(no_points(pair(0.2), poses=priors), iterations=20)
    assert solution.T_cam_world[1] == pytest.approx(make_pose(EYE, [0.75, 0, 0]), abs=1e-6)
    assert solution.information == pytest.approx(4 * np.eye(6))


def test_point_straight_ahead_stays() -> None:
    """A point on the path has no parallax: its depth keeps its start value, nothing is singular."""
    truth = exact()
    axis = make_pose(np.stack([EYE] * 6), np.outer(np.arange(6), [0.0, 0.0, -0.5]))
    rays = seen_from(axis[truth.frame], truth.points[truth.point])
    ahead = np.array([[0.0, 0.0, 20.0]])
    problem = replace(
        truth,
        T_cam_world=axis,
        points=np.concatenate([truth.points, ahead]),
        frame=np.concatenate([truth.frame, np.arange(6)]),
        point=np.concatenate([truth.point, np.full(6, len(truth.points))]),
        rays=np.concatenate([rays, np.zeros((6, 2))]),
        sigma=np.full(len(rays) + 6, SIGMA),
    )
    solution = solve_bundle(with_noise(problem), iterations=10)
    assert np.isfinite(solution.points).all() and np.isfinite(solution.information).all()
    assert 2.0 < solution.points[-1, 2] < 200.0
    assert np.linalg.eigvalsh(solution.information).min() > 0


def test_order_of_observations_does_not_matter() -> None:
    """Shuffled observations give the same bytes, and errors in their own order; so does a rerun."""
    problem = with_noise(moved_start(exact(), size=0.005))
    first, again = (solve_bundle(problem) for _ in range(2))
    order = np.random.default_rng(0).permutation(len(problem.frame))
    shuffled = {name: getattr(problem, name)[order] for name in ("frame", "point", "rays", "sigma")}
    other = solve_bundle(replace(problem, **shuffled))
    for name in ("T_cam_world", "points", "information"):
        assert getattr(first, name).tobytes() == getattr(again, name).tobytes()
        assert getattr(first, name).tobytes() == getattr(other, name).tobytes()
    assert other.errors.tobytes() == first.errors[order].tobytes()


def test_input_is_left_alone() -> None:
    """Nothing edits its argument."""
    problem = moved_start(exact())
    before = problem.T_cam_world.copy(), problem.points.copy()
    solve_bundle(problem)
    assert (problem.T_cam_world == before[0]).all() and (problem.points == before[1]).all()


def test_point_behind_a_camera_does_not_count() -> None:
    """Its error is infinite, and the poses are those without that observation."""
    truth = with_noise(exact())
    behind = replace(
        truth,
        points=np.concatenate([truth.points, [[0.0, 0.0, -5.0]]]),
        frame=np.append(truth.frame, 4),
        point=np.append(truth.point, len(truth.points)),
        rays=np.concatenate([truth.rays, [[0.1, 0.1]]]),
        sigma=np.append(truth.sigma, SIGMA),
    )
    with_it, without = solve_bundle(behind), solve_bundle(truth)
    assert np.isinf(with_it.errors[-1]) and np.isfinite(with_it.errors[:-1]).all()
    assert np.abs(with_it.T_cam_world - without.T_cam_world).max() < 1e-6


def test_held_poses_leave_a_triangulation() -> None:
    """With all poses held the points alone are found, and the information is empty."""
    truth = exact()
    start = replace(truth, points=truth.points * 1.05, free=np.zeros(6, bool))
    solution = solve_bundle(start, iterations=20)
    assert np.abs(solution.points - truth.points).max() < 1e-7
    assert solution.information.shape == (0, 0)


def test_no_observations() -> None:
    """Poses without any observation or prior stay where they are."""
    solution = solve_bundle(no_points(pair(1.0)))
    assert (solution.T_cam_world == pair(1.0)).all()
    assert len(solution.errors) == 0 and not solution.information.any()
