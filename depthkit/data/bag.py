# SPDX-License-Identifier: Apache-2.0
"""ROS 2 bags (sqlite3, mcap), read with rosbags: what is in one, and its messages one by one.

Messages are parsed by the definitions of the standard packages, which have the same bytes in every
distribution: a bag that carries none, or unknown ones beside them, is read all the same. rosbags
is an optional package, imported when a bag is opened.
"""

import importlib
import struct
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from depthkit.errors import DataError, EngineError
from depthkit.installation import install_line

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
ODOMETRY = "nav_msgs/msg/Odometry"
TRANSFORMS = "tf2_msgs/msg/TFMessage"

NO_TOPIC = "none"
"""What stands for no topic at all where one can be named."""

SUFFIXES = (".mcap", ".db3")
_METADATA = "metadata.yaml"
_METADATA_KEY = b"rosbag2_bagfile_information"


@dataclass(frozen=True)
class Topic:
    """What was recorded under one name."""

    name: str
    """With its leading slash."""
    type: str
    """Such as sensor_msgs/msg/Image."""
    count: int
    """Messages."""


@dataclass(frozen=True)
class Contents:
    """What a bag holds."""

    topics: tuple[Topic, ...]
    start: int
    """When the first message was recorded, nanoseconds."""
    end: int
    """And the last one."""


@dataclass(frozen=True)
class Recorded:
    """One message as it was recorded."""

    topic: str
    type: str
    received: int
    """When it was recorded, nanoseconds."""
    data: bytes
    """CDR, with its four bytes of encapsulation."""


def is_bag(path: Path) -> bool:
    """Say whether a path looks like a bag: a folder with its metadata.yaml, or a storage file."""
    if path.is_file():
        return path.suffix.lower() in (*SUFFIXES, ".bag")
    metadata = path / _METADATA
    if metadata.is_file():
        return _METADATA_KEY in metadata.read_bytes()
    return path.is_dir() and bool(_storage_files(path))


def read_contents(path: Path) -> Contents:
    """List the topics of a bag.

    Raises:
        DataError: it cannot be opened or holds no message at all.
        EngineError: rosbags is not installed.
    """
    with _open(path) as reader:
        counts: dict[tuple[str, str], int] = {}
        for one in reader.connections:  # one topic has several when its publishers differ
            key = (one.topic, one.msgtype)
            counts[key] = counts.get(key, 0) + one.msgcount
        if not sum(counts.values()):
            raise DataError(f"{path}: bag is empty (no message)")
        topics = tuple(Topic(*key, count) for key, count in sorted(counts.items()))
        return Contents(topics, reader.start_time, reader.end_time - 1)


def read_recorded(
    path: Path, topics: Collection[str], *, start: int | None = None
) -> Iterator[Recorded]:
    """Read the messages of some topics in the order in which they were recorded.

    Args:
        path: the bag.
        topics: their names.
        start: leave out what was recorded before, nanoseconds.

    Raises:
        DataError: the bag is damaged, cut short or of another kind.
        EngineError: rosbags is not installed.
    """
    with _open(path) as reader:
        chosen = [one for one in reader.connections if one.topic in topics]
        messages = iter(reader.messages(chosen, start=start) if chosen else ())
        while True:
            with _one_line(path):
                found = next(messages, None)
            if found is None:
                return
            connection, received, data = found
            yield Recorded(connection.topic, connection.msgtype, received, bytes(data))


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
        raise DataError(f"{message.type} does not parse: {_words(error)}") from None


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
    """Return the topic of some message types that is meant, None where there is none.

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


@cache
def standard_types() -> Any:
    """Return rosbags' definitions of the standard packages.

    Raises:
        EngineError: rosbags is not installed.
    """
    typesys = rosbags_module("typesys")
    return typesys.get_typestore(typesys.Stores.ROS2_JAZZY)


def rosbags_module(name: str) -> Any:
    """Import a part of rosbags.

    Raises:
        EngineError: it is not installed.
    """
    try:
        return importlib.import_module(f"rosbags.{name}")
    except ModuleNotFoundError as error:
        if error.name not in ("rosbags", f"rosbags.{name}"):
            raise
        raise EngineError(f"rosbags is not installed; run: {install_line('bag')}") from None


# --- opening -------------------------------------------------------------------------------------


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    rosbag2 = rosbags_module("rosbag2")
    with _one_line(path):
        reader = rosbag2.Reader(_storage(path))
        reader.open()
    try:
        yield reader
    finally:
        reader.close()


def _storage(path: Path) -> Path:
    """Return what rosbags opens: a folder with its metadata, or the one storage file."""
    if path.suffix.lower() == ".bag":
        raise DataError(
            f"{path}: is a ROS 1 bag; run 'rosbags-convert --src {path} --dst {path.stem}' and "
            "give its folder"
        )
    if not path.is_dir() or (path / _METADATA).is_file():
        return path
    files = _storage_files(path)
    if len(files) != 1:
        raise DataError(f"{path}: bag without {_METADATA}; run 'ros2 bag reindex {path}'")
    return files[0]


def _storage_files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())


@contextmanager
def _one_line(path: Path) -> Iterator[None]:
    """Turn whatever a damaged bag raises in rosbags into one line."""
    try:
        yield
    except (DataError, OSError):
        raise
    except Exception as error:  # of sqlite, zstd, struct, ruamel ...: the parts name no common base
        raise DataError(
            f"{path}: bag cannot be read ({_words(error)}); was its recording cut short?"
        ) from None


def _words(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def _order(data: bytes) -> str:
    """Return the byte order of a message, as `struct` writes it: the second byte says it."""
    return "<" if data[1] & 1 else ">"
