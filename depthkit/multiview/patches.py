# SPDX-License-Identifier: Apache-2.0
"""Small patches of one image found in another to a fraction of a pixel, many at once.

Each patch is warped as a plane facing the first camera would be seen by the second one, then
shifted until it fits [inverse compositional alignment, Baker and Matthews, IJCV 2004, with an
unknown brightness]. Measured against the keyframe that saw a landmark first, a track does not drift
as one that is followed from frame to frame.
"""

from dataclasses import dataclass

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


def align_patches(
    a: np.ndarray, b: np.ndarray, pixels_a: np.ndarray, guess_b: np.ndarray, warps: np.ndarray
) -> Aligned:
    """Find patches of a in b, each near its guess (about three pixels).

    Args:
        a, b: images. (H, W) uint8
        pixels_a: centres in a. (N, 2)
        guess_b: expected centres in b. (N, 2)
        warps: change of the pixel in b with the pixel in a, from `plane_warps`. (N, 2, 2)
    """
    if len(pixels_a) == 0:
        return Aligned(np.zeros((0, 2), np.float32), np.zeros(0))
    # 1. Templates, one pixel wider for their slopes, as b would show them.
    wide = _offsets(SIDE + 2)
    around = np.einsum("nij,mj->nmi", np.linalg.inv(warps), wide) + pixels_a[:, None]
    template = _sample(a, around).reshape(-1, SIDE + 2, SIDE + 2)
    slope_u = 0.5 * (template[:, 1:-1, 2:] - template[:, 1:-1, :-2]).reshape(len(pixels_a), -1)
    slope_v = 0.5 * (template[:, 2:, 1:-1] - template[:, :-2, 1:-1]).reshape(len(pixels_a), -1)
    inner = _centred(template[:, 1:-1, 1:-1].reshape(len(pixels_a), -1))
    slope_u, slope_v = _centred(slope_u), _centred(slope_v)
    # 2. Normal equations of a shift; the brightness is gone with the means.
    uu, vv, uv = (slope_u**2).sum(1), (slope_v**2).sum(1), (slope_u * slope_v).sum(1)
    determinant = np.maximum(uu * vv - uv * uv, 1e-6)
    at, offsets = guess_b.astype(np.float64), _offsets(SIDE)
    moving = np.ones(len(at), bool)
    for _ in range(ITERATIONS):
        # 3. Gauss-Newton on the shift of those that still move.
        error = _centred(_sample(b, at[moving, None] + offsets)) - inner[moving]
        g_u, g_v = (slope_u[moving] * error).sum(1), (slope_v[moving] * error).sum(1)
        step = np.stack(
            [
                (vv[moving] * g_u - uv[moving] * g_v) / determinant[moving],
                (uu[moving] * g_v - uv[moving] * g_u) / determinant[moving],
            ],
            axis=1,
        )
        at[moving] -= np.clip(step, -2.0, 2.0)
        moving[moving] = np.abs(step).max(axis=1) > DONE
        if not moving.any():
            break
    found = _centred(_sample(b, at[:, None] + offsets))
    norm = np.sqrt((found**2).sum(1) * (inner**2).sum(1)) + 1e-6
    return Aligned(at.astype(np.float32), (found * inner).sum(1) / norm)


def _offsets(side: int) -> np.ndarray:
    """Pixels of a patch around its centre, row by row. (side^2, 2)"""
    line = np.arange(side) - side // 2
    return np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2).astype(np.float64)


def _sample(image: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Sample an image bilinearly. (N, M, 2) -> (N, M) float32"""
    at = at.astype(np.float32)
    u, v = np.ascontiguousarray(at[..., 0]), np.ascontiguousarray(at[..., 1])
    sampled = cv2.remap(
        image.astype(np.float32), u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return sampled


def _centred(patches: np.ndarray) -> np.ndarray:
    """Remove each patch's mean. (N, M)"""
    return patches - patches.mean(axis=1, keepdims=True)
