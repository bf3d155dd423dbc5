# SPDX-License-Identifier: Apache-2.0
"""COLMAP cameras.txt: `CAMERA_ID MODEL WIDTH HEIGHT PARAMS[]`, pixels counted from the corner.

Orders of parameters follow COLMAP's src/colmap/sensor/models.h.
"""

from collections.abc import Sequence

from depthkit.camera.calibration import Calibration, k_of
from depthkit.camera.calibration_text import number, whole
from depthkit.errors import DataError

MODELS = {
    "SIMPLE_PINHOLE": (1, ""),
    "PINHOLE": (2, ""),
    "SIMPLE_RADIAL": (1, "k1"),
    "RADIAL": (1, "k1 k2"),
    "OPENCV": (2, "k1 k2 p1 p2"),
    "FULL_OPENCV": (2, "k1 k2 p1 p2 k3 k4 k5 k6"),
    "SIMPLE_RADIAL_FISHEYE": (1, "k1"),
    "RADIAL_FISHEYE": (1, "k1 k2"),
    "OPENCV_FISHEYE": (2, "k1 k2 k3 k4"),
    "FOV": (2, "omega"),
    "THIN_PRISM_FISHEYE": (2, "k1 k2 p1 p2 k3 k4 sx1 sy1"),
    "RAD_TAN_THIN_PRISM_FISHEYE": (2, "k0 k1 k2 k3 k4 k5 p0 p1 s0 s1 s2 s3"),
    "SIMPLE_DIVISION": (1, "k"),
    "DIVISION": (2, "k"),
    "EUCM": (2, "alpha beta"),
}
"""Number of focal lengths and the coefficients after the principal point, in their order."""


def read(text: str) -> list[Calibration]:
    """Return the cameras of cameras.txt; none where a row names no COLMAP model."""
    rows = [line.split() for line in text.split("\n") if line.strip() and line.strip()[0] != "#"]
    rows = [["1", *row] if row[0].upper() in MODELS else row for row in rows]
    if not rows or not all(len(row) > 1 and row[1].upper() in MODELS for row in rows):
        return []
    return [camera_of(row) for row in rows]


def parameter_count(model: str) -> int:
    """Return how many numbers follow width and height."""
    focals, words = MODELS[model]
    return focals + 2 + len(words.split())


def camera_of(row: Sequence[str]) -> Calibration:
    """Read the words of one camera: CAMERA_ID MODEL WIDTH HEIGHT PARAMS[].

    Raises:
        DataError: another number of parameters than the model takes, or text among them.
    """
    name, model = row[0], row[1].upper()
    focals, words = MODELS[model]
    keys = words.split()
    if len(row) != 4 + parameter_count(model):
        raise DataError(
            f"camera {name}: {model} takes {parameter_count(model)} parameters, got "
            f"{len(row) - 4} after width and height"
        )
    width, height = whole(row[2], "width"), whole(row[3], "height")
    values = [number(text, f"{model} parameter") for text in row[4:]]
    fx, fy = values[0], values[focals - 1]
    return Calibration(
        k_of(fx, fy, *values[focals : focals + 2]),
        (height, width),
        distortion_model=model,
        D=coefficients_of(model, dict(zip(keys, values[focals + 2 :], strict=True))),
        name=f"camera {name}",
        corner_of="COLMAP",
    )


def coefficients_of(model: str, found: dict[str, float]) -> tuple[float, ...]:
    """Put the coefficients of a COLMAP model into OpenCV's order, those left out as 0."""
    if not found or not set(found) <= {"k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6"}:
        return tuple(found.values())
    fisheye = "FISHEYE" in model
    order = (
        ("k1", "k2", "k3", "k4") if fisheye else ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")
    )
    values = tuple(found.get(key, 0.0) for key in order)
    return values if fisheye or any(values[4:]) else values[:4]
