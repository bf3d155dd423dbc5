# SPDX-License-Identifier: Apache-2.0
"""The first two keyframes of a map: from tracks, without any landmark.

Until there is parallax a pure rotation explains the tracks, and only the rotation is known. Then
the essential matrix and the homography of a plane compete [multiview.epipolar], and the landmarks
are triangulated; the unit is the median depth.
"""

from dataclasses import dataclass

import numpy as np

from depthkit.multiview.epipolar import normalise, transfer_error
from depthkit.multiview.two_view import fit_rotation, measure_motion

LEAST_POINTS = 40
"""Triangulated landmarks that a start needs."""
LEAST_SHARE = 0.6
"""Share of the tracks that must be in front of both cameras and near their epipolar line."""
NEAR_LINE = 2.0
"""Largest reprojection error of a landmark, pixels."""


@dataclass(frozen=True, eq=False)
class Start:
    """Two views with a motion, in units of the median depth."""

    T_second_first: np.ndarray
    """(4, 4)"""
    points: np.ndarray
    """In the first camera. (N, 3)"""
    good: np.ndarray
    """Tracks that have a point. (N,) bool"""


def rotation_of(first: np.ndarray, second: np.ndarray, K: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the best pure rotation R_second_first, and the median parallax beyond it, degrees.

    Args:
        first, second: tracks, pixels. (N, 2)
        K: intrinsics, pixels. (3, 3)
    """
    focal = float(np.sqrt(K[0, 0] * K[1, 1]))
    x_a, x_b = normalise(first, K), normalise(second, K)
    R = fit_rotation(x_a, x_b, focal=focal)
    return R, float(np.degrees(np.median(transfer_error(R, x_a, x_b))))


def try_start(first: np.ndarray, second: np.ndarray, K: np.ndarray) -> Start | str:
    """Start a map from two views, or say why not yet.

    Args:
        first, second: tracks, pixels. (N, 2)
        K: intrinsics, pixels. (3, 3)
    """
    motion = measure_motion(first, second, K)
    if motion is None:
        return f"{len(first)} tracks are too few"
    if motion.is_rotation:
        return "a pure rotation explains the tracks"
    points = triangulate_rays(
        normalise(first, K), normalise(second, K), motion.R_b_a, motion.direction_b_a
    )
    focal = float(np.sqrt(K[0, 0] * K[1, 1]))
    in_second = points @ motion.R_b_a.T + motion.direction_b_a
    with np.errstate(divide="ignore", invalid="ignore"):
        off_a = points[:, :2] / points[:, 2:] - normalise(first, K)[:, :2]
        off_b = in_second[:, :2] / in_second[:, 2:] - normalise(second, K)[:, :2]
    error = focal * np.sqrt((off_a**2).sum(axis=1) + (off_b**2).sum(axis=1))
    good = (points[:, 2] > 0) & (in_second[:, 2] > 0) & (error < NEAR_LINE)
    if good.sum() < LEAST_POINTS or good.mean() < LEAST_SHARE:
        return f"{good.sum()} of {len(good)} tracks fit one motion"
    unit = float(np.median(points[good, 2]))
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = motion.R_b_a, motion.direction_b_a / unit
    return Start(T, points / unit, good)


def triangulate_rays(
    x_a: np.ndarray, x_b: np.ndarray, R_b_a: np.ndarray, t_b_a: np.ndarray
) -> np.ndarray:
    """Return the midpoints of the shortest lines between rays, in camera a. (N, 3)

    Args:
        x_a, x_b: points on the plane z = 1. (N, 3)
        R_b_a, t_b_a: motion from a to b. (3, 3), (3,)
    """
    # Rays in a: s x_a and c + u y, with the centre c of b and y = R^T x_b.
    y, c = x_b @ R_b_a, -R_b_a.T @ t_b_a
    aa, yy, ay = (x_a * x_a).sum(1), (y * y).sum(1), (x_a * y).sum(1)
    ac, yc = x_a @ c, y @ c
    determinant = np.maximum(aa * yy - ay * ay, 1e-12)
    s = (yy * ac - ay * yc) / determinant
    u = (ay * ac - aa * yc) / determinant
    return 0.5 * (s[:, None] * x_a + c + u[:, None] * y)
