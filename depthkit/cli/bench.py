# SPDX-License-Identifier: Apache-2.0
"""`depthkit bench`: how fast, how large and how exact a model is on this machine's runtimes."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthkit.cli.arguments import size
from depthkit.cli.engines import BACKENDS, MODEL_HELP, PRECISIONS, add_threads, as_onnx, positive
from depthkit.errors import DataError, EngineError

if TYPE_CHECKING:
    from depthkit.pipelines.bench import Measurement, Task
    from depthkit.runtime.network.manifest import Manifest

WARMUP = 10
BATCH = 3  # baselines of the multi-range rule


@dataclass(frozen=True)
class Bench:
    """All that was measured of a model."""

    model: str
    kind: str
    size: tuple[int, int]
    """(H, W) of the random frames."""
    network_size: tuple[int, int]
    """(H, W) that the network ran at."""
    batch: int
    """Earlier frames in one run, of pair networks; else 1."""
    runs: int
    threads: int
    rows: tuple[Measurement, ...]
    left_out: dict[str, str]
    """Backend and precision -> why it was not measured."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.add_argument("model", type=Path, help=MODEL_HELP)
    parser.add_argument(
        "--backend",
        choices=("all", *BACKENDS),
        default="all",
        help="all: each that is installed, in each precision it has (default: all)",
    )
    parser.add_argument("--precision", choices=PRECISIONS, help="this one alone")
    add_threads(parser)
    parser.add_argument(
        "--size",
        type=size,
        metavar="HxW",
        help="of the frames (default: that of the training); pair networks run at it",
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
        help="also score depth here; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> None:
    """Measure each backend in a process of its own; print a table."""
    from depthkit.cli.evaluate_output import plain
    from depthkit.pipelines.bench import Task
    from depthkit.runtime.network.backend import available_backends, runnable
    from depthkit.runtime.network.manifest import read_manifest

    with as_onnx(args.model) as file:
        manifest = read_manifest(file)
        check_sequences(args.sequence, manifest)
        absent = {
            name: words for name, words in available_backends().items() if not _is_version(words)
        }
        cases = choose_cases(args.backend, args.precision, runnable())
        frame = args.size or manifest.size
        batch = args.batch if manifest.kind == "pair" else 1
        rows, left_out = [], absent if args.backend == "all" else {}
        for backend, precision in cases:
            task = Task(
                file=str(file),
                backend=backend,
                precision=precision,
                threads=args.threads,
                size=frame,
                batch=batch,
                runs=args.runs,
                warmup=WARMUP,
                sequences=tuple(map(str, args.sequence)),
            )
            found = measure_apart(task)
            if isinstance(found, str):
                left_out[f"{backend} {precision}"] = found
            else:
                rows.append(found)
    if not rows:
        raise EngineError(f"{args.model}: {'; '.join(left_out.values()) or 'no backend is here'}")
    ran_at = frame if manifest.kind == "pair" else manifest.size
    bench = Bench(
        str(args.model),
        manifest.kind,
        frame,
        ran_at,
        batch,
        args.runs,
        args.threads,
        tuple(rows),
        left_out,
    )
    print(json.dumps(plain(asdict(bench))) if args.json else as_text(bench))


def choose_cases(
    backend: str, precision: str | None, here: list[tuple[str, str]]
) -> list[tuple[str, str]]:
    """Return which backend and precision to measure.

    Args:
        backend: a name, or all.
        precision: a name; None for all that the backend has.
        here: what this machine has.
    """
    chosen = [case for case in here if backend in ("all", case[0])]
    if precision is not None:
        names = list(dict.fromkeys(name for name, _ in chosen)) or [backend]
        return [(name, precision) for name in names]
    return chosen or [(backend, "default")]


def check_sequences(paths: list[Path], manifest: Manifest) -> None:
    """Refuse before anything is measured what could not be scored.

    Raises:
        DataError: no depth there, or a network that says none.
    """
    from depthkit.data.sequence import open_sequence

    for path in paths:
        if manifest.kind in ("pose", "flow"):
            raise DataError(
                f"{path}: --sequence scores depth, and this is a {manifest.kind} network"
            )
        if not open_sequence(path).has_depth:
            raise DataError(f"{path}: holds no depth to score against")


def measure_apart(task: Task) -> Measurement | str:
    """Measure in a fresh process; return why not where it fails.

    Raises:
        EngineError: the process died, of memory for instance.
    """
    from depthkit.pipelines.bench import Measurement

    command = [sys.executable, "-m", "depthkit.pipelines.bench", json.dumps(asdict(task))]
    threads = {name: str(task.threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | threads)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise EngineError(
            f"{task.backend} {task.precision}: the measuring process ended with "
            f"{done.returncode}: {last}"
        )
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer["error"] if "error" in answer else Measurement(**answer)


def as_text(bench: Bench) -> str:
    """Lay the figures out as a table."""
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


def _is_version(words: str) -> bool:
    return words[:1].isdigit()
