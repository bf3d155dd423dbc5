# SPDX-License-Identifier: Apache-2.0
"""Two-view motion from point tracks: rotation, parallax, and which of two models explains them.

Two models compete. A pure rotation moves every pixel by the homography K R K^-1 (Hartley and
Zisserman, 8.4.2); a moving camera obeys x_b^T [t]x R x_a = 0 (9.6). The rotation model leaves a
two-dimensional error per point, the essential matrix only the distance to the epipolar line, so the
rotation is preferred while its error stays at the noise level of the tracks. A planar scene does
not break the choice: both models fit it well only if the camera did not translate.
"""

from dataclasses import dataclass

import numpy as np

from depthkit.multiview.epipolar import (
    NOISE_FLOOR,
    fit_essential,
    normalise,
    rotation_angle,
    transfer_error,
)

MIN_TRACKS = 24
"""Smallest number of tracks for a measurement; below it a pair is 'unmeasured', never 'static'."""
OUTLIER_NOISE = 3.0
"""Noise deviations from the epipolar line above which a track is an outlier."""
ROTATION_NOISE = 2.0
"""Noise deviations up to which the median error of a pure rotation counts as explained."""


@dataclass(frozen=True)
class PairMotion:
    """Camera motion from frame a to frame b; lengths in pixels of the measured image."""

    tracks: int
    displacement: float
    """Median length of the tracks."""
    parallax: float
    """Median length of the derotated tracks that fit the motion."""
    rotation_deg: float
    rotation_error: float
    """Median error of the best pure rotation."""
    epipolar_error: float
    """Median distance to the epipolar lines of the best essential matrix."""
    is_rotation: bool
    """Whether a pure rotation (or no motion) explains the tracks as well as a moving camera."""
    R_b_a: np.ndarray
    """Rotation from a to b. (3, 3)"""
    direction_b_a: np.ndarray
    """Unit vector of the translation of T_b_a; NaN if is_rotation. (3,)"""


def measure_motion(points_a: np.ndarray, points_b: np.ndarray, K: np.ndarray) -> PairMotion | None:
    """Measure the motion between two frames.

    Args:
        points_a, points_b: tracks, pixels. (N, 2)
        K: intrinsics of both, pixels. (3, 3)

    Returns:
        The motion, or None with fewer than MIN_TRACKS tracks.
    """
    if len(points_a) < MIN_TRACKS:
        return None
    focal = float(np.sqrt(K[0, 0] * K[1, 1]))
    x_a, x_b = normalise(points_a, K), normalise(points_b, K)
    # 1. The simpler model: the best pure rotation.
    R_rotation = fit_rotation(x_a, x_b, focal=focal)
    rotation_error = focal * float(np.median(transfer_error(R_rotation, x_a, x_b)))
    # 2. The essential matrix; its median distance gives the noise level of the tracks.
    R, t, distance = fit_essential(x_a, x_b, focal, R_rotation)
    epipolar_error = float(np.median(distance))
    noise = max(1.4826 * epipolar_error, NOISE_FLOOR)
    fits = distance <= OUTLIER_NOISE * noise
    # 3. Model choice: the rotation, if its error is at noise level.
    is_rotation = rotation_error <= ROTATION_NOISE * noise
    if is_rotation:
        R, t, fits = R_rotation, np.full(3, np.nan), np.ones(len(x_a), bool)
    return PairMotion(
        tracks=len(points_a),
        displacement=float(np.median(np.linalg.norm(points_b - points_a, axis=1))),
        parallax=focal * float(np.median(transfer_error(R, x_a, x_b)[fits])),
        rotation_deg=rotation_angle(R),
        rotation_error=rotation_error,
        epipolar_error=epipolar_error,
        is_rotation=is_rotation,
        R_b_a=R,
        direction_b_a=t,
    )


def fit_rotation(x_a: np.ndarray, x_b: np.ndarray, *, focal: float) -> np.ndarray:
    """Fit R in x_b ~ R x_a by least absolute error (iteratively reweighted Kabsch).

    Args:
        x_a, x_b: points on the plane z = 1. (N, 3)
        focal: focal length in pixels; sets where absolute error becomes quadratic (0.1 px).

    Returns:
        R_b_a. (3, 3)
    """
    a = x_a / np.linalg.norm(x_a, axis=1, keepdims=True)
    b = x_b / np.linalg.norm(x_b, axis=1, keepdims=True)
    weights, R = np.ones(len(a)), np.eye(3)
    for _ in range(12):
        U, _, Vt = np.linalg.svd((b * weights[:, None]).T @ a)
        R = U @ np.diag([1.0, 1.0, np.linalg.det(U @ Vt)]) @ Vt
        error = focal * np.linalg.norm(b - a @ R.T, axis=1)
        weights = 1.0 / np.maximum(error, NOISE_FLOOR)
    return R


def rotation_residual(points_a: np.ndarray, points_b: np.ndarray, K: np.ndarray) -> float:
    """Return the median error of the best pure rotation, pixels."""
    focal = float(np.sqrt(K[0, 0] * K[1, 1]))
    x_a, x_b = normalise(points_a, K), normalise(points_b, K)
    R = fit_rotation(x_a, x_b, focal=focal)
    return focal * float(np.median(transfer_error(R, x_a, x_b)))


def flow_of_cells(points_a: np.ndarray, points_b: np.ndarray, size: tuple[int, int]) -> float:
    """Measure coherent flow: take the median flow per grid cell, then the median of its lengths.

    Noise has no common direction within a cell and cancels, and so does an object that moves in
    less than half of the cells. The median length of single tracks would count noise as motion.

    Args:
        points_a, points_b: tracks, pixels. (N, 2)
        size: image size (H, W).

    Returns:
        Length in pixels; NaN with fewer than MIN_TRACKS tracks.
    """
    if len(points_a) < MIN_TRACKS:
        return float("nan")
    cell = (points_a * (6, 4) / size[::-1]).astype(int) @ (1, 6)
    flow = points_b - points_a
    medians = [np.median(flow[cell == c], axis=0) for c in np.unique(cell)]
    counts = [int((cell == c).sum()) for c in np.unique(cell)]
    lengths = [float(np.hypot(*m)) for m, n in zip(medians, counts, strict=True) if n >= 5]
    return float(np.median(lengths or [np.hypot(*np.median(flow, axis=0))]))
