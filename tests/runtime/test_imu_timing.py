# SPDX-License-Identifier: Apache-2.0
"""Time offset, axes and unit from the camera's rotations against the gyro's."""

import numpy as np
import pytest
from imu_flights import make_flight

from depthkit.rigid import exp_se3
from depthkit.runtime.odometry.imu_timing import LEAST_SIGMA, TurnWatch, fit_timing
from depthkit.synth.imu import T_CAM_IMU


def pairs_of(flight):
    """Stamps and rotations of neighbouring frames, axes of the IMU."""
    R = flight.visual[:, :3, :3] @ T_CAM_IMU[:3, :3]
    stamps = np.stack([flight.stamps[:-1], flight.stamps[1:]], axis=1)
    return stamps, R[:-1].swapaxes(1, 2) @ R[1:]


def fitted(flight, rows=None):
    return fit_timing(flight.imu.rows if rows is None else rows, *pairs_of(flight))


@pytest.mark.parametrize("offset", [0.0, 0.0123, -0.05])
def test_offset_is_found(offset):
    """Stamps of the IMU are shifted: within four sigmas, which are below 2 ms; the bias too."""
    flight = make_flight(1)
    rows = flight.imu.rows.copy()
    rows[:, 0] += offset
    fit = fitted(flight, rows)
    assert fit.fault == "" and LEAST_SIGMA <= fit.sigma < 0.002
    assert abs(fit.offset - offset) < 4 * fit.sigma
    np.testing.assert_allclose(fit.bias, flight.biases[:, :3].mean(axis=0), atol=4e-4)


def test_sigma_of_the_offset_is_honest():
    """Twenty flights: the rms of the normalised error is near 1, and not above (the floor of 0.3 ms
    and of the variance make sigma up to three times too large)."""
    fits = [fitted(make_flight(seed, seconds=6, turning=0.1)) for seed in range(20)]
    errors = np.array([fit.offset / fit.sigma for fit in fits])
    assert 0.33 < np.sqrt((errors**2).mean()) < 1.5


def test_one_wild_rotation_changes_little():
    """Vision jumps by a radian once: the offset stays within five sigmas of what it was."""
    flight = make_flight(2)
    stamps, R = pairs_of(flight)
    before = fit_timing(flight.imu.rows, stamps, R)
    R = R.copy()
    R[40] = exp_se3(np.array([0, 0, 0, 0.7, -0.7, 0.2]))[:3, :3]
    after = fit_timing(flight.imu.rows, stamps, R)
    assert abs(after.offset - before.offset) < 5 * before.sigma


def changed(flight, gyro):
    rows = flight.imu.rows.copy()
    rows[:, 1:4] = gyro(rows[:, 1:4])
    return fitted(flight, rows)


def test_wrong_units_and_axes_are_named():
    """deg/s, a turn of 90 degrees, another time's samples, and a gyro that is twice too fast."""
    flight = make_flight(3)
    assert "57 times" in changed(flight, lambda w: np.degrees(w)).fault
    assert "deg/s?" in changed(flight, lambda w: np.degrees(w)).fault
    turned = changed(flight, lambda w: w[:, [1, 0, 2]] * [1, -1, 1])
    assert "turned by 90 degrees" in turned.fault
    assert "do not turn together" in changed(flight, lambda w: w[::-1]).fault
    assert "2.00 times" in changed(flight, lambda w: 2 * w).fault
    # A mirrored gyro is no turned one.
    assert "do not turn together" in changed(flight, lambda w: -w).fault


def test_little_rotation_says_nothing():
    """A camera that hardly turns, and a handful of frames."""
    assert fitted(make_flight(4, turning=0.005)) is None
    assert fitted(make_flight(4, seconds=1.0)) is None


def watched(flight, rows):
    watch, corrected = TurnWatch(), []
    for (start, end), R in zip(*pairs_of(flight), strict=True):
        if watch.add(start, end, R, rows[rows[:, 0] <= end + 1e-9]):
            corrected.append(end)
    return watch, corrected


def test_watch_corrects_a_significant_offset():
    """After some seconds, twice found; said with its size."""
    flight = make_flight(5)
    rows = flight.imu.rows.copy()
    rows[:, 0] += 0.02
    watch, corrected = watched(flight, rows)
    assert watch.offset == pytest.approx(0.02, abs=0.003)
    assert 3.0 < corrected[0] < 6.0 and watch.agrees
    assert "late against the frames" in watch.notes[0]


def test_watch_leaves_a_sound_clock_alone():
    """Nothing is corrected or said."""
    flight = make_flight(6)
    watch, corrected = watched(flight, flight.imu.rows)
    assert watch.offset == 0.0 and corrected == [] and watch.notes == [] and watch.agrees


def test_watch_trusts_a_gyro_that_hardly_turns():
    """Standing still the difference itself is small; with a wrong unit it is not."""
    flight = make_flight(7, turning=0.004)
    assert watched(flight, flight.imu.rows)[0].agrees
    rows = flight.imu.rows.copy()
    rows[:, 1:4] *= 180 / np.pi
    assert not watched(flight, rows)[0].agrees


def test_frames_far_apart_are_no_pair():
    """Half a second apart: nothing is compared."""
    watch, rows = TurnWatch(), make_flight(8).imu.rows
    assert not any(watch.add(t, t + 0.5, np.eye(3), rows) for t in np.arange(0, 6, 0.05))
    assert not watch.agrees
