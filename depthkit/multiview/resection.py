# SPDX-License-Identifier: Apache-2.0
"""Pose of a camera from landmarks whose depth may be uncertain.

A landmark of certain depth says where the camera is; one of unknown depth says only that its pixel
lies on an epipolar line. Both are one fit here: the uncertainty of the depth is projected into the
image, and the residual along that direction counts less. So fresh tracks hold the two-view rotation
and direction, and mapped ones the length of the step.
"""

from dataclasses import dataclass

import numpy as np

from depthkit.rigid import exp_se3, log_so3, straightened

HUBER = 1.5
"""Error above which an observation's weight falls, standard deviations."""
ARRIVED = 1e-2
"""Step below which the fit has arrived, standard deviations of the pose."""
BEYOND = 4.0
"""Distance beyond the image of infinity that noise explains, standard deviations."""
NEAREST = 1e-3
"""Smallest depth in front of the camera at which a projection is defined, units of the world."""


@dataclass(frozen=True, eq=False)
class Sightings:
    """Landmarks and where a frame sees them."""

    points: np.ndarray
    """Positions in the world. (N, 3)"""
    lever: np.ndarray
    """Change of the position with the logarithm of its depth, times that logarithm's standard
    deviation: the point less the centre it was first seen from, times sigma. (N, 3)"""
    rays: np.ndarray
    """Observed position on the plane z = 1. (N, 2)"""
    sigma: float
    """Standard deviation of `rays`: a pixel's over the focal length."""
    weight: np.ndarray | None = None
    """Trust in each sighting, 0 to 1, as the probability that it is static; None for 1. (N,)"""

    def part(self, chosen: np.ndarray) -> "Sightings":
        """Return some of the sightings. chosen: (N,) bool"""
        points, lever, rays = self.points[chosen], self.lever[chosen], self.rays[chosen]
        weight = None if self.weight is None else self.weight[chosen]
        return Sightings(points, lever, rays, self.sigma, weight)


@dataclass(frozen=True, eq=False)
class PoseFit:
    """A pose and how well the sightings agree with it."""

    T_cam_world: np.ndarray
    """(4, 4)"""
    errors: np.ndarray
    """Error of each sighting, standard deviations; infinite behind the camera and where no depth
    explains it. (N,)"""
    information: np.ndarray
    """Inverse covariance of the twist on the left of the pose, translation first. (6, 6)"""


def fit_pose(
    T_cam_world: np.ndarray,
    seen: Sightings,
    *,
    R_prior: np.ndarray | None = None,
    prior_sigma: float = 0.01,
    iterations: int = 10,
) -> PoseFit:
    """Fit the pose by Gauss-Newton with Huber's weights, from a start value.

    Args:
        T_cam_world: start value. (4, 4)
        seen: landmarks and their sightings.
        R_prior: R_cam_world that the rotation is drawn to, as from a gyro. (3, 3)
        prior_sigma: standard deviation of `R_prior`, radians.
        iterations: largest number of steps; with 0 the start value is only compared.
    """
    T = np.array(T_cam_world, dtype=np.float64)
    H = np.eye(6)
    for _ in range(iterations):
        residual, J = _whitened(T, seen)
        root = np.sqrt(
            _weights(residual) if seen.weight is None else _weights(residual) * seen.weight
        )
        Jw = (J * root).reshape(6, -1)
        H = Jw @ Jw.T
        g = -Jw @ (residual * root).reshape(-1)
        if R_prior is not None:
            turn = log_so3(T[:3, :3] @ R_prior.T)
            H[3:, 3:] += np.eye(3) / prior_sigma**2
            g[3:] -= turn / prior_sigma**2
        step = np.linalg.solve(H + 1e-6 * np.diag(np.diag(H) + 1e-9), g)
        T = straightened(exp_se3(step) @ T)
        if step @ g < ARRIVED**2:
            break
    residual, _ = _whitened(T, seen)
    errors = np.sqrt(residual[0] ** 2 + residual[1] ** 2)
    errors[_camera_points(T, seen.points)[:, 2] <= NEAREST] = np.inf
    errors[_beyond_infinity(T, seen)] = np.inf
    return PoseFit(T, errors, H)


def _beyond_infinity(T: np.ndarray, seen: Sightings) -> np.ndarray:
    """Mark sightings that no depth explains: something moves there against the parallax. (N,)"""
    Xc, away = _camera_points(T, seen.points), seen.lever @ T[:3, :3].T
    front = (Xc[:, 2] > NEAREST) & (away[:, 2] > 0)
    here = Xc[:, :2] / np.where(front, Xc[:, 2], 1.0)[:, None]
    span = away[:, :2] / np.where(front, away[:, 2], 1.0)[:, None] - here
    length = np.linalg.norm(span, axis=1)
    along = ((seen.rays - here) * span).sum(axis=1) / np.maximum(length, 1e-12)
    return front & (along > length + BEYOND * seen.sigma)


def _camera_points(T: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ T[:3, :3].T + T[:3, 3]


def _whitened(T: np.ndarray, seen: Sightings) -> tuple[np.ndarray, np.ndarray]:
    """Return residuals in standard deviations (2, N), and their slopes with a twist (6, 2, N)."""
    Xc = np.ascontiguousarray(_camera_points(T, seen.points).T)
    front = Xc[2] > NEAREST
    iz = 1.0 / np.where(front, Xc[2], 1.0)
    x, y = Xc[0] * iz, Xc[1] * iz
    u, v = x - seen.rays[:, 0], y - seen.rays[:, 1]
    # 1. Slopes with the twist (translation, rotation) on the left of the pose.
    J = np.zeros((6, 2, len(x)))
    J[0, 0] = J[1, 1] = iz
    J[2] = -x * iz, -y * iz
    J[3] = -x * y, -1 - y * y
    J[4] = 1 + x * x, x * y
    J[5] = -y, x
    # 2. The depth's uncertainty in the image: covariance sigma^2 I + a a^T.
    lever = np.ascontiguousarray((seen.lever @ T[:3, :3].T).T)
    a = (lever[:2] - np.stack([x, y]) * lever[2]) * iz
    squared = np.maximum(a[0] ** 2 + a[1] ** 2, 1e-24)
    # 3. Its inverse root shortens the part along a.
    shrink = (1.0 - seen.sigma / np.sqrt(seen.sigma**2 + squared)) / squared
    scale = np.where(front, 1.0 / seen.sigma, 0.0)
    residual = np.stack([u, v])
    residual -= shrink * (a[0] * u + a[1] * v) * a
    J -= (shrink * (a[0] * J[:, 0] + a[1] * J[:, 1]))[:, None] * a
    return residual * scale, J * scale


def _weights(residual: np.ndarray) -> np.ndarray:
    error = np.sqrt(residual[0] ** 2 + residual[1] ** 2)
    return HUBER / np.maximum(error, HUBER)
