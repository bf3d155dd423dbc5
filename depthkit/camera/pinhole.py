# SPDX-License-Identifier: Apache-2.0
"""Pinhole cameras, the one place that rescales K, and the calibration files that a robot reads.

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

from depthkit.camera.calibration import Calibration, read_matrices, read_scalars
from depthkit.camera.calibration_text import parse_record, read_text
from depthkit.camera.intrinsics import check_size, convert_intrinsics, with_size_unswapped
from depthkit.camera.lens import COEFFICIENTS, choose_lens, lens_model
from depthkit.errors import DataError


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
                f"camera: fx and fy must be positive, got fx {self.fx:g} and fy {self.fy:g}"
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
        D: its coefficients; zeros beyond those the model takes mean nothing.
    """
    return SourceCamera(camera, *lens_model(model, D))


def source_camera(calibration: Calibration, size: tuple[int, int] | None = None) -> SourceCamera:
    """Convert the contents of a calibration file to the convention of `Camera`.

    Args:
        calibration: as the file states it.
        size: (H, W) of the frames; used where the file states none, else both must be the same.

    Raises:
        DataError: an impossible camera, a lens that cannot be undistorted, or another size.
    """
    name, D, said = choose_lens(
        calibration.camera_model, calibration.distortion_model, calibration.D
    )
    calibration = with_size_unswapped(calibration, size)
    found = convert_intrinsics(calibration, size, is_fisheye=name == "kannala_brandt")
    camera = Camera(found.size[1], found.size[0], found.fx, found.fy, found.cx, found.cy)
    if size is not None and size != found.size:
        fitting = camera.resized(size)
        values = ", ".join(f"{key} {getattr(fitting, key):g}" for key in ("fx", "fy", "cx", "cy"))
        check_size(found.size, size, values)
    return SourceCamera(camera, name, D, assumed=(*found.assumed, *said))


def read_stored_camera(record: Mapping[str, Any]) -> Camera:
    """Read the camera of a sequence folder's frames: a pinhole, as `prepare` stored it.

    Nothing is judged: a cropped frame may have its principal point anywhere, and `inspect` says
    what looks wrong.

    Args:
        record: what camera.yaml holds.

    Raises:
        DataError: a number is missing or impossible, or the frames are still distorted.
    """
    found = read_scalars(record)
    if found is None or found.size is None:
        raise DataError("camera: missing width, height, fx, fy, cx or cy")
    if choose_lens(found.camera_model, found.distortion_model, found.D)[0] != "none":
        raise DataError("frames must be undistorted; run 'depthkit prepare'")
    fx, _, cx, _, fy, cy, *_ = found.K
    return Camera(found.size[1], found.size[0], fx, fy, cx, cy)


def load_source_camera(path: Path | str) -> SourceCamera:
    """Read a calibration: our camera.yaml, a ROS camera_info YAML or an OpenCV FileStorage YAML.

    `depthkit.data.calibrations` reads those of other programs, too.

    Raises:
        DataError: the file is missing, is of none of these formats, or holds an impossible camera.
    """
    path = Path(path)
    text = read_text(path)
    try:
        record = parse_record(text)
        records = record if isinstance(record, list) else [record]
        if not records or not all(isinstance(one, dict) for one in records):
            raise DataError("not a camera file; expected a mapping of keys to values")
        found = [read_scalars(one) or read_matrices(one) for one in records]
        if any(one != found[0] for one in found):
            raise DataError(f"holds {len(found)} different cameras; keep one")
        if found[0] is not None:
            return source_camera(found[0])
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    raise DataError(
        f"{path}: not a camera file; expected keys width, height, fx, fy, cx, cy (depthkit) or "
        "camera_matrix (ROS, OpenCV)"
    )


def _camera_of(K: np.ndarray, size: tuple[int, int]) -> Camera:
    fx, fy, cx, cy = (float(K[i, j]) for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
    return Camera(size[1], size[0], fx, fy, cx, cy)
