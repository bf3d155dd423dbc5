# SPDX-License-Identifier: Apache-2.0
"""7-Scenes: frame-%06d.{color,depth,pose}.* in a folder or in seq-* folders; depth in mm.

The K that is published for 7-Scenes (585, 320, 240) is the depth camera's, and so are the poses.
With that K, or without any, 640x480 frames get K of the colour camera (525, 320, 240), poses and
depth are moved to it, and a sentence says so. Another camera-intrinsics.txt, and --camera FILE, are
the camera of frames, poses and depth as they are stored: recordings of other cameras come in this
layout with registered depth. Frames carry no times; they were taken at 30 Hz: time is number / 30.
"""

import re
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from depthkit.camera import Camera, SourceCamera
from depthkit.data.image_io import list_images, read_uint16
from depthkit.data.importers.places import find_folders
from depthkit.data.importers.registration import register_depth
from depthkit.data.importers.source import (
    DepthSource,
    FrameRef,
    ImportOptions,
    Source,
    first_size,
    given_camera,
    pinhole_of,
    read_matrix,
)
from depthkit.errors import DataError
from depthkit.rigid import inverse

FPS = 30.0
K_DEPTH = np.array([[585.0, 0.0, 320.0], [0.0, 585.0, 240.0], [0.0, 0.0, 1.0]])
"""Published for 7-Scenes: K of the depth camera, 640x480 pixels."""
COLOUR = SourceCamera(Camera(640, 480, 525.0, 525.0, 320.0, 240.0))
"""The colour camera. Median distance of SIFT matches of RedKitchen, pairs 0.3 m apart, from their
epipolar lines: 6.4 px with K_DEPTH, 2.9 px with this K and poses of this camera."""
T_COLOUR_DEPTH = np.array(
    [
        [0.99996518, 0.00267651, -0.00790410, -0.02555894],
        [-0.00274093, 0.99996303, -0.00815045, 0.00010110],
        [0.00788199, 0.00817183, 0.99993554, 0.00203183],
        [0.0, 0.0, 0.0, 1.0],
    ]
)
"""Points of the depth camera to the colour camera, metres: those of a Kinect of the LIRIS
laboratory, as the pseudo ground truth of [Brachmann 2021] has them for 7-Scenes."""
PUBLISHED = "published for 7-Scenes"
MOVED = (
    "the K beside the frames is the depth camera's (585, 320, 240), and so are poses and depth: K "
    "of the colour camera taken as 525, 320, 240, poses and depth moved to it [Brachmann 2021], "
    "depth unknown where none falls (--camera FILE takes all as stored, of one camera)"
)
AS_STORED = (
    "--camera is the camera of frames, poses and depth as they are stored; the calibration of "
    "7-Scenes, whose depth camera stands beside the colour camera, is not used"
)
K_TOLERANCE = 0.01
"""Pixels by which a K may differ from K_DEPTH and count as the published one."""
DEPTH_SCALE = 1000.0
INVALID = 65535
ROTATION_TOLERANCE = 1e-2
_COLOUR_NAME = re.compile(r"frame-(\d+)\.color$")


class Cameras(NamedTuple):
    """The camera of the frames, and whether poses and depth lie in another one."""

    colour: SourceCamera
    calibration: str
    """Where it was read from."""
    is_moved: bool
    """Poses and depth are the depth camera's and are moved to the colour camera."""
    notes: tuple[str, ...] = ()


def find(root: Path) -> dict[str, Path]:
    """Return folders of frame-*.color.* files: `root` itself or the seq-* in it."""
    return find_folders(root, lambda folder: bool(_colour_files(folder)))


def load(place: Path, name: str, options: ImportOptions) -> Source:
    """Take frames by their number; missing numbers leave a gap in time."""
    files = _colour_files(place)
    times = np.array(sorted(files)) / (options.fps or FPS)
    frames = [files[number] for number in sorted(files)]
    prefixes = [place / path.name.split(".")[0] for path in frames]
    poses, bad = _poses([Path(f"{prefix}.pose.txt") for prefix in prefixes])
    cameras = _cameras(place, first_size(frames, place), options)
    depth = _depth([Path(f"{prefix}.depth.png") for prefix in prefixes], cameras, options)
    lost = (f"{bad} of {len(frames)} frames have no usable pose",) if bad else ()
    if cameras.is_moved and poses is not None:
        poses = poses @ inverse(T_COLOUR_DEPTH)
    return Source(
        name=name,
        format="sevenscenes",
        frames=tuple(FrameRef(path) for path in frames),
        times=times,
        camera=cameras.colour,
        poses=poses,
        depth=depth,
        notes=(*cameras.notes, *lost),
        assumed=(MOVED,) if cameras.is_moved else (),
        origin={"calibration": cameras.calibration},
    )


def read_depth(path: Path, scale: float = DEPTH_SCALE) -> np.ndarray:
    """Read depth on its own pixels, metres, 0 = unknown. (H, W) float32"""
    raw = read_uint16(path)
    return np.where(raw == INVALID, 0, raw).astype(np.float32) / np.float32(scale)


def read_registered(path: Path, scale: float = DEPTH_SCALE) -> np.ndarray:
    """Read depth of the published depth camera on the colour pixels, metres, 0 = unknown.

    On RedKitchen 71 % of the colour pixels have depth then (of its own pixels 89 %); 0.16 % are
    single holes among known pixels, and far points show through near surfaces as rarely as before.

    Args:
        path: picture of 640x480 pixels.
        scale: stored value per metre.

    Returns:
        Depth of COLOUR. (480, 640) float32

    Raises:
        DataError: the picture has another size than the published K is for.
    """
    depth, camera = read_depth(path, scale), COLOUR.camera
    if depth.shape != camera.size:
        raise DataError(
            f"{path}: depth is {depth.shape[1]}x{depth.shape[0]}, the calibration {PUBLISHED} is "
            "for 640x480; --camera FILE takes depth as it is stored"
        )
    return register_depth(depth, K_depth=K_DEPTH, T_colour_depth=T_COLOUR_DEPTH, camera=camera)


def _colour_files(folder: Path) -> dict[int, Path]:
    matches = ((_COLOUR_NAME.match(path.stem), path) for path in list_images(folder))
    return {int(match[1]): path for match, path in matches if match}


def _cameras(place: Path, size: tuple[int, int], options: ImportOptions) -> Cameras:
    """Take --camera, a camera-intrinsics.txt of another camera, or the calibration of 7-Scenes."""
    files = (folder / "camera-intrinsics.txt" for folder in (place, options.root))
    path = next((path for path in files if path.is_file()), None)
    K = None if path is None else read_matrix(path, (3, 3))
    is_published = size == COLOUR.camera.size and (
        K is None or np.allclose(K, K_DEPTH, rtol=0, atol=K_TOLERANCE)
    )
    given = given_camera(options, size)
    if given is not None:
        return Cameras(given, "--camera", False, (AS_STORED,) if is_published else ())
    if path is not None and K is not None and not is_published:
        return Cameras(pinhole_of(K, size), path.name, False)
    return Cameras(COLOUR, PUBLISHED, True)


def _poses(paths: list[Path]) -> tuple[np.ndarray | None, int]:
    """Read 4x4 poses; those that are missing, not finite or no rotation are unknown."""
    poses = np.full((len(paths), 4, 4), np.nan)
    for i, path in enumerate(paths):
        T = read_matrix(path, (4, 4)) if path.is_file() else poses[i]
        error = np.abs(T[:3, :3] @ T[:3, :3].T - np.eye(3)).max()
        if np.isfinite(T).all() and error < ROTATION_TOLERANCE and np.linalg.det(T[:3, :3]) > 0:
            poses[i] = T
    unknown = int(np.isnan(poses).any(axis=(1, 2)).sum())
    return (None if unknown == len(paths) else poses), unknown


def _depth(paths: list[Path], cameras: Cameras, options: ImportOptions) -> DepthSource | None:
    """Choose how the depth files that are there are read; None where there is none."""
    present = tuple(path if path.is_file() else None for path in paths)
    if not any(present):
        return None
    scale = options.depth_scale or DEPTH_SCALE
    read = read_registered if cameras.is_moved else read_depth
    return DepthSource(present, partial(read, scale=scale), scale)
