# SPDX-License-Identifier: Apache-2.0
"""Log entries from `/diagnostics`: each fault when it is new, and its end."""

import re
import threading
import time
from collections.abc import Callable
from typing import Any, Literal

Level = Literal["ok", "warn", "error"]

AGAIN = 30.0  # seconds after which a lasting fault is written again
STANDS = 0.9  # seconds a fault must last; shorter ones, as at a first frame, are not written
OPENING = 3.0  # seconds from the start without entries, as other nodes may still be starting
NUMBER = re.compile(r"\d[\d.]*")


class Notices:
    """Keeps the log consistent with `/diagnostics`; messages that differ only in numbers are
    equal."""

    def __init__(self, log: Any, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Set up.

        Args:
            log: logger of the node.
            clock: steady clock, seconds.
        """
        self._log, self._clock = log, clock
        self._lock = threading.Lock()
        self._said: dict[tuple[str, Level, str], float] = {}
        self._standing: dict[str, tuple[Level, str, float]] = {}
        self._well: dict[str, str] = {}
        self._troubled: set[str] = set()
        self._opens = self._clock()

    def begin(self) -> None:
        """Restart the opening time, in which nothing is written."""
        with self._lock:
            self._standing.clear()
            self._opens = self._clock()

    def look(self, task: str, level: Level, message: str, *, begins: bool = False) -> None:
        """Write the message of a task, if it is new.

        Args:
            task: task of the node.
            level: ok, warn or error; ok is written at the end of a fault.
            message: one line.
            begins: whether new messages of level ok are written too.
        """
        with self._lock:
            if level == "ok":
                self._standing.pop(task, None)
                self._look_at_good(task, message, begins)
            elif self._lasts(task, level, message):
                self._write(task, level, message)

    def say(self, task: str, level: Level, message: str) -> bool:
        """Write a fault at once; False if it was written recently."""
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
        if level == "error":  # separate lines: a ROS logger allows one severity per line of code
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
