# SPDX-License-Identifier: Apache-2.0
"""The text of a pose file as a table: separators, comments, header names, rows without a pose.

Knows no layout: which columns are a time or a quaternion is decided in `trajectory_formats`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from depthkit.errors import DataError

_COMMENTS = ("#", "%", "//")

_UNTRACKED = {"lost", "none", "null", "invalid", "n/a", "na", "untracked", "not_tracked", "failed"}
"""Words that trackers write in place of a pose."""

_FOREIGN = (
    (b"PK\x03\x04", "is a zip archive (evo saves results so); give the trajectory file itself"),
    (b"# Bundle file", "is a Bundler file; export the cameras as COLMAP images.txt or TUM rows"),
    (b"{", "is a JSON file; expected poses as rows of numbers (TUM, KITTI or EuRoC)"),
    (b"[", "is a JSON file; expected poses as rows of numbers (TUM, KITTI or EuRoC)"),
    (b"<", "is an XML or HTML file; expected poses as rows of numbers (TUM, KITTI or EuRoC)"),
    (b"%YAML", "is a YAML file; expected poses as rows of numbers (TUM, KITTI or EuRoC)"),
    (b"ply", "is a PLY point cloud; expected poses as rows of numbers (TUM, KITTI or EuRoC)"),
    (b"\x93NUMPY", "is a NumPy array file; save it as text (numpy.savetxt) in TUM or KITTI rows"),
)


@dataclass(frozen=True)
class TextTable:
    """Fields of the rows that carry data, and what stands around them."""

    name: str
    """The file, for messages."""
    rows: list[list[str]]
    lines: list[int]
    """Line of each row in the file, from 1."""
    header: tuple[str, ...] = ()
    """Column names, of a header line or of the last comment before the first row."""
    comments: tuple[str, ...] = ()
    """Comment lines in front of the first row."""
    has_commas: bool = False

    def take(self, keep: Sequence[int]) -> "TextTable":
        """Keep some rows."""
        return replace(self, rows=[self.rows[i] for i in keep], lines=[self.lines[i] for i in keep])


def read_table(path: str | Path) -> TextTable:
    """Read the rows of a text file: blank, tab, comma or semicolon separated, any line ends.

    Raises:
        DataError: missing, not text, of a known format that holds no rows of poses, or empty.
    """
    text = read_pose_text(Path(path))
    rows: list[list[str]] = []
    lines: list[int] = []
    comments: list[str] = []
    bodies: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        body = line.strip().strip("\x00")
        if body.startswith(_COMMENTS):
            comments += [body] if not rows else []
        elif body:
            rows.append(split_fields(body))
            lines.append(number)
            bodies.append(body)
    rows = _fill_lost(rows)
    if not rows:
        raise DataError(f"{path}: holds no poses; expected TUM, KITTI or EuRoC rows")
    has_commas = any("," in body and ";" not in body for body in bodies)
    table = TextTable(str(path), rows, lines, (), tuple(comments), has_commas)
    return _with_header(table, bodies[0])


def _fill_lost(rows: list[list[str]]) -> list[list[str]]:
    """Put NaN in place of a pose where a tracker wrote a word such as 'lost'; the stamp stays."""
    lost = [any(field.lower() in _UNTRACKED for field in row) for row in rows]
    width = next((len(row) for row, is_lost in zip(rows, lost, strict=True) if not is_lost), 8)
    return [
        [row[0] if is_number(row[0]) else "nan", *["nan"] * (width - 1)] if is_lost else row
        for row, is_lost in zip(rows, lost, strict=True)
    ]


def split_fields(line: str) -> list[str]:
    """Split a row at blanks, tabs, commas or semicolons; an empty field between two is NaN.

    Between semicolons a comma is a decimal point.
    """
    mark = next((mark for mark in ";," if mark in line), None)
    if mark is None:
        return line.split()
    parts = [part.strip() for part in line.split(mark)]
    parts = parts[:-1] if len(parts) > 1 and not parts[-1] else parts
    if mark == ";":
        parts = [part.replace(",", ".") for part in parts]
    elif any(re.search(r"\s", part) for part in parts):
        parts = [field for part in parts for field in part.split()]
    return [part or "nan" for part in parts]


def is_number(field: str) -> bool:
    """Tell a number (NaN and inf included) from a word."""
    try:
        float(field)
    except ValueError:
        return False
    return True


def to_numbers(table: TextTable, columns: Sequence[int], width: int, layout: str) -> np.ndarray:
    """Turn columns of all rows into numbers.

    Args:
        table: rows.
        columns: indices of the wanted columns.
        width: number of fields that every row must have.
        layout: what is expected, for the message.

    Raises:
        DataError: a row of another width, or a field that is no number; its line is named.
    """
    for row, line in zip(table.rows, table.lines, strict=True):
        if len(row) != width:
            is_cut = line == table.lines[-1] != table.lines[0] and len(row) < width
            remedy = "; it is the last one: was the file cut short? delete it" if is_cut else ""
            raise DataError(
                f"{table.name}: line {line} has {len(row)} columns, expected {layout}{remedy}"
            )
    try:
        return np.array([[row[i] for i in columns] for row in table.rows], dtype=np.float64)
    except ValueError:
        pass
    for row, line in zip(table.rows, table.lines, strict=True):
        for field in (row[i] for i in columns):
            if not is_number(field):
                raise DataError(f"{table.name}: line {line}: {field!r} is not a number")
    raise DataError(f"{table.name}: holds text that is not numbers")


def read_pose_text(file: Path, *, is_json: bool = False) -> str:
    """Read a file of poses as text.

    Args:
        file: to read.
        is_json: whether JSON is expected.

    Raises:
        DataError: missing, no text, or a file that is known to hold no rows of poses.
    """
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{file}: no such trajectory file") from None
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from None
    for magic, verdict in _FOREIGN:
        if data.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(magic) and not is_json:
            raise DataError(f"{file}: {verdict}")
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        raise DataError(f"{file}: is not a text file; expected poses as text") from None


def _with_header(table: TextTable, first: str) -> TextTable:
    """Take a first row of words, or the comment before the first row, as names of the columns."""
    row = table.rows[0]
    words = sum(not is_number(field) for field in row)
    if 2 * words > len(row) > 1 and len(table.rows) > 1 and _has_numbers(table.rows[1]):
        return replace(table.take(range(1, len(table.rows))), header=_names(first))
    for comment in reversed(table.comments):
        names = _names(comment.lstrip("#%/ \t"))
        if len(names) == len(row) > 1:
            return replace(table, header=names)
    return table


def _has_numbers(row: list[str]) -> bool:
    return sum(is_number(field) for field in row) >= min(len(row), 4)


def _names(text: str) -> tuple[str, ...]:
    """Split names of columns; a unit in brackets belongs to the name before it."""
    joined = re.sub(r"\s*[\[(]([^\])]*)[\])]", lambda m: f"[{m[1].replace(' ', '_')}]", text)
    parts = re.split(r"[,;]" if re.search("[,;]", joined) else r"\s+", joined.strip(" ,;\t"))
    return tuple(part.strip() for part in parts)
