# SPDX-License-Identifier: Apache-2.0
"""One recording's work: what a worker process gets, does and hands back."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from depthkit.data.folder import STAMP, stamped
from depthkit.errors import DepthkitError
from depthkit.watcher import Watcher

Figure = str | int | float | None

ONE_CORE = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Variables by which numerical libraries, and depthkit, choose their number of threads."""


@dataclass(frozen=True)
class Job:
    """One recording, the function to call with it, and the folder that must appear."""

    name: str
    """Name of the recording; no other job has it."""
    source: str
    """What is read, for people."""
    work: Callable[..., Any]
    """Function at the top level of a module; gets the keywords and a watcher."""
    keywords: Mapping[str, Any]
    out: Path
    """Folder that appears, all at once, when the work is done."""
    stamp: str
    """What was asked for; kept in the folder, so that a later run knows it again."""
    shown: tuple[str, ...] = ()
    """Fields of the summary that the overview shows."""
    cwd: str = "."
    """Folder that relative paths start from."""

    def is_done(self) -> bool:
        """Whether the folder is there and was made from the same source and options."""
        try:
            return (self.out / STAMP).read_text(encoding="utf-8") == self.stamp
        except (OSError, UnicodeDecodeError):
            return False

    def mark(self) -> tuple[int, int] | None:
        """Tell the folder that is there from one that replaces it; None where there is none."""
        try:
            status = (self.out / STAMP).stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns


@dataclass(frozen=True)
class Outcome:
    """What became of one recording."""

    name: str
    source: str
    out: str
    state: Literal["done", "kept", "failed"]
    """done: in this run; kept: by an earlier run from the same source and options."""
    figures: dict[str, Figure]
    """Some fields of its summary."""
    error: str = ""
    """Why it failed, in one line; empty where it did not."""
    traceback: str = ""
    """Where an error without a known cause arose; empty for known ones."""
    notes: tuple[str, ...] = ()
    """What the verb said of it."""
    attempts: int = 1
    """2 where a worker process was killed and the recording was tried again."""
    seconds: float = 0.0
    """Wall time of the last attempt."""
    report: str = ""
    """Its report, inside the folder of all recordings; empty where the verb writes none."""


def attempt(job: Job) -> Outcome:
    """Do the work of one recording on one core; whatever goes wrong is in the outcome."""
    import cv2

    cv2.setNumThreads(1)
    os.chdir(job.cwd)
    start, notes = time.perf_counter(), list[str]()
    state: Literal["done", "failed"] = "failed"
    figures, error, trace = dict[str, Figure](), "", ""
    try:
        with stamped(job.stamp):
            summary = job.work(**job.keywords, watcher=Watcher(note=notes.append))
        state, figures = "done", _figures(summary, job.shown)
    except Exception as caught:  # one recording must not stop the others
        error, trace = _in_one_line(caught)
    seconds = round(time.perf_counter() - start, 3)
    return Outcome(
        name=job.name,
        source=job.source,
        out=str(job.out),
        state=state,
        figures=figures,
        error=error,
        traceback=trace,
        notes=tuple(notes),
        seconds=seconds,
    )


def not_run(job: Job, state: Literal["done", "kept", "failed"], *, error: str = "") -> Outcome:
    """Return the outcome of a job that no worker answered for."""
    return Outcome(job.name, job.source, str(job.out), state, {}, error=error)


@contextmanager
def one_core() -> Iterator[None]:
    """Let processes that start meanwhile use one core each, unless the user set OMP_NUM_THREADS."""
    before = {name: os.environ.get(name) for name in ONE_CORE}
    threads = os.environ.get("OMP_NUM_THREADS", "1")
    os.environ.update({name: threads for name, value in before.items() if value is None})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)


def _figures(summary: Any, shown: tuple[str, ...]) -> dict[str, Figure]:
    """Pick fields of a summary; that of `prepare` holds a record for each sequence, here one."""
    record = summary.sequences[0] if hasattr(summary, "sequences") else summary
    return {name: getattr(record, name) for name in shown}


def _in_one_line(error: Exception) -> tuple[str, str]:
    """Return an error in one line, and for one without a known cause where it arose."""
    from depthkit.pipelines.doctor.packages import find_package

    if isinstance(error, DepthkitError | OSError):
        return str(error), ""
    package = find_package(getattr(error, "name", None) or "")
    if isinstance(error, ModuleNotFoundError) and package is not None:
        return f"{package.distribution} is not installed; run: {package.install_line}", ""
    return f"{type(error).__name__}: {error}", traceback.format_exc()
