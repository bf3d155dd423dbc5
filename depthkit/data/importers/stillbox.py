# SPDX-License-Identifier: Apache-2.0
"""Still Box (Pinard 2017): folders with metadata.json, pictures, depth .npy; a scene, a sequence.

The file says nothing of axes. As the author's loaders do, speed is taken in world axes, orientation
as wxyz quaternions of T_world_cam and depth along the optical axis; a camera without rotation is
aligned with the world (x right, y down, z forward). Frame i stands at i * time_step * speed. The
first release has no orientation.
"""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from depthkit.camera import SourceCamera
from depthkit.data.image_io import UnreadableImageError, natural_key
from depthkit.data.importers.source import (
    DepthSource,
    FrameRef,
    ImportOptions,
    Source,
    given_camera,
    guess_camera,
)
from depthkit.errors import DataError
from depthkit.rigid import make_pose, quaternion_to_matrix

METADATA = "metadata.json"
DEPTH_SCALE = 300.0
"""uint16 / 300 holds 218 m: the 100 m of a nominal pair, at twice its baseline."""


def find(root: Path) -> dict[str, Path]:
    """Return scenes as FOLDER_NUMBER; the place of one is FOLDER/metadata.json/NUMBER.

    `root` holds the numbered folders, or is one of them.
    """
    if not root.is_dir():
        return {}
    folders = [root.resolve()] if (root / METADATA).is_file() else root.iterdir()
    places: dict[str, Path] = {}
    for folder in sorted(folders, key=lambda p: natural_key(p.name)):
        path = folder / METADATA
        record = _read(path) if path.is_file() else {}
        scenes = record["scenes"] if _is_still_box(record) else []
        places |= {f"{folder.name}_{i:04d}": path / str(i) for i in range(len(scenes))}
    return places


def load(place: Path, name: str, options: ImportOptions) -> Source:
    """Take all frames of a scene."""
    path = place.parent
    record, where = _read(path), f"{path}: scene {place.name}"
    scene = record["scenes"][int(place.name)]
    if not isinstance(scene, dict):
        raise DataError(f"{where}: expected keys and values, got {type(scene).__name__}")
    frames, depths = (_files(scene, key, path.parent, where) for key in ("imgs", "depth"))
    if len(frames) != len(depths):
        raise DataError(f"{where}: {len(frames)} imgs but {len(depths)} depth; they must be pairs")
    index, camera = np.arange(len(frames)), _camera(record, path)
    step = _numbers(scene, "time_step", (), where)
    if step <= 0:
        raise DataError(f"{where}: time_step must be > 0 s, got {step:g}")
    return Source(
        name=name,
        format="stillbox",
        frames=tuple(FrameRef(file) for file in frames),
        times=index / options.fps if options.fps else index * step,
        camera=given_camera(options, camera.camera.size) or camera,
        poses=make_pose(
            _rotations(scene, len(frames), where),
            index[:, None] * step * _numbers(scene, "speed", (3,), where),
        ),
        depth=DepthSource(depths, read_depth, DEPTH_SCALE),
        origin={"calibration": "--camera" if options.camera else f"fov of {METADATA}"},
    )


def read_depth(path: Path) -> np.ndarray:
    """Read depth in metres. (H, W) float32"""
    try:
        depth = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UnreadableImageError(f"{path}: cannot read depth: {error}") from None
    if not isinstance(depth, np.ndarray) or depth.ndim != 2 or depth.dtype.kind not in "fui":
        shape, kind = getattr(depth, "shape", ()), getattr(depth, "dtype", type(depth).__name__)
        raise UnreadableImageError(
            f"{path}: expected depth (H, W) in metres, got {kind} of {shape}"
        )
    return depth.astype(np.float32)


def _read(path: Path) -> dict[str, Any]:
    """Read a metadata.json, parsed once for all its scenes while it stays the same."""
    try:
        return _parse(path, path.stat().st_mtime_ns)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot read: {' '.join(str(error).split())}") from None


@functools.lru_cache(maxsize=4)
def _parse(path: Path, changed: int) -> dict[str, Any]:
    """Parse the version of a file that was changed at a time."""
    record = json.loads(path.read_text(encoding="utf-8"))
    return record if isinstance(record, dict) else {}


def _is_still_box(record: Mapping[str, Any]) -> bool:
    """Tell it from another program's metadata.json."""
    return isinstance(record.get("args"), dict) and isinstance(record.get("scenes"), list)


def _camera(record: Mapping[str, Any], path: Path) -> SourceCamera:
    """Build the pinhole of args.fov (horizontal) and args.resolution (width, height)."""
    where = f"{path}: args"
    fov = float(_numbers(record["args"], "fov", (), where))
    width, height = _numbers(record["args"], "resolution", (2,), where).tolist()
    if not 0 < fov < 180 or width < 1 or height < 1:
        raise DataError(f"{where}: fov {fov:g} degrees of {width:g}x{height:g} is no camera")
    return guess_camera(fov, (int(height), int(width)))


def _rotations(scene: Mapping[str, Any], count: int, where: str) -> np.ndarray:
    """Return the camera's rotations; none in the file means none in the flight. (N, 3, 3)"""
    if not scene.get("orientation"):
        return np.broadcast_to(np.eye(3), (count, 3, 3))
    wxyz = _numbers(scene, "orientation", (count, 4), where)
    if (np.linalg.norm(wxyz, axis=1) < 1e-6).any():
        raise DataError(f"{where}: orientation holds a quaternion of length 0")
    return quaternion_to_matrix(np.roll(wxyz, -1, axis=1))


def _files(scene: Mapping[str, Any], key: str, folder: Path, where: str) -> tuple[Path, ...]:
    names = _value(scene, key, where)
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise DataError(f"{where}: {key} must be a list of file names, got {str(names)[:40]!r}")
    return tuple(folder / name for name in names)


def _numbers(record: Mapping[str, Any], key: str, shape: tuple[int, ...], where: str) -> np.ndarray:
    """Return a number or an array of numbers, all finite."""
    value = _value(record, key, where)
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.array(np.nan)
    if array.shape != shape or not np.isfinite(array).all():
        wanted = " x ".join(map(str, shape)) + " numbers" if shape else "a number"
        raise DataError(f"{where}: {key} must be {wanted}, got {str(value)[:40]!r}")
    return array


def _value(record: Mapping[str, Any], key: str, where: str) -> Any:
    if key not in record:
        raise DataError(f"{where}: key {key!r} is missing; it holds {', '.join(record)}")
    return record[key]
