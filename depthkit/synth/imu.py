# SPDX-License-Identifier: Apache-2.0
"""What an IMU on a camera's way measures: exact rates and specific force, then the sensor's errors.

The way between frames is a cubic spline through the frames' places and quaternions, so that rates
and accelerations are its analytic derivatives.
"""

from dataclasses import dataclass

import numpy as np

from depthkit.errors import ConfigError, DataError
from depthkit.rigid import inverse, make_pose, matrix_to_quaternion, quaternion_to_matrix
from depthkit.trajectory.imu import Imu, ImuNoise

GRAVITY = 9.81  # m/s2
DOWN = (0.0, 1.0, 0.0)  # the worlds' y axis
RATE = 200.0  # samples a second

# The IMU as it sits on most visual-inertial boards: x up, y left, z backwards of the camera's
# front, a few centimetres from the lens.
T_CAM_IMU = make_pose(
    [[0.0, -1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, -1.0]], np.array([0.05, -0.02, -0.01])
)


@dataclass(frozen=True)
class ImuGrade:
    """Errors of one kind of sensor."""

    noise: ImuNoise
    """Densities of white noise and random walks."""
    gyro_bias: float
    """Standard deviation of the bias at switching on, rad/s."""
    accel_bias: float
    """Standard deviation of the bias at switching on, m/s2."""


def find_grade(name: str) -> ImuGrade:
    """Return the errors of a sensor by name: perfect, adis or phone.

    adis: ADIS16448, densities as the EuRoC sequences state them (sensor.yaml); bias of the gyro as
    found there (0.02 to 0.08 rad/s), of the accelerometer 0.1 m/s2 [EuRoC: 0.03 to 0.14].
    phone: Bosch BMI160, sold for phones; densities as TUM VI recommends for it [Schubert et al.
    2018, table: 0.00016, 0.0028, 0.000022, 0.00086], biases of half its data sheet's offsets
    (3 deg/s, 40 mg), as phones calibrate theirs.

    Raises:
        ConfigError: there is no such sensor.
    """
    match name:
        case "perfect":
            return ImuGrade(ImuNoise(0.0, 0.0, 0.0, 0.0), 0.0, 0.0)
        case "adis":
            return ImuGrade(ImuNoise(1.6968e-4, 2.0e-3, 1.9393e-5, 3.0e-3), 0.04, 0.1)
        case "phone":
            return ImuGrade(ImuNoise(1.6e-4, 2.8e-3, 2.2e-5, 8.6e-4), 0.026, 0.2)
    raise ConfigError(f"unknown IMU {name!r}; choose from phone, adis, perfect")


class SmoothPath:
    """A twice differentiable way of the IMU through given camera poses."""

    def __init__(self, times: np.ndarray, T_world_cam: np.ndarray, T_cam_imu: np.ndarray) -> None:
        """Lay the spline.

        Args:
            times: seconds, rising. (N,), N >= 2
            T_world_cam: poses of the camera at these times, metres. (N, 4, 4)
            T_cam_imu: points of the IMU to the camera, metres. (4, 4)

        Raises:
            DataError: fewer than two poses, or times that do not rise.
        """
        if len(times) < 2 or not (np.diff(times) > 0).all():
            raise DataError(f"SmoothPath: expected 2 or more rising times, got {len(times)}")
        poses = T_world_cam @ T_cam_imu
        q = matrix_to_quaternion(poses[:, :3, :3])
        flips = np.sign((q[1:] * q[:-1]).sum(axis=1))  # q and -q are one rotation: stay near
        q[1:] *= np.cumprod(np.where(flips == 0, 1.0, flips))[:, None]
        self.times = np.asarray(times, dtype=np.float64)
        self.T_cam_imu = T_cam_imu
        self._values = np.concatenate([poses[:, :3, 3], q], axis=1)
        self._bends = _natural_bends(self.times, self._values)

    def imu_poses(self, t: np.ndarray) -> np.ndarray:
        """T_world_imu at times within the path, seconds. (M,) -> (M, 4, 4)"""
        value = self._evaluate(t)[0]
        return make_pose(quaternion_to_matrix(value[:, 3:]), value[:, :3])

    def camera_poses(self, t: np.ndarray) -> np.ndarray:
        """T_world_cam at times within the path, seconds. (M,) -> (M, 4, 4)"""
        return self.imu_poses(t) @ inverse(self.T_cam_imu)

    def velocities(self, t: np.ndarray) -> np.ndarray:
        """Velocity of the IMU in the world, m/s. (M,) -> (M, 3)"""
        return self._evaluate(t)[1][:, :3]

    def measurements(self, t: np.ndarray, gravity: np.ndarray) -> np.ndarray:
        """Angular rate and specific force in the IMU's axes, rad/s and m/s2.

        Args:
            t: seconds, within the path. (M,)
            gravity: pull in the world, m/s2. (3,)

        Returns:
            wx wy wz ax ay az. (M, 6)
        """
        value, first, second = self._evaluate(t)
        q, dq = value[:, 3:], first[:, 3:]
        # w = 2 vec(conj(q) dq) / |q|^2 [Sola 2017, eq. (198)], for a quaternion of any length.
        cross = q[:, 3:] * dq[:, :3] - dq[:, 3:] * q[:, :3] - np.cross(q[:, :3], dq[:, :3])
        rates = 2 * cross / (q**2).sum(axis=1, keepdims=True)
        R = quaternion_to_matrix(q)
        force = np.einsum("nji,nj->ni", R, second[:, :3] - gravity)
        return np.concatenate([rates, force], axis=1)

    def _evaluate(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Value, first and second derivative of the spline. (M,) -> 3 x (M, 7)"""
        i = np.clip(np.searchsorted(self.times, t, side="right") - 1, 0, len(self.times) - 2)
        h = (self.times[i + 1] - self.times[i])[:, None]
        b = (t[:, None] - self.times[i, None]) / h
        a = 1 - b
        y0, y1 = self._values[i], self._values[i + 1]
        m0, m1 = self._bends[i], self._bends[i + 1]
        value = a * y0 + b * y1 + ((a**3 - a) * m0 + (b**3 - b) * m1) * h**2 / 6
        slope = (y1 - y0) / h + ((3 * b**2 - 1) * m1 - (3 * a**2 - 1) * m0) * h / 6
        return value, slope, a * m0 + b * m1


def _natural_bends(t: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Second derivatives of the natural cubic spline at its knots. (N, D)"""
    bends = np.zeros_like(y)
    if len(t) < 3:
        return bends
    h = np.diff(t)
    slopes = np.diff(y, axis=0) / h[:, None]
    matrix = np.diag((h[:-1] + h[1:]) / 3) + np.diag(h[1:-1] / 6, 1) + np.diag(h[1:-1] / 6, -1)
    bends[1:-1] = np.linalg.solve(matrix, np.diff(slopes, axis=0))
    return bends


def simulate_imu(
    path: SmoothPath,
    grade: ImuGrade,
    *,
    seed: int,
    rate: float = RATE,
    down: tuple[float, float, float] = DOWN,
) -> tuple[Imu, np.ndarray]:
    """Sample the sensor along a path.

    Args:
        path: way of the IMU.
        grade: the sensor's errors.
        seed: same seed, same errors.
        rate: samples a second.
        down: direction of gravity in the world, a unit vector.

    Returns:
        imu: samples from the first time of the path to its last one or just after; noise is None
            for a sensor without any.
        biases: gyro and accelerometer bias at each sample, rad/s and m/s2. (N, 6)
    """
    count = int(np.ceil((path.times[-1] - path.times[0]) * rate - 1e-9)) + 1
    times = path.times[0] + np.arange(count) / rate
    exact = path.measurements(times, GRAVITY * np.asarray(down))
    rng = np.random.default_rng((seed, 21))
    noise = grade.noise
    at_start = rng.normal(size=6) * np.repeat([grade.gyro_bias, grade.accel_bias], 3)
    walks = rng.normal(size=(count, 6)) * np.repeat([noise.gyro_walk, noise.accel_walk], 3)
    biases = at_start + np.cumsum(walks, axis=0) / np.sqrt(rate)
    white = rng.normal(size=(count, 6)) * np.repeat([noise.gyro, noise.accel], 3) * np.sqrt(rate)
    rows = np.column_stack([times, exact + biases + white])
    return Imu(rows, path.T_cam_imu, noise if noise.gyro > 0 else None), biases
