# SPDX-License-Identifier: Apache-2.0
"""Axes, unit, bias and clock of a gyroscope against the rotation of the camera, exact motions."""

import numpy as np
import pytest

from depthkit.multiview.epipolar import rotation_angle
from depthkit.multiview.gyro_fit import GyroFit, fit_gyro
from depthkit.rigid import exp_se3

R_CAM_IMU = exp_se3([0, 0, 0, 0.3, -1.2, 0.7])[:3, :3]
BIAS = np.array([0.01, -0.02, 0.08])
WAVES = np.array([[0.5, 0.3, 0.2], [0.9, 1.1, 0.7], [2.1, 1.7, 2.6]])
"""Hertz of three waves about each axis."""


def rates(t: np.ndarray) -> np.ndarray:
    """Smooth rates of the camera at some times, rad/s. (N, 3)"""
    return 0.2 * np.sin(2 * np.pi * WAVES[:, None] * t[None, :, None] + WAVES[:, None]).sum(axis=0)


def frames(seconds: float = 6.0, hz: float = 20.0, parts: int = 20):
    """Times of frames, and the exact rotation R_b_a from each to the next, by small steps."""
    times = np.arange(0.0, seconds, 1 / hz)
    R_a_b, step = np.broadcast_to(np.eye(3), (len(times) - 1, 3, 3)), 1 / hz / parts
    for k in range(parts):
        twist = np.zeros((len(times) - 1, 6))
        twist[:, 3:] = step * rates(times[:-1] + (k + 0.5) * step)
        R_a_b = R_a_b @ exp_se3(twist)[:, :3, :3]
    return times, np.swapaxes(R_a_b, 1, 2)


def samples(*, offset: float = 0.0, ratio: float = 1.0, noise: float = 0.0, seed: int = 0):
    """Samples at 200 Hz from a second before to a second behind the frames, late by an offset."""
    t = np.arange(-1.0, 7.0, 0.005)
    rng = np.random.default_rng(seed)
    w = ratio * (rates(t) @ R_CAM_IMU) + BIAS + rng.normal(0, noise or 1e-12, (len(t), 3))
    return np.column_stack([t + offset, w])


def turned_by(fit: GyroFit) -> float:
    return rotation_angle(fit.R_cam_imu @ R_CAM_IMU.T)


@pytest.mark.parametrize("offset", [0.0, 0.05, -0.0437])
@pytest.mark.parametrize("ratio", [1.0, 180 / np.pi])
def test_exact_samples_give_back_axes_bias_unit_and_clock(offset, ratio):
    """A stamp late by 50 ms is an offset of +50 ms; a gyroscope in deg/s turns 57.3 times as fast.

    Means between frames are integrals by trapezes of 5 ms, off by (2 pi f h)^2 / 12 = 6e-4 of the
    fastest wave.
    """
    fit = fit_gyro(*frames(), samples(offset=offset, ratio=ratio))
    assert isinstance(fit, GyroFit) and not fit.is_mirrored
    assert turned_by(fit) < 0.1
    assert fit.offset == pytest.approx(offset, abs=2e-4)
    assert fit.ratio == pytest.approx(ratio, rel=2e-3)
    np.testing.assert_allclose(fit.bias, BIAS, atol=2e-3 * ratio)
    assert fit.agreement > 0.999


def test_standard_deviations_are_those_of_the_errors():
    """Over ten draws of noise in the camera's rotation, errors over sigmas are of order 1."""
    times, R_next = frames(seconds=4.0)
    offsets, turns = [], []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        twist = np.zeros((len(R_next), 6))
        twist[:, 3:] = rng.normal(0, 1e-3, (len(R_next), 3))
        noisy = exp_se3(twist)[:, :3, :3] @ R_next
        rows = samples(offset=0.02, noise=2e-3, seed=seed)
        fit = fit_gyro(times, noisy, rows, max_offset=0.1)
        assert isinstance(fit, GyroFit)
        offsets.append((fit.offset - 0.02) / fit.offset_sigma)
        turns.append(np.radians(turned_by(fit)) / fit.rotation_sigma)
    # Ten squares of a unit normal have a mean between 0.22 and 2.5 in 99 of 100 cases.
    assert 0.2 < np.mean(np.square(offsets)) < 2.6
    # The angle has three components, of which the given sigma is the largest.
    assert 0.1 < np.mean(np.square(turns)) < 5.0


def test_outliers_among_the_rotations_are_borne():
    """A tenth of the rotations off by 10 degrees (moving things, blur) hardly moves the result."""
    times, R_next = frames()
    wrong = R_next.copy()
    wrong[::10] = exp_se3([0, 0, 0, 0, 0.17, 0])[:3, :3] @ wrong[::10]
    fit = fit_gyro(times, wrong, samples(offset=0.03))
    assert isinstance(fit, GyroFit)
    assert turned_by(fit) < 1.0 and fit.offset == pytest.approx(0.03, abs=2e-3)


def test_rotations_that_are_unknown_are_left_out():
    """NaN stands for a pair that could not be measured."""
    times, R_next = frames()
    R_next[10:20] = np.nan
    fit = fit_gyro(times, R_next, samples())
    assert isinstance(fit, GyroFit) and turned_by(fit) < 0.1
    assert fit.pairs < len(R_next) - 9


@pytest.mark.parametrize("signs", [(1, 1, -1), (-1, -1, -1)])
def test_mirrored_axes_are_named(signs):
    """No rotation explains one axis, or all three, with the wrong sign."""
    rows = samples()
    rows[:, 1:] *= signs
    fit = fit_gyro(*frames(), rows)
    assert isinstance(fit, GyroFit) and fit.is_mirrored
    assert np.linalg.det(fit.R_cam_imu) == pytest.approx(-1)


def test_what_cannot_be_told_is_said():
    """Too few pairs, a camera that does not turn, another recording, an offset out of reach."""
    times, R_next = frames()
    assert "only 9 pairs" in fit_gyro(times[:10], R_next[:9], samples())
    still = np.broadcast_to(np.eye(3), R_next.shape)
    assert fit_gyro(times, still, samples()) == "the camera hardly turns"
    other = np.random.default_rng(1).permutation(samples()[:, 1:])
    rows = np.column_stack([samples()[:, 0], other])
    assert "do not turn alike" in fit_gyro(times, R_next, rows)
    late = samples()
    late[:, 0] += 0.9
    assert isinstance(fit_gyro(times, R_next, late), str)


def test_same_input_gives_the_same_bytes():
    """Nothing in the search is random."""
    one, two = (fit_gyro(*frames(), samples(noise=1e-3)) for _ in range(2))
    assert isinstance(one, GyroFit) and isinstance(two, GyroFit)
    assert one.R_cam_imu.tobytes() == two.R_cam_imu.tobytes() and one.offset == two.offset
