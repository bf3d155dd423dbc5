# SPDX-License-Identifier: Apache-2.0
"""Preintegration: hand-made motions, an exact path, and its derivatives and noise by trying."""

import numpy as np
import pytest
from imu_flights import make_flight

from depthkit.errors import DataError
from depthkit.rigid import log_so3
from depthkit.runtime.odometry.imu_preintegration import between, preintegrate
from depthkit.synth.imu import T_CAM_IMU, SmoothPath
from depthkit.trajectory.imu import ImuNoise

NOISE = ImuNoise(1.7e-4, 2e-3, 2e-5, 3e-3)
FREE = np.zeros(6)


def rows_of(t, rates, forces):
    t = np.asarray(t, dtype=float)
    ones = np.ones((len(t), 3))
    return np.column_stack([t, ones * rates, ones * forces])


def waving_rows(count=21):
    t = np.linspace(0, 0.2, count)
    rates = np.sin(9 * t)[:, None] * [1.0, 2.0, -1.5] + 0.4
    return np.column_stack([t, rates, 9 + 3 * np.cos(8 * t)[:, None] * [1, 0.5, -1]])


def vector(a, b):
    """What lies between two results, in the order of their derivatives."""
    turn = log_so3(a.rotation.T @ b.rotation)
    return np.concatenate([turn, b.velocity - a.velocity, b.place - a.place])


def test_even_push_without_turning():
    """1 m/s2 for 2 s is 2 m/s and 2 m."""
    found = preintegrate(rows_of(np.linspace(0, 2, 41), 0, [1, 0, 0]), NOISE, bias=FREE)
    assert found.duration == 2.0
    np.testing.assert_allclose(found.rotation, np.eye(3), atol=1e-15)
    np.testing.assert_allclose(found.velocity, [2, 0, 0], atol=1e-12)
    np.testing.assert_allclose(found.place, [2, 0, 0], atol=1e-12)


def test_quarter_turn_with_a_push():
    """A push along x while turning from x to y at pi/2 rad/s: velocity (2/pi, 2/pi) after 1 s."""
    rows = rows_of(np.linspace(0, 1, 401), [0, 0, np.pi / 2], [1, 0, 0])
    found = preintegrate(rows, NOISE, bias=FREE)
    np.testing.assert_allclose(found.rotation[:, 0], [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(found.velocity, [2 / np.pi, 2 / np.pi, 0], atol=1e-6)
    # x: the integral of sin(wt)/w is (1 - cos)/w^2; y: of (1 - cos)/w is (1 - 1/w)/w, w = pi/2.
    w = np.pi / 2
    np.testing.assert_allclose(found.place, [1 / w**2, (1 - 1 / w) / w, 0], atol=1e-5)


def test_a_bias_is_taken_off():
    """Constant bias on samples at rest leaves nothing."""
    bias = np.array([0.1, -0.2, 0.3, 1.0, 2.0, -1.0])
    rows = rows_of(np.linspace(0, 1, 11), bias[:3], bias[3:])
    found = preintegrate(rows, NOISE, bias=bias)
    np.testing.assert_allclose(vector(found, found), 0, atol=1e-15)
    np.testing.assert_allclose(found.velocity, 0, atol=1e-15)


def test_follows_an_exact_path():
    """Between two poses of a flight, with velocity and gravity, within the midpoint rule."""
    flight = make_flight(1, seconds=4, grade="perfect")
    path = SmoothPath(flight.stamps, flight.T_world_cam, T_CAM_IMU)
    start, end = ends = np.array([1.013, 1.777])
    found = preintegrate(between(flight.imu.rows, start, end), NOISE, bias=FREE)
    poses, v, g, dt = path.imu_poses(ends), path.velocities(ends), [0, 9.81, 0], end - start
    R, gravity = poses[0, :3, :3], np.array(g)
    np.testing.assert_allclose(found.rotation, R.T @ poses[1, :3, :3], atol=2e-5)
    np.testing.assert_allclose(found.velocity, R.T @ (v[1] - v[0] - gravity * dt), atol=2e-4)
    moved = poses[1, :3, 3] - poses[0, :3, 3] - v[0] * dt - 0.5 * gravity * dt**2
    np.testing.assert_allclose(found.place, R.T @ moved, atol=1e-4)


def test_derivatives_to_the_biases():
    """As central differences give them; within 2/1000 of the largest in its rows."""
    rows, step = waving_rows(), 1e-5
    found = preintegrate(rows, NOISE, bias=FREE)
    tried = np.zeros((9, 6))
    for k in range(6):
        more, less = (preintegrate(rows, NOISE, bias=s * step * np.eye(6)[k]) for s in (1, -1))
        tried[:, k] = vector(less, more) / (2 * step)
    for part in (slice(0, 3), slice(3, 6), slice(6, 9)):
        size = np.abs(tried[part]).max()
        np.testing.assert_allclose(found.bias_jacobian[part], tried[part], atol=2e-3 * size)


def test_covariance_is_the_spread_of_noisy_samples():
    """600 draws of noise: each standard deviation within 12 % (four sigma of such a sample)."""
    rows, rng = waving_rows(), np.random.default_rng(0)
    exact = preintegrate(rows, NOISE, bias=FREE)
    size = np.repeat([NOISE.gyro, NOISE.accel], 3) / np.sqrt(0.01)
    draws = []
    for _ in range(600):
        noisy = rows.copy()
        noisy[:, 1:] += size * rng.normal(size=(len(rows), 6))
        draws.append(vector(exact, preintegrate(noisy, NOISE, bias=FREE)))
    ratio = np.std(draws, axis=0) / np.sqrt(np.diag(exact.covariance))
    # Neighbouring samples are averaged, so the two at the ends count half: 1/40 of the variance.
    np.testing.assert_allclose(ratio, 1, atol=0.12)


def test_ends_are_interpolated():
    """The cut begins and ends at the stamps, with values on the line between the samples."""
    t = np.arange(0, 1.01, 0.1)
    rows = np.column_stack([t, *[t * k for k in range(1, 7)]])
    cut = between(rows, 0.25, 0.61)
    np.testing.assert_allclose(cut[:, 0], [0.25, 0.3, 0.4, 0.5, 0.6, 0.61])
    np.testing.assert_allclose(cut[:, 1:], cut[:, :1] * np.arange(1, 7), atol=1e-12)
    np.testing.assert_allclose(between(rows, 0.32, 0.38)[:, 0], [0.32, 0.38])


@pytest.mark.parametrize(("start", "end"), [(-0.1, 0.5), (0.5, 1.1), (0.5, 0.5), (0.2, 0.8)])
def test_no_cut_over_what_was_not_measured(start, end):
    """Before the first, after the last sample, over no time, or over a hole of five periods."""
    t = np.concatenate([np.arange(0, 0.31, 0.1), np.arange(0.8, 1.01, 0.1)])
    assert between(rows_of(t, 0, 1), start, end) is None


def test_bad_rows_are_refused():
    """One row, or stamps that stand still."""
    with pytest.raises(DataError, match="N >= 2"):
        preintegrate(np.zeros((1, 7)), NOISE, bias=FREE)
    with pytest.raises(DataError, match="must rise"):
        preintegrate(np.zeros((3, 7)), NOISE, bias=FREE)
