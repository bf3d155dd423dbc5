# SPDX-License-Identifier: Apache-2.0
"""What an IMU gives the odometry, frame by frame: rotation, metres, gravity, rest, and its faults.

Loosely coupled: the visual path is made without the IMU and stays in its own unit; a sliding
window of its poses is aligned to the inertial motion (`imu_alignment.py`) about twice a second.
"""

from dataclasses import dataclass, replace

import numpy as np

from depthkit.errors import DataError
from depthkit.runtime.odometry.imu_path import AlignedPath, BiasMemory
from depthkit.runtime.odometry.imu_preintegration import between, preintegrate
from depthkit.runtime.odometry.imu_samples import (
    STILL_SPAN,
    Samples,
    accel_fault,
    gyro_fault,
    silent_for,
    stands_still,
)
from depthkit.runtime.odometry.imu_timing import TurnWatch
from depthkit.runtime.odometry.imu_window import BiasPrior
from depthkit.trajectory.imu import ImuNoise

USUAL_NOISE = ImuNoise(1.7e-4, 2.5e-3, 2e-5, 1e-3)
"""Densities taken where none are known: between those of a phone's and a drone's IMU."""

REACH_ON = 0.1
"""Longest time beyond the newest sample over which the last rate is kept, seconds."""
RATE_CHANGE = 5.0
"""Usual change of the rate in that time, rad/s2."""
MAX_BIAS = 0.1
"""Standard deviation of the gyro's bias above which no rotation is given, rad/s."""
SCALE_FACTOR = 0.005
"""Error of a gyro's scale factor and axes, part of the angle."""
NO_OVERLAP = 1.0
"""Stamps that are farther apart belong to different clocks, seconds."""


@dataclass(frozen=True, eq=False)
class RotationPrior:
    """Rotation of the camera by the gyro."""

    R_previous_current: np.ndarray
    """Axes of the camera now to axes of the camera before. (3, 3)"""
    sigma: float
    """Standard deviation of each axis, rad."""


@dataclass(frozen=True)
class ScaleEstimate:
    """Metres per unit of the visual path, by the latest window."""

    factor: float | None = None
    """Metres per unit; None where `reason` says why."""
    sigma: float | None = None
    """Relative standard deviation."""
    stamp: float | None = None
    """End of the window, seconds; None before the first."""
    reason: str = "no window yet"
    """Why no factor is known; empty if it is."""


@dataclass(frozen=True, eq=False)
class GravityEstimate:
    """Pull of gravity in the world of the visual path."""

    direction: np.ndarray
    """Unit vector. (3,)"""
    sigma: float
    """Standard deviation of roll and of pitch, rad."""


class InertialAid:
    """Everything an odometry asks of an IMU."""

    def __init__(self, T_cam_imu: np.ndarray, noise: ImuNoise | None = None) -> None:
        """Start without samples.

        Args:
            T_cam_imu: points of the IMU to the camera, metres. (4, 4)
            noise: densities of its noise; None for those of a usual small IMU.

        Raises:
            DataError: T_cam_imu is no (4, 4) matrix.
        """
        if np.shape(T_cam_imu) != (4, 4):
            raise DataError(f"imu: T_cam_imu must be (4, 4), got {np.shape(T_cam_imu)}")
        self.T_cam_imu = np.asarray(T_cam_imu, dtype=np.float64)
        self._R_cam_imu = self.T_cam_imu[:3, :3]
        self.noise = noise or USUAL_NOISE
        self.still = False
        """Whether the IMU stands still now, by gyro and accelerometer."""
        self._samples = Samples()
        self._memory = BiasMemory(self.noise)
        self._watch = TurnWatch()
        self._gyro_fault = self._accel_fault = self._stamp_fault = ""
        self._spoilt = False  # the window holds samples of a faulty accelerometer
        self.reset_segment()

    def reset_segment(self) -> None:
        """Forget the visual path after a loss: the next has a world and unit of its own.

        Biases, the time offset and the samples stay.
        """
        self._path = AlignedPath(self.T_cam_imu, self.noise, self._memory)
        self._last: tuple[float, np.ndarray] | None = None

    # --- samples -----------------------------------------------------------------------------

    def add(self, rows: np.ndarray) -> None:
        """Take new samples.

        Args:
            rows: t wx wy wz ax ay az, stamps rising, seconds, rad/s, m/s2; accelerations NaN for a
                gyro alone. (N, 7)

        Raises:
            DataError: wrong shape, rates that are not finite, or stamps that do not rise.
        """
        self._samples.add(rows)
        if len(rows):
            recent = self._samples.last(2.0)
            self._gyro_fault, self._accel_fault = gyro_fault(recent), accel_fault(recent)
            self._rest()

    def _rest(self) -> None:
        """Measure the gyro's bias while standing still."""
        rows = self._samples.last(STILL_SPAN)
        self.still = stands_still(rows, self.bias.gyro, self.bias.gyro_sigma)
        if not self.still:
            return
        spread = float(rows[:, 1:4].std(axis=0).max()) / np.sqrt(len(rows))
        sigma = float(np.hypot(2 * spread, 0.001))  # what moves a little is not quite at rest
        if sigma < self.bias.gyro_sigma:
            rested = replace(self.bias, gyro=rows[:, 1:4].mean(axis=0), gyro_sigma=sigma)
            self._memory.remember(float(rows[-1, 0]) - self.time_offset, rested)

    def rotation(self, start: float, end: float) -> RotationPrior | None:
        """Return the camera's rotation between two frames.

        Args:
            start: stamp of the earlier frame, seconds.
            end: stamp of the later one.

        Returns:
            None without samples over the time, with a fault, or until the camera's own rotations
            have shown bias, unit and axes.
        """
        self._check_stamps(end)
        rows, beyond = self._covering(start + self.time_offset, end + self.time_offset)
        trusted = self._watch.agrees and not self._gyro_fault and self.bias.gyro_sigma < MAX_BIAS
        if rows is None or not trusted:
            return None
        bias = np.concatenate([self.bias.gyro, self.bias.accel])
        delta = preintegrate(rows, self.noise, bias=bias).rotation
        R = self._R_cam_imu @ delta @ self._R_cam_imu.T
        angle = np.arccos(np.clip((np.trace(R) - 1) / 2, -1, 1))
        errors = (
            self.noise.gyro * np.sqrt(end - start),
            self.bias.gyro_sigma * (end - start),
            SCALE_FACTOR * angle,
            0.5 * RATE_CHANGE * beyond**2,
        )
        return RotationPrior(R, float(np.sqrt(sum(e * e for e in errors))))

    def _covering(self, start: float, end: float) -> tuple[np.ndarray | None, float]:
        """Samples over a time of the IMU's clock, the last rate kept a little beyond the newest."""
        rows, newest = self._samples.rows, self._samples.newest
        beyond = end - newest
        if not len(rows) or not start < end or beyond > REACH_ON:
            return None, 0.0
        if beyond > 0:
            rows = _held(rows[rows[:, 0] > start - 1.0], end, self._samples.period)
        return between(rows, start, end), max(beyond, 0.0)

    # --- the visual path ---------------------------------------------------------------------

    def update(self, stamp: float, T_world_cam: np.ndarray, *, keyframe: bool = True) -> None:
        """Take a pose of the visual path, in the order of stamps.

        Give every frame's: rotations between neighbours show the time offset, and poses some tenths
        of a second apart make the window when keyframes are rarer.

        Args:
            stamp: of the frame, seconds.
            T_world_cam: pose in the world of the segment, translations in any one unit. (4, 4)
            keyframe: put it into the window even if the one before is rather near.
        """
        T = np.array(T_world_cam, dtype=np.float64)
        self._check_stamps(stamp)
        rows = self._samples.rows
        if self._last is not None:
            R = self._R_cam_imu.T @ self._last[1][:3, :3].T @ T[:3, :3] @ self._R_cam_imu
            if self._watch.add(self._last[0], stamp, R, rows):
                self._path.unlink()
        self._last = stamp, T
        if self._watch.fault or self._gyro_fault:
            self._path.clear()  # such samples must not stay in a window
            self._memory.forget()
            return
        if self._spoilt and not self._accel_fault:
            self._path.clear()
        self._spoilt = bool(self._accel_fault)
        if self._path.add(stamp, T, keyframe=keyframe):
            self._path.link(rows, self.time_offset)
            self._path.solve(gyro_alone=self._spoilt)

    def adjust(self, stamps: np.ndarray, T_world_cam: np.ndarray) -> None:
        """Replace poses by better ones after an adjustment of the visual path.

        Args:
            stamps: of frames, seconds; those that are not in the window are passed over. (N,)
            T_world_cam: their poses now. (N, 4, 4)
        """
        self._path.adjust(stamps, np.asarray(T_world_cam, dtype=np.float64))

    # --- faults ------------------------------------------------------------------------------

    def _check_stamps(self, stamp: float) -> None:
        """Compare the clocks at a frame."""
        rows, newest = self._samples.rows, self._samples.newest
        self._stamp_fault = ""
        if not len(rows):
            self._stamp_fault = "IMU silent: no samples so far"
            return
        oldest = float(rows[0, 0])
        missing = silent_for(newest, stamp, self._samples.period)
        if oldest > stamp + NO_OVERLAP or (missing > NO_OVERLAP and not self._path.linked):
            self._stamp_fault = (
                f"stamps of camera and IMU do not overlap: frame at {stamp:.3f} s, samples from "
                f"{oldest:.3f} to {newest:.3f} s; one clock is wrong"
            )
        elif missing:
            self._stamp_fault = f"IMU silent for {missing:.2f} s"

    # --- what is known -----------------------------------------------------------------------

    @property
    def bias(self) -> BiasPrior:
        """Latest biases of gyro and accelerometer, with their standard deviations."""
        return self._memory.latest

    @property
    def time_offset(self) -> float:
        """Clock of the IMU less that of the frames as far as it is corrected, seconds."""
        return self._watch.offset

    @property
    def notes(self) -> list[str]:
        """Corrections so far, in order."""
        return list(self._watch.notes)

    @property
    def fault(self) -> str:
        """What is wrong with the IMU now, in one line; empty if nothing is."""
        return self._stamp_fault or self._gyro_fault or self._accel_fault or self._watch.fault

    @property
    def scale(self) -> ScaleEstimate:
        """Metres per unit of the visual path, or why they are unknown."""
        if self.fault:
            return ScaleEstimate(stamp=self._path.aligned_at, reason=self.fault)
        found = self._path.alignment
        if found is None and np.isnan(self._samples.rows[-1:, 4:]).any():
            return ScaleEstimate(reason="the IMU has no accelerometer")
        if found is None:
            return ScaleEstimate()
        return ScaleEstimate(found.scale, found.sigma, self._path.aligned_at, found.reason)

    @property
    def gravity_in_world(self) -> GravityEstimate | None:
        """Pull of gravity in the world of the segment; None before the first window."""
        found = self._path.alignment
        return None if found is None else GravityEstimate(found.gravity, found.gravity_sigma)


def _held(rows: np.ndarray, end: float, period: float) -> np.ndarray:
    """Repeat the last sample up to a time after it."""
    times = np.append(np.arange(rows[-1, 0] + period, end, max(period, 1e-4)), end)
    held = np.repeat(rows[-1:], len(times), axis=0)
    held[:, 0] = times
    return np.concatenate([rows, held[np.append(np.diff(times) > 0, True)]])
