# SPDX-License-Identifier: Apache-2.0
"""Pictures on disk: read what is whole, encode what was made, write under a temporary name.

OpenCV's imwrite forgets a full disk; it is caught here.
"""

import os
import re
from pathlib import Path

import cv2
import numpy as np

from depthkit.errors import DataError
from depthkit.picture import UnreadableImageError, decode, decode_rgb

__all__ = [
    "IMAGE_SUFFIXES",
    "UnreadableImageError",
    "decode_rgb",
    "encode",
    "list_images",
    "natural_key",
    "read_bytes",
    "read_mask",
    "read_rgb",
    "read_uint16",
    "write_atomic",
]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
JPEG_QUALITY = 95


def natural_key(name: str | Path) -> tuple[tuple[int, int, str], ...]:
    """Return a sort key under which frame2 comes before frame10."""
    parts = re.split(r"(\d+)", str(name))
    return tuple((1, int(p), p) if p.isdigit() else (0, 0, p) for p in parts)


def list_images(folder: Path) -> list[Path]:
    """Return the picture files of a folder in natural order; hidden files are left out."""
    return sorted(
        (p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.name[0] != "."),
        key=lambda p: natural_key(p.name),
    )


def read_rgb(path: Path, bayer: str | None = None) -> np.ndarray:
    """Read any picture as 8-bit RGB; grey is tripled, 16 bit is scaled by 255/65535.

    Args:
        path: the file; an EXIF orientation is applied.
        bayer: pattern of a raw one-channel mosaic, rggb, bggr, grbg or gbrg.

    Returns:
        (H, W, 3) uint8

    Raises:
        UnreadableImageError: missing, truncated or not a picture.
    """
    return decode_rgb(read_bytes(path), path, bayer)


def read_bytes(path: Path) -> bytes:
    """Read a whole file, or say in one line why not."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadableImageError(f"{path}: cannot read image: {error.strerror}") from None


def read_uint16(path: Path) -> np.ndarray:
    """Read a one-channel 16-bit picture (depth) as it stands. (H, W) uint16"""
    image = decode(read_bytes(path), path, cv2.IMREAD_UNCHANGED)
    if image.dtype != np.uint16 or image.ndim != 2:
        raise UnreadableImageError(
            f"{path}: expected a one-channel 16-bit picture, got {image.dtype} of {image.shape}"
        )
    return image


def read_mask(path: Path) -> np.ndarray:
    """Read a picture whose non-zero pixels are valid. (H, W) bool"""
    return decode(read_bytes(path), path, cv2.IMREAD_GRAYSCALE) > 0


def encode(image: np.ndarray, ext: str) -> bytes:
    """Encode (H, W, 3) uint8 RGB, (H, W) uint8 or (H, W) uint16 as 'jpg' (quality 95) or 'png'."""
    bgr = image[..., ::-1] if image.ndim == 3 else image
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if ext == "jpg" else []
    ok, data = cv2.imencode(f".{ext}", np.ascontiguousarray(bgr), options)
    if not ok:
        raise DataError(f"cannot encode {image.dtype} of {image.shape} as {ext}")
    return data.tobytes()


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a file under a temporary name of this process, then rename it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise DataError(f"{path}: cannot write: {error.strerror}") from error
