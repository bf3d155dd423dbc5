# SPDX-License-Identifier: Apache-2.0
"""Rigid flow, the flow of a static scene, in numpy (torch: `geometry/rigid_flow.py`); and the unit
of a translation, estimated from flow."""

from typing import NamedTuple

import numpy as np

from depthkit.errors import check_shape
from depthkit.multiview.warp import grid, lands_inside

NEAREST = 1e-6  # smallest depth in the source that is projected, in the unit of depth
FIT_STEP = 4  # every fourth pixel in both directions is used for the unit


class RigidFlow(NamedTuple):
    """Flow of a static scene from target to source."""

    flow: np.ndarray
    """Flow (u, v), pixels; 0 for points behind the source camera. (H, W, 2) float32"""
    valid: np.ndarray
    """Pixels of known depth whose point lies in front of and inside the source. (H, W) bool"""
    turn: np.ndarray
    """Homography K R K^-1 of the rotation alone. (3, 3)"""

    @property
    def parallax(self) -> np.ndarray:
        """Rigid flow minus that of the rotation alone, pixels; 0 where not valid. (H, W, 2)"""
        u, v = grid(self.valid.shape)
        x, y, z = (a * u + b * v + c for a, b, c in self.turn)
        z = np.where(z > NEAREST, z, 1)
        turned = np.stack([x / z - u, y / z - v], axis=-1).astype(np.float32)
        return np.where(self.valid[..., None], self.flow - turned, np.float32(0))


def rigid_flow(depth: np.ndarray, *, T_source_target: np.ndarray, K: np.ndarray) -> RigidFlow:
    """Compute the flow caused by depth and camera motion: K [R|t] D(m) K^-1 m - m [Zhou 2017].

    Args:
        depth: depth of the target, NaN where unknown. (H, W)
        T_source_target: target-frame points to source frame, in the unit of depth. (4, 4)
        K: intrinsics of both at H x W, pixels. (3, 3)
    """
    check_shape("rigid_flow: depth", depth, "H W")
    points = _points_in_source(depth, T_source_target, K)
    u, v = grid(depth.shape)
    with np.errstate(invalid="ignore"):  # NaN compares as not in front
        ahead = points[2] > NEAREST
    z = np.where(ahead, points[2], 1)
    flow = np.stack([points[0] / z - u, points[1] / z - v], axis=-1)
    flow = np.where(ahead[..., None], flow, 0).astype(np.float32)
    return RigidFlow(flow, ahead & lands_inside(flow), _turn(T_source_target, K))


def fit_unit(
    depth: np.ndarray, flow: np.ndarray, *, T_source_target: np.ndarray, K: np.ndarray
) -> float | None:
    """Estimate the factor that brings a translation to the unit of depth.

    Each pixel gives the ratio of measured to predicted parallax; the median, weighted by the
    parallax, belongs to the static scene while that covers most of the image.

    Args:
        depth: depth of the target, NaN where unknown. (H, W)
        flow: target to source, pixels. (H, W, 2)
        T_source_target: motion whose translation has another unit than depth. (4, 4)
        K: intrinsics at H x W, pixels. (3, 3)

    Returns:
        Factor above 0; None without camera motion, or if flow contradicts its direction.
    """
    here = np.s_[FIT_STEP // 2 :: FIT_STEP, FIT_STEP // 2 :: FIT_STEP]
    turned = T_source_target.copy()
    turned[:3, 3] = 0
    x, y, z = (axis[here] for axis in _points_in_source(depth, turned, K))
    tx, ty, tz = K @ T_source_target[:3, 3]
    u, v = (axis + flow[..., i] for i, axis in enumerate(grid(depth.shape)))
    u, v = u[here], v[here]
    # (x + s tx) / (z + s tz) = u, likewise v: two linear equations a s = b per pixel.
    a, b = np.stack([tx - tz * u, ty - tz * v]), np.stack([z * u - x, z * v - y])
    length = np.hypot(*a)
    known = np.isfinite(b).all(axis=0) & (length > 0) & (z > NEAREST)
    if not known.any():
        return None
    # Least squares per pixel, then the median weighted by parallax per unit of s.
    steps = (a * b).sum(axis=0)[known] / length[known] ** 2
    order = np.argsort(steps)
    weights = (length[known] / z[known])[order].cumsum()
    unit = float(steps[order][np.searchsorted(weights, weights[-1] / 2)])
    return unit if unit > 0 else None


def _turn(T: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Return K R K^-1. (3, 3)"""
    return K @ T[:3, :3] @ np.linalg.inv(K)


def _points_in_source(depth: np.ndarray, T: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Return K (R Z K^-1 m + t), before the division by depth. (3, H, W)"""
    u, v = grid(depth.shape)
    rays = np.stack([a * u + b * v + c for a, b, c in _turn(T, K)])
    return rays * depth + (K @ T[:3, 3])[:, None, None]
