# SPDX-License-Identifier: Apache-2.0
"""Photos in the order in which they were taken: names against EXIF times.

A camera's counter goes from 9999 to 0001, and a program that copies adds "(1)": names then tell
another order than DateTimeOriginal and SubSecTimeOriginal.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from depthkit.data.exif import Exif, read_exif
from depthkit.data.importers.source import ImportOptions, frame_times
from depthkit.data.importers.times import FrameTimes, find_times

WHOLE_SECOND = 1.0
IN_NAMES = "names of the pictures"
"""Origin of times that `find_times` reads from names."""


@dataclass(frozen=True)
class Photos:
    """Pictures in order, and the times in their EXIF."""

    order: np.ndarray
    """Index of the picture that comes first, second ... (N,) int"""
    times: np.ndarray | None = None
    """Seconds from the first picture, rising; None where EXIF does not tell them. (N,)"""
    notes: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()


def time_photos(place: Path, paths: Sequence[Path], options: ImportOptions) -> FrameTimes:
    """Return order and times of pictures: a list beside them, EXIF, their names, --fps or a guess.

    Args:
        place: folder of the pictures.
        paths: the pictures in order of their names.
        options: as in `find_times`.
    """
    found = find_times(place, paths, options)
    source = found.origin.get("times")
    if source not in (None, IN_NAMES):  # a list, which knows its own order
        return found
    photos = order_photos(paths)
    if photos.times is not None and options.fps is None:
        return FrameTimes(
            photos.times,
            photos.order,
            (*found.notes, *photos.notes),
            photos.assumed,
            {"times": "EXIF"},
        )
    if source is not None and is_rising(photos.order):
        return found
    times, guess = frame_times(len(paths), options.fps)
    assumed = (*photos.assumed, *guess) if options.fps is None and len(paths) > 1 else ()
    return FrameTimes(times, photos.order, (*found.notes, *photos.notes), assumed)


def is_rising(order: np.ndarray) -> bool:
    """Whether nothing changes its place."""
    return bool((np.diff(order) == 1).all())


def order_photos(paths: Sequence[Path]) -> Photos:
    """Put pictures in the order of their EXIF times where names tell another.

    Args:
        paths: in the order of their names.
    """
    plain = Photos(np.arange(len(paths)))
    if len(paths) < 2 or _time(read_exif(paths[0])) is None:
        return plain
    records = [read_exif(path) for path in paths]
    moments = [_time(record) for record in records]
    if any(moment is None for moment in moments):
        lacking = sum(moment is None for moment in moments)
        note = f"{lacking} of {len(paths)} pictures have no EXIF time: taken in order of names"
        return Photos(plain.order, notes=(note,))
    taken = np.array(moments, dtype=np.float64)
    order = _order(taken)
    times, sentence = _frame_times(taken[order], [records[i] for i in order])
    notes = () if is_rising(order) else (_about_order(paths, order),)
    return Photos(order, times, notes, (sentence,))


def _time(record: Exif | None) -> float | None:
    """Return the time of exposure; that of a later change tells no order."""
    return None if record is None or not record.is_exposure else record.time


def _order(taken: np.ndarray) -> np.ndarray:
    """Return the order of time; equal times stay in order of names, a counter's turn respected."""
    falls = np.flatnonzero(np.diff(taken) < 0)
    if len(falls) == 1 and taken[-1] <= taken[0]:  # 0001 .. 0004, 9996 .. 9999
        return np.roll(np.arange(len(taken)), -(falls[0] + 1))
    return np.argsort(taken, kind="stable")


def _about_order(paths: Sequence[Path], order: np.ndarray) -> str:
    at = int(np.argmax(order != np.arange(len(order))))
    return (
        "names and EXIF times tell different orders: frames are in order of EXIF time "
        f"(frame {at} is {paths[order[at]].name}, by name it would be {paths[at].name})"
    )


def _frame_times(
    taken: np.ndarray, records: Sequence[Exif | None]
) -> tuple[np.ndarray | None, str]:
    """Use EXIF times where their resolution tells every picture from the next."""
    steps = np.diff(taken)
    has_fractions = all(record is not None and record.subsec is not None for record in records)
    if (steps > 0).all() and (has_fractions or steps.min() >= WHOLE_SECOND):
        digits = "SubSecTimeOriginal" if has_fractions else "whole seconds"
        return taken - taken[0], (
            f"frame times are EXIF DateTimeOriginal ({digits}), seconds from the first picture "
            "(prepare --fps overrules)"
        )
    return (
        None,
        "EXIF times repeat between pictures: not used as frame times (prepare --fps sets them)",
    )
