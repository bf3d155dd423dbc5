# SPDX-License-Identifier: Apache-2.0
"""The newest samples of an IMU, and what is wrong with them when seen alone."""

import numpy as np

from depthkit.errors import DataError
from depthkit.runtime.odometry.imu_preintegration import MAX_PERIODS, usual_period

KEPT = 20.0  # seconds of samples that are kept
STILL_SPAN = 0.5  # seconds
STILL_GYRO, STILL_ACCEL = 0.025, 0.16
"""Largest standard deviation of any axis over STILL_SPAN while standing still, rad/s and m/s2. In
MH_01 at rest 0.022 and 0.147 (the drone has just been put down), in its flight never less than
0.055 and 0.22 together; in V1_01's flight 0.07 and 1.0."""
STILL_TURN = 0.15
"""Largest mean rate that can be the bias of a gyro that stands still, rad/s."""
MAX_RATE = 40.0
"""Faster than any gyro of a camera's kind measures (2000 deg/s is 35), rad/s."""
GRAVITY_BAND = (7.0, 13.0)
"""Mean length of the specific force of a sound accelerometer over seconds, m/s2."""
CLIPPED = 3  # equal extreme values in a row


class Samples:
    """Rows t wx wy wz ax ay az of the last seconds."""

    def __init__(self) -> None:
        """Start without samples."""
        self._rows = np.zeros((1024, 7))
        self._first = self._end = 0

    @property
    def rows(self) -> np.ndarray:
        """The samples, stamps rising; a view that the next `add` may overwrite. (N, 7)"""
        return self._rows[self._first : self._end]

    @property
    def newest(self) -> float:
        """Stamp of the last sample, seconds; -inf without any."""
        return float(self._rows[self._end - 1, 0]) if self._end > self._first else -np.inf

    @property
    def period(self) -> float:
        """Usual distance of the samples, seconds; 0 with fewer than two."""
        return usual_period(self.rows[:, 0]) if self._end - self._first > 1 else 0.0

    def add(self, rows: np.ndarray) -> None:
        """Append samples; those that are not newer than the last one are left out.

        Args:
            rows: t wx wy wz ax ay az, stamps rising, seconds, rad/s, m/s2. (N, 7)

        Raises:
            DataError: wrong shape, rates that are not finite, or stamps that do not rise.
        """
        rows = np.asarray(rows, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != 7:
            raise DataError(f"imu: rows must be (N, 7), t wx wy wz ax ay az, got {rows.shape}")
        if not np.isfinite(rows[:, :4]).all():
            raise DataError("imu: stamps and angular rates must be finite; drop such rows")
        if (np.diff(rows[:, 0]) <= 0).any():
            raise DataError("imu: stamps must rise; sort the rows and drop doubles")
        rows = rows[rows[:, 0] > self.newest]
        if len(rows):
            self._append(rows)

    def _append(self, rows: np.ndarray) -> None:
        keep = self.rows[self.rows[:, 0] >= rows[-1, 0] - KEPT]
        if self._end + len(rows) > len(self._rows):
            size = max(len(self._rows), 2 * (len(keep) + len(rows)))
            moved = np.zeros((size, 7))
            moved[: len(keep)] = keep
            self._rows, self._first, self._end = moved, 0, len(keep)
        self._first = self._end - len(keep)
        self._rows[self._end : self._end + len(rows)] = rows
        self._end += len(rows)

    def last(self, span: float) -> np.ndarray:
        """Return the samples of the last `span` seconds. (N, 7)"""
        return self.rows[self.rows[:, 0] > self.newest - span]


def stands_still(rows: np.ndarray, bias: np.ndarray, bias_sigma: float) -> bool:
    """Tell whether the samples are those of an IMU at rest: hardly varying, no rate but the bias.

    A smooth ride at constant speed looks alike: ask the camera too.

    Args:
        rows: samples of about STILL_SPAN. (N, 7)
        bias: gyro bias, rad/s. (3,)
        bias_sigma: how well it is known, rad/s.
    """
    if len(rows) < 10 or rows[-1, 0] - rows[0, 0] < 0.8 * STILL_SPAN:
        return False
    spread = rows[:, 1:].std(axis=0)
    rate = float(np.abs(rows[:, 1:4].mean(axis=0) - bias).max())
    calm = spread[:3].max() < STILL_GYRO and not (spread[3:] > STILL_ACCEL).any()
    return bool(calm and rate < min(0.03 + 3 * bias_sigma, STILL_TURN))


def gyro_fault(rows: np.ndarray) -> str:
    """Name what is wrong with a second or more of rates seen alone; empty if nothing is."""
    if len(rows) < 10:
        return ""
    fastest = float(np.abs(rows[:, 1:4]).max())
    if fastest > MAX_RATE:
        return f"gyro: {fastest:.0f} rad/s is faster than gyros measure; are these deg/s?"
    if _clipped(rows[:, 1:4], 1.0):
        return "gyro saturated: its extreme value several times in a row; its range is too low"
    return ""


def accel_fault(rows: np.ndarray) -> str:
    """Name what is wrong with two seconds of specific force seen alone; empty if nothing is."""
    if len(rows) < 10 or not np.isfinite(rows[:, 4:]).all():
        return ""
    if _clipped(rows[:, 4:], 15.0):
        return "accelerometer saturated: its extreme value several times in a row"
    if rows[-1, 0] - rows[0, 0] < 1.5:
        return ""
    length = float(np.linalg.norm(rows[:, 4:].mean(axis=0)))
    if GRAVITY_BAND[0] < length < GRAVITY_BAND[1]:
        return ""
    if 0.7 < length < 1.3:
        return f"accelerometer: {length:.2f} m/s2 on average, expected 9.81; are these g?"
    return f"accelerometer: {length:.1f} m/s2 on average, expected 9.81; is gravity taken off?"


def _clipped(values: np.ndarray, least: float) -> bool:
    """Whether an axis holds one extreme value CLIPPED times in a row, larger than `least`."""
    size = np.abs(values)
    extreme = (size == size.max(axis=0)) & (size > least)
    runs = extreme[2:] & extreme[1:-1] & extreme[:-2]
    same = (values[2:] == values[1:-1]) & (values[1:-1] == values[:-2])
    return bool((runs & same).any())


def silent_for(newest: float, stamp: float, period: float) -> float:
    """Return for how long samples are missing at a stamp, seconds; 0 up to MAX_PERIODS."""
    gap = stamp - newest
    return gap if gap > MAX_PERIODS * period else 0.0
