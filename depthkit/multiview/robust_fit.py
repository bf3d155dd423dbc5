# SPDX-License-Identifier: Apache-2.0
"""Homography and relative pose from matches with outliers, by OpenCV's USAC.

MAGSAC++ (Barath et al., CVPR 2020) weighs each match over a range of noise levels instead of
counting those below one. Same input, same answer.
"""

from typing import Literal, NamedTuple

import cv2
import numpy as np

Robust = Literal["magsac", "ransac"]

_HOMOGRAPHY_MATCHES, _POSE_MATCHES = 4, 5
_ITERATIONS, _CONFIDENCE = 10_000, 0.9999
_FLAGS = {"magsac": cv2.USAC_MAGSAC, "ransac": cv2.RANSAC}


class RelativePose(NamedTuple):
    """Motion between two frames, its length unknown."""

    R_b_a: np.ndarray
    """(3, 3)"""
    direction_b_a: np.ndarray
    """Unit vector of the translation of T_b_a. (3,)"""
    inliers: np.ndarray
    """Matches that agree with it. (M,) bool"""


def fit_homography(
    points_a: np.ndarray, points_b: np.ndarray, *, limit: float = 3.0, robust: Robust = "magsac"
) -> np.ndarray | None:
    """Fit H in p_b ~ H p_a.

    Args:
        points_a, points_b: matches, pixels. (M, 2)
        limit: largest noise of a right match, pixels.
        robust: how outliers are found.

    Returns:
        H_b_a with H[2, 2] = 1, None where the matches agree on none. (3, 3)
    """
    if len(points_a) < _HOMOGRAPHY_MATCHES:
        return None
    a, b = points_a.astype(np.float64), points_b.astype(np.float64)
    cv2.setRNGSeed(0)  # of RANSAC; USAC has a fixed one of its own
    H, _ = cv2.findHomography(
        a, b, _FLAGS[robust], limit, maxIters=_ITERATIONS, confidence=_CONFIDENCE
    )
    if H is None or not np.isfinite(H).all() or not H[2, 2]:
        return None
    return np.asarray(H / H[2, 2])


def fit_relative_pose(
    points_a: np.ndarray,
    points_b: np.ndarray,
    K: np.ndarray,
    *,
    limit: float = 1.0,
    robust: Robust = "magsac",
) -> RelativePose | None:
    """Fit the essential matrix and take the pose that puts the points in front of both cameras.

    Args:
        points_a, points_b: matches, pixels. (M, 2)
        K: intrinsics of both frames. (3, 3)
        limit: largest noise of a right match, pixels.
        robust: how outliers are found.

    Returns:
        None where the matches agree on none.
    """
    if len(points_a) < _POSE_MATCHES:
        return None
    a, b = (_on_plane(points, K) for points in (points_a, points_b))
    focal = float(np.sqrt(K[0, 0] * K[1, 1]))
    cv2.setRNGSeed(0)
    E, mask = cv2.findEssentialMat(
        a, b, np.eye(3), _FLAGS[robust], _CONFIDENCE, limit / focal, _ITERATIONS
    )
    if E is None or mask is None or E.shape != (3, 3) or not np.isfinite(E).all():
        return None
    inliers = mask.ravel() > 0
    if inliers.sum() < _POSE_MATCHES:
        return None
    _, R, t, _ = cv2.recoverPose(E, a[inliers], b[inliers], np.eye(3))
    return RelativePose(R, t.ravel(), inliers)


def _on_plane(points: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Bring pixels to the plane z = 1. (M, 2) -> (M, 2) float64"""
    homogeneous = np.column_stack([points, np.ones(len(points))]) @ np.linalg.inv(K).T
    return np.ascontiguousarray(homogeneous[:, :2] / homogeneous[:, 2:])
