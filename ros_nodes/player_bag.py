# SPDX-License-Identifier: Apache-2.0
"""The messages of a bag as the player sends them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from depthkit.data.bag import Recorded, header_stamp, read_recorded
from ros_nodes.player_clocks import UNSTAMPED, stamp_or_recording

STATIC = "/tf_static"


@dataclass(frozen=True)
class Outgoing:
    """One message to be sent."""

    at: int
    """When, in the time of the source, nanoseconds."""
    stamp: int | None
    """When it was made by the clock of the images, nanoseconds; None where it has no header."""
    topic: str
    """Relative name: image, camera_info ..."""
    data: bytes
    """CDR."""
    problem: str = ""
    """Why there is nothing to send; empty where there is."""


def recorded(
    bag: Path,
    names: dict[str, str],
    first: int,
    shift: int = 0,
    clocks: Mapping[str, int] = MappingProxyType({}),
) -> Iterator[Outgoing]:
    """Read the messages of a bag as they are; what is latched comes first, wherever it begins.

    Args:
        bag: the bag.
        names: name in the bag -> relative name.
        first: time of recording before which nothing is read, nanoseconds.
        shift: from a stamp of the images to the time of recording, nanoseconds.
        clocks: name in the bag -> from its stamps to those of the images, nanoseconds.
    """
    latched = [message.data for message in read_recorded(bag, names.keys() & {STATIC})]
    for message in read_recorded(bag, names.keys() - {STATIC}, start=first):
        yield from (Outgoing(message.received, None, STATIC, data) for data in latched)
        latched = []
        one = _as_recorded(message, names[message.topic])
        if one.stamp is not None:
            stamp = one.stamp + clocks.get(message.topic, 0)
            one = replace(one, stamp=stamp_or_recording(stamp, message.received, shift))
        yield one


def _as_recorded(message: Recorded, topic: str) -> Outgoing:
    if message.type == UNSTAMPED:
        return Outgoing(message.received, None, topic, message.data)
    stamp = header_stamp(message.data)
    if stamp is None:
        problem = f"{message.topic}: message of {len(message.data)} bytes has no header"
        return Outgoing(message.received, None, topic, b"", problem)
    return Outgoing(message.received, stamp or message.received, topic, message.data)
