# SPDX-License-Identifier: Apache-2.0
"""Times in the names of pictures: dates of this century, decimals, seconds with nanoseconds."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from depthkit.trajectory.time_units import date_unit, usual_step

COUNTED_STEP = 5000.0
"""Spacing of whole numbers in names from which they are times since boot and no frame numbers."""

_SECONDS_AND_NS = re.compile(r"([12]\d{9})([._-])(\d{1,9})")
"""Seconds since 1970 and nanoseconds, which programs write without leading zeros."""
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def stamps_in_names(paths: Sequence[Path]) -> np.ndarray | None:
    """Return the numbers in file names that are times, in their own unit; None without any.

    Args:
        paths: pictures in the order of their names.

    Returns:
        One a picture, rising. (N,)
    """
    stamps = seconds_and_ns(paths)
    if stamps is not None:
        return stamps
    groups = [_NUMBER.findall(path.stem) for path in paths]
    width = len(groups[0]) if groups else 0
    if len(paths) < 2 or any(len(group) != width for group in groups):
        return None
    for column in range(width):
        texts = [group[column] for group in groups]
        stamps = np.array(texts, dtype=np.float64)
        if (np.diff(stamps) > 0).all() and _are_times(stamps, texts, paths):
            return stamps
    return None


def seconds_and_ns(paths: Sequence[Path]) -> np.ndarray | None:
    """Return the times of names `seconds_nanoseconds`, in ns; None where they are something else.

    With a point between they are decimals, unless those do not rise, or some are shorter and others
    end in 0: decimals are cut at their last digit, nanoseconds lose their leading zeros.
    """
    found = [_SECONDS_AND_NS.fullmatch(path.stem) for path in paths]
    matches = [match for match in found if match is not None]
    if len(paths) < 2 or len(matches) < len(paths) or max(len(m[3]) for m in matches) < 8:
        return None
    decimals = np.array([f"{match[1]}.{match[3]}" for match in matches], dtype=np.float64)
    is_padded = len({len(match[3]) for match in matches}) == 1
    is_trimmed = not any(re.search(r"\d0$", match[3]) for match in matches)
    could_be_decimals = all(match[2] == "." for match in matches) and (np.diff(decimals) > 0).all()
    if could_be_decimals and (is_padded or is_trimmed):
        return None
    stamps = np.array([match[1] + match[3].zfill(9) for match in matches], dtype=np.float64)
    return stamps if (np.diff(stamps) > 0).all() else None


def _are_times(stamps: np.ndarray, texts: list[str], paths: Sequence[Path]) -> bool:
    """Tell times from frame numbers."""
    if date_unit(stamps) is not None:
        return True
    alone = all(path.stem == text for path, text in zip(paths, texts, strict=True))
    decimals = all("." in text for text in texts)
    return alone and (decimals or usual_step(stamps) >= COUNTED_STEP)
