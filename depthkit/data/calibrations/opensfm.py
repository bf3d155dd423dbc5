# SPDX-License-Identifier: Apache-2.0
"""OpenSfM camera_models.json: focal and centre are shares of the longer side, from the middle.

Projection types as in OpenSfM's docs/source/geometry.rst.
"""

from collections.abc import Mapping
from typing import Any

from depthkit.camera.calibration import Calibration, k_of, read_size
from depthkit.camera.calibration_text import number
from depthkit.errors import DataError

_LENSES = {
    "perspective": ("brown_conrady", ("k1", "k2", "p1", "p2")),
    "simple_radial": ("brown_conrady", ("k1", "k2", "p1", "p2")),
    "radial": ("brown_conrady", ("k1", "k2", "p1", "p2")),
    "brown": ("brown_conrady", ("k1", "k2", "p1", "p2", "k3")),
    "fisheye": ("kannala_brandt", ("k1", "k2", "k3", "k4")),
    "fisheye_opencv": ("kannala_brandt", ("k1", "k2", "k3", "k4")),
}


def read(record: Mapping[str, Any]) -> list[Calibration]:
    """Return the camera of a mapping with projection_type and a focal length."""
    size, word = read_size(record), record.get("projection_type")
    focal = record.get("focal", record.get("focal_x"))
    if not isinstance(word, str) or focal is None or size is None:
        return []
    if word not in _LENSES:
        return [Calibration(k_of(1, 1, 0, 0), size, distortion_model=word, D=(1.0,))]
    lens, keys = _LENSES[word]
    longest = max(size)
    fx = number(focal, "focal") * longest
    fy = number(record.get("focal_y", focal), "focal_y") * longest
    if not (fx > 0 and fy > 0):
        raise DataError(f"camera: focal must be positive, got {focal!r}")
    cx, cy = (
        number(record.get(key, 0), key) * longest + (side - 1) / 2
        for key, side in (("c_x", size[1]), ("c_y", size[0]))
    )
    D = tuple(number(record.get(key, 0), key) for key in keys)
    return [Calibration(k_of(fx, fy, cx, cy), size, distortion_model=lens, D=D)]
