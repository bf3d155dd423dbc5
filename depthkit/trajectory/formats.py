# SPDX-License-Identifier: Apache-2.0
"""The layouts of pose files: which columns are time, position, quaternion or matrix.

Decided by evidence, in this order: names in a header, then the numbers themselves (a rotation
matrix is orthonormal, a quaternion has norm 1). What the file leaves open is in `assumed`.
"""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from depthkit.errors import DataError
from depthkit.rigid import inverse
from depthkit.trajectory.matrices import MATRICES, holds_rotations, join_blocks, parse_matrices
from depthkit.trajectory.names import Columns, find_columns
from depthkit.trajectory.table import (
    QUATERNION_TOLERANCE,
    Axis,
    Order,
    PoseTable,
    finite_rows,
    has_decimals,
    to_poses,
)
from depthkit.trajectory.text import TextTable, is_number, to_numbers
from depthkit.trajectory.time_units import detect_unit

LAYOUTS = "8 columns (t x y z qx qy qz qw)"

_XYZW, _WXYZ = (0, 1, 2, 3), (1, 2, 3, 0)


def parse_poses(table: TextTable, order: Order | None = None) -> PoseTable:
    """Find the layout of a table and read it.

    Args:
        table: rows of the file.
        order: order of quaternions as the caller knows it; None: found by evidence.

    Raises:
        DataError: no known layout, or a row that does not fit it.
    """
    if any(re.match(r"\W*(lat|lon)(itude|gitude)?\b", name.lower()) for name in table.header):
        raise DataError(
            f"{table.name}: its header names latitude and longitude; expected positions in metres "
            "(x y z): convert them, to UTM or east north up"
        )
    if any(row[0] == "VERTEX_SE3:QUAT" for row in table.rows):
        return _parse_g2o(table)
    if _is_colmap(table):
        return _parse_colmap(table)
    if table.header and (columns := find_columns(table.header)) is not None:
        return _parse_named(table, columns, order)
    if (blocks := join_blocks(table)) is not None:
        return parse_matrices(blocks)
    width = len(table.rows[0])
    if width in MATRICES and holds_rotations(table, *MATRICES[width]):
        return parse_matrices(table)
    if width == 7:
        return _parse_rows_of_seven(table, order)
    if width >= 8 and (start := _quaternion_start(table)) is not None:
        return _parse_columns(table, start, order)
    if width in MATRICES:
        return parse_matrices(table)
    return _parse_columns(table, 4, order)


# --- quaternions ---------------------------------------------------------------------------------


def _quaternion_start(table: TextTable) -> int | None:
    """Find the column at which unit quaternions begin: 4 behind a time, 5 behind an id as well."""
    width = len(table.rows[0])
    rows = [row[:9] for row in table.rows if len(row) == width]
    values = finite_rows(replace(table, rows=rows))
    if values is None:
        return None
    norms = {start: values[:, start : start + 4] for start in (4, 5) if width >= start + 4}
    fits = [
        start
        for start, q in norms.items()
        if np.mean(np.abs(np.linalg.norm(q, axis=1) - 1) <= QUATERNION_TOLERANCE) > 0.5
    ]
    if len(fits) > 1:
        raise DataError(
            f"{table.name}: {width} columns could be 't x y z q ...' or 'id t x y z q ...'; name "
            "the columns in a header line (timestamp tx ty tz qx qy qz qw)"
        )
    return fits[0] if fits else None


def _parse_columns(table: TextTable, start: int, order: Order | None) -> PoseTable:
    """Read `[id] t x y z q ...` without names: further columns are ignored and reported."""
    width = len(table.rows[0])
    if width < 8 or (width > 9 and not _quaternion_start(table)):
        raise DataError(_unknown_layout(table))
    values = to_numbers(table, range(start + 4), width, LAYOUTS if width == 8 else f"{width}")
    name, stamps = Path(table.name).name, values[:, start - 4]
    assumed: tuple[str, ...] = ()
    if start == 5:
        stamps, note = _behind_an_id(values)
        assumed = (f"{name}: {width} columns without names, {note}",)
    is_euroc = table.has_commas and detect_unit(stamps) == "ns"
    if width > start + 4 and not (is_euroc and width == 17):
        assumed += (f"{name}: columns from the {start + 5}th on have no names and were ignored",)
    poses = _with_order(values[:, start - 3 :], table, order, is_euroc)
    decimals = has_decimals(table, start - 4)
    return replace(poses, stamps=stamps, has_decimals=decimals, assumed=(*assumed, *poses.assumed))


def _behind_an_id(values: np.ndarray) -> tuple[np.ndarray, str]:
    """Return the times of rows `a b x y z q`: b, or seconds a and nanoseconds b together."""
    a, b = values[:, 0], values[:, 1]
    whole = bool(np.all(a == np.round(a)) and np.all(b == np.round(b)))
    if whole and b.min() >= 0 and 1e6 < b.max() < 1e9 and np.any(np.diff(b) < 0):
        return a + 1e-9 * b, "the first two taken as seconds and nanoseconds"
    return b, "taken as id t x y z and a quaternion"


def _with_order(
    values: np.ndarray, table: TextTable, order: Order | None, is_euroc: bool
) -> PoseTable:
    """Read columns `x y z q`, in the order the caller, the data or else the layout suggests."""
    q, stated, note = values[:, 3:7], order is not None, ""
    if order is None:
        order, stated, why = _guess_order(q, is_euroc)
        name = Path(table.name).name
        note = f"{name}: quaternions read as {' '.join(order)}: {why} (--quaternion sets it)"
    T = to_poses(table, values[:, :3], q[:, _XYZW if order == "xyzw" else _WXYZ])
    lines = np.array(table.lines)
    return PoseTable(np.zeros(len(T)), T, lines, "time", order, stated, order_note=note)


def _guess_order(q: np.ndarray, is_euroc: bool) -> tuple[Order, bool, str]:
    """Choose an order where nobody states it, and say whether it is sure and why.

    A trajectory that starts at the identity shows where w stands. Smoothness shows nothing: moving
    w is an isometry of the quaternions, so every angle between two poses stays what it is.
    """
    first = np.abs(q[np.isfinite(q).all(axis=1)][:1])
    places: tuple[tuple[int, Order], ...] = ((3, "xyzw"), (0, "wxyz"))
    for column, order in places:
        if len(first) and first[0, column] > 1 - 1e-6:
            return order, True, "the first pose is the identity then"
    if is_euroc:
        return "wxyz", False, "no names; commas and nanoseconds as in EuRoC's csv"
    return "xyzw", False, "no names; TUM's order"


def _parse_named(table: TextTable, columns: Columns, order: Order | None) -> PoseTable:
    """Read the columns that a header names."""
    if order is not None and columns.order is not None and columns.order != order:
        raise DataError(
            f"{table.name}: its header says the quaternion is {' '.join(columns.order)}, not "
            f"{' '.join(order)}"
        )
    width = len(table.header)
    values = to_numbers(table, columns.wanted, width, f"{width} as in the header")
    has_stamp = columns.stamp is not None
    T = to_poses(table, values[:, :3], values[:, 3:7])
    stamps = values[:, 7] if has_stamp else np.arange(len(T), dtype=np.float64)
    axis: Axis = columns.axis if has_stamp else "row"
    decimals = columns.stamp is not None and has_decimals(table, columns.stamp)
    return PoseTable(stamps, T, np.array(table.lines), axis, columns.order, has_decimals=decimals)


def _parse_rows_of_seven(table: TextTable, order: Order | None) -> PoseTable:
    """Read `x y z q` without a time, one row a frame (TartanAir)."""
    values = to_numbers(table, range(7), 7, "7 (x y z qx qy qz qw, no time)")
    norms = np.linalg.norm(values[:, 3:], axis=1)
    with np.errstate(invalid="ignore"):
        if not np.mean(np.abs(norms - 1) <= QUATERNION_TOLERANCE) > 0.5:
            raise DataError(_unknown_layout(table))
    poses = _with_order(values, table, order, False)
    note = (
        f"{Path(table.name).name}: 7 columns and no time, taken as x y z and a quaternion of frame "
        "0, 1, 2 ... with optical axes (TartanAir's own files have x forward, z down)"
    )
    stamps = np.arange(len(values), dtype=np.float64)
    return replace(poses, stamps=stamps, axis="row", assumed=(note, *poses.assumed))


def _unknown_layout(table: TextTable) -> str:
    """Say how many columns the first row has and what they look like."""
    row, line = table.rows[0], table.lines[0]
    words = next((field for field in row if not is_number(field)), None)
    if words is not None and len(row) >= 7:
        return (
            f"{table.name}: line {line}: {words!r} is not a number ({len(row)} columns and no "
            "header; expected t x y z qx qy qz qw)"
        )
    looks = {
        3: " (positions alone?)",
        4: " (t x y z without a rotation?)",
        6: " (x y z and three angles?)",
        7: " (a time and three angles, or x y z and a quaternion whose norm is not 1?)",
    }.get(len(row), "")
    return (
        f"{table.name}: line {line} has {len(row)} columns{looks}, expected 8 (TUM), 12 or 13 "
        "(KITTI), 16 (4x4 matrix) or a EuRoC csv"
    )


# --- files of other programs ---------------------------------------------------------------------


def _parse_g2o(table: TextTable) -> PoseTable:
    """Read the vertices of a pose graph: VERTEX_SE3:QUAT id x y z qx qy qz qw."""
    keep = [i for i, row in enumerate(table.rows) if row[0] == "VERTEX_SE3:QUAT"]
    vertices = table.take(keep)
    values = to_numbers(vertices, range(1, 9), 9, "9 (VERTEX_SE3:QUAT id x y z qx qy qz qw)")
    T = to_poses(vertices, values[:, 1:4], values[:, 4:])
    return PoseTable(values[:, 0], T, np.array(vertices.lines), "index", "xyzw")


def _is_colmap(table: TextTable) -> bool:
    return any("QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID" in line for line in table.comments)


def _parse_colmap(table: TextTable) -> PoseTable:
    """Read COLMAP's images.txt: world to camera, inverted; stamps from the numbers in the names."""
    keep = [i for i, row in enumerate(table.rows) if len(row) == 10 and not is_number(row[9])]
    images = table.take(keep)
    if not images.rows:
        raise DataError(f"{table.name}: is a COLMAP images.txt without images")
    values = to_numbers(images, range(1, 8), 10, "10 (COLMAP images.txt)")
    T = inverse(to_poses(images, values[:, 4:], values[:, [1, 2, 3, 0]]))
    stems = [re.sub(r"\.[A-Za-z]+$", "", row[9].rsplit("/", 1)[-1]) for row in images.rows]
    is_time = all(re.fullmatch(r"\d{10,}|\d+\.\d+", stem) for stem in stems)
    found = [[stem] if is_time else re.findall(r"\d+", stem) for stem in stems]
    if not all(found):
        raise DataError(f"{table.name}: a picture name holds no number to tell its frame by")
    stamps = np.array([float(numbers[-1]) for numbers in found])
    rank = np.argsort(stamps, kind="stable")
    kind = "times" if is_time else "frame indices"
    note = (
        f"{Path(table.name).name}: COLMAP, {kind} taken from the picture names, poses up to scale"
    )
    lines = np.array(images.lines)[rank]
    return PoseTable(
        stamps[rank], T[rank], lines, "time" if is_time else "index", "wxyz", assumed=(note,)
    )
