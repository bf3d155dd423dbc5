# SPDX-License-Identifier: Apache-2.0
"""Pictures on disk: decode what is whole, encode what was made, write under a temporary name.

OpenCV fills the missing part of a truncated picture with grey and says nothing, and its imwrite
forgets a full disk; both are caught here.
"""

import os
import re
from pathlib import Path

import cv2
import numpy as np

from depthkit.errors import DataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
JPEG_QUALITY = 95

BAYER_CODES = {
    "rggb": cv2.COLOR_BayerRGGB2RGB,
    "bggr": cv2.COLOR_BayerBGGR2RGB,
    "grbg": cv2.COLOR_BayerGRBG2RGB,
    "gbrg": cv2.COLOR_BayerGBRG2RGB,
}


class UnreadableImageError(DataError):
    """A picture that is missing, truncated or no picture: `prepare` skips and counts these."""


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
        bayer: pattern of a raw one-channel mosaic, a key of `BAYER_CODES`.

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


def decode_rgb(data: bytes, path: Path, bayer: str | None = None) -> np.ndarray:
    """Decode the bytes of `path`; see `read_rgb`."""
    flags = cv2.IMREAD_ANYDEPTH | (cv2.IMREAD_GRAYSCALE if bayer else cv2.IMREAD_COLOR_RGB)
    image = _decode(data, path, flags)
    if image.dtype == np.uint16:
        image = np.rint(image * (255.0 / 65535.0)).astype(np.uint8)
    if image.dtype != np.uint8:
        raise UnreadableImageError(f"{path}: expected 8 or 16 bit an image, got {image.dtype}")
    return cv2.cvtColor(image, BAYER_CODES[bayer]) if bayer else image


def read_uint16(path: Path) -> np.ndarray:
    """Read a one-channel 16-bit picture (depth) as it stands. (H, W) uint16"""
    image = _decode(read_bytes(path), path, cv2.IMREAD_UNCHANGED)
    if image.dtype != np.uint16 or image.ndim != 2:
        raise UnreadableImageError(
            f"{path}: expected a one-channel 16-bit picture, got {image.dtype} of {image.shape}"
        )
    return image


def read_mask(path: Path) -> np.ndarray:
    """Read a picture whose non-zero pixels are valid. (H, W) bool"""
    return _decode(read_bytes(path), path, cv2.IMREAD_GRAYSCALE) > 0


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


def _decode(data: bytes, path: Path, flags: int) -> np.ndarray:
    if _is_truncated(data):
        raise UnreadableImageError(f"{path}: truncated image ({len(data)} bytes)")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error as error:
        raise UnreadableImageError(f"{path}: cannot decode image: {error.err}") from None
    if image is None:
        raise UnreadableImageError(f"{path}: not a readable image ({len(data)} bytes)")
    return image


def _is_truncated(data: bytes) -> bool:
    """Look for the end marker behind the last scan; a thumbnail's own marker lies before it."""
    if data[:2] == b"\xff\xd8":
        return data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")
    if data[:4] == b"\x89PNG":
        return b"IEND" not in data[-64:]
    return False
