# SPDX-License-Identifier: Apache-2.0
"""Text of numbers alone: K as 3x3, 3x4 or 4x4, or one line `fx fy cx cy [k1 k2 p1 p2 [k3]]`.

Nine numbers are both a K and the line that DROID-SLAM and DPVO read; a K ends in 0 0 1.
"""

import re

from depthkit.camera.calibration import Calibration, k_of, matrix_of
from depthkit.camera.calibration_text import number
from depthkit.errors import DataError
from depthkit.trajectory.text import is_number


def read(text: str) -> list[Calibration]:
    """Return the camera of a text of numbers; none where it holds words."""
    lines = [re.split(r"#|%|//", line)[0] for line in text.split("\n")]
    rows = [re.sub(r"[\[\](){},;]", " ", line).split() for line in lines]
    rows = [[word for word in row if word != "-"] for row in rows]  # - begins a row of YAML
    rows = [row for row in rows if row]
    if len(rows) >= 2 and _is_header(rows[0]):
        return [_named(rows[0], rows[1])]
    words = [word for row in rows for word in row]
    if not words:
        raise DataError("camera file is empty but for comments")
    strange = [word for word in words if not is_number(word)]
    if (
        strange
        and len(words) >= 4
        and len(strange) * 4 <= len(words)
        and not re.search("[:=]", text)
    ):
        raise DataError(f"not a camera file: {strange[0]!r} stands among its numbers")
    if strange:
        return []
    values = tuple(number(word, "a value") for row in rows for word in row)
    if len(rows) > 4 and len({len(row) for row in rows}) == 1 and len(rows[0]) > 1:
        raise DataError(
            f"not a camera file: {len(rows)} rows of {len(rows[0])} numbers; expected one camera "
            "(poses go to --poses)"
        )
    return [camera_of(values)]


def camera_of(values: tuple[float, ...]) -> Calibration:
    """Tell a matrix from a line of intrinsics by where its zeros and its one are."""
    if _is_matrix(values):
        return Calibration(matrix_of(values, "K"), distortion_model="none")
    if len(values) in (6, 10, 11):
        sized = _with_size(values)
        if sized is not None:
            return sized
    while len(values) > 4 and len(values) not in (4, 8, 9, 12) and values[-1] == 0:
        values = values[:-1]
    if len(values) not in (4, 8, 9, 12):
        raise DataError(
            f"not a camera file: {len(values)} numbers; expected K as 3x3, 3x4 or 4x4, or "
            "fx fy cx cy [k1 k2 p1 p2 [k3]]"
        )
    return _line(values, None, "{}")


def _line(values: tuple[float, ...], size: tuple[int, int] | None, order: str) -> Calibration:
    """Build the camera of fx fy cx cy and coefficients in OpenCV's order."""
    D = values[4:]
    names = "fx fy cx cy" + (" k1 k2 p1 p2 k3 k4 k5 k6"[: 3 * len(D)] if D else "")
    return Calibration(
        k_of(*values[:4]),
        size,
        distortion_model="brown_conrady" if D else "none",
        D=D,
        assumed=(f"a line of numbers taken as {order.format(names)}",),
    )


def _is_matrix(values: tuple[float, ...]) -> bool:
    """Say whether numbers are a K, by rows or by columns, rather than a line of intrinsics."""
    if len(values) == 16:
        return True
    if len(values) not in (9, 12):
        return False
    # A line has fy second, never 0; a K has a skew there, or below fx (written by columns).
    return values[1] == 0 or values[len(values) // 3] == 0


def _with_size(values: tuple[float, ...]) -> Calibration | None:
    """Take two whole numbers before or after as width and height, where the centre fits them."""
    for size_at, order in ((slice(0, 2), "width height {}"), (slice(-2, None), "{} width height")):
        width, height = values[size_at]
        rest = values[2:] if size_at.start == 0 else values[:-2]
        if not (width.is_integer() and height.is_integer() and min(width, height) > 8):
            continue
        if 0.2 < rest[2] / width < 0.8 and 0.2 < rest[3] / height < 0.8:
            return _line(rest, (int(height), int(width)), order)
    return None


def _is_header(row: list[str]) -> bool:
    """Say whether a row names columns: fx, fy, cx, cy among them."""
    return {"fx", "fy", "cx", "cy"} <= {word.lower() for word in row}


def _named(names: list[str], row: list[str]) -> Calibration:
    """Read one row under the names of its columns."""
    if len(names) != len(row):
        raise DataError(f"camera: {len(names)} names of columns, but {len(row)} numbers below them")
    found = {name.lower(): number(word, name) for name, word in zip(names, row, strict=True)}
    size = None
    if "width" in found and "height" in found:
        size = int(found["height"]), int(found["width"])
    D = tuple(found.get(key, 0.0) for key in ("k1", "k2", "p1", "p2", "k3"))
    K = k_of(*(found[key] for key in ("fx", "fy", "cx", "cy")))
    return Calibration(K, size, distortion_model="brown_conrady", D=D)
