# SPDX-License-Identifier: Apache-2.0
"""One depth map from a file: PNG, TIFF, NumPy, PFM, OpenEXR; detected by content, not by suffix.

Gives the stored numbers. Whole numbers need a scale to become metres, floats are metres unless
stated otherwise: the caller decides and reports it.
"""

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from depthkit.data.image_io import UnreadableImageError, read_bytes
from depthkit.errors import DataError
from depthkit.picture import decode

DEPTH_SUFFIXES = (".png", ".tif", ".tiff", ".npy", ".npz", ".pfm", ".exr")
"""Suffixes of files that may hold a depth map."""

_NUMPY, _ZIP, _EXR, _HDF = b"\x93NUMPY", b"PK\x03\x04", b"\x76\x2f\x31\x01", b"\x89HDF"


@dataclass(frozen=True)
class StoredDepth:
    """The numbers of a depth file."""

    values: np.ndarray
    """0, NaN and inf = unknown. (H, W) float32"""
    is_whole: bool
    """The file stores whole numbers, which mean nothing without a scale."""
    note: str = ""
    """What had to be chosen to read it, such as one of three channels."""


def read_depth_file(path: Path) -> StoredDepth:
    """Read one depth map.

    Raises:
        DataError: missing, truncated, of another kind, or not one channel of numbers.
    """
    data = read_bytes(path)
    if data.startswith((_NUMPY, _ZIP)):
        return _check(path, read_numpy(path))
    if data.startswith(_HDF):
        raise DataError(f"{path}: is an HDF5 file; save its depth as .npy or 16-bit PNG")
    if data.startswith(_EXR):
        os.environ.setdefault("OPENCV_IO_ENABLE_OPENEXR", "1")
    try:
        image = decode(data, path, cv2.IMREAD_UNCHANGED)
    except UnreadableImageError:
        if not data.startswith(_EXR):
            raise
        raise DataError(
            f"{path}: this OpenCV reads no OpenEXR; save depth as .npy or float TIFF"
        ) from None
    return _check(path, image[..., ::-1] if image.ndim == 3 else image)  # OpenCV gives BGR


def read_numpy(path: Path) -> np.ndarray:
    """Read an array file, or the only array of an archive (or the one named depth)."""
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded as archive:
            names = archive.files
            name = "depth" if "depth" in names else names[0] if len(names) == 1 else None
            if name is not None:
                return np.asarray(archive[name])
    except ValueError as error:
        if "pickle" in str(error) or "Object arrays" in str(error):
            raise DataError(
                f"{path}: holds Python objects (a dict?), which are not read; save the array itself"
            ) from None
        raise DataError(f"{path}: is not a NumPy array file") from None
    except (EOFError, OSError, IndexError, KeyError, zipfile.BadZipFile):
        raise DataError(f"{path}: is not a NumPy array file") from None
    raise DataError(f"{path}: holds {', '.join(names) or 'nothing'}; expected one array 'depth'")


def _check(path: Path, values: np.ndarray) -> StoredDepth:
    """Bring the numbers to (H, W) float32, or say what they are instead."""
    if values.ndim == 3 and 1 in (values.shape[0], values.shape[2]):
        values = values.squeeze(0 if values.shape[0] == 1 else 2)
    note = ""
    if values.ndim == 3 and values.shape[2] == 3 and values.dtype.kind == "f":
        values, note = values[..., 2], "three channels of floats taken as points x y z, depth is z"
    if values.ndim in (3, 4) and values.shape[-1] > 4 and values.dtype.itemsize > 1:
        raise DataError(
            f"{path}: holds {len(values)} maps, got {values.dtype} of {values.shape}; save one map "
            "a file, named as its truth"
        )
    if values.dtype.kind == "b" or values.dtype.itemsize == 1 or values.ndim != 2:
        kind = "a picture of" if values.dtype == np.uint8 else f"{values.dtype} of"
        raise DataError(
            f"{path}: expected a one-channel 16-bit picture or (H, W) floats, got {kind} "
            f"{values.shape}{_EIGHT_BITS if values.dtype.itemsize == 1 else ''}"
        )
    if values.dtype.kind not in "fiu":
        raise DataError(f"{path}: expected (H, W) numbers, got {values.dtype} of {values.shape}")
    if values.size == 0:
        raise DataError(f"{path}: holds no pixels, got {values.shape}")
    return StoredDepth(np.asarray(values, np.float32), values.dtype.kind in "iu", note)


_EIGHT_BITS = "; 8 bits are too few for depth (a coloured or stretched picture?)"
