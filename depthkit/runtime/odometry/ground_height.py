# SPDX-License-Identifier: Apache-2.0
"""Camera height over the ground in the unit of a depth map, for scaling by a known height.

On a plane inverse depth is linear in the image: 1 / z = m . (x, y, 1) with m = n / h, where n is
the unit normal pointing away from the camera and h the distance of the camera. Differences of 1 / z
therefore give normal and height at each pixel [dense geometrical constraint of DNet, Xue et al.,
IROS 2020], and least squares on 1 / z weights near and far as a depth network errs.
"""

from dataclasses import dataclass

import numpy as np

from depthkit.errors import check_shape

LEAST_PIXELS = 100  # smallest number of ground pixels
WIDTH = 416  # wider maps are subsampled to about this width
REACH = 200  # map width at which differences span two pixels; in proportion for wider maps
FIT = (0.3, 0.15, 0.1)  # inlier threshold of each fit: relative distance from the plane


@dataclass(frozen=True, eq=False)
class GroundHeight:
    """Camera height over the ground, or the reason why it is unknown."""

    height: float | None
    """Height in the depth's unit; None if unknown."""
    share: float = 0.0
    """Share of the pixels with depth that are ground."""
    spread: float = 0.0
    """Median absolute deviation of the ground pixels' heights, relative."""
    up: np.ndarray | None = None
    """Measured ground normal in the camera frame. (3,) float64"""
    reason: str = ""
    """Why the height is unknown; empty if it is known."""


def ground_height(
    depth: np.ndarray,
    *,
    K: np.ndarray,
    up: np.ndarray,
    valid: np.ndarray | None = None,
    max_tilt: float = 15.0,
    least_share: float = 0.05,
) -> GroundHeight:
    """Measure the camera's height over the ground plane.

    The ground is the largest plane below the camera whose normal is close to up; objects on it and
    smaller level planes (tables, roofs) are rejected as outliers.

    Args:
        depth: depth along the optical axis, any unit; unknown where not finite or not above 0.
            (H, W)
        K: intrinsics at H x W, pixels. (3, 3)
        up: up direction in the camera frame, any length. (3,)
        valid: pixels with a usable depth. (H, W) bool
        max_tilt: largest angle between ground normal and `up`, degrees: slope and error of `up`.
        least_share: smallest share of the pixels with depth that must be ground.

    Raises:
        ShapeError: the caller's bug.
    """
    check_shape("ground_height: depth", depth, "H W")
    check_shape("ground_height: K", K, "3 3")
    check_shape("ground_height: up", up, "3")
    length = np.linalg.norm(up)
    if not (np.isfinite(length) and length > 0):
        return GroundHeight(None, reason=f"up must be a direction, got {np.asarray(up).tolist()}")
    # 1. Candidates: pixels below the camera whose local plane is close to level.
    x, y, inverse = _inverse_depth(depth, K, valid)
    total = int(np.isfinite(inverse).sum())
    unit_up = np.asarray(up, dtype=np.float64) / length
    found = _level(x, y, inverse, unit_up, max_tilt)
    # 2. One plane through them, by least squares with shrinking inlier thresholds.
    pixels, m = _on_plane(*found)
    share = len(pixels) / max(total, 1)
    if len(pixels) < LEAST_PIXELS or share < least_share:
        words = f"{share:.1%} of the depth is ground, needs {least_share:.0%}"
        return GroundHeight(None, share, reason=f"{words} and {LEAST_PIXELS} pixels")
    # 3. The plane must be close to level; the height is the median over its pixels.
    normal = m / np.linalg.norm(m)
    tilt = float(np.degrees(np.arccos(np.clip(-normal @ unit_up, -1, 1))))
    if tilt > max_tilt:
        reason = f"the ground leans by {tilt:.0f} deg against up, more than {max_tilt:g} deg"
        return GroundHeight(None, share, reason=reason)
    heights = pixels @ normal
    height = float(np.median(heights))
    spread = float(np.median(np.abs(heights - height))) / height
    return GroundHeight(height, share, spread, -normal)


def _inverse_depth(
    depth: np.ndarray, K: np.ndarray, valid: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the columns' x, the rows' y at depth 1, and 1 / depth, NaN where unknown."""
    step = max(1, depth.shape[1] // WIDTH)
    x = (np.arange(0, depth.shape[1], step) - K[0, 2]) / K[0, 0]
    y = (np.arange(0, depth.shape[0], step) - K[1, 2]) / K[1, 1]
    depth = depth[::step, ::step]
    known = np.isfinite(depth) & (depth > 0)
    if valid is not None:
        known &= valid[::step, ::step]
    inverse = np.full(depth.shape, np.nan, np.float32)
    np.divide(1, depth, out=inverse, where=known, casting="unsafe")
    return x.astype(np.float32), y.astype(np.float32)[:, None], inverse


def _level(
    x: np.ndarray, y: np.ndarray, inverse: np.ndarray, up: np.ndarray, max_tilt: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels below the camera whose local normal is close to up, and their planes.

    Returns:
        points: x, y at depth 1, and 1 / depth. (N, 3)
        planes: m of each pixel. (N, 3)
    """
    reach = max(1, round(inverse.shape[1] / REACH))
    if min(inverse.shape) <= 2 * reach:
        return np.empty((0, 3)), np.empty((0, 3))
    inner = slice(reach, -reach)
    # m = (a, b, c) from central differences of 1 / z = a x + b y + c [DNet].
    a = inverse[inner, 2 * reach :] - inverse[inner, : -2 * reach]
    a /= x[2 * reach] - x[0]
    b = inverse[2 * reach :, inner] - inverse[: -2 * reach, inner]
    b /= y[2 * reach] - y[0]
    x, y, inverse = x[inner], y[inner], inverse[inner, inner]
    c = inverse - a * x - b * y
    along = -(a * np.float32(up[0]) + b * np.float32(up[1]) + c * np.float32(up[2]))
    near_up = along >= np.float32(np.cos(np.radians(max_tilt))) * np.sqrt(a * a + b * b + c * c)
    near_up &= x * np.float32(up[0]) + y * np.float32(up[1]) < -np.float32(up[2])
    rows, columns = np.nonzero(near_up)
    points = np.stack([x[columns], y[rows, 0], inverse[rows, columns]], axis=1)
    planes = np.stack([one[rows, columns] for one in (a, b, c)], axis=1)
    return points, planes


def _on_plane(points: np.ndarray, planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit the plane that most pixels share.

    Returns:
        points: points on the plane, in the depth's unit. (M, 3)
        m: normal away from the camera, divided by the height. (3,)
    """
    if len(points) < LEAST_PIXELS:
        return np.empty((0, 3)), np.zeros(3)
    m = np.median(planes, axis=0).astype(np.float64)
    rays = np.column_stack([points[:, :2], np.ones(len(points), points.dtype)])
    inverse = points[:, 2]
    for allowed in FIT:
        on = np.abs(rays @ m.astype(np.float32) / inverse - 1) < allowed
        if on.sum() < LEAST_PIXELS:
            return np.empty((0, 3)), np.zeros(3)
        kept = rays[on].astype(np.float64)
        m = np.linalg.lstsq(kept.T @ kept, kept.T @ inverse[on], rcond=None)[0]
    return kept / inverse[on, None], m
