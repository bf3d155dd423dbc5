# SPDX-License-Identifier: Apache-2.0
"""The flow of a scene that stands still, as `geometry/rigid_flow.py` has it, in numpy; and the
unit of a motion, found by flow."""

from typing import NamedTuple

import numpy as np

from depthkit.errors import check_shape
from depthkit.multiview.warp import grid, lands_inside

NEAREST = 1e-6  # metres or its own unit; a point nearer to the source camera has no pixel
FIT_STEP = 4  # pixels from one that is asked for the unit to the next


class RigidFlow(NamedTuple):
    """Where the target's points lie in the source if the scene stands still."""

    flow: np.ndarray
    """Target to source, pixels (u, v); 0 for points behind the source. (H, W, 2) float32"""
    valid: np.ndarray
    """The point's depth is known, and it lies in front of and inside the source. (H, W) bool"""
    turn: np.ndarray
    """K R K^-1, by which a camera that only turns moves pixels. (3, 3)"""

    @property
    def parallax(self) -> np.ndarray:
        """The flow less that of a camera that only turns, pixels; 0 where not valid. (H, W, 2)"""
        u, v = grid(self.valid.shape)
        x, y, z = (a * u + b * v + c for a, b, c in self.turn)
        z = np.where(z > NEAREST, z, 1)
        turned = np.stack([x / z - u, y / z - v], axis=-1).astype(np.float32)
        return np.where(self.valid[..., None], self.flow - turned, np.float32(0))


def rigid_flow(depth: np.ndarray, *, T_source_target: np.ndarray, K: np.ndarray) -> RigidFlow:
    """Compute the flow that depth and camera motion make: K [R|t] D(m) K^-1 m - m [Zhou 2017].

    Args:
        depth: of the target; NaN where unknown. (H, W)
        T_source_target: target-frame points to source frame, in the unit of depth. (4, 4)
        K: intrinsics of both at H x W, pixels. (3, 3)
    """
    check_shape("rigid_flow: depth", depth, "H W")
    points = _points_in_source(depth, T_source_target, K)
    u, v = grid(depth.shape)
    with np.errstate(invalid="ignore"):  # what is not known is in front of nothing
        ahead = points[2] > NEAREST
    z = np.where(ahead, points[2], 1)
    flow = np.stack([points[0] / z - u, points[1] / z - v], axis=-1)
    flow = np.where(ahead[..., None], flow, 0).astype(np.float32)
    return RigidFlow(flow, ahead & lands_inside(flow), _turn(T_source_target, K))


def fit_unit(
    depth: np.ndarray, flow: np.ndarray, *, T_source_target: np.ndarray, K: np.ndarray
) -> float | None:
    """Find what a translation must be multiplied with to be in the unit of depth.

    Each pixel says how far along its parallax flow went; the median, weighted by the parallax, is
    that of the static scene while it is most of the picture.

    Args:
        depth: of the target; NaN where unknown. (H, W)
        flow: target to source, pixels. (H, W, 2)
        T_source_target: its translation has another unit than depth. (4, 4)
        K: intrinsics at H x W, pixels. (3, 3)

    Returns:
        Above 0; None where the camera does not move, or flow says that it moved the other way.
    """
    here = np.s_[FIT_STEP // 2 :: FIT_STEP, FIT_STEP // 2 :: FIT_STEP]
    turned = T_source_target.copy()
    turned[:3, 3] = 0
    x, y, z = (axis[here] for axis in _points_in_source(depth, turned, K))
    tx, ty, tz = K @ T_source_target[:3, 3]
    u, v = (axis + flow[..., i] for i, axis in enumerate(grid(depth.shape)))
    u, v = u[here], v[here]
    # (x + s tx) / (z + s tz) = u and the like for v: two equations a s = b a pixel.
    a, b = np.stack([tx - tz * u, ty - tz * v]), np.stack([z * u - x, z * v - y])
    length = np.hypot(*a)
    known = np.isfinite(b).all(axis=0) & (length > 0) & (z > NEAREST)
    if not known.any():
        return None
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
