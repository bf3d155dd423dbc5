# SPDX-License-Identifier: Apache-2.0
"""The text of a calibration file, of any program and time: decoded, parsed, its numbers read."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from depthkit.errors import DataError

LARGEST_FILE = 64 << 20
"""Bytes; no calibration is larger."""

_MAGIC = {
    b"\xff\xd8\xff": "a JPEG picture",
    b"\x89PNG": "a PNG picture",
    b"II*\0": "a TIFF picture",
    b"MM\0*": "a TIFF picture",
    b"GIF8": "a GIF picture",
    b"BM": "a BMP picture",
    b"RIFF": "a WebP picture or AVI video",
    b"\x1f\x8b": "packed (gzip); unpack it first",
    b"BZh": "packed (bzip2); unpack it first",
    b"PK\x03\x04": "a zip archive; write its numbers as text",
    b"\x93NUMPY": "a NumPy array; write its numbers as text (np.savetxt)",
    b"\x80\x03": "a Python pickle; write its numbers as text (np.savetxt)",
    b"\x80\x04": "a Python pickle; write its numbers as text (np.savetxt)",
    b"MATLAB 5": "a MATLAB file; write its numbers as text",
    b"%PDF": "a PDF document",
    b"SQLite format 3": "a database; export it as text (COLMAP: cameras.txt)",
}


def read_text(path: Path) -> str:
    """Read the text of a calibration file, with line ends as \\n.

    Raises:
        DataError: missing, a folder, empty, or no text.
    """
    try:
        if path.is_file() and path.stat().st_size > LARGEST_FILE:
            raise DataError(f"{path}: not a camera file: {path.stat().st_size >> 20} MiB")
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: camera file not found") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder; give the calibration file itself") from None
    except OSError as error:
        raise DataError(f"{path}: cannot read camera file: {error.strerror}") from None
    text = _decode(data, path).lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise DataError(f"{path}: camera file is empty")
    return text


def _decode(data: bytes, path: Path) -> str:
    """Decode UTF-8, UTF-16 with its mark or, as old programs write comments, Latin-1."""
    kind = next((name for magic, name in _MAGIC.items() if data.startswith(magic)), None)
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace")
    if kind is None and b"\0" in data:
        kind = "binary; write its numbers as text (COLMAP: model_converter --output_type TXT)"
    if kind is not None and (b"\0" in data or not data.isascii()):
        raise DataError(f"{path}: not a camera file: it is {kind}")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def parse_record(text: str) -> Any:
    """Parse YAML or JSON; YAML keeps numbers as text, see `number`.

    OpenCV's `%YAML:1.0` line is not YAML and is dropped, so are empty documents (a trailing `---`);
    several others (messages of `ros2 topic echo`) become a list.

    Raises:
        DataError: neither of the two, or a mapping with a key twice and two values.
    """
    problem = ""
    if text.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(text, object_pairs_hook=_unique)
        except ValueError as error:  # a flow mapping of YAML begins alike
            problem = f"not valid JSON: {error}"
        except RecursionError:
            raise DataError("not valid JSON: nested too deeply") from None
    text = "\n".join("" if line.startswith("%YAML") else line for line in text.split("\n"))
    try:
        documents = [doc for doc in yaml.load_all(text, Loader=_Loader) if doc not in (None, "")]
    except yaml.YAMLError as error:
        raise DataError(problem or f"not valid YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise DataError("not valid YAML: nested too deeply") from None
    return documents[0] if len(documents) == 1 else documents or None


_BaseLoader: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # the same, parsed in C


class _Loader(_BaseLoader):
    """Keeps every scalar as text, takes unknown tags as what they hold, refuses two values."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        if not isinstance(node, yaml.MappingNode):
            return dict(super().construct_mapping(node, deep=deep))
        pairs = [
            (self.construct_object(key, deep=True), self.construct_object(value, deep=True))
            for key, value in node.value
        ]
        return _unique([(key if isinstance(key, str) else str(key), value) for key, value in pairs])


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Build a mapping; a key that comes twice must say the same."""
    record: dict[str, Any] = {}
    for key, value in pairs:
        if key in record and record[key] != value:
            raise DataError(f"key {key!r} appears twice with different values; keep one")
        record[key] = value
    return record


# --- numbers -------------------------------------------------------------------------------------


def number(value: Any, name: str) -> float:
    """Return a number that may be written as text, such as 1e-4 or .nan."""
    try:
        if isinstance(value, bool) or value is None:
            raise TypeError
        text = value.strip() if isinstance(value, str) else value
        if isinstance(text, str) and re.fullmatch(r"[+-]?\.(nan|inf)", text.lower()):
            text = text.replace(".", "")
        return float(text)
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"camera: {name} must be a number, got {short(value)}") from None


def whole(value: Any, name: str) -> int:
    """Return a whole number of pixels."""
    result = number(value, name)
    if not result.is_integer():
        raise DataError(f"camera: {name} must be a whole number of pixels, got {short(value)}")
    return int(result)


def numbers(value: Any, name: str) -> tuple[float, ...]:
    """Flatten a list, rows, a {rows, cols, data} mapping or numbers in one text."""
    if isinstance(value, Mapping):
        value = value.get("data")
    if isinstance(value, str):
        value = re.sub(r"[\[\](),;]", " ", value).split()
    if not isinstance(value, list | tuple):
        raise DataError(f"camera: {name} must be a list of numbers, got {short(value)}")
    flat, each = list[float](), f"every value of {name}"
    for item in value:
        flat += numbers(item, name) if isinstance(item, list | tuple) else [number(item, each)]
    return tuple(flat)


def short(value: Any) -> str:
    """Return a value as an error may quote it."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
