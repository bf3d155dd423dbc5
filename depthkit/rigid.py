# SPDX-License-Identifier: Apache-2.0
"""Rigid motions in numpy: quaternions (xyzw), SE(3) inverse, logarithm, exponential; all batched.

The torch twin for training is `geometry/se3.py`; this one is for files, scores and the robot.
"""

import numpy as np
from numpy.typing import ArrayLike


def quaternion_to_matrix(q_xyzw: ArrayLike) -> np.ndarray:
    """Turn quaternions (normalised here) into rotation matrices.

    Args:
        q_xyzw: any norm but 0. (..., 4)

    Returns:
        Rotation matrices. (..., 3, 3) float64
    """
    q = np.asarray(q_xyzw, dtype=np.float64)
    x, y, z, w = np.moveaxis(q / np.linalg.norm(q, axis=-1, keepdims=True), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def matrix_to_quaternion(R: ArrayLike) -> np.ndarray:
    """Turn rotation matrices into unit quaternions with w >= 0.

    Each of the four components can be the pivot (Shepperd 1978); the largest is taken, so that
    no angle is ill-conditioned.

    Args:
        R: rotation matrices. (..., 3, 3)

    Returns:
        Quaternions, xyzw. (..., 4) float64
    """
    m = np.asarray(R, dtype=np.float64)
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    sx, sy, sz = (m[..., j, i] - m[..., i, j] for i, j in ((1, 2), (2, 0), (0, 1)))
    xy, xz, yz = (m[..., i, j] + m[..., j, i] for i, j in ((0, 1), (0, 2), (1, 2)))
    # Row k is 4 q_k (x, y, z, w): the outer product of the quaternion with itself, times 4.
    outer = np.stack(
        [
            np.stack([1 + xx - yy - zz, xy, xz, sx], axis=-1),
            np.stack([xy, 1 - xx + yy - zz, yz, sy], axis=-1),
            np.stack([xz, yz, 1 - xx - yy + zz, sz], axis=-1),
            np.stack([sx, sy, sz, 1 + xx + yy + zz], axis=-1),
        ],
        axis=-2,
    )
    pivot = np.argmax(np.diagonal(outer, axis1=-2, axis2=-1), axis=-1)
    q = np.take_along_axis(outer, pivot[..., None, None], axis=-2)[..., 0, :]
    q = q / np.linalg.norm(q, axis=-1, keepdims=True)
    return np.where(q[..., 3:] < 0, -q, q)


def make_pose(R: ArrayLike, t: ArrayLike) -> np.ndarray:
    """Put rotations (..., 3, 3) and translations (..., 3) into poses (..., 4, 4)."""
    t = np.asarray(t, dtype=np.float64)
    T = np.zeros((*t.shape[:-1], 4, 4))
    T[..., :3, :3], T[..., :3, 3], T[..., 3, 3] = R, t, 1.0
    return T


def inverse(T: ArrayLike) -> np.ndarray:
    """Invert rigid motions by transposing the rotation. (..., 4, 4) -> (..., 4, 4)"""
    T = np.asarray(T, dtype=np.float64)
    R_t = np.swapaxes(T[..., :3, :3], -1, -2)
    return make_pose(R_t, -(R_t @ T[..., :3, 3:])[..., 0])


def straightened(T: ArrayLike) -> np.ndarray:
    """Remove rounding from rotations that are products of many. (..., 4, 4) -> (..., 4, 4)

    One Newton step towards the nearest rotation, R (3 I - R^T R) / 2: exact to the square of the
    error, which without it doubles each time that an inverse is taken by transposing.
    """
    T = np.array(T, dtype=np.float64)
    R = T[..., :3, :3]
    T[..., :3, :3] = R @ (1.5 * np.eye(3) - 0.5 * np.swapaxes(R, -1, -2) @ R)
    return T


def skew(v: np.ndarray) -> np.ndarray:
    """Build the cross-product matrix of vectors: skew(a) @ b = a x b. (..., 3) -> (..., 3, 3)"""
    W = np.zeros((*v.shape, 3), v.dtype)
    W[..., 2, 1], W[..., 0, 2], W[..., 1, 0] = v[..., 0], v[..., 1], v[..., 2]
    W[..., 1, 2], W[..., 2, 0], W[..., 0, 1] = -v[..., 0], -v[..., 1], -v[..., 2]
    return W


def log_so3(R: ArrayLike) -> np.ndarray:
    """Return rotation vectors, radians, angle in [0, pi]. (..., 3, 3) -> (..., 3)"""
    q = matrix_to_quaternion(R)
    sine = np.linalg.norm(q[..., :3], axis=-1, keepdims=True)
    angle = 2 * np.arctan2(sine, q[..., 3:])
    return q[..., :3] * np.where(sine > 1e-12, angle / np.maximum(sine, 1e-12), 2.0)


def _angle_factors(angle: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return sin(a)/a, (1-cos a)/a^2 and (a-sin a)/a^3; their series below 1e-2 rad."""
    small = angle < 1e-2
    a = np.where(small, 1.0, angle)
    a2 = angle**2
    return (
        np.where(small, 1 - a2 / 6 + a2**2 / 120, np.sin(a) / a),
        np.where(small, 0.5 - a2 / 24 + a2**2 / 720, (1 - np.cos(a)) / a**2),
        np.where(small, 1 / 6 - a2 / 120 + a2**2 / 5040, (a - np.sin(a)) / a**3),
    )


def exp_se3(xi: ArrayLike) -> np.ndarray:
    """Map twists (translation part first, then rotation, radians) to rigid motions.

    Args:
        xi: twists (rho, phi). (..., 6)

    Returns:
        Rigid motions. (..., 4, 4) float64
    """
    xi = np.asarray(xi, dtype=np.float64)
    rho, phi = xi[..., :3], xi[..., 3:]
    W = skew(phi)
    a, b, c = (f[..., None, None] for f in _angle_factors(np.linalg.norm(phi, axis=-1)))
    W2 = W @ W
    V = np.eye(3) + b * W + c * W2
    return make_pose(np.eye(3) + a * W + b * W2, (V @ rho[..., None])[..., 0])


def log_se3(T: ArrayLike) -> np.ndarray:
    """Map rigid motions to twists, the inverse of `exp_se3`. (..., 4, 4) -> (..., 6)"""
    T = np.asarray(T, dtype=np.float64)
    phi = log_so3(T[..., :3, :3])
    W = skew(phi)
    _, b, c = (f[..., None, None] for f in _angle_factors(np.linalg.norm(phi, axis=-1)))
    V = np.eye(3) + b * W + c * (W @ W)
    rho = np.linalg.solve(V, T[..., :3, 3:])[..., 0]
    return np.concatenate([rho, phi], axis=-1)
