# SPDX-License-Identifier: Apache-2.0
"""Scale, gravity and biases of a window: exact flights, honest sigmas, refusals, the solver."""

import numpy as np
import pytest
from imu_flights import UNIT, make_flight

from depthkit.rigid import exp_se3
from depthkit.runtime.odometry.imu_alignment import MIN_SIGMA, align
from depthkit.runtime.odometry.imu_arrow import Factors, solve_arrow
from depthkit.runtime.odometry.imu_preintegration import between, preintegrate
from depthkit.runtime.odometry.imu_window import BiasPrior, tangent
from depthkit.synth.imu import T_CAM_IMU
from depthkit.trajectory.imu import ImuNoise

FINE = ImuNoise(1e-4, 1e-3, 1e-5, 1e-3)
UNKNOWN = BiasPrior(np.zeros(3), np.zeros(3))


def aligned(flight, step=4, start=None, visual=None):
    """Align every `step`-th pose of a flight."""
    poses = (flight.visual if visual is None else visual)[::step]
    stamps, noise = flight.stamps[::step], flight.imu.noise or FINE
    cuts = [between(flight.imu.rows, a, b) for a, b in zip(stamps[:-1], stamps[1:], strict=True)]
    motions = [preintegrate(cut, noise, bias=np.zeros(6)) for cut in cuts]
    return align(poses, motions, T_cam_imu=T_CAM_IMU, noise=noise, prior=UNKNOWN, start=start)


def tilt(found):
    """Angle of gravity against the truth, the y axis, rad."""
    return float(np.arccos(np.clip(found.gravity[1], -1, 1)))


def test_exact_flight():
    """Without noise the scale is found to a thousandth, gravity to 0.1 degrees."""
    found = aligned(make_flight(2, grade="perfect", noise=(0.0, 0.0)))
    assert found.reason == "" and abs(found.scale * UNIT - 1) < 1e-3
    assert tilt(found) < np.radians(0.1)
    assert np.abs(found.bias.gyro).max() < 1e-4 and np.abs(found.bias.accel).max() < 0.01


def test_biases_are_found():
    """Those of the simulated sensor, within three of their own sigmas (and of its walk)."""
    flight = make_flight(3, grade="phone")
    found = aligned(flight)
    error = np.abs(flight.biases[-1, :3] - found.bias.gyro).max()
    assert np.abs(flight.biases[-1, :3]).max() > 0.005
    assert error < 3 * found.bias.gyro_sigma < 0.005
    error = np.abs(flight.biases[-1, 3:] - found.bias.accel).max()
    assert error < 3 * found.bias.accel_sigma < 0.6


def normalised_errors(seeds, **flight):
    """Scale's error over its sigma, without the floor for scale factors, which are exact here."""
    errors = []
    for seed in seeds:
        found = aligned(make_flight(seed, **flight))
        if found.scale is not None:
            sigma = np.sqrt(found.sigma**2 - MIN_SIGMA**2)
            errors.append(np.log(found.scale * UNIT) / sigma)
    return np.array(errors)


def test_sigma_is_honest():
    """Ten flights with noise of 5 mm: the rms of the normalised error is near 1."""
    errors = normalised_errors(range(10), seconds=5, amplitude=0.2, noise=(5e-3, np.radians(0.2)))
    assert len(errors) >= 8
    assert 0.4 < np.sqrt((errors**2).mean()) < 1.6


@pytest.mark.slow
@pytest.mark.parametrize("grade", ["adis", "phone"])
@pytest.mark.parametrize("noise", [(1e-3, np.radians(0.05)), (5e-3, np.radians(0.2))])
def test_sigma_is_honest_over_many_flights(grade, noise):
    """Forty flights of each sensor and noise: sigma is not too small (a chi-square of 40 degrees of
    freedom lies below 1.35^2 of its mean in 99.9 %), and at most 2.2 times too large: the window
    allows for a drift that these paths do not have."""
    errors = normalised_errors(range(40), seconds=8, amplitude=0.2, grade=grade, noise=noise)
    assert len(errors) > 32
    assert 0.45 < np.sqrt((errors**2).mean()) < 1.35


def test_a_drifting_path_widens_sigma():
    """A visual path with a random walk of 1 cm a pose: the scale is within four sigmas, and its
    sigma larger than without."""
    flight = make_flight(4)
    walk = UNIT * 0.01 * np.random.default_rng(0).normal(size=(len(flight.stamps), 3))
    visual = flight.visual.copy()
    visual[:, :3, 3] += np.cumsum(walk, axis=0)
    steady, found = aligned(flight), aligned(flight, visual=visual)
    assert found.sigma > 1.5 * steady.sigma
    assert abs(np.log(found.scale * UNIT)) < 4 * found.sigma


def test_noise_levels_are_found():
    """1 mm and 0.05 degrees, within a third."""
    levels = aligned(make_flight(5), step=2).levels
    assert abs(levels[0] / UNIT / 1e-3 - 1) < 0.33
    assert abs(levels[1] / np.radians(0.05) - 1) < 0.33


def test_hover_is_refused():
    """Nothing but slow swings of a centimetre: no scale, and the acceleration is named.

    What is left of it is the accelerometer's bias, which turns with the sensor."""
    found = aligned(make_flight(6, amplitude=0.01))
    assert found.scale is None and found.sigma is None
    assert "acceleration varies by 0.1" in found.reason and "needs 0.25" in found.reason
    assert tilt(found) < 3 * found.gravity_sigma < 0.2


def test_turning_on_the_spot_is_refused():
    """Gravity turns through the sensor's axes, but nothing accelerates in the world."""
    found = aligned(make_flight(7, amplitude=1e-3, turning=0.5))
    assert found.scale is None and "acceleration" in found.reason


def test_few_poses_are_refused():
    """Seven poses say so."""
    flight = make_flight(8, seconds=1.3)
    assert "7 poses so far" in aligned(flight).reason


def test_mirrored_path_is_refused():
    """A visual path that goes the other way has a negative scale: no metres from it."""
    flight = make_flight(9)
    visual = flight.visual.copy()
    visual[:, :3, 3] *= -1
    found = aligned(flight, visual=visual)
    assert found.scale is None and "do not agree" in found.reason


def test_world_axes_do_not_matter():
    """Turning the visual world turns gravity with it and leaves the scale."""
    flight = make_flight(10)
    turn = exp_se3(np.array([0.3, -2.0, 1.0, 0.5, -1.0, 0.7]))
    before, after = aligned(flight), aligned(flight, visual=turn @ flight.visual)
    assert abs(after.scale / before.scale - 1) < 1e-3
    np.testing.assert_allclose(after.gravity, turn[:3, :3] @ before.gravity, atol=1e-3)


def test_warm_start_ends_at_the_same_place():
    """From the result of the window before: within a tenth of sigma."""
    flight = make_flight(11)
    cold = aligned(flight)
    warm = aligned(flight, start=cold)
    assert abs(np.log(warm.scale / cold.scale)) < 0.1 * cold.sigma


def test_arrow_equals_a_dense_solution():
    """States, shared unknowns and covariances as numpy's dense least squares gives them."""
    rng = np.random.default_rng(0)
    n, size, m, rows = 5, 3, 2, 4
    links = Factors(*(rng.normal(size=s) for s in _shapes(n - 1, rows, size, m, size)))
    r, V, _, W = (rng.normal(size=s) for s in _shapes(n, rows, size, m, size))
    nodes = Factors(r, V, np.zeros((n, 0, size)), W)
    J = np.zeros(((2 * n - 1) * rows, n * size + m))
    for k in range(n):
        J[k * rows : (k + 1) * rows, k * size : (k + 1) * size] = V[k]
        J[k * rows : (k + 1) * rows, n * size :] = W[k]
    for k in range(n - 1):
        at = slice((n + k) * rows, (n + k + 1) * rows)
        J[at, k * size : (k + 1) * size] = links.first[k]
        J[at, (k + 1) * size : (k + 2) * size] = links.second[k]
        J[at, n * size :] = links.border[k]
    residual = np.concatenate([r.reshape(-1, 2), links.residual.reshape(-1, 2)])
    wanted = -np.linalg.lstsq(J, residual, rcond=None)[0]
    found = solve_arrow(links, nodes, np.zeros((m, m)), np.zeros((m, 2)))
    np.testing.assert_allclose(found.states.reshape(-1, 2), wanted[:-m], atol=1e-9)
    np.testing.assert_allclose(found.border, wanted[-m:], atol=1e-9)
    covariance = np.linalg.inv(J.T @ J)
    np.testing.assert_allclose(found.covariance, covariance[-m:, -m:], atol=1e-9)
    last = slice((n - 1) * size, n * size)
    np.testing.assert_allclose(found.last_covariance, covariance[last, last], atol=1e-9)
    left = np.concatenate([nodes.after(found).reshape(-1, 2), links.after(found).reshape(-1, 2)])
    np.testing.assert_allclose(left, residual + J @ wanted, atol=1e-9)


def _shapes(n, rows, size, m, second):
    return (n, rows, 2), (n, rows, size), (n, rows, second), (n, rows, m)


@pytest.mark.parametrize("g", [[0, 0, -9.81], [0, 9.81, 0], [3.0, -5.0, 7.0]])
def test_tangent_is_square_to_gravity(g):
    """Two unit vectors, at right angles to it and to each other."""
    columns = tangent(np.array(g, dtype=float))
    np.testing.assert_allclose(columns.T @ columns, np.eye(2), atol=1e-12)
    np.testing.assert_allclose(columns.T @ np.array(g, dtype=float), 0, atol=1e-12)
