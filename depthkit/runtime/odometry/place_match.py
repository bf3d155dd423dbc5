# SPDX-License-Identifier: Apache-2.0
"""Geometric check of a place: does the new image see the points of the kept keyframe?"""

from dataclasses import dataclass

import cv2
import numpy as np

from depthkit.multiview.features import Features, match
from depthkit.rigid import exp_se3, inverse, make_pose
from depthkit.runtime.odometry.place_view import PlaceView

MIN_INLIERS = 25
"""Smallest number of points that must agree on the pose [ORB-SLAM3 and VINS-Mono: 25 to 30]."""
PIXELS = 0.005
"""Largest error of an inlier as a part of the image's width, at least 2 pixels."""
ROUNDS = 300
"""Samples of the RANSAC."""
SCALE_SIGMA = 0.15
"""Largest relative standard deviation of a ratio of two depths that counts for the scale."""
MIN_SCALE_POINTS = 10
"""Smallest number of points known on both sides from which a scale is measured."""


@dataclass(frozen=True, eq=False)
class PlaceHit:
    """Pose of a new image relative to a kept keyframe."""

    view: int
    """The kept keyframe."""
    T_view_cam: np.ndarray
    """Pose of the new image in the kept keyframe, in the keyframe's unit. (4, 4)"""
    inliers: int
    error: float
    """Median reprojection error of the inliers, pixels."""
    scale: float
    """Lengths in the keyframe's unit per length in the new image's unit; NaN where unmeasured."""
    scale_sigma: float
    """Standard deviation of its logarithm; inf where unmeasured."""
    depth: float
    """Median depth of the inliers in the new image, in the keyframe's unit."""


@dataclass(frozen=True, eq=False)
class Query:
    """An image whose place is looked for."""

    features: Features
    K: np.ndarray
    """Intrinsics, pixels. (3, 3)"""
    width: int
    """Width of the image, pixels."""
    points: np.ndarray | None = None
    """Positions of the features in the camera, for the scale; NaN where unknown. (N, 3)"""
    sigmas: np.ndarray | None = None
    """Relative standard deviations of their depths. (N,)"""
    code: np.ndarray | None = None
    """Learnt descriptor of the whole image, where places are retrieved by one. (D,)"""


@dataclass(frozen=True, eq=False)
class PooledHit:
    """Pose of an image by the points of several views."""

    T_view_cam: np.ndarray
    """Pose of the image in the last view. (4, 4)"""
    index: np.ndarray
    """Features of the image that agree, each once. (N,)"""
    points: np.ndarray
    """What they see: points in the axes of the last view, and the relative standard deviation of
    their depth. (N, 4)"""


def pooled_hit(query: Query, views: list[PlaceView], *, min_inliers: int) -> PooledHit | None:
    """Find the pose of an image from the points of several views together, None if too few agree.

    Args:
        query: the image.
        views: of one segment; the pose is given in the last one.
        min_inliers: smallest number of features that must agree.
    """
    seen = [seen_points(query, one, into=views[-1]) for one in views]
    index = np.concatenate([one for one, _ in seen])
    landmarks = np.concatenate([points for _, points in seen])
    if len(index) < max(6, min_inliers):
        return None
    pixels = query.features.pixels[index].astype(np.float64)
    limit = max(2.0, PIXELS * query.width)
    T, good, _ = _pose(np.ascontiguousarray(landmarks[:, :3]), pixels, query.K, limit)
    # A feature that several views know counts once, by the newest of them.
    _, last = np.unique(index[good][::-1], return_index=True)
    chosen = np.flatnonzero(good)[::-1][last]
    if T is None or len(chosen) < min_inliers:
        return None
    return PooledHit(inverse(T), index[chosen], landmarks[chosen])


def check_place(
    query: Query,
    view: PlaceView,
    *,
    neighbours: tuple[PlaceView, ...] = (),
    min_inliers: int = MIN_INLIERS,
) -> PlaceHit | None:
    """Find the pose of an image from the points of a kept keyframe, or None if they disagree.

    Args:
        query: the image.
        view: the kept keyframe.
        neighbours: keyframes of its segment beside it; their points help once a third of the
            inliers has been found on the keyframe alone.
        min_inliers: smallest number of features that must agree.
    """
    index, landmarks = seen_points(query, view)
    if len(index) < max(6, min_inliers // 3):
        return None
    hit = _hit(query, view, index, landmarks)
    if hit is not None and min_inliers // 3 <= hit.inliers < min_inliers and neighbours:
        more = [seen_points(query, other, into=view) for other in neighbours]
        index = np.concatenate([index, *(i for i, _ in more)])
        landmarks = np.concatenate([landmarks, *(points for _, points in more)])
        hit = _hit(query, view, index, landmarks)
    return hit if hit is not None and hit.inliers >= min_inliers else None


def seen_points(
    query: Query, view: PlaceView, *, into: PlaceView | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Match a query to the known points of a view.

    Returns:
        Indices of the features (M,), and points in the axes of `into` with the relative standard
        deviation of their depth. (M, 4)
    """
    known = np.flatnonzero(view.known)
    pairs = match(query.features, view.features.take(known))
    seen = known[pairs[:, 1]]
    points = view.points[seen].astype(np.float64)
    if into is not None:
        T = inverse(into.T_world_cam) @ view.T_world_cam
        points = points @ T[:3, :3].T + T[:3, 3]
    return pairs[:, 0], np.column_stack([points, view.sigmas[seen]])


def _hit(
    query: Query, view: PlaceView, index: np.ndarray, landmarks: np.ndarray
) -> PlaceHit | None:
    """Solve the pose from features (by index) and the points they match; None without one."""
    # 1. Pose by RANSAC, refined on its inliers; a feature matched in two views counts once.
    pixels = query.features.pixels[index].astype(np.float64)
    limit = max(2.0, PIXELS * query.width)
    T_cam_view, inliers, error = _pose(
        np.ascontiguousarray(landmarks[:, :3]), pixels, query.K, limit
    )
    if T_cam_view is None:
        return None
    # 2. Scale from points that both sides have placed.
    depth = landmarks[inliers, :3] @ T_cam_view[2, :3] + T_cam_view[2, 3]
    scale, sigma = _scale(query, index[inliers], depth, landmarks[inliers, 3])
    count, middle = len(np.unique(index[inliers])), float(np.median(depth))
    return PlaceHit(view.id, inverse(T_cam_view), count, error, scale, sigma, middle)


def _pose(
    landmarks: np.ndarray, pixels: np.ndarray, K: np.ndarray, limit: float
) -> tuple[np.ndarray | None, np.ndarray, float]:
    """Solve the pose (points to the camera) by RANSAC and two refinements."""
    cv2.setRNGSeed(0)
    none = np.zeros(len(pixels), bool)
    found, rotation, t, index = cv2.solvePnPRansac(
        landmarks, pixels, K, None, iterationsCount=ROUNDS, reprojectionError=limit,
        confidence=0.9999, flags=cv2.SOLVEPNP_AP3P,
    )  # fmt: skip
    if not found or index is None or len(index) < 6:
        return None, none, float("inf")
    inliers = none.copy()
    inliers[index.ravel()] = True
    for _ in range(2):
        rotation, t = cv2.solvePnPRefineLM(
            landmarks[inliers], pixels[inliers], K, None, rotation, t
        )
        projected = cv2.projectPoints(landmarks, rotation, t, K, None)[0].reshape(-1, 2)
        T = make_pose(exp_se3(np.r_[np.zeros(3), rotation.ravel()])[:3, :3], t.ravel())
        front = landmarks @ T[2, :3] + T[2, 3] > 0
        error = np.linalg.norm(projected - pixels, axis=1)
        inliers = front & (error <= limit)
        if inliers.sum() < 6:
            return None, none, float("inf")
    return T, inliers, float(np.median(error[inliers]))


def _scale(
    query: Query, index: np.ndarray, depth: np.ndarray, sigmas: np.ndarray
) -> tuple[float, float]:
    """Median ratio of depths and the standard deviation of its logarithm; NaN, inf if too few."""
    if query.points is None or query.sigmas is None:
        return float("nan"), float("inf")
    own = query.points[index, 2]
    certain = np.hypot(sigmas, query.sigmas[index]) <= SCALE_SIGMA
    both = np.isfinite(own) & (depth > 0) & certain
    if both.sum() < MIN_SCALE_POINTS:
        return float("nan"), float("inf")
    ratio = np.log(depth[both] / own[both])
    centre = float(np.median(ratio))
    spread = 1.4826 * float(np.median(np.abs(ratio - centre)))
    return float(np.exp(centre)), float(1.25 * spread / np.sqrt(both.sum()))
