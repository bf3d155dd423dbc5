# SPDX-License-Identifier: Apache-2.0
"""Progress and notes of a long job: the job prints nothing, its caller decides what to show."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Watcher:
    """Callbacks of a job; each does nothing unless given."""

    begin: Callable[[str, int], None] = lambda name, total: None
    """A stage begins: its name, and how many steps it has."""
    advance: Callable[[int], None] = lambda count: None
    """So many more steps of the stage are done."""
    note: Callable[[str], None] = lambda text: None
    """One sentence that the user should read."""

    def track(self, items: Iterable[T], name: str, total: int) -> Iterator[T]:
        """Pass items on as a stage of their own, one step an item."""
        self.begin(name, total)
        for item in items:
            yield item
            self.advance(1)


SILENT = Watcher()
