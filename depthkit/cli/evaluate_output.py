# SPDX-License-Identifier: Apache-2.0
"""What both scores print and write: a JSON object or a table, warnings, a report folder."""

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from depthkit.errors import DataError
from depthkit.evaluation.report import Cell, format_cell


def check_report(folder: str | None, *, force: bool) -> Path | None:
    """Check the report's folder before any work is done; None when no report is wanted.

    Raises:
        DataError: the folder holds files and `force` is off.
    """
    if folder is None:
        return None
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise DataError(f"{folder}: is a file; --report needs a folder")
    if path.is_dir() and any(path.iterdir()) and not force:
        raise DataError(f"{folder}: holds files already; name another folder or pass --force")
    return path


def print_json(figures: Mapping[str, Any]) -> None:
    """Print one object; a number that is not finite becomes null, as JSON has no word for it."""
    print(json.dumps(plain(figures)))


def plain(value: Any) -> Any:
    """Return what JSON can hold, at every level: null for a number that is not finite."""
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_table(rows: Sequence[tuple[str, Cell, str]]) -> None:
    """Print name, figure and unit or meaning in columns."""
    cells = [(name, format_cell(value), unit) for name, value, unit in rows]
    widths = [max(len(row[column]) for row in cells) for column in (0, 1)]
    for name, value, unit in cells:
        print(f"  {name:<{widths[0]}}  {value:>{widths[1]}}  {unit}".rstrip())


def print_rows(rows: Sequence[Sequence[Cell]]) -> None:
    """Print a table, header first: names left, figures right."""
    cells = [[("-" if cell is None else format_cell(cell)) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for name, *figures in cells:
        right = "  ".join(f"{one:>{w}}" for one, w in zip(figures, widths[1:], strict=True))
        print(f"  {name:<{widths[0]}}  {right}".rstrip())


def note(notes: Iterable[str]) -> None:
    """Say on stderr what was assumed."""
    for text in notes:
        print(f"depthkit: note: {text}", file=sys.stderr)


def warn(notes: Iterable[str]) -> None:
    """Say on stderr what the figures alone would hide."""
    for text in notes:
        print(f"depthkit: warning: {text}", file=sys.stderr)
