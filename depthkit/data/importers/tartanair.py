# SPDX-License-Identifier: Apache-2.0
"""TartanAir 1 and 2: image_*, depth_* and pose_* of one camera (left, lcam_front) and its like.

Pose rows are `x y z qx qy qz qw` of frame 0, 1, 2 ... in NED axes: camera x forward, y right, z
down. Depth is metres: .npy, or the four bytes of a float32 as a colour PNG. The views of version 2
are 90 degrees wide, those of version 1 have f 320 at 640x480. Frames of version 2 have times in
imu/cam_time.npy, beside the samples of an IMU in the axes of the camera; others carry none.
"""

from pathlib import Path

import numpy as np

from depthkit.camera import Camera, SourceCamera
from depthkit.data.image_io import list_images
from depthkit.data.importers.asl_imu import ImuPart
from depthkit.data.importers.folder_parts import depth_files
from depthkit.data.importers.places import find_folders
from depthkit.data.importers.pose_files import PoseList, checked_poses
from depthkit.data.importers.pose_pairing import Poses, frame_numbers, put_to_frames
from depthkit.data.importers.rgbd_camera import Cameras
from depthkit.data.importers.rgbd_depth import find_depth
from depthkit.data.importers.source import (
    FrameRef,
    ImportOptions,
    Source,
    first_size,
    frame_times,
    given_camera,
)
from depthkit.data.importers.times import read_list
from depthkit.data.imu_table import rising_samples
from depthkit.errors import DataError
from depthkit.rigid import make_pose, quaternion_to_matrix
from depthkit.trajectory import Imu

R_NED_CAM = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
"""Turns x right, y down, z forward into x forward, y right, z down. (3, 3)"""
WITH_IMU = ("left", "lcam_front")
"""Cameras in whose axes and place the IMU of version 2 is simulated."""
IMU_FILES = (("imu_time", 1), ("gyro", 3), ("acc", 3))
FOCAL = 320.0
"""Pixels, of 640 pixels of width: both versions."""


def find(root: Path) -> dict[str, Path]:
    """Return folders with image_NAME and pose_NAME.txt, by name."""
    return find_folders(root, lambda folder: bool(_cameras(folder)))


def load(place: Path, name: str, options: ImportOptions) -> Source:
    """Take the left front camera, or the first there is."""
    cameras = _cameras(place)
    camera_name = next((c for c in ("left", "lcam_front") if c in cameras), cameras[0])
    paths = list_images(place / f"image_{camera_name}")
    frames = tuple(FrameRef(path) for path in paths)
    numbers = frame_numbers(frames)
    index = np.array(numbers if numbers is not None else range(len(paths)))
    imu, clock = _imu(place, camera_name)
    times, notes = _times(clock, index, options.fps)
    camera, calibration = _camera(first_size(paths, place), options)
    files = place / f"depth_{camera_name}"
    depth = find_depth(
        place,
        depth_files(files) if files.is_dir() else [],
        frames,
        times,
        Cameras(camera, calibration, None),
        options,
    )
    poses = Poses(None) if options.poses else _poses(place, camera_name, frames, times, options)
    return Source(
        name=name,
        format="tartanair",
        frames=frames,
        times=times,
        camera=camera,
        poses=poses.T_world_cam,
        depth=depth.source,
        notes=notes + depth.notes + poses.notes + imu.notes,
        assumed=poses.assumed + tuple(t for t in depth.assumed if "floating" not in t),
        origin={"calibration": calibration, "camera_name": camera_name},
        imu=imu.imu,
    )


def _times(
    clock: np.ndarray | None, index: np.ndarray, fps: float | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return times of frames by their numbers: --fps, the IMU's clock, or 30 a second. (N,)"""
    if fps is None and clock is not None and index.max() < len(clock):
        return clock[index], ()
    one, notes = frame_times(2, fps)
    return index * one[1], notes


def _imu(place: Path, camera: str) -> tuple[ImuPart, np.ndarray | None]:
    """Read imu/{imu_time, gyro, acc}.npy, in the axes of the left camera with x forward, z down.

    Returns:
        The IMU, and the time of each pose by imu/cam_time.npy, None without a usable IMU.
    """
    folder = place / "imu"
    if camera not in WITH_IMU or not (folder / "imu_time.npy").is_file():
        return ImuPart(), None
    try:
        clock = _read_array(folder / "cam_time.npy", 1)
        parts = [_read_array(folder / f"{name}.npy", n) for name, n in IMU_FILES]
        poses = len(read_list(place / f"pose_{camera}.txt"))
        if len({len(part) for part in parts}) != 1:
            raise DataError(f"{folder}: its arrays differ in length")
        if len(clock) != poses or not (np.diff(clock) > 0).all():
            raise DataError(f"{folder}: is of {len(clock)} frames, pose_{camera}.txt of {poses}")
    except DataError as error:
        return ImuPart(notes=(f"the IMU is not used: {error}",)), None
    rows, notes = rising_samples(np.column_stack(parts), "imu")
    if not len(rows):
        return ImuPart(notes=notes), None
    return ImuPart(Imu(rows, make_pose(R_NED_CAM.T, np.zeros(3))), notes), clock


def _read_array(path: Path, width: int) -> np.ndarray:
    """Read an array of numbers, (N,) where the width is 1, else (N, width)."""
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: cannot read: {error}") from None
    shape = (len(values),) if width == 1 and values.ndim else (*values.shape[:1], width)
    if values.shape != shape or values.dtype.kind not in "fiu" or not len(values):
        raise DataError(f"{path}: expected an array of numbers (N, {width}), got {values.shape}")
    return values.astype(np.float64)


def _cameras(folder: Path) -> list[str]:
    """Return the cameras that have pictures and poses, by name."""
    poses = sorted(folder.glob("pose_*.txt"))
    names = [path.stem.removeprefix("pose_") for path in poses]
    return [n for n in names if (f := folder / f"image_{n}").is_dir() and list_images(f)]


def _camera(size: tuple[int, int], options: ImportOptions) -> tuple[SourceCamera, str]:
    given = given_camera(options, size)
    if given is not None:
        return given, "--camera"
    height, width = size
    f = FOCAL * width / 640.0
    camera = Camera(width, height, f, f, width / 2, height / 2)
    return SourceCamera(camera), "published for TartanAir"


def _poses(
    place: Path,
    camera: str,
    frames: tuple[FrameRef, ...],
    times: np.ndarray,
    options: ImportOptions,
) -> Poses:
    """Turn NED poses into those of a camera that looks along z; the world keeps its axes."""
    path = place / f"pose_{camera}.txt"
    fields = read_list(path)
    wrong = next((row for row in fields if len(row) != 7), None if fields else [])
    if wrong is not None:
        raise DataError(f"{path}: expected rows of x y z qx qy qz qw, got {' '.join(wrong)[:60]!r}")
    try:
        rows = np.array(fields, dtype=np.float64)
    except ValueError as error:
        raise DataError(f"{path}: cannot read 'x y z qx qy qz qw': {error}") from None
    if (np.linalg.norm(rows[:, 3:], axis=1) < 1e-6).any():
        raise DataError(f"{path}: holds a quaternion of length 0")
    T = checked_poses(make_pose(quaternion_to_matrix(rows[:, 3:]) @ R_NED_CAM, rows[:, :3]))
    try:
        found, _ = put_to_frames(PoseList(path, T), frames, times, options.max_gap)
    except DataError as error:
        return Poses(None, (f"poses are not used: {error}",))
    unknown = int(np.isnan(found).any(axis=(1, 2)).sum())
    notes = (f"{unknown} of {len(frames)} frames have no pose in {path.name}",) if unknown else ()
    return Poses(found, notes)
