# SPDX-License-Identifier: Apache-2.0
"""Colour, depth, poses and intrinsics as most programs export them, in folders or in one folder.

ScanNet (color, depth, pose, intrinsic), Open3D and Redwood (trajectory.log), Replica (results,
traj.txt), NYU (rgb_* and sync_depth_*, raw r-* and d-*), pictures with poses alone. Depth and
poses go to frames by name, number or time; 16-bit depth is millimetres unless something else is
stated. Poses are camera to world.
"""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from depthkit.camera import Camera, SourceCamera
from depthkit.data.image_io import list_images
from depthkit.data.importers.folder_parts import (
    colour_folders,
    depth_beside,
    depth_files,
    is_nyu_raw,
    is_usual,
    split_colour,
)
from depthkit.data.importers.places import find_folders
from depthkit.data.importers.pose_pairing import Poses, frame_numbers
from depthkit.data.importers.rgbd_camera import Cameras, find_cameras
from depthkit.data.importers.rgbd_depth import find_depth
from depthkit.data.importers.rgbd_poses import find_poses, has_poses
from depthkit.data.importers.source import (
    FrameRef,
    ImportOptions,
    Source,
    find_camera,
    first_size,
    frame_times,
)
from depthkit.data.importers.times import FrameTimes, find_times
from depthkit.errors import DataError

# From the toolbox of NYU Depth V2, 640x480.
NYU = SourceCamera(
    Camera(640, 480, 518.8579, 519.4696, 325.5824, 253.7362),
    "brown_conrady",
    (0.2079663, -0.5861383, 0.000722314, 0.001047963, 0.4985699),
)


# What Open3D takes where it is given no intrinsics: PrimeSenseDefault, 640x480.
OPEN3D = SourceCamera(Camera(640, 480, 525.0, 525.0, 319.5, 239.5))
OPEN3D_FILES = ("trajectory.log", "odometry.log", "rgbd.match", "init.log")


class Parts(NamedTuple):
    """The pictures of one sequence."""

    folder: Path
    """Folder of the colour pictures."""
    colour: list[Path]
    depth: list[Path]
    maps: list[Path]
    """Masks, labels and the like beside the frames."""


def find(root: Path) -> dict[str, Path]:
    """Return folders with colour and depth or poses; in `root`, or up to two levels down."""
    return find_folders(root, lambda folder: parts_of(folder) is not None)


def load(place: Path, name: str, options: ImportOptions) -> Source:
    """Read one sequence; files that cannot be used are reported."""
    parts = parts_of(place)
    if parts is None:
        raise DataError(f"{place}: no colour pictures with depth or poses here any more")
    found = _times(parts, options)
    frames = tuple(FrameRef(parts.colour[i]) for i in found.keep)
    cameras = _cameras(place, parts, first_size((f.path for f in frames), place), options)
    depth = find_depth(place, parts.depth, frames, found.times, cameras, options)
    poses = Poses(None)
    if options.poses is None:
        poses = find_poses(place, parts.folder, frames, found.times, options)
    maps = f"{len(parts.maps)} pictures are masks, labels or other maps by name: left out"
    return Source(
        name=name,
        format="rgbd",
        frames=frames,
        times=found.times,
        camera=cameras.colour,
        poses=poses.T_world_cam,
        depth=depth.source,
        notes=found.notes + depth.notes + poses.notes + ((maps,) if parts.maps else ()),
        assumed=found.assumed + cameras.assumed + depth.assumed + poses.assumed,
        origin={"calibration": cameras.calibration, **found.origin},
    )


def parts_of(place: Path) -> Parts | None:
    """Return the pictures of a sequence, None where a folder is not of this kind."""
    own = split_colour(list_images(place))
    if own[0]:
        depth = own[1] or [p for folder in depth_beside(place)[:1] for p in depth_files(folder)]
        return Parts(place, own[0], depth, own[2]) if depth or has_poses(place, place) else None
    folders, depth_folders = colour_folders(place), depth_beside(place)
    if not folders:
        return None
    colour, mixed, maps = split_colour(list_images(folders[0]))
    posed = has_poses(place, folders[0])
    alone = len(folders) == 1 and bool(depth_folders or (mixed and posed))
    depth = mixed or [p for folder in depth_folders[:1] for p in depth_files(folder)]
    if not colour or not (depth or posed) or not (is_usual(folders[0]) or alone):
        return None
    return Parts(folders[0], colour, depth, maps)


def _times(parts: Parts, options: ImportOptions) -> FrameTimes:
    """Find times; of frames that carry numbers alone the numbers keep the gaps between them."""
    found = find_times(parts.folder, parts.colour, options)
    numbers = frame_numbers([FrameRef(path) for path in parts.colour])
    if found.origin or numbers is None or (np.diff(numbers) <= 0).any():
        return found
    one, _ = frame_times(2, options.fps)
    return replace(found, times=np.array(numbers) * one[1])


def _cameras(place: Path, parts: Parts, size: tuple[int, int], options: ImportOptions) -> Cameras:
    """Take the intrinsics of the export, or whatever calibration other folders may have."""
    cameras = find_cameras(place, size, options)
    if cameras is not None:
        return cameras
    camera, calibration = find_camera(
        (place, parts.folder, options.root),
        size,
        options,
        fallback=_known_camera(place, parts, size, options),
    )
    words = (
        "no intrinsics: Open3D's default for 640x480 taken (fx 525, cx 319.5, cy 239.5); --camera "
        "FILE or --fov DEGREES sets others",
    )
    return Cameras(camera, calibration, None, words if camera is OPEN3D else ())


def _known_camera(
    place: Path, parts: Parts, size: tuple[int, int], options: ImportOptions
) -> tuple[SourceCamera, str] | None:
    """Return what a data set publishes or a program takes by default; None where --fov is given."""
    if options.fov is not None or size != OPEN3D.camera.size:
        return None
    if is_nyu_raw(parts.colour[0]):
        return NYU, "published for NYU Depth V2"
    is_open3d = any((place / name).is_file() for name in OPEN3D_FILES)
    return (OPEN3D, "Open3D's default") if is_open3d else None
