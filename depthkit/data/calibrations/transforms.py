# SPDX-License-Identifier: Apache-2.0
"""transforms.json of nerfstudio, instant-ngp and Blender: fl_x or camera_angle_x, w, h, k1, ...

Numbers may stand at the top or at each frame. Pixels are counted from the corner: a ray through
pixel i is cast at i + 0.5 (nerfstudio, cameras.py).
"""

import math
from collections.abc import Mapping
from typing import Any

from depthkit.camera.calibration import Calibration, coefficients, k_of, read_size
from depthkit.camera.calibration_text import number
from depthkit.errors import DataError


def read(record: Mapping[str, Any], frames: tuple[int, int] | None = None) -> list[Calibration]:
    """Return the camera of a mapping with fl_x or camera_angle_x.

    Args:
        record: the file, or one frame of it with what the file states for all.
        frames: (H, W) of the pictures, for a file without w and h, as Blender writes it.
    """
    if "fl_x" not in record and "camera_angle_x" not in record:
        return []
    size = read_size(record)
    word = str(record.get("camera_model") or "")
    if str(record.get("is_fisheye", "")).lower() in ("true", "1"):
        word = word if "FISHEYE" in word.upper() else "fisheye"
    if "FISHEYE" not in word.upper() and number(record.get("k4", 0), "k4"):
        raise DataError(
            f"camera: k4 {record['k4']} of a {word or 'perspective'} lens is a model of "
            "nerfstudio's own; calibrate with k1 k2 p1 p2 k3"
        )
    used = size or frames
    if used is None:
        raise DataError("camera: missing w and h; add the size of the pictures to the file")
    K, said = _matrix(record, used)
    D = coefficients(record, word)
    if not D and "FISHEYE" in word.upper():
        D = (0.0,) * 4  # what is left out is 0 there
    return [
        Calibration(
            K,
            size,
            distortion_model=word or "OPENCV",
            D=D,
            corner_of="transforms.json",
            assumed=said,
        )
    ]


def _matrix(
    record: Mapping[str, Any], size: tuple[int, int]
) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """Return K in pixels from the corner, and what the file leaves open."""
    height, width = size
    fx, fy = _focal(record, "x", width), _focal(record, "y", height)
    said: tuple[str, ...] = ()
    if fx is None:
        raise DataError("camera: missing fl_x")
    if fy is None:
        fy, said = fx, ("no fl_y: pixels taken as square",)
    cx, cy = record.get("cx"), record.get("cy")
    if cx is None or cy is None:
        cx, cy = width / 2, height / 2
        said += ("no cx and cy: the middle of the picture taken",)
    return k_of(fx, fy, number(cx, "cx"), number(cy, "cy")), said


def _focal(record: Mapping[str, Any], axis: str, length: int) -> float | None:
    """Return the focal length along an axis, pixels: fl_x, else of the angle, radians."""
    value, angle = record.get(f"fl_{axis}"), record.get(f"camera_angle_{axis}")
    if value is not None:
        return number(value, f"fl_{axis}")
    if angle is None:
        return None
    radians = number(angle, f"camera_angle_{axis}")
    if not 0 < radians < math.pi:
        raise DataError(f"camera: camera_angle_{axis} must be radians below pi, got {radians:g}")
    return length / (2 * math.tan(radians / 2))
