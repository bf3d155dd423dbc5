# SPDX-License-Identifier: Apache-2.0
"""Samples as they come: order, memory, rest, and what is wrong with them seen alone."""

import numpy as np
import pytest

from depthkit.errors import DataError
from depthkit.runtime.odometry.imu_samples import (
    KEPT,
    Samples,
    accel_fault,
    gyro_fault,
    silent_for,
    stands_still,
)


def resting(seconds=2.0, rate=200.0, rates=0.0, force=(0.0, 0.0, 9.81), noise=(0.005, 0.05)):
    t = np.arange(0, seconds, 1 / rate)
    rows = np.column_stack([t, np.full((len(t), 3), rates), np.tile(force, (len(t), 1))])
    spread = np.repeat(noise, 3)
    rows[:, 1:] += spread * np.random.default_rng(0).normal(size=(len(t), 6))
    return rows


def test_rows_are_kept_in_order_and_once():
    """Pieces become one table; a row that came before is left out."""
    rows, samples = resting(), Samples()
    for start in range(0, 400, 7):
        samples.add(rows[max(start - 3, 0) : start + 7])
    np.testing.assert_array_equal(samples.rows, rows)
    assert samples.newest == rows[-1, 0]
    assert samples.period == pytest.approx(0.005)
    np.testing.assert_array_equal(samples.last(0.1), rows[rows[:, 0] > rows[-1, 0] - 0.1])


def test_memory_stays_flat():
    """After ten times the kept time only that time is held, in a buffer of about twice its size."""
    samples, piece = Samples(), resting(1.0)
    for k in range(int(10 * KEPT)):
        moved = piece.copy()
        moved[:, 0] += k
        samples.add(moved)
    assert len(samples.rows) <= 200 * (KEPT + 1)
    assert samples.rows.base.shape[0] <= 2.1 * 200 * (KEPT + 1)
    assert samples.rows[0, 0] == pytest.approx(samples.newest - KEPT, abs=0.006)
    assert (np.diff(samples.rows[:, 0]) > 0).all()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (np.zeros((3, 6)), "must be"),
        (np.zeros((2, 7)), "must rise"),
        (np.array([[0.0, np.nan, 0, 0, 0, 0, 0]]), "finite"),
    ],
)
def test_bad_rows_are_refused(rows, words):
    """Wrong shape, stamps that stand still, rates that are no numbers."""
    with pytest.raises(DataError, match=words):
        Samples().add(rows)


def test_rest_is_told_from_motion():
    """Sensor noise alone is rest, with a known bias too; shaking, turning or too short is not."""
    nothing = np.zeros(3)
    calm = resting(0.5)
    assert stands_still(calm, nothing, 0.3)
    biased = resting(0.5, rates=0.1)
    assert stands_still(biased, np.full(3, 0.1), 0.001)
    assert not stands_still(biased, nothing, 0.001)  # the bias is known: it turns
    assert not stands_still(resting(0.5, rates=0.5), nothing, 0.3)
    assert not stands_still(resting(0.5, noise=(0.005, 0.3)), nothing, 0.3)
    assert not stands_still(resting(0.5, noise=(0.1, 0.05)), nothing, 0.3)
    assert not stands_still(calm[:50], nothing, 0.3)


def test_units_are_suspected():
    """Rates of thousands and a gravity of 1 or 0 are named; sound samples are not."""
    sound = resting()
    assert gyro_fault(sound) == "" and accel_fault(sound) == ""
    assert "deg/s?" in gyro_fault(resting(rates=90.0))
    assert "are these g?" in accel_fault(resting(force=(0, 0.6, 0.8)))
    assert "gravity taken off?" in accel_fault(resting(force=(0, 0, 0)))
    assert accel_fault(resting(force=(np.nan,) * 3)) == ""


def test_saturation_is_named():
    """Three times the same extreme value in a row; a sharp peak is none."""
    t = np.arange(0, 2, 0.005)
    rows = resting()
    rows[:, 2] = 6 * np.sin(3 * t)
    assert gyro_fault(rows) == ""
    rows[:, 2] = np.clip(rows[:, 2], -4.36, 4.36)
    assert "gyro saturated" in gyro_fault(rows)
    rows = resting()
    rows[:, 4] = np.clip(40 * np.sin(3 * t), -19.6, 19.6)
    assert "accelerometer saturated" in accel_fault(rows)


def test_silence_counts_from_three_periods():
    """Up to three usual distances nothing is missing."""
    assert silent_for(1.0, 1.014, 0.005) == 0.0
    assert silent_for(1.0, 1.5, 0.005) == 0.5
