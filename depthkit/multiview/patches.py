# SPDX-License-Identifier: Apache-2.0
"""Small patches of one image found in another to a fraction of a pixel, many at once.

Each patch is warped as a plane facing the first camera would be seen by the second one, then
shifted until it fits [inverse compositional alignment, Baker and Matthews, IJCV 2004, with an
unknown brightness]; the images are normalised in contrast. Measured against the keyframe that saw a
landmark first, a track does not drift as one that is followed from frame to frame.
"""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

SIDE = 11
"""Side of a patch, pixels."""
ITERATIONS = 8
DONE = 0.02
"""Step below which a patch has arrived, pixels."""


@dataclass(frozen=True, eq=False)
class Aligned:
    """Where patches were found."""

    pixels: np.ndarray
    """(N, 2) float32"""
    alike: np.ndarray
    """Normalised correlation of both patches there, -1 to 1. (N,)"""


def plane_warps(
    rays: np.ndarray, depth: np.ndarray, T_b_a: np.ndarray, K: np.ndarray
) -> np.ndarray:
    """Return how pixels move around landmarks, from image a to image b.

    Args:
        rays: landmarks on the plane z = 1 of a. (N, 2)
        depth: their depths in a. (N,)
        T_b_a: points of a to b. (4, 4)
        K: intrinsics of both, pixels. (3, 3)

    Returns:
        Change of the pixel in b with the pixel in a, at constant depth in a. (N, 2, 2)
    """
    # X_b = z (R x + t / z) with x = (x, y, 1): slopes of X_b / Z_b with x and y.
    x = np.column_stack([rays, np.ones(len(rays))])
    p = x @ T_b_a[:3, :3].T + T_b_a[:3, 3] / depth[:, None]
    z = np.where(np.abs(p[:, 2]) > 1e-6, p[:, 2], 1e-6)[:, None, None]
    columns = T_b_a[:3, :2]  # (3, 2)
    A = (columns[None, :2] - (p[:, :2] / z[:, 0])[:, :, None] * columns[2][None, None]) / z
    return A * np.array([[1.0, K[0, 0] / K[1, 1]], [K[1, 1] / K[0, 0], 1.0]])


def cut_patches(image: np.ndarray, pixels: np.ndarray, warps: np.ndarray) -> np.ndarray:
    """Cut patches out of image a as image b would show them, a pixel wider than they are aligned.

    Args:
        image: (H, W) uint8
        pixels: centres. (N, 2)
        warps: change of the pixel in b with the pixel in a, from `plane_warps`. (N, 2, 2)

    Returns:
        (N, SIDE + 2, SIDE + 2) float32
    """
    back = np.linalg.inv(warps).astype(np.float32)
    x, y = _offsets(SIDE + 2)
    at = pixels.astype(np.float32)
    u = back[:, 0, :1] * x + back[:, 0, 1:] * y + at[:, :1]
    v = back[:, 1, :1] * x + back[:, 1, 1:] * y + at[:, 1:]
    return _sample(image.astype(np.float32), u, v).reshape(-1, SIDE + 2, SIDE + 2)


def align_patches(patches: np.ndarray, b: np.ndarray, guess_b: np.ndarray) -> Aligned:
    """Find patches in b, each near its guess (about three pixels).

    Args:
        patches: from `cut_patches`. (N, SIDE + 2, SIDE + 2) float32
        b: image. (H, W) uint8
        guess_b: expected centres in b. (N, 2)
    """
    count, image = len(patches), b.astype(np.float32)
    if count == 0:
        return Aligned(np.zeros((0, 2), np.float32), np.zeros(0))
    # 1. Slopes without their means: so the brightness of b drops out of the products below.
    inner = _centred(patches[:, 1:-1, 1:-1])
    slope_u = _centred(0.5 * (patches[:, 1:-1, 2:] - patches[:, 1:-1, :-2]))
    slope_v = _centred(0.5 * (patches[:, 2:, 1:-1] - patches[:, :-2, 1:-1]))
    # 2. Normal equations of a shift.
    uu, vv, uv = _dot(slope_u, slope_u), _dot(slope_v, slope_v), _dot(slope_u, slope_v)
    determinant = np.maximum(uu * vv - uv * uv, 1e-6)
    own_u, own_v = _dot(slope_u, inner), _dot(slope_v, inner)
    at, moving = guess_b.astype(np.float64), np.arange(count)
    for _ in range(ITERATIONS):
        # 3. Gauss-Newton on the shift of those that still move.
        sampled = _around(image, at[moving])
        g_u = _dot(slope_u[moving], sampled) - own_u[moving]
        g_v = _dot(slope_v[moving], sampled) - own_v[moving]
        step_u = (vv[moving] * g_u - uv[moving] * g_v) / determinant[moving]
        step_v = (uu[moving] * g_v - uv[moving] * g_u) / determinant[moving]
        step = np.stack([step_u, step_v], axis=1)
        at[moving] -= np.clip(step, -2.0, 2.0)
        moving = moving[np.abs(step).max(axis=1) > DONE]
        if len(moving) == 0:
            break
    found = _centred(_around(image, at))
    norm = np.sqrt(_dot(found, found) * _dot(inner, inner)) + 1e-6
    return Aligned(at.astype(np.float32), _dot(found, inner) / norm)


@cache
def _offsets(side: int) -> np.ndarray:
    """Pixels of a patch around its centre, row by row. (2, side^2) float32"""
    line = np.arange(side, dtype=np.float32) - side // 2
    return np.stack(np.meshgrid(line, line)).reshape(2, -1)


def _around(image: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Sample upright patches around pixels. (N, 2) -> (N, SIDE^2) float32"""
    x, y = _offsets(SIDE)
    at = at.astype(np.float32)
    return _sample(image, at[:, :1] + x, at[:, 1:] + y)


def _sample(image: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Sample an image of floats bilinearly. (N, M) float32"""
    if u.size == 0:
        return np.zeros(u.shape, np.float32)
    return cv2.remap(image, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _centred(patches: np.ndarray) -> np.ndarray:
    """Remove each patch's mean. (N, ...) -> (N, M)"""
    flat = patches.reshape(len(patches), -1)
    return flat - flat.mean(axis=1, keepdims=True)


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the products of rows. (N, M), (N, M) -> (N,)"""
    return np.einsum("nm,nm->n", a, b)
