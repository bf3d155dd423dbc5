# SPDX-License-Identifier: Apache-2.0
"""COLMAP: a model (cameras and images, .txt or .bin) beside its pictures, or in sparse/0.

Poses are world to camera with qw first, and up to scale; pixels are counted from the corner.
Models of cameras and the binary layout follow COLMAP's models.h and reconstruction_io.
"""

import struct
from collections import Counter
from pathlib import Path

from depthkit.camera import SourceCamera
from depthkit.data.calibrations.colmap import camera_of, parameter_count
from depthkit.data.image_io import list_images, natural_key
from depthkit.data.importers.places import find_folders, subfolders
from depthkit.data.importers.pose_files import PoseList, parse_colmap_images
from depthkit.data.importers.posed import corner_camera, posed_source, require
from depthkit.data.importers.source import ImportOptions, Source, first_size, given_camera
from depthkit.errors import DataError

MODEL_FOLDERS = ("sparse/0", "sparse", "colmap/sparse/0", "dense/sparse", "model", "")
PICTURE_FOLDERS = ("images", "dense/images", "rgb", "input", "")

MODELS = (
    "SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "OPENCV_FISHEYE",
    "FULL_OPENCV",
)  # fmt: skip
"""Supported camera models; the place of each is its number in cameras.bin."""


def find(root: Path) -> dict[str, Path]:
    """Return folders that hold a model and its pictures, by name."""
    return find_folders(root, lambda f: _model(f) is not None and _pictures(f) is not None)


def load(place: Path, name: str, options: ImportOptions) -> Source:
    """Take the pictures of the camera that most of them were taken with."""
    model, folder = _model(place), _pictures(place)
    if model is None or folder is None:
        raise DataError(f"{place}: no COLMAP model with pictures here any more")
    suffix = ".txt" if (model / "images.txt").is_file() else ".bin"
    rows = _image_rows(model / f"images{suffix}")
    camera_id, count = Counter(row[8] for row in rows).most_common(1)[0]
    others = tuple(row[9] for row in rows if row[8] != camera_id)
    poses = parse_colmap_images(model / f"images{suffix}", [r for r in rows if r[8] == camera_id])
    paths = _frames(folder, poses, {Path(other).name for other in others})
    require(paths, place, f"images{suffix}")
    size = first_size(paths, place)
    camera = given_camera(options, size) or _camera(model / f"cameras{suffix}", camera_id)
    source = "--camera" if options.camera else f"cameras{suffix}"
    left = f"{len(others)} pictures were taken with other cameras: left out, {count} of one kept"
    return posed_source(
        poses,
        paths,
        (camera, source),
        options,
        name=name,
        format="colmap",
        notes=((left,) if others else ()) + _other_models(model),
    )


def _other_models(model: Path) -> tuple[str, ...]:
    """Name the models beside sparse/0: COLMAP writes one for each part that does not connect."""
    others = [p.name for p in subfolders(model.parent) if p.name.isdigit() and p.name != model.name]
    if not model.name.isdigit() or not others:
        return ()
    return (f"model {model.name} taken, not {', '.join(others)} (parts that do not connect to it)",)


def _model(place: Path) -> Path | None:
    """Return the folder of the model."""
    folders = (place / name for name in MODEL_FOLDERS)
    suffixes = (".txt", ".bin")
    return next(
        (
            folder
            for folder in folders
            for suffix in suffixes
            if all((folder / f"{part}{suffix}").is_file() for part in ("cameras", "images"))
        ),
        None,
    )


def _pictures(place: Path) -> Path | None:
    folders = (place / name for name in PICTURE_FOLDERS)
    return next((f for f in folders if f.is_dir() and (list_images(f) or _nested(f))), None)


def _nested(folder: Path) -> bool:
    return folder.name == "images" and any(list_images(p) for p in folder.iterdir() if p.is_dir())


def _frames(folder: Path, poses: PoseList, others: set[str]) -> list[Path]:
    """Return the pictures: all of the folder, or those named where they lie in folders of it."""
    flat = [path for path in list_images(folder) if path.name not in others]
    if flat:
        return flat
    named = (folder / name for name in poses.names or ())
    return sorted((p for p in named if p.is_file()), key=lambda p: natural_key(str(p)))


def _image_rows(path: Path) -> list[list[str]]:
    """Return `id qw qx qy qz tx ty tz camera name` of each picture."""
    rows = _read_images_bin(path) if path.suffix == ".bin" else _read_images_txt(path)
    if not rows:
        raise DataError(f"{path}: holds no pictures")
    return rows


def _read_images_txt(path: Path) -> list[list[str]]:
    """Read every other line that is no comment: between them stand points, or nothing."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot read: {error}") from None
    lines = [line for line in lines if not line.startswith("#")]
    rows = [line.split(maxsplit=9) for line in lines[::2] if line.strip()]
    bad = next((row for row in rows if len(row) < 10), None)
    if bad is not None:
        raise DataError(
            f"{path}: expected 'id qw qx qy qz tx ty tz camera name', got {' '.join(bad)[:60]!r}"
        )
    return rows


def _read_images_bin(path: Path) -> list[list[str]]:
    data, rows, at = path.read_bytes(), list[list[str]](), 8
    try:
        (count,) = struct.unpack_from("<Q", data)
        for _ in range(count):
            number, *pose = struct.unpack_from("<I7d", data, at)
            (camera,) = struct.unpack_from("<I", data, at + 60)
            end = data.index(b"\0", at + 64)
            name = data[at + 64 : end].decode("utf-8", errors="replace")
            (points,) = struct.unpack_from("<Q", data, end + 1)
            at = end + 9 + 24 * points
            rows.append([str(number), *(repr(v) for v in pose), str(camera), name])
    except (struct.error, ValueError) as error:
        raise DataError(f"{path}: is no images.bin of COLMAP, or cut short ({error})") from None
    return rows


def _camera(path: Path, camera_id: str) -> SourceCamera:
    """Return one camera of cameras.txt or cameras.bin."""
    cameras = _read_cameras_bin(path) if path.suffix == ".bin" else _read_cameras_txt(path)
    row = next((row for row in cameras if row[0] == camera_id), None)
    if row is None:
        raise DataError(f"{path}: no camera {camera_id}, which images name")
    if row[1].upper() not in MODELS:
        raise DataError(
            f"{path}: camera model {row[1]} is not supported; expected {', '.join(MODELS)}: run "
            "colmap image_undistorter and give its folder"
        )
    try:
        found = camera_of(row)
        fx, _, cx, _, fy, cy, *_ = found.K
        size = found.size or (0, 0)  # cameras.txt and .bin state it always
        return corner_camera(size, (fx, fy, cx, cy), found.distortion_model, found.D)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _read_cameras_txt(path: Path) -> list[list[str]]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot read: {error}") from None
    rows = [line.split() for line in lines if line.strip() and not line.startswith("#")]
    if not rows or any(len(row) < 5 for row in rows):
        raise DataError(f"{path}: expected 'id MODEL width height parameters'")
    return rows


def _read_cameras_bin(path: Path) -> list[list[str]]:
    data, rows, at = path.read_bytes(), list[list[str]](), 8
    try:
        (count,) = struct.unpack_from("<Q", data)
        for _ in range(count):
            number, model, width, height = struct.unpack_from("<IiQQ", data, at)
            if not 0 <= model < len(MODELS):
                raise DataError(f"{path}: camera model number {model} is not supported")
            values = struct.unpack_from(f"<{parameter_count(MODELS[model])}d", data, at + 24)
            at += 24 + 8 * len(values)
            words = (number, MODELS[model], width, height, *values)
            rows.append([str(word) for word in words])
    except struct.error as error:
        raise DataError(f"{path}: is no cameras.bin of COLMAP, or cut short ({error})") from None
    return rows
