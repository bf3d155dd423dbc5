# SPDX-License-Identifier: Apache-2.0
"""How fast a run goes and how long it will take, from the times at which its steps ended."""

import time
from collections.abc import Callable

LINE_EVERY = 10.0
"""Seconds between two lines of progress where there is no terminal."""
_MEASURED = 5  # steps after the first, which is cold, that the first estimate is made from


class Pace:
    """Times of one process's steps."""

    def __init__(
        self,
        *,
        start: int,
        steps: int,
        batch_size: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Begin to measure.

        Args:
            start: steps that were done before.
            steps: last step.
            batch_size: images a step, over all processes.
            clock: seconds.
        """
        self.start, self.step, self.steps, self.batch_size = start, start, steps, batch_size
        self.clock, self.began = clock, clock()
        self.first: float | None = None
        """When this process's first step ended; the time before it is spent on warming up."""
        self.lined: tuple[int, float] | None = None
        """Step and time of the last line of progress."""
        self.estimated = False

    @property
    def seconds(self) -> float:
        """Time since the beginning."""
        return self.clock() - self.began

    def advance(self, step: int) -> None:
        """Take in that a step has ended."""
        self.step = step
        if self.first is None:
            self.first = self.clock()

    def seconds_left(self) -> float | None:
        """Return how long the rest will take, by the mean of the steps so far; None of one step."""
        per_step = self._seconds_per_step()
        return None if per_step is None else per_step * (self.steps - self.step)

    def _seconds_per_step(self) -> float | None:
        counted = self.step - self.start - 1
        if self.first is None or counted < 1:
            return None
        return (self.clock() - self.first) / counted

    def estimate(self) -> str | None:
        """Return how long the run will take: once, as soon as a few steps are measured."""
        per_step = self._seconds_per_step()
        if self.estimated or per_step is None or self.first is None or self.step == self.steps:
            return None
        counted, most = self.step - self.start - 1, self.steps - self.start - 2
        if counted < min(_MEASURED, most) and self.clock() - self.first < LINE_EVERY:
            return None
        self.estimated = True
        count = self.steps - self.start
        return f"about {duration_text(per_step * count)} for {count} steps on this machine"

    def line(self) -> str | None:
        """Return a line of progress where one is due: at the first and last step, every 10 s."""
        now = self.clock()
        is_end = self.lined is None or self.step == self.steps
        if not is_end and self.lined is not None and now - self.lined[1] < LINE_EVERY:
            return None
        parts = [f"step {self.step} of {self.steps} ({100 * self.step // self.steps} %)"]
        since = self.lined
        if since is not None and now > since[1]:
            rate = (self.step - since[0]) * self.batch_size / (now - since[1])
            parts.append(f"{rate:.1f} images/s")
        left = self.seconds_left()
        if left is not None and self.step < self.steps:
            parts.append(f"{duration_text(left)} left")
        self.lined = (self.step, now)
        return "  ".join(parts)


def duration_text(seconds: float) -> str:
    """Write a duration for a reader, such as "45 s", "12 min" or "3.5 h"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
