# SPDX-License-Identifier: Apache-2.0
"""What of `/diagnostics` is written to the log: each trouble when it is new, and its end."""

import re
import threading
import time
from collections.abc import Callable
from typing import Any, Literal

Level = Literal["ok", "warn", "error"]

AGAIN = 30.0  # seconds after which a trouble that is still there is written once more
STANDS = 0.9  # seconds that a trouble must last: a first frame without a past is none
OPENING = 3.0  # seconds from the start in which others may still be about to come
NUMBER = re.compile(r"\d[\d.]*")


class Notices:
    """Keeps log and `/diagnostics` of one mind; messages that differ in numbers are the same."""

    def __init__(self, log: Any, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Set up.

        Args:
            log: of the node.
            clock: steady seconds.
        """
        self._log, self._clock = log, clock
        self._lock = threading.Lock()
        self._said: dict[tuple[str, Level, str], float] = {}
        self._standing: dict[str, tuple[Level, str, float]] = {}
        self._well: dict[str, str] = {}
        self._troubled: set[str] = set()
        self._opens = self._clock()

    def begin(self) -> None:
        """Be patient with what has just been started."""
        with self._lock:
            self._standing.clear()
            self._opens = self._clock()

    def look(self, task: str, level: Level, message: str, *, begins: bool = False) -> None:
        """Write what a task says, where it is new.

        Args:
            task: of the node.
            level: ok where all is well: written after a trouble that was.
            message: one line.
            begins: write also what is well and new.
        """
        with self._lock:
            if level == "ok":
                self._standing.pop(task, None)
                self._look_at_good(task, message, begins)
            elif self._lasts(task, level, message):
                self._write(task, level, message)

    def say(self, task: str, level: Level, message: str) -> bool:
        """Write a trouble at once; False where it was written a moment ago."""
        with self._lock:
            return self._write(task, level, message)

    def _lasts(self, task: str, level: Level, message: str) -> bool:
        now, shape = self._clock(), NUMBER.sub("#", message)
        *before, since = self._standing.get(task, ("ok", "", now))
        if before != [level, shape]:
            since = now
        self._standing[task] = level, shape, since
        return now - since >= STANDS and now - self._opens >= OPENING

    def _look_at_good(self, task: str, message: str, begins: bool) -> None:
        shape = NUMBER.sub("#", message)
        is_new = begins and shape != self._well.get(task) and self._is_due((task, "ok", shape))
        if is_new or task in self._troubled:
            self._well[task] = shape
            self._troubled.discard(task)
            self._log.info(f"{task}: {message}")

    def _write(self, task: str, level: Level, message: str) -> bool:
        if not self._is_due((task, level, NUMBER.sub("#", message))):
            return False
        self._troubled.add(task)
        text = f"{task}: {message}"
        if level == "error":  # a line each: a logger of ROS allows one severity a line of code
            self._log.error(text)
        else:
            self._log.warning(text)
        return True

    def _is_due(self, key: tuple[str, Level, str]) -> bool:
        now = self._clock()
        if now - self._said.get(key, -AGAIN) < AGAIN:
            return False
        self._said[key] = now
        return True
