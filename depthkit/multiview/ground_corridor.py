# SPDX-License-Identifier: Apache-2.0
"""Pixels of the ground ahead, their local structure, and a coarse scan of the step's length.

The scan warps the ground by the plane-induced homography [Hartley and Zisserman, 13.1] of many
lengths of the step, and takes the one with the least clipped absolute difference.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from depthkit.rigid import skew

PIXELS = 16000  # the frame is reduced until the corridor has no more pixels; half of them are used
SMOOTH = 0.7  # standard deviation of the smoothing of the reduced frame, pixels
WINDOW = 13  # window of the local mean and deviation, pixels at half the reduced size
MARGIN = 20  # pixels around the corridor that are kept
CONTRAST_FLOOR = 3.0  # grey levels added to the local deviation: noise is no texture
CELL = 8  # side of a cell, pixels of the reduced frame
FAR = 10.0  # reach ahead, camera heights; 7.5 to 14 tried on KITTI 02
WIDE = 1.2  # reach to each side, camera heights: at 2 (3.3 m) kerbs and verges add 2 % on KITTI 02
STEPS = np.geomspace(0.02, 1.6, 40)  # scanned lengths of the step, camera heights
CLIP = 1.0  # largest difference of a pixel in the scan, local deviations


@dataclass(frozen=True, eq=False)
class Corridor:
    """Pixels of frame b that are ground, if the ground is where the normal says."""

    K: np.ndarray
    """Intrinsics of the reduced and cropped frame. (3, 3)"""
    factor: int
    """Pixels of the frame over one of the reduced frame."""
    box: tuple[int, int, int, int]
    """Crop of the reduced frame: top, bottom, left, right."""
    pixels: np.ndarray
    """Column and row in the crop. (N, 2) intp"""
    rays: np.ndarray
    """Their rays at depth 1. (N, 3) float32"""
    cells: np.ndarray
    """Number of the cell of each pixel. (N,) intp"""

    def total(self, values: np.ndarray) -> np.ndarray:
        """Sum values of the pixels (N,) over each cell. (M,)"""
        return np.bincount(self.cells, values)


@dataclass(frozen=True, eq=False)
class Prior:
    """What is known before the frames are compared."""

    normal: np.ndarray
    """Normal of the ground in frame b. (3,)"""
    R: np.ndarray
    """Rotation from frame a to frame b. (3, 3)"""
    t: np.ndarray
    """Unit direction of the translation of T_b_a. (3,)"""
    information: np.ndarray
    """Information on the two angles of the normal, the rotation vector in frame a and the two
    angles of the direction, 1 / rad2. (7, 7)"""
    pull: np.ndarray
    """Gradient of the same at zero, 1 / rad. (7,)"""


def tangent(direction: np.ndarray) -> np.ndarray:
    """Return two unit vectors across a unit vector; of the ground's normal: pitch, roll. (3, 2)"""
    axis = np.array([1.0, 0.0, 0.0]) if abs(direction[0]) < 0.8 else np.array([0.0, 0.0, 1.0])
    first = skew(axis) @ direction
    first /= np.linalg.norm(first)
    return np.stack([first, skew(direction) @ first], axis=1)


def find_corridor(size: tuple[int, int], K: np.ndarray, normal: np.ndarray) -> Corridor | None:
    """Choose the pixels of the ground ahead: at most FAR camera heights away and WIDE to each side.

    Args:
        size: size of the frame (H, W).
        K: its intrinsics, pixels. (3, 3)
        normal: normal of the ground, away from the camera. (3,)

    Returns:
        The pixels; None if there are none.
    """
    # 1. The corridor, in frames reduced so far that it is small enough.
    factor = 1
    while True:
        below, aside = _ground_place(
            (size[0] // factor, size[1] // factor), reduce_intrinsics(K, factor), normal
        )
        chosen = (below > 1 / FAR) & (aside < WIDE * below)
        count = int(chosen.sum())
        if count <= PIXELS:
            break
        factor = max(factor + 1, int(factor * np.sqrt(count / PIXELS)))
    if count == 0:
        return None
    # 2. A crop that also holds what the step moves into it; every second pixel, as on a chessboard.
    nearer = (below > 0) & (aside < WIDE * np.maximum(below, 1 / FAR))
    top, bottom, left, right = box = _surrounding(nearer)
    chosen = chosen[top:bottom, left:right]
    chosen[::2, 1::2] = chosen[1::2, ::2] = False
    rows, columns = np.nonzero(chosen)
    # 3. Rays and cells of the pixels.
    reduced = reduce_intrinsics(K, factor)
    reduced[:2, 2] -= left, top
    homogeneous = np.stack([columns, rows, np.ones(len(rows))], axis=1)
    rays = homogeneous @ np.linalg.inv(reduced).T
    names = rows // CELL * ((right - left) // CELL + 1) + columns // CELL
    cells = np.unique(names, return_inverse=True)[1].reshape(-1)
    pixels = homogeneous[:, :2].astype(np.intp)
    return Corridor(reduced, factor, box, pixels, rays.astype(np.float32), cells)


def _ground_place(
    size: tuple[int, int], K: np.ndarray, normal: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return camera height over depth of the ground (H, W), and the same times its way aside."""
    n = normal.astype(np.float32)
    x = ((np.arange(size[1]) - K[0, 2]) / K[0, 0]).astype(np.float32)
    y = ((np.arange(size[0]) - K[1, 2]) / K[1, 1]).astype(np.float32)[:, None]
    across = np.hypot(n[0], n[1]) + np.float32(1e-9)
    return x * n[0] + y * n[1] + n[2], np.abs(x * n[1] - y * n[0]) / across


def reduce_intrinsics(K: np.ndarray, factor: int) -> np.ndarray:
    """Return the intrinsics of a frame that is smaller by a factor. (3, 3)"""
    reduced = np.array(K, dtype=np.float64)
    reduced[:2] /= factor
    reduced[:2, 2] += 0.5 / factor - 0.5
    return reduced


def _surrounding(chosen: np.ndarray) -> tuple[int, int, int, int]:
    """Return the box around pixels, wider by one window: top, bottom, left, right."""
    rows, columns = np.nonzero(chosen.any(axis=1))[0], np.nonzero(chosen.any(axis=0))[0]
    height, width = chosen.shape
    return (
        max(int(rows[0]) - MARGIN, 0),
        min(int(rows[-1]) + 1 + MARGIN, height),
        max(int(columns[0]) - MARGIN, 0),
        min(int(columns[-1]) + 1 + MARGIN, width),
    )


@dataclass(frozen=True, eq=False)
class Structure:
    """One frame in the corridor's crop."""

    fine: np.ndarray
    """Reduced and smoothed frame, grey levels. (h, w) float32"""
    coarse: np.ndarray
    """The same at half the size, without local brightness and contrast. (h / 2, w / 2) float32"""


def structure(grey: np.ndarray, corridor: Corridor) -> Structure:
    """Reduce, crop and smooth a frame (H, W) uint8."""
    top, bottom, left, right = (corridor.factor * edge for edge in corridor.box)
    crop = grey[top:bottom, left:right]
    size = crop.shape[1] // corridor.factor, crop.shape[0] // corridor.factor
    small = cv2.resize(crop, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    fine = cv2.GaussianBlur(small, (0, 0), SMOOTH)
    coarse = cv2.pyrDown(fine)
    mean = cv2.blur(coarse, (WINDOW, WINDOW))
    variance = cv2.blur(coarse * coarse, (WINDOW, WINDOW)) - mean * mean
    contrast = np.sqrt(np.maximum(variance, 0)) + np.float32(CONTRAST_FLOOR)
    return Structure(fine, (coarse - mean) / contrast)


def scan_steps(
    a: np.ndarray, b: np.ndarray, *, corridor: Corridor, prior: Prior
) -> tuple[float, float]:
    """Try all lengths of the step at half the size of the reduced frames.

    Returns:
        Best step in camera heights, and its difference over the median of all.
    """
    even = (corridor.pixels % 2 == 0).all(axis=1) & (corridor.pixels[:, 1] % 4 == 0)
    rays, at = corridor.rays[even], corridor.pixels[even] // 2
    K = corridor.K / np.array([[2], [2], [1]], np.float32)
    # 1. Where each step puts each pixel in frame a.
    q = STEPS[:, None].astype(np.float32) * (rays @ prior.normal.astype(np.float32))
    ahead = rays @ (K @ prior.R.T).T.astype(np.float32)
    shift = (K @ (prior.R.T @ prior.t)).astype(np.float32)
    depth = ahead[:, 2] - q * shift[2]
    depth = np.where(np.abs(depth) > 1e-6, depth, 1e-6)
    u = np.rint((ahead[:, 0] - q * shift[0]) / depth)
    v = np.rint((ahead[:, 1] - q * shift[1]) / depth)
    inside = (depth > 0) & (u >= 0) & (u < a.shape[1]) & (v >= 0) & (v < a.shape[0])
    index = np.where(inside, v * a.shape[1] + u, 0).astype(np.intp)
    # 2. Clipped absolute difference; a pixel out of view counts as an outlier.
    away = np.minimum(np.abs(a.reshape(-1)[index] - b[at[:, 1], at[:, 0]]), CLIP)
    cost = np.where(inside, away, CLIP).mean(axis=1)
    best = int(np.argmin(cost))
    return float(STEPS[best]), float(cost[best] / max(float(np.median(cost)), 1e-9))
