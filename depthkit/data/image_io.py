# SPDX-License-Identifier: Apache-2.0
"""Pictures on disk: read what is whole, encode what was made, write under a temporary name.

OpenCV's imwrite forgets a full disk; it is caught here.
"""

import os
import re
from pathlib import Path

import cv2
import numpy as np

from depthkit.data.file_kinds import EMPTY, PICTURE, UNKNOWN, FileKind, kind_of, read_kind
from depthkit.data.heif import HEIF_SUFFIXES, decode_heif, has_heif
from depthkit.errors import DataError
from depthkit.picture import Levels, UnreadableImageError, decode, decode_deep
from depthkit.picture import decode_rgb as decode_rgb_of_opencv

__all__ = [
    "IMAGE_SUFFIXES",
    "UnreadableImageError",
    "decode_rgb",
    "encode",
    "is_image",
    "list_images",
    "natural_key",
    "read_bytes",
    "read_mask",
    "read_rgb",
    "read_size",
    "read_uint16",
    "write_atomic",
]

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".gif"),
    ".mpo",
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".avif", ".hdr", ".ras", ".sr"),
)
JPEG_QUALITY = 95
_COMMON = tuple(f"a {name} picture" for name in ("JPEG", "PNG", "TIFF", "BMP", "PNM", "WebP"))
"""Kinds that every build of OpenCV reads: where one does not decode, it is damaged."""


MOST_LOOKS = 20
_NO_PICTURES = (
    *(".txt", ".csv", ".json", ".yaml", ".yml", ".xml", ".md", ".py", ".bin", ".npy", ".npz"),
    *(".thm", ".pfm", ".flo", ".bag", ".db3", ".mcap", ".mp4", ".avi", ".mov", ".mkv"),
)
"""Suffixes of what is never a frame, whatever it holds."""


def natural_key(name: str | Path) -> tuple[tuple[int, int, str], ...]:
    """Return a sort key under which frame2 comes before frame10."""
    parts = re.split(r"(\d+)", str(name))
    return tuple((1, int(p), p) if p.isdecimal() else (0, 0, p) for p in parts)


def is_image(path: Path) -> bool:
    """Whether a file is a picture by its suffix, one that this installation reads, not hidden."""
    suffix = path.suffix.lower()
    known = suffix in IMAGE_SUFFIXES or (suffix in HEIF_SUFFIXES and has_heif())
    return known and path.name[0] != "."


def list_images(folder: Path) -> list[Path]:
    """Return the picture files of a folder in natural order; hidden files are left out.

    Where no file has the suffix of a picture, those that begin as one are taken.

    The order is that of the names without their suffixes and whatever their case, so that
    'a (1).jpg' comes after 'a.jpg' and IMG_2.JPG before img_10.jpg. Names that are seconds since
    1970 are in order of time: 1700000000.5 after 1700000000.25.
    """
    # Plain files alone: reading from a pipe of that name would wait for ever.
    named = [path for path in folder.iterdir() if is_image(path) and path.is_file()]
    return sorted(named or _pictures_by_content(folder), key=_picture_key)


def _pictures_by_content(folder: Path) -> list[Path]:
    """Look into a few files of a folder, and into all where one of the few is a picture."""
    paths = (p for p in sorted(folder.iterdir()) if p.suffix.lower() not in _NO_PICTURES)
    files = [path for path in paths if path.name[0] != "." and path.is_file()]
    if not any(read_kind(path).name in _COMMON for path in files[:MOST_LOOKS]):
        return []
    return [path for path in files if read_kind(path).name in _COMMON]


def _picture_key(path: Path) -> tuple[tuple[tuple[int, int, str], ...], str]:
    stem = re.sub(r"(?<=\d{9}\.)\d{1,9}$", lambda found: found[0].ljust(9, "0"), path.stem)
    return natural_key(stem.casefold()), path.name


def read_rgb(path: Path, bayer: str | None = None, *, levels: Levels | None = None) -> np.ndarray:
    """Read any picture as 8-bit RGB; grey is tripled, 16 bit is scaled by 255/65535.

    Args:
        path: the file; an EXIF orientation is applied.
        bayer: pattern of a raw one-channel mosaic, rggb, bggr, grbg or gbrg.
        levels: mapping of what has more than 8 bit, in place of 255/65535.

    Returns:
        (H, W, 3) uint8

    Raises:
        UnreadableImageError: missing, truncated or not a picture.
    """
    return decode_rgb(read_bytes(path), path, bayer, levels=levels)


def decode_rgb(
    data: bytes, name: Path | str, bayer: str | None = None, *, levels: Levels | None = None
) -> np.ndarray:
    """Decode a picture file as `picture.decode_rgb` does, HEIC too. (H, W, 3) uint8"""
    kind = kind_of(data[:1024])
    if kind.name == "a HEIC picture":
        return decode_heif(data, name)
    try:
        return decode_rgb_of_opencv(data, name, bayer, levels=levels)
    except UnreadableImageError as error:
        raise UnreadableImageError(f"{error}{_about(kind)}") from None


def read_size(path: Path) -> tuple[int, int]:
    """Return (H, W) of a picture of any depth as decoded, that is after an EXIF orientation.

    Raises:
        UnreadableImageError: missing, truncated or not a picture.
    """
    data = read_bytes(path)
    try:
        image = decode_deep(data, path)
    except UnreadableImageError:
        image = decode_rgb(data, path)  # HEIC; else its error says what the file is
    return image.shape[0], image.shape[1]


def _about(kind: FileKind) -> str:
    """Say what a file is that is no picture OpenCV could have read."""
    if kind.name in _COMMON or kind.group in (UNKNOWN, EMPTY):
        return ""
    return f": it is {kind.name}{'; convert it to JPEG or PNG' if kind.group == PICTURE else ''}"


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
