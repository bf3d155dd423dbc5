# SPDX-License-Identifier: Apache-2.0
"""What all scores print: a JSON object or a table, and warnings."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from depthkit.pipelines.score.report import Cell


def print_json(figures: Mapping[str, Any]) -> None:
    """Print one object; a number that is not finite becomes null, as JSON has no word for it."""
    from depthkit.pipelines.records import plain

    print(json.dumps(plain(figures)))


def print_table(rows: Sequence[tuple[str, Cell, str]]) -> None:
    """Print name, figure and unit or meaning in columns."""
    from depthkit.pipelines.score.report import format_cell

    cells = [(name, format_cell(value), unit) for name, value, unit in rows]
    widths = [max(len(row[column]) for row in cells) for column in (0, 1)]
    for name, value, unit in cells:
        print(f"  {name:<{widths[0]}}  {value:>{widths[1]}}  {unit}".rstrip())


def print_rows(rows: Sequence[Sequence[Cell]]) -> None:
    """Print a table, header first: names left, figures right."""
    from depthkit.pipelines.score.report import format_cell

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


def print_page(page: Path | None) -> None:
    """Say where the report lies, if one was written."""
    if page is not None:
        print(f"report: {page}")
