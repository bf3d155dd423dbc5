# SPDX-License-Identifier: Apache-2.0
"""What the player plays: an opened source."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ros_nodes.player_bag import Outgoing

LEAD = 5 * 10**8
"""Time before the first image at which playing begins, nanoseconds: for its motion."""
USUAL_PERIOD = 1 / 30
"""Duration of a source of one frame, seconds."""


@dataclass(frozen=True)
class Play:
    """An opened source."""

    topics: dict[str, Any]
    """Message class of each relative topic name."""
    first: int
    """Source time before which nothing is played, nanoseconds."""
    last: int
    """Source time of the end, at the latest, nanoseconds."""
    period: int
    """Time from the last frame to the first of the next loop, nanoseconds."""
    speed: float
    """Source time per real time at rate 1."""
    shift: int
    """Offset from a stamp to source time, nanoseconds; 0 if both have one clock."""
    words: str
    """Summary: number of images, size if known, and rate."""
    messages: Callable[[], Iterator[Outgoing]]
    """Function that reads the messages from the start."""
    notes: tuple[str, ...] = ()
    """Facts for the user: files that are cut short, clocks that differ."""

    @property
    def image_topic(self) -> str:
        """Relative topic name of the images."""
        return next(name for name in self.topics if name.startswith("image"))
