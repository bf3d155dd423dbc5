# SPDX-License-Identifier: Apache-2.0
"""Times of pictures in a folder: a list beside them, their names, or a frame rate.

Lists are rows of a time; a name and a time in either order; `number time exposure` (TUM mono); or
EuRoC's `ns,file`. Names count as times where they hold a date of this century or decimals.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from depthkit.data.importers.name_times import stamps_in_names
from depthkit.data.importers.source import ImportOptions, frame_times
from depthkit.errors import DataError
from depthkit.trajectory.time_units import date_unit, to_seconds

LIST_NAMES = (
    "times.txt",
    "timestamps.txt",
    "timestamp.txt",
    "times.csv",
    "timestamps.csv",
    "data.csv",
    "frames.txt",
    "rgb.txt",
)
MOST_REPEATS = 0.25
"""Share of frames that may repeat the time before; beyond it the clock itself is at fault."""

_DATE = re.compile(r"(\d{4}-\d\d-\d\d)[ T_](\d\d:\d\d:\d\d(?:\.\d+)?)Z?")
_CLOCK = re.compile(r"(?<![\w.:-])(\d{1,3}):([0-5]\d):([0-5]\d(?:[.,]\d+)?)(?![\w:])")
"""Hours, minutes and seconds, as in subtitles."""


@dataclass(frozen=True)
class FrameTimes:
    """When the pictures of a folder were taken."""

    times: np.ndarray
    """Seconds, one for each picture that is kept. (K,)"""
    keep: np.ndarray
    """Which pictures have a time of their own, in the order of time. (K,) int"""
    notes: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    origin: dict[str, str] = field(default_factory=dict)
    """Which file or names they were read from, for camera.yaml."""


def find_times(place: Path, paths: Sequence[Path], options: ImportOptions) -> FrameTimes:
    """Return times of pictures: --fps, a list beside them, their names, or 30 a second.

    A list in the folder itself has to fit, unless it lacks pictures whose names are dates. One in
    the source's root or one folder up is taken only where it names the pictures or has as many
    rows.

    Args:
        place: folder of the pictures.
        paths: the pictures.
        options: holds --fps, --time-unit and the source's root.

    Raises:
        DataError: a list that does not fit the pictures, or impossible steps.
    """
    if options.fps is not None:
        times, notes = frame_times(len(paths), options.fps)
        return FrameTimes(times, np.arange(len(paths)), notes)
    listed, stamps = _from_lists(place, paths, options), stamps_in_names(paths)
    named = stamps is not None and date_unit(stamps) is not None
    if listed is not None and not (named and len(listed.keep) < len(paths)):
        return listed
    if stamps is not None:
        seconds, assumed = to_seconds(stamps, options.time_unit, "names of the pictures")
        words = assumed or ("times taken from the names of the pictures (--fps overrules them)",)
        return _rising(seconds, np.arange(len(paths)), words, "names of the pictures")
    times, guess = frame_times(len(paths), None)
    notes = _unfitting(place, paths, options)
    return FrameTimes(times, np.arange(len(paths)), notes, assumed=guess)


def read_list(path: Path) -> list[list[str]]:
    """Return the fields of the rows of a list of times; comments and a header line are left out."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot read times: {error}") from None
    text = _CLOCK.sub(_seconds, _DATE.sub(_epoch, text))
    rows = [line.replace(",", " ").split() for line in text.splitlines()]
    rows = [row for row in rows if row and not row[0].startswith("#")]
    is_header = len(rows) > 1 and not any(c.isdigit() for c in rows[0][0])
    is_header = is_header and not any(is_number(field) for field in rows[0])
    return rows[1:] if is_header and any(is_number(field) for field in rows[1]) else rows


def _epoch(match: re.Match[str]) -> str:
    """Write a date as seconds since 1970, taken as UTC."""
    try:
        count = int(np.datetime64(f"{match[1]}T{match[2]}", "ns").astype(np.int64))
    except ValueError:
        return match[0]
    return f"{count // 10**9}.{count % 10**9:09d}"


def _seconds(match: re.Match[str]) -> str:
    """Write hours, minutes and seconds as seconds."""
    seconds = float(match[3].replace(",", "."))
    return f"{int(match[1]) * 3600 + int(match[2]) * 60 + seconds:.9f}"


def is_number(text: str) -> bool:
    """Whether a field is a finite number."""
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def _from_lists(place: Path, paths: Sequence[Path], options: ImportOptions) -> FrameTimes | None:
    """Take the first list that there is."""
    own = [place / name for name in LIST_NAMES if (place / name).is_file()]
    if own:
        return _from_list(own[0], paths, options.time_unit)
    around = dict.fromkeys((options.root, place.resolve().parent))
    for path in (folder / name for folder in around for name in LIST_NAMES):
        if path.is_file() and _fits(read_list(path), paths):
            return _from_list(path, paths, options.time_unit)
    return None


def _unfitting(place: Path, paths: Sequence[Path], options: ImportOptions) -> tuple[str, ...]:
    """Name a list above the pictures that was not taken because it has more or fewer rows."""
    around = dict.fromkeys((options.root, place.resolve().parent))
    lists = (folder / name for folder in around for name in LIST_NAMES[:5])
    path = next((path for path in lists if path.is_file()), None)
    if path is None:
        return ()
    return (f"{path.name} has {len(read_list(path))} rows for {len(paths)} pictures: not used",)


def _fits(rows: list[list[str]], paths: Sequence[Path]) -> bool:
    return len(rows) == len(paths) or _name_column(rows, _index(paths)) is not None


def _index(paths: Sequence[Path]) -> dict[str, int]:
    """Return where each picture stands, by its name with and without suffix."""
    return {name: i for i, path in enumerate(paths) for name in (path.stem, path.name)}


def _from_list(path: Path, paths: Sequence[Path], unit: str) -> FrameTimes:
    """Put the rows of a list to pictures, by name where it has names."""
    rows = read_list(path)
    if unit == "auto" and _CLOCK.search(path.read_text(encoding="utf-8-sig")):
        unit = "s"
    name_at = _name_column(rows, _index(paths))
    if name_at is None:
        return _without_names(path, rows, len(paths), unit)
    found: dict[int, str] = {}
    index, time_at = _index(paths), 1 if name_at == 0 else 0
    for row in (row for row in rows if len(row) > max(name_at, time_at)):
        i = index.get(Path(row[name_at]).name, index.get(Path(row[name_at]).stem))
        if i is not None:
            found.setdefault(i, row[time_at])
    seconds, assumed = to_seconds(_numbers(path, list(found.values())), unit, path.name)
    missing = len(paths) - len(found)
    notes = (f"{missing} of {len(paths)} pictures have no row in {path.name}: left out",)
    order = np.argsort(seconds, kind="stable")
    kept = np.array(list(found), dtype=int)[order]
    return _rising(seconds[order], kept, assumed, path.name, notes if missing else ())


def _name_column(rows: list[list[str]], index: dict[str, int]) -> int | None:
    """Return the column that names pictures; the second where two do (EuRoC's own names)."""
    if not any(len(row) > 1 for row in rows):
        return None
    for column in (1, 0, 2, 3):
        known = sum(
            len(row) > column and not {Path(row[column]).stem, row[column]}.isdisjoint(index)
            for row in rows
        )
        if known >= 0.5 * min(len(rows), len(index)):
            return column
    return None


def _without_names(path: Path, rows: list[list[str]], count: int, unit: str) -> FrameTimes:
    """Take `number time ...` rows, or `time ...` rows, one a picture."""
    if not rows:
        raise DataError(f"{path}: cannot read times: it holds no rows")
    width = min(len(row) for row in rows)
    first = _numbers(path, [row[0] for row in rows])
    digits = _fraction_digits(rows)
    if digits:
        whole = [row[0] + row[1].zfill(digits) for row in rows]
        unit, name = ("ns", "nanoseconds") if digits == 9 else ("us", "microseconds")
        word = f"{path.name}: the first two columns taken as seconds and {name}"
        return replace(_by_row(path, whole, count, unit), assumed=(word,))
    counted = width > 1 and len(rows) > 1 and bool((np.diff(first) == 1).all())
    numeric = width > 1 and all(is_number(row[1]) for row in rows)
    column = 1 if counted and numeric else 0
    return _by_row(path, [row[column] for row in rows], count, unit)


def _fraction_digits(rows: list[list[str]]) -> int:
    """Return 9 or 6 for rows of seconds since 1970 and nano- or microseconds, 0 for others."""
    if any(len(row) < 2 or not (row[0] + row[1]).isdecimal() for row in rows):
        return 0
    seconds = np.array([row[0] for row in rows], dtype=np.float64)
    largest = max(int(row[1]) for row in rows)
    if date_unit(seconds) != "s" or not 10**4 < largest < 10**9:
        return 0
    return 9 if largest >= 10**6 else 6


def _by_row(path: Path, texts: list[str], count: int, unit: str) -> FrameTimes:
    stamps = _numbers(path, texts)
    if len(stamps) != count:
        raise DataError(f"{path}: {len(stamps)} times for {count} images; fix it or give --fps")
    seconds, assumed = to_seconds(stamps, unit, path.name)
    return _rising(seconds, np.arange(count), assumed, path.name)


def _rising(
    seconds: np.ndarray,
    index: np.ndarray,
    assumed: tuple[str, ...],
    origin: str,
    notes: tuple[str, ...] = (),
) -> FrameTimes:
    """Leave out the few frames that repeat the time before; many are left for a refusal."""
    known = np.isfinite(seconds)
    if not known.all():
        if not known.any():
            raise DataError(f"{origin}: holds no times but NaN; give --fps")
        lost = f"{len(seconds) - int(known.sum())} of {len(seconds)} frames have no time"
        notes += (f"{lost} ({origin}: NaN): left out",)
        seconds, index = seconds[known], index[known]
    fresh = np.concatenate([[True], np.diff(seconds) != 0])[: len(seconds)]
    repeats = int((~fresh).sum())
    if 0 < repeats <= MOST_REPEATS * len(seconds):
        notes += (f"{repeats} frames repeat the time of the one before ({origin}): left out",)
        seconds, index = seconds[fresh], index[fresh]
    return FrameTimes(seconds, index, notes, assumed, {"times": origin})


def _numbers(path: Path, texts: list[str]) -> np.ndarray:
    try:
        return np.array(texts, dtype=np.float64)
    except ValueError as error:
        raise DataError(f"{path}: cannot read times: {error}") from None
