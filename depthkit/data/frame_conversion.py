# SPDX-License-Identifier: Apache-2.0
"""One frame of a sequence folder: decode, rectify, encode, with its depth; or a note why not."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from depthkit.camera import Camera
from depthkit.data.file_kinds import kind_of
from depthkit.data.folder import partial_path, write_depth
from depthkit.data.image_io import (
    UnreadableImageError,
    decode_rgb,
    encode,
    read_bytes,
    write_atomic,
)
from depthkit.data.importers.source import Source
from depthkit.errors import DataError
from depthkit.undistort import FrameGeometry

MAX_UNREADABLE = 0.05
"""Share of frames that may be unreadable; beyond it the source itself is broken."""
STORED_KINDS = {"jpg": "a JPEG picture", "png": "a PNG picture"}
MIN_DEPTH = 0.1
"""Metres: points nearer than this to the camera plane are the vehicle or behind it."""


@dataclass(frozen=True)
class Conversion:
    """Everything that decides what one sequence folder will hold."""

    source: Source
    geometry: FrameGeometry
    path: Path
    ext: str = "jpg"
    bayer: str | None = None
    crop: tuple[int, int, int, int] | None = None
    """Top, left, height, width that is cut out of every source frame first; None for all of it."""
    settings: tuple[tuple[str, Any], ...] = ()
    """What else the user set and camera.yaml should say, such as the frame range."""

    @property
    def partial(self) -> Path:
        """The hidden folder the sequence grows in."""
        return partial_path(self.path)

    def frame_path(self, i: int) -> Path:
        """Where the frame with source index i lies until the end."""
        return self.partial / "frames" / f"{i:06d}.{self.ext}"

    def depth_path(self, i: int) -> Path:
        """Where its depth lies."""
        return self.partial / "depth" / f"{i:06d}.png"

    def skip_path(self, i: int) -> Path:
        """A note in place of a frame that cannot be read."""
        return self.partial / "skipped" / f"{i:06d}"


def convert_frame(plan: Conversion, i: int, image: np.ndarray | str | None) -> None:
    """Write depth, then the frame: a frame that exists is complete.

    Args:
        plan: what to write and where.
        i: index in the source.
        image: what its reader found, RGB or a word why not; None where the frame is a file.
    """
    try:
        data = _colour_bytes(plan, i, image)
        if plan.source.depth is not None:
            write_depth(plan.depth_path(i), _depth(plan, i), plan.source.depth.scale)
    except UnreadableImageError as error:
        _skip(plan, i, str(error))
        return
    write_atomic(plan.frame_path(i), data)


def _colour_bytes(plan: Conversion, i: int, image: np.ndarray | str | None) -> bytes:
    """Return the stored file of a frame: the source's own bytes where nothing has to change."""
    path, raw = plan.source.frames[i].path, None
    must_change = bool(plan.bayer) or plan.source.levels is not None
    if isinstance(image, str):
        raise UnreadableImageError(image)
    if image is None:
        raw = read_bytes(path)
        image = decode_rgb(raw, path, plan.bayer, levels=plan.source.levels)
    image = _cut(plan, image, path, "frame")
    is_same = raw is not None and kind_of(raw[:1024]).name == STORED_KINDS[plan.ext]
    is_whole = plan.geometry.is_identity and plan.crop is None
    if raw is not None and is_same and is_whole and not must_change:
        return raw
    return encode(plan.geometry.colour(image), plan.ext)


def _depth(plan: Conversion, i: int) -> np.ndarray:
    """Return depth on the stored frame's pixels, metres, 0 where unknown. (h, w)"""
    depth = plan.source.depth
    path = None if depth is None else depth.paths[i]
    if depth is None or path is None:
        return np.zeros(plan.geometry.camera.size, np.float32)
    values = depth.read(path)
    if depth.is_points:
        return project_points(values, plan.geometry.camera)
    values = _cut(plan, values, path, "depth")
    return plan.geometry.depth(values)


def _cut(plan: Conversion, image: np.ndarray, path: Path, what: str) -> np.ndarray:
    """Return the window of an image that the calibration is for. (H, W, ...)"""
    if plan.crop is not None:
        top, left, height, width = plan.crop
        image = np.ascontiguousarray(image[top : top + height, left : left + width])
    _check_size(image, plan.geometry.source.camera, path, what)
    return image


def _check_size(image: np.ndarray, camera: Camera, path: Path, what: str) -> None:
    height, width = image.shape[:2]
    if (height, width) != camera.size:
        raise DataError(f"{path}: {what} {say_size(height, width, camera)}")


def say_size(height: int, width: int, camera: Camera) -> str:
    """Say that a frame is not of the calibration's size, and what to do."""
    remedy = "give the calibration of this size"
    if (width, height) == camera.size != (height, width):
        remedy = (
            "it is turned by 90 degrees (by EXIF or as stored): prepare upright and turned frames "
            "apart, each with the calibration of its size"
        )
    return (
        f"is {width}x{height} but the calibration is for {camera.width}x{camera.height}; {remedy}"
    )


def _skip(plan: Conversion, i: int, message: str) -> None:
    """Note an unreadable frame; give up as soon as there are too many."""
    write_atomic(plan.skip_path(i), message)
    count = sum(1 for p in plan.skip_path(i).parent.iterdir() if p.name[0] != ".")
    if count > MAX_UNREADABLE * len(plan.source.frames):
        raise DataError(
            f"{plan.source.name}: {count} of {len(plan.source.frames)} frames unreadable, more "
            f"than {MAX_UNREADABLE:.0%}; the last: {message}"
        )


def project_points(points: np.ndarray, camera: Camera) -> np.ndarray:
    """Draw points into a depth picture; where several meet, the nearest is seen.

    Args:
        points: in the camera frame, metres. (N, 3)
        camera: of the picture.

    Returns:
        Depth in metres, 0 = no point. (H, W) float32
    """
    x, y, z = points[points[:, 2] > MIN_DEPTH].T
    u = np.rint(camera.fx * x / z + camera.cx).astype(np.int64)
    v = np.rint(camera.fy * y / z + camera.cy).astype(np.int64)
    inside = (u >= 0) & (u < camera.width) & (v >= 0) & (v < camera.height)
    order = np.argsort(-z[inside], kind="stable")  # of writes to one pixel the last one stays
    depth = np.zeros(camera.size, np.float32)
    depth[v[inside][order], u[inside][order]] = z[inside][order]
    return depth
