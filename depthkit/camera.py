# SPDX-License-Identifier: Apache-2.0
"""Pinhole cameras, the one place that rescales K, and the calibration files of other programs.

Pixels have integer centres: (0, 0) is the centre of the top-left pixel, so resizing by s maps
c' = s (c + 0.5) - 0.5. Distortion follows OpenCV: Brown-Conrady (k1 k2 p1 p2 [k3 [k4 k5 k6 [s1..s4
[tx ty]]]]) and Kannala-Brandt (PAMI 2006, k1..k4 of theta).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from depthkit.errors import DataError

# How many coefficients each model takes, and the names other programs give to it.
COEFFICIENTS = {"none": (0,), "brown_conrady": (4, 5, 8, 12, 14), "kannala_brandt": (4,)}
MODEL_NAMES = {
    "none": "none",
    "pinhole": "none",
    "": "none",
    "brown_conrady": "brown_conrady",
    "plumb_bob": "brown_conrady",
    "rational_polynomial": "brown_conrady",
    "thin_prism": "brown_conrady",
    "radtan": "brown_conrady",
    "kannala_brandt": "kannala_brandt",
    "equidistant": "kannala_brandt",
    "fisheye": "kannala_brandt",
}


@dataclass(frozen=True)
class Camera:
    """A pinhole camera without skew; intrinsics in pixels of a width x height image."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float

    def __post_init__(self) -> None:
        if self.width <= 0 or self.height <= 0:
            raise DataError(f"camera: size must be positive, got {self.width}x{self.height}")
        for name in ("fx", "fy", "cx", "cy"):
            if not math.isfinite(getattr(self, name)):
                raise DataError(f"camera: {name} must be finite, got {getattr(self, name)!r}")
        if self.fx <= 0 or self.fy <= 0:
            raise DataError(
                f"camera: fx and fy must be positive, got fx {self.fx!r} and fy {self.fy!r}"
            )

    @property
    def K(self) -> np.ndarray:
        """Intrinsic matrix, pixels. (3, 3) float64"""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    @property
    def size(self) -> tuple[int, int]:
        """Image size, (H, W) pixels."""
        return self.height, self.width

    def resized(self, size: tuple[int, int]) -> "Camera":
        """Return the camera of the same image resized to size, (H, W)."""
        K = resize_matrix(self.size, size) @ self.K
        return _camera_of(K, size)

    def cropped(self, top: int, left: int, size: tuple[int, int]) -> "Camera":
        """Return the camera of the (H, W) window whose first pixel is (left, top)."""
        height, width = size
        if top < 0 or left < 0 or top + height > self.height or left + width > self.width:
            raise DataError(
                f"camera: crop of {width}x{height} at ({left}, {top}) leaves the "
                f"{self.width}x{self.height} image"
            )
        return Camera(width, height, self.fx, self.fy, self.cx - left, self.cy - top)


@dataclass(frozen=True)
class SourceCamera:
    """A camera as it was calibrated: pinhole part, distortion model and its coefficients."""

    camera: Camera
    distortion_model: str = "none"
    D: tuple[float, ...] = ()
    assumed: tuple[str, ...] = field(default=(), compare=False)
    """Conventions its file does not state, and the value that was taken; one sentence each."""

    def __post_init__(self) -> None:
        allowed = COEFFICIENTS.get(self.distortion_model)
        if allowed is None:
            raise DataError(
                f"camera: unknown distortion model {self.distortion_model!r}; "
                f"expected one of {', '.join(COEFFICIENTS)}"
            )
        if len(self.D) not in allowed:
            raise DataError(
                f"camera: {self.distortion_model} takes {' or '.join(map(str, allowed))} "
                f"distortion coefficients, got {len(self.D)}"
            )
        if not all(math.isfinite(value) for value in self.D):
            raise DataError(f"camera: distortion coefficients must be finite, got {self.D}")
        camera = self.camera
        if not (0 <= camera.cx < camera.width and 0 <= camera.cy < camera.height):
            raise DataError(
                f"camera: principal point ({camera.cx:g}, {camera.cy:g}) lies outside the "
                f"{camera.width}x{camera.height} image; is the calibration for another size?"
            )

    @property
    def is_distorted(self) -> bool:
        """Whether straight lines bend; a fisheye bends them even with D = 0 (r = f theta)."""
        return self.distortion_model == "kannala_brandt" or any(self.D)

    def to_record(self) -> dict[str, Any]:
        """Return plain values for a YAML file; `load_source_camera` reads them back."""
        camera = self.camera
        return {
            "width": camera.width,
            "height": camera.height,
            "fx": float(camera.fx),
            "fy": float(camera.fy),
            "cx": float(camera.cx),
            "cy": float(camera.cy),
            "model": "pinhole" if self.distortion_model == "none" else self.distortion_model,
            "distortion": [float(value) for value in self.D],
        }


def resize_matrix(from_size: tuple[int, int], to_size: tuple[int, int]) -> np.ndarray:
    """Return A such that K_new = A @ K when an image is resized.

    Args:
        from_size: size before, (H, W) pixels.
        to_size: size after, (H, W) pixels.

    Returns:
        A of c' = s (c + 0.5) - 0.5 in both axes. (3, 3) float64
    """
    sy, sx = to_size[0] / from_size[0], to_size[1] / from_size[1]
    return np.array([[sx, 0.0, 0.5 * (sx - 1)], [0.0, sy, 0.5 * (sy - 1)], [0.0, 0.0, 1.0]])


def build_source_camera(camera: Camera, model: str, D: tuple[float, ...]) -> SourceCamera:
    """Build the record from other programs' words; zero coefficients are no distortion.

    Args:
        camera: the pinhole part.
        model: a key of `MODEL_NAMES`, in any case; a fisheye bends even with zeros.
        D: as many coefficients as the model takes.
    """
    name = MODEL_NAMES.get(model.lower())
    if name is None:
        raise DataError(
            f"camera: unknown distortion model {model!r}; expected one of "
            f"{', '.join(key for key in MODEL_NAMES if key)}"
        )
    if model.lower() == "plumb_bob" and len(D) not in (0, 4, 5):
        raise DataError(f"camera: plumb_bob takes 5 distortion coefficients, got {len(D)}")
    if name != "kannala_brandt" and not any(D) and len(D) in (0, *COEFFICIENTS["brown_conrady"]):
        return SourceCamera(camera)
    return SourceCamera(camera, name, D)


def load_source_camera(path: Path | str) -> SourceCamera:
    """Read a calibration: our camera.yaml, a ROS camera_info YAML or an OpenCV FileStorage YAML.

    Raises:
        DataError: the file is missing, is none of the three, or holds an impossible camera.
    """
    path = Path(path)
    record = _read_yaml(path)
    try:
        if "fx" in record:
            return _from_own(record)
        if _first(record, _MATRIX_KEYS) is not None:
            return _from_matrix(record)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    raise DataError(
        f"{path}: not a camera file; expected keys width, height, fx, fy, cx, cy (depthkit) or "
        "camera_matrix (ROS, OpenCV)"
    )


# --- the three file kinds ------------------------------------------------------------------------

_MATRIX_KEYS = ("camera_matrix", "cameraMatrix", "Camera_Matrix", "intrinsic_matrix", "K", "k")
_COEFFICIENT_KEYS = (
    "distortion_coefficients",
    "Distortion_Coefficients",
    "dist_coeffs",
    "distCoeffs",
    "dist_coeff",
    "D",
    "d",
)
_WIDTH_KEYS = ("image_width", "image_Width", "width")
_HEIGHT_KEYS = ("image_height", "image_Height", "height")


_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same, parsed in C


class _OpenCvLoader(_SafeLoader):
    """Safe YAML that also takes OpenCV's matrices as plain mappings."""


_OpenCvLoader.add_constructor(
    "tag:yaml.org,2002:opencv-matrix",
    lambda loader, node: loader.construct_mapping(node, deep=True),
)


def _read_yaml(path: Path) -> dict[str, Any]:
    """Parse a YAML mapping; OpenCV's `%YAML:1.0` header is not YAML and is dropped."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(f"{path}: camera file not found") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot read camera file: {error}") from None
    lines = text.splitlines()
    if lines and lines[0].startswith("%YAML"):
        text = "\n".join(lines[1:])
    try:
        record = yaml.load(text, Loader=_OpenCvLoader)  # noqa: S506 (derived from SafeLoader)
    except yaml.YAMLError as error:
        summary = " ".join(str(error).split())
        raise DataError(f"{path}: not valid YAML: {summary}") from None
    if not isinstance(record, dict):
        raise DataError(f"{path}: not a camera file; expected a mapping of keys to values")
    return record


def _from_own(record: Mapping[str, Any]) -> SourceCamera:
    missing = [key for key in ("width", "height", "fx", "fy", "cx", "cy") if key not in record]
    if missing:
        raise DataError(f"camera: missing {', '.join(missing)}")
    camera = Camera(
        _whole(record["width"], "width"),
        _whole(record["height"], "height"),
        *(_number(record[key], key) for key in ("fx", "fy", "cx", "cy")),
    )
    D = _numbers(record.get("distortion", []), "distortion")
    return build_source_camera(camera, str(record.get("model", "pinhole")), D)


def _from_matrix(record: Mapping[str, Any]) -> SourceCamera:
    values = _numbers(_first(record, _MATRIX_KEYS), "camera_matrix")
    if len(values) != 9:
        raise DataError(f"camera: camera_matrix must hold 9 values, got {len(values)}")
    width, height = _first(record, _WIDTH_KEYS), _first(record, _HEIGHT_KEYS)
    if width is None or height is None:
        raise DataError("camera: missing image_width and image_height; add them to the file")
    if values[1] != 0:
        raise DataError(f"camera: skew is not supported, got {values[1]!r}; recalibrate without it")
    K = np.array(values).reshape(3, 3)
    camera = _camera_of(K, (_whole(height, "image_height"), _whole(width, "image_width")))
    D = _numbers(_first(record, _COEFFICIENT_KEYS) or [], "distortion_coefficients")
    fisheye = bool(record.get("fisheye_model"))  # OpenCV's calibration sample writes this flag
    default = "kannala_brandt" if fisheye else "brown_conrady"
    return build_source_camera(camera, str(record.get("distortion_model", default)), D)


# --- small conversions ---------------------------------------------------------------------------


def _camera_of(K: np.ndarray, size: tuple[int, int]) -> Camera:
    fx, fy, cx, cy = (float(K[i, j]) for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
    return Camera(size[1], size[0], fx, fy, cx, cy)


def _first(record: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    return next((record[key] for key in keys if key in record), None)


def _number(value: Any, name: str) -> float:
    # PyYAML reads 1e-4 as text, so text that is a number counts as one.
    try:
        if isinstance(value, bool):
            raise TypeError
        return float(value)
    except (TypeError, ValueError):
        raise DataError(f"camera: {name} must be a number, got {value!r}") from None


def _whole(value: Any, name: str) -> int:
    number = _number(value, name)
    if not number.is_integer():
        raise DataError(f"camera: {name} must be a whole number of pixels, got {value!r}")
    return int(number)


def _numbers(value: Any, name: str) -> tuple[float, ...]:
    """Flatten a list, a list of rows or a {rows, cols, data} mapping."""
    if isinstance(value, Mapping):
        value = value.get("data")
    if not isinstance(value, list):
        raise DataError(f"camera: {name} must be a list of numbers, got {value!r}")
    flat = [v for row in value for v in (row if isinstance(row, list) else [row])]
    return tuple(_number(v, name) for v in flat)
