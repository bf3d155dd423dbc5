# SPDX-License-Identifier: Apache-2.0
"""The newest frame and the one thread that works on it.

The executor's callback only puts a message into the slot. What the worker has not taken by then is
stale and is overwritten: age stays at half a frame plus one run of the network, whatever the rate.
"""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class LatestSlot(Generic[T]):
    """One place for the newest item, shared by one producer and one consumer."""

    def __init__(self) -> None:
        self.dropped = 0
        """Items overwritten before they were taken."""
        self._changed = threading.Condition()
        self._items: list[T] = []
        self._open = True

    def put(self, item: T) -> bool:
        """Store an item; True when it overwrote one. A closed slot stores nothing."""
        with self._changed:
            if not self._open:
                return False
            overwrote = bool(self._items)
            self.dropped += overwrote
            self._items = [item]
            self._changed.notify()
            return overwrote

    def take(self, timeout: float) -> T | None:
        """Wait for an item, at most `timeout` seconds; None when none came or the slot closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or not self._open, timeout)
            return self._items.pop() if self._items else None

    def clear(self) -> None:
        """Forget the item without counting it."""
        with self._changed:
            self._items = []

    def close(self) -> None:
        """Forget the item, let `take` return at once and refuse what comes."""
        with self._changed:
            self._open = False
            self._items = []
            self._changed.notify_all()

    def open(self) -> None:
        """Take items again after `close`."""
        with self._changed:
            self._open = True


class Worker(Generic[T]):
    """A thread that hands each item of a slot to a function, one at a time."""

    def __init__(
        self,
        slot: LatestSlot[T],
        handle: Callable[[T], None],
        *,
        on_error: Callable[[Exception], None],
        name: str,
    ) -> None:
        """Set up; nothing runs before `start`.

        Args:
            slot: where items come from; the worker opens and closes it.
            handle: what is done with an item.
            on_error: told of what `handle` raised; the worker goes on with the next item.
            name: of the thread, for debuggers.
        """
        self._slot, self._handle, self._on_error, self._name = slot, handle, on_error, name
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._one_at_a_time = threading.Lock()

    def start(self) -> None:
        """Open the slot and start the thread; nothing happens when it runs already."""
        if self._thread is not None:
            return
        self._slot.open()
        self._stopping = threading.Event()
        # A daemon: a driver that hangs inside `handle` must not keep the process from ending.
        self._thread = threading.Thread(
            target=self._run, args=(self._stopping,), name=self._name, daemon=True
        )
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> bool:
        """Close the slot and wait for the item at work, at most `timeout` seconds.

        Returns:
            False when the thread is still busy; it ends by itself after its item.
        """
        thread, self._thread = self._thread, None
        if thread is None:
            return True
        self._stopping.set()
        self._slot.close()
        thread.join(timeout)
        return not thread.is_alive()

    def _run(self, stopping: threading.Event) -> None:
        while not stopping.is_set():
            item = self._slot.take(timeout=1.0)
            if item is not None:
                self._handle_one(item)

    def _handle_one(self, item: T) -> None:
        try:
            with self._one_at_a_time:  # a thread that stop gave up on may still be in it
                self._handle(item)
        except Exception as error:  # whatever one frame does, the next one gets its chance
            self._on_error(error)
