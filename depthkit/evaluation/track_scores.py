# SPDX-License-Identifier: Apache-2.0
"""Scores at the points of tracks, beside the best constant: what a network must beat to have learnt
anything."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PointScore:
    """Depth of one frame at its tracked points."""

    abs_rel: float
    """Mean |p - z| / z after scaling by the medians."""
    constant: float
    """The same of the constant depth that is best for this frame."""
    unscaled: float
    """Mean |p - z| / z as predicted."""
    reprojection: float
    """Median distance between where a point was found in the other frame and where the scaled
    depth puts it, pixels."""
    reprojection_constant: float
    """The same of the best constant, pixels."""
    points: int


def best_constant(depth: np.ndarray) -> float:
    """Return the c with the least mean |c - z| / z: the median of z weighted by 1 / z."""
    order = np.sort(depth)
    share = np.cumsum(1 / order)
    return float(order[np.searchsorted(share, share[-1] / 2)])


def score_points(
    predicted: np.ndarray,
    depth: np.ndarray,
    *,
    pixels: np.ndarray,
    seen: np.ndarray,
    K: np.ndarray,
    T_other_frame: np.ndarray,
) -> PointScore:
    """Compare predicted depth with triangulated depth.

    Args:
        predicted: at the points, > 0, any unit. (N,)
        depth: triangulated, > 0, in the unit of the motion. (N,)
        pixels, seen: the points in the frame and in the other one. (N, 2) each
        K: of both, pixels. (3, 3)
        T_other_frame: points of the frame to the other one. (4, 4)
    """
    scaled = predicted * (np.median(depth) / np.median(predicted))
    constant = best_constant(depth)

    def abs_rel(p: np.ndarray | float) -> float:
        return float(np.mean(np.abs(p - depth) / depth))

    def missed(p: np.ndarray) -> float:
        there = reproject_points(pixels, p, K=K, T_other_frame=T_other_frame)
        return float(np.median(np.linalg.norm(there - seen, axis=1)))

    return PointScore(
        abs_rel=abs_rel(scaled),
        constant=abs_rel(constant),
        unscaled=abs_rel(predicted),
        reprojection=missed(scaled),
        reprojection_constant=missed(np.full(len(depth), constant)),
        points=len(depth),
    )


def reproject_points(
    pixels: np.ndarray, depth: np.ndarray, *, K: np.ndarray, T_other_frame: np.ndarray
) -> np.ndarray:
    """Find where points of a frame with known depth are in another one, pixels (u, v). (N, 2)"""
    rays = np.column_stack([pixels, np.ones(len(pixels))]) @ np.linalg.inv(K).T
    there = (rays * depth[:, None]) @ T_other_frame[:3, :3].T + T_other_frame[:3, 3]
    seen = there @ K.T
    return seen[:, :2] / np.maximum(seen[:, 2:], 1e-9)


def sample_points(values: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Read a map (H, W, ...) bilinearly at pixels (u, v), the border outside. (N, ...)"""
    height, width = values.shape[:2]
    u = np.clip(pixels[:, 0], 0, width - 1)
    v = np.clip(pixels[:, 1], 0, height - 1)
    left = np.minimum(u.astype(int), max(width - 2, 0))
    top = np.minimum(v.astype(int), max(height - 2, 0))
    right, below = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    extra = (1,) * (values.ndim - 2)
    du, dv = (u - left).reshape(-1, *extra), (v - top).reshape(-1, *extra)
    upper = (1 - du) * values[top, left] + du * values[top, right]
    lower = (1 - du) * values[below, left] + du * values[below, right]
    return (1 - dv) * upper + dv * lower
