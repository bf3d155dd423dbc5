# SPDX-License-Identifier: Apache-2.0
"""Pose files of matrices: KITTI's 3x4, 4x4 by rows, and 4x4 in four lines (Redwood, 7-Scenes)."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from depthkit.errors import DataError
from depthkit.trajectory.table import PoseTable, finite_rows, has_decimals
from depthkit.trajectory.text import TextTable, is_number, to_numbers

MATRICES = {12: (0, 3), 13: (1, 3), 16: (0, 4), 17: (1, 4)}
"""Columns of a row: (columns before the matrix, rows of the matrix)."""


def holds_rotations(table: TextTable, before: int, height: int) -> bool:
    """Tell whether most rows hold an orthonormal 3x3 block where a matrix by rows would have it."""
    M = finite_rows(table)
    if M is None:
        return False
    R = M[:, before:].reshape(len(M), height, 4)[:, :3, :3]
    error = np.abs(R @ np.swapaxes(R, 1, 2) - np.eye(3)).max(axis=(1, 2))
    with np.errstate(invalid="ignore"):
        return bool(np.mean(error < 0.05) >= 0.5)


def parse_matrices(table: TextTable) -> PoseTable:
    """Read 3x4 or 4x4 matrices by rows, alone or behind a frame index or time."""
    width = len(table.rows[0])
    before, height = MATRICES[width]
    expected = {3: "12 columns (a 3x4 matrix by rows)", 4: "16 columns (a 4x4 matrix by rows)"}
    values = to_numbers(table, range(width), width, f"{expected[height]} or one more")
    T = np.tile(np.eye(4), (len(values), 1, 1))
    T[:, :height] = values[:, before:].reshape(-1, height, 4)
    T[(T[:, :3] == 0).all(axis=(1, 2)) | ~np.isfinite(T).all(axis=(1, 2))] = np.nan  # lost
    _check_last_row(table, T)
    lines = np.array(table.lines)
    if not before:
        return PoseTable(np.arange(len(T), dtype=np.float64), T, lines, "row")
    first = values[:, 0]
    is_index = bool(np.all(first == np.round(first)) and np.abs(first).max() < 1e8)
    if is_index:
        return PoseTable(first, T, lines, "index")
    note = f"{Path(table.name).name}: first of {width} columns taken as a time, not a frame index"
    return PoseTable(first, T, lines, "time", has_decimals=has_decimals(table, 0), assumed=(note,))


def _check_last_row(table: TextTable, T: np.ndarray) -> None:
    """Refuse 4x4 matrices by columns, and those whose last row is not 0 0 0 1."""
    for i in np.flatnonzero((np.abs(T[:, 3] - [0, 0, 0, 1]) > 1e-6).any(axis=1))[:1]:
        is_turned = np.abs(T[i, :3, 3]).max() < 1e-9
        remedy = "; its translation is there: transpose the matrices" if is_turned else ""
        raise DataError(
            f"{table.name}: line {table.lines[i]}: the last row of the 4x4 matrix is "
            f"{T[i, 3].tolist()}, expected 0 0 0 1{remedy}"
        )


def join_blocks(table: TextTable) -> TextTable | None:
    """Join four lines of four numbers, under a line of three in Redwood's .log, to one row each."""
    widths = [len(row) for row in table.rows]
    before = 1 if widths[0] == 3 else 0
    size, kinds = 4 + before, {3, 4} if before else {4}
    if set(widths) != kinds or not _ends_a_matrix(table.rows[size - 1 : size]):
        return None
    if widths != ([3] * before + [4] * 4) * (len(widths) // size):
        raise DataError(f"{table.name}: {len(widths)} lines are no whole number of 4x4 matrices")
    starts = range(0, len(widths), size)
    rows = [
        table.rows[i][:before] + [f for row in table.rows[i + before : i + size] for f in row]
        for i in starts
    ]
    return replace(table, rows=rows, lines=[table.lines[i] for i in starts])


def _ends_a_matrix(rows: list[list[str]]) -> bool:
    """Tell the last row of a 4x4 matrix, 0 0 0 1."""
    return (
        bool(rows) and all(map(is_number, rows[0])) and [float(f) for f in rows[0]] == [0, 0, 0, 1]
    )
