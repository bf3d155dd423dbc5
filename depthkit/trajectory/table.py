# SPDX-License-Identifier: Apache-2.0
"""What every layout of a pose file is read into: `PoseTable`, and the checks of its numbers."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from depthkit.errors import DataError
from depthkit.rigid import make_pose, quaternion_to_matrix
from depthkit.trajectory.text import TextTable

Order = Literal["xyzw", "wxyz"]
"""Order of the four numbers of a quaternion in a file."""

Axis = Literal["time", "index", "row"]
"""What pairs a pose: a time, a frame index, or nothing but the number of its row."""

QUATERNION_TOLERANCE = 1e-3
"""How far from 1 the norm of a stored quaternion may lie before the file is refused."""

ROTATION_TOLERANCE = 1e-3
"""How far R R^T may lie from the identity, per entry, before a matrix is refused as a rotation."""


@dataclass(frozen=True)
class PoseTable:
    """Poses as their file holds them, time in the file's own unit."""

    stamps: np.ndarray
    """(N,) float64"""
    T_world_cam: np.ndarray
    """NaN where the file holds no pose. (N, 4, 4)"""
    lines: np.ndarray
    """Line of each pose in the file, from 1. (N,) int"""
    axis: Axis
    order: Order | None = None
    """Order of the quaternion as read; None in files of matrices."""
    is_order_stated: bool = True
    """By a header, by the caller or by a first pose at the identity."""
    order_note: str = ""
    """The order that was taken and why, where neither header nor caller say it."""
    has_decimals: bool = False
    """Stamps are written with a decimal point."""
    assumed: tuple[str, ...] = ()


def finite_rows(table: TextTable) -> np.ndarray | None:
    """Return the finite rows as numbers; None where a row is no row of numbers. (M, width)"""
    try:
        values = np.array(table.rows, dtype=np.float64)
    except ValueError:
        return None
    values = values[np.isfinite(values).all(axis=1)]
    return values if len(values) else None


def has_decimals(table: TextTable, column: int) -> bool:
    """Tell whether a column is written with decimal points."""
    return any("." in row[column] for row in table.rows)


def to_poses(table: TextTable, positions: np.ndarray, q_xyzw: np.ndarray) -> np.ndarray:
    """Build poses; NaN where a row is not finite or all zero, which is how trackers say 'lost'."""
    finite = np.isfinite(q_xyzw).all(axis=1) & np.isfinite(positions).all(axis=1)
    known = finite & ((q_xyzw != 0).any(axis=1) | (positions != 0).any(axis=1))
    norm = np.linalg.norm(q_xyzw, axis=1)
    with np.errstate(invalid="ignore"):
        wrong = known & (np.abs(norm - 1) > QUATERNION_TOLERANCE)
    for i in np.flatnonzero(wrong)[:1]:
        raise DataError(
            f"{table.name}: line {table.lines[i]} has a quaternion of norm {norm[i]:.4g}, "
            "expected 1; normalise it, or write it with more digits"
        )
    T = np.full((len(q_xyzw), 4, 4), np.nan)
    T[known] = make_pose(quaternion_to_matrix(q_xyzw[known]), positions[known])
    return T
