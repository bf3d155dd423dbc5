# SPDX-License-Identifier: Apache-2.0
"""Units of inertial samples: those a file states, those the user states, those that look wrong."""

import re

import numpy as np

from depthkit.errors import DataError

GYRO_UNITS = {"rad/s": 1.0, "deg/s": np.pi / 180}
ACCEL_UNITS = {"m/s2": 1.0, "g": 9.80665, "mg": 9.80665e-3}
"""Factors to rad/s and m/s2."""
STANDARD_GRAVITY = 9.80665

FULL_RANGE = 35.0
"""rad/s: the largest range that inertial sensors are sold with (2000 deg/s)."""
BUSY = 10.0
"""rad/s: no camera that sees anything turns faster than this half of the time."""
GRAVITY_BAND = 0.2
"""Relative distance from 1 g up to which the median of |a| counts as gravity."""

_SPELLINGS = {
    "rad/s": ("rad/s", "rads", "rads-1", "radian/s", "radians/s", "radpersec"),
    "deg/s": ("deg/s", "degs", "degs-1", "dps", "°/s", "degree/s", "degrees/s"),
    "m/s2": ("m/s2", "m/s^2", "ms-2", "m/s²", "mps2", "m/s/s"),
    "g": ("g",),
    "mg": ("mg",),
}


def unit_of(text: str) -> str | None:
    """Return the unit that the words between brackets of a column's name mean; None: unknown."""
    written = re.sub(r"[\s^]|\*", "", text.lower())
    for unit, spellings in _SPELLINGS.items():
        if written in spellings or written in (re.sub(r"\^", "", one) for one in spellings):
            return unit
    return None


def parse_units(text: str) -> tuple[str | None, str | None]:
    """Read units as the user writes them: `deg/s`, `g` or `deg/s,g`.

    Args:
        text: one or two units separated by a comma; empty for none.

    Returns:
        Unit of the gyroscope, and of the accelerometer; None where it is not stated.

    Raises:
        DataError: a word that is no unit, or two units of one sensor.
    """
    gyro: str | None = None
    accel: str | None = None
    for word in (part.strip() for part in text.split(",") if part.strip()):
        if word in GYRO_UNITS and gyro is None:
            gyro = word
        elif word in ACCEL_UNITS and accel is None:
            accel = word
        else:
            known = ", ".join((*GYRO_UNITS, *ACCEL_UNITS))
            raise DataError(
                f"--imu-units: {word!r} is no unit of a sensor of its own; expected one or two of "
                f"{known}, such as deg/s,g"
            )
    return gyro, accel


def to_si(rows: np.ndarray, gyro: str | None, accel: str | None) -> np.ndarray:
    """Convert samples to rad/s and m/s2.

    Args:
        rows: t wx wy wz ax ay az. (N, 7)
        gyro: a key of `GYRO_UNITS`; None leaves the numbers as they are.
        accel: a key of `ACCEL_UNITS`; likewise.
    """
    factors = np.ones(7)
    factors[1:4] = GYRO_UNITS[gyro or "rad/s"]
    factors[4:7] = ACCEL_UNITS[accel or "m/s2"]
    return rows * factors


def suspect_units(rows: np.ndarray) -> tuple[str, ...]:
    """Say which numbers are of an impossible size for rad/s and m/s2.

    Args:
        rows: t wx wy wz ax ay az, taken as rad/s and m/s2. (N, 7)

    Returns:
        One sentence for each sensor whose unit is doubtful.
    """
    return (*_suspect_gyro(rows[:, 1:4]), *_suspect_accel(rows[:, 4:7]))


def _suspect_gyro(gyro: np.ndarray) -> tuple[str, ...]:
    norms = np.linalg.norm(gyro, axis=1)
    usual, most = float(np.median(norms)), float(np.percentile(norms, 99))
    if usual <= BUSY and most <= FULL_RANGE:
        return ()
    return (
        f"gyroscope: rates of {usual:.3g} (median) and {most:.3g} (99th percentile) are impossible "
        "as rad/s; deg/s? --imu-units deg/s sets it",
    )


def _suspect_accel(accel: np.ndarray) -> tuple[str, ...]:
    """Compare the median of |a|, which is gravity in nearly any motion, with 1 g."""
    if not np.isfinite(accel).any():
        return ()
    usual = float(np.median(np.linalg.norm(accel, axis=1)))
    for unit, factor in ACCEL_UNITS.items():
        if abs(usual * factor / STANDARD_GRAVITY - 1) <= GRAVITY_BAND:
            if unit == "m/s2":
                return ()
            return (
                f"accelerometer: |a| is {usual:.4g} usually, where 9.81 is expected of m/s2; "
                f"{unit}? --imu-units {unit} sets it",
            )
    if usual < 0.5 * STANDARD_GRAVITY:
        why = "gravity seems to be taken out, which motion cannot be measured with"
    else:
        why = "a strong or constant acceleration, or another unit"
    return (f"accelerometer: |a| is {usual:.4g} usually, where 9.81 is expected of m/s2; {why}",)
