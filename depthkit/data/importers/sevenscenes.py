# SPDX-License-Identifier: Apache-2.0
"""7-Scenes: frame-%06d.{color,depth,pose}.* in a folder or in seq-* folders; depth in mm.

Colour and depth are not registered to the pixel; the data set publishes one K for both (585, 320,
240). Frames carry no times: they were taken at 30 Hz, so time is frame number / 30.
"""

import re
from functools import partial
from pathlib import Path

import numpy as np

from depthkit.camera import Camera, SourceCamera
from depthkit.data.image_io import list_images, read_uint16
from depthkit.data.importers.places import find_folders
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

FPS = 30.0
PUBLISHED = SourceCamera(Camera(640, 480, 585.0, 585.0, 320.0, 240.0))
DEPTH_SCALE = 1000.0
INVALID = 65535
ROTATION_TOLERANCE = 1e-2
_COLOUR = re.compile(r"frame-(\d+)\.color$")


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
    camera, calibration = _camera(place, first_size(frames, place), options)
    return Source(
        name=name,
        format="sevenscenes",
        frames=tuple(FrameRef(path) for path in frames),
        times=times,
        camera=camera,
        poses=poses,
        depth=_depth([Path(f"{prefix}.depth.png") for prefix in prefixes], options.depth_scale),
        notes=(f"{bad} of {len(frames)} frames have no usable pose",) if bad else (),
        origin={"calibration": calibration},
    )


def read_depth(path: Path, scale: float = DEPTH_SCALE) -> np.ndarray:
    """Read depth in metres, 0 = unknown. (H, W) float32"""
    raw = read_uint16(path)
    return np.where(raw == INVALID, 0, raw).astype(np.float32) / np.float32(scale)


def _colour_files(folder: Path) -> dict[int, Path]:
    matches = ((_COLOUR.match(path.stem), path) for path in list_images(folder))
    return {int(match[1]): path for match, path in matches if match}


def _camera(place: Path, size: tuple[int, int], options: ImportOptions) -> tuple[SourceCamera, str]:
    """Take --camera, a camera-intrinsics.txt for frames of this size, or the published K."""
    given = given_camera(options, size)
    if given is not None:
        return given, "--camera"
    for folder in (place, options.root):
        path = folder / "camera-intrinsics.txt"
        if path.is_file():
            return pinhole_of(read_matrix(path, (3, 3)), size), path.name
    return PUBLISHED, "published for 7-Scenes"


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


def _depth(paths: list[Path], scale: float | None) -> DepthSource | None:
    present = tuple(path if path.is_file() else None for path in paths)
    scale = scale or DEPTH_SCALE
    return DepthSource(present, partial(read_depth, scale=scale), scale) if any(present) else None
