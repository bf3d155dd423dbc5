# SPDX-License-Identifier: Apache-2.0
"""Poses of an RGB-D export: a file a frame, or one list of all; camera to world."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from depthkit.data.image_io import natural_key
from depthkit.data.importers.folder_parts import pair_by_key, pair_key, words_of
from depthkit.data.importers.places import subfolders
from depthkit.data.importers.pose_files import checked_poses, read_pose_list
from depthkit.data.importers.pose_pairing import Poses, put_to_frames
from depthkit.data.importers.source import FrameRef, ImportOptions
from depthkit.errors import DataError

LISTS = (
    "trajectory.log", "traj.txt", "trajectory.txt", "groundtruth.txt", "poses.txt", "pose.txt",
    "poses.log", "gt.txt", "camera_poses.txt", "CameraTrajectory.txt", "gt_poses.txt",
)  # fmt: skip
DOCUMENTED = ("trajectory.log", "traj.txt", "groundtruth.txt")
"""Lists whose direction and unit their own data sets state."""


def has_poses(place: Path, colour: Path) -> bool:
    """Whether poses of frames lie in a sequence's folder."""
    return _pose_list(place) is not None or bool(_pose_files(place, colour))


def find_poses(
    place: Path,
    colour: Path,
    frames: Sequence[FrameRef],
    times: np.ndarray,
    options: ImportOptions,
) -> Poses:
    """Read the poses of a sequence; rows that cannot be used are reported, with the reason.

    Args:
        place: folder of the sequence.
        colour: folder of its colour pictures.
        frames: its frames.
        times: their times, seconds. (N,)
        options: holds --max-gap and --time-unit.
    """
    files = _pose_files(place, colour)
    if files:
        return _from_files(files, frames)
    path = _pose_list(place)
    if path is None:
        return Poses(None, ("no poses: frames are stored without them",))
    try:
        poses = read_pose_list(path, options.time_unit)
        found, assumed = put_to_frames(poses, frames, times, options.max_gap)
    except DataError as error:
        return Poses(None, (f"poses are not used: {error}",))
    unknown = int(np.isnan(found).any(axis=(1, 2)).sum())
    notes = (f"{unknown} of {len(frames)} frames have no pose in {path.name}",) if unknown else ()
    if path.name not in DOCUMENTED:
        assumed += (f"{path.name}: taken as camera to world in metres, x right, y down, z forward",)
    return Poses(found, notes, assumed)


def unused_poses(folders: Sequence[Path], options: ImportOptions) -> tuple[str, ...]:
    """Name a file of poses that lies there and was not requested.

    Args:
        folders: where to look.
        options: holds --poses.
    """
    if options.poses is not None:
        return ()
    patterns = ("*groundtruth*.txt", "*poses*.txt", "traj*.txt", "*rajectory*.txt")
    found = (p for folder in dict.fromkeys(folders) for g in patterns for p in folder.glob(g))
    path = next((p for p in found if p.is_file()), None)
    return () if path is None else (f"{path.name} lies there, unused: --poses {path} takes it",)


def _pose_list(place: Path) -> Path | None:
    named = next((place / name for name in LISTS if (place / name).is_file()), None)
    return named or next(iter(sorted(place.glob("*.gt.freiburg"))), None)  # ICL-NUIM


def _pose_files(place: Path, colour: Path) -> dict[str, Path]:
    """Return files of one pose each by the key of their frame."""
    named = [p for p in subfolders(place) if words_of(p.name) & {"pose", "poses"}]
    for folder in dict.fromkeys((*named, colour)):
        found_here = sorted(folder.glob("*.txt"), key=lambda p: natural_key(p.name))
        files = [p for p in found_here if p.name[0] != "." and _is_pose(p)]
        found = {pair_key(path.stem): path for path in files}
        if found and len(found) == len(files):
            return found
    return {}


def _is_pose(path: Path) -> bool:
    """Whether a small text file could hold one 4x4 matrix: 16 numbers, or 12."""
    if path.stat().st_size > 2000:
        return False
    try:
        numbers = [float(f) for f in path.read_text(encoding="utf-8").split()]
    except (OSError, ValueError):
        return False
    return len(numbers) in (12, 16) and any(c.isdigit() for c in path.stem)


def _from_files(files: dict[str, Path], frames: Sequence[FrameRef]) -> Poses:
    """Read the file of each frame; one that is missing, infinite or no rotation is unknown."""
    T = np.full((len(frames), 4, 4), np.nan)
    paths = list(files.values())
    index, shifted = pair_by_key([pair_key(f.path.stem) for f in frames], list(files))
    for i, at in enumerate(index):
        if at is not None:
            path = paths[at]
            numbers = np.array(path.read_text(encoding="utf-8").split(), dtype=np.float64)
            T[i, 3] = [0.0, 0.0, 0.0, 1.0]
            T[i, : len(numbers) // 4] = numbers.reshape(-1, 4)
    T, turned = _upright(T)
    T = checked_poses(T)
    unknown = int(np.isnan(T).any(axis=(1, 2)).sum())
    if unknown == len(frames):
        return Poses(None, (f"{len(files)} pose files, none a usable pose of a frame",))
    notes = (f"{unknown} of {len(frames)} frames have no usable pose",) if unknown else ()
    word = f"pose files count from {paths[0].stem}, frames from {frames[0].path.stem}: in order"
    return Poses(T, notes, (*((word,) if shifted else ()), *turned))


def _upright(T: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Transpose matrices written by columns; one without 0 0 0 1 in its last row is no pose."""
    last = np.array([0.0, 0.0, 0.0, 1.0])
    known = np.isfinite(T).all(axis=(1, 2))
    by_rows = (T[:, 3] == last).all(axis=1)
    by_columns = (T[:, :, 3] == last).all(axis=1)
    if known.any() and by_columns[known].all() and not by_rows[known].all():
        word = "pose files: 0 0 0 1 is their last column: written by columns, transposed"
        return np.swapaxes(T, 1, 2), (word,)
    return np.where((known & by_rows)[:, None, None], T, np.nan), ()
