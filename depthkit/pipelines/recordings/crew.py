# SPDX-License-Identifier: Apache-2.0
"""Jobs side by side, on this machine or on a Ray cluster; a killed worker costs one job's retry."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Protocol

from depthkit.pipelines.recordings.job import Job, Outcome, not_run

ATTEMPTS = 2
"""How often a job is started whose worker is killed."""


class Crew(Protocol):
    """Workers that take jobs and hand back outcomes."""

    @property
    def running(self) -> int:
        """Jobs at work."""

    @property
    def has_room(self) -> bool:
        """Whether another job can start."""

    def start(self, job: Job) -> None:
        """Begin a job."""

    def next(self) -> tuple[Job, Outcome | str]:
        """Wait for a job to end: its outcome, or how its worker ended without one."""

    def close(self) -> None:
        """End what is still at work."""


def run_all(jobs: Iterable[Job], *, workers: int | None = None, ray: str = "") -> Iterator[Outcome]:
    """Run jobs side by side and pass on each outcome when it is there.

    Args:
        jobs: in the order to start them in.
        workers: jobs at a time; None for one on this machine, for all cores of a cluster.
        ray: address of a Ray cluster, or local for one on this machine; empty for processes.

    Raises:
        EngineError: Ray is not installed, or no cluster answers.
    """
    waiting = deque((job, 1) for job in jobs)
    if not waiting:
        return
    crew = _open_crew(workers, ray)
    tries, before = dict[str, int](), {job.name: job.mark() for job, _ in waiting}
    try:
        while waiting or crew.running:
            while waiting and crew.has_room:
                job, tries[job.name] = waiting.popleft()
                crew.start(job)
            job, outcome = crew.next()
            count = tries[job.name]
            if isinstance(outcome, Outcome):
                yield replace(outcome, attempts=count)
            elif job.is_done() and job.mark() != before[job.name]:
                yield replace(not_run(job, "done"), attempts=count)  # killed after its last file
            elif count < ATTEMPTS:
                waiting.appendleft((job, count + 1))
            else:
                error = f"{outcome}, {count} times"
                yield replace(not_run(job, "failed", error=error), attempts=count)
    finally:
        crew.close()


def _open_crew(workers: int | None, ray: str) -> Crew:
    if ray:
        from depthkit.pipelines.recordings.cluster import Cluster

        return Cluster(ray, workers)
    from depthkit.pipelines.recordings.processes import Processes

    return Processes(workers or 1)
