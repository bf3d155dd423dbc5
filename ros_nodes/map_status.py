# SPDX-License-Identifier: Apache-2.0
"""Status of the map node's output, for `/diagnostics`."""

import threading
import time
from collections.abc import Mapping

from ros_nodes.life.monitor import Level, Quantiles, Rate, Status
from ros_nodes.map_world import MapWorld

SILENT = 5.0  # seconds without a frame after which the last message is no news


class MapFigures:
    """Counters of used and refused frames and their timing; one thread writes, another reads."""

    def __init__(self) -> None:
        self.used = self.refused = self.left_out = self.idle = self.resets = 0
        self._rate, self._time = Rate(), Quantiles()
        self._refusal = ""
        self._lock = threading.Lock()
        self._last: tuple[float, Level, str] = (time.monotonic(), "warn", "no frame yet")

    def note_used(self, total_ms: float) -> None:
        """Count a frame in the map, and its time from taking the message to the end."""
        self.used += 1
        self._rate.tick(time.monotonic())
        self._time.add(total_ms)
        self._tell("ok", "maps")

    def note_refused(self, reason: str) -> None:
        """Count a frame that was left out for a reason."""
        self.refused, self._refusal = self.refused + 1, reason
        self._tell("warn", f"a frame is left out: {reason}")

    def note_idle(self) -> None:
        """Count a frame without subscribers."""
        self.idle += 1
        self._tell("ok", "idle: nobody subscribes, so nothing is computed")

    def status(
        self, now: float, world: MapWorld, *, sent: Mapping[str, int], dropped: int
    ) -> Status:
        """Return the status of the output.

        Args:
            now: steady time, seconds.
            world: surface and grid.
            sent: number of messages by topic.
            dropped: number of depth images overwritten by newer ones before they were used.
        """
        with self._lock:
            at, level, message = self._last
        surface = world.surface
        if now - at > SILENT:
            level, message = "warn", f"no frame for {now - at:.0f} s; the last: {message}"
        elif level == "ok" and surface.dropped:
            level = "warn"
            message = f"{message}; the map is full, {surface.dropped} far blocks were dropped"
        values: dict[str, str | float | int] = {"input_hz": round(self._rate.hz(now), 2)}
        for percent in (50, 95):
            figure = self._time.at(percent)
            if figure is not None:
                values[f"frame_p{percent}_ms"] = round(figure, 2)
        values |= {"used": self.used, "refused": self.refused, "left_out": self.left_out}
        values |= {"dropped": dropped, "idle": self.idle, "resets": self.resets}
        values |= {"blocks": len(surface), "blocks_dropped": surface.dropped}
        values |= {"grid_cropped": world.grid.cropped, "corrections": world.corrections}
        values |= {f"sent_{topic}": count for topic, count in sent.items()}
        return Status(level, message, values | {"last_refusal": self._refusal})

    def _tell(self, level: Level, message: str) -> None:
        with self._lock:
            self._last = time.monotonic(), level, message
