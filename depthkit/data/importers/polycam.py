# SPDX-License-Identifier: Apache-2.0
"""Polycam's raw data: keyframes/{images, cameras, depth}, the corrected ones first.

A camera file holds fx, fy, cx, cy and t_00 .. t_23, camera to world in metres with OpenGL axes
(ARKit). Names are microseconds; depth is millimetres on the picture's field of view.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from depthkit.camera import Camera, SourceCamera
from depthkit.data.image_io import list_images
from depthkit.data.importers.folder_parts import depth_files
from depthkit.data.importers.places import find_folders
from depthkit.data.importers.pose_files import OPENGL, PoseList, checked_poses
from depthkit.data.importers.posed import posed_source, with_depth
from depthkit.data.importers.source import ImportOptions, Source, first_size, given_camera
from depthkit.errors import DataError

KINDS = ("corrected_", "")
SPREAD = 0.01
"""Share by which focal lengths of frames may differ before it is reported."""


def find(root: Path) -> dict[str, Path]:
    """Return folders that hold keyframes/, by name."""
    return find_folders(root, lambda folder: _kind(folder) is not None)


def load(place: Path, name: str, options: ImportOptions) -> Source:
    """Read one capture."""
    kind, folder = _kind(place), place / "keyframes"
    if kind is None:
        raise DataError(f"{place}: no keyframes/ with images and cameras here any more")
    paths = list_images(folder / f"{kind}images")
    files = [folder / f"{kind}cameras" / f"{path.stem}.json" for path in paths]
    records = {path.stem: _record(path) for path in files if path.is_file()}
    if not records:
        raise DataError(f"{folder}: no camera file belongs to a picture")
    size = first_size(paths, place)
    given = given_camera(options, size)
    camera, notes = _camera(list(records.values()), size, folder)
    poses = PoseList(
        folder / f"{kind}cameras",
        checked_poses(np.stack([_pose(record) for record in records.values()])) @ OPENGL,
        names=tuple(records),
    )
    source = posed_source(
        poses,
        paths,
        (given, "--camera") if given else (camera, f"{kind}cameras"),
        options,
        name=name,
        format="polycam",
        notes=notes,
    )
    depth = folder / "depth"
    return with_depth(source, place, depth_files(depth) if depth.is_dir() else [], options)


def _kind(place: Path) -> str | None:
    """Return which pictures a capture has: 'corrected_', '' or None."""
    for kind in KINDS:
        images, cameras = (place / "keyframes" / f"{kind}{part}" for part in ("images", "cameras"))
        if cameras.is_dir() and images.is_dir() and list_images(images):
            return kind
    return None


def _record(path: Path) -> dict[str, float]:
    """Read the numbers of one camera file."""
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        keys = ["fx", "fy", "cx", "cy", *(f"t_{r}{c}" for r in range(3) for c in range(4))]
        return {key: float(record[key]) for key in keys}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: expected fx, fy, cx, cy and t_00 .. t_23 ({error!r})") from None


def _pose(record: dict[str, float]) -> np.ndarray:
    rows = [[record[f"t_{r}{c}"] for c in range(4)] for r in range(3)]
    return np.array([*rows, [0.0, 0.0, 0.0, 1.0]])


def _camera(
    records: list[dict[str, float]], size: tuple[int, int], folder: Path
) -> tuple[SourceCamera, tuple[str, ...]]:
    """Take the median intrinsics: autofocus changes them from frame to frame."""
    numbers = np.array([[r[key] for key in ("fx", "fy", "cx", "cy")] for r in records])
    fx, fy, cx, cy = (float(v) for v in np.median(numbers, axis=0))
    camera = SourceCamera(Camera(size[1], size[0], fx, fy, cx, cy))
    spread = float(np.ptp(numbers[:, 0])) / fx
    note = f"focal lengths of {folder.name} differ by {spread:.1%}: their median {fx:.1f} is taken"
    return camera, (note,) if spread > SPREAD else ()
