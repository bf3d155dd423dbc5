# SPDX-License-Identifier: Apache-2.0
"""transforms.json of nerfstudio and instant-ngp: pictures, intrinsics, poses in OpenGL axes.

Poses are up to scale: the file does not say what its unit is. Pixels are counted from the corner.
"""

import json
from pathlib import Path
from typing import Any

from depthkit.data.calibrations import load_calibration
from depthkit.data.image_io import IMAGE_SUFFIXES, natural_key
from depthkit.data.importers.places import find_folders
from depthkit.data.importers.pose_files import read_pose_list
from depthkit.data.importers.posed import posed_source, require
from depthkit.data.importers.source import ImportOptions, Source, first_size, given_camera
from depthkit.errors import DataError

NAMES = ("transforms.json", "transforms_train.json")
_COEFFICIENTS = ("k1", "k2", "p1", "p2", "k3")


def find(root: Path) -> dict[str, Path]:
    """Return folders with a transforms.json, by name."""
    return find_folders(root, lambda folder: _file(folder) is not None)


def load(place: Path, name: str, options: ImportOptions) -> Source:
    """Take the pictures the file names, in the order of their names."""
    path = _file(place)
    if path is None:
        raise DataError(f"{place}: no transforms.json here any more")
    poses = read_pose_list(path)
    paths = [p for n in poses.names or () if (p := _picture(place, n)) is not None]
    paths = sorted(set(paths), key=lambda p: natural_key(str(p)))
    require(paths, place, path.name)
    record = _record(path)
    size = first_size(paths, place)
    camera = given_camera(options, size) or load_calibration(path, size)
    missing = len(poses.names or ()) - len(paths)
    notes = [f"{missing} pictures that {path.name} names are missing"] if missing else []
    if any("depth_file_path" in frame for frame in record["frames"]):
        notes.append("depth files are named and not used: the poses' unit is unknown")
    return posed_source(
        poses,
        paths,
        (camera, "--camera" if options.camera else path.name),
        options,
        name=name,
        format="nerfstudio",
        notes=tuple(notes),
    )


def _file(folder: Path) -> Path | None:
    path = next((folder / name for name in NAMES if (folder / name).is_file()), None)
    return path if path is not None and b'"transform_matrix"' in path.read_bytes() else None


def _record(path: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8-sig"))
    return record


def _picture(place: Path, name: str) -> Path | None:
    """Return the file of a name; Blender's files leave out the suffix."""
    path = place / name
    if path.is_file():
        return path
    return next((p for s in IMAGE_SUFFIXES if (p := place / f"{name}{s}").is_file()), None)
