# SPDX-License-Identifier: Apache-2.0
"""Trajectories from files and to files, in any layout that `formats` knows.

Poses are `T_world_cam`, quaternions are xyzw, stamps are seconds. A KITTI file holds no stamps: its
frame index stands in for them unless the caller has the times. Numpy only: the robot imports it.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from depthkit.errors import DataError
from depthkit.rigid import (
    matrix_to_quaternion,
)
from depthkit.trajectory.formats import parse_poses
from depthkit.trajectory.record import Trajectory, check_trajectory
from depthkit.trajectory.table import Axis, Order, PoseTable
from depthkit.trajectory.text import read_table
from depthkit.trajectory.time_units import date_unit, to_seconds

Repeats = Literal["error", "first"]
"""What a loader does with a pose whose stamp repeats the one before."""

SPARSE_STEP = 60.0
"""Spacing of stamps with decimals up to which they are seconds: keyframes may be far apart."""


@dataclass(frozen=True)
class TrajectoryFile:
    """A trajectory, and what its file states or leaves open."""

    trajectory: Trajectory
    axis: Axis
    """What pairs its poses with others: a time, a frame index, or the number of the row alone."""
    order: Order | None
    """Order in which quaternions were read; None where the file holds matrices."""
    is_order_stated: bool
    """By the file's header, by the caller or by a first pose at the identity."""
    order_note: str
    """The sentence of `trajectory.assumed` about the order; empty if nothing was assumed."""
    rows: int
    """Rows of the file, those without a pose included."""

    @property
    def kind(self) -> str:
        """'kitti' for poses by frame, 'euroc' or 'tum' for poses by time."""
        if self.axis != "time":
            return "kitti"
        return "euroc" if self.order == "wxyz" else "tum"

    def without_order_note(self) -> Trajectory:
        """Return the trajectory where the order of its quaternions is no assumption any more."""
        traj = self.trajectory
        return replace(traj, assumed=tuple(a for a in traj.assumed if a != self.order_note))

    def with_option(self, option: str) -> "TrajectoryFile":
        """Name the option that sets the order of this file where there are two such options."""
        note = self.order_note.replace("--quaternion", option)
        assumed = (note if a == self.order_note else a for a in self.trajectory.assumed)
        traj = replace(self.trajectory, assumed=tuple(assumed))
        return replace(self, trajectory=traj, order_note=note)


def read_trajectory(
    path: str | Path,
    *,
    repeats: Repeats = "error",
    time_unit: str = "auto",
    quaternion: Order | None = None,
) -> TrajectoryFile:
    """Read poses by time or by frame, in any layout that `trajectory_formats` knows.

    Args:
        path: the file.
        repeats: what to do with a stamp that repeats: refuse the file, or keep its 'first' pose
            (public ground truth such as TUM fr2_desk holds one such row).
        time_unit: of the stamps: s, ms, us or ns; auto: detected by their size and spacing.
        quaternion: order of quaternions; None: by the header or the layout.

    Raises:
        DataError: the file or a row of it cannot be a trajectory; the line is named.
    """
    poses = parse_poses(read_table(path), quaternion)
    said_order = (poses.order_note,) if poses.order_note else ()
    stamps, assumed = poses.stamps, (*poses.assumed, *said_order)
    if poses.axis == "time":
        stamps, said = _seconds(path, poses, time_unit)
        assumed = (*assumed, *said)
    traj = _finish(path, Trajectory(stamps, poses.T_world_cam, assumed), poses, repeats)
    return TrajectoryFile(
        traj, poses.axis, poses.order, poses.is_order_stated, poses.order_note, len(stamps)
    )


def _seconds(path: str | Path, poses: PoseTable, unit: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Convert stamps to seconds; those written with decimals are seconds for longer spacings."""
    slow = {"slow_step": SPARSE_STEP} if poses.has_decimals else {}
    return to_seconds(poses.stamps, unit, Path(path).name, **slow)


def _finish(path: str | Path, traj: Trajectory, poses: PoseTable, repeats: Repeats) -> Trajectory:
    """Leave out rows without a pose and repeated stamps where wanted, then check what is left."""
    known = np.isfinite(traj.T_world_cam).all(axis=(1, 2))
    lost, lines = int(np.sum(~known)), poses.lines[known]
    if lost == len(traj):
        raise DataError(f"{path}: holds no poses: in all {lost} rows they are NaN, zeros or 'lost'")
    traj = traj.take(known)
    if lost:
        note = f"{Path(path).name}: {lost} of {len(known)} rows hold no pose (NaN, zeros or 'lost')"
        traj = replace(traj, notes=(f"{note} and were left out",))
    if repeats == "first":
        keep = np.concatenate([[True], np.diff(traj.stamps) != 0])
        traj, lines = traj.take(keep), lines[keep]
    check_trajectory(traj, str(path), lines.tolist())
    return traj


def load_tum(
    path: str | Path, *, repeats: Repeats = "error", time_unit: str = "auto"
) -> Trajectory:
    """Read rows of `t x y z qx qy qz qw` (metres).

    Args:
        path: the file.
        repeats: as in `read_trajectory`.
        time_unit: of the stamps: s, ms, us or ns; auto: detected by their size and spacing.

    Raises:
        DataError: the file or a row of it cannot be a trajectory; the line is named.
    """
    file = read_trajectory(path, repeats=repeats, time_unit=time_unit)
    if file.kind != "tum":
        what = "poses by frame" if file.kind == "kitti" else "quaternions with w first"
        raise DataError(f"{path}: holds {what}, expected TUM rows: t x y z qx qy qz qw")
    return file.without_order_note()


def load_kitti(path: str | Path, stamps: ArrayLike | None = None) -> Trajectory:
    """Read one matrix a row: 3x4 (12 columns) or 4x4 (16), or with the frame index first.

    Args:
        path: the file; any other layout whose poses belong to frames is read as well.
        stamps: seconds of every frame of the sequence, looked up by frame index; without them the
            index itself is the stamp. (frames,)

    Raises:
        DataError: as in `read_trajectory`; also a frame index outside `stamps`.
    """
    file = read_trajectory(path)
    if file.axis == "time":
        raise DataError(
            f"{path}: holds poses by time, expected KITTI: 12 columns (a 3x4 matrix by rows) or 13 "
            "(frame index first)"
        )
    traj = file.trajectory
    if np.any(traj.stamps != np.round(traj.stamps)):
        raise DataError(f"{path}: a frame index in the first column is not a whole number")
    if stamps is None:
        return traj
    times = _look_up(np.asarray(stamps, dtype=np.float64), traj.stamps.astype(int), str(path))
    return replace(traj, stamps=times)


def _look_up(stamps: np.ndarray, index: np.ndarray, name: str) -> np.ndarray:
    """Return the stamps of frames, or say which frame has none."""
    outside = (index < 0) | (index >= len(stamps))
    if outside.any():
        frame = int(index[np.argmax(outside)])
        raise DataError(f"{name}: frame {frame} has no time; {len(stamps)} times were given")
    return stamps[index]


def load_euroc(
    path: str | Path, *, repeats: Repeats = "error", time_unit: str = "auto"
) -> Trajectory:
    """Read a EuRoC csv: time, position, quaternion wxyz, further columns ignored.

    Times are nanoseconds unless their size fits a date in another unit. The pose is that of the
    body (the IMU) in EuRoC's own ground truth, and is kept as it stands.
    """
    if time_unit == "auto" and date_unit(parse_poses(read_table(path), "wxyz").stamps) is None:
        time_unit = "ns"
    return read_trajectory(path, repeats=repeats, time_unit=time_unit, quaternion="wxyz").trajectory


def detect_format(path: str | Path) -> str:
    """Tell 'kitti' (poses by frame), 'euroc' (by time, w first) or 'tum' (by time, w last)."""
    return read_trajectory(path, repeats="first").kind


def load_trajectory(
    path: str | Path,
    *,
    repeats: Repeats = "error",
    time_unit: str = "auto",
    quaternion: Order | None = None,
) -> Trajectory:
    """Read a trajectory in any known layout; see `read_trajectory`."""
    return read_trajectory(
        path, repeats=repeats, time_unit=time_unit, quaternion=quaternion
    ).trajectory


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
