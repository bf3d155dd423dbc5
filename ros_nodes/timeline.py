# SPDX-License-Identifier: Apache-2.0
"""When the times of a recording are played."""

from dataclasses import dataclass


@dataclass
class Timeline:
    """When the times of a source are played."""

    first: int
    """Time of the source at which it begins, nanoseconds."""
    speed: float
    begun: float
    """Steady time of `first`, seconds."""
    wall: int
    """Its time of day, nanoseconds."""

    def due(self, at: int) -> float:
        """Return the steady time of a time of the source, seconds."""
        return self.begun + 1e-9 * (at - self.first) / self.speed

    def stamp(self, at: int) -> int:
        """Return the time of day of a time of the source, nanoseconds."""
        return self.wall + round((at - self.first) / self.speed)

    def position(self, now: float) -> int:
        """Return the time of the source at a steady time, nanoseconds."""
        return self.first + round(1e9 * (now - self.begun) * self.speed)

    def delay(self, seconds: float) -> None:
        """Play the rest later."""
        self.begun += seconds
        self.wall += round(1e9 * seconds)
