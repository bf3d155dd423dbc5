# SPDX-License-Identifier: Apache-2.0
"""Bytes of JPEG, PNG and the like to pixels, and pixels of more than 8 bit to 8.

OpenCV fills the missing part of a truncated picture with grey and says nothing; it is refused here.
"""

import re
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from depthkit.errors import DataError

# OpenCV 4.5.4 named the patterns by their first pixels; its older names are shifted by one.
BAYER_CODES = {
    "rggb": cv2.COLOR_BayerRGGB2RGB,
    "bggr": cv2.COLOR_BayerBGGR2RGB,
    "grbg": cv2.COLOR_BayerGRBG2RGB,
    "gbrg": cv2.COLOR_BayerGBRG2RGB,
}


TIFF_MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

MOST_PIXELS = 1 << 30
"""OpenCV decodes no more (its CV_IO_MAX_IMAGE_PIXELS)."""
MOST_PIXELS_A_BYTE = 8 * 1032
"""What deflate, the densest of the codecs, can make of a byte where a pixel is one bit; a header
that asks for more is damaged, and one damaged byte of it can ask for gigabytes."""
LARGE = 1 << 24
"""Pixels from which on the free memory is asked for first."""
BYTES_A_PIXEL = 8
"""Memory that decoding takes: 3 bytes as OpenCV's BGR, 3 as RGB, and room for the next stage."""


class UnreadableImageError(DataError):
    """A picture that is missing, truncated or no picture: `prepare` skips and counts these."""


class Levels(NamedTuple):
    """How values of more than 8 bit become 8 bit: low becomes 0, high becomes 255."""

    low: float
    high: float


def decode_rgb(
    data: bytes,
    name: Path | str,
    bayer: str | None = None,
    *,
    bits: int = 16,
    levels: Levels | None = None,
) -> np.ndarray:
    """Decode any picture as 8-bit RGB; grey is tripled, an EXIF orientation is applied.

    Args:
        data: the whole file.
        name: of the picture, for the message.
        bayer: pattern of a raw one-channel mosaic, a key of `BAYER_CODES`.
        bits: bits in use of a 16-bit picture; its largest value 2^bits - 1 becomes 255.
        levels: mapping of a picture that has not 8 bit; overrules `bits`.

    Returns:
        (H, W, 3) uint8

    Raises:
        UnreadableImageError: truncated, not a picture, or neither 8 nor 16 bit and without levels.
    """
    image = decode_deep(data, name, bayer)
    if image.dtype != np.uint8 and levels is not None:
        image = stretch(image, levels)
    if image.dtype == np.uint16:
        image = to_8_bit(image, bits)
    if image.dtype != np.uint8:
        raise UnreadableImageError(f"{name}: expected 8 or 16 bit an image, got {image.dtype}")
    if bayer:
        return cv2.cvtColor(image, BAYER_CODES[bayer])
    return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB if image.ndim == 2 else cv2.COLOR_BGR2RGB)


def decode_deep(data: bytes, name: Path | str, bayer: str | None = None) -> np.ndarray:
    """Decode as BGR or grey with the depth of the file. (H, W, 3) or (H, W)"""
    # IMREAD_COLOR_RGB came with OpenCV 4.11; a robot has that of its Ubuntu, 4.6.
    flags = cv2.IMREAD_GRAYSCALE if bayer else cv2.IMREAD_COLOR
    if data[:4] in TIFF_MARKS:  # grey floats do not decode as colour
        flags = cv2.IMREAD_ANYCOLOR
    return decode(data, name, cv2.IMREAD_ANYDEPTH | flags)


def stretch(image: np.ndarray, levels: Levels) -> np.ndarray:
    """Map low .. high to 0 .. 255, rounded; beyond is 0 or 255, NaN is 0. any dtype -> uint8"""
    scale = np.float32(255.0 / (levels.high - levels.low))
    shifted = (image.astype(np.float64) - levels.low).astype(np.float32)
    return np.rint(np.clip(np.nan_to_num(shifted * scale), 0.0, 255.0)).astype(np.uint8)


def to_8_bit(image: np.ndarray, bits: int) -> np.ndarray:
    """Scale 0 .. 2^bits - 1 to 0 .. 255, rounded; what is brighter is 255. uint16 -> uint8"""
    return cv2.convertScaleAbs(image, alpha=255.0 / (2**bits - 1))


def decode(data: bytes, name: Path | str, flags: int) -> np.ndarray:
    """Decode with OpenCV's flags; raises UnreadableImageError for what is not a whole picture."""
    if _is_truncated(data):
        raise UnreadableImageError(f"{name}: truncated image ({len(data)} bytes)")
    check_pixels(data, name)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error as error:
        raise UnreadableImageError(f"{name}: cannot decode image: {error.err}") from None
    if image is None:
        raise UnreadableImageError(f"{name}: not a readable image ({len(data)} bytes)")
    return image


def check_pixels(data: bytes, name: Path | str) -> None:
    """Refuse a picture that cannot be decoded for its size: a damaged header, OpenCV, memory."""
    height, width = declared_size(data)
    pixels = height * width
    if pixels > MOST_PIXELS_A_BYTE * len(data):
        raise UnreadableImageError(
            f"{name}: {len(data)} bytes say {width}x{height} pixels; its header is damaged"
        )
    if pixels > MOST_PIXELS:
        raise UnreadableImageError(
            f"{name}: {width}x{height} pixels, at most {MOST_PIXELS} can be decoded; shrink it"
        )
    room = _free_memory() if pixels > LARGE else None
    if room is not None and pixels * BYTES_A_PIXEL > room:
        raise UnreadableImageError(
            f"{name}: {width}x{height} pixels take {pixels * BYTES_A_PIXEL >> 20} MB of memory, "
            f"{room >> 20} MB are free; make it smaller"
        )


def _free_memory() -> int | None:
    """Return the bytes a program may still take; None where the system does not say."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return None
    found = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
    return None if found is None else int(found[1]) * 1024


def _is_truncated(data: bytes) -> bool:
    """Look for the end marker behind the last scan; a thumbnail's own marker lies before it."""
    if data[:2] == b"\xff\xd8":
        return data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")
    if data[:4] == b"\x89PNG":
        return b"IEND" not in data[-64:]
    return False


def declared_size(data: bytes) -> tuple[int, int]:
    """Return the (H, W) that the header of a JPEG or PNG says; (0, 0) where it says none."""
    if data[:4] == b"\x89PNG" and len(data) >= 24:
        return int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big")
    at = 2 if data[:2] == b"\xff\xd8" else len(data)
    while 0 <= (at := data.find(b"\xff", at)) < len(data) - 8:
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of a frame
            height, width = data[at + 5 : at + 7], data[at + 7 : at + 9]
            return int.from_bytes(height, "big"), int.from_bytes(width, "big")
        alone = marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD9  # has no length
        at += 1 if alone else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return 0, 0
