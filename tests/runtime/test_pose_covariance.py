# SPDX-License-Identifier: Apache-2.0
"""Covariance of the geometric odometry's poses, on simulated maps whose noise is known exactly."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest

from depthkit.multiview.resection import PoseFit
from depthkit.rigid import exp_se3, inverse, log_se3
from depthkit.runtime.odometry import covariance as cov
from depthkit.runtime.odometry.landmark_map import Keyframe, LandmarkMap
from depthkit.runtime.odometry.window import adjust_window

SIGMA = 1 / 500  # of an observation, one pixel at this focal length
STEP = 0.4
LATERAL = [0, 1, 3, 4, 5]  # a drift of scale moves a camera on a straight path along z only


@dataclass(frozen=True)
class Chain:
    """A simulated map as it was adjusted, with its errors and their covariances."""

    estimated: np.ndarray
    """T_cam_world of each keyframe when it was new. (N, 4, 4)"""
    errors: np.ndarray
    """Twist from the estimated to the true pose of each keyframe when it was new. (N, 6)"""
    covariances: np.ndarray
    """Before inflation, in axes of the camera. (N, 6, 6)"""
    unrest: float


def simulate(seed: int, places: tuple[float, ...], noise: float = 1.0) -> Chain:
    """Drive a camera along z through a corridor of points, and adjust window after window.

    Args:
        seed: of points and noise.
        places: z of each keyframe, the first at 0.
        noise: true noise over the one that the adjustment is told.
    """
    rng = np.random.default_rng(seed)
    points = rng.uniform((-2, -1.5, 0.5), (2, 1.5, 15), (420, 3))
    truth = np.tile(np.eye(4), (len(places), 1, 1))
    truth[:, 2, 3] = -np.asarray(places)
    world = LandmarkMap()
    world.position[: len(points)] = points
    estimated = truth.copy()
    errors, covariances = np.zeros((len(places), 6)), np.zeros((len(places), 6, 6))
    for number, T in enumerate(truth):
        world.add(_keyframe(number, T, points, rng, noise))
        adjust_window(world, sigma=SIGMA, free=4)
        newest = world.keyframes[-1]
        estimated[number] = newest.T_cam_world
        A = cov.adjoint(newest.T_cam_world)
        errors[number] = log_se3(newest.T_cam_world @ inverse(T))
        covariances[number] = A @ newest.drift @ A.T
    return Chain(estimated, errors, covariances, world.unrest.ratio)


def _keyframe(
    number: int, T: np.ndarray, points: np.ndarray, rng: np.random.Generator, noise: float
) -> Keyframe:
    inside = points + T[:3, 3]
    seen = (inside[:, 2] > 0.8) & (inside[:, 2] < 3.2)
    seen &= (np.abs(inside[:, :2]) < 0.8 * inside[:, 2:]).all(axis=1)
    slots = np.flatnonzero(seen)
    rays = inside[slots, :2] / inside[slots, 2:]
    rays = rays + noise * SIGMA * rng.standard_normal(rays.shape)
    none = np.zeros((1, 1), np.uint8), np.zeros((len(slots), 3), np.uint8)
    return Keyframe(number, float(number), none[0], T.copy(), slots, rays, none[1])


def straight(keyframes: int) -> tuple[float, ...]:
    return tuple(STEP * i for i in range(keyframes))


@cache
def straight_chains() -> tuple[Chain, ...]:
    return tuple(simulate(seed, straight(18)) for seed in range(16))


def nees(chain: Chain, keyframe: int) -> float:
    """Normalised squared error without the direction of the path, per degree of freedom."""
    x, C = chain.errors[keyframe][LATERAL], chain.covariances[keyframe][np.ix_(LATERAL, LATERAL)]
    return float(x @ np.linalg.solve(C, x)) / len(LATERAL)


@pytest.mark.parametrize("keyframe", [2, 4, 10, 17])
def test_errors_of_a_simulated_path_are_as_large_as_their_covariance_says(keyframe: int) -> None:
    """Over 16 seeds the mean NEES of 80 degrees of freedom lies in its band, 0.72 to 1.33; above it
    by up to a half along the chain, as held keyframes count as perfect within a window."""
    mean = np.mean([nees(chain, keyframe) for chain in straight_chains()])
    assert 0.7 < mean < (1.33 if keyframe < 5 else 2.0)


def test_drift_grows_on_a_straight_path() -> None:
    """New landmarks all the way: the lateral position is ever less sure."""
    sigma = np.sqrt([chain.covariances[:, 0, 0] for chain in straight_chains()]).mean(axis=0)
    assert sigma[0] == 0
    assert sigma[17] > 1.3 * sigma[12] > 1.3 * 1.1 * sigma[6]


def test_drift_falls_back_where_old_landmarks_are_seen_again() -> None:
    """On the way back old landmarks are seen; a path of the same length ahead is less sure."""
    there = simulate(5, straight(18) + straight(17)[:8:-1])
    onward = simulate(5, straight(26))
    back, far = (np.sqrt(chain.covariances[-1, 0, 0]) for chain in (there, onward))
    assert back < 0.8 * np.sqrt(there.covariances[17, 0, 0])
    assert back < 0.5 * far


def test_covariances_are_positive_definite_and_symmetric() -> None:
    """Every keyframe but the first, which is the origin."""
    for chain in straight_chains()[:4]:
        C = chain.covariances[1:]
        assert np.linalg.eigvalsh(C).min() > 0
        np.testing.assert_allclose(C, C.swapaxes(1, 2), rtol=1e-9)


def test_scale_is_left_out_of_the_first_window() -> None:
    """Two keyframes do not know their distance; it is the unit, so it has no variance."""
    chain = simulate(1, straight(2))
    along = inverse(chain.estimated[1])[:3, 3]
    along = chain.estimated[1, :3, :3] @ along
    variance = along @ chain.covariances[1, :3, :3] @ along
    assert np.sqrt(variance) / (along @ along) <= 1.01 * cov.SCALE_KNOWN


def test_unrest_measures_noise_above_the_told_one() -> None:
    """Three times the noise is nine times the variance, less what counts as an outlier then."""
    calm = np.exp(np.mean([np.log(chain.unrest) for chain in straight_chains()[:6]]))
    rough = [simulate(seed, straight(12), noise=3.0).unrest for seed in range(4)]
    assert 0.05 < calm < 1
    assert np.exp(np.mean(np.log(rough))) > 4 * calm


def test_a_window_that_hangs_on_nothing_has_a_finite_covariance() -> None:
    """No landmark in common with the held keyframe: the pose is untied, and said to be."""
    frames = [_empty(0), _empty(1)]
    cov.spread_drift(frames, np.zeros((6, 6)), np.zeros(2), cov.Unrest())
    np.testing.assert_allclose(np.diag(frames[1].drift), cov.UNTIED**2, rtol=1e-6)


def test_common_drift_by_hand() -> None:
    """Three observations of drift 1 and one of drift 4: 7 / 4."""
    drifts = np.stack([np.eye(6), 4 * np.eye(6)])
    np.testing.assert_allclose(cov._common_drift(drifts, np.array([21, 7])), 1.75 * np.eye(6))
    np.testing.assert_allclose(cov._common_drift(drifts, np.array([9, 0])), np.eye(6))
    np.testing.assert_allclose(cov._common_drift(drifts, np.array([0, 0])), 4 * np.eye(6))


def test_adjoint_moves_a_twist_to_the_other_side() -> None:
    """T exp(x) = exp(adjoint(T) x) T, exactly."""
    rng = np.random.default_rng(3)
    T, x = exp_se3(rng.normal(size=6)), rng.normal(size=6)
    np.testing.assert_allclose(T @ exp_se3(x), exp_se3(cov.adjoint(T) @ x) @ T, atol=1e-12)


def test_growth_is_the_slope_of_a_world_that_grows() -> None:
    """Against poses whose centres are moved away from the origin by a millionth."""
    rng = np.random.default_rng(4)
    T, origin, much = exp_se3(rng.normal(size=(3, 6))), rng.normal(size=3), 1e-6
    grown = inverse(T)
    grown[:, :3, 3] += much * (grown[:, :3, 3] - origin)
    slope = log_se3(inverse(grown) @ inverse(T)) / much
    np.testing.assert_allclose(cov._growth(T, origin), slope.reshape(-1), atol=1e-5)


def test_published_covariance_is_in_the_published_unit() -> None:
    """Three units a unit of the map: translation 9, rotation 1, between them 3 times as much."""
    keyframe, fit = _empty(1), PoseFit(np.eye(4), np.zeros(0), 1e4 * np.eye(6))
    keyframe.drift = np.eye(6) * 1e-4 + np.full((6, 6), 1e-5)
    T = exp_se3(np.array([0.3, 0.1, 2.0, 0.2, -0.4, 0.1]))
    one = cov.pose_covariance(T, keyframe, fit, factor=1.0)
    three = cov.pose_covariance(T, keyframe, fit, factor=3.0)
    np.testing.assert_allclose(three[:3, :3], 9 * one[:3, :3])
    np.testing.assert_allclose(three[:3, 3:], 3 * one[:3, 3:])
    np.testing.assert_allclose(three[3:, 3:], one[3:, 3:])


def test_published_covariance_adds_fit_and_drift() -> None:
    """By hand at the identity: (1e-4 + 1e-4) times both squared factors times the unrest."""
    keyframe, fit = _empty(1), PoseFit(np.eye(4), np.zeros(0), 1e4 * np.eye(6))
    keyframe.drift = 1e-4 * np.eye(6)
    C = cov.pose_covariance(np.eye(4), keyframe, fit, factor=1.0, unrest=0.25)
    expected = 2e-4 * 0.25 * np.repeat(np.square(cov.INFLATION), 3)
    np.testing.assert_allclose(np.diag(C), expected, rtol=1e-6)


def test_a_blind_start_is_as_unsure_as_the_parallax_it_did_not_see() -> None:
    """Published at the usual unrest: 0.45 degrees of the median depth, and of rotation."""
    keyframe = _empty(0)
    keyframe.drift = cov.blind_start(0.45)
    C = cov.pose_covariance(np.eye(4), keyframe, None, factor=1.0)
    np.testing.assert_allclose(np.sqrt(np.diag(C)), np.radians(0.45))


def _empty(number: int) -> Keyframe:
    """A keyframe at the origin that sees nothing."""
    none = np.zeros(0, int), np.zeros((0, 2)), np.zeros((0, 3), np.uint8)
    return Keyframe(number, float(number), np.zeros((1, 1), np.uint8), np.eye(4), *none)
