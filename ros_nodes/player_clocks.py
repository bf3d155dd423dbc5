# SPDX-License-Identifier: Apache-2.0
"""Stamps of a recording that are of several clocks, or fit no message.

A camera may count from boot while odometry has the time of day. When each was recorded tells how
they go together.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from depthkit.data.bag import header_stamp, read_recorded
from depthkit.errors import DataError
from ros_nodes.player_config import PlayerConfig

SAME_CLOCK = 5 * 10**9
"""Nanoseconds that an image may be old when it is recorded; more is another clock."""
CLOCK_JUMP = 3600 * 10**9
"""Nanoseconds by which one stamp may leave its clock; from there on its recording counts."""
MOST_STAMP = 2**31 * 10**9
"""Nanoseconds from which on a stamp of ROS cannot say a time."""
UNSTAMPED = "geometry_msgs/msg/Twist"
"""The one type without a header."""


@dataclass(frozen=True)
class ImageClock:
    """The clock of the images of a bag."""

    topic: str
    first: int
    """Stamp of the first image, nanoseconds."""
    lag: int
    """From that to its recording, nanoseconds."""
    length: int
    """Length of the recording from there on, nanoseconds."""


def other_clocks(
    bag: Path, topics: Collection[str], images: ImageClock
) -> tuple[dict[str, int], list[str]]:
    """Find the topics whose stamps are of another clock than those of the images.

    Args:
        bag: the bag.
        topics: names of what else is played.
        images: what their stamps are compared with.

    Returns:
        What to add to the stamps of such a topic, nanoseconds; and a line for each.
    """
    wanted, clocks, notes = set(topics), dict[str, int](), list[str]()
    for message in read_recorded(bag, topics):
        if not wanted:
            break
        if message.topic not in wanted:
            continue
        wanted.discard(message.topic)
        first = 0 if message.type == UNSTAMPED else header_stamp(message.data) or 0
        apart = message.received - first - images.lag
        if first and abs(apart) >= SAME_CLOCK:
            clocks[message.topic] = apart
            notes.append(_two_clocks(message.topic, first, images))
    return clocks, notes


def _two_clocks(topic: str, first: int, images: ImageClock) -> str:
    spans = (
        f"{1e-9 * start:.3f} to about {1e-9 * (start + images.length):.3f} s"
        for start in (images.first, first)
    )
    return (
        f"images are stamped {next(spans)}, {topic} {next(spans)}: two clocks; with stamps 'now' "
        "their times of recording join them, with 'source' they go out as recorded"
    )


def stamp_or_recording(stamp: int, received: int, shift: int) -> int:
    """Return the stamp of a message by the clock of the images, nanoseconds.

    Args:
        stamp: by that clock, as far as it can be trusted.
        received: time of its recording.
        shift: from that clock to the time of recording.
    """
    return stamp if abs(stamp + shift - received) <= CLOCK_JUMP else received - shift


def stamps_that_fit(config: PlayerConfig, stamps: list[int]) -> list[int]:
    """Count from the first frame where a message cannot say the times of a source, nanoseconds.

    Raises:
        DataError: it cannot, and the source's own times are asked for.
    """
    if min(stamps) >= 0 and max(stamps) < MOST_STAMP:
        return stamps
    if config.stamps == "source":
        raise DataError(
            f"{config.source}: its times, {1e-9 * stamps[0]:.3f} to {1e-9 * stamps[-1]:.3f} s, do "
            "not fit the stamp of a message (0 to 2^31 s); play it with stamps now"
        )
    return [stamp - stamps[0] for stamp in stamps]
