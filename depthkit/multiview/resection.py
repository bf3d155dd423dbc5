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

    def part(self, chosen: np.ndarray) -> "Sightings":
        """Return some of the sightings. chosen: (N,) bool"""
        points, lever, rays = self.points[chosen], self.lever[chosen], self.rays[chosen]
        return Sightings(points, lever, rays, self.sigma)


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
        weight = _weights(residual)
        Jw = J * weight[:, None, None]
        H = np.einsum("nki,nkj->ij", Jw, J)
        g = -np.einsum("nki,nk->i", Jw, residual)
        if R_prior is not None:
            turn = log_so3(T[:3, :3] @ R_prior.T)
            H[3:, 3:] += np.eye(3) / prior_sigma**2
            g[3:] -= turn / prior_sigma**2
        step = np.linalg.solve(H + 1e-6 * np.diag(np.diag(H) + 1e-9), g)
        T = straightened(exp_se3(step) @ T)
        if np.abs(step).max() < 1e-7:
            break
    residual, _ = _whitened(T, seen)
    errors = np.sqrt((residual**2).sum(axis=1))
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
    """Return residuals in standard deviations (N, 2), and their slopes with a twist (N, 2, 6)."""
    Xc = _camera_points(T, seen.points)
    front = Xc[:, 2] > NEAREST
    iz = 1.0 / np.where(front, Xc[:, 2], 1.0)
    x, y = Xc[:, 0] * iz, Xc[:, 1] * iz
    residual = np.stack([x, y], axis=1) - seen.rays
    # 1. Slopes with the twist (translation, rotation) on the left of the pose.
    zero = np.zeros_like(x)
    J = np.stack(
        [
            np.stack([iz, zero, -x * iz, -x * y, 1 + x * x, -y], axis=1),
            np.stack([zero, iz, -y * iz, -(1 + y * y), x * y, x], axis=1),
        ],
        axis=1,
    )
    # 2. The depth's uncertainty in the image: covariance sigma^2 I + a a^T.
    lever = seen.lever @ T[:3, :3].T
    a = np.stack([lever[:, 0] - x * lever[:, 2], lever[:, 1] - y * lever[:, 2]], axis=1)
    a *= iz[:, None]
    length = np.maximum(np.hypot(a[:, 0], a[:, 1]), 1e-12)
    along = a / length[:, None]
    # 3. Its inverse root shortens the part along a.
    shrink = 1.0 - seen.sigma / np.hypot(seen.sigma, length)
    scale = np.where(front, 1.0 / seen.sigma, 0.0)
    residual -= (shrink * (residual * along).sum(axis=1))[:, None] * along
    J -= (shrink[:, None] * along)[:, :, None] * np.einsum("nk,nki->ni", along, J)[:, None, :]
    return residual * scale[:, None], J * scale[:, None, None]


def _weights(residual: np.ndarray) -> np.ndarray:
    error = np.sqrt((residual**2).sum(axis=1))
    return np.where(error <= HUBER, 1.0, HUBER / np.maximum(error, HUBER))
