# SPDX-License-Identifier: Apache-2.0
"""HEIC pictures of phones, through the optional package pillow-heif."""

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np

from depthkit.picture import UnreadableImageError

HEIF_SUFFIXES = (".heic", ".heif", ".hif")
HEIF_REMEDY = "convert to JPEG, or pip install 'depthkit[heic]'"


@cache
def has_heif() -> bool:
    """Whether pillow-heif is installed."""
    return importlib.util.find_spec("pillow_heif") is not None


def decode_heif(data: bytes, name: Path | str) -> np.ndarray:
    """Decode the main picture, turned upright, 8 bit. (H, W, 3) uint8 RGB

    Raises:
        UnreadableImageError: pillow-heif is missing, or the picture is damaged.
    """
    try:
        import pillow_heif
    except ImportError:
        raise UnreadableImageError(f"{name}: is a HEIC picture; {HEIF_REMEDY}") from None
    try:
        image = np.asarray(pillow_heif.read_heif(data, convert_hdr_to_8bit=True))
    except Exception as error:  # its errors have no common class; a picture must not end a run
        text = " ".join(str(error).split())
        raise UnreadableImageError(f"{name}: damaged HEIC picture: {text}") from None
    colour = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image[..., :3]
    return np.ascontiguousarray(colour)
