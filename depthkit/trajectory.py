# SPDX-License-Identifier: Apache-2.0
"""Camera trajectories: the record, its checks and its files (TUM, KITTI, EuRoC).

Poses are `T_world_cam`, quaternions are xyzw, stamps are seconds. A KITTI file holds no stamps: its
frame index stands in for them unless the caller has the times. Numpy only: the robot imports it.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from depthkit.errors import DataError, ShapeError
from depthkit.rigid import (
    exp_se3,
    inverse,
    log_se3,
    log_so3,
    make_pose,
    matrix_to_quaternion,
    quaternion_to_matrix,
)

__all__ = [
    "Trajectory",
    "check_trajectory",
    "detect_format",
    "exp_se3",
    "interpolate_poses",
    "inverse",
    "load_euroc",
    "load_kitti",
    "load_trajectory",
    "load_tum",
    "log_se3",
    "log_so3",
    "make_pose",
    "matrix_to_quaternion",
    "quaternion_to_matrix",
    "save_kitti",
    "save_tum",
]

QUATERNION_TOLERANCE = 1e-3
"""How far from 1 the norm of a stored quaternion may lie before the file is refused."""

ROTATION_TOLERANCE = 1e-3
"""How far R R^T may lie from the identity, per entry, before a matrix is refused as a rotation."""

Repeats = Literal["error", "first"]
"""What a loader does with a pose whose stamp repeats the one before."""

_REPEATS_REMEDY = "; drop the row, or keep the first of equal stamps (repeats 'first')"

_COLUMNS = {
    "tum": "8 columns (t x y z qx qy qz qw)",
    "kitti": "12 columns (a 3x4 matrix by rows) or 13 (frame index first)",
    "euroc": "at least 8 columns (ns, x, y, z, qw, qx, qy, qz)",
}


@dataclass(frozen=True)
class Trajectory:
    """Poses of one camera over time."""

    stamps: np.ndarray
    """Seconds, rising; the frame index where a file holds no time. (N,) float64"""
    T_world_cam: np.ndarray
    """Points of the camera frame to the world. (N, 4, 4) float64"""
    assumed: tuple[str, ...] = ()
    """Conventions its file does not state, and the value that was taken; one sentence each."""

    def __post_init__(self) -> None:
        stamps, poses = np.shape(self.stamps), np.shape(self.T_world_cam)
        if len(stamps) != 1 or poses != (stamps[0], 4, 4):
            raise ShapeError(f"Trajectory: expected (N,) and (N, 4, 4), got {stamps} and {poses}")

    def __len__(self) -> int:
        return len(self.stamps)

    @property
    def positions(self) -> np.ndarray:
        """Camera centres in the world, in the unit of the file. (N, 3)"""
        return self.T_world_cam[:, :3, 3]

    def take(self, index: np.ndarray) -> "Trajectory":
        """Keep the poses that an index array, mask or slice selects."""
        return replace(self, stamps=self.stamps[index], T_world_cam=self.T_world_cam[index])


def interpolate_poses(
    traj: Trajectory, times: ArrayLike, max_gap: float, *, slack: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Interpolate poses at given times along the SE(3) geodesic T_a exp(s log(T_a^-1 T_b)).

    Args:
        traj: rising stamps.
        times: seconds. (M,)
        max_gap: seconds; a time between two poses further apart than this stays unknown. A time
            outside the trajectory is unknown too (nothing is extrapolated); a time on a stamp is
            always known.
        slack: seconds by which stamps may be rounded: a time that far outside the trajectory has
            the pose of its end, a gap that much longer than max_gap is bridged. At most a tenth of
            the usual step between poses is taken.

    Returns:
        poses: NaN where unknown. (M, 4, 4)
        known: (M,) bool
    """
    wanted = np.asarray(times, dtype=np.float64)
    poses = np.full((len(wanted), 4, 4), np.nan)
    if len(traj) == 0 or len(wanted) == 0:
        return poses, np.zeros(len(wanted), dtype=bool)
    if len(traj) > 1:
        slack = min(slack, 0.1 * float(np.median(np.diff(traj.stamps))))
    ends = traj.stamps[[0, -1]]
    near = (wanted >= ends[0] - slack) & (wanted <= ends[1] + slack)
    wanted = np.where(near, np.clip(wanted, *ends), wanted)
    after = np.clip(np.searchsorted(traj.stamps, wanted), 0, len(traj) - 1)
    before = np.where(traj.stamps[after] == wanted, after, np.maximum(after - 1, 0))
    gap = traj.stamps[after] - traj.stamps[before]
    inside = (wanted >= traj.stamps[before]) & (wanted <= traj.stamps[after])
    known = inside & ((gap == 0) | (gap <= max_gap + slack))
    share = (wanted - traj.stamps[before]) / np.where(gap > 0, gap, 1.0)
    T_a, T_b = traj.T_world_cam[before[known]], traj.T_world_cam[after[known]]
    poses[known] = T_a @ exp_se3(share[known, None] * log_se3(inverse(T_a) @ T_b))
    return poses, known


def check_trajectory(t: Trajectory, name: str, lines: Sequence[int] | None = None) -> None:
    """Refuse a trajectory that no score or training may be built on.

    Args:
        t: the trajectory.
        name: of the file or sequence, for the message.
        lines: line in the file of each pose; without it rows are counted from 1. (N,)

    Raises:
        DataError: NaN or infinite numbers, stamps that repeat or fall, matrices that do not rotate.
    """

    def where(i: int) -> str:
        return f"{name}: row {i + 1}" if lines is None else f"{name}: line {lines[i]}"

    finite = np.isfinite(t.stamps) & np.isfinite(t.T_world_cam).all(axis=(1, 2))
    if not finite.all():
        raise DataError(f"{where(int(np.argmin(finite)))} holds NaN or an infinite number")
    for i in np.flatnonzero(np.diff(t.stamps) <= 0)[:1]:
        same = t.stamps[i + 1] == t.stamps[i]
        kind, remedy = ("repeats", _REPEATS_REMEDY) if same else ("falls behind", "")
        raise DataError(
            f"{where(i + 1)} has stamp {float(t.stamps[i + 1])!r}, which {kind} the one before "
            f"({float(t.stamps[i])!r}); stamps must rise{remedy}"
        )
    R = t.T_world_cam[:, :3, :3]
    error = np.abs(R @ np.swapaxes(R, 1, 2) - np.eye(3)).max(axis=(1, 2), initial=0.0)
    wrong = (error > ROTATION_TOLERANCE) | (np.linalg.det(R) < 0)
    for i in np.flatnonzero(wrong)[:1]:
        raise DataError(f"{where(i)} holds a matrix that is no rotation (off by {error[i]:.3g})")


def _read_rows(path: str | Path) -> tuple[list[list[str]], list[int]]:
    """Split the lines that carry data; return the fields and the line numbers (from 1)."""
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path}: no such trajectory file") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: is not a text file; expected poses as text") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    rows, lines = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        body = line.strip()
        if body and not body.startswith("#"):
            rows.append(body.replace(",", " ").split())
            lines.append(number)
    if not rows:
        raise DataError(f"{path}: holds no poses; expected TUM, KITTI or EuRoC rows")
    return rows, lines


def _to_numbers(
    path: str | Path, rows: list[list[str]], lines: list[int], widths: tuple[int, ...], kind: str
) -> np.ndarray:
    """Turn fields into numbers, the width being that of the first row. (N, width)"""
    width = len(rows[0]) if len(rows[0]) in widths else widths[0]
    for row, line in zip(rows, lines, strict=True):
        if len(row) != width:
            raise DataError(
                f"{path}: line {line} has {len(row)} columns, expected {_COLUMNS[kind]}"
            )
    try:
        return np.array(rows, dtype=np.float64)
    except ValueError:
        pass
    for row, line in zip(rows, lines, strict=True):
        for field in row:
            try:
                float(field)
            except ValueError:
                raise DataError(f"{path}: line {line}: {field!r} is not a number") from None
    raise DataError(f"{path}: holds text that is not numbers")


def _checked_quaternions(path: str | Path, q: np.ndarray, lines: list[int]) -> np.ndarray:
    """Pass quaternions whose norm is 1 within the tolerance (NaN passes on to the finite check)."""
    norm = np.linalg.norm(q, axis=-1)
    for i in np.flatnonzero(np.abs(norm - 1) > QUATERNION_TOLERANCE)[:1]:
        raise DataError(
            f"{path}: line {lines[i]} has a quaternion of norm {norm[i]:.4g}, expected 1"
        )
    return q


def _finish(path: str | Path, traj: Trajectory, lines: list[int], repeats: Repeats) -> Trajectory:
    """Drop later poses of a repeated stamp where that was asked for, then check what is left."""
    if repeats == "first":
        keep = np.concatenate([[True], np.diff(traj.stamps) != 0])
        traj = traj.take(keep)
        lines = [line for line, kept in zip(lines, keep, strict=True) if kept]
    check_trajectory(traj, str(path), lines)
    return traj


def load_tum(path: str | Path, *, repeats: Repeats = "error") -> Trajectory:
    """Read rows of `t x y z qx qy qz qw` (seconds, metres).

    Args:
        path: the file.
        repeats: what to do with a stamp that repeats: refuse the file, or keep its 'first' pose
            (public ground truth such as TUM fr2_desk holds one such row).

    Raises:
        DataError: the file or a row of it cannot be a trajectory; the line is named.
    """
    rows, lines = _read_rows(path)
    values = _to_numbers(path, rows, lines, (8,), "tum")
    R = quaternion_to_matrix(_checked_quaternions(path, values[:, 4:], lines))
    traj = Trajectory(values[:, 0], make_pose(R, values[:, 1:4]))
    return _finish(path, traj, lines, repeats)


def load_kitti(path: str | Path, stamps: ArrayLike | None = None) -> Trajectory:
    """Read 3x4 matrices by rows, 12 columns, or 13 with the frame index first.

    Args:
        path: the file.
        stamps: seconds of every frame of the sequence, looked up by frame index; without them the
            index itself is the stamp. (frames,)

    Raises:
        DataError: as in `load_tum`; also a frame index outside `stamps`.
    """
    rows, lines = _read_rows(path)
    values = _to_numbers(path, rows, lines, (12, 13), "kitti")
    index = values[:, 0] if values.shape[1] == 13 else np.arange(len(values), dtype=np.float64)
    if np.any(index != np.round(index)):
        raise DataError(f"{path}: a frame index in the first column is not a whole number")
    T = np.tile(np.eye(4), (len(values), 1, 1))
    T[:, :3] = values[:, -12:].reshape(-1, 3, 4)
    if stamps is not None:
        index = _look_up(np.asarray(stamps, dtype=np.float64), index.astype(int), str(path))
    traj = Trajectory(index, T)
    check_trajectory(traj, str(path), lines)
    return traj


def _look_up(stamps: np.ndarray, index: np.ndarray, name: str) -> np.ndarray:
    """Return the stamps of frames, or say which frame has none."""
    outside = (index < 0) | (index >= len(stamps))
    if outside.any():
        frame = int(index[np.argmax(outside)])
        raise DataError(f"{name}: frame {frame} has no time; {len(stamps)} times were given")
    return stamps[index]


def load_euroc(path: str | Path, *, repeats: Repeats = "error") -> Trajectory:
    """Read a EuRoC csv: nanoseconds, position, quaternion wxyz, further columns ignored.

    The pose is that of the body (the IMU) in EuRoC's own ground truth, and is kept as it stands.
    """
    rows, lines = _read_rows(path)
    rows = [row[:8] for row in rows]
    values = _to_numbers(path, rows, lines, (8,), "euroc")
    q = _checked_quaternions(path, values[:, [5, 6, 7, 4]], lines)
    traj = Trajectory(values[:, 0] / 1e9, make_pose(quaternion_to_matrix(q), values[:, 1:4]))
    return _finish(path, traj, lines, repeats)


def detect_format(path: str | Path) -> str:
    """Tell 'tum', 'kitti' or 'euroc' by the first row: its width, and nanoseconds for EuRoC."""
    rows, lines = _read_rows(path)
    width = len(rows[0])
    if width in (12, 13) and not _is_nanoseconds(rows[0][0]):
        return "kitti"
    if width >= 8 and _is_nanoseconds(rows[0][0]):
        return "euroc"
    if width == 8:
        return "tum"
    raise DataError(
        f"{path}: line {lines[0]} has {width} columns, expected 8 (TUM), 12 or 13 (KITTI) "
        "or a EuRoC csv"
    )


def _is_nanoseconds(field: str) -> bool:
    return field.isdigit() and len(field) >= 16


def load_trajectory(path: str | Path, *, repeats: Repeats = "error") -> Trajectory:
    """Read a trajectory in whichever of the three formats `detect_format` sees."""
    match detect_format(path):
        case "kitti":
            return load_kitti(path)
        case "euroc":
            return load_euroc(path, repeats=repeats)
        case _:
            return load_tum(path, repeats=repeats)


def _write_lines(path: str | Path, lines: list[str]) -> None:
    """Write to a temporary name beside the file, then rename: never a half-written file."""
    file = Path(path)
    part = file.with_name(f".{file.name}.part")
    part.write_text("\n".join(lines) + "\n", encoding="utf-8")
    os.replace(part, file)


def save_tum(path: str | Path, traj: Trajectory) -> None:
    """Write rows of `t x y z qx qy qz qw`; the pose survives to 1e-12, the stamp to 1e-9 s."""
    q = matrix_to_quaternion(traj.T_world_cam[:, :3, :3])
    rows = np.concatenate([traj.positions, q], axis=1)
    text = [
        f"{t:.9f} " + " ".join(f"{v:.12g}" for v in row)
        for t, row in zip(traj.stamps, rows, strict=True)
    ]
    _write_lines(path, ["# timestamp tx ty tz qx qy qz qw (T_world_cam)", *text])


def save_kitti(path: str | Path, traj: Trajectory, *, indices: ArrayLike | None = None) -> None:
    """Write 3x4 matrices by rows: 12 columns, or 13 when the frame indices are given.

    A file of 12 columns says frame 0, 1, 2 ...: a trajectory with missing frames needs `indices`.
    """
    rows = traj.T_world_cam[:, :3].reshape(len(traj), 12)
    text = [" ".join(f"{v:.12e}" for v in row) for row in rows]
    if indices is not None:
        text = [f"{int(i)} {row}" for i, row in zip(np.asarray(indices), text, strict=True)]
    _write_lines(path, text)
