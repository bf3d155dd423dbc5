# SPDX-License-Identifier: Apache-2.0
"""KITTI odometry: sequences/SS/{image_N, calib.txt, times.txt} and poses/SS.txt.

Frames are rectified. Poses are those of camera 0; another camera N stands beside it by
-K^-1 P_N[:, 3] (Geiger 2012, devkit readme: P_N projects points of camera 0).
"""

from pathlib import Path

import numpy as np

from depthkit.camera import SourceCamera
from depthkit.data.calibrations.kitti import CAMERAS, projection
from depthkit.data.image_io import list_images
from depthkit.data.importers.source import (
    FrameRef,
    ImportOptions,
    Source,
    first_size,
    given_camera,
    pinhole_of,
)
from depthkit.errors import DataError
from depthkit.trajectory import load_kitti
from depthkit.trajectory.time_units import to_seconds


def find(root: Path) -> dict[str, Path]:
    """Return sequences/SS by SS; `root` may also be one of them."""
    if not root.is_dir():
        return {}
    if _is_sequence(root):
        return {root.resolve().name: root}
    parent = root / "sequences" if (root / "sequences").is_dir() else root
    folders = sorted(p for p in parent.iterdir() if p.is_dir())
    return {p.name: p for p in folders if _is_sequence(p)}


def load(place: Path, name: str, options: ImportOptions) -> Source:
    """Take the first camera there is in the order of `CAMERAS`."""
    number = next(n for n in CAMERAS if list_images_of(place, n))
    paths = list_images_of(place, number)
    index = frame_numbers(paths)
    P = read_projection(place / "calib.txt", f"P{number}")
    size = first_size(paths, place)
    times, notes, assumed = _times(place / "times.txt", index, options.time_unit)
    poses, missing = _poses(place, index, P)
    return Source(
        name=name,
        format="kitti-odometry",
        frames=tuple(FrameRef(path) for path in paths),
        times=times,
        camera=given_camera(options, size) or rectified_camera(P, size, place / "calib.txt"),
        poses=poses,
        notes=notes + missing,
        assumed=assumed,
        origin={
            "camera_index": number,
            "calibration": "--camera" if options.camera else "calib.txt",
        },
    )


def list_images_of(place: Path, number: int) -> list[Path]:
    """Return the pictures of image_N, none where the folder is missing."""
    folder = place / f"image_{number}"
    return list_images(folder) if folder.is_dir() else []


def frame_numbers(paths: list[Path]) -> np.ndarray:
    """Return the frame number in each name; it indexes times and poses. (N,) int"""
    for path in paths:
        if not path.stem.isdigit():
            raise DataError(f"{path}: expected a frame number as name, such as 000000.png")
    return np.array([int(path.stem) for path in paths])


def read_calibration(path: Path, key: str, *counts: int) -> np.ndarray:
    """Return the numbers of a `key: numbers` line of a KITTI calibration file.

    Args:
        path: the file.
        key: name before the colon.
        counts: how many numbers there may be.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise DataError(f"{path}: calibration missing; KITTI ships this file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot read calibration: {error}") from None
    for line in lines:
        name, _, values = line.partition(":")
        if name.strip() == key:
            return _numbers(values, f"{path}: {key}", counts)
    raise DataError(f"{path}: calibration missing: no line {key!r}")


def read_projection(path: Path, key: str) -> np.ndarray:
    """Return P of twelve numbers, or of the nine of a K written by hand. (3, 4)"""
    P = np.array(projection(tuple(read_calibration(path, key, 12, 9)), key)).reshape(3, 4)
    if abs(np.linalg.det(P[:, :3])) < 1e-9:
        raise DataError(f"{path}: {key} is no camera matrix: its focal lengths are 0")
    return P


def rectified_camera(P: np.ndarray, size: tuple[int, int], path: Path) -> SourceCamera:
    """Return the pinhole of a projection (3, 4) for pictures of (H, W)."""
    try:
        return pinhole_of(P[:, :3], size)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def camera_offset(P: np.ndarray) -> np.ndarray:
    """Return x_N - x_0, what to add to points of rectified camera 0 to get them in camera N.

    Args:
        P: projection of camera N. (3, 4)

    Returns:
        Metres. (3,)
    """
    return np.linalg.solve(P[:, :3], P[:, 3])


def _numbers(text: str, where: str, counts: tuple[int, ...]) -> np.ndarray:
    """Read so many finite numbers."""
    try:
        values = np.array(text.split(), dtype=np.float64)
    except ValueError:
        raise DataError(f"{where} holds text that is no number") from None
    if len(values) not in counts:
        expected = " or ".join(map(str, counts))
        raise DataError(f"{where} holds {len(values)} numbers, expected {expected}")
    if not np.isfinite(values).all():
        raise DataError(f"{where} holds NaN or an infinite number")
    return values


def _is_sequence(folder: Path) -> bool:
    return any(list_images_of(folder, n) for n in CAMERAS)


def _times(
    path: Path, index: np.ndarray, unit: str
) -> tuple[np.ndarray, tuple[str, ...], tuple[str, ...]]:
    """Return times of the frames, notes and what was assumed of their unit."""
    if not path.is_file():
        return index / 10.0, ("no times.txt: 10 frames/s assumed, as KITTI was recorded",), ()
    try:
        times = np.array(path.read_text(encoding="utf-8").split(), dtype=np.float64)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot read times: {error}") from None
    if not np.isfinite(times).all():
        raise DataError(f"{path}: times must be finite, got NaN or an infinite number")
    if index[-1] >= len(times):
        raise DataError(f"{path}: {len(times)} times, but frame {index[-1]} exists")
    seconds, assumed = to_seconds(times, unit, path.name)
    return seconds[index], (), assumed


def _poses(
    place: Path, index: np.ndarray, P: np.ndarray
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Read poses/SS.txt two folders up and move them from camera 0 to the camera of P."""
    resolved = place.resolve()
    path = resolved.parent.parent / "poses" / f"{resolved.name}.txt"
    if not path.is_file():
        return None, (f"no poses/{path.name}: frames are stored without poses",)
    known = load_kitti(path).T_world_cam
    T_cam0_cam = np.eye(4)
    T_cam0_cam[:3, 3] = -camera_offset(P)
    poses = np.full((len(index), 4, 4), np.nan)
    has_pose = index < len(known)
    poses[has_pose] = known[index[has_pose]] @ T_cam0_cam
    missing = int((~has_pose).sum())
    note = f"{missing} of {len(index)} frames have no row in poses/{path.name}"
    return poses, (note,) if missing else ()
