# SPDX-License-Identifier: Apache-2.0
"""The cameras of RGB-D exports: K of colour and of depth, and depth moved to the colour pixels."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from depthkit.camera import Camera, SourceCamera, resize_matrix
from depthkit.camera.calibration import k_of, matrix_of
from depthkit.camera.calibration_text import numbers, read_text
from depthkit.data.calibrations import load_calibration
from depthkit.data.importers.source import (
    CALIBRATION_NAMES,
    ImportOptions,
    given_camera,
    pinhole_of,
)
from depthkit.errors import DataError

FOLDERS = ("", "intrinsic", "intrinsics", "calib", "camera")
COLOUR_NAMES = (
    "intrinsic_color.txt", "intrinsics_color.txt", "color_intrinsics.txt", "intrinsic.txt",
    "intrinsics.txt", "camera-intrinsics.txt", "camera_intrinsics.txt", "camera_intrinsic.txt",
    "cam_K.txt", "K.txt", "intrinsic.json", "intrinsics.json", "camera_intrinsic.json",
    "camera_intrinsics.json", "cam_params.json", "camera.json", "color_intrinsic.json",
    "camera_matrix.csv", "camera.txt",
)  # fmt: skip
DEPTH_NAMES = ("intrinsic_depth.txt", "intrinsics_depth.txt", "depth_intrinsics.txt")
OFF_CENTRE = 0.2
"""Share of the size by which a principal point may lie off the middle of its picture."""
MOST_FOCAL = 1e6
"""Pixels; a longer focal length is invalid."""
ASPECT_TOLERANCE = 0.02


class Cameras(NamedTuple):
    """What is known of the two cameras of a folder."""

    colour: SourceCamera
    calibration: str
    """Where it was read from."""
    K_depth: np.ndarray | None
    """Intrinsics of depth pictures as stored, where a file has them. (3, 3)"""
    assumed: tuple[str, ...] = ()


def find_intrinsics(place: Path, names: tuple[str, ...] = COLOUR_NAMES) -> Path | None:
    """Return the first intrinsics file of a folder, or of a folder of intrinsics in it."""
    for name in names:
        for folder in FOLDERS:
            if (path := place / folder / name).is_file():
                return path
    scan = place / f"{place.resolve().name}.txt"  # ScanNet writes scene0000_00.txt
    return scan if names is COLOUR_NAMES and scan.is_file() and _pairs(scan) else None


def find_cameras(place: Path, size: tuple[int, int], options: ImportOptions) -> Cameras | None:
    """Read the intrinsics of a folder; None where it has none and --camera gives none.

    Args:
        place: folder of the sequence.
        size: (H, W) of the colour frames.
        options: holds --camera.
    """
    depth_file = find_intrinsics(place, DEPTH_NAMES)
    K_depth = None if depth_file is None else read_intrinsics(depth_file, None)
    given = given_camera(options, size)
    if given is not None:
        return Cameras(given, "--camera", K_depth)
    around = dict.fromkeys((place, place.resolve().parent, options.root))
    path = next((p for folder in around if (p := find_intrinsics(folder)) is not None), None)
    own = any((place / name).is_file() for name in CALIBRATION_NAMES if name != "K.txt")
    if path is None or own:
        return None
    K = read_intrinsics(path, size)
    word = _check_size(path, K, size)
    if K_depth is not None and _is_off(K, size) and not _is_off(K_depth, size):
        words = (
            f"{path.name} is of another size than the frames ({size[1]}x{size[0]}); K of "
            f"{depth_file.name if depth_file else 'depth'} fits them and was taken"
        )
        return Cameras(pinhole_of(K_depth, size), "intrinsics of depth", K_depth, (words,))
    return Cameras(pinhole_of(K, size), path.name, K_depth, word)


def read_intrinsics(path: Path, size: tuple[int, int] | None) -> np.ndarray:
    """Read K of a text matrix, JSON, ScanNet's scene file or YAML. (3, 3)"""
    K = _read_intrinsics(path, size)
    if not np.isfinite(K).all() or not (0 < K[0, 0] < MOST_FOCAL and 0 < K[1, 1] < MOST_FOCAL):
        raise DataError(f"{path}: fx {K[0, 0]:g} and fy {K[1, 1]:g} are no focal lengths in pixels")
    return K


def _read_intrinsics(path: Path, size: tuple[int, int] | None) -> np.ndarray:
    text = read_text(path)
    if path.suffix.lower() == ".json":
        return _from_json(path, text)
    if path.suffix.lower() in (".yaml", ".yml"):
        return load_calibration(path, size).camera.K
    pairs = _pairs(path)
    if pairs:
        return _matrix(pairs[f"{key}_color"] for key in ("fx", "fy", "mx", "my"))
    try:
        K = np.reshape(matrix_of(numbers(text, "K"), "K"), (3, 3))
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    if size is not None and K[2, 2] != 1:
        raise DataError(f"{path}: its last row is {K[2].tolist()}, expected 0 0 1")
    return K


def read_depth_unit(place: Path) -> tuple[float, str] | None:
    """Return the stored value per metre that a metadata file states, and which; None without."""
    for folder in dict.fromkeys((place, place.resolve().parent)):
        path = folder / "cam_params.json"
        try:
            record = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        except ValueError:
            record = {}
        scale = _inner(record).get("scale")
        if isinstance(scale, int | float) and scale > 0:
            return float(scale), path.name
    return None


def depth_map(
    size: tuple[int, int], camera: Camera, K_depth: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return where the colour pixels lie in a depth picture, None where they are the same.

    Both cameras are taken to stand in one place: the baseline between them is not modelled.

    Args:
        size: (H, W) of depth as stored.
        camera: of the colour frames.
        K_depth: of depth as stored; None: that of the colour resized.

    Returns:
        u, v in the depth picture. 2 x (H, W) float32

    Raises:
        DataError: another aspect ratio and no K to tell what depth sees.
    """
    aspect = (size[1] / size[0]) / (camera.width / camera.height)
    if K_depth is None and abs(aspect - 1) > ASPECT_TOLERANCE:
        raise DataError(
            f"depth is {size[1]}x{size[0]}, frames {camera.width}x{camera.height}: another shape, "
            "so that they do not lie on each other"
        )
    K = resize_matrix(camera.size, size) @ camera.K if K_depth is None else K_depth
    if size == camera.size and np.allclose(K, camera.K):
        return None
    A = K @ np.linalg.inv(camera.K)
    u, v = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    return (A[0, 0] * u + A[0, 2]).astype(np.float32), (A[1, 1] * v + A[1, 2]).astype(np.float32)


def move_depth(depth: np.ndarray, maps: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Take for each colour pixel the nearest depth pixel; 0 outside. (h, w) -> (H, W)"""
    u, v = (np.rint(m).astype(np.int64) for m in maps)
    inside = (u >= 0) & (u < depth.shape[1]) & (v >= 0) & (v < depth.shape[0])
    moved = np.zeros(u.shape, np.float32)
    moved[inside] = depth[v[inside], u[inside]]
    return moved


def _check_size(path: Path, K: np.ndarray, size: tuple[int, int]) -> tuple[str, ...]:
    """Refuse a JSON with another width and height than the pictures'; swapped ones are noted."""
    if path.suffix.lower() != ".json":
        return ()
    record = _inner(json.loads(path.read_text(encoding="utf-8-sig")))
    width, height = (record.get(key, record.get(key[0])) for key in ("width", "height"))
    return check_stated(path.name, (height, width), K, size)


def check_stated(
    name: str, stated: tuple[Any, Any], K: np.ndarray, size: tuple[int, int]
) -> tuple[str, ...]:
    """Compare the (H, W) that a file states with that of the pictures.

    Args:
        name: of the file.
        stated: (H, W) as read; None where it states none.
        K: its intrinsics, which tell whether width and height were swapped. (3, 3)
        size: (H, W) of the pictures.

    Returns:
        A sentence where width and height are swapped in the file, else nothing.

    Raises:
        DataError: the intrinsics are for pictures of another size.
    """
    if None in stated or tuple(stated) == size:
        return ()
    as_stored = abs(K[0, 2] - size[1] / 2) + abs(K[1, 2] - size[0] / 2)
    as_turned = abs(K[0, 2] - size[0] / 2) + abs(K[1, 2] - size[1] / 2)
    if tuple(stated) == size[::-1] and as_stored < as_turned:
        text = f"{name} says {stated[1]}x{stated[0]} of {size[1]}x{size[0]} pictures"
        return (f"{text}: width and height taken as swapped there",)
    raise DataError(
        f"{name}: its intrinsics are for {stated[1]}x{stated[0]}, the pictures are "
        f"{size[1]}x{size[0]}; give --camera with a calibration of this size"
    )


def _is_off(K: np.ndarray, size: tuple[int, int]) -> bool:
    """Whether a principal point lies far from the middle of a picture."""
    return bool(
        abs(K[0, 2] / size[1] - 0.5) > OFF_CENTRE or abs(K[1, 2] / size[0] - 0.5) > OFF_CENTRE
    )


def _matrix(values: Iterable[float]) -> np.ndarray:
    """Build K of fx, fy, cx, cy. (3, 3)"""
    return np.reshape(k_of(*values), (3, 3))


def _inner(record: Any) -> Mapping[str, Any]:
    """Return the mapping that holds intrinsics: Replica nests it under 'camera'."""
    record = record if isinstance(record, Mapping) else {}
    inner = record.get("camera")
    return inner if isinstance(inner, Mapping) else record


def _from_json(path: Path, text: str) -> np.ndarray:
    """Read Open3D's column-wise intrinsic_matrix, or fx, fy, cx, cy."""
    try:
        record = _inner(json.loads(text))
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON: {error}") from None
    try:
        if "intrinsic_matrix" in record:
            K = np.array(record["intrinsic_matrix"], dtype=np.float64).reshape(3, 3)
            return K.T if K[0, 2] == 0 and K[2, 0] != 0 else K
        return _matrix(float(v) for v in _focal_and_centre(record))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: expected intrinsic_matrix (9 numbers) or fx, fy, cx, cy ({error!r})"
        ) from None


def _focal_and_centre(record: Mapping[str, Any]) -> Iterator[Any]:
    for names in (("fx", "fl_x", "f"), ("fy", "fl_y", "fx", "f"), ("cx",), ("cy",)):
        yield (
            next(record[name] for name in names if name in record)
            if any(name in record for name in names)
            else record[names[0]]
        )


def _pairs(path: Path) -> dict[str, float]:
    """Read `fx_color = 1170.18` lines of ScanNet's scene file; empty for other files."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    found = {}
    for line in lines:
        key, _, value = (part.strip() for part in line.partition("="))
        if key in ("fx_color", "fy_color", "mx_color", "my_color"):
            try:
                found[key] = float(value)
            except ValueError:
                return {}
    return found if len(found) == 4 else {}
