# SPDX-License-Identifier: Apache-2.0
"""DSO and TUM monoVO camera.txt: `[Model] fx fy cx cy ...`, below it `width height` of the input.

As DSO reads it (src/util/Undistort.cpp): without a word five numbers are the FOV model, eight are
RadTan; values below 1 are fractions of the size, from the corner of the first pixel.
"""

import re

from depthkit.camera.calibration import Calibration, k_of
from depthkit.camera.calibration_text import number, whole
from depthkit.errors import DataError

# Lens word and number of coefficients that follow fx fy cx cy.
_MODELS = {
    "pinhole": ("pinhole", (0, 1)),
    "fov": ("fov", (1,)),
    "atan": ("fov", (1,)),
    "radtan": ("radtan", (4,)),
    "equidistant": ("equidistant", (4,)),
    "kannalabrandt": ("kannala_brandt", (4,)),
}
_BY_COUNT = {4: "pinhole", 5: "fov", 8: "radtan", 9: "brown_conrady"}


def read(text: str) -> list[Calibration]:
    """Return the camera; none where the second line is not two whole numbers."""
    lines = [line.split() for line in text.split("\n") if line.strip() and line.strip()[0] != "#"]
    if len(lines) < 2 or len(lines[1]) != 2 or not all(w.isdigit() for w in lines[1]):
        return []
    first = lines[0]
    has_word = re.fullmatch(r"[A-Za-z_]+", first[0]) is not None
    if has_word and first[0].lower() not in _MODELS:
        return []
    values = first[1:] if has_word else first
    if not all(re.fullmatch(r"[-+.0-9eE]+", value) for value in values):
        return []
    if not has_word and len(values) not in _BY_COUNT:
        return []
    size = whole(lines[1][1], "height"), whole(lines[1][0], "width")
    return [_camera(first[0] if has_word else "", [number(v, "a value") for v in values], size)]


def _camera(word: str, values: list[float], size: tuple[int, int]) -> Calibration:
    lens, counts = _MODELS[word.lower()] if word else (_BY_COUNT[len(values)], (len(values) - 4,))
    if len(values) - 4 not in counts:
        raise DataError(
            f"camera: {word} takes fx fy cx cy and {counts[-1]} more numbers, got {len(values)}"
        )
    D = tuple(values[4:])
    said = (
        ()
        if word or not any(D) or lens == "fov"
        else (f"{len(D)} numbers after fx fy cx cy taken as k1 k2 p1 p2 ...",)
    )
    return Calibration(k_of(*values[:4]), size, distortion_model=lens, D=D, assumed=said)
