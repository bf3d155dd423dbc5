# SPDX-License-Identifier: Apache-2.0
"""The messages in the files of a bag, as far as each can be read.

rosbags reads a file that is whole (mcap, sqlite3, ROS 1). One that is not, such as of a recorder
that was killed, is read from its beginning up to where it breaks off.
"""

import importlib
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

from depthkit.data.bag_files import PACKED, files_of, stem_of, suffix_of
from depthkit.data.bag_mcap import MAGIC, Damage, read_mcap, unzstd, zstd_module
from depthkit.data.bag_sqlite import has_log, read_rows
from depthkit.errors import DataError, EngineError
from depthkit.installation import install_line

_ZSTD = b"\x28\xb5\x2f\xfd"
"""First bytes of zstd data; CDR begins with a 0."""
FOXGLOVE_VIDEO = "foxglove_msgs/msg/CompressedVideo"
FFMPEG_PACKET = "ffmpeg_image_transport_msgs/msg/FFMPEGPacket"
_VIDEO_DEFINITIONS = {
    FOXGLOVE_VIDEO: "builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\n"
    "string format",
    FFMPEG_PACKET: "std_msgs/Header header\nint32 width\nint32 height\nstring encoding\n"
    "uint64 pts\nuint8 flags\nbool is_bigendian\nuint8[] data",
}
_MAGIC = {".mcap": MAGIC, ".db3": b"SQLite format 3\x00", ".bag": b"#ROSBAG V2.0"}
_RECOVER = {
    ".mcap": "'mcap recover {0} -o whole.mcap' makes it a whole file",
    ".db3": "'sqlite3 {0} .recover | sqlite3 whole.db3' and 'ros2 bag reindex' make it whole",
    ".bag": "'rosbag reindex {0}' may mend it",
}


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
class Recorded:
    """One message as it was recorded."""

    topic: str
    type: str
    received: int
    """When it was recorded, nanoseconds."""
    data: bytes
    """CDR, with its four bytes of encapsulation."""


Read = Callable[[Collection[str], int | None], Iterator[Recorded]]
"""Messages of some topics in their order, from a time of recording on, nanoseconds."""


@dataclass(frozen=True)
class Part:
    """One opened file of a bag."""

    topics: tuple[Topic, ...]
    start: int
    """When its first message was recorded, nanoseconds."""
    end: int
    """And the last one."""
    read: Read
    note: str = ""
    """What was found wrong, and how far the file was read."""


# --- all files -----------------------------------------------------------------------------------


@contextmanager
def open_parts(path: Path) -> Iterator[tuple[list[Part], list[str]]]:
    """Open the files of a bag.

    Yields:
        The parts in their order, and what the user should hear of the files.

    Raises:
        DataError: no file, or none that can be read.
        EngineError: rosbags is not installed.
    """
    files, notes = files_of(path)
    rosbags_module("rosbag2")
    with ExitStack() as stack:
        parts = [_open_file(path, file, stack) for file in files]
        notes += [part.note for part in parts if part.note]
        yield parts, notes


# --- one file ------------------------------------------------------------------------------------


def _open_file(bag: Path, file: Path, stack: ExitStack) -> Part:
    """Open a file whole, or else as far as it goes."""
    suffix, packed = suffix_of(file), file.suffix.lower() == PACKED
    if packed:
        file = _unpacked(file, stack)
    if suffix == ".db3" and has_log(file):
        file = file if os.access(file.parent, os.W_OK) else _copied(file, stack)
        return _as_far_as_it_goes(file, suffix, "its write-ahead log is not merged")
    try:
        return _whole(bag, file, stack)
    except (OSError, EngineError):
        raise
    except Exception as error:  # of sqlite, zstd, struct ...: no common base
        reason = reason_of(error)
    if suffix == ".bag":
        raise DataError(f"{file}: ROS 1 bag cannot be read ({_why(file, suffix, reason)}")
    return _as_far_as_it_goes(file, suffix, reason)


def _unpacked(file: Path, stack: ExitStack) -> Path:
    """Unpack a file that was compressed as a whole, as much of it as there is."""
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    target = Path(folder, stem_of(file) + suffix_of(file))
    unpack = zstd_module().ZstdDecompressor()
    with file.open("rb") as source, target.open("wb") as sink:
        while (data := source.read(1 << 20)) and not unpack.eof:
            sink.write(unpack.decompress(data))
    return target


def _copied(file: Path, stack: ExitStack) -> Path:
    """Copy a file with its write-ahead log, which SQLite reads only where it can write."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    for name in (file.name, f"{file.name}-wal"):
        shutil.copy(file.with_name(name), folder)
    return folder / file.name


def _whole(bag: Path, file: Path, stack: ExitStack) -> Part:
    """Open a file with rosbags."""
    is_ros1 = suffix_of(file) == ".bag"
    reader = rosbags_module("rosbag1" if is_ros1 else "rosbag2").Reader(file)
    reader.open()
    stack.callback(reader.close)
    counts: Counter[tuple[str, str]] = Counter()
    for one in reader.connections:  # one topic has several when its publishers differ
        counts[one.topic, _type(one.msgtype)] += one.msgcount
    topics = tuple(Topic(*key, count) for key, count in sorted(counts.items()))
    read = partial(_read_whole, bag, file, reader, is_ros1)
    return Part(topics, reader.start_time, reader.end_time - 1, read)


def _read_whole(
    bag: Path, file: Path, reader: Any, is_ros1: bool, topics: Collection[str], start: int | None
) -> Iterator[Recorded]:
    chosen = [one for one in reader.connections if one.topic in topics]
    messages = iter(reader.messages(chosen, start=start) if chosen else ())
    while True:
        try:
            found = next(messages, None)
        except (DataError, OSError):
            raise
        except Exception as error:  # as in _open_file
            remedy = _RECOVER[suffix_of(file)].format(file)
            raise DataError(
                f"{bag}: bag cannot be read ({reason_of(error)}); was its recording cut short? "
                f"{remedy}"
            ) from None
        if found is None:
            return
        one, received, data = found
        kind = _type(one.msgtype)
        yield Recorded(one.topic, kind, received, _as_cdr(bytes(data), kind, is_ros1=is_ros1))


def _as_far_as_it_goes(file: Path, suffix: str, reason: str) -> Part:
    """Read a file record by record up to where it breaks off; the topics are counted first."""
    found = _count(file, (status := file.stat()).st_size, status.st_mtime_ns)
    remedy = _RECOVER[suffix].format(file)
    if not found.topics and not found.note and status.st_size:
        raise DataError(f"{file}: bag is empty (no message)")
    if not found.topics:
        raise DataError(f"{file}: bag cannot be read ({_why(file, suffix, reason)}")
    total = sum(topic.count for topic in found.topics)
    what = found.note or "all of it"
    note = f"{file.name}: {reason}; read from its beginning: {total} messages ({what})"
    if found.note:
        note += f"; {remedy}"
    return Part(found.topics, found.start, found.end, partial(_read_sequence, file), note)


def _why(file: Path, suffix: str, reason: str) -> str:
    """Say what a file is that gave no message: empty, of another kind, or damaged."""
    with file.open("rb") as opened:
        head = opened.read(len(_MAGIC[suffix]))
    if not head:
        return "it is empty, 0 bytes); nothing was recorded: look for another file of the recording"
    if not _MAGIC[suffix].startswith(head):
        return (
            f"it begins with {head!r}, {suffix} files with {_MAGIC[suffix]!r}); is it another file?"
        )
    return f"{reason}); was its recording cut short? {_RECOVER[suffix].format(file)}"


@lru_cache(maxsize=8)
def _count(file: Path, size: int, modified: int) -> Part:
    """Count what a file holds up to where it breaks off; once for one state of the file."""
    counts: Counter[tuple[str, str]] = Counter()
    damage, times = Damage(), list[int]()
    for message in _sequence(file, damage):
        counts[message.topic, message.type] += 1
        times = [min([*times[:1], message.received]), max([*times[1:], message.received])]
    topics = tuple(Topic(*key, count) for key, count in sorted(counts.items()))
    start, end = times or (0, 0)
    return Part(topics, start, end, partial(_read_sequence, file), damage.reason)


def _read_sequence(file: Path, topics: Collection[str], start: int | None) -> Iterator[Recorded]:
    for message in _sequence(file, Damage()):
        if message.topic in topics and (start is None or message.received >= start):
            yield message


def _sequence(file: Path, damage: Damage) -> Iterator[Recorded]:
    """Read every message of a file that ROS 1 or 2 wrote, whatever is behind it."""
    if suffix_of(file) == ".db3":
        for row in read_rows(file, damage):
            yield Recorded(row.topic, _type(row.type), row.time, _as_cdr(row.data, row.type))
        return
    for one in read_mcap(file, damage):
        kind = _type(one.type)
        if one.encoding in ("cdr", "ros1"):
            data = _as_cdr(one.data, kind, is_ros1=one.encoding == "ros1")
            yield Recorded(one.topic, kind, one.log_time, data)
        else:  # listed by name, so that a message can name what is in the file
            kind = f"{kind or 'no type'} as {one.encoding or 'bytes without an encoding'}"
            yield Recorded(one.topic, kind, one.log_time, b"")


def _as_cdr(data: bytes, kind: str, *, is_ros1: bool = False) -> bytes:
    """Return the CDR of a message that is compressed by itself or of ROS 1."""
    try:
        if is_ros1:
            return bytes(standard_types().ros1_to_cdr(data, kind))
        return unzstd(data) if data[:4] == _ZSTD else data
    except Exception:  # a type of no standard package, or bytes that are cut: no message
        return b""


def _type(name: str) -> str:
    """Spell a type as ROS 2 does: package/msg/Name."""
    if name in ("tf/tfMessage", "tf/msg/tfMessage"):
        return "tf2_msgs/msg/TFMessage"
    package, slash, last = name.partition("/")
    return f"{package}/msg/{last}" if slash and last and "/" not in last else name


# --- rosbags -------------------------------------------------------------------------------------


@cache
def standard_types() -> Any:
    """Return rosbags' definitions of the standard packages, and those of video in messages.

    Raises:
        EngineError: rosbags is not installed.
    """
    typesys = rosbags_module("typesys")
    store = typesys.get_typestore(typesys.Stores.ROS2_JAZZY)
    for name, text in _VIDEO_DEFINITIONS.items():
        store.register(typesys.get_types_from_msg(text, name))
    return store


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


def reason_of(error: Exception) -> str:
    """Return the text of an error in one line, without its full stop; else its type."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
