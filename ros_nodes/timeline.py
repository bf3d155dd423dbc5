# SPDX-License-Identifier: Apache-2.0
"""Mapping from the time of a recording to the time of playing it."""

from dataclasses import dataclass


@dataclass
class Timeline:
    """Mapping from source time to steady time and time of day."""

    first: int
    """Source time of the start, nanoseconds."""
    speed: float
    """Source time per real time."""
    begun: float
    """Steady time of `first`, seconds."""
    wall: int
    """Time of day of `first`, nanoseconds."""

    def due(self, at: int) -> float:
        """Return the steady time at which a source time is due, seconds."""
        return self.begun + 1e-9 * (at - self.first) / self.speed

    def stamp(self, at: int) -> int:
        """Return the time of day at which a source time is due, nanoseconds."""
        return self.wall + round((at - self.first) / self.speed)

    def position(self, now: float) -> int:
        """Return the source time at a steady time, nanoseconds."""
        return self.first + round(1e9 * (now - self.begun) * self.speed)

    def delay(self, seconds: float) -> None:
        """Shift everything that follows by a delay."""
        self.begun += seconds
        self.wall += round(1e9 * seconds)
