# SPDX-License-Identifier: Apache-2.0
"""`depthkit evaluate model`: prints the scores of a model beside what it must beat."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from depthkit.cli.arguments import options_of
from depthkit.cli.evaluate_output import print_json, print_page, print_table, warn
from depthkit.cli.progress import watching

if TYPE_CHECKING:
    from depthkit.pipelines.score.report import Cell


def run_model(args: argparse.Namespace) -> None:
    """Score the model on the sequences."""
    import depthkit

    with watching("note: ") as watcher:
        found = depthkit.evaluate.model(**options_of(args, "kind"), watcher=watcher)
    warn(found.notes)
    if args.json:
        print_json(found.as_json())
        return
    print(found.text)
    if "rows" in found.figures:
        print_columns(found.table)
    else:
        print_table([(str(name), value, str(other)) for name, value, other in found.table])
    print_page(found.page)


def print_columns(table: tuple[tuple[Cell, ...], ...]) -> None:
    """Print a table over baselines: names to the left, figures to the right."""
    from depthkit.pipelines.score.report import format_cell

    cells = [[format_cell(cell) for cell in line] for line in table]
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    for line in cells:
        padded = [
            cell.ljust(width) if column in (0, 2) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        print("  " + "  ".join(padded).rstrip())
