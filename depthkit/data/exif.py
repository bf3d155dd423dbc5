# SPDX-License-Identifier: Apache-2.0
"""The few EXIF tags that matter here: when a picture was taken, and through which lens.

Found in JPEG (APP1), TIFF and DNG, PNG (eXIf), WebP and HEIF. Tag numbers follow CIPA DC-008
(Exif 2.32), whose tables are TIFF 6.0 directories. A damaged table counts as absent: EXIF is a
help, never a reason to refuse a picture.
"""

import datetime as dt
import math
import mmap
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Millimetres of the unit in tag 0xA210; 4 and 5 are not in the standard but are written.
_UNIT_MM = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}

# Bytes of one value of each TIFF type, and its struct letter; rationals are two integers.
_TYPES = {1: "B", 2: "s", 3: "H", 4: "I", 5: "II", 6: "b", 7: "s", 8: "h", 9: "i", 10: "ii"}
_LARGEST_TABLE = 1024
_LONGEST_VALUE = 4096


@dataclass(frozen=True)
class Exif:
    """What a picture's EXIF tables say; None where a tag is absent or makes no sense."""

    datetime: dt.datetime | None = None
    """Local time of exposure without its fraction: DateTimeOriginal, else DateTimeDigitized, else
    DateTime."""
    is_exposure: bool = False
    """Whether that is the time of exposure, not of a later change (DateTime)."""
    subsec: float | None = None
    """Fraction of that second, in [0, 1)."""
    utc_offset: dt.timedelta | None = None
    """Local time minus UTC (OffsetTimeOriginal)."""
    focal_35mm: float | None = None
    """Focal length of the same view on 36x24 mm film, millimetres, as written."""
    focal_mm: float | None = None
    """Focal length of the lens itself, millimetres."""
    focal_plane_x_resolution: float | None = None
    """Pixels per `focal_plane_unit_mm` along the width of the picture as stored."""
    focal_plane_unit_mm: float = 25.4
    """Millimetres of the resolution's unit: 25.4 (inch, the standard's default), 10, 1 or 0.001."""
    orientation: int = 1
    """1 to 8; from 5 on, width and height change places when the picture is turned upright."""
    make: str = ""
    model: str = ""
    width: int | None = None
    """Width of the picture as stored, before it is turned, pixels (PixelXDimension)."""
    height: int | None = None
    """Height of the picture as stored, before it is turned, pixels."""
    digital_zoom: float | None = None
    """Ratio of the digital zoom, where one was used."""

    @property
    def time(self) -> float | None:
        """Time of exposure, seconds; since 1970 in UTC where the offset is known, else as local."""
        if self.datetime is None:
            return None
        moment = self.datetime.replace(tzinfo=dt.timezone.utc) - (self.utc_offset or dt.timedelta())
        return moment.timestamp() + (self.subsec or 0.0)

    @property
    def is_turned(self) -> bool:
        """Whether the upright picture has the stored one's height as its width."""
        return self.orientation >= 5


def read_exif(path: Path) -> Exif | None:
    """Read the EXIF of a picture; None where it has none or it cannot be read."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            start = _find_tiff(data)
            return None if start is None else _record(_read_tags(data, start))
    except (OSError, ValueError, struct.error, IndexError):  # ValueError: mmap of an empty file
        return None


# --- where the tables are ------------------------------------------------------------------------


def _find_tiff(data: mmap.mmap) -> int | None:
    """Return the offset of the TIFF header that the tables count from."""
    head = data[:16]
    if head[:4] in (b"II*\0", b"MM\0*"):
        return 0
    if head[:2] == b"\xff\xd8":
        return _in_jpeg(data)
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return _in_chunks(data, 8, ">", b"eXIf", extra=4)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return _in_chunks(data, 12, "<", b"EXIF", extra=0)
    if head[4:8] == b"ftyp":  # HEIF, AVIF: the item's place is in tables; its mark is plain enough
        found = data.find(b"Exif\0\0")
        return found + 6 if found >= 0 and _is_tiff(data, found + 6) else None
    return None


def _is_tiff(data: mmap.mmap, at: int) -> bool:
    return data[at : at + 4] in (b"II*\0", b"MM\0*")


def _in_jpeg(data: mmap.mmap) -> int | None:
    """Walk the segments up to the start of the scan."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = struct.unpack_from(">BH", data, at + 1)
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker == 0xDA or length < 2:
            return None
        if marker == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0" and _is_tiff(data, at + 10):
            return at + 10
        at += 2 + length
    return None


def _in_chunks(data: mmap.mmap, at: int, order: str, name: bytes, *, extra: int) -> int | None:
    """Walk the chunks of PNG (length, name, data, CRC) or WebP (name, length, data, pad)."""
    is_png = order.startswith(">")
    while at + 8 <= len(data):
        length_at, name_at = (at, at + 4) if is_png else (at + 4, at)
        (length,) = struct.unpack_from(order[0] + "I", data, length_at)
        if data[name_at : name_at + 4] == name:
            start = at + 8
            if data[start : start + 6] == b"Exif\0\0":  # written by some, against the standard
                start += 6
            return start if _is_tiff(data, start) else None
        at += 8 + length + extra + (0 if is_png else length % 2)
    return None


# --- the tables ----------------------------------------------------------------------------------


def _read_tags(data: mmap.mmap, start: int) -> dict[int, Any]:
    """Return the values of the first directory and of the EXIF directory it points to, by tag."""
    order = "<" if data[start : start + 2] == b"II" else ">"
    (first,) = struct.unpack_from(order + "I", data, start + 4)
    tags = dict(_entries(data, start, first, order))
    pointer = tags.get(0x8769)
    if isinstance(pointer, int):
        tags.update(_entries(data, start, pointer, order))
    return tags


def _entries(data: mmap.mmap, start: int, at: int, order: str) -> Iterator[tuple[int, Any]]:
    """Yield (tag, value) of one directory as far as it can be read."""
    if start + at + 2 > len(data):
        return
    (count,) = struct.unpack_from(order + "H", data, start + at)
    for i in range(min(count, _LARGEST_TABLE)):
        entry = start + at + 2 + 12 * i
        if entry + 12 > len(data):
            return
        tag, kind, number = struct.unpack_from(order + "HHI", data, entry)
        value = _value(data, start, entry + 8, kind, number, order)
        if value is not None:
            yield tag, value


def _value(data: mmap.mmap, start: int, at: int, kind: int, number: int, order: str) -> Any:
    """Return the first number of an entry, or its text; None for what is of no use here."""
    letters = _TYPES.get(kind)
    if letters is None or not 0 < number <= _LONGEST_VALUE:
        return None
    size = struct.calcsize(order + letters) * number
    if size > 4:
        at = start + struct.unpack_from(order + "I", data, at)[0]
    if at + size > len(data):
        return None
    if letters == "s":
        return data[at : at + size].split(b"\0")[0].decode("latin-1").strip()
    numbers = struct.unpack_from(order + letters, data, at)
    if len(numbers) == 1:
        return numbers[0]
    return numbers[0] / numbers[1] if numbers[1] else None


def _record(tags: Mapping[int, Any]) -> Exif:
    moment, fraction, offset, is_exposure = _moment(tags)
    orientation: Any = tags.get(0x0112)
    return Exif(
        datetime=moment,
        is_exposure=is_exposure,
        subsec=fraction,
        utc_offset=offset,
        focal_35mm=_positive(tags.get(0xA405)),
        focal_mm=_positive(tags.get(0x920A)),
        focal_plane_x_resolution=_positive(tags.get(0xA20E)),
        focal_plane_unit_mm=_UNIT_MM.get(tags.get(0xA210, 2), 25.4),
        orientation=int(orientation) if orientation in range(1, 9) else 1,
        make=_text(tags.get(0x010F)),
        model=_text(tags.get(0x0110)),
        width=_pixels(tags.get(0xA002), tags.get(0x0100)),
        height=_pixels(tags.get(0xA003), tags.get(0x0101)),
        digital_zoom=_positive(tags.get(0xA404)),
    )


def _moment(
    tags: Mapping[int, Any],
) -> tuple[dt.datetime | None, float | None, dt.timedelta | None, bool]:
    """Return time, fraction, offset of the first of three times set; whether it is of exposure."""
    for time_tag, fraction_tag, offset_tag in (
        (0x9003, 0x9291, 0x9011),  # original
        (0x9004, 0x9292, 0x9012),  # digitised
        (0x0132, 0x9290, 0x9010),  # changed
    ):
        try:
            moment = dt.datetime.strptime(_text(tags.get(time_tag))[:19], "%Y:%m:%d %H:%M:%S")
        except ValueError:  # absent, blank or 0000:00:00, as a camera without its clock set writes
            continue
        digits = _text(tags.get(fraction_tag))
        fraction = int(digits) / 10 ** len(digits) if re.fullmatch(r"[0-9]+", digits) else None
        return moment, fraction, _offset(_text(tags.get(offset_tag))), time_tag != 0x0132
    return None, None, None, False


def _offset(text: str) -> dt.timedelta | None:
    match = re.fullmatch(r"([+-])(\d\d):?(\d\d)", text)
    if match is None:
        return None
    span = dt.timedelta(hours=int(match[2]), minutes=int(match[3]))
    return -span if match[1] == "-" else span


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _positive(value: Any) -> float | None:
    """Return a number above 0; 0 means unknown in the standard."""
    is_number = isinstance(value, int | float) and math.isfinite(value)
    return float(value) if is_number and value > 0 else None


def _pixels(*values: Any) -> int | None:
    return next((v for v in values if isinstance(v, int) and v > 0), None)
