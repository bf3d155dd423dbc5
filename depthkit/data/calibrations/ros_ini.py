# SPDX-License-Identifier: Apache-2.0
"""ROS camera_calibration_parsers INI (`ost.txt`, `*.ini`): names on a line, numbers below them."""

import re

from depthkit.camera.calibration import Calibration
from depthkit.camera.calibration_text import numbers, whole
from depthkit.errors import DataError

_HEADS = ("width", "height", "camera matrix", "distortion", "rectification", "projection")


def read(text: str) -> list[Calibration]:
    """Return the cameras of an INI file; none where it has no 'camera matrix' line."""
    if re.search(r"(?im)^\s*camera matrix\s*$", text) is None:
        return []
    sections = _sections(text)
    image = next((values for name, values in sections if "width" in values), {})
    size = None
    if "width" in image and "height" in image:
        size = whole(image["height"], "height"), whole(image["width"], "width")
    return [_camera(name, values, size) for name, values in sections if "camera matrix" in values]


def _sections(text: str) -> list[tuple[str, dict[str, str]]]:
    """Return (name, text by head) of each [section]."""
    sections: list[tuple[str, dict[str, str]]] = [("", {})]
    head = ""
    for line in (re.split(r"[#;]", line)[0].strip() for line in text.split("\n")):
        if line.startswith("[") and line.endswith("]"):
            sections.append((line[1:-1], {}))
            head = ""
        elif line.lower() in _HEADS:
            head = line.lower()
            sections[-1][1][head] = ""
        elif line and head:
            sections[-1][1][head] += f" {line}"
    return sections


def _camera(name: str, values: dict[str, str], size: tuple[int, int] | None) -> Calibration:
    K = numbers(values["camera matrix"], "camera matrix")
    if len(K) != 9:
        raise DataError(f"camera: camera matrix must hold 9 values, got {len(K)}")
    D = numbers(values.get("distortion", ""), "distortion")
    said: tuple[str, ...] = ()
    if len(D) == 4 and any(D):
        said = (
            "no distortion model in an INI file: 4 coefficients taken as k1 k2 p1 p2 (plumb_bob); "
            "give the YAML file of the same calibration for a fisheye",
        )
    # The format has no word for the model: ROS writes plumb_bob (5) or rational_polynomial (8).
    return Calibration(K, size, distortion_model="brown_conrady", D=D, name=name, assumed=said)
