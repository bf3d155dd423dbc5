# SPDX-License-Identifier: Apache-2.0
"""Jobs as tasks of a Ray cluster, one core each; on this machine alone with the address `local`.

The machines of a cluster have the same depthkit, and the folders of sources and output under the
same paths.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from depthkit.errors import EngineError
from depthkit.installation import install_line
from depthkit.pipelines.recordings.job import Job, Outcome, attempt, one_core

LOCAL = "local"
PATIENCE = 10.0  # seconds that a cluster gets to answer
STORE = 100 * 2**20  # bytes of shared memory: the tasks exchange a few kilobytes


class Cluster:
    """Tasks at work on a cluster."""

    def __init__(self, address: str, workers: int | None) -> None:
        """Start a cluster here, or connect to one.

        Args:
            address: local, auto, or HOST:PORT of a running cluster.
            workers: tasks at a time; None for as many as the cluster has cores.

        Raises:
            EngineError: Ray is not installed, or no cluster answers.
        """
        self._ray = _import_ray()
        self._workers = workers
        self._is_ours = not self._ray.is_initialized()
        if self._is_ours:
            _start(self._ray, address, workers)
        # A fresh process for each task, as on this machine alone; tries are counted above.
        self._task = self._ray.remote(num_cpus=1, max_retries=0, max_calls=1)(attempt)
        self._running: dict[Any, Job] = {}

    @property
    def running(self) -> int:
        """Jobs that were handed over and have not ended."""
        return len(self._running)

    @property
    def has_room(self) -> bool:
        """Whether another job can be handed over; Ray itself keeps those that find no core."""
        return self._workers is None or self.running < self._workers

    def start(self, job: Job) -> None:
        """Hand a job over."""
        self._running[self._task.remote(job)] = job

    def next(self) -> tuple[Job, Outcome | str]:
        """Wait for a job to end: its outcome, or how its worker ended without one."""
        (ready,), _ = self._ray.wait(list(self._running), num_returns=1)
        job = self._running.pop(ready)
        try:
            return job, self._ray.get(ready)
        except self._ray.exceptions.RayError as error:
            return job, _how_it_ended(error)

    def close(self) -> None:
        """Leave the cluster, which ends what is still at work; stop it where it was started here.

        A cluster that the caller connected to before stays connected.
        """
        for task in self._running:
            self._ray.cancel(task, force=True)
        self._running.clear()
        if self._is_ours:
            self._ray.shutdown()


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anyone
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # GPUs are left as they are
    try:
        import ray
    except ModuleNotFoundError:
        raise EngineError(f"ray is not installed; run: {install_line('cluster')}") from None
    return ray


def _start(ray: Any, address: str, workers: int | None) -> None:
    """Start Ray on this machine, or connect to a cluster."""
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address == LOCAL:
            cores = workers or len(os.sched_getaffinity(0))
            here = {"num_cpus": cores, "include_dashboard": False, "object_store_memory": STORE}
            with one_core(), _same_path():
                ray.init(address=LOCAL, **here, **quiet)
        else:
            _check_answers(address)
            ray.init(address=address, **quiet)
    except (OSError, RuntimeError, ValueError) as error:
        raise EngineError(f"--ray {address}: no cluster: {_first_line(error)}") from None


def _check_answers(address: str) -> None:
    """Refuse an address where nobody listens, for which Ray would wait many minutes.

    Raises:
        OSError: nobody listens there.
        ValueError: it is no address.
    """
    if address == "auto":
        return  # Ray looks for a cluster of this machine, and says at once that there is none
    place = urlsplit(address if "://" in address else f"//{address}")
    if place.hostname is None or place.port is None:
        raise ValueError("expected HOST:PORT, auto or local")
    socket.create_connection((place.hostname, place.port), timeout=PATIENCE).close()


@contextmanager
def _same_path() -> Iterator[None]:
    """Let processes that start meanwhile find the modules that this one finds."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def _how_it_ended(error: Exception) -> str:
    kind = type(error).__name__
    if kind == "WorkerCrashedError":
        return "its worker was killed (out of memory?)"
    return f"its worker failed: {kind}: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
