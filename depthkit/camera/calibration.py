# SPDX-License-Identifier: Apache-2.0
"""What a calibration file states about a camera, before anything is checked or converted.

The two shapes that most programs share are read here from the mapping a file holds: single numbers
(fx, fy, cx, cy) and matrices (camera_matrix).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from depthkit.camera.calibration_text import number, numbers, short, whole
from depthkit.errors import DataError


@dataclass(frozen=True)
class Calibration:
    """One camera of a calibration file, in the file's own numbers and words."""

    K: tuple[float, ...]
    """Intrinsics as written, row by row, pixels or fractions of the size. 9 numbers"""
    size: tuple[int, int] | None = None
    """(H, W) that the file states, pixels."""
    camera_model: str = ""
    """Word for the camera; may be a product's name."""
    distortion_model: str = ""
    """Word for the distortion."""
    D: tuple[float, ...] = ()
    """Distortion coefficients."""
    name: str = field(default="", compare=False)
    """Name among several cameras of one file."""
    corner_of: str = ""
    """Program that puts (0, 0) at the corner of the first pixel; empty: at its centre."""
    roi: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Top, left, height, width of the window that the pictures show; zeros: all of it."""
    binning: tuple[int, int] = (1, 1)
    """Sensor pixels that one pixel of the picture is made of, (down, across)."""
    assumed: tuple[str, ...] = ()
    """Conventions the file does not state, and the value that was taken."""


def matrix_of(values: tuple[float, ...], name: str) -> tuple[float, ...]:
    """Return the left 3x3 of a 3x3, 3x4 or 4x4 matrix, or K of fx fy cx cy. 9 numbers"""
    if len(values) == 9:
        return values
    if len(values) == 4:
        return k_of(*values)
    if len(values) in (12, 16):
        rows = [values[4 * i : 4 * i + 4] for i in range(len(values) // 4)]
        if len(rows) == 4 and any(rows[3][:3]):  # written by columns
            rows = [values[i::4] for i in range(4)]
        return tuple(v for row in rows[:3] for v in row[:3])
    raise DataError(
        f"camera: {name} must hold 9 values (3x3), 12 (3x4) or 16 (4x4), got {len(values)}"
    )


def k_of(fx: float, fy: float, cx: float, cy: float) -> tuple[float, ...]:
    """Return K row by row."""
    return (fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0)


# --- keys that many programs share ---------------------------------------------------------------

_MATRIX_KEYS = "cameramatrix|intrinsicmatrix|intrinsics|intrinsic|mtx|k|cammatrix|kmatrix|m1"
_COEFFICIENT_KEYS = (
    "distortioncoefficients|distortioncoeffs|coeffs|distcoeffs|distcoeff|distcoefs|distortion|dist"
    "|d|d1"
)
_WIDTH_KEYS = "imagewidth|width|w|cols|imgwidth|colorwidth|resolutionx|imagewidthpx"
_HEIGHT_KEYS = "imageheight|height|h|rows|imgheight|colorheight|resolutiony|imageheightpx"
_SIZE_KEYS = "imagesize|resolution|size|imgsize|imageshape|dim|imagedimensions"
_SCALARS = {
    "fx": "fx|fxcolor|focalx|focallengthx|fu",
    "fy": "fy|fycolor|focaly|focallengthy|fv",
    "cx": "cx|mxcolor|ppx|principalpointx|cu|u0",
    "cy": "cy|mycolor|ppy|principalpointy|cv|v0",
}
_CAMERA_WORDS = "cameramodel|cameratype|projectionmodel|projectiontype|lensmodel"
_DISTORTION_WORDS = "distortionmodel|distortiontype|distmodel"
_BROWN_KEYS = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")


def find(record: Mapping[str, Any], keys: str) -> Any:
    """Return the value of the first key of 'a|b' that is there, in any case, with any _ or -."""
    plain: dict[str, Any] = {}
    for key, value in record.items():
        plain.setdefault(re.sub(r"[^a-z0-9]", "", key.lower()), value)
    empty = (None, "", "~", "null")
    return next((plain[key] for key in keys.split("|") if plain.get(key) not in empty), None)


def read_scalars(record: Mapping[str, Any]) -> Calibration | None:
    """Read fx, fy, cx, cy as single numbers: depthkit's own file and many others."""
    found = {name: find(record, keys) for name, keys in _SCALARS.items()}
    if found["fx"] is None or isinstance(found["fx"], list | Mapping):
        return None
    size = read_size(record)
    missing = [name for name, value in found.items() if value is None and name not in record]
    if missing:
        needed = [*(("width", "height") if size is None else ()), *missing]
        raise DataError(f"camera: missing {', '.join(needed)}")
    K = k_of(*(number(value, name) for name, value in found.items()))
    camera_word, distortion_word = lens_words(record)
    # Only depthkit's own file says `model`; it means the distortion there.
    distortion_word = distortion_word or _text(record.get("model"))
    said: tuple[str, ...] = ()
    others = {"p1", "p2", "k5", "k6"} & {key.lower() for key in record}
    if not camera_word + distortion_word and record.get("k4") is not None and not others:
        distortion_word = "equidistant"
        said = (
            "k1 k2 k3 k4 without p1 and p2 taken as a fisheye's (equidistant); distortion_model: "
            "plumb_bob in the file takes them otherwise",
        )
    return Calibration(
        K,
        size,
        camera_model=camera_word,
        distortion_model=distortion_word,
        D=coefficients(record, f"{camera_word} {distortion_word}"),
        assumed=said,
    )


def read_matrices(record: Mapping[str, Any]) -> Calibration | None:
    """Read a camera matrix: ROS camera_info, OpenCV FileStorage and what looks like them."""
    value = find(record, _MATRIX_KEYS)
    if isinstance(value, Mapping) and "data" not in value:
        return None
    if not isinstance(value, list | Mapping | str) or _holds_mapping(value):
        return None
    camera_word, distortion_word = lens_words(record)
    flag = record.get("fisheye_model")  # OpenCV's calibration sample writes this flag
    if flag is not None and not distortion_word:
        distortion_word = "fisheye" if number(flag, "fisheye_model") else "brown_conrady"
    return Calibration(
        matrix_of(numbers(value, "camera_matrix"), "camera_matrix"),
        read_size(record),
        camera_model=camera_word,
        distortion_model=distortion_word,
        D=coefficients(record, f"{camera_word} {distortion_word}"),
        roi=_roi(record.get("roi")),
        binning=_binning(record),
    )


def _holds_mapping(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(item, Mapping) for item in value)


def read_size(record: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return (H, W) of two keys or of one [width, height]; None where a file states none."""
    width, height = find(record, _WIDTH_KEYS), find(record, _HEIGHT_KEYS)
    if width is not None and height is not None:
        return whole(height, "image_height"), whole(width, "image_width")
    pair = find(record, _SIZE_KEYS)
    if pair is None:
        return None
    values = numbers(pair, "resolution")
    if len(values) < 2:
        raise DataError(f"camera: resolution must be width, height; got {short(pair)}")
    return whole(values[1], "height"), whole(values[0], "width")


def lens_words(record: Mapping[str, Any]) -> tuple[str, str]:
    """Return a file's words for the camera and for its distortion; empty where it has none."""
    return _text(find(record, _CAMERA_WORDS)), _text(find(record, _DISTORTION_WORDS))


def coefficients(record: Mapping[str, Any], words: str = "") -> tuple[float, ...]:
    """Return the distortion of a list, or of k1, k2, p1, p2, ... as single numbers.

    Args:
        record: of one camera.
        words: the file's words for the lens: a fisheye's single numbers are k1 to k4.
    """
    value = find(record, _COEFFICIENT_KEYS)
    if isinstance(value, list | str) or (isinstance(value, Mapping) and "data" in value):
        return numbers(value, "distortion_coefficients")
    single = value if isinstance(value, Mapping) else record
    is_fisheye = re.search(r"fisheye|equi|kannala|kb", words.lower()) is not None
    has_tangential = any(key in single for key in ("p1", "p2"))
    keys = ("k1", "k2", "k3", "k4") if is_fisheye and not has_tangential else _BROWN_KEYS
    if not any(key in single for key in keys):
        return ()
    values = tuple(number(single.get(key, 0), key) for key in keys)
    return values if len(keys) == 4 or any(values[5:]) else values[:5]


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _roi(value: Any) -> tuple[int, int, int, int]:
    """Read a RegionOfInterest; without width and height it is the full picture."""
    if not isinstance(value, Mapping):
        return (0, 0, 0, 0)
    top, left, height, width = (
        whole(value.get(key, 0), f"roi {key}")
        for key in ("y_offset", "x_offset", "height", "width")
    )
    return top, left, height, width


def _binning(record: Mapping[str, Any]) -> tuple[int, int]:
    """Read binning_y and binning_x, where 0 means 1."""
    down, across = (whole(record.get(key, 0), key) or 1 for key in ("binning_y", "binning_x"))
    return down, across
