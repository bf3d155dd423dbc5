# SPDX-License-Identifier: Apache-2.0
"""KITTI raw, synchronised and rectified drives: DATE/DATE_drive_NNNN_sync/image_0N/data.

Poses come from oxts (Mercator scaled at the first latitude, as in the devkit of Geiger 2013) and
depth from velodyne, each where it is there. The world is the camera frame of the first pose.
"""

import math
from functools import partial
from pathlib import Path

import numpy as np

from depthkit.camera import SourceCamera
from depthkit.data.calibrations.kitti import CAMERAS
from depthkit.data.image_io import UnreadableImageError, list_images, read_bytes
from depthkit.data.importers.asl_imu import ImuPart
from depthkit.data.importers.kitti_odometry import (
    camera_offset,
    frame_numbers,
    read_calibration,
    read_projection,
    rectified_camera,
)
from depthkit.data.importers.source import (
    DepthSource,
    FrameRef,
    ImportOptions,
    Source,
    given_camera,
)
from depthkit.data.imu_table import rising_samples
from depthkit.errors import DataError
from depthkit.trajectory import Imu, Trajectory, interpolate_poses, inverse, make_pose

EARTH_RADIUS = 6378137.0
"""Metres, as the devkit has it."""
OXTS_FIELDS = 20
"""Fields of a packet up to and including the rates about the axes of the IMU."""
LIDAR_SCALE = 256.0
"""KITTI's own: uint16 / 256 reaches 255 m."""


def find(root: Path) -> dict[str, Path]:
    """Return drives by folder name; `root` is a drive, a date or the folder of dates."""
    if not root.is_dir():
        return {}
    if _cameras(root):
        return {root.resolve().name: root}
    below = [p for pattern in ("*", "*/*") for p in sorted(root.glob(pattern)) if p.is_dir()]
    return {p.name: p for p in below if _cameras(p)}


def load(place: Path, name: str, options: ImportOptions) -> Source:
    """Take the first camera there is in the order of `CAMERAS`."""
    number = _cameras(place)[0]
    folder = place / f"image_0{number}"
    paths = list_images(folder / "data")
    index = frame_numbers(paths)
    calibration = _calibration_folder(place)
    times = _pick(read_timestamps(folder / "timestamps.txt"), index, folder / "timestamps.txt")
    camera = _camera(calibration, number)
    poses, pose_notes = _poses(place, calibration, number, times, options.max_gap)
    depth, depth_notes = _depth(place, calibration, number, index)
    imu = ImuPart() if options.imu else _imu(place, calibration, number)
    return Source(
        name=name,
        format="kitti-raw",
        frames=tuple(FrameRef(path) for path in paths),
        times=times,
        camera=given_camera(options, camera.camera.size) or camera,
        poses=poses,
        depth=depth,
        notes=pose_notes + depth_notes + imu.notes,
        origin={
            "camera_index": number,
            "calibration": "--camera" if options.camera else "calib_cam_to_cam.txt",
        },
        imu=imu.imu,
    )


def read_timestamps(path: Path) -> np.ndarray:
    """Read `2011-09-26 13:02:25.961661696` lines as seconds since 1970. (N,)"""
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        stamps = np.array([line.strip().replace(" ", "T") for line in lines], "datetime64[ns]")
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot read timestamps: {error}") from None
    return stamps.astype(np.int64) / 1e9


def oxts_poses(rows: np.ndarray) -> np.ndarray:
    """Turn OXTS rows into poses of the IMU.

    Args:
        rows: latitude, longitude (degrees), altitude (m), roll, pitch, yaw (rad), ... (N, >= 6)

    Returns:
        T_world_imu in metres; x east, y north, z up. (N, 4, 4)
    """
    lat, lon, altitude, roll, pitch, yaw = rows[:, :6].T
    scale = EARTH_RADIUS * math.cos(math.radians(lat[0]))
    east = scale * np.radians(lon)
    north = scale * np.log(np.tan(np.radians(90.0 + lat) / 2))
    R = _about("z", yaw) @ _about("y", pitch) @ _about("x", roll)
    return make_pose(R, np.stack([east, north, altitude], axis=1))


def read_velodyne(path: Path, *, T_cam_velo: np.ndarray) -> np.ndarray:
    """Read a scan (float32 x, y, z, reflectance) as points of the camera frame, metres. (N, 3)"""
    data = read_bytes(path)
    if len(data) % 16:
        raise UnreadableImageError(
            f"{path}: truncated scan: {len(data)} bytes are not whole points of 16"
        )
    points = np.frombuffer(data, "<f4").reshape(-1, 4)[:, :3].astype(np.float64)
    return points @ T_cam_velo[:3, :3].T + T_cam_velo[:3, 3]


# --- parts ---------------------------------------------------------------------------------------


def _cameras(drive: Path) -> list[int]:
    folders = ((n, drive / f"image_0{n}" / "data") for n in CAMERAS)
    return [n for n, folder in folders if folder.is_dir() and list_images(folder)]


def _calibration_folder(drive: Path) -> Path:
    """Return where calib_cam_to_cam.txt lies: in the drive or, as shipped, in its date."""
    for folder in (drive, drive.resolve().parent):
        if (folder / "calib_cam_to_cam.txt").is_file():
            return folder
    raise DataError(
        f"{drive}: calibration missing: calib_cam_to_cam.txt is neither here nor one folder up"
    )


def _camera(calibration: Path, number: int) -> SourceCamera:
    path = calibration / "calib_cam_to_cam.txt"
    width, height = read_calibration(path, f"S_rect_0{number}", 2)
    return rectified_camera(_projection(calibration, number), (int(height), int(width)), path)


def _projection(calibration: Path, number: int) -> np.ndarray:
    return read_projection(calibration / "calib_cam_to_cam.txt", f"P_rect_0{number}")


def _pick(values: np.ndarray, index: np.ndarray, path: Path) -> np.ndarray:
    if index[-1] >= len(values):
        raise DataError(f"{path}: {len(values)} timestamps, but frame {index[-1]} exists")
    return values[index]


def _rigid(path: Path) -> np.ndarray:
    """Read the R and T lines of a calibration file. (4, 4)"""
    return make_pose(read_calibration(path, "R", 9).reshape(3, 3), read_calibration(path, "T", 3))


def _T_cam_velo(calibration: Path, number: int) -> np.ndarray:
    """Chain velodyne -> camera 0 -> rectified camera 0 -> rectified camera N. (4, 4)"""
    path = calibration / "calib_cam_to_cam.txt"
    R_rect = read_calibration(path, "R_rect_00", 9).reshape(3, 3)
    T_rect0_cam0 = make_pose(R_rect, np.zeros(3))
    T_cam_rect0 = make_pose(np.eye(3), camera_offset(_projection(calibration, number)))
    return T_cam_rect0 @ T_rect0_cam0 @ _rigid(calibration / "calib_velo_to_cam.txt")


def _poses(
    drive: Path, calibration: Path, number: int, times: np.ndarray, max_gap: float
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Interpolate the camera's poses at the frame times. (N, 4, 4)"""
    if not _oxts_files(drive):
        return None, ("no oxts: frames are stored without poses and IMU",)
    stamps, rows = _read_oxts_rows(drive)
    T_world_imu = oxts_poses(np.stack([row[:6] for row in rows]))
    T_world_cam = T_world_imu @ inverse(_T_cam_imu(calibration, number))
    rising = np.concatenate([[True], np.diff(stamps) > 0])  # a few drives repeat an oxts packet
    local = inverse(T_world_cam[0]) @ T_world_cam[rising]
    poses, _ = interpolate_poses(Trajectory(stamps[rising], local), times, max_gap)
    return poses, ()


def _imu(drive: Path, calibration: Path, number: int) -> ImuPart:
    """Read rates (wx wy wz, fields 18 to 20) and accelerations (ax ay az, 12 to 14) of oxts.

    Both are in the axes of the IMU, x forward, y left, z up, gravity included. A synchronised drive
    holds one packet a frame.
    """
    if not _oxts_files(drive):
        return ImuPart()
    stamps, packets = _read_oxts_rows(drive)
    if min(map(len, packets)) < OXTS_FIELDS:
        return ImuPart(notes=("oxts holds no rates and accelerations: no IMU",))
    oxts = np.stack([row[:OXTS_FIELDS] for row in packets])
    rows = np.concatenate([stamps[:, None], oxts[:, 17:20], oxts[:, 11:14]], axis=1)
    rows, notes = rising_samples(rows, "oxts")
    if not len(rows):
        return ImuPart(notes=notes)
    return ImuPart(Imu(rows, _T_cam_imu(calibration, number)), notes)


def _oxts_files(drive: Path) -> list[Path]:
    folder = drive / "oxts" / "data"
    return sorted(folder.glob("*.txt")) if folder.is_dir() else []


def _read_oxts_rows(drive: Path) -> tuple[np.ndarray, list[np.ndarray]]:
    """Read the packets of a drive: stamps in seconds (N,), and the fields of each."""
    files, table = _oxts_files(drive), drive / "oxts" / "timestamps.txt"
    stamps = _pick(read_timestamps(table), frame_numbers(files), table)
    return stamps, [_read_oxts(path) for path in files]


def _T_cam_imu(calibration: Path, number: int) -> np.ndarray:
    """Chain IMU -> velodyne -> rectified camera N. (4, 4)"""
    return _T_cam_velo(calibration, number) @ _rigid(calibration / "calib_imu_to_velo.txt")


def _read_oxts(path: Path) -> np.ndarray:
    try:
        row = np.array(path.read_text(encoding="utf-8").split(), dtype=np.float64)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot read oxts: {error}") from None
    if len(row) < 6 or not np.isfinite(row[:6]).all():
        raise DataError(f"{path}: expected 30 finite numbers, got {len(row)}")
    return row


def _depth(
    drive: Path, calibration: Path, number: int, index: np.ndarray
) -> tuple[DepthSource | None, tuple[str, ...]]:
    """Point at the scan of each frame; a few drives lack some."""
    folder = drive / "velodyne_points" / "data"
    scans = [folder / f"{i:010d}.bin" for i in index]
    if not any(path.is_file() for path in scans):
        return None, ("no velodyne_points: frames are stored without depth",)
    read = partial(read_velodyne, T_cam_velo=_T_cam_velo(calibration, number))
    paths = tuple(path if path.is_file() else None for path in scans)
    missing = paths.count(None)
    notes = (f"{missing} of {len(paths)} frames have no velodyne scan",) if missing else ()
    return DepthSource(paths, read, LIDAR_SCALE, is_points=True), notes


def _about(axis: str, angle: np.ndarray) -> np.ndarray:
    """Return rotations about an axis. (N,) -> (N, 3, 3)"""
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    R = np.tile(np.eye(3), (len(angle), 1, 1))
    R[:, i, i] = R[:, j, j] = np.cos(angle)
    R[:, j, i] = np.sin(angle)
    R[:, i, j] = -R[:, j, i]
    return R
