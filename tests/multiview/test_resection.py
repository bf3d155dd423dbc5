# SPDX-License-Identifier: Apache-2.0
"""A camera's pose from landmarks of certain and of uncertain depth."""

from dataclasses import replace

import numpy as np
import pytest

from depthkit.multiview.resection import HUBER, Sightings, _weights, _whitened, fit_pose
from depthkit.rigid import exp_se3, inverse, log_se3, log_so3

SIGMA = 1e-3
TRUE = exp_se3(np.array([0.3, -0.1, 0.4, 0.03, -0.05, 0.02]))


def world(count: int = 80, seed: int = 0, depth_sigma: float = 0.0) -> tuple[Sightings, np.ndarray]:
    """Return landmarks whose depth from the origin is off by `depth_sigma`, and the true ones."""
    rng = np.random.default_rng(seed)
    z = rng.uniform(4, 20, count)
    true = np.column_stack([rng.uniform(-0.6, 0.6, (count, 2)), np.ones(count)]) * z[:, None]
    Xc = true @ TRUE[:3, :3].T + TRUE[:3, 3]
    guessed = true * np.exp(depth_sigma * rng.normal(size=count))[:, None]
    return Sightings(guessed, depth_sigma * guessed, Xc[:, :2] / Xc[:, 2:], SIGMA), true


def off_by(T: np.ndarray) -> np.ndarray:
    return log_se3(T @ inverse(TRUE))


def test_exact_sightings_give_the_pose() -> None:
    """From the identity, 0.5 units and 3.5 degrees away, to rounding."""
    fit = fit_pose(np.eye(4), world()[0])
    assert np.abs(off_by(fit.T_cam_world)).max() < 1e-9
    assert fit.errors.max() < 1e-5


def test_slopes_are_those_of_the_residuals() -> None:
    """With certain depths, by central differences of 1e-6."""
    seen, _ = world(9)
    _, J = _whitened(np.eye(4), seen)
    for i, axis in enumerate(np.eye(6)):
        ahead, behind = (_whitened(exp_se3(sign * 1e-6 * axis), seen)[0] for sign in (1, -1))
        assert np.abs(J[i] - (ahead - behind) / 2e-6).max() < 1e-6 * np.abs(J).max()


def test_residual_is_whitened_by_the_depths_uncertainty() -> None:
    """Its square is d^T (sigma^2 I + a a^T)^-1 d, a being the shift by one sigma of the depth."""
    seen, _ = world(7, depth_sigma=0.3)
    residual, _ = _whitened(TRUE, seen)
    for i in range(7):
        X, lever = (TRUE[:3, :3] @ one[i] for one in (seen.points, seen.lever))
        X = X + TRUE[:3, 3]
        J = np.array([[1, 0, -X[0] / X[2]], [0, 1, -X[1] / X[2]]]) / X[2]
        a, d = J @ lever, X[:2] / X[2] - seen.rays[i]
        expected = d @ np.linalg.solve(SIGMA**2 * np.eye(2) + np.outer(a, a), d)
        assert (residual[:, i] ** 2).sum() == pytest.approx(expected, rel=1e-9)


def test_guessed_depths_still_give_rotation_and_direction() -> None:
    """Depths guessed to a factor of two hold the pose to their epipolar lines; a few the length.

    The squared error of six numbers exceeds 22.5 once in a thousand times.
    """
    guessed, _ = world(80, depth_sigma=0.7)
    measured, true = world(80)
    points, lever = guessed.points.copy(), guessed.lever.copy()
    points[:8], lever[:8] = true[:8], 0.0
    fit = fit_pose(np.eye(4), replace(measured, points=points, lever=lever), iterations=30)
    error = off_by(fit.T_cam_world)
    assert error @ fit.information @ error < 22.5
    # The same guesses taken for certain turn and shift the camera.
    certain = fit_pose(np.eye(4), replace(guessed, lever=np.zeros((80, 3))), iterations=30)
    assert np.abs(off_by(certain.T_cam_world)).max() > 10 * np.abs(error).max()


def test_wrong_sightings_count_little() -> None:
    """A fifth of the sightings 0.2 off moves the pose by less than a tenth of their mean pull."""
    seen, _ = world(100)
    rays = seen.rays.copy()
    rays[::5] += 0.2
    fit = fit_pose(np.eye(4), replace(seen, rays=rays), iterations=30)
    assert np.abs(off_by(fit.T_cam_world)[3:]).max() < 0.004
    assert (fit.errors[::5] > 50).all() and np.median(fit.errors) < 2
    assert _weights(np.array([[1.0, 3.0], [0.0, 4.0]])) == pytest.approx([1.0, HUBER / 5])


def test_a_gyro_holds_the_rotation() -> None:
    """A certain prior is kept; a loose one gives way to the sightings."""
    seen, _ = world()
    R = exp_se3(np.array([0, 0, 0, 0.02, 0, 0]))[:3, :3] @ TRUE[:3, :3]
    held = fit_pose(TRUE, seen, R_prior=R, prior_sigma=1e-7).T_cam_world
    free = fit_pose(TRUE, seen, R_prior=R, prior_sigma=1.0).T_cam_world
    assert np.abs(log_so3(held[:3, :3] @ R.T)).max() < 1e-4
    assert np.abs(log_so3(free[:3, :3] @ TRUE[:3, :3].T)).max() < 1e-5


def test_a_gyro_is_enough_for_few_sightings() -> None:
    """Two landmarks and a rotation give the translation: four numbers for three unknowns."""
    seen, _ = world(2)
    fit = fit_pose(np.eye(4), seen, R_prior=TRUE[:3, :3], prior_sigma=1e-6, iterations=30)
    assert np.abs(off_by(fit.T_cam_world)).max() < 1e-5


def test_information_is_that_of_the_errors() -> None:
    """Over 40 draws of the noise the squared error averages one a degree of freedom.

    Its deviation is sqrt(2 / 240) = 0.09; Huber's weights at 1.5 lose some information.
    """
    seen, _ = world(60)
    squares = []
    for seed in range(40):
        noise = SIGMA * np.random.default_rng(seed).normal(size=(60, 2))
        fit = fit_pose(TRUE, replace(seen, rays=seen.rays + noise))
        error = off_by(fit.T_cam_world)
        squares.append(error @ fit.information @ error / 6)
    assert 0.6 < np.mean(squares) < 1.4


def test_landmark_behind_the_camera() -> None:
    """It does not count, and its error is infinite."""
    seen, _ = world(20)
    behind = Sightings(
        np.append(seen.points, [[0, 0, -4.0]], axis=0),
        np.append(seen.lever, [[0, 0, 0.0]], axis=0),
        np.append(seen.rays, [[0.0, 0.0]], axis=0),
        SIGMA,
    )
    fit = fit_pose(np.eye(4), behind)
    assert np.isinf(fit.errors[-1]) and np.abs(off_by(fit.T_cam_world)).max() < 1e-9


def test_no_sightings_leave_the_start() -> None:
    """Without any landmark the pose stays and says that it knows nothing."""
    none = Sightings(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 2)), SIGMA)
    fit = fit_pose(TRUE, none)
    assert fit.T_cam_world == pytest.approx(TRUE, abs=1e-15)
    assert len(fit.errors) == 0 and not fit.information.any()


def test_same_bytes_twice() -> None:
    """The fit is deterministic and edits nothing."""
    seen, start = world(50, depth_sigma=0.2)[0], np.eye(4)
    first, again = (fit_pose(start, seen).T_cam_world.tobytes() for _ in range(2))
    assert first == again and (start == np.eye(4)).all()
