# SPDX-License-Identifier: Apache-2.0
"""MCAP read record by record from its beginning, for files whose index or end is missing.

A recorder that was killed leaves no summary and no footer; what lies before the first damaged
record is whole all the same. Record layout: https://mcap.dev/spec (opcode, length, content).
"""

import importlib
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO
from zlib import crc32

from depthkit.errors import EngineError

MAGIC = b"\x89MCAP0\r\n"
_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _DATA_END = 0x03, 0x04, 0x05, 0x06, 0x0F
_CHUNK_HEAD = 64
"""Bytes of a chunk before its messages, at most."""
_MOST_BYTES = 1 << 31
"""Bytes of one record; one damaged length can ask for more than there is memory."""


@dataclass(frozen=True)
class McapMessage:
    """One message as it lies in the file."""

    topic: str
    type: str
    """Such as sensor_msgs/msg/Image, in the spelling of the file."""
    encoding: str
    """Encoding of its bytes: cdr, ros1, protobuf ..."""
    log_time: int
    """Nanoseconds."""
    data: bytes


@dataclass
class Damage:
    """Where and why reading ended before the end of the file."""

    reason: str = ""
    """Empty while all was well."""


@dataclass
class _Names:
    schemas: dict[int, str] = field(default_factory=dict)
    channels: dict[int, tuple[str, str, str]] = field(default_factory=dict)
    """Topic, type, encoding."""


def read_mcap(path: Path, damage: Damage) -> Iterator[McapMessage]:
    """Read the messages of a file up to its first damaged record.

    Args:
        path: the file.
        damage: receives the reason where reading ends early.

    Yields:
        Messages in the order of the file, those of one chunk by time.
    """
    names = _Names()
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            damage.reason = "it does not begin as MCAP"
            return
        for opcode, content in _records(file, damage):
            if opcode == _DATA_END:
                return
            if opcode == _CHUNK:
                yield from _chunk(content, names, damage)
            else:
                yield from _take(opcode, content, names, damage)
            if damage.reason:
                return


def _records(file: BinaryIO, damage: Damage) -> Iterator[tuple[int, bytes]]:
    """Cut a file into records; the last one may be shorter than it says."""
    while True:
        at, head = file.tell(), file.read(9)
        if len(head) < 9:
            damage.reason = f"it ends at byte {at + len(head)} without a footer"
            return
        opcode, length = struct.unpack("<BQ", head)
        content = file.read(min(length, _MOST_BYTES))
        if len(content) == length or (opcode == _CHUNK and len(content) > _CHUNK_HEAD):
            yield opcode, content
        if len(content) < length:
            damage.reason = damage.reason or f"the record at byte {at} is cut short"
            return


def _take(opcode: int, content: bytes, names: _Names, damage: Damage) -> Iterator[McapMessage]:
    """Read one record that lies in a chunk or beside the chunks."""
    try:
        if opcode == _SCHEMA:
            (number,) = struct.unpack_from("<H", content)
            names.schemas[number] = _text(content, 2)[0]
        elif opcode == _CHANNEL:
            number, schema = struct.unpack_from("<HH", content)
            topic, at = _text(content, 4)
            names.channels[number] = topic, names.schemas.get(schema, ""), _text(content, at)[0]
        elif opcode == _MESSAGE:
            number, _, log_time = struct.unpack_from("<HIQ", content)
            yield McapMessage(*names.channels[number], log_time, content[22:])
    except (struct.error, UnicodeDecodeError, KeyError):
        damage.reason = f"a record of kind {opcode} is damaged"


def _chunk(content: bytes, names: _Names, damage: Damage) -> Iterator[McapMessage]:
    """Read the records of a chunk, as many as are whole, by time."""
    try:
        size, crc = struct.unpack_from("<QI", content, 16)
        compression, at = _text(content, 28)
        (stored,) = struct.unpack_from("<Q", content, at)
        data = content[at + 8 : at + 8 + stored]
        raw = data if not compression else _decompressor(compression)(data)
    except Exception as error:  # of lz4, zstd, struct: their errors have no common base
        damage.reason = f"a chunk does not unpack ({error})"
        return
    if len(raw) == size and crc and crc32(raw) != crc:
        damage.reason = "a chunk has another checksum than it says"
        return
    found: list[McapMessage] = []
    for opcode, record in _records_of(raw):
        found.extend(_take(opcode, record, names, damage))
    yield from sorted(found, key=lambda message: message.log_time)


def _records_of(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Cut the bytes of a chunk into records that are whole."""
    at = 0
    while at + 9 <= len(raw):
        opcode, length = struct.unpack_from("<BQ", raw, at)
        if at + 9 + length > len(raw):
            return
        yield opcode, raw[at + 9 : at + 9 + length]
        at += 9 + length


def _text(content: bytes, at: int) -> tuple[str, int]:
    """Return the text at a place with its length before it, and the place behind it."""
    (length,) = struct.unpack_from("<I", content, at)
    end = at + 4 + length
    if end > len(content):
        raise struct.error("text is cut short")
    return content[at + 4 : end].decode(), end


def _decompressor(name: str) -> Callable[[bytes], bytes]:
    """Return what unpacks as much as there is of data that may be cut short."""
    if name == "lz4":
        unpack: Callable[[bytes], bytes] = (
            importlib.import_module("lz4.frame").LZ4FrameDecompressor().decompress
        )
        return unpack
    if name == "zstd":
        return unzstd
    raise ValueError(f"compression {name!r} is not known")


def unzstd(data: bytes) -> bytes:
    """Unpack as much as there is of zstd data that may be cut short, in one or more frames."""
    raw = []
    while data:
        unpack = zstd_module().ZstdDecompressor()
        raw.append(unpack.decompress(data))
        data = unpack.unused_data
    return b"".join(raw)


def zstd_module() -> Any:
    """Import zstd: a part of Python from 3.14, before that what rosbags brings."""
    try:
        return importlib.import_module("compression.zstd")
    except ModuleNotFoundError:
        pass
    try:
        return importlib.import_module("backports.zstd")
    except ModuleNotFoundError:
        raise EngineError("zstd is not installed; run: pip install backports.zstd") from None
