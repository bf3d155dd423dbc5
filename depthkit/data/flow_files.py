# SPDX-License-Identifier: Apache-2.0
"""Optical flow on disk: Middlebury's `.flo` (exact) and KITTI's 16-bit PNG (1/64 px).

In memory flow is (H, W, 2) float32 in pixels (u, v), NaN where unknown, whatever the file.
"""

from pathlib import Path

import cv2
import numpy as np

from depthkit.data.image_io import encode, read_bytes, write_atomic
from depthkit.errors import DataError, check_shape
from depthkit.picture import decode

FLOW_SUFFIXES = (".flo", ".png")

KITTI_SCALE, KITTI_ZERO = 64.0, 2**15
KITTI_REACH = 511.9
"""Pixels; longer flow does not fit into KITTI's 16 bit and is written as unknown."""

_MAGIC = b"PIEH"  # the float 202021.25, by which Middlebury's readers check the byte order
_HEADER = 12  # bytes: magic, width, height
_UNKNOWN = 1e9  # pixels; Middlebury: a larger value, or NaN, is unknown
_UNKNOWN_WRITTEN = 1e10
_LARGEST = 99999  # pixels a side, as in Middlebury's own reader


def read_flow(path: Path) -> np.ndarray:
    """Read flow by the suffix of its file; NaN where unknown. (H, W, 2) float32

    Raises:
        DataError: missing, damaged, of another kind, or an unknown suffix.
    """
    if path.suffix == ".flo":
        return _parse_flo(read_bytes(path), path)
    if path.suffix == ".png":
        return _decode_kitti(read_bytes(path), path)
    raise DataError(f"{path}: flow is read from {' or '.join(FLOW_SUFFIXES)}")


def write_flow(path: Path, flow: np.ndarray) -> None:
    """Write flow by the suffix of its file, under a temporary name that is renamed.

    Args:
        path: .flo keeps every bit; .png rounds to 1/64 px, and what is beyond 511.9 px is unknown.
        flow: pixels (u, v); NaN or infinite where unknown. (H, W, 2)

    Raises:
        DataError: an unknown suffix, or the file cannot be written.
    """
    check_shape("write_flow: flow", flow, "H W 2")
    if path.suffix == ".flo":
        write_atomic(path, _format_flo(flow))
    elif path.suffix == ".png":
        write_atomic(path, encode(encode_kitti(flow), "png"))
    else:
        raise DataError(f"{path}: flow is written to {' or '.join(FLOW_SUFFIXES)}")


def encode_kitti(flow: np.ndarray) -> np.ndarray:
    """Turn flow into KITTI's picture: uint16, 64 value + 2^15, third channel valid. (H, W, 3)"""
    valid = (np.abs(np.nan_to_num(flow, nan=1e9)) < KITTI_REACH).all(axis=-1)
    raw = np.rint(np.where(valid[..., None], flow, 0) * KITTI_SCALE + KITTI_ZERO)
    return np.concatenate([raw, valid[..., None]], axis=-1).astype(np.uint16)


def _decode_kitti(data: bytes, path: Path) -> np.ndarray:
    image = decode(data, path, cv2.IMREAD_UNCHANGED)
    if image.dtype != np.uint16 or image.ndim != 3 or image.shape[2] != 3:
        raise DataError(
            f"{path}: not a KITTI flow picture (16 bit, three channels), got {image.dtype} of "
            f"{image.shape}"
        )
    flow = (image[..., 2:0:-1].astype(np.float32) - KITTI_ZERO) / np.float32(KITTI_SCALE)
    flow[image[..., 0] == 0] = np.nan
    return flow


def _parse_flo(data: bytes, path: Path) -> np.ndarray:
    """Read Middlebury's format: magic, width, height, then rows of u, v; little endian."""
    if data[:4] != _MAGIC:
        raise DataError(f"{path}: not a .flo file: begins with {data[:4]!r}, expected {_MAGIC!r}")
    if len(data) < _HEADER:
        raise DataError(f"{path}: truncated: {len(data)} bytes, the header alone has {_HEADER}")
    width, height = (int(side) for side in np.frombuffer(data, "<i4", 2, offset=4))
    if not (0 < width <= _LARGEST and 0 < height <= _LARGEST):
        raise DataError(f"{path}: impossible size {width}x{height}; the file is damaged")
    expected = _HEADER + 8 * width * height
    if len(data) != expected:
        state = "truncated" if len(data) < expected else "too long"
        raise DataError(f"{path}: {state}: {len(data)} bytes, {width}x{height} needs {expected}")
    flow = np.frombuffer(data, "<f4", offset=_HEADER).reshape(height, width, 2)
    known = (np.abs(flow) <= _UNKNOWN).all(axis=-1, keepdims=True)  # NaN fails
    return np.where(known, flow, np.float32(np.nan)).astype(np.float32)


def _format_flo(flow: np.ndarray) -> bytes:
    known = np.isfinite(flow).all(axis=-1, keepdims=True)
    values = np.where(known, flow, _UNKNOWN_WRITTEN).astype("<f4")
    height, width = flow.shape[:2]
    return _MAGIC + np.array([width, height], "<i4").tobytes() + values.tobytes()
