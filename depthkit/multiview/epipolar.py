# SPDX-License-Identifier: Apache-2.0
"""Rotation and translation direction from tracks: the essential matrix, fitted and refined.

Points lie on the plane z = 1, residuals are in pixels. USAC gives starting values, a damped
Gauss-Newton on Sampson's distance (Hartley and Zisserman, 11.9) refines them.
"""

from dataclasses import dataclass

import cv2
import numpy as np

NOISE_FLOOR = 0.1
"""Pixels of the reduced image; KLT is not better than this on compressed video."""
TWIN_DEG = 15.0
"""Angle to the best pure rotation above which a start is rejected as the twisted solution."""
REFINED = 2
"""Number of starts that are refined."""
CAUCHY = 0.3
"""Pixels at which an epipolar distance starts to count as an outlier."""
PULL = 0.02
"""Weight of the regulariser towards small parallax, see `_cost`."""


@dataclass(frozen=True)
class _Fit:
    """A candidate (R, t) with its residuals in pixels."""

    R: np.ndarray
    t: np.ndarray
    distance: np.ndarray
    parallax: np.ndarray
    behind: np.ndarray
    flow: np.ndarray
    scale: np.ndarray
    rotated: np.ndarray

    @property
    def error(self) -> np.ndarray:
        """Distance to what the model can explain, pixels. (N,)"""
        return np.where(self.behind, self.parallax, self.distance)


def normalise(points: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Pixels to the plane z = 1. (N, 3)"""
    xy = (np.asarray(points, np.float64) - K[:2, 2]) / (K[0, 0], K[1, 1])
    return np.column_stack([xy, np.ones(len(xy))])


def transfer_error(R: np.ndarray, x_a: np.ndarray, x_b: np.ndarray) -> np.ndarray:
    """Distance between R x_a and x_b on the plane z = 1. (N,)"""
    rotated = x_a @ R.T
    return np.linalg.norm(rotated[:, :2] / rotated[:, 2:] - x_b[:, :2], axis=1)


def fit_essential(
    x_a: np.ndarray, x_b: np.ndarray, focal: float, R_rotation: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit R and t from several starts; return the best with its epipolar distances in pixels.

    Starts: the best pure rotation with the direction that suits it, USAC's essential matrix, and
    both motions that a plane allows (Hartley and Zisserman 13.1; in front of a plane each of them
    fits every epipolar line). The best are refined on the robust cost; the lowest cost wins.
    """
    # 1. Starting values from three models.
    starts = [(R_rotation, _direction(R_rotation, x_a, x_b))]
    starts += _usac_start(x_a, x_b, focal) + _plane_starts(x_a, x_b, focal)
    # 2. Decomposing E gives two rotations; the twisted one is far from the pure rotation.
    near = [(R, t) for R, t in starts if rotation_angle(R @ R_rotation.T) < TWIN_DEG]
    ranked = sorted((_evaluate(R, t, x_a, x_b, focal) for R, t in near), key=_cost)
    # 3. Refine the best two: the ranking of unrefined starts is not reliable.
    best = min((_refine(fit, x_a, x_b, focal) for fit in ranked[:REFINED]), key=_cost)
    return best.R, best.t, np.abs(best.distance)


def _usac_start(
    x_a: np.ndarray, x_b: np.ndarray, focal: float
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Robust essential matrix of OpenCV's USAC, threshold half a pixel; empty if it finds none."""
    a, b = np.ascontiguousarray(x_a[:, :2]), np.ascontiguousarray(x_b[:, :2])
    try:
        E, _ = cv2.findEssentialMat(
            a, b, np.eye(3), cv2.USAC_MAGSAC, prob=0.999, threshold=0.5 / focal, maxIters=300
        )
    except cv2.error:
        return []
    if E is None or E.shape != (3, 3):
        return []
    first, second, t = cv2.decomposeEssentialMat(E)
    return [(first, t.reshape(3)), (second, t.reshape(3))]


def _plane_starts(
    x_a: np.ndarray, x_b: np.ndarray, focal: float
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Motions of the best homography; empty if none is found or it is a pure rotation."""
    a, b = np.ascontiguousarray(x_a[:, :2]), np.ascontiguousarray(x_b[:, :2])
    H, _ = cv2.findHomography(a, b, cv2.USAC_MAGSAC, 1.0 / focal, maxIters=200)
    if H is None:
        return []
    _, rotations, translations, _ = cv2.decomposeHomographyMat(H, np.eye(3))
    lengths = [float(np.linalg.norm(t)) for t in translations]
    return [
        (R, t.reshape(3) / length)
        for R, t, length in zip(rotations, translations, lengths, strict=True)
        if length > 1e-6
    ]


def _direction(R: np.ndarray, x_a: np.ndarray, x_b: np.ndarray) -> np.ndarray:
    """Direction t that best puts every x_b on its epipolar line, given R (least absolute error)."""
    normals = np.cross(x_a @ R.T, x_b)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-5)
    weights, t = np.ones(len(normals)), np.array([0.0, 0.0, 1.0])
    for _ in range(5):
        t = np.linalg.eigh((normals * weights[:, None]).T @ normals)[1][:, 0]
        weights = 1.0 / np.maximum(np.abs(normals @ t), 0.02)
    return t


def _cost(fit: "_Fit") -> float:
    """Cauchy cost of the error, plus a weak regulariser towards small parallax.

    The error is the epipolar distance, or the whole residual flow for a point behind the camera,
    which no positive depth explains.

    A narrow field of view hardly distinguishes rotation from sideways translation; among equally
    good fits the regulariser prefers the one with the least translation. It shifts a parallax of
    1 px by less than 0.1 px.
    """
    return float(np.log1p((fit.error / CAUCHY) ** 2).sum() + PULL * np.log1p(fit.parallax).sum())


def _evaluate(
    R: np.ndarray, t: np.ndarray, x_a: np.ndarray, x_b: np.ndarray, focal: float
) -> "_Fit":
    """Residuals of (R, t) in pixels; epipolar ones are Sampson's (Hartley and Zisserman 11.9)."""
    # Epipolar lines in both images, first two components: [t]x R x_a and (x_b^T [t]x R)^T.
    p = x_a @ R.T
    line_b = np.stack([t[1] * p[:, 2] - t[2] * p[:, 1], t[2] * p[:, 0] - t[0] * p[:, 2]], axis=1)
    c = np.stack([t[2] * x_b[:, 1] - t[1], t[0] - t[2] * x_b[:, 0]], axis=1)
    line_a = np.column_stack([c, t[1] * x_b[:, 0] - t[0] * x_b[:, 1]]) @ R[:, :2]
    # Sampson: the algebraic error over the norm of its gradient, in pixels.
    scale = focal / np.sqrt(np.maximum((line_b**2).sum(axis=1) + (line_a**2).sum(axis=1), 1e-18))
    third = t[0] * p[:, 1] - t[1] * p[:, 0]
    distance = scale * ((x_b[:, :2] * line_b).sum(axis=1) + third)
    # Behind the camera: the displacement b - R a runs against the epipolar direction t - t_z b.
    flow = focal * (p[:, :2] / p[:, 2:] - x_b[:, :2])
    parallax = np.hypot(flow[:, 0], flow[:, 1])
    behind = (flow * (t[:2] - x_b[:, :2] * t[2])).sum(axis=1) > 0
    if behind.mean() > 0.5:  # -t has the same epipolar lines
        t, distance, behind = -t, -distance, ~behind
    return _Fit(R, t, distance, parallax, behind, flow, scale, p)


def _refine(fit: "_Fit", x_a: np.ndarray, x_b: np.ndarray, focal: float) -> "_Fit":
    """Minimise `_cost` over R and t on the unit sphere (Levenberg, analytic Jacobian)."""
    damping = 1e-3
    cost = _cost(fit)
    for _ in range(12):
        step = _gauss_newton_step(fit, x_b, focal, damping)
        trial = _evaluate(*_moved(fit.R, fit.t, step), x_a, x_b, focal)
        gain = cost - _cost(trial)
        damping = damping * 0.1 if gain > 0 else damping * 100.0
        fit, cost = (trial, cost - gain) if gain > 0 else (fit, cost)
        if abs(gain) < 1e-5 * len(x_a):
            break
    return fit


def _gauss_newton_step(fit: "_Fit", x_b: np.ndarray, focal: float, damping: float) -> np.ndarray:
    """Step of (rotation vector, tangent of t), Sampson's denominators held fixed. (5,)"""
    # 1. Epipolar term, Cauchy weights; points behind the camera do not count here.
    p, t = fit.rotated, fit.t
    slope_R = (p @ t)[:, None] * x_b - (p * x_b).sum(axis=1)[:, None] * t
    slope_t = np.cross(p, x_b) @ np.stack(_tangent(t), axis=1)
    J = fit.scale[:, None] * np.column_stack([slope_R, slope_t])  # (N, 5)
    cauchy = 2.0 / (CAUCHY**2 + fit.error**2)
    w = np.where(fit.behind, 0.0, cauchy)
    H, g = (J * w[:, None]).T @ J, J.T @ (w * fit.distance)
    # 2. Parallax term: the regulariser, and the error of points behind the camera.
    w = PULL / ((1.0 + fit.parallax) * np.maximum(fit.parallax, NOISE_FLOOR))
    w += np.where(fit.behind, cauchy, 0.0)
    for F, flow in zip(_flow_slopes(p, focal), fit.flow.T, strict=True):
        H[:3, :3] += (F * w[:, None]).T @ F
        g[:3] += F.T @ (w * flow)
    return -np.linalg.solve(H + damping * np.diag(np.diag(H) + 1e-9), g)


def _flow_slopes(p: np.ndarray, focal: float) -> tuple[np.ndarray, np.ndarray]:
    """Jacobian of the pixel (u, v) of a point with respect to a small rotation. 2 x (N, 3)"""
    u, v = p[:, 0] / p[:, 2], p[:, 1] / p[:, 2]
    along_u = np.stack([-u * v, 1 + u * u, -v], axis=1)
    along_v = np.stack([-(1 + v * v), u * v, u], axis=1)
    return focal * along_u, focal * along_v


def _tangent(t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two unit vectors that span the tangent plane at t."""
    first = _cross(t, np.eye(3)[int(np.argmin(np.abs(t)))])
    first /= np.linalg.norm(first)
    return first, _cross(t, first)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """np.cross of two 3-vectors, without its 20 us of bookkeeping."""
    return np.array(
        [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
    )


def _moved(R: np.ndarray, t: np.ndarray, step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotate R by step[:3] (radians) and t on the unit sphere by step[3:]."""
    first, second = _tangent(t)
    moved = t + step[3] * first + step[4] * second
    return cv2.Rodrigues(step[:3])[0] @ R, moved / np.linalg.norm(moved)


def epipolar_fit(
    points_a: np.ndarray, points_b: np.ndarray, K: np.ndarray, T_b_a: np.ndarray
) -> tuple[float, float]:
    """Measure how well a known motion fits tracks.

    Args:
        points_a, points_b: tracks, pixels. (N, 2)
        K: intrinsics of both, pixels. (3, 3)
        T_b_a: points of camera a to camera b; only the direction of its translation counts. (4, 4)

    Returns:
        distance: median distance to the epipolar lines, pixels.
        front: share of the tracks whose point lies in front of the cameras.
    """
    focal = float(np.sqrt(K[0, 0] * K[1, 1]))
    x_a, x_b = normalise(points_a, K), normalise(points_b, K)
    t = T_b_a[:3, 3] / np.linalg.norm(T_b_a[:3, 3])
    fit = _evaluate(T_b_a[:3, :3], t, x_a, x_b, focal)
    behind = float(fit.behind.mean())
    return float(np.median(np.abs(fit.distance))), behind if fit.t @ t < 0 else 1.0 - behind


def rotation_angle(R: np.ndarray) -> float:
    """Angle of a rotation matrix, degrees; exact for tiny angles too."""
    return float(np.degrees(np.linalg.norm(rotation_vector(R))))


def rotation_vector(R: np.ndarray) -> np.ndarray:
    """Axis times angle of a rotation matrix, radians. (3,)"""
    return cv2.Rodrigues(R)[0].reshape(3)
