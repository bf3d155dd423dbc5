# SPDX-License-Identifier: Apache-2.0
"""Columns of a pose file by the names in its header: EuRoC, TUM, rostopic echo -p, pandas."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

_ROTATION = {"q", "quat", "quaternion", "orientation", "rot", "rotation"}
_POSITION = {"p", "pos", "position", "t", "trans", "translation"}
_OTHER = {"v", "vel", "velocity", "b", "bias", "a", "acc", "w", "omega", "gyr", "gyro", "angular"}
_OTHER |= {"linear", "twist", "covariance", "cov"}
_TIME = {"time", "timestamp", "timestamps", "stamp", "secs", "seconds", "ts"}
_INDEX = {"frame", "frames", "id", "index", "idx", "seq", "kf", "keyframe", "image"}


@dataclass(frozen=True)
class Columns:
    """Indices of the columns that make a pose."""

    wanted: tuple[int, ...]
    """x, y, z, qx, qy, qz, qw and then the stamp, where there is one."""
    stamp: int | None
    axis: Literal["time", "index"]
    order: Literal["xyzw", "wxyz"] | None
    """Order of the quaternion's columns; None where it is another one still."""


def find_columns(header: Sequence[str]) -> Columns | None:
    """Find position, quaternion and stamp by name; None where a position or quaternion is missing.

    Args:
        header: names as they stand in the file, with units in brackets.
    """
    parts = [_tokens(name) for name in header]
    quaternion = _axes(parts, _is_rotation, "xyzw")
    position = _axes(parts, _is_position, "xyz")
    if quaternion is None or position is None:
        return None
    stamp, axis = _find_stamp(parts)
    wanted = (*position, *quaternion, *(() if stamp is None else (stamp,)))
    return Columns(wanted, stamp, axis, _order_of(quaternion))


def _order_of(quaternion: tuple[int, ...]) -> Literal["xyzw", "wxyz"] | None:
    """Name the order in which the columns of x, y, z and w stand in the file."""
    match [sorted(quaternion).index(i) for i in quaternion]:
        case [0, 1, 2, 3]:
            return "xyzw"
        case [1, 2, 3, 0]:
            return "wxyz"
    return None


def _tokens(name: str) -> tuple[str, ...]:
    """Split a name into lower-case words: q_RS_w [] -> q rs w, tx -> t x, field.x -> field x."""
    bare = re.sub(r"\[.*?\]", "", name).strip("#%/\"' ").lower()
    words = [word for word in re.split(r"[^a-z0-9]+", bare) if word]
    if len(words) == 1 and (match := re.fullmatch(r"(q|quat|t|p|pos|rot)([xyzw])", words[0])):
        words = [match[1], match[2]]
    if words and (match := re.fullmatch(r"(q|t|p)([xyzw])", words[-1])):
        words = [*words[:-1], match[1], match[2]]
    return tuple(words)


def _is_rotation(words: tuple[str, ...]) -> bool:
    return bool(_ROTATION & set(words[:-1]))


def _is_position(words: tuple[str, ...]) -> bool:
    before = set(words[:-1])
    return not before & (_ROTATION | _OTHER) and (not before or bool(before & _POSITION))


def _axes(
    parts: list[tuple[str, ...]], is_kind: Callable[[tuple[str, ...]], bool], axes: str
) -> tuple[int, ...] | None:
    """Return the column of each axis, the first of its name; None where one is missing."""
    found = []
    for axis in axes:
        index = next(
            (i for i, words in enumerate(parts) if words and words[-1] == axis and is_kind(words)),
            None,
        )
        if index is None:
            return None
        found.append(index)
    return tuple(found)


def _find_stamp(parts: list[tuple[str, ...]]) -> tuple[int | None, Literal["time", "index"]]:
    """Prefer a stamp of the message to the time of its recording, and both to an index."""
    stamps = [i for i, words in enumerate(parts) if {"stamp", "timestamp"} & set(words)]
    times = stamps or [i for i, words in enumerate(parts) if _TIME & set(words) or words == ("t",)]
    if times:
        return times[0], "time"
    indices = [i for i, words in enumerate(parts) if _INDEX & set(words)]
    return (indices[0], "index") if indices else (None, "index")
