# SPDX-License-Identifier: Apache-2.0
"""What the focal length decides of a network's depth: a factor fx / N, or a shift along z.

Some networks say depth as a camera of focal length N would see it [Metric3D, Depth Anything 3,
Depth Pro]; others say points whose z lacks an unknown shift [MoGe]. Both are settled by K.
"""

import numpy as np

from depthkit.errors import EngineError

SOLVE_SHIFT = "solve_shift"
RAYS = 64
"""Points along the longer side of a map that the shift is solved on."""
_STEPS = 20  # Gauss-Newton; five are usual
_DONE = 1e-7  # of the shift, relative to the depth: far below float32 pixels
_NEAREST = 1e-3  # of the median depth: no point may come nearer to the camera than this
_FEWEST = 16  # points with a known position


def canonical_focal(rule: str) -> float | None:
    """Return N of a rule f/N, pixels at the network's size; None for other rules.

    Raises:
        EngineError: no rule that is known.
    """
    if rule in ("none", SOLVE_SHIFT):
        return None
    try:
        focal = float(rule.removeprefix("f/")) if rule.startswith("f/") else 0.0
    except ValueError:
        focal = 0.0
    if not 0 < focal < np.inf:
        raise EngineError(f"focal rule {rule!r}: expected none, f/N such as f/1000, or solve_shift")
    return focal


def solve_shift(points: np.ndarray, K: np.ndarray) -> float | None:
    """Find the shift along z with which points project to their own pixels.

    Least squares over s of fx X / (Z + s) - (u - cx) and its twin in y. The equation multiplied by
    Z + s is linear in s and gives the start; Gauss-Newton then counts pixels.

    Args:
        points: X, Y, Z of each pixel, NaN where unknown. (3, h, w)
        K: intrinsics at h x w, pixels. (3, 3)

    Returns:
        The shift in the unit of the points; None where too few points are known, or no shift brings
        them in front of the camera.
    """
    # 1. A coarse grid of known points, and where their pixels lie from the principal point.
    height, width = points.shape[1:]
    step = max(1, max(height, width) // RAYS)
    v, u = np.mgrid[0:height:step, 0:width:step]
    sample = points[:, ::step, ::step].reshape(3, -1).astype(np.float64)
    known = np.isfinite(sample).all(axis=0)
    if known.sum() < _FEWEST:
        return None
    side = (sample[:2, known] * [[K[0, 0]], [K[1, 1]]]).ravel()  # fx X, then fy Y: (2 N,)
    z = np.tile(sample[2, known], 2)
    pixel = np.concatenate([u.ravel()[known] - K[0, 2], v.ravel()[known] - K[1, 2]])
    # 2. The linear start; a map whose points all lie on the axis says nothing.
    weight = float(pixel @ pixel)
    if weight == 0:
        return None
    shift = float(pixel @ (side - pixel * z)) / weight
    return _refine(shift, side, z, pixel)


def _refine(shift: float, side: np.ndarray, z: np.ndarray, pixel: np.ndarray) -> float | None:
    """Minimise the distances in pixels from a linear start, all points kept before the camera."""
    nearest, spread = float(z.min()), float(np.median(z) - z.min())
    least = _NEAREST * max(float(np.median(np.abs(z))), spread) - nearest
    shift = max(shift, least)
    for _ in range(_STEPS):
        depth = z + shift
        slope = -side / depth**2
        bend = float(slope @ slope)
        if bend == 0:
            return None
        step = float(slope @ (side / depth - pixel)) / bend
        after = max(shift - step, least)
        done = abs(after - shift) <= _DONE * float(np.median(depth))
        shift = after
        if done:
            break
    return shift if np.isfinite(shift) and shift > least else None
