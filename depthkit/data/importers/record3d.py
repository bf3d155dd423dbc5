# SPDX-License-Identifier: Apache-2.0
"""Record3D on an iPhone: metadata (K, w, h, fps, poses) beside rgbd/ or rgb/ pictures.

K is written column by column; poses are `qx qy qz qw x y z`, camera to world in metres with OpenGL
axes (ARKit). Depth in .depth files is packed with LZFSE, which needs a library: it is left out.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from depthkit.camera import SourceCamera
from depthkit.data.image_io import list_images
from depthkit.data.importers.folder_parts import depth_files
from depthkit.data.importers.places import find_folders
from depthkit.data.importers.pose_files import OPENGL, PoseList
from depthkit.data.importers.posed import posed_source, with_depth
from depthkit.data.importers.rgbd_camera import check_stated
from depthkit.data.importers.source import (
    ImportOptions,
    Source,
    first_size,
    given_camera,
    pinhole_of,
)
from depthkit.errors import DataError
from depthkit.rigid import make_pose, quaternion_to_matrix

NAMES = ("metadata", "metadata.json")
PICTURES = ("rgbd", "rgb", "EXR_RGBD/rgb")
DEPTHS = ("depth", "EXR_RGBD/depth")


def find(root: Path) -> dict[str, Path]:
    """Return folders with the metadata and pictures of a recording, by name."""
    return find_folders(root, lambda folder: _pictures(folder) is not None)


def load(place: Path, name: str, options: ImportOptions) -> Source:
    """Read one recording; row i of the poses is that of picture i."""
    pictures = _pictures(place)
    if pictures is None:
        raise DataError(f"{place}: no recording of Record3D here any more")
    path, paths = _metadata(place), list_images(pictures)
    record = _read(path)
    size = first_size(paths, place)
    given = given_camera(options, size)
    camera, notes = _camera(record, path, size)
    rows = _poses(record, path)
    poses = PoseList(
        path,
        make_pose(quaternion_to_matrix(rows[:, :4]), rows[:, 4:]) @ OPENGL,
        numbers=np.arange(len(rows)),
    )
    source = posed_source(
        poses,
        paths,
        (given, "--camera") if given else (camera, path.name),
        options,
        name=name,
        format="record3d",
        notes=notes,
        fps=float(record["fps"]) if isinstance(record.get("fps"), int | float) else None,
    )
    packed = len(list(pictures.glob("*.depth")))
    folder = next((place / d for d in DEPTHS if (place / d).is_dir()), None)
    if folder is None and packed:
        note = f"{packed} .depth files are packed with LZFSE: export EXR + RGB for depth"
        return with_depth(source, place, [], options, note)
    return with_depth(source, place, depth_files(folder) if folder else [], options)


def _metadata(place: Path) -> Path:
    return next((p for n in NAMES if (p := place / n).is_file()), place / NAMES[0])


def _pictures(place: Path) -> Path | None:
    path = _metadata(place)
    if not path.is_file() or b'"poses"' not in path.read_bytes():
        return None
    folders = (place / name for name in PICTURES)
    return next((f for f in folders if f.is_dir() and list_images(f)), None)


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON: {error}") from None
    return record if isinstance(record, dict) else {}


def _camera(
    record: dict[str, Any], path: Path, size: tuple[int, int]
) -> tuple[SourceCamera, tuple[str, ...]]:
    """Read K; the pictures say how large they are, and w and h only whether they are turned."""
    try:
        K = np.array(record["K"], dtype=np.float64).reshape(3, 3).T
        stated = int(record.get("h", size[0])), int(record.get("w", size[1]))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: expected K of 9 numbers, w and h ({error!r})") from None
    return pinhole_of(K, size), check_stated(path.name, stated, K, size)


def _poses(record: dict[str, Any], path: Path) -> np.ndarray:
    """Return rows of qx qy qz qw x y z. (N, 7)"""
    try:
        rows = np.array(record["poses"], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: poses hold what is no number: {error}") from None
    if rows.ndim != 2 or rows.shape[1] != 7 or (np.linalg.norm(rows[:, :4], axis=1) < 1e-6).any():
        raise DataError(f"{path}: expected poses as rows of qx qy qz qw x y z, got {rows.shape}")
    return rows
