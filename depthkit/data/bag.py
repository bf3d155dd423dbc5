# SPDX-License-Identifier: Apache-2.0
"""ROS bags (mcap, sqlite3, ROS 1): what is in one, and its messages one by one.

Messages are parsed by the definitions of the standard packages, which have the same bytes in every
distribution: a bag that carries none, or unknown ones beside them, is read all the same. rosbags
is an optional package, imported when a bag is opened.
"""

import struct
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from depthkit.data.bag_files import is_bag
from depthkit.data.bag_storage import (
    Recorded,
    Topic,
    open_parts,
    reason_of,
    rosbags_module,
    standard_types,
)
from depthkit.errors import DataError

__all__ = [
    "CAMERA_INFO",
    "COMPRESSED_IMAGE",
    "Contents",
    "IMAGE",
    "NO_TOPIC",
    "ODOMETRY",
    "Recorded",
    "TRANSFORMS",
    "Topic",
    "choose_topic",
    "header_stamp",
    "is_bag",
    "parse",
    "read_contents",
    "read_recorded",
    "rosbags_module",
    "standard_types",
    "with_stamp",
]

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
ODOMETRY = "nav_msgs/msg/Odometry"
TRANSFORMS = "tf2_msgs/msg/TFMessage"

NO_TOPIC = "none"
"""What stands for no topic at all where one can be named."""


@dataclass(frozen=True)
class Contents:
    """What a bag holds."""

    topics: tuple[Topic, ...]
    start: int
    """When the first message was recorded, nanoseconds."""
    end: int
    """And the last one."""
    notes: tuple[str, ...] = ()
    """What is wrong with its files, and how far they were read."""


def read_contents(path: Path) -> Contents:
    """List the topics of a bag.

    Raises:
        DataError: it cannot be opened or holds no message at all.
        EngineError: rosbags is not installed.
    """
    with open_parts(path) as (parts, notes):
        counts: Counter[tuple[str, str]] = Counter()
        for topic in (one for part in parts for one in part.topics):
            counts[topic.name, topic.type] += topic.count
        filled = [part for part in parts if any(topic.count for topic in part.topics)]
        if not filled:
            raise DataError(f"{path}: bag is empty (no message)")
        topics = tuple(Topic(*key, count) for key, count in sorted(counts.items()))
        start, end = min(part.start for part in filled), max(part.end for part in filled)
        return Contents(topics, start, end, tuple(notes))


def read_recorded(
    path: Path, topics: Collection[str], *, start: int | None = None
) -> Iterator[Recorded]:
    """Read the messages of some topics in the order in which they were recorded.

    Args:
        path: the bag.
        topics: their names.
        start: leave out what was recorded before, nanoseconds.

    Raises:
        DataError: the bag cannot be read, or is damaged behind its beginning.
        EngineError: rosbags is not installed.
    """
    with open_parts(path) as (parts, _):
        for part in parts:
            yield from part.read(topics, start)


def parse(message: Recorded) -> Any:
    """Return a message as an object with the fields of its definition.

    Raises:
        DataError: its bytes are no such message.
    """
    try:
        return standard_types().deserialize_cdr(message.data, message.type)
    except KeyError:
        raise DataError(f"unknown message type {message.type}") from None
    except Exception as error:  # rosbags leaves some errors of damaged bytes as they come
        raise DataError(f"{message.type} does not parse: {reason_of(error)}") from None


def header_stamp(data: bytes) -> int | None:
    """Return the stamp of a message that begins with a header, nanoseconds; None if too short."""
    if len(data) < 12:
        return None
    sec, nanosec = struct.unpack_from(f"{_order(data)}iI", data, 4)
    return int(sec) * 10**9 + int(nanosec)


def with_stamp(data: bytes, stamp: int) -> bytes:
    """Return a message that begins with a header, the stamp in its bytes replaced.

    Args:
        data: CDR of 12 bytes or more.
        stamp: nanoseconds.
    """
    sec, nanosec = divmod(stamp, 10**9)
    return b"".join((data[:4], struct.pack(f"{_order(data)}iI", sec, nanosec), data[12:]))


def choose_topic(
    bag: Path, topics: Collection[Topic], types: tuple[str, ...], wanted: str, *, option: str
) -> str | None:
    """Return the topic of some message types that is meant; None without one.

    Args:
        bag: for the message.
        topics: of the bag.
        types: of messages.
        wanted: name the user gave; empty for the only one, 'none' for none of them.
        option: how to give it, for the message.

    Raises:
        DataError: the wanted one is not there, or there are several to choose from.
    """
    if wanted == NO_TOPIC:
        return None
    names = [topic.name for topic in topics if topic.type in types and topic.count]
    if wanted:
        name = f"/{wanted.lstrip('/')}"
        if name not in names:
            held = ", ".join(names) or "none"
            raise DataError(f"{bag}: no topic {name} of {' or '.join(types)}; it holds {held}")
        return name
    if len(names) > 1:
        raise DataError(
            f"{bag}: holds {len(names)} topics of {types[0]} ({', '.join(names)}); pick one with "
            f"{option}"
        )
    return names[0] if names else None


def _order(data: bytes) -> str:
    """Return the byte order of a message, as `struct` writes it: the second byte says it."""
    return "<" if data[1] & 1 else ">"
