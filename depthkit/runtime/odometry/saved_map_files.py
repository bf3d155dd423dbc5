# SPDX-License-Identifier: Apache-2.0
"""A saved map on disk: a folder with `map.yaml` and one `keyframes-N.npz`.

map.yaml names the file of arrays and its SHA-256, so that it alone decides which map is there: the
arrays are written first under a name of their own, then map.yaml is replaced, then older arrays are
removed. A session that ends in between, or a full disk, leaves the map that was there. The arrays,
N keyframes and M features:

    stamp (N,) float64        seconds, on the clock of the session
    segment (N,) int64        index into `segments` of map.yaml
    T_map_cam (N, 4, 4) float64   points of the camera to the map, in the map's unit
    K (N, 3, 3) float64       intrinsics of the working image that `pixels` are in
    first (N + 1,) int64      features first[i] .. first[i + 1] - 1 belong to keyframe i
    pixels (M, 2) float32     (u, v), integer pixel centres
    descriptors (M, D) uint8 or float32
    scales, angles (M,) float32   pixels, radians; 0 where the detector has none
    points (M, 3) float32     in the axes of the camera, the map's unit
    sigmas (M,) float32       relative standard deviation of their depth
    codes (N, P) float32      descriptors of places; only with one that was learnt
"""

import hashlib
import io
import os
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from depthkit.config.strict_yaml import to_yaml
from depthkit.errors import DataError
from depthkit.multiview.features import Features
from depthkit.runtime.odometry.place_view import PlaceView
from depthkit.runtime.odometry.saved_map import SavedMap
from depthkit.runtime.odometry.saved_map_note import (
    NOTE,
    REMEDY,
    MapNote,
    camera_of,
    is_new,
    note_of,
    read_note,
    segments_of,
)

_ARRAYS = {
    "stamp": "N",
    "segment": "N",
    "T_map_cam": "N44",
    "K": "N33",
    "first": "F",
    "pixels": "M2",
    "descriptors": "MD",
    "scales": "M",
    "angles": "M",
    "points": "M3",
    "sigmas": "M",
}


def load_map(folder: Path) -> SavedMap:
    """Read a map.

    Raises:
        DataError: no map, another version, a damaged file, or no keyframes.
    """
    if is_new(folder):
        raise DataError(f"{folder}: no map is there; --map of 'depthkit odometry' makes one")
    note = read_note(folder / NOTE)
    arrays = _read_arrays(folder / note.file, note)
    return _map_of(note, arrays, folder / NOTE)


def save_map(folder: Path, saved: SavedMap) -> None:
    """Write a map; the one that was there is replaced at the last moment.

    Raises:
        DataError: no keyframes, or a disk that is full or cannot be written.
    """
    if not saved.views:
        raise DataError(f"{folder}: no keyframe to save: the camera found no start")
    data = _packed(saved)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        number = 1 + max((int(one.stem.split("-")[1]) for one in _files(folder)), default=0)
        note = note_of(saved, f"keyframes-{number}.npz", hashlib.sha256(data).hexdigest())
        _write(folder / note.file, data)
        _write(folder / NOTE, to_yaml(note).encode())
        for old in _files(folder):
            if old.name != note.file:
                old.unlink()
    except OSError as error:
        why = error.strerror or str(error)
        raise DataError(f"{folder}: the map cannot be written: {why}; the earlier one stays") from (
            error
        )


def _files(folder: Path) -> list[Path]:
    """List the files of arrays in a folder."""
    names = folder.glob("keyframes-*.npz")
    return sorted(one for one in names if one.stem.split("-")[1].isdecimal())


def _write(path: Path, data: bytes) -> None:
    """Write to a temporary name and rename; nothing is left of a write that fails."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    except OSError:
        with suppress(OSError):
            part.unlink()
        raise


def _packed(saved: SavedMap) -> bytes:
    """Put the arrays of a map into the bytes of an npz file."""
    views = saved.views
    counts = [len(view.features) for view in views]
    arrays = {
        "stamp": np.array([view.stamp for view in views]),
        "segment": np.array([view.segment for view in views], np.int64),
        "T_map_cam": np.stack([view.T_world_cam for view in views]),
        "K": np.stack([view.K for view in views]).astype(np.float64),
        "first": np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        "points": np.concatenate([view.points for view in views]),
        "sigmas": np.concatenate([view.sigmas for view in views]),
    }
    for name in ("pixels", "descriptors", "scales", "angles"):
        arrays[name] = np.concatenate([getattr(view.features, name) for view in views])
    if saved.codes is not None:
        arrays["codes"] = saved.codes
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # type: ignore[arg-type]  # stubs of numpy 2
    return stream.getvalue()


def _read_arrays(path: Path, note: MapNote) -> Mapping[str, np.ndarray]:
    """Read the arrays and compare their checksum and shapes with the note."""
    damaged, remedy = f"{path}: the map is damaged", REMEDY
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{damaged}: {error.strerror}; {remedy}") from None
    if hashlib.sha256(data).hexdigest() != note.sha256:
        raise DataError(f"{damaged}: its checksum is not that of {NOTE}; {remedy}")
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{damaged}: {error}; {remedy}") from None
    if fault := _fault(arrays, note):
        raise DataError(f"{damaged}: {fault}; {remedy}")
    return arrays


def _fault(arrays: Mapping[str, np.ndarray], note: MapNote) -> str:
    """Say which array is missing or has another shape; empty if none."""
    sizes: dict[str, int] = {
        "N": note.keyframes,
        "F": note.keyframes + 1,
        "M": note.points,
        "D": note.descriptor_width,
    }
    shapes = dict(_ARRAYS)
    if note.place_width:
        shapes["codes"], sizes["P"] = "NP", note.place_width
    for name, letters in shapes.items():
        want = tuple(sizes[one] if one in sizes else int(one) for one in letters)
        if name not in arrays or arrays[name].shape != want:
            got = arrays[name].shape if name in arrays else "nothing"
            return f"{name}: expected {want}, got {got}"
    first, segment = arrays["first"], arrays["segment"]
    if first[0] != 0 or first[-1] != note.points or (np.diff(first) < 0).any():
        return "first: does not divide the features"
    if len(segment) and not (segment.min() >= 0 and segment.max() < len(note.segments)):
        return f"segment: beyond the {len(note.segments)} segments"
    return ""


def _map_of(note: MapNote, arrays: Mapping[str, np.ndarray], path: Path) -> SavedMap:
    """Make the record of what was read."""
    camera, segments = camera_of(note, path), segments_of(note, path)
    views = []
    for i in range(note.keyframes):
        part = slice(int(arrays["first"][i]), int(arrays["first"][i + 1]))
        number = int(arrays["segment"][i])
        features = Features(
            pixels=arrays["pixels"][part],
            descriptors=arrays["descriptors"][part],
            scales=arrays["scales"][part],
            angles=arrays["angles"][part],
            ratio=note.match_ratio,
        )
        view = PlaceView(
            id=i,
            stamp=float(arrays["stamp"][i]),
            segment=number,
            metric=segments[number].metric,
            K=arrays["K"][i],
            T_world_cam=arrays["T_map_cam"][i],
            features=features,
            points=arrays["points"][part],
            sigmas=arrays["sigmas"][part],
        )
        views.append(view)
    codes = arrays.get("codes")
    return SavedMap(camera, note.detector, note.place, segments, tuple(views), codes)
