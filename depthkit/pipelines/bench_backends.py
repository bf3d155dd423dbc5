# SPDX-License-Identifier: Apache-2.0
"""How fast, how large and how exact a model is on each runtime of this machine.

Each backend is measured in a process of its own, `bench.py`, so that its memory is its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from depthkit.data.sequence import open_sequence
from depthkit.errors import DataError, EngineError
from depthkit.pipelines.bench import Measurement, Task
from depthkit.pipelines.models import Note, as_onnx, ignore
from depthkit.runtime.network.backend import available_backends, runnable
from depthkit.runtime.network.manifest import Manifest, read_manifest

__all__ = ["WARMUP", "Bench", "BenchOptions", "Measurement", "bench"]

WARMUP = 10


@dataclass(frozen=True)
class BenchOptions:
    """One run of `bench`."""

    model: Path
    """Exported .onnx, run folder, checkpoint, or a shipped model's name."""
    backend: str = "all"
    """A runtime; all is each that is installed, in each precision it has."""
    precision: str | None = None
    """This one alone."""
    threads: int = 1
    """Processor cores."""
    size: tuple[int, int] | None = None
    """(H, W) of the frames, pixels; None for that of the training."""
    batch: int = 3
    """Pair networks: earlier frames in one run."""
    runs: int = 100
    """Timed calls."""
    sequences: tuple[Path, ...] = ()
    """Sequence folders to score depth on too."""


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


def bench(options: BenchOptions, note: Note = ignore) -> Bench:
    """Measure a model on each backend.

    Args:
        options: the model, the backends, how often.
        note: receives sentences that the user should read.

    Raises:
        EngineError: no backend can run it.
        DataError: a sequence without depth to score.
    """
    with as_onnx(options.model, note=note) as file:
        manifest = read_manifest(file)
        check_sequences(options.sequences, manifest)
        rows, left_out = _measure_all(options, file, manifest)
    if not rows:
        reasons = "; ".join(left_out.values()) or "no backend is here"
        raise EngineError(f"{options.model}: {reasons}")
    frame = options.size or manifest.size
    return Bench(
        model=str(options.model),
        kind=manifest.kind,
        size=frame,
        network_size=frame if manifest.kind == "pair" else manifest.size,
        batch=options.batch if manifest.kind == "pair" else 1,
        runs=options.runs,
        threads=options.threads,
        rows=tuple(rows),
        left_out=left_out,
    )


def _measure_all(
    options: BenchOptions, file: Path, manifest: Manifest
) -> tuple[list[Measurement], dict[str, str]]:
    """Return what was measured, and why the rest was not."""
    rows: list[Measurement] = []
    left_out = _absent_backends() if options.backend == "all" else {}
    for backend, precision in choose_cases(options.backend, options.precision, runnable()):
        task = Task(
            file=str(file),
            backend=backend,
            precision=precision,
            threads=options.threads,
            size=options.size or manifest.size,
            batch=options.batch if manifest.kind == "pair" else 1,
            runs=options.runs,
            warmup=WARMUP,
            sequences=tuple(map(str, options.sequences)),
        )
        found = measure_apart(task)
        if isinstance(found, str):
            left_out[f"{backend} {precision}"] = found
        else:
            rows.append(found)
    return rows, left_out


def _absent_backends() -> dict[str, str]:
    found = available_backends().items()
    return {name: words for name, words in found if not words[:1].isdigit()}


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


def check_sequences(paths: tuple[Path, ...], manifest: Manifest) -> None:
    """Refuse before anything is measured what could not be scored.

    Raises:
        DataError: no depth there, or a network without depth.
    """
    for path in paths:
        if manifest.kind in ("pose", "flow", "features", "place"):
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
