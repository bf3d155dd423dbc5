# SPDX-License-Identifier: Apache-2.0
"""Calibration of the incoming images: from camera_info, or from a file in its place."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sensor_msgs.msg import CameraInfo

from depthkit.camera import Camera, SourceCamera, load_source_camera
from depthkit.ros_messages import read_camera
from depthkit.undistort import FrameGeometry, build_geometry

SAME = 1e-3  # relative difference below which two calibrations are one camera's


@dataclass(frozen=True)
class Rectified:
    """An image of a pinhole camera, with its calibration if known."""

    rgb: np.ndarray
    """Image. (H, W, 3) uint8"""
    camera: Camera | None
    """Pinhole camera of the image; None if unknown."""
    covered: np.ndarray | None
    """Pixels that rectification could fill; None if all are. (H, W) bool"""


class Calibration:
    """Keeps the latest camera_info and its rectification; the maps are built once per camera."""

    def __init__(self, *, rectify: bool, file: Path | None) -> None:
        """Read the calibration file, if any.

        Args:
            rectify: whether images are raw and must be rectified; else they are rectified already.
            file: calibration used while camera_info has none.

        Raises:
            DataError: the file is invalid.
        """
        self._rectify = rectify
        self._file = None if file is None else _as_message(load_source_camera(file))
        self.latest: CameraInfo | None = None
        """Latest camera_info message; written by one thread, read by others."""
        self._source: SourceCamera | None = None
        self._geometry: FrameGeometry | None = None

    @property
    def is_calibrated(self) -> bool:
        """Whether the latest camera_info is calibrated: K is 0 if not."""
        return self._is_calibrated(self.latest)

    @property
    def rectifies(self) -> bool:
        """Whether the last image was rectified."""
        return self._geometry is not None

    def summary(self) -> str:
        """Describe the camera of the last image in one line."""
        if self._source is None:
            return "unknown"
        camera, origin = self._source.camera, "camera_info" if self.is_calibrated else "file"
        size = f"{camera.width}x{camera.height}"
        return f"{size}, f {camera.fx:.1f} px, {self._source.distortion_model}, of {origin}"

    def other_size(self, info: CameraInfo | None, size: tuple[int, int]) -> str:
        """Return a warning if camera_info is for images of another size than (H, W), else empty."""
        if info is None or not self._is_calibrated(info):
            return ""
        height = (info.roi.height or info.height) // max(info.binning_y, 1)
        width = (info.roi.width or info.width) // max(info.binning_x, 1)
        if (height, width) == size:
            return ""
        return f"camera_info is for {width}x{height}, images are {size[1]}x{size[0]}: rescaled"

    def apply(self, rgb: np.ndarray, info: CameraInfo | None) -> Rectified:
        """Rectify an image of the camera.

        Args:
            rgb: (H, W, 3) uint8
            info: `latest`, read once per image; it may change meanwhile.

        Raises:
            DataError: the calibration is for another image size, or impossible.
        """
        if not self._is_calibrated(info):
            info = self._file
        if info is None:
            self._source = self._geometry = None
            return Rectified(rgb, None, None)
        size = (rgb.shape[0], rgb.shape[1])
        source = read_camera(info, size, rectified=self._rectified(info))
        if self._source is None or not _is_same(self._source, source):
            self._geometry = None
            self._source = source
        if not self._rectify or not source.is_distorted:
            return Rectified(rgb, self._source.camera, None)
        if self._geometry is None:
            self._geometry = build_geometry(self._source)
        geometry = self._geometry
        return Rectified(geometry.colour(rgb), geometry.camera, geometry.valid)

    def _is_calibrated(self, info: CameraInfo | None) -> bool:
        return info is not None and bool(info.k[0] or self._rectified(info))

    def _rectified(self, info: CameraInfo) -> bool:
        """Whether P applies to the image; some publishers of rectified images leave it 0."""
        return not self._rectify and bool(info.p[0])


def _as_message(source: SourceCamera) -> CameraInfo:
    camera = source.camera
    return CameraInfo(
        width=camera.width,
        height=camera.height,
        distortion_model=source.distortion_model,
        k=camera.K.ravel(),
        d=[float(value) for value in source.D],
    )


def _is_same(a: SourceCamera, b: SourceCamera) -> bool:
    """Whether two calibrations belong to one camera, up to estimation noise."""
    if (a.camera.size, a.distortion_model, len(a.D)) != (
        b.camera.size,
        b.distortion_model,
        len(b.D),
    ):
        return False
    numbers_a, numbers_b = (np.array([*one.camera.K.ravel(), *one.D]) for one in (a, b))
    return bool(np.allclose(numbers_a, numbers_b, rtol=SAME, atol=1e-6))
