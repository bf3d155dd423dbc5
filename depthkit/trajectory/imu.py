# SPDX-License-Identifier: Apache-2.0
"""The record of an inertial measurement unit (IMU) beside a camera, and its files.

`imu.csv` holds one sample a row, `t,wx,wy,wz,ax,ay,az`, in seconds, rad/s and m/s2, in the axes of
the IMU; `nan` in place of all accelerations stands for a gyroscope alone. `imu.yaml` beside it
holds T_cam_imu, the noise densities and the rate, each where known. Numpy only: robots import it.
"""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from depthkit.errors import DataError, ShapeError
from depthkit.trajectory.table import ROTATION_TOLERANCE

CSV_NAME, YAML_NAME = "imu.csv", "imu.yaml"
COLUMNS = ("t", "wx", "wy", "wz", "ax", "ay", "az")


@dataclass(frozen=True)
class ImuNoise:
    """Continuous-time noise densities of an IMU, as its calibration states them.

    The white noise of one sample has the standard deviation density * sqrt(rate); the bias walks by
    walk * sqrt(dt) in dt seconds.
    """

    gyro: float
    """White noise of the gyroscope, rad/s/sqrt(Hz)."""
    accel: float
    """White noise of the accelerometer, m/s2/sqrt(Hz)."""
    gyro_walk: float
    """Random walk of the gyroscope's bias, rad/s2/sqrt(Hz)."""
    accel_walk: float
    """Random walk of the accelerometer's bias, m/s3/sqrt(Hz)."""


@dataclass(frozen=True, eq=False)
class Imu:
    """Samples of one IMU, and how it sits on the camera."""

    rows: np.ndarray
    """Samples t wx wy wz ax ay az: seconds (rising, the clock of the frames), rad/s, m/s2, in the
    axes of the IMU; accelerations are NaN throughout for a gyroscope alone. (N, 7) float64"""
    T_cam_imu: np.ndarray | None = None
    """Points of the IMU frame to the camera frame, metres; None where unknown. (4, 4)"""
    noise: ImuNoise | None = None
    """Noise densities; None where unknown."""

    def __post_init__(self) -> None:
        rows = np.shape(self.rows)
        T = (4, 4) if self.T_cam_imu is None else np.shape(self.T_cam_imu)
        if len(rows) != 2 or rows[1] != len(COLUMNS) or T != (4, 4):
            raise ShapeError(f"Imu: expected (N, 7) and (4, 4) or None, got {rows} and {T}")

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def stamps(self) -> np.ndarray:
        """Times of the samples, seconds. (N,)"""
        return self.rows[:, 0]

    @property
    def gyro(self) -> np.ndarray:
        """Angular rates in the axes of the IMU, rad/s. (N, 3)"""
        return self.rows[:, 1:4]

    @property
    def accel(self) -> np.ndarray:
        """Specific forces in the axes of the IMU, m/s2. (N, 3)"""
        return self.rows[:, 4:7]

    @property
    def has_accel(self) -> bool:
        """Whether there is an accelerometer."""
        return bool(np.isfinite(self.accel).any())

    @property
    def rate(self) -> float:
        """Samples a second, by the median of their spacing; 0 with fewer than two samples."""
        return float(1.0 / np.median(np.diff(self.stamps))) if len(self) > 1 else 0.0

    def apart_from(self, times: np.ndarray) -> str:
        """Say that samples and frames have no time in common; empty where they have.

        Args:
            times: of the frames, seconds, rising. (N,)
        """
        a, b = times[[0, -1]], self.stamps[[0, -1]]
        if a[0] <= b[1] and b[0] <= a[1]:
            return ""
        spans = f"frames are from {a[0]:.3f} to {a[1]:.3f} s, the IMU from {b[0]:.3f} to {b[1]:.3f}"
        return f"{spans} s; both need one clock"

    def between(self, start: float, end: float) -> np.ndarray:
        """Return the samples after `start` up to and including `end`, seconds. (M, 7)"""
        first, last = np.searchsorted(self.stamps, (start, end), side="right")
        return self.rows[first : max(first, last)]


def check_imu(imu: Imu, name: str) -> None:
    """Refuse samples that nothing may be computed from.

    Args:
        imu: what was read.
        name: of the file, for the message.

    Raises:
        DataError: no samples, numbers that are not finite, times that do not rise, a T_cam_imu that
            is no rigid motion, densities that are not positive.
    """
    if not len(imu):
        raise DataError(f"{name}: holds no samples; expected rows {','.join(COLUMNS)}")
    checked = imu.rows if imu.has_accel else imu.rows[:, :4]
    for i in np.flatnonzero(~np.isfinite(checked).all(axis=1))[:1]:
        raise DataError(f"{name}: sample {i + 1} holds NaN or an infinite number; drop the row")
    for i in np.flatnonzero(np.diff(imu.stamps) <= 0)[:1]:
        a, b = (float(t) for t in imu.stamps[i : i + 2])
        raise DataError(
            f"{name}: sample {i + 2} has time {b!r}, not after the one before ({a!r}); sort the "
            "samples by time and keep one of each time"
        )
    if imu.T_cam_imu is not None:
        _check_mounting(imu.T_cam_imu, name)
    for key, value in asdict(imu.noise).items() if imu.noise is not None else ():
        if not 0 < value < np.inf:
            raise DataError(f"{name}: noise {key} must be positive, got {value!r}")


def _check_mounting(T: np.ndarray, name: str) -> None:
    R = T[:3, :3]
    error = float(np.abs(R @ R.T - np.eye(3)).max())
    rigid = np.isfinite(T).all() and error <= ROTATION_TOLERANCE and np.linalg.det(R) > 0
    if not rigid or T[3].tolist() != [0.0, 0.0, 0.0, 1.0]:
        raise DataError(
            f"{name}: T_cam_imu is no rigid motion (its rotation is off by {error:.3g}); expected "
            "4x4 with R R^T = 1 and the last row 0 0 0 1"
        )


# --- files ---------------------------------------------------------------------------------------


def load_imu(folder: str | Path) -> Imu | None:
    """Read `imu.csv` and, where it is there, `imu.yaml` of a sequence folder.

    Args:
        folder: the sequence folder.

    Returns:
        None where the folder holds no imu.csv.

    Raises:
        DataError: a file is damaged, or holds numbers that no IMU measures.
    """
    path = Path(folder) / CSV_NAME
    if not path.exists():
        return None
    rows = _read_rows(path)
    about = Path(folder) / YAML_NAME
    T_cam_imu, noise = read_imu_yaml(about) if about.exists() else (None, None)
    imu = Imu(rows, T_cam_imu, noise)
    check_imu(Imu(rows), str(path))
    check_imu(imu, str(about))
    return imu


def save_imu(folder: str | Path, imu: Imu) -> None:
    """Write `imu.csv` and `imu.yaml` into a sequence folder.

    Times are kept to 1e-9 s, values to 12 digits; the files appear whole or not at all.

    Raises:
        DataError: as in `check_imu`, or the files cannot be written.
    """
    check_imu(imu, str(Path(folder) / CSV_NAME))
    lines = [",".join(COLUMNS)]
    lines += [f"{row[0]:.9f}," + ",".join(f"{v:.12g}" for v in row[1:]) for row in imu.rows]
    T, noise = imu.T_cam_imu, imu.noise
    record = {
        "T_cam_imu": None if T is None else [[float(v) for v in row] for row in T],
        "noise": None if noise is None else {k: float(v) for k, v in asdict(noise).items()},
        "rate": round(imu.rate, 6),
    }
    _write(Path(folder) / CSV_NAME, "\n".join(lines) + "\n")
    _write(Path(folder) / YAML_NAME, yaml.safe_dump(record, sort_keys=False))


def _write(path: Path, text: str) -> None:
    """Write to a temporary name beside the file, then rename."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        raise DataError(f"{path}: cannot write: {error.strerror}") from error


def _read_rows(path: Path) -> np.ndarray:
    """Read the samples of imu.csv. (N, 7)"""
    try:
        with path.open(encoding="utf-8") as file:
            header = file.readline().strip()
            body = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot read: {error}") from None
    if header != ",".join(COLUMNS):
        raise DataError(
            f"{path}: expected the header {','.join(COLUMNS)}, got {header[:60]!r}; other layouts "
            "are read by 'depthkit prepare --imu FILE'"
        )
    if not body:
        return np.zeros((0, len(COLUMNS)))
    try:
        rows = np.loadtxt(body, delimiter=",", ndmin=2, comments=None)
    except ValueError:
        rows = np.zeros((0, 0))
    if rows.shape != (len(body), len(COLUMNS)):
        raise DataError(f"{path}: {_first_fault(body)}; expected 7 numbers separated by commas")
    return rows


def _first_fault(body: list[str]) -> str:
    """Say which line is no sample."""
    for number, line in enumerate(body, start=2):
        parts = line.split(",")
        if len(parts) != len(COLUMNS):
            return f"line {number} has {len(parts)} columns"
        for part in parts:
            try:
                float(part)
            except ValueError:
                return f"line {number}: {part!r} is not a number"
    return "holds rows that cannot be read"


def read_imu_yaml(path: Path) -> tuple[np.ndarray | None, ImuNoise | None]:
    """Read T_cam_imu and the noise of imu.yaml; its rate is for people, samples tell it.

    Raises:
        DataError: it cannot be read, has unknown keys, or values of another kind.
    """
    try:
        record = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{path}: cannot read: {' '.join(str(error).split())}") from None
    _check_keys(record, ("T_cam_imu", "noise", "rate"), str(path))
    T, noise = record.get("T_cam_imu"), record.get("noise")
    if noise is not None:
        _check_keys(noise, tuple(one.name for one in fields(ImuNoise)), f"{path}: noise")
    densities = {
        one.name: _number(noise.get(one.name), f"{path}: noise {one.name}")
        for one in fields(ImuNoise)
        if noise is not None
    }
    return (
        None if T is None else _matrix(T, path),
        None if noise is None else ImuNoise(**densities),
    )


def _check_keys(record: Any, known: tuple[str, ...], name: str) -> None:
    if not isinstance(record, Mapping):
        raise DataError(f"{name}: expected keys and values, got {type(record).__name__}")
    for key in record:
        if key not in known:
            raise DataError(f"{name}: unknown key {key!r}; expected {', '.join(known)}")


def _number(value: Any, name: str) -> float:
    """Convert a number; YAML reads 1e-4 as text."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise DataError(f"{name} must be a number, got {value!r}") from None


def _matrix(value: Any, path: Path) -> np.ndarray:
    """Convert four rows of four numbers, or 16 numbers. (4, 4)"""
    try:
        T = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        T = np.zeros(0)
    if T.size != 16:
        raise DataError(f"{path}: T_cam_imu must be 4 rows of 4 numbers, got {value!r}")
    return T.reshape(4, 4)
