# SPDX-License-Identifier: Apache-2.0
"""Status of a node: `/diagnostics` at 1 Hz, the log, and the counters behind them."""

import math
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.timer import Timer

from ros_nodes.life.notices import Level as Level  # every status needs it
from ros_nodes.life.notices import Notices

_LEVELS: dict[Level, bytes] = {
    "ok": DiagnosticStatus.OK,
    "warn": DiagnosticStatus.WARN,
    "error": DiagnosticStatus.ERROR,
}


@dataclass(frozen=True)
class Status:
    """Status of one task of a node."""

    level: Level
    """Level: ok | warn | error."""
    message: str
    """One line: what is wrong and what to do, or that all is well."""
    values: Mapping[str, str | float | int] = field(default_factory=dict)
    """Values by name; the name ends in the unit."""


Provider = Callable[[float], Status]


class Monitor:
    """Publishes the status of each task of a node.

    Publishes: `/diagnostics` (diagnostic_msgs/DiagnosticArray), one status per task, named
    "<node>: <task>", every `period` seconds of the steady clock, also while simulated time stands
    still. New statuses are also written to the log.
    """

    def __init__(self, node: Node, *, period: float = 1.0) -> None:
        self._node, self._period = node, period
        self._providers: dict[str, Provider] = {}
        self._begins: set[str] = set()
        self._notices = Notices(node.get_logger())
        self._publisher: Publisher | None = None
        self._timer: Timer | None = None

    def add(self, task: str, provider: Provider, *, begins: bool = False) -> None:
        """Register the provider of a task's status.

        Args:
            task: name of the task.
            provider: function of steady time in seconds that returns the status.
            begins: whether new messages of level ok are logged too.
        """
        self._providers[task] = provider
        self._begins |= {task} if begins else set()

    def announce(self, task: str, status: Status) -> bool:
        """Write a fault to the log now; False if it was written recently."""
        return self._notices.say(task, status.level, status.message)

    def start(self) -> None:
        """Begin to publish, if not running yet."""
        if self._timer is not None:
            return
        self._notices.begin()
        self._publisher = self._node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._timer = self._node.create_timer(
            self._period, self.publish, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )

    def stop(self) -> None:
        """Stop publishing; `start` begins again."""
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
        if self._publisher is not None:
            self._node.destroy_publisher(self._publisher)
        self._timer = self._publisher = None

    def publish(self) -> None:
        """Publish one message now; the timer does this too."""
        if self._publisher is None:
            return
        now = time.monotonic()
        message = DiagnosticArray()
        message.header.stamp = self._node.get_clock().now().to_msg()
        statuses = {task: _query(provider, now) for task, provider in self._providers.items()}
        message.status = [self._message_of(task, status) for task, status in statuses.items()]
        self._publisher.publish(message)
        for task, status in statuses.items():
            begins = task in self._begins
            self._notices.look(task, status.level, status.message, begins=begins)

    def _message_of(self, task: str, status: Status) -> DiagnosticStatus:
        node = self._node.get_fully_qualified_name().lstrip("/")
        return DiagnosticStatus(
            level=_LEVELS[status.level],
            name=f"{node}: {task}",
            message=status.message,
            hardware_id=node,
            values=[KeyValue(key=key, value=_text(value)) for key, value in status.values.items()],
        )


def _query(provider: Provider, now: float) -> Status:
    try:
        return provider(now)
    except Exception as error:  # a timer callback that raises would end the node
        return Status("error", f"no status: {type(error).__name__}: {error}")


def _text(value: str | float | int) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


class Complaints:
    """Reports why a frame has no result; the worker of a node continues with the next one."""

    def __init__(
        self, node: Node, what: str, note: Callable[[str, Level], None], *, monitor: Monitor
    ) -> None:
        """Set up.

        Args:
            node: node whose log is used.
            what: name of the missing output, such as "depth".
            note: called with each reason and its level, for the status of the output.
            monitor: writes a bug to the log at once.
        """
        self._log, self._what, self._note, self._monitor = node.get_logger(), what, note, monitor

    def refuse(self, reason: str) -> None:
        """Report why a frame has no result."""
        self._note(reason, "warn")

    def bug(self, error: Exception) -> None:
        """Report a bug of depthkit; its traceback goes to the log at debug level."""
        line = " ".join(f"a bug, please report it: {type(error).__name__}: {error}".split())
        self._note(line, "error")
        if self._monitor.announce("output", Status("error", f"no {self._what}: {line}")):
            self._log.debug("".join(traceback.format_exception(error)))


# ---- counters: written by one thread, read by another ------------------------------------------


class Rate:
    """Rate of events over the last seconds."""

    def __init__(self, window: float = 5.0) -> None:
        """Average over `window` seconds."""
        self._window = window
        self._ticks: deque[float] = deque(maxlen=1000)
        self._lock = threading.Lock()

    def tick(self, now: float) -> None:
        """Count an event at steady time `now`, seconds."""
        with self._lock:
            self._ticks.append(now)

    def hz(self, now: float) -> float:
        """Return the rate; 0 before the second event and after a silent window."""
        with self._lock:
            ticks = [tick for tick in self._ticks if tick > now - self._window]
        if len(ticks) < 2 or ticks[-1] == ticks[0]:
            return 0.0
        span = ticks[-1] - ticks[0]
        # The time since the last event lowers the rate only once the next one is late.
        late = max(0.0, now - ticks[-1] - span / (len(ticks) - 1))
        return (len(ticks) - 1) / (span + late)


class Quantiles:
    """Quantiles of the last measurements."""

    def __init__(self, size: int = 300) -> None:
        """Keep the last `size` measurements."""
        self._values: deque[float] = deque(maxlen=size)
        self._lock = threading.Lock()

    def add(self, value: float) -> None:
        """Add a measurement."""
        with self._lock:
            self._values.append(value)

    def at(self, percent: float) -> float | None:
        """Return the nearest-rank quantile at 0 to 100 percent; None before any measurement."""
        with self._lock:
            ordered = sorted(self._values)
        if not ordered:
            return None
        return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


class Throttle:
    """Limits how often the same event is reported."""

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Let each key through once in `seconds`."""
        self._seconds, self._clock = seconds, clock
        self._said: dict[Hashable, float] = {}

    def ready(self, key: Hashable) -> bool:
        """Whether the key may be reported now; True restarts its interval."""
        now = self._clock()
        last = self._said.get(key)
        if last is not None and now - last < self._seconds:
            return False
        self._said[key] = now
        return True


class StopWatch:
    """Measures the stages of one frame, one after the other."""

    def __init__(self, started: float) -> None:
        """Start at a reading of `time.perf_counter`, seconds."""
        self._started, self._lap = started, time.perf_counter()

    def lap_ms(self) -> float:
        """Return the time since the last call, or since the watch was made, milliseconds."""
        before, self._lap = self._lap, time.perf_counter()
        return 1e3 * (self._lap - before)

    def total_ms(self) -> float:
        """Return the time since the start, milliseconds."""
        return 1e3 * (time.perf_counter() - self._started)
