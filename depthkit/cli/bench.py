# SPDX-License-Identifier: Apache-2.0
"""`depthkit bench`: how fast, how large and how exact a model is on this machine's runtimes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from depthkit.cli.arguments import (
    BACKENDS,
    MODEL_HELP,
    PRECISIONS,
    add_threads,
    options_of,
    positive,
    size,
)
from depthkit.cli.progress import watching

if TYPE_CHECKING:
    from depthkit.pipelines.bench_backends import Bench, Measurement

BATCH = 3  # baselines of the multi-range rule


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.add_argument("model", type=Path, help=MODEL_HELP)
    parser.add_argument(
        "--backend",
        choices=("all", *BACKENDS),
        default="all",
        help="all: each that is installed, in each precision it has (default: all)",
    )
    parser.add_argument("--precision", choices=PRECISIONS, help="only this precision")
    add_threads(parser)
    parser.add_argument(
        "--size",
        type=size,
        metavar="HxW",
        help="frame size (default: that of the training); pair networks run at it",
    )
    parser.add_argument(
        "--batch",
        type=positive,
        default=BATCH,
        metavar="N",
        help=f"pair networks: earlier frames in one run (default: {BATCH})",
    )
    parser.add_argument("--runs", type=positive, default=100, help="timed calls (default: 100)")
    parser.add_argument(
        "--sequence",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="also score depth on this sequence; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> None:
    """Measure each backend in a process of its own; print a table."""
    from depthkit.pipelines.bench_backends import BenchOptions, bench
    from depthkit.pipelines.models import default_threads
    from depthkit.pipelines.records import plain

    words = options_of(args, "sequence") | {"threads": args.threads or default_threads()}
    with watching("note: ") as watcher:
        found = bench(BenchOptions(**words, sequences=tuple(args.sequence)), watcher.note)
    print(json.dumps(plain(found)) if args.json else as_text(found))


def as_text(bench: Bench) -> str:
    """Lay the figures out as a table."""
    from depthkit.pipelines.bench_backends import WARMUP

    (h, w), (height, width) = bench.size, bench.network_size
    with_pairs = f", {bench.batch} earlier frames at a time" if bench.kind == "pair" else ""
    ran = "" if (h, w) == (height, width) else f", the network at {width}x{height}"
    lines = [
        f"{bench.model}: {bench.kind}{with_pairs}; random frames of {w}x{h}{ran}; "
        f"{bench.runs} calls after {WARMUP}, {bench.threads} threads"
    ]
    scored = any(row.abs_rel is not None for row in bench.rows)
    header = ["", "median ms", "p99 ms", "network ms", "frames/s", "memory MB", "parity (allowed)"]
    table = [header + (["abs_rel", "coverage"] if scored else [])]
    table += [_cells(row, scored) for row in bench.rows]
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    for line in table:
        rest = (cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))
        lines.append("  ".join((line[0].ljust(widths[0]), *rest)))
    lines += [f"not measured: {name}: {reason}" for name, reason in bench.left_out.items()]
    return "\n".join(lines)


def _cells(row: Measurement, scored: bool) -> list[str]:
    fails = "" if row.parity_measured <= row.parity_allowed else " FAILS"
    cells = [f"{row.backend} {row.precision}", f"{row.median_ms:.2f}", f"{row.p99_ms:.2f}"]
    cells += [f"{row.network_ms:.2f}", f"{row.frames_per_second:.1f}", f"{row.memory_mb:.0f}"]
    cells.append(f"{row.parity_measured:.1e} ({row.parity_allowed:.0e}){fails}")
    if scored:
        cells += [f"{row.abs_rel:.4f}", f"{100 * (row.coverage or 0):.1f} %"]
    return cells
