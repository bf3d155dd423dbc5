# SPDX-License-Identifier: Apache-2.0
"""Noise of an IMU, second by second: at rest, in motion, and the densities that follow from it.

Within a second the second difference x[i-1] - 2 x[i] + x[i+1] takes out bias, gravity and smooth
motion; its robust deviation over sqrt(6) is that of white noise, over sqrt(rate) its density. What
shakes the sensor while it moves (propellers, an engine) stays in, as it should: an estimator must
be told the noise of motion, not of the bench. On EuRoC MH_01, moved by hand, the 95th percentile is
2.0e-4 rad/s/sqrt(Hz), near the datasheet's 1.7e-4; on V1_01, in flight, 4.3e-3.
"""

from dataclasses import dataclass

import numpy as np

from depthkit.trajectory import Imu

WINDOW = 1.0
"""Seconds."""
LEAST_SAMPLES = 50
"""Samples a window: below 50 Hz motion itself is not smooth from sample to sample."""
REST_PART = 0.1
"""Seconds over which samples are averaged where rest is looked for."""
REST_GYRO, REST_ACCEL = 0.01, 0.1
"""rad/s and m/s2 by which such a mean may lie off that of its window at rest."""
WORST = 95.0
"""Percentile of the windows' densities that is recommended."""


@dataclass(frozen=True)
class Windows:
    """Figures of each second."""

    gyro: np.ndarray
    """White noise, rad/s/sqrt(Hz). (W,)"""
    accel: np.ndarray
    """White noise, m/s2/sqrt(Hz); NaN without an accelerometer. (W,)"""
    still: np.ndarray
    """Whether the IMU is at rest. (W,) bool"""
    gravity: np.ndarray
    """Length of the mean acceleration, m/s2. (W,)"""
    rate: np.ndarray
    """Mean of the gyroscope, rad/s. (W, 3)"""


def measure_windows(imu: Imu) -> Windows:
    """Cut samples into seconds without a gap and measure each; none where the rate is too low."""
    size = round(WINDOW * imu.rate)
    parts = []
    if size >= LEAST_SAMPLES:
        starts = range(0, len(imu) - size + 1, size)
        parts = [imu.rows[i : i + size] for i in starts]
        parts = [rows for rows in parts if rows[-1, 0] - rows[0, 0] < 1.1 * WINDOW]
    noise = np.array([_densities(rows, imu.rate) for rows in parts]).reshape(-1, 2)
    means = np.array([rows[:, 1:].mean(axis=0) for rows in parts]).reshape(-1, 6)
    still = np.array([_is_still(rows, imu.rate) for rows in parts], dtype=bool)
    gravity = np.linalg.norm(means[:, 3:], axis=1)
    return Windows(noise[:, 0], noise[:, 1], still, gravity, means[:, :3])


def worst(values: np.ndarray) -> float:
    """Return the percentile that is recommended; NaN without windows."""
    return float(np.percentile(values, WORST)) if len(values) else float("nan")


def usual(values: np.ndarray) -> float:
    """Return the median; NaN without windows."""
    return float(np.median(values)) if len(values) else float("nan")


def _densities(rows: np.ndarray, rate: float) -> tuple[float, float]:
    """Return the densities of gyroscope and accelerometer, the root mean square of their axes."""
    bend = np.diff(rows[:, 1:], n=2, axis=0)
    sigma = 1.4826 * np.median(np.abs(bend - np.median(bend, axis=0)), axis=0) / np.sqrt(6)
    density = np.sqrt(np.mean(sigma.reshape(2, 3) ** 2, axis=1) / rate)
    return float(density[0]), float(density[1])


def _is_still(rows: np.ndarray, rate: float) -> bool:
    """Whether no mean over a part of the window lies off that of the whole."""
    size = max(1, round(REST_PART * rate))
    count = len(rows) // size
    parts = rows[: count * size, 1:].reshape(count, size, 6).mean(axis=1)  # (count, 6)
    off = np.abs(parts - rows[:, 1:].mean(axis=0)).max(axis=0)
    return bool((off[:3] < REST_GYRO).all() and not (off[3:] >= REST_ACCEL).any())
