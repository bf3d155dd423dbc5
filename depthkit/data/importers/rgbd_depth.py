# SPDX-License-Identifier: Apache-2.0
"""Depth files of an RGB-D export: whose frame each is, its unit, and its way to colour pixels."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from depthkit.camera import Camera
from depthkit.data.image_io import UnreadableImageError
from depthkit.data.importers.depth_unit import (
    MILLIMETRES,
    STORED_SCALE,
    TUM_SCALE,
    median_depth,
    read_stored,
    stored_kind,
    tell_scale,
    unit_words,
)
from depthkit.data.importers.folder_parts import is_nyu_raw, pair_by_key, pair_key
from depthkit.data.importers.name_times import stamps_in_names
from depthkit.data.importers.rgbd_camera import Cameras, depth_map, move_depth, read_depth_unit
from depthkit.data.importers.source import DepthSource, FrameRef, ImportOptions
from depthkit.errors import DataError

REPLICA_SCALE = 6553.5
"""Stored value per metre of Replica as NICE-SLAM renders it (results/, traj.txt)."""
OFFICIAL_5000 = ("icl", "living_room_traj", "office_room_traj", "freiburg")
FAR = 8.0
"""Metres: a median of room scans above this means that values are not millimetres."""
FAR_SCALE = 256.0
"""Stored value per metre where floating-point depth goes beyond what 16 bit of millimetres hold."""
FARTHEST = np.iinfo(np.uint16).max / FAR_SCALE
"""Metres that can be stored: a median beyond it means that floating-point depth is millimetres."""
MOST_KEPT = 90
"""Percent of known depth that has to fit into 16 bit; what lies beyond becomes unknown."""
DEPTH_GAP = 0.02
"""Seconds between a frame and its depth, at most, where they are paired by time."""


class FoundDepth(NamedTuple):
    """Depth of the frames, and what there is to say of it."""

    source: DepthSource | None
    notes: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()


def find_depth(
    place: Path,
    files: Sequence[Path],
    frames: Sequence[FrameRef],
    times: np.ndarray,
    cameras: Cameras,
    options: ImportOptions,
) -> FoundDepth:
    """Put depth files to frames and choose how they are read.

    Args:
        place: folder of the sequence.
        files: its depth files.
        frames: the colour frames.
        times: their times, seconds. (N,)
        cameras: intrinsics of both.
        options: holds --depth-scale.
    """
    if not files:
        return FoundDepth(None, ("no depth: frames are stored without it",))
    if is_nyu_raw(files[0]):
        words = "NYU's raw depth is not registered to the colour pictures: left out"
        return FoundDepth(None, (f"{len(files)} depth files: {words}",))
    paths, assumed = _pair(files, frames, times)
    present = [path for path in paths if path is not None]
    if not present:
        note = f"{len(files)} depth files, none of a frame by name, number or time: left out"
        return FoundDepth(None, (note,))
    try:
        kind, size = _first_kind(present)
        maps = depth_map(size, cameras.colour.camera, cameras.K_depth)
    except DataError as error:
        return FoundDepth(None, (f"depth left out: {error}",))
    if kind == "8 bit":
        note = f"depth left out: {present[0].name} and its like hold 8 bit, pictures for the eye"
        return FoundDepth(None, (note,))
    missing = paths.count(None)
    notes = (f"{missing} of {len(paths)} frames have no depth",) if missing else ()
    source, unit = _source(place, paths, kind, maps, options)
    return FoundDepth(source, notes, (*assumed, *unit, *_moved(size, cameras.colour.camera, maps)))


def read_moved(
    path: Path, *, scale: float, float_scale: float, maps: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """Read depth in metres on the colour pixels, 0 = unknown. (H, W) float32"""
    return move_depth(read_stored(path, scale, float_scale), maps)


def _first_kind(paths: Sequence[Path]) -> tuple[str, tuple[int, int]]:
    """Return what the first readable depth file holds."""
    problem: UnreadableImageError | None = None
    for path in paths:
        try:
            return stored_kind(path)
        except UnreadableImageError as error:
            problem = problem or error
    raise DataError(f"no depth file can be read; the first: {problem}")


def _source(
    place: Path,
    paths: tuple[Path | None, ...],
    kind: str,
    maps: tuple[np.ndarray, np.ndarray] | None,
    options: ImportOptions,
) -> tuple[DepthSource, tuple[str, ...]]:
    """Choose the unit and the reader."""
    present = [path for path in paths if path is not None]
    scale, words = _scale(place, present, options) if kind == "16 bit" else (STORED_SCALE, ())
    float_scale = options.depth_scale or 1.0
    if kind == "float" and options.depth_scale is None:
        float_scale = _float_scale(present)
    if kind == "float":
        words, scale = _float_unit(present, float_scale)
        if options.depth_scale is None and float_scale == MILLIMETRES:
            words = (unit_words_of_floats(present),)
    if maps is None:
        read = partial(read_stored, scale=scale, float_scale=float_scale)
    else:
        read = partial(read_moved, scale=scale, float_scale=float_scale, maps=maps)
    return DepthSource(paths, read, scale), words


def _scale(place: Path, paths: list[Path], options: ImportOptions) -> tuple[float, tuple[str, ...]]:
    """Return the stored value per metre: the user's, the export's, or millimetres with a word."""
    if options.depth_scale is not None:
        return options.depth_scale, ()
    stated = read_depth_unit(place)
    if stated is not None:
        return stated[0], ()
    name = f"{place.resolve().parent.name}/{place.resolve().name}".lower()
    if any(word in name for word in OFFICIAL_5000):
        return TUM_SCALE, (unit_words(paths, TUM_SCALE, "as sequences of this name have it"),)
    if (place / "traj.txt").is_file() and paths[0].stem.startswith("depth"):
        return REPLICA_SCALE, (unit_words(paths, REPLICA_SCALE, "the layout is Replica's"),)
    scale, reason = tell_scale(paths)
    if scale == TUM_SCALE and median_depth(paths, MILLIMETRES) > FAR and "multiple" in reason:
        return scale, (unit_words(paths, scale, reason),)
    return MILLIMETRES, (unit_words(paths, MILLIMETRES, "as most exports have it"),)


def _float_scale(paths: list[Path]) -> float:
    """Return the stored value per metre of floating-point depth: metres unless it is kilometres."""
    return MILLIMETRES if _float_median(paths) > FARTHEST else 1.0


def _float_median(paths: list[Path]) -> float:
    depth = read_stored(paths[0], STORED_SCALE)
    return float(np.median(depth[depth > 0])) if (depth > 0).any() else 0.0


def unit_words_of_floats(paths: list[Path]) -> str:
    """Say that floating-point depth was taken as millimetres."""
    median = _float_median(paths)
    return (
        f"floating-point depth taken as millimetres, since its median would be {median:.4g} m: now "
        f"{median / MILLIMETRES:.3g} m (--depth-scale N divides)"
    )


def _float_unit(paths: list[Path], float_scale: float) -> tuple[tuple[str, ...], float]:
    """Say that floating-point depth is metres; return the words and the scale to store it at."""
    depth = read_stored(paths[0], STORED_SCALE, float_scale)
    known = depth[depth > 0]
    largest = float(np.percentile(known, MOST_KEPT)) if len(known) else 0.0
    stored = STORED_SCALE if largest * STORED_SCALE < np.iinfo(np.uint16).max else FAR_SCALE
    if float_scale != 1.0:
        return (), stored
    median = float(np.median(known)) if len(known) else 0.0
    word = f"floating-point depth taken as metres: median {median:.3g} m (--depth-scale N divides)"
    return (word,), stored


def _moved(
    size: tuple[int, int], camera: Camera, maps: tuple[np.ndarray, np.ndarray] | None
) -> tuple[str, ...]:
    if maps is None:
        return ()
    return (
        f"depth of {size[1]}x{size[0]} moved to the frames' {camera.width}x{camera.height} pixels "
        "by both intrinsics; the cameras are taken to stand in one place",
    )


def _pair(
    files: Sequence[Path], frames: Sequence[FrameRef], times: np.ndarray
) -> tuple[tuple[Path | None, ...], tuple[str, ...]]:
    """Pair by name or number, by time, or by order where there are as many of both."""
    keys = [pair_key(path.stem) for path in files]
    index, shifted = pair_by_key([pair_key(f.path.stem) for f in frames], keys)
    if len(set(keys)) == len(keys) and any(i is not None for i in index):
        word = (
            f"depth counts from {files[0].stem}, frames from {frames[0].path.stem}: paired in order"
        )
        return tuple(None if i is None else files[i] for i in index), (word,) if shifted else ()
    stamps, colour = stamps_in_names(files), stamps_in_names([frame.path for frame in frames])
    if stamps is not None and colour is not None and len(colour) == len(times):
        per_second = np.ptp(colour) / max(float(np.ptp(times)), 1e-9)
        nearest = [int(np.abs(stamps - t).argmin()) for t in colour]
        gap = DEPTH_GAP * per_second
        near = [abs(stamps[i] - t) <= gap for i, t in zip(nearest, colour, strict=True)]
        return tuple(files[i] if ok else None for i, ok in zip(nearest, near, strict=True)), ()
    if len(files) == len(frames):
        word = f"{len(files)} depth files put to as many frames in the order of their names"
        return tuple(files), (word,)
    return (None,) * len(frames), ()
