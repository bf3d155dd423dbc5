# SPDX-License-Identifier: Apache-2.0
"""Inertial samples from a table of any program: columns by the names in its header.

Without a header seven columns are the time, three rates and three accelerations (EuRoC, Kalibr); if
only the first three look like gravity, the accelerations come first. What was taken is said.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from depthkit.data.imu_units import STANDARD_GRAVITY, to_si, unit_of
from depthkit.errors import DataError
from depthkit.trajectory.text import is_number
from depthkit.trajectory.time_units import to_seconds

SLOW_STEP = 0.5
"""Seconds between samples up to which stamps that are no dates count as seconds."""
GRAVITY_BAND = 0.25

_TIME = ("t", "time", "timestamp", "timestamps", "stamp", "seconds", "sec", "secs", "ts")
_GYRO = re.compile(r"^(w|g|omega)$|gyr|ang|omega|rotation_?rate|w_rs|rot_?rate")
_ACCEL = re.compile(r"^a$|acc|a_rs|force")
_OTHER = re.compile(r"cov|orient|quat|mag|bias|angular_acc|euler|roll|pitch|yaw")
_UNIT = re.compile(r"[\[(]([^\])]*)[\])]")


@dataclass(frozen=True)
class ImuTable:
    """Samples of a file, and what was taken for granted about it."""

    rows: np.ndarray
    """t wx wy wz ax ay az: seconds, rad/s, m/s2; NaN accelerations without an accelerometer.
    (N, 7)"""
    notes: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Columns:
    """Which columns hold what."""

    index: list[int]
    """Columns of t wx wy wz ax ay az, or of t wx wy wz."""
    gyro: str | None = None
    accel: str | None = None
    time: str | None = None
    """Units that the header states."""


def read_imu_table(
    path: Path, *, time_unit: str = "auto", units: tuple[str | None, str | None] = (None, None)
) -> ImuTable:
    """Read inertial samples from a text file.

    Args:
        path: csv, or columns separated by blanks, tabs or semicolons.
        time_unit: s, ms, us, ns, or auto: by the header, else by size and spacing.
        units: of gyroscope and accelerometer, as the user states them; None: by the header.

    Raises:
        DataError: no such file, no columns of an IMU, a row that is no row of numbers.
    """
    lines = _read_lines(path)
    start = next((i for i, line in enumerate(lines) if _is_data(line)), len(lines))
    if start == len(lines):
        raise DataError(f"{path}: holds no rows of numbers; expected t wx wy wz ax ay az")
    body = [line for line in lines[start:] if line.strip()]
    mark = next((mark for mark in ";,\t" if mark in body[0]), None)
    header = _header(lines[:start], mark)
    table = _numbers(path, body, mark, start)
    assumed: tuple[str, ...] = ()
    if len(header) == table.shape[1]:
        columns = _named_columns(path, header, table.shape[1])
    else:
        columns, assumed = _unnamed_columns(path, table)
    rows = np.full((len(table), 7), np.nan)
    rows[:, : len(columns.index)] = table[:, columns.index]
    unit = columns.time or "auto" if time_unit == "auto" else time_unit
    rows[:, 0], said = to_seconds(rows[:, 0], unit, path.name, slow_step=SLOW_STEP)
    rows = to_si(rows, units[0] or columns.gyro, units[1] or columns.accel)
    rows, notes = rising_samples(rows, path.name)
    return ImuTable(rows, notes, (*assumed, *said))


def rising_samples(rows: np.ndarray, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Leave out samples that are not finite or not later than all before them.

    Args:
        rows: t wx wy wz ax ay az. (N, 7)
        name: of the source, for the note.

    Returns:
        rows: (M, 7)
        notes: how many were left out.
    """
    has_accel = np.isfinite(rows[:, 4:]).any()
    finite = np.isfinite(rows if has_accel else rows[:, :4]).all(axis=1)
    times = np.where(finite, rows[:, 0], -np.inf)
    before = np.concatenate([[-np.inf], np.maximum.accumulate(times)[:-1]])
    keep = finite & (times > before)
    lost = int((~keep).sum())
    note = f"{name}: {lost} of {len(rows)} samples left out: not finite, or their time does not"
    return rows[keep], (f"{note} rise",) if lost else ()


# --- parts ---------------------------------------------------------------------------------------


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file of inertial samples") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot read inertial samples: {error}") from None


def _is_data(line: str) -> bool:
    first = re.split(r"[,;\s]+", line.strip())[0]
    return bool(first) and is_number(first)


def _header(lines: list[str], mark: str | None) -> list[str]:
    """Return the names of the columns: the last line of words before the numbers."""
    line = next((one for one in reversed(lines) if one.strip(" #%\t")), "")
    line = line.strip().lstrip("#% ")
    line = re.sub(r"\s+([\[(])", r"\1", line)  # `wx [rad/s]` is one name
    line = re.sub(r"\[[^\]]*\]", lambda unit: re.sub(r"\s+", "", unit[0]), line)
    return [part.strip().strip('"') for part in (line.split(mark) if mark else line.split())]


def _numbers(path: Path, body: list[str], mark: str | None, before: int) -> np.ndarray:
    """Turn rows into numbers; fields that are words become NaN. (N, columns)"""
    mark = None if mark == "\t" else mark
    try:
        return np.loadtxt(body, delimiter=mark, ndmin=2, comments=None)
    except ValueError:
        pass
    rows = [[part.strip() for part in (line.split(mark))] for line in body]
    for number, row in enumerate(rows, start=before + 1):
        if len(row) != len(rows[0]):
            raise DataError(
                f"{path}: line {number} has {len(row)} columns, the first row {len(rows[0])}; was "
                "the file cut short? delete the line"
            )
    return np.array([[float(f) if is_number(f) else np.nan for f in row] for row in rows])


def _plain(name: str) -> str:
    """Write a column's name in lower case, without its unit."""
    return re.sub(r"[^a-z0-9]+", "_", _UNIT.sub("", name).lower()).strip("_")


def _named_columns(path: Path, header: list[str], width: int) -> _Columns:
    """Choose columns by name."""
    names = [_plain(name) for name in header[:width]]
    time = next((i for i, name in enumerate(names) if _is_time(name)), None)
    gyro = [_find(names, _GYRO, axis) for axis in "xyz"]
    accel = [_find(names, _ACCEL, axis) for axis in "xyz"]
    if time is None or None in gyro or (None in accel and any(i is not None for i in accel)):
        raise DataError(
            f"{path}: no time, three rates and three accelerations among its columns "
            f"({', '.join(header)[:120]}); name them t, wx, wy, wz, ax, ay, az"
        )
    index = [time, *gyro] if None in accel else [time, *gyro, *accel]
    chosen = [i for i in index if i is not None]
    stated = [_UNIT.search(header[i]) for i in chosen]
    units = [unit_of(found[1]) if found else None for found in stated]
    clock = stated[0][1].strip() if stated[0] else ""
    return _Columns(
        chosen,
        gyro=units[1],
        accel=units[4] if len(units) > 4 else None,
        time=clock if clock in ("s", "ms", "us", "ns") else None,
    )


def _is_time(name: str) -> bool:
    return name in _TIME or name.startswith("timestamp") or name.endswith(("header_stamp", "_time"))


def _find(names: list[str], kind: re.Pattern[str], axis: str) -> int | None:
    """Return the first column of a sensor and axis."""
    for i, name in enumerate(names):
        stem = name[:-1].rstrip("_")
        if not name.endswith(axis) or not kind.search(stem) or _OTHER.search(stem):
            continue
        if kind is not _GYRO or not _ACCEL.search(stem):
            return i
    return None


def _unnamed_columns(path: Path, table: np.ndarray) -> tuple[_Columns, tuple[str, ...]]:
    """Take the usual order of columns, and say so."""
    if table.shape[1] != 7:
        raise DataError(
            f"{path}: has {table.shape[1]} columns and no header; expected 7 (t wx wy wz ax ay az) "
            "or a first line that names the columns"
        )
    first, second = (
        float(np.nanmedian(np.linalg.norm(table[:, part], axis=1)))
        for part in (slice(1, 4), slice(4, 7))
    )
    if _is_gravity(first) and not _is_gravity(second):
        words = f"{path.name}: columns taken as t ax ay az wx wy wz: the first three hold gravity"
        return _Columns([0, 4, 5, 6, 1, 2, 3]), (words,)
    words = f"{path.name}: has no header: columns taken as t wx wy wz ax ay az"
    return _Columns(list(range(7))), (words,)


def _is_gravity(norm: float) -> bool:
    return abs(norm / STANDARD_GRAVITY - 1) < GRAVITY_BAND
