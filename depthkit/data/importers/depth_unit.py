# SPDX-License-Identifier: Apache-2.0
"""Stored depth to metres: which unit a format or a user states, which is assumed, and how read.

A Kinect measures whole millimetres, so depth at 5000 a metre (TUM) is a multiple of 5 in every
pixel; depth in millimetres is not.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from depthkit.data.depth_files import read_numpy
from depthkit.data.image_io import IMAGE_SUFFIXES, UnreadableImageError, read_bytes, read_uint16
from depthkit.errors import DataError
from depthkit.picture import decode

MILLIMETRES = 1000.0
TUM_SCALE = 5000.0
STORED_SCALE = 1000.0
"""PNG value per metre where the source holds floating-point metres."""
LOOKED_AT = 5
"""Number of pictures from which a unit is detected."""
FEW_VALUES = 10
"""Distinct depths, at most, in pictures that are too plain to tell a unit from."""
INVALID = 65535
DEPTH_SUFFIXES = (*IMAGE_SUFFIXES, ".npy", ".npz", ".exr")


def tell_scale(paths: Sequence[Path]) -> tuple[float, str]:
    """Tell depth at 5000 a metre from millimetres.

    Args:
        paths: 16-bit depth pictures of a folder in the layout of TUM.

    Returns:
        scale: stored value per metre.
        reason: why, in words.
    """
    chosen = [paths[i] for i in np.unique(np.linspace(0, len(paths) - 1, LOOKED_AT, dtype=int))]
    values = np.unique(np.concatenate([_values(path) for path in chosen]))
    if len(values) <= FEW_VALUES:
        return TUM_SCALE, "as the layout has it"
    if (values % 5 == 0).all():
        return TUM_SCALE, "every value is a multiple of 5, as in TUM's own"
    return MILLIMETRES, "its values are not multiples of 5, as those of TUM's own are"


def median_depth(paths: Sequence[Path], scale: float) -> float:
    """Return the median of the first picture that has depth, metres; 0 where none has."""
    for path in paths[:LOOKED_AT]:
        values = _values(path)
        if len(values):
            return float(np.median(values)) / scale
    return 0.0


def unit_words(paths: Sequence[Path], scale: float, reason: str) -> str:
    """Say which unit was assumed, with a depth to judge it by."""
    unit = "millimetres" if scale == MILLIMETRES else f"{scale:g} a metre"
    return (
        f"depth taken as {unit} ({reason}): median {median_depth(paths, scale):.3g} m "
        "(--depth-scale N sets the stored value per metre)"
    )


def read_stored(path: Path, scale: float, float_scale: float = 1.0) -> np.ndarray:
    """Read depth of a 16-bit picture, floating-point picture or .npy array.

    Args:
        path: the file.
        scale: stored value per metre of whole numbers.
        float_scale: the same of floating-point numbers, which are metres as a rule.

    Returns:
        Metres, 0 = unknown. (H, W) float32

    Raises:
        UnreadableImageError: unreadable, or 8-bit pictures, which are for the eye.
    """
    raw = _read_array(path)
    if raw.dtype == np.uint8 and raw.ndim == 3 and raw.shape[2] == 4:
        # TartanAir V2 packs the four bytes of a float32 into a colour picture with alpha.
        raw = np.ascontiguousarray(raw).view("<f4")[..., 0]
    if raw.ndim == 3 and raw.shape[2] in (1, 3) and raw.dtype != np.uint8:
        raw = raw[..., 0]
    if raw.ndim != 2 or raw.dtype == np.uint8:
        raise UnreadableImageError(
            f"{path}: expected depth of 16 bit or floating point, got {raw.dtype} of {raw.shape}"
        )
    if raw.dtype.kind == "f":
        known = np.nan_to_num(raw, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float32)
        return np.maximum(known, 0) / np.float32(float_scale)
    return np.where(raw == INVALID, 0, raw).astype(np.float32) / np.float32(scale)


def is_depth_picture(path: Path) -> bool:
    """Whether a picture could be depth: one channel of 16 bit, or floating point."""
    try:
        raw = _read_array(path)
    except UnreadableImageError:
        return False
    return raw.ndim == 2 and raw.dtype in (np.uint16, np.int16, np.float32, np.float64)


def stored_kind(path: Path) -> tuple[str, tuple[int, int]]:
    """Return what a depth file holds ('float', '16 bit' or '8 bit') and its (H, W).

    Raises:
        UnreadableImageError: it cannot be read.
    """
    raw = _read_array(path)
    if raw.dtype.kind == "f" or (raw.dtype == np.uint8 and raw.shape[2:] == (4,)):
        return "float", (raw.shape[0], raw.shape[1])
    return ("8 bit" if raw.dtype == np.uint8 else "16 bit"), (raw.shape[0], raw.shape[1])


def _read_array(path: Path) -> np.ndarray:
    if path.suffix.lower() not in (".npy", ".npz"):
        return decode(read_bytes(path), path, cv2.IMREAD_UNCHANGED)
    try:
        array = read_numpy(path)
    except DataError as error:
        raise UnreadableImageError(str(error)) from None
    if array.ndim < 2 or array.dtype.kind not in "fui":
        raise UnreadableImageError(
            f"{path}: expected depth (H, W), got {array.dtype} {array.shape}"
        )
    return array


def _values(path: Path) -> np.ndarray:
    """Return the known raw values of a 16-bit picture; none of one that cannot be read. (N,)"""
    try:
        raw = read_uint16(path)
    except DataError:
        return np.empty(0, np.uint16)
    return raw[(raw > 0) & (raw < INVALID)]
