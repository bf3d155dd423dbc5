# SPDX-License-Identifier: Apache-2.0
"""Stamps of images: order, steps back in time, and offset from the clock."""

from depthkit.errors import DataError
from depthkit.ros_messages import seconds

FUTURE, PAST = 1.0, 5.0  # seconds by which a stamp may differ from the clock without a warning


class StampOrder:
    """Keeps the stamps of a stream rising; one thread at a time."""

    def __init__(self, max_step_back: float) -> None:
        """Start with no stamp.

        Args:
            max_step_back: largest step back of an image out of order, seconds.
        """
        self._max_step_back = max_step_back
        self._last: int | None = None
        self.epoch = 0
        """Number of times the stamps went back."""

    def check(self, stamp: int) -> None:
        """Check the next stamp, nanoseconds.

        Raises:
            DataError: the stamp repeats the last one, or is out of order.
        """
        back = 0.0 if self._last is None else seconds(self._last - stamp)
        if self._last is not None and stamp == self._last:
            raise DataError(f"stamp {seconds(stamp):.3f} s came before; the image is left out")
        if 0 < back <= self._max_step_back:
            raise DataError(f"stamp is {back:.3f} s older than the one before; the image is late")
        if back > 0:
            self.epoch += 1
        self._last = stamp


def stamp_fault(stamp: int, received: int) -> str:
    """Return a warning about a stamp that is used nevertheless; empty if it is plausible.

    Args:
        stamp: stamp of the image, nanoseconds; 0 means unset.
        received: time of arrival by the node's clock, nanoseconds.
    """
    if received == 0:
        return "the clock stands at 0: use_sim_time is set and no /clock has come"
    if stamp == 0:
        return "stamps are zero; the time of arrival is taken"
    age = seconds(received - stamp)
    if age > PAST:
        return f"stamps are {age:.1f} s old: a recording (use_sim_time?), or clocks that differ"
    if age < -FUTURE:
        return f"stamps are {-age:.1f} s in the future: clocks differ"
    return ""
