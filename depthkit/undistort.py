# SPDX-License-Identifier: Apache-2.0
"""From the pixels a lens made to the pinhole frames that are stored: undistort, crop, resize.

The pinhole keeps the source's principal point and the ratio of its focal lengths. Its focal length
is the shortest one that leaves no empty pixel and sees no ray more than `MAX_ANGLE` off the axis (a
fisheye's full view does not fit a plane: at 60 degrees a pixel is already four times as wide as in
the middle). Where even a focal length `MAX_ZOOM` times the source's leaves pixels empty, they stay
empty and `valid` says which.
"""

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

from depthkit.camera import Camera, SourceCamera
from depthkit.errors import DataError

MAX_ANGLE = math.radians(60.0)
MAX_ZOOM = 1.25
LARGEST_TANGENTIAL = 0.03
"""Largest usual p1 and p2, which model a lens that stands askew; real lenses lie below 0.01."""
FITS = ("stretch", "crop")


@dataclass(frozen=True)
class FrameGeometry:
    """How a source frame becomes a stored frame; built once a sequence, used by all workers."""

    source: SourceCamera
    camera: Camera
    """Camera of the stored frame."""
    window: tuple[int, int, int, int]
    """Top, left, height, width of the crop in the undistorted frame, pixels."""
    maps: tuple[np.ndarray, np.ndarray] | None
    """Where each undistorted pixel lies in the source, None for a pinhole. 2 x (H, W) float32"""
    valid: np.ndarray | None
    """Pixels of the stored frame that are image, None when all are. (h, w) bool"""

    @property
    def is_identity(self) -> bool:
        """Whether a stored frame is the source frame, pixel for pixel."""
        return self.maps is None and self.camera == self.source.camera

    def colour(self, rgb: np.ndarray) -> np.ndarray:
        """Undistort (bilinear), crop and resize (by area when shrinking). (H, W, 3) -> (h, w, 3)"""
        if self.maps is not None:
            rgb = cv2.remap(rgb, *self.maps, cv2.INTER_LINEAR)
        return _resize(self._crop(rgb), self.camera.size)

    def depth(self, depth: np.ndarray) -> np.ndarray:
        """The same with the nearest pixel: depths of two surfaces never mix. (H, W) -> (h, w)

        The pinhole looks along the source's axis, so depth itself does not change.
        """
        if self.maps is not None:
            depth = cv2.remap(depth, *self.maps, cv2.INTER_NEAREST)
        height, width = self.camera.size
        cropped = np.ascontiguousarray(self._crop(depth))
        return cv2.resize(cropped, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)

    def _crop(self, image: np.ndarray) -> np.ndarray:
        top, left, height, width = self.window
        return image[top : top + height, left : left + width]


def build_geometry(
    source: SourceCamera, size: tuple[int, int] | None = None, fit: str = "stretch"
) -> FrameGeometry:
    """Plan how frames of a camera are stored.

    Args:
        source: the camera as calibrated.
        size: (H, W) of the stored frames; None keeps the source's.
        fit: how another aspect ratio is met: 'stretch' keeps every pixel (fx and fy scale apart),
            'crop' keeps the ratio and cuts the longer side in the middle.
    """
    if fit not in FITS:
        raise DataError(f"fit must be one of {', '.join(FITS)}, got {fit!r}")
    pinhole = undistorted_camera(source)
    size = size or pinhole.size
    window = _middle_window(pinhole.size, size) if fit == "crop" else (0, 0, *pinhole.size)
    camera = pinhole.cropped(window[0], window[1], window[2:]).resized(size)
    if not source.is_distorted:
        return FrameGeometry(source, camera, window, None, None)
    maps, seen = _build_maps(source, pinhole)
    plan = FrameGeometry(source, camera, window, maps, None)
    share = _resize(plan._crop(seen.astype(np.float32)), size)
    valid = share > 1 - 1e-6
    return FrameGeometry(source, camera, window, maps, None if valid.all() else valid)


def with_mask(geometry: FrameGeometry, mask: np.ndarray) -> FrameGeometry:
    """Leave out pixels of the source frame that are no picture.

    Args:
        geometry: of the frames.
        mask: True where a source frame is picture. (H, W) bool

    Returns:
        Valid where all that a stored pixel is made of is picture.
    """
    share = geometry.colour(mask.astype(np.float32))
    valid = share > 1 - 1e-3
    if geometry.valid is not None:
        valid &= geometry.valid
    return replace(geometry, valid=valid)


def undistorted_camera(source: SourceCamera) -> Camera:
    """Choose the pinhole of the undistorted frames, see the top of this file."""
    if not source.is_distorted:
        return source.camera
    widest = float(np.linalg.norm(_border_rays(source, 1.0), axis=1).max()) / math.tan(MAX_ANGLE)
    zoom = max(MAX_ZOOM, widest)
    if _fills(source, zoom):
        while zoom * 0.99 > widest and _fills(source, zoom * 0.99):
            zoom *= 0.99
        low = max(widest, zoom * 0.99)
        for _ in range(20):
            middle = 0.5 * (low + zoom)
            low, zoom = (low, middle) if _fills(source, middle) else (middle, zoom)
    return _zoomed(source.camera, zoom)


def doubt_lens(source: SourceCamera) -> tuple[str, ...]:
    """Return what speaks against distortion coefficients: no lens folds its picture, none is bent.

    Args:
        source: the camera as calibrated.
    """
    if not source.is_distorted:
        return ()
    camera, D = source.camera, source.D
    order = "k1 k2 k3 k4" if source.distortion_model == "kannala_brandt" else "k1 k2 p1 p2 k3"
    remedy = f"are they those of this lens, in the order {order}?"
    said: tuple[str, ...] = ()
    if (
        source.distortion_model != "kannala_brandt"
        and max(abs(D[2]), abs(D[3])) > LARGEST_TANGENTIAL
    ):
        said = (f"distortion coefficients taken as given, p1 {D[2]:g}, p2 {D[3]:g}: {remedy}",)
    rays = np.linspace(0, 3, 1000)[:, None] * (1.0, 0.0)
    pixels = distort_points(source, rays)[:, 0]
    reach = float(np.nanmax(pixels)) - camera.cx
    half = min(camera.cx, camera.width - 1 - camera.cx)
    folds = bool(np.isnan(pixels).any()) and reach < half * (1 - 1e-3)
    if folds:
        said += (
            f"distortion coefficients taken as given, though they fold the picture {reach:.0f} "
            f"pixels from its middle: {remedy}",
        )
    return said


def distort_points(source: SourceCamera, rays: np.ndarray) -> np.ndarray:
    """Project rays through the lens.

    Args:
        source: the camera.
        rays: x/z, y/z in the camera frame. (N, 2)

    Returns:
        Pixels of the source image; NaN where the lens model has folded over. (N, 2) float64
    """
    points = np.concatenate([rays, np.ones((len(rays), 1))], axis=1).reshape(-1, 1, 3)
    zero, K, D = np.zeros(3), source.camera.K, np.array(source.D)
    if source.distortion_model == "kannala_brandt":
        pixels, _ = cv2.fisheye.projectPoints(points, zero, zero, K, D)
    else:
        pixels, _ = cv2.projectPoints(points, zero, zero, K, D if D.size else None)
    pixels = pixels.reshape(-1, 2)
    return np.where(_in_range(source, rays)[:, None], pixels, np.nan)


def _zoomed(camera: Camera, zoom: float) -> Camera:
    fx, fy = camera.fx * zoom, camera.fy * zoom
    return Camera(camera.width, camera.height, fx, fy, camera.cx, camera.cy)


def _fills(source: SourceCamera, zoom: float) -> bool:
    """Say whether every border pixel of the zoomed pinhole sees image."""
    pixels = distort_points(source, _border_rays(source, zoom))
    return bool(_inside(pixels, source.camera).all())


def _border_rays(source: SourceCamera, zoom: float) -> np.ndarray:
    """Return the rays of the border pixels of the zoomed pinhole. (N, 2)"""
    height, width = source.camera.size
    u, v = np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64)
    edges = [
        *(np.stack([u, np.full_like(u, y)], axis=1) for y in (0, height - 1)),
        *(np.stack([np.full_like(v, x), v], axis=1) for x in (0, width - 1)),
    ]
    return _rays(_zoomed(source.camera, zoom), np.concatenate(edges))


def _build_maps(
    source: SourceCamera, pinhole: Camera
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Return the remap tables and which pixels of the undistorted frame are image."""
    height, width = pinhole.size
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)  # (H, W, 2)
    pixels = distort_points(source, _rays(pinhole, grid.reshape(-1, 2).astype(np.float64)))
    seen = _inside(pixels, source.camera)
    x, y = np.where(seen[:, None], pixels, -1e4).T.reshape(2, height, width).astype(np.float32)
    return (np.ascontiguousarray(x), np.ascontiguousarray(y)), seen.reshape(height, width)


def _rays(camera: Camera, pixels: np.ndarray) -> np.ndarray:
    """Return x/z, y/z of pixels (u, v). (N, 2) -> (N, 2)"""
    return (pixels - (camera.cx, camera.cy)) / (camera.fx, camera.fy)


def _inside(pixels: np.ndarray, camera: Camera) -> np.ndarray:
    """Say which pixels lie between the outermost pixel centres; NaN does not. (N, 2) -> (N,)"""
    last = np.array([camera.width - 1, camera.height - 1]) + 1e-3  # float error of an exact border
    return np.asarray(((pixels >= -1e-3) & (pixels <= last)).all(axis=1))


def _in_range(source: SourceCamera, rays: np.ndarray) -> np.ndarray:
    """Say which rays lie before the radius where the distortion polynomial turns back. (N,)"""
    radius = np.linalg.norm(rays, axis=1)
    sample = np.linspace(0.0, max(float(radius.max(initial=0.0)), 1e-6), 2048)
    D = np.array([*source.D, *[0.0] * 14])[:14]
    if source.distortion_model == "kannala_brandt":
        angle = np.arctan(sample)
        image = angle * (1 + sum(D[i] * angle ** (2 * i + 2) for i in range(4)))
    else:
        r2 = sample**2
        over = 1 + r2 * (D[0] + r2 * (D[1] + r2 * D[4]))
        image = sample * over / (1 + r2 * (D[5] + r2 * (D[6] + r2 * D[7])))
    falling = np.flatnonzero(np.diff(image) <= 0)
    limit = sample[falling[0]] if len(falling) else math.inf
    return radius <= limit


def _middle_window(size: tuple[int, int], target: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return top, left, height, width of the largest centred window with the target's ratio."""
    height, width = size
    scale = min(height / target[0], width / target[1])
    h, w = min(round(target[0] * scale), height), min(round(target[1] * scale), width)
    return (height - h) // 2, (width - w) // 2, h, w


def _resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize to (H, W); averaging over area does not alias when it shrinks."""
    if image.shape[:2] == size:
        return image
    shrinks = size[0] <= image.shape[0] and size[1] <= image.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(image), (size[1], size[0]), interpolation=method)
