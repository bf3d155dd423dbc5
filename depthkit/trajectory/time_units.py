# SPDX-License-Identifier: Apache-2.0
"""The unit of time stamps, detected by size and spacing: one rule for frames, names and pose files.

Stamps of a date between 2001 and 2099 have a size that fits one unit only. Smaller ones (since
boot, since the start) are detected by their spacing: cameras and trackers run at about 20 Hz.
"""

import numpy as np

from depthkit.errors import DataError

UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
"""How many of each unit are a second: divided by, so that a stamp in seconds stays exact."""
NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}

EPOCH = (1e9, 4.1e9)
"""Seconds since 1970 of stamps that are taken for a date: September 2001 to December 2099."""
TYPICAL_STEP = 0.05
"""Seconds between frames or poses; the unit whose spacing comes nearest is taken."""
SLOW_STEP = 10.0
"""Largest spacing of numbers taken as seconds where their size does not decide the unit."""
LONGEST_STEP, SHORTEST_STEP = 86400.0, 1e-5
"""Seconds between two frames beyond which a recording is impossible."""
DATE_STEP = 3600.0
"""Seconds between stamps, at most, for their size to count as a date."""
SURE_STEP = 2.0
"""Seconds between frames up to which plain seconds need no word."""


def usual_step(stamps: np.ndarray) -> float:
    """Return the median of the spacings that are not 0; 0 if all are."""
    finite = stamps[np.isfinite(stamps)]
    steps = np.abs(np.diff(finite))
    return float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0


def date_unit(stamps: np.ndarray) -> str | None:
    """Return the unit in which the stamps are dates of this century; None without one."""
    finite = stamps[np.isfinite(stamps)]
    size, step = (float(np.median(finite)) if len(finite) else 0.0), usual_step(stamps)
    for unit, count in UNITS.items():
        if EPOCH[0] <= size / count <= EPOCH[1] and step / count <= DATE_STEP:
            return unit
    return None


def detect_unit(stamps: np.ndarray, slow_step: float = SLOW_STEP) -> str:
    """Tell the unit of stamps.

    Args:
        stamps: in an unknown unit. (N,)
        slow_step: spacing up to which numbers that are no dates count as seconds.

    Returns:
        's', 'ms', 'us' or 'ns'.
    """
    unit, step = date_unit(stamps), usual_step(stamps)
    if unit is not None:
        return unit
    if step <= slow_step:
        return "s"
    return min(("ms", "us", "ns"), key=lambda name: abs(np.log(step / UNITS[name] / TYPICAL_STEP)))


def to_seconds(
    stamps: np.ndarray, unit: str, name: str, *, slow_step: float = SLOW_STEP
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Convert stamps to seconds.

    Args:
        stamps: in `unit`. (N,)
        unit: a key of `UNITS`, or auto: detected by `detect_unit`.
        name: of the file, for messages.
        slow_step: as in `detect_unit`.

    Returns:
        seconds: (N,)
        assumed: the unit that was taken, where nobody stated it and it is not plain seconds.

    Raises:
        DataError: the steps are impossible for a recording in that unit.
    """
    taken = detect_unit(stamps, slow_step) if unit == "auto" else unit
    seconds = stamps / UNITS[taken]
    step = usual_step(seconds)
    if step > LONGEST_STEP or 0 < step < SHORTEST_STEP:
        raise DataError(
            f"{name}: times are {readable(step)} apart when read as {NAMES[taken]}, which no "
            "recording is; expected s, ms, us or ns (--time-unit), or give --fps"
        )
    if unit != "auto" or (taken == "s" and (step <= SURE_STEP or date_unit(stamps) == "s")):
        return seconds, ()
    return seconds, (
        f"{name}: times taken as {NAMES[taken]}, {readable(step)} apart (--time-unit changes it)",
    )


def readable(seconds: float) -> str:
    """Write a duration so that an impossible one is seen to be one."""
    year, day = 365.25 * 86400, 86400.0
    if seconds >= year:
        return f"{seconds / year:.3g} years"
    return f"{seconds / day:.3g} days" if seconds >= 2 * day else f"{seconds:.4g} s"
