# SPDX-License-Identifier: Apache-2.0
"""Stray Scanner on an iPhone: rgb.mp4, depth/%06d.png, camera_matrix.csv, odometry.csv.

odometry.csv holds `timestamp, frame, x, y, z, qx, qy, qz, qw` of each video frame, camera to world
in metres with x right, y down, z forward, as the app's own viewer takes it. Depth is millimetres.
"""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from depthkit.data.importers import video
from depthkit.data.importers.folder_parts import depth_files
from depthkit.data.importers.places import find_folders
from depthkit.data.importers.pose_files import checked_poses
from depthkit.data.importers.rgbd_camera import Cameras, read_intrinsics
from depthkit.data.importers.rgbd_depth import find_depth
from depthkit.data.importers.source import FrameRef, ImportOptions, Source, pinhole_of
from depthkit.data.importers.times import read_list
from depthkit.errors import DataError
from depthkit.rigid import make_pose, quaternion_to_matrix
from depthkit.trajectory.time_units import to_seconds

PARTS = ("rgb.mp4", "camera_matrix.csv", "odometry.csv")


def find(root: Path) -> dict[str, Path]:
    """Return folders with the parts of a recording, by name."""
    return find_folders(root, lambda folder: all((folder / part).is_file() for part in PARTS))


def load(place: Path, name: str, options: ImportOptions) -> Source:
    """Read the video with the times, poses and depth of its frames."""
    filmed = video.load(place / PARTS[0], name, _with_any_camera(place, options))
    path = place / PARTS[2]
    rows = _rows(path)
    count = min(len(rows), len(filmed.frames))
    notes = [f"{len(rows)} rows of odometry.csv for {len(filmed.frames)} video frames"]
    times, assumed = to_seconds(rows[:count, 0], options.time_unit, path.name)
    source = replace(
        filmed,
        format="stray",
        frames=filmed.frames[:count],
        times=times if options.fps is None else filmed.times[:count],
        poses=None if options.poses else _poses(rows[:count]),
        notes=(*filmed.notes, *(notes if len(rows) != len(filmed.frames) else ())),
        assumed=(*filmed.assumed, *assumed),
    )
    files = depth_files(place / "depth") if (place / "depth").is_dir() else []
    # Depth files are numbered as the frames of the video are.
    stand_ins = tuple(FrameRef(Path(f"{frame.index}.png")) for frame in source.frames)
    cameras = Cameras(source.camera, "", None)
    depth = find_depth(place, files, stand_ins, source.times, cameras, options)
    return replace(
        source,
        depth=depth.source,
        notes=(*source.notes, *depth.notes),
        assumed=(*source.assumed, *depth.assumed),
    )


def _with_any_camera(place: Path, options: ImportOptions) -> ImportOptions:
    """Give the reader of videos the camera of the recording, unless the user gave one."""
    if options.camera is not None:
        return options
    K = read_intrinsics(place / PARTS[1], None)
    return replace(options, camera=pinhole_of(K, _video_size(place / PARTS[0])))


def _video_size(path: Path) -> tuple[int, int]:
    """Return (H, W) of the first frame as OpenCV decodes it."""
    capture = cv2.VideoCapture(str(path))
    try:
        is_read, frame = capture.read()
    finally:
        capture.release()
    if not is_read:
        raise DataError(f"{path}: holds no frame that decodes")
    return frame.shape[0], frame.shape[1]


def _rows(path: Path) -> np.ndarray:
    """Return rows of nine numbers or more; a header is left out. (N, 9)"""
    fields = [row[:9] for row in read_list(path)]
    wrong = next((row for row in fields if len(row) < 9), None if fields else [])
    if wrong is not None:
        raise DataError(
            f"{path}: expected timestamp, frame, x, y, z, qx, qy, qz, qw, got "
            f"{' '.join(wrong)[:60]!r}"
        )
    try:
        return np.array(fields, dtype=np.float64)
    except ValueError as error:
        raise DataError(f"{path}: cannot read rows of numbers: {error}") from None


def _poses(rows: np.ndarray) -> np.ndarray:
    q = np.where(np.linalg.norm(rows[:, 5:], axis=1, keepdims=True) > 1e-6, rows[:, 5:], np.nan)
    return checked_poses(make_pose(quaternion_to_matrix(q), rows[:, 2:5]))
