# SPDX-License-Identifier: Apache-2.0
"""Inertial samples between two stamps as one relative motion [Forster et al. 2017, section VI].

The first sample's frame is the reference: rotation, velocity and place need neither the first
velocity nor gravity. Errors are summed in that frame, where each sample's part in the end is known
in closed form, so only the product of rotations is a loop.
"""

from dataclasses import dataclass

import numpy as np

from depthkit.errors import DataError
from depthkit.rigid import skew
from depthkit.trajectory.imu import ImuNoise

MAX_PERIODS = 3.0
"""Longest hole between samples, as a multiple of their usual distance."""


@dataclass(frozen=True, eq=False)
class Preintegrated:
    """Relative motion of the IMU between two stamps, for one guess of the biases."""

    duration: float
    """Time between the stamps, seconds."""
    rotation: np.ndarray
    """Rotation that takes axes at the end to axes at the start. (3, 3)"""
    velocity: np.ndarray
    """Change of velocity less that by gravity, axes at the start, m/s. (3,)"""
    place: np.ndarray
    """Change of place less that by velocity and gravity, axes at the start, metres. (3,)"""
    bias_jacobian: np.ndarray
    """Derivative of (rotation, velocity, place) to (gyro bias, accelerometer bias); the rotation's
    in axes at the end. (9, 6)"""
    covariance: np.ndarray
    """Covariance of (rotation, velocity, place) by the noise of the samples, the rotation's in axes
    at the end. (9, 9)"""
    bias: np.ndarray
    """Gyro and accelerometer bias that the samples were freed of, rad/s and m/s2. (6,)"""


def between(rows: np.ndarray, start: float, end: float) -> np.ndarray | None:
    """Cut samples to an interval, interpolated at both ends.

    Args:
        rows: samples t wx wy wz ax ay az, stamps rising. (N, 7)
        start: first stamp, seconds.
        end: last stamp, seconds; after start.

    Returns:
        Rows from start to end, both included; None where the samples do not cover the interval or
        leave a hole of more than MAX_PERIODS usual distances in it. (M, 7)
    """
    times = rows[:, 0]
    if len(rows) < 2 or not (times[0] <= start < end <= times[-1]):
        return None
    first = int(np.searchsorted(times, start, side="right"))
    last = int(np.searchsorted(times, end, side="left"))
    around = times[first - 1 : last + 1]
    period = usual_period(times)
    if np.diff(around).max() > MAX_PERIODS * period:
        return None
    return np.vstack([_at(rows, first, start), rows[first:last], _at(rows, last, end)])


def usual_period(times: np.ndarray) -> float:
    """Return the median distance of the last 200 stamps, seconds."""
    return float(np.median(np.diff(times[-200:])))


def _at(rows: np.ndarray, after: int, stamp: float) -> np.ndarray:
    """Interpolate a row between rows after - 1 and after."""
    before = max(after - 1, 0)
    a, b = rows[before], rows[min(after, len(rows) - 1)]
    gap = b[0] - a[0]
    row = a + (b - a) * ((stamp - a[0]) / gap if gap > 0 else 0.0)
    row[0] = stamp
    return row


def preintegrate(rows: np.ndarray, noise: ImuNoise, *, bias: np.ndarray) -> Preintegrated:
    """Sum samples up into one relative motion, by the midpoint rule.

    Args:
        rows: samples t wx wy wz ax ay az from the first to the last stamp, as `between` cuts them,
            seconds, rad/s and m/s2. (N, 7), N >= 2
        noise: densities of the samples' noise.
        bias: gyro and accelerometer bias to take off, rad/s and m/s2. (6,)

    Raises:
        DataError: fewer than two rows, or stamps that do not rise.
    """
    if rows.ndim != 2 or rows.shape[1] != 7 or len(rows) < 2:
        raise DataError(f"preintegrate: rows must be (N, 7) with N >= 2, got {rows.shape}")
    dt = np.diff(rows[:, 0])
    if not (dt > 0).all():
        raise DataError("preintegrate: stamps must rise; sort the samples and drop doubles")
    mid = 0.5 * (rows[1:, 1:] + rows[:-1, 1:]) - bias
    # 1. Rotation at the end of every step (R) and in its middle, where the acceleration acts.
    turns, right = _steps(mid[:, :3] * dt[:, None])
    R, R_mid = _chain(turns, mid[:, :3] * dt[:, None])
    acceleration = (R_mid @ mid[:, 3:, None])[..., 0]
    # 2. Velocity and place at the end of every step.
    gained = acceleration * dt[:, None]
    v = np.cumsum(gained, axis=0)
    p = np.cumsum((v - 0.5 * gained) * dt[:, None], axis=0)
    # 3. What an error of each step's sample does to the end, then bias and noise from it.
    G = _influence(R, right, R_mid, dt, v, p)
    return Preintegrated(
        duration=float(rows[-1, 0] - rows[0, 0]),
        rotation=R[-1],
        velocity=v[-1],
        place=p[-1],
        bias_jacobian=-G.sum(axis=0),
        covariance=_noise_covariance(G, noise, dt),
        bias=np.asarray(bias, dtype=np.float64).copy(),
    )


def _influence(
    R: np.ndarray,
    right: np.ndarray,
    R_mid: np.ndarray,
    dt: np.ndarray,
    v: np.ndarray,
    p: np.ndarray,
) -> np.ndarray:
    """Derivative of the end to each step's gyro and accelerometer sample. (N, 9, 6)

    A small turn at step i turns all that is gained after it; [Forster et al. 2017, eq. (A.14)
    onwards] as a sum over steps instead of a recursion.
    """
    left = dt.sum() - np.cumsum(dt)  # time left after each step
    G = np.zeros((len(dt), 9, 6))
    turn = R @ right * dt[:, None, None]
    # The step's own gain is turned by about half of the step's error.
    own = 0.5 * np.diff(v, axis=0, prepend=0.0)
    later_v = v[-1] - v + own
    later_p = p[-1] - p - v * left[:, None] + own * (left + dt / 3)[:, None]
    G[:, 0:3, 0:3] = R[-1].T @ turn
    G[:, 3:6, 0:3] = -skew(later_v) @ turn
    G[:, 6:9, 0:3] = -skew(later_p) @ turn
    G[:, 3:6, 3:6] = R_mid * dt[:, None, None]
    G[:, 6:9, 3:6] = R_mid * (dt * (left + 0.5 * dt))[:, None, None]
    return G


def _noise_covariance(G: np.ndarray, noise: ImuNoise, dt: np.ndarray) -> np.ndarray:
    """Sum white noise of the samples up: a density has the variance density^2 / dt in a step."""
    scale = np.repeat([noise.gyro, noise.accel], 3) / np.sqrt(dt)[:, None]
    flat = (G * scale[:, None, :]).transpose(1, 0, 2).reshape(9, -1)
    covariance = flat @ flat.T
    # One sample alone leaves directions without noise: a thousandth of what it does leave.
    return covariance + np.diag(1e-6 * np.diag(covariance))


def _steps(turns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return rotations of rotation vectors and their right Jacobians. (N, 3) -> 2 x (N, 3, 3)"""
    angle = np.sqrt((turns**2).sum(axis=1))
    a = np.maximum(angle, 1e-4)
    first = np.where(angle < 1e-4, 1 - angle**2 / 6, np.sin(a) / a)
    second = np.where(angle < 1e-4, 0.5 - angle**2 / 24, (1 - np.cos(a)) / a**2)
    third = np.where(angle < 1e-4, 1 / 6 - angle**2 / 120, (a - np.sin(a)) / a**3)
    W = skew(turns)
    W2 = W @ W
    eye = np.eye(3)
    exp = eye + first[:, None, None] * W + second[:, None, None] * W2
    return exp, eye - second[:, None, None] * W + third[:, None, None] * W2


def _chain(steps: np.ndarray, turns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Multiply rotations up: at the end of each step, and in its middle. 2 x (N, 3, 3)"""
    R = np.empty((len(steps) + 1, 3, 3))
    R[0] = np.eye(3)
    for i, step in enumerate(steps):
        np.dot(R[i], step, out=R[i + 1])
    half, _ = _steps(0.5 * turns)
    return R[1:], R[:-1] @ half
