# SPDX-License-Identifier: Apache-2.0
"""An iterator that a separate thread runs ahead of its reader, by a bounded number of items."""

import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
CLOSING = 5.0  # seconds that `close` waits for a source that hangs


class ReadAhead(Generic[T]):
    """Items of an iterable in order, produced ahead of their use.

    One thread runs and closes the iterable; its exceptions are raised in the reader.
    """

    def __init__(self, items: Iterable[T], size: int) -> None:
        """Begin to read.

        Args:
            items: iterable, run on the thread.
            size: largest number of waiting items.
        """
        self._items, self._size = items, size
        self._ready: deque[T] = deque()
        self._changed = threading.Condition()
        self._done, self._closed = False, False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._read, name="read-ahead", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ready or self._done or self._closed)
                if self._closed or not self._ready:
                    break
                item = self._ready.popleft()
                self._changed.notify_all()
            yield item
        if self._error is not None and not self._closed:
            raise self._error

    def close(self) -> None:
        """Release reader and writer, and drop the waiting items."""
        with self._changed:
            self._closed = True
            self._ready.clear()
            self._changed.notify_all()
        self._thread.join(CLOSING)

    def _read(self) -> None:
        try:
            for item in self._items:
                if not self._put(item):
                    break
            if isinstance(self._items, Generator):
                self._items.close()  # resources are released by the thread that opened them
        except BaseException as error:  # raised in the reader
            self._error = error
        with self._changed:
            self._done = True
            self._changed.notify_all()

    def _put(self, item: T) -> bool:
        """Wait for a free place; False once closed."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._ready) < self._size or self._closed)
            self._ready.append(item)
            self._changed.notify_all()
            return not self._closed
