# SPDX-License-Identifier: Apache-2.0
"""What a terminal shows of a job at work: a bar with counts and the time left, notes above it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

    from depthkit import Watcher

NOTE = "depthkit: note: "


@contextmanager
def watching(prefix: str = NOTE, *, terminal_only: bool = True) -> Iterator[Watcher]:
    """Show a job's progress and notes on stderr.

    Args:
        prefix: before each note.
        terminal_only: draw the bar on a terminal alone; else its end is printed to files too.
    """
    from depthkit import Watcher

    bar = new_bar(terminal_only=terminal_only)

    def begin(name: str, total: int) -> None:
        bar.start()
        bar.add_task(name, total=total)

    def advance(count: int) -> None:
        bar.advance(bar.task_ids[-1], count)

    def note(text: str) -> None:
        bar.console.print(f"{prefix}{text}", markup=False, highlight=False, soft_wrap=True)

    try:
        yield Watcher(begin, advance, note)
    finally:
        if bar.live.is_started:  # else it would print an empty line before an error
            bar.stop()


def new_bar(*, terminal_only: bool) -> Progress:
    """Return a bar that has not started: an empty one would print an empty line above an error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Remaining())
    hidden = terminal_only and not console.is_terminal
    return Progress(*columns, console=console, disable=hidden)
