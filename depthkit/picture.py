# SPDX-License-Identifier: Apache-2.0
"""Bytes of JPEG, PNG and the like to pixels, and pixels of more than 8 bit to 8.

OpenCV fills the missing part of a truncated picture with grey and says nothing; it is refused here.
"""

from pathlib import Path

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


MOST_PIXELS = 1 << 26
"""8192 x 8192; one damaged byte of a header can ask for gigabytes."""


class UnreadableImageError(DataError):
    """A picture that is missing, truncated or no picture: `prepare` skips and counts these."""


def decode_rgb(
    data: bytes, name: Path | str, bayer: str | None = None, *, bits: int = 16
) -> np.ndarray:
    """Decode any picture as 8-bit RGB; grey is tripled, an EXIF orientation is applied.

    Args:
        data: the whole file.
        name: of the picture, for the message.
        bayer: pattern of a raw one-channel mosaic, a key of `BAYER_CODES`.
        bits: bits in use of a 16-bit picture; its largest value 2^bits - 1 becomes 255.

    Returns:
        (H, W, 3) uint8

    Raises:
        UnreadableImageError: truncated, not a picture, or neither 8 nor 16 bit.
    """
    # IMREAD_COLOR_RGB came with OpenCV 4.11; a robot has that of its Ubuntu, 4.6.
    flags = cv2.IMREAD_ANYDEPTH | (cv2.IMREAD_GRAYSCALE if bayer else cv2.IMREAD_COLOR)
    image = decode(data, name, flags)
    if image.dtype == np.uint16:
        image = to_8_bit(image, bits)
    if image.dtype != np.uint8:
        raise UnreadableImageError(f"{name}: expected 8 or 16 bit an image, got {image.dtype}")
    return cv2.cvtColor(image, BAYER_CODES[bayer] if bayer else cv2.COLOR_BGR2RGB)


def to_8_bit(image: np.ndarray, bits: int) -> np.ndarray:
    """Scale 0 .. 2^bits - 1 to 0 .. 255, rounded; what is brighter is 255. uint16 -> uint8"""
    return cv2.convertScaleAbs(image, alpha=255.0 / (2**bits - 1))


def decode(data: bytes, name: Path | str, flags: int) -> np.ndarray:
    """Decode with OpenCV's flags; raises UnreadableImageError for what is not a whole picture."""
    if _is_truncated(data):
        raise UnreadableImageError(f"{name}: truncated image ({len(data)} bytes)")
    height, width = declared_size(data)
    if height * width > MOST_PIXELS:
        raise UnreadableImageError(
            f"{name}: {len(data)} bytes say {width}x{height} pixels, at most {MOST_PIXELS}; its "
            "header is damaged"
        )
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error as error:
        raise UnreadableImageError(f"{name}: cannot decode image: {error.err}") from None
    if image is None:
        raise UnreadableImageError(f"{name}: not a readable image ({len(data)} bytes)")
    return image


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
