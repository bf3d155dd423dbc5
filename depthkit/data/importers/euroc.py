# SPDX-License-Identifier: Apache-2.0
"""EuRoC and TUM-VI (ASL format): mav0/camN/{data, data.csv, sensor.yaml}, poses and IMU beside.

Pictures are named by their time in nanoseconds. The camera's pose is that of the body times T_BS of
the camera's sensor.yaml; poses of a marker (vicon0, mocap0) are moved to the body first.
"""

from pathlib import Path

import numpy as np

from depthkit.camera import SourceCamera
from depthkit.data.calibrations import load_calibration
from depthkit.data.image_io import list_images
from depthkit.data.importers.asl_imu import ImuPart, load_asl_imu
from depthkit.data.importers.mounting import find_mounting, load_mounting
from depthkit.data.importers.places import find_folders, subfolders
from depthkit.data.importers.pose_pairing import Poses, spans
from depthkit.data.importers.rgbd_poses import unused_poses
from depthkit.data.importers.source import (
    FrameRef,
    ImportOptions,
    Source,
    find_camera,
    first_size,
)
from depthkit.data.importers.times import find_times
from depthkit.errors import DataError
from depthkit.rigid import inverse
from depthkit.trajectory import interpolate_poses, load_euroc

TRUTH = ("state_groundtruth_estimate0", "mocap0", "vicon0", "gt0")
"""Folders of poses, the best first."""


def find(root: Path) -> dict[str, Path]:
    """Return the first camera of each recording, by the name of the folder that holds mav0."""
    return {name: _cameras(place)[0] for name, place in _recordings(root).items()}


def find_others(root: Path) -> dict[str, Path]:
    """Return every camera by name: cam1, and RECORDING_cam1, for --sequence."""
    recordings = _recordings(root)
    named = {
        f"{name}_{camera.name}": camera
        for name, place in recordings.items()
        for camera in _cameras(place)
    }
    if len(recordings) == 1:
        (place,) = recordings.values()
        named |= {camera.name: camera for camera in _cameras(place)}
    return named


def load(place: Path, name: str, options: ImportOptions) -> Source:
    """Read one camera folder and the poses beside it."""
    folder = place / "data"
    listed = list_images(folder)
    found = find_times(folder, listed, options)
    paths = [listed[i] for i in found.keep]
    camera, calibration = _camera(place, first_size(paths, folder), options)
    poses = Poses(None) if options.poses else _poses(place, found.times, options)
    imu = ImuPart() if options.imu else load_asl_imu(place, options)
    origin = {"calibration": calibration, **found.origin}
    return Source(
        name=name,
        format="euroc",
        frames=tuple(FrameRef(path) for path in paths),
        times=found.times,
        camera=camera,
        poses=poses.T_world_cam,
        notes=found.notes + poses.notes + _beside(place) + imu.notes,
        assumed=_unstated(found.assumed) + poses.assumed + imu.assumed,
        origin=origin if poses.T_world_cam is None else {**origin, "T_body_cam": "T_BS"},
        imu=imu.imu,
    )


def _recordings(root: Path) -> dict[str, Path]:
    """Return folders of cameras by the name of their recording."""
    if root.is_dir() and _is_camera(root):
        root = root.resolve().parent
    if root.is_dir() and root.resolve().name == "mav0":
        return {root.resolve().parent.name: root} if _cameras(root) else {}
    places = find_folders(root, lambda folder: bool(_cameras(folder / "mav0")))
    return {name: place / "mav0" for name, place in places.items()}


def _cameras(mav: Path) -> list[Path]:
    return [p for p in subfolders(mav) if _is_camera(p)] if mav.is_dir() else []


def _is_camera(folder: Path) -> bool:
    """Whether a folder is camN of a recording."""
    data = folder / "data"
    described = any((folder / name).is_file() for name in ("data.csv", "sensor.yaml"))
    named = folder.resolve().name.startswith("cam")
    return named and described and data.is_dir() and bool(list_images(data))


def _camera(place: Path, size: tuple[int, int], options: ImportOptions) -> tuple[SourceCamera, str]:
    """Take --camera, the sensor.yaml, or the remedy for folders without one."""
    path = place / "sensor.yaml"
    if options.camera is None and path.is_file():
        return load_calibration(path, size), path.name
    fallback = None if options.fallback is None else (options.fallback, "none")
    return find_camera((place, options.root), size, options, fallback=fallback)


def _unstated(assumed: tuple[str, ...]) -> tuple[str, ...]:
    """Leave out what the format itself states: times and names are nanoseconds."""
    return tuple(text for text in assumed if "as nanoseconds" not in text and "names" not in text)


def _poses(place: Path, times: np.ndarray, options: ImportOptions) -> Poses:
    """Read the best poses there are and move them to the camera."""
    mav = place.resolve().parent
    tables = [mav / name / "data.csv" for name in TRUTH]
    table = next((path for path in tables if path.is_file()), None)
    if table is None:
        none = f"no poses in {mav.name} ({', '.join(TRUTH)}): stored without"
        return Poses(None, (none, *unused_poses((mav.parent, options.root), options)))
    trajectory = load_euroc(table, repeats="first", time_unit=options.time_unit)
    body, known = interpolate_poses(trajectory, times, options.max_gap)
    if not known.any():
        where = spans(trajectory.stamps, times)
        return Poses(None, (f"no pose of {table.parent.name} meets a frame; {where}",))
    marker = find_mounting(table.parent / "sensor.yaml")
    moved = () if marker is None or np.allclose(marker[0], np.eye(4)) else _moved(table.parent)
    T_marker_body = np.eye(4) if marker is None else inverse(marker[0])
    T_body_cam, words = _mounting(place, options)
    note = f"poses are those of {table.parent.name}, moved to the camera: {words}"
    return Poses(body @ T_marker_body @ T_body_cam, (note, *moved), trajectory.assumed)


def _moved(folder: Path) -> tuple[str, ...]:
    return (f"{folder.name}: its marker is moved to the body by the inverse of its own T_BS",)


def _mounting(place: Path, options: ImportOptions) -> tuple[np.ndarray, str]:
    """Return T_body_cam: the user's, or T_BS of the camera."""
    if options.body_to_camera is not None:
        return load_mounting(options.body_to_camera)
    path = place / "sensor.yaml"
    if find_mounting(path) is None:
        raise DataError(
            f"{path}: no T_BS there, so the body's poses cannot be moved to the camera; give "
            "--body-to-camera FILE"
        )
    return load_mounting(path)


def _beside(place: Path) -> tuple[str, ...]:
    """Name what lies there and is not used."""
    mav = place.resolve().parent
    others = [camera.name for camera in _cameras(mav) if camera.name != place.resolve().name]
    notes = [f"{', '.join(others)} not used; --sequence {others[0]} takes it"] if others else []
    if (mav / "leica0" / "data.csv").is_file():
        notes.append("leica0 holds positions without orientation: not used as poses")
    return tuple(notes)
