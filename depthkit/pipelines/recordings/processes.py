# SPDX-License-Identifier: Apache-2.0
"""Jobs in processes of this machine, a fresh one for each: a killed one takes no other with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from depthkit.pipelines.recordings.job import Job, Outcome, attempt, one_core

PATIENCE = 5.0  # seconds that a process gets to remove its half-written folder


class Processes:
    """Up to `workers` processes at work."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._context = multiprocessing.get_context("spawn")
        self._running: dict[Connection, tuple[Job, BaseProcess]] = {}

    @property
    def running(self) -> int:
        """Jobs at work."""
        return len(self._running)

    @property
    def has_room(self) -> bool:
        """Whether another job can start."""
        return self.running < self.workers

    def start(self, job: Job) -> None:
        """Begin a job."""
        ours, theirs = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_work, args=(job, theirs), daemon=False)
        with one_core():
            process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        self._running[ours] = job, process

    def next(self) -> tuple[Job, Outcome | str]:
        """Wait for a job to end: its outcome, or how its process ended without one."""
        ready: Any = wait(list(self._running))[0]
        job, process = self._running.pop(ready)
        try:
            outcome: Outcome | str = ready.recv()
        except (EOFError, OSError):
            process.join()
            outcome = _how_it_ended(process.exitcode or 0)
        ready.close()
        process.join()
        return job, outcome

    def close(self) -> None:
        """End what is still at work, as after Ctrl-C."""
        for _, process in self._running.values():
            process.terminate()
        for _, process in self._running.values():
            process.join(PATIENCE)
            process.kill()
        self._running.clear()


def _work(job: Job, answer: Connection) -> None:
    """Do a job and answer: what the process runs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # half-written folders are removed
    threading.Thread(target=_end_with_parent, daemon=True).start()
    answer.send(attempt(job))


def _end_with_parent() -> None:
    """Leave no process behind that would write beside those of the next run."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _how_it_ended(code: int) -> str:
    if code < 0:
        memory = " (out of memory?)" if -code == signal.SIGKILL else ""
        return f"its process was killed by {signal.Signals(-code).name}{memory}"
    return f"its process ended with exit code {code}"
