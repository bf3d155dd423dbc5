# SPDX-License-Identifier: Apache-2.0
"""`poses.yaml` beside `poses.txt`: where the poses come from, their unit, where they break off.

Keys: `source` (given, odometry), `unit` (metric: metres; up_to_scale: one free factor a segment),
`segments` (first and last frame of each stretch whose poses belong together, counted from 0, both
included), and optionally `sigma_translation` and `sigma_rotation`, one number a frame, and
`frame`: what the poses are in where that is not the first camera, as the folder of a saved map.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from depthkit.data.folder import read_settings
from depthkit.data.image_io import write_atomic
from depthkit.errors import DataError

NAME = "poses.yaml"
_SOURCES, _UNITS = ("given", "odometry"), ("metric", "up_to_scale")
_SIGMAS = ("sigma_translation", "sigma_rotation")
_KEYS = ("source", "unit", "segments", *_SIGMAS, "frame")


@dataclass(frozen=True)
class PosesNote:
    """What is known of a sequence's poses beside the poses themselves."""

    source: Literal["given", "odometry"]
    """Given with the frames (a sensor, a file), or found in them."""
    unit: Literal["metric", "up_to_scale"]
    """Metres, or one free factor for each segment."""
    segments: tuple[tuple[int, int], ...]
    """First and last frame of each stretch whose poses belong together; rising, apart."""
    sigma_translation: tuple[float, ...] = ()
    """Standard deviation of each frame's position, unit of the poses; NaN where there is no pose,
    empty where it is not known at all."""
    sigma_rotation: tuple[float, ...] = ()
    """Standard deviation of each frame's rotation, rad; as above."""
    frame: str = ""
    """What the poses are in, as `map FOLDER`; empty for a world of their own."""

    def labels(self, count: int) -> np.ndarray:
        """Number the segment of each frame, -1 outside of all. (count,) int"""
        labels = np.full(count, -1)
        for number, (first, last) in enumerate(self.segments):
            labels[first : last + 1] = number
        return labels


def save_poses_note(folder: Path | str, note: PosesNote) -> None:
    """Write poses.yaml into a sequence folder.

    Raises:
        DataError: segments that overlap or run backwards, or a disk that cannot be written.
    """
    path = Path(folder) / NAME
    _check_segments(path, note.segments)
    record: dict[str, Any] = {"source": note.source, "unit": note.unit}
    record["segments"] = [[int(first), int(last)] for first, last in note.segments]
    for key in _SIGMAS:
        if values := getattr(note, key):
            record[key] = [float(f"{value:.6g}") for value in values]
    if note.frame:
        record["frame"] = note.frame
    text = yaml.safe_dump(record, sort_keys=False, default_flow_style=None, width=100)
    try:
        write_atomic(path, text)
    except OSError as error:
        raise DataError(f"{path}: cannot write: {error.strerror}") from error


def load_poses_note(folder: Path | str, count: int) -> PosesNote | None:
    """Read poses.yaml of a sequence folder, None without one.

    Args:
        folder: the sequence folder.
        count: how many frames the sequence has.

    Raises:
        DataError: a key that is unknown, missing or does not fit the frames.
    """
    path = Path(folder) / NAME
    if not path.exists():
        return None
    record = read_settings(path)
    for key in record:
        if key not in _KEYS:
            raise DataError(f"{path}: unknown key {key!r}; expected {', '.join(_KEYS)}")
    segments = _read_segments(path, record.get("segments"))
    if segments and segments[-1][1] >= count:
        raise DataError(
            f"{path}: segments: frame {segments[-1][1]} is beyond the last of {count} frames; "
            "run 'depthkit prepare' again"
        )
    return PosesNote(
        _one_of(path, record, "source", _SOURCES),  # type: ignore[arg-type]
        _one_of(path, record, "unit", _UNITS),  # type: ignore[arg-type]
        segments,
        sigma_translation=_read_sigmas(path, record, _SIGMAS[0], count),
        sigma_rotation=_read_sigmas(path, record, _SIGMAS[1], count),
        frame=_read_frame(path, record.get("frame", "")),
    )


def _read_frame(path: Path, value: Any) -> str:
    if not isinstance(value, str):
        raise DataError(f"{path}: frame: expected text, as 'map FOLDER', got {value!r}")
    return value


def _one_of(path: Path, record: Mapping[str, Any], key: str, words: tuple[str, ...]) -> str:
    if record.get(key) not in words:
        raise DataError(f"{path}: {key}: expected {' or '.join(words)}, got {record.get(key)!r}")
    return str(record[key])


def _read_segments(path: Path, value: Any) -> tuple[tuple[int, int], ...]:
    fits = isinstance(value, list) and all(
        isinstance(pair, list) and len(pair) == 2 and all(type(i) is int for i in pair)
        for pair in value
    )
    if not fits:
        raise DataError(f"{path}: segments: expected [[first, last], ...], got {value!r}")
    segments = tuple((first, last) for first, last in value)
    _check_segments(path, segments)
    return segments


def _check_segments(path: Path, segments: tuple[tuple[int, int], ...]) -> None:
    end = -1
    for first, last in segments:
        if not end < first <= last:
            raise DataError(
                f"{path}: segments: expected rising frames from 0 on that do not overlap, got "
                f"[{first}, {last}] after frame {end}"
            )
        end = last


def _read_sigmas(path: Path, record: Mapping[str, Any], key: str, count: int) -> tuple[float, ...]:
    values = record.get(key) or []
    numbers = isinstance(values, list) and all(type(v) in (int, float) for v in values)
    if not numbers or any(v < 0 or math.isinf(v) for v in values):
        raise DataError(f"{path}: {key}: expected numbers of 0 or more, got {values!r}"[:200])
    if values and len(values) != count:
        raise DataError(f"{path}: {key}: {len(values)} numbers for {count} frames")
    return tuple(float(v) for v in values)
