# SPDX-License-Identifier: Apache-2.0
"""A model that may not exist yet: opened at the start, or as soon as its file is usable."""

import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from depthkit.errors import DepthkitError

PERIOD = 2.0  # seconds between two tries


class Engine(Protocol):
    """An object that can be closed."""

    def close(self) -> None: ...


T = TypeVar("T", bound=Engine)


class ModelKeeper(Generic[T]):
    """Opens an engine, with retries; any thread may read it."""

    def __init__(
        self,
        open_engine: Callable[[], T],
        *,
        wait: bool,
        say: Callable[[str], object],
        period: float = PERIOD,
    ) -> None:
        """Try once.

        Args:
            open_engine: opens the engine, or raises a DepthkitError.
            wait: whether to keep the reason and retry after `start`, instead of raising.
            say: called once with each new reason.
            period: interval of the retries, seconds.

        Raises:
            DepthkitError: what `open_engine` raised, without `wait`.
        """
        self._open, self._say, self._period = open_engine, say, period
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.engine: T | None = None
        """Open engine; None while there is a `fault`."""
        self.fault = ""
        """Why there is no engine, one line."""
        self.tries = 0
        if wait:
            self._try()
        else:
            self.engine, self.tries = open_engine(), 1

    def start(self) -> None:
        """Retry on a separate thread, if there is no engine yet."""
        if self.engine is None and self._thread is None:
            self._stopping = threading.Event()
            self._thread = threading.Thread(
                target=self._keep_trying, args=(self._stopping,), name="model", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """End the retries; an open engine stays open."""
        thread, self._thread = self._thread, None
        self._stopping.set()
        if thread is not None:
            thread.join(timeout=5.0)

    def close(self) -> None:
        """Stop, and free the engine."""
        self.stop()
        engine, self.engine = self.engine, None
        if engine is not None:
            engine.close()

    def _keep_trying(self, stopping: threading.Event) -> None:
        while not stopping.wait(self._period):
            if self._try():
                return

    def _try(self) -> bool:
        self.tries += 1
        try:
            self.engine = self._open()
        except DepthkitError as error:
            if str(error) != self.fault:
                self._say(str(error))
            self.fault = str(error)
            return False
        self.fault = ""
        return True
