# SPDX-License-Identifier: Apache-2.0
"""librealsense prints intrinsics as `[ 640x480  p[320 240]  f[600 600]  Brown Conrady [0 ..] ]`."""

import re

from depthkit.camera.calibration import Calibration, k_of
from depthkit.camera.calibration_text import number, numbers

_PRINTED = re.compile(
    r"(\d+)x(\d+)\s+p\[(\S+)\s+(\S+?)\]\s+f\[(\S+)\s+(\S+?)\]\s+([A-Za-z][\w -]*?)\s*\[([^\]]*)\]"
)


def read(text: str) -> list[Calibration]:
    """Return the cameras of such lines; none where there is no such line."""
    return [_camera(match.groups()) for match in _PRINTED.finditer(text)]


def _camera(fields: tuple[str, ...]) -> Calibration:
    width, height, cx, cy, fx, fy, model, D = fields
    K = k_of(
        *(number(value, name) for value, name in ((fx, "fx"), (fy, "fy"), (cx, "cx"), (cy, "cy")))
    )
    return Calibration(
        K,
        (int(height), int(width)),
        distortion_model=model,
        D=numbers(D, "distortion coefficients"),
    )
