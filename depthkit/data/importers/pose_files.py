# SPDX-License-Identifier: Apache-2.0
"""Files that hold the poses of many frames, detected by content.

TUM, KITTI and EuRoC rows; 16 numbers a row; blocks of 4x4 with or without a line before (Open3D's
trajectory.log); COLMAP's images.txt (world to camera, qw first); transforms.json (OpenGL axes).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from depthkit.data.image_io import IMAGE_SUFFIXES
from depthkit.errors import DataError
from depthkit.rigid import inverse, make_pose, quaternion_to_matrix
from depthkit.trajectory import Order, Trajectory, detect_format, load_kitti, load_trajectory
from depthkit.trajectory.formats import parse_poses
from depthkit.trajectory.text import TextTable, is_number, read_pose_text
from depthkit.trajectory.time_units import date_unit

OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
"""T_glcam_cam: an OpenGL camera looks along -z with y up. (4, 4)"""
ROTATION_TOLERANCE = 1e-2


@dataclass(frozen=True)
class PoseList:
    """Poses as a file has them, and what tells whose they are."""

    path: Path
    T_world_cam: np.ndarray
    """NaN where unknown. (N, 4, 4)"""
    names: tuple[str, ...] | None = None
    """Pictures they belong to."""
    numbers: np.ndarray | None = None
    """Frame numbers they belong to. (N,) int"""
    trajectory: Trajectory | None = None
    """Where the file holds times, else None."""
    metric: bool = True
    any_unit: bool = False
    """Whether the unit of its times is a guess that frames may correct."""
    in_seconds: bool = False
    """Whether the times were taken as they stand in the file."""
    assumed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What the user should hear, such as rows without a pose."""


def read_pose_list(
    path: Path, time_unit: str = "auto", quaternion: Order | None = None
) -> PoseList:
    """Read a file of poses.

    Args:
        path: TUM, KITTI, EuRoC and the other forms named above.
        time_unit: s, ms, us, ns, or auto: detected by size and spacing.
        quaternion: order of its quaternions; None: detected from the file, and reported.

    Raises:
        DataError: missing, no text, or none of the known forms.
    """
    is_json = path.suffix.lower() == ".json"
    text = read_pose_text(path, is_json=is_json)
    if is_json:
        return _from_transforms(path, text)
    rows = [line.replace(",", " ").split() for line in text.splitlines()]
    rows = [row for row in rows if row and not row[0].startswith("#")]
    if not rows:
        raise DataError(f"{path}: holds no poses")
    if _is_colmap(rows):
        # Rows of points stand between those of pictures and have no name.
        images = [row for row in rows if len(row) >= 10 and not is_number(row[9])]
        return parse_colmap_images(path, images)
    if all(Path(row[0]).suffix.lower() in IMAGE_SUFFIXES for row in rows):
        return _named_rows(path, rows, quaternion)
    blocks = _blocks(rows)
    if blocks is not None:
        numbers, matrices = blocks
        return PoseList(path, checked_poses(matrices), numbers=numbers)
    if detect_format(path) == "kitti":
        trajectory = load_kitti(path)
        # Rows without a pose are dropped, so the row numbers are the stamps.
        dropped = len(trajectory) < len(rows)
        numbers = trajectory.stamps.astype(int) if len(rows[0]) == 13 or dropped else None
        return PoseList(path, trajectory.T_world_cam, numbers=numbers, notes=trajectory.notes)
    trajectory = load_trajectory(path, repeats="first", time_unit=time_unit, quaternion=quaternion)
    return PoseList(
        path,
        trajectory.T_world_cam,
        trajectory=trajectory,
        any_unit=time_unit == "auto" and date_unit(trajectory.stamps) is None,
        in_seconds=not any("times taken as" in text for text in trajectory.assumed),
        assumed=trajectory.assumed,
        notes=trajectory.notes,
    )


def checked_poses(T: np.ndarray) -> np.ndarray:
    """Return poses with NaN for those that are not finite or do not rotate. (N, 4, 4)"""
    good = np.isfinite(T).all(axis=(1, 2))
    R = np.where(good[:, None, None], T[:, :3, :3], 0.0)
    error = np.abs(R @ np.swapaxes(R, 1, 2) - np.eye(3)).max(axis=(1, 2), initial=0.0)
    good &= (error < ROTATION_TOLERANCE) & (np.linalg.det(R) > 0)
    return np.where(good[:, None, None], T, np.nan)


# --- the forms -----------------------------------------------------------------------------------


def _blocks(rows: list[list[str]]) -> tuple[np.ndarray | None, np.ndarray] | None:
    """Return (numbers, matrices) of rows of 16 or blocks of 4x4; None for other rows. (N, 4, 4)"""
    widths = {len(row) for row in rows}
    numbers: list[str] | None = None
    if widths in ({16}, {17}):
        numbers = [row[0] for row in rows] if widths == {17} else None
        fields = [row[-16:] for row in rows]
    elif widths == {4} and len(rows) % 4 == 0:
        fields = [sum(rows[i : i + 4], []) for i in range(0, len(rows), 4)]
    elif len(rows) % 5 == 0 and all(
        len(row) == 4 if i % 5 else len(row) in (1, 3) for i, row in enumerate(rows)
    ):
        fields = [sum(rows[i + 1 : i + 5], []) for i in range(0, len(rows), 5)]
        numbers = [row[0] for row in rows[::5]]
    else:
        return None
    try:
        T = np.array(fields, dtype=np.float64).reshape(-1, 4, 4)
        index = None if numbers is None else np.array(numbers, dtype=np.float64).astype(int)
    except ValueError:
        return None
    known = np.isfinite(T[:, 3]).all(axis=1)
    return (index, T) if np.allclose(T[known, 3], [0.0, 0.0, 0.0, 1.0]) else None


def _named_rows(path: Path, rows: list[list[str]], quaternion: Order | None) -> PoseList:
    """Read `name x y z q`, or `name` and 12 or 16 numbers of a matrix."""
    has_quaternion = len(rows[0]) == 8
    numbers = [[str(i), *row[1:]] if has_quaternion else row[1:] for i, row in enumerate(rows)]
    table = parse_poses(TextTable(str(path), numbers, list(range(1, len(rows) + 1))), quaternion)
    if len(table.T_world_cam) != len(rows):
        raise DataError(f"{path}: {len(rows)} rows with a name, {len(table.T_world_cam)} poses")
    said = (*table.assumed, *((table.order_note,) if table.order_note else ()))
    return PoseList(path, table.T_world_cam, names=tuple(row[0] for row in rows), assumed=said)


def _is_colmap(rows: list[list[str]]) -> bool:
    """Whether rows are `id qw qx qy qz tx ty tz camera name`, with rows of points between."""
    first = rows[0] if rows else []
    return len(first) >= 10 and all(map(is_number, first[:8])) and not is_number(first[9])


def parse_colmap_images(path: Path, rows: list[list[str]]) -> PoseList:
    """Invert COLMAP's world-to-camera poses.

    Args:
        path: of the file.
        rows: `id qw qx qy qz tx ty tz camera name` of each picture.
    """
    try:
        values = np.array([row[1:8] for row in rows], dtype=np.float64)
    except ValueError:
        raise DataError(f"{path}: expected 'id qw qx qy qz tx ty tz camera name'") from None
    if (np.linalg.norm(values[:, :4], axis=1) < 1e-6).any():
        raise DataError(f"{path}: holds a quaternion of length 0")
    T_cam_world = make_pose(quaternion_to_matrix(values[:, [1, 2, 3, 0]]), values[:, 4:])
    return PoseList(
        path,
        inverse(T_cam_world),
        names=tuple(" ".join(row[9:]) for row in rows),
        metric=False,
        assumed=(
            f"{path.name}: COLMAP's poses are world to camera and were inverted; they are up to "
            "scale, not metres",
        ),
    )


def _matrix_of(path: Path, frame: dict[str, Any]) -> np.ndarray:
    """Return the 4x4 matrix of one frame of transforms.json, of 3x4 numbers or 4x4."""
    try:
        values = np.array(frame["transform_matrix"], dtype=np.float64)
    except (ValueError, KeyError, TypeError):
        values = np.empty(0)
    if values.shape not in ((3, 4), (4, 4)):
        raise DataError(f"{path}: {frame['file_path']}: expected a 4x4 transform_matrix")
    return np.vstack([values[:3], [0.0, 0.0, 0.0, 1.0]])


def _from_transforms(path: Path, text: str) -> PoseList:
    """Read frames[] of nerfstudio and instant-ngp: camera to world in OpenGL's axes."""
    try:
        record = json.loads(text)
        frames = record["frames"]
        names = tuple(str(frame["file_path"]) for frame in frames)
    except (ValueError, KeyError, TypeError):
        raise DataError(
            f"{path}: expected frames with file_path and a 4x4 transform_matrix (transforms.json)"
        ) from None
    T = np.stack([_matrix_of(path, frame) for frame in frames] or [np.eye(4)])[: len(frames)]
    return PoseList(
        path,
        checked_poses(T) @ OPENGL,
        names=names,
        metric=False,
        assumed=(
            f"{path.name}: camera axes taken as OpenGL's (y up, looking along -z) and turned to x "
            "right, y down, z forward; its scale is not stated: up to scale, not metres",
        ),
    )
