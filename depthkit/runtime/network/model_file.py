# SPDX-License-Identifier: Apache-2.0
"""Byte format of an exported file: a JSON record in front of an ONNX graph, and a hash over both.

The record is ONNX metadata ("depthkit"; protobuf accepts fields in any order), so the whole remains
a valid ONNX file. It begins with its version and a SHA-256 over the file's bytes, in which those 64
digits count as zeros. So the head of the file is enough to read the record, and any changed byte is
detected before a runtime gets the file.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any

from depthkit.errors import EngineError

MANIFEST_VERSION = 1
ZEROS = "0" * 64

_HEAD = re.compile(rb'{"version": (\d{1,9}), "sha256": "(.{64})"', re.DOTALL)
_KEY = b"\x0a\x08depthkit\x12"  # metadata entry: key (field 1), then value (field 2)
_METADATA = b"\x72"  # field 14 of ONNX's ModelProto, a message
_IR_VERSION = b"\x08"  # field 1, the first one in files of other programs
_EXTERNAL = b"\x0a\x08location\x12"  # key of a tensor's external_data


def join(record: Mapping[str, Any], model: bytes) -> tuple[bytes, dict[str, Any]]:
    """Put a record, with the hash, in front of an ONNX graph.

    Args:
        record: manifest; its version and sha256 are replaced.
        model: a serialised ONNX model with all weights inside.

    Returns:
        The bytes of the file, and the record as written in it.
    """
    full = {"version": MANIFEST_VERSION, "sha256": ZEROS}  # in this order, before all others
    full |= {key: value for key, value in record.items() if key not in full}
    text = json.dumps(full).encode("ascii")
    entry = _KEY + _varint(len(text)) + text
    front = _METADATA + _varint(len(entry)) + entry
    digest = hashlib.sha256(front + model).hexdigest()
    front = front.replace(ZEROS.encode(), digest.encode(), 1)
    return front + model, full | {"sha256": digest}


def split(data: bytes, name: str) -> tuple[dict[str, Any], bytes]:
    """Undo `join`, after all checks.

    Args:
        data: bytes of the whole file.
        name: file name for error messages.

    Raises:
        EngineError: not a file of depthkit, another version, a changed byte, or weights in another
            file.
    """
    start, end = _find_record(data, name)
    head = _HEAD.match(data, start)
    if head is None:
        raise EngineError(
            f"{name}: damaged: its manifest should begin with 'version' and 'sha256', "
            f"got {data[start : start + 24]!r}; copy or export it again"
        )
    if int(head[1]) != MANIFEST_VERSION:
        raise EngineError(
            f"{name}: manifest version {int(head[1])}, this depthkit reads {MANIFEST_VERSION}; "
            "export it again"
        )
    _check_hash(data, head, name)
    if (at := data.find(_EXTERNAL, end)) >= 0:
        at += len(_EXTERNAL)
        other = data[at + 1 : at + 1 + data[at]].decode("utf-8", "replace")
        raise EngineError(f"{name}: keeps weights in another file ({other}); export it again")
    return json.loads(data[start:end]), data[end:]


def _find_record(data: bytes, name: str) -> tuple[int, int]:
    """Return where the record begins and ends."""
    if not data.startswith(_METADATA):
        what = "an ONNX file of another program" if data[:1] == _IR_VERSION else "no ONNX file"
        raise EngineError(
            f"{name}: {what} (begins with {data[:8].hex(' ') or 'nothing'}, files of 'depthkit "
            f"export' with {_METADATA.hex()} and a manifest)"
        )
    length, start = _read_varint(data, 1)
    whole = start + length
    if not data.startswith(_KEY, start):
        raise EngineError(f"{name}: no file of 'depthkit export': its first metadata is another's")
    length, start = _read_varint(data, start + len(_KEY))
    if start + length != whole or whole > len(data):
        raise EngineError(
            f"{name}: cut off or damaged: {len(data)} bytes, and its manifest alone has {length}"
        )
    return start, whole


def _check_hash(data: bytes, head: re.Match[bytes], name: str) -> None:
    start, end = head.span(2)
    digest = hashlib.sha256(data[:start])
    digest.update(ZEROS.encode())
    digest.update(memoryview(data)[end:])
    said = head[2].decode("ascii", "backslashreplace")
    if digest.hexdigest() != said:
        raise EngineError(
            f"{name}: changed since its export: sha256 should be {said}, is {digest.hexdigest()}; "
            "copy or export it again"
        )


def _varint(value: int) -> bytes:
    """Write a length as protobuf does: seven bits a byte, lowest first."""
    count = max(1, math.ceil(value.bit_length() / 7))
    septets = [value >> (7 * i) & 0x7F for i in range(count)]
    return bytes([*(septet | 0x80 for septet in septets[:-1]), septets[-1]])


def _read_varint(data: bytes, start: int) -> tuple[int, int]:
    """Return a length and the position after it; a huge length if it does not end."""
    value = 0
    for i, byte in enumerate(data[start : start + 5]):
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value, start + i + 1
    return 1 << 40, start
