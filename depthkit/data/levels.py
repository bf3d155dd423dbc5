# SPDX-License-Identifier: Apache-2.0
"""Pictures of more than 8 bit: one mapping to 8 bit for all frames of a sequence.

A thermal camera uses a few hundred of 65536 values, a 12-bit camera the lowest sixteenth; divided
by 257 little is left of either. The values in use are sampled over the whole sequence, so that
brightness stays constant and a part of it is mapped as the whole is.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from depthkit.data.image_io import UnreadableImageError, read_bytes
from depthkit.picture import Levels, decode_deep

SAMPLES = 32
"""Frames that are looked at, spread evenly from the first to the last."""
PIXELS = 1 << 16
"""Values taken of each, on a regular grid."""
PERCENTILES = (0.1, 99.9)
"""What lies beyond is a dead or a hot pixel."""
ENOUGH = 100 / 256
"""Share of the full range that must be in use for the full range to be kept."""


def find_levels(paths: Sequence[Path]) -> tuple[Levels | None, str]:
    """Choose the mapping of a sequence of picture files, and say which in one sentence.

    Args:
        paths: files of the frames; those that cannot be read are left out.

    Returns:
        The mapping, None where all have 8 bit or 16 bit well used (value / 257 then); and the
        sentence about an assumption, empty where nothing was assumed.
    """
    chosen = sorted({round(i) for i in np.linspace(0, len(paths) - 1, SAMPLES)}) if paths else []
    sampled = [found for i in chosen if (found := _sample(paths[i])) is not None]
    if not sampled:
        return None, ""
    dtype = max((values.dtype for values in sampled), key=lambda kind: kind.itemsize)
    values = np.concatenate(sampled).astype(np.float64)
    low, high = (float(v) for v in np.percentile(values, PERCENTILES))
    kind = f"{8 * dtype.itemsize}-bit {'numbers' if dtype.kind == 'f' else 'pictures'}"
    for floor, ceiling in _full_ranges(dtype):
        if floor <= low and high <= ceiling and high - low >= ENOUGH * (ceiling - floor):
            if dtype == np.uint16:
                return None, ""
            return Levels(
                floor, ceiling
            ), f"{kind}: {floor:g} to {ceiling:g} taken as black to white"
    levels = Levels(low, high if high > low else low + 1.0)
    return levels, (
        f"{kind} use values {levels.low:g} to {levels.high:g} only: these are stretched to 0 to "
        "255, the same for all frames (prepare --levels LOW:HIGH sets them)"
    )


def _full_ranges(dtype: np.dtype) -> tuple[tuple[float, float], ...]:
    """Return the ranges that pictures of a type fill by convention."""
    if dtype.kind == "f":
        return (0.0, 1.0), (0.0, 255.0)
    return ((0.0, 65535.0),) if dtype == np.uint16 else ()


def _sample(path: Path) -> np.ndarray | None:
    """Return values of a picture of more than 8 bit; None of any other."""
    try:
        data = read_bytes(path)
        if _has_8_bit(data):
            return None
        image = decode_deep(data, path)
    except UnreadableImageError:
        return None
    if image.dtype == np.uint8:
        return None
    step = max(1, int(np.ceil(np.sqrt(image[..., :1].size / PIXELS))))
    values = image[::step, ::step].ravel()
    values = values[np.isfinite(values)] if image.dtype.kind == "f" else values
    return values if len(values) else None


def _has_8_bit(data: bytes) -> bool:
    """Decide from the header alone where it states the depth: JPEG always, PNG in its byte 24."""
    return data[:2] == b"\xff\xd8" or (data[:4] == b"\x89PNG" and data[24:25] < b"\x10")
