# SPDX-License-Identifier: Apache-2.0
"""KITTI calib.txt (`P2: 12 numbers`) and calib_cam_to_cam.txt (`P_rect_02`, `K_02`, `D_02`).

Devkit readme of Geiger 2013: P_rect is of the rectified pictures and S_rect their size; K, D and S
are of the pictures as the lens made them.
"""

import re

from depthkit.camera.calibration import Calibration
from depthkit.camera.calibration_text import numbers, whole
from depthkit.errors import DataError

CAMERAS = (2, 3, 0, 1)
"""Colour before grey, left before right."""


def read(text: str) -> list[Calibration]:
    """Return the cameras in the order of `CAMERAS`, rectified ones first; none of another file."""
    lines = dict(re.findall(r"(?m)^\s*((?:[PKDS]|P_rect|S_rect)_?\d{1,2})\s*:(.*)$", text))
    if not any(re.fullmatch(r"P\d|P_rect_\d\d|K_\d\d", key) for key in lines):
        return []
    found = [_rectified(lines, key, n) for n in CAMERAS for key in (f"P{n}", f"P_rect_0{n}")]
    found += [_raw(lines, n) for n in CAMERAS]
    return [one for one in found if one is not None]


def projection(values: tuple[float, ...], key: str) -> tuple[float, ...]:
    """Return P as twelve numbers; K of nine, as some write it, has no offset from camera 0."""
    if len(values) == 9:
        rows = (values[3 * i : 3 * i + 3] for i in range(3))
        return tuple(v for row in rows for v in (*row, 0.0))
    if len(values) != 12:
        raise DataError(f"{key} holds {len(values)} numbers, expected 12 (3x4), or 9 (K)")
    return values


def _rectified(lines: dict[str, str], key: str, number: int) -> Calibration | None:
    if key not in lines:
        return None
    P = projection(numbers(lines[key], key), key)
    K = tuple(P[4 * i + j] for i in range(3) for j in range(3))
    return Calibration(K, _size(lines, f"S_rect_0{number}"), distortion_model="none", name=key)


def _raw(lines: dict[str, str], number: int) -> Calibration | None:
    key = f"K_0{number}"
    if key not in lines:
        return None
    K = numbers(lines[key], key)
    if len(K) != 9:
        raise DataError(f"{key} holds {len(K)} numbers, expected 9")
    D = numbers(lines.get(f"D_0{number}", ""), f"D_0{number}")
    return Calibration(K, _size(lines, f"S_0{number}"), distortion_model="plumb_bob", D=D, name=key)


def _size(lines: dict[str, str], key: str) -> tuple[int, int] | None:
    values = numbers(lines.get(key, ""), key)
    if not values:
        return None
    if len(values) != 2:
        raise DataError(f"{key} holds {len(values)} numbers, expected width and height")
    return whole(values[1], key), whole(values[0], key)
