# SPDX-License-Identifier: Apache-2.0
"""A slot for the newest frame, and the worker thread that processes it.

The executor's callback only puts a message into the slot. A message not taken by then is stale and
is overwritten, so the age stays at half a frame plus one run of the network at any rate. A slot
with more places evens out work whose frames take unequal times.
"""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class LatestSlot(Generic[T]):
    """A place for the newest item, or few of them, shared by one producer and one consumer."""

    def __init__(self, capacity: int = 1) -> None:
        """Start empty.

        Args:
            capacity: number of items that wait, in order; one more drops the oldest.
        """
        self._capacity = capacity
        self.dropped = 0
        """Number of items dropped before they were taken."""
        self._changed = threading.Condition()
        self._items: list[T] = []
        self._open = True

    def put(self, item: T) -> bool:
        """Store an item; True when it dropped one. A closed slot stores nothing."""
        with self._changed:
            if not self._open:
                return False
            dropped = len(self._items) >= self._capacity
            self.dropped += dropped
            self._items = [*self._items[dropped:], item]
            self._changed.notify()
            return dropped

    def take(self, timeout: float) -> T | None:
        """Wait for an item, at most `timeout` seconds; None when none came or the slot closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or not self._open, timeout)
            return self._items.pop(0) if self._items else None

    def clear(self) -> None:
        """Drop the item without counting it."""
        with self._changed:
            self._items = []

    def close(self) -> None:
        """Drop the item, let `take` return at once and refuse new items."""
        with self._changed:
            self._open = False
            self._items = []
            self._changed.notify_all()

    def open(self) -> None:
        """Accept items again after `close`."""
        with self._changed:
            self._open = True


class Worker(Generic[T]):
    """A thread that passes the items of a slot to a function, one at a time."""

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
            slot: source of the items; the worker opens and closes it.
            handle: function that processes an item.
            on_error: called with an exception of `handle`; the worker continues with the next item.
            name: name of the thread, for debuggers.
        """
        self._slot, self._handle, self._on_error, self._name = slot, handle, on_error, name
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._one_at_a_time = threading.Lock()

    def start(self) -> None:
        """Open the slot and start the thread, if it is not running yet."""
        if self._thread is not None:
            return
        self._slot.open()
        self._stopping = threading.Event()
        # A daemon thread: a driver that hangs inside `handle` must not keep the process alive.
        self._thread = threading.Thread(
            target=self._run, args=(self._stopping,), name=self._name, daemon=True
        )
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> bool:
        """Close the slot and wait for the current item, at most `timeout` seconds.

        Returns:
            False if the thread is still busy; it ends by itself after its item.
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
            with self._one_at_a_time:  # a thread that outlived `stop` may still be inside
                self._handle(item)
        except Exception as error:  # one failing frame must not end the worker
            self._on_error(error)
