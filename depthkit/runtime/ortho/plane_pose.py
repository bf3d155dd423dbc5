# SPDX-License-Identifier: Apache-2.0
"""Pose of a camera above a plane from matches with it: all six numbers, and how sure they are.

A tilt and a step aside look alike from above; what the optical axis is known to be beforehand
(straight down, within a standard deviation) takes part in the fit.
"""

from dataclasses import dataclass

import numpy as np

from depthkit.multiview.resection import Sightings, fit_pose
from depthkit.rigid import exp_se3, inverse, make_pose
from depthkit.runtime.ortho.registration import Consensus

ROUNDS = 4
"""Rounds of fit, noise and choice of inliers."""
SPREAD = 1.0 / np.sqrt(2 * np.log(2))
"""Standard deviation per axis by the median length of a residual of two normal numbers."""
WIDE = 3.5
"""Errors above which a match is left out, standard deviations."""


@dataclass(frozen=True, eq=False)
class PlanePose:
    """A pose above the plane z = 0, x east, y north, z up."""

    T_plane_cam: np.ndarray
    """Metres. (4, 4)"""
    covariance: np.ndarray
    """Covariance of position (metres) and rotation (radians) about the plane's axes. (6, 6)"""
    inliers: np.ndarray
    """Matches that agree. (M,) bool"""
    noise: float
    """Standard deviation of a feature's position on the plane z = 1."""

    @property
    def heading(self) -> float:
        """Where the top of the frame points, degrees clockwise from north, 0 to 360."""
        up = -self.T_plane_cam[:2, 1]
        return float(np.degrees(np.arctan2(up[0], up[1])) % 360.0)

    @property
    def tilt(self) -> float:
        """Angle of the optical axis from straight down, degrees."""
        return float(np.degrees(np.arccos(np.clip(-self.T_plane_cam[2, 2], -1.0, 1.0))))


def straight_down(turn: complex, foot: complex) -> np.ndarray:
    """Return T_plane_cam of a view straight down. (4, 4)

    Args:
        turn: height times the turn of the image's x axis from east, metres.
        foot: point below the camera, east + north i, metres.
    """
    height = abs(turn)
    c, s = turn.real / height, turn.imag / height
    R = np.array([[c, s, 0.0], [s, -c, 0.0], [0.0, 0.0, -1.0]])
    return make_pose(R, [foot.real, foot.imag, height])


def fit_plane_pose(
    start: Consensus,
    rays: np.ndarray,
    ground: np.ndarray,
    *,
    tolerance: float,
    noise: float,
    tilt_sigma: float,
    trusted: np.ndarray | None = None,
) -> PlanePose | None:
    """Fit the pose to the matches that agree, choosing them anew as the tilt becomes known.

    Args:
        start: view straight down.
        rays: matched features on the plane z = 1. (M, 2)
        ground: where they lie, metres east and north. (M, 2)
        tolerance: largest error of a match, on the plane z = 1.
        noise: least standard deviation of a feature, on that plane.
        tilt_sigma: standard deviation of the axis from straight down, radians.
        trusted: matches that may agree at all; all if None. (M,) bool

    Returns:
        The pose; None where fewer than four matches are left.
    """
    # 1. About the foot: numbers near zero keep the fit well conditioned.
    middle = np.array([start.foot.real, start.foot.imag, 0.0])
    points = np.column_stack([ground, np.zeros(len(ground))]) - middle
    T = inverse(straight_down(start.turn, 0j))
    inliers, sigma = start.inliers, max(noise, tolerance / 3)
    # 2. Fit, noise by the median error, inliers by both; from wide to narrow.
    for _ in range(ROUNDS):
        if inliers.sum() < 4:
            return None
        seen = Sightings(points, np.zeros_like(points), rays, sigma)
        fit = fit_pose(T, seen.part(inliers), R_prior=_upright(T[:3, :3]), prior_sigma=tilt_sigma)
        T = fit.T_cam_world
        error = sigma * fit_pose(T, seen, iterations=0).errors
        inliers = (error <= tolerance) & (True if trusted is None else trusted)
        if inliers.sum() < 4:
            return None
        middle_error = max(noise, SPREAD * float(np.median(error[inliers])))
        inliers &= error <= WIDE * middle_error
        sigma = max(noise, _noise(error[inliers]))
    # 3. To the axes of the plane.
    T_plane_cam = inverse(T)
    T_plane_cam[:3, 3] += middle
    # 4. Few matches tell their own noise badly: the variance of Student's distribution.
    freedom = max(2 * int(inliers.sum()) - 6, 3)
    covariance = _covariance(T, fit.information) * freedom / (freedom - 2)
    return PlanePose(T_plane_cam, covariance, inliers, sigma)


def _noise(errors: np.ndarray) -> float:
    """Return the standard deviation per axis of errors that six numbers were fitted to. (M,)"""
    return float(np.sqrt((errors**2).sum() / max(2 * len(errors) - 6, 2)))


def _covariance(T_cam_plane: np.ndarray, information: np.ndarray) -> np.ndarray:
    """Turn the information of a twist on the left of T_cam_plane to the plane's axes. (6, 6)

    A twist (rho, phi) moves the camera's centre by -R^T rho and turns it by -R^T phi.
    """
    turn = np.kron(np.eye(2), T_cam_plane[:3, :3].T)
    covariance = turn @ np.linalg.inv(information) @ turn.T
    return (covariance + covariance.T) / 2


def _upright(R_cam_plane: np.ndarray) -> np.ndarray:
    """Return the rotation straight down with the same heading, as the prior of the tilt. (3, 3)"""
    down = -R_cam_plane[:, 2]  # of the plane, in the camera
    axis = np.cross(down, [0.0, 0.0, 1.0])
    length = np.linalg.norm(axis)
    if length < 1e-12:
        return R_cam_plane
    angle = np.arctan2(length, down[2])
    return exp_se3(np.r_[np.zeros(3), axis / length * angle])[:3, :3] @ R_cam_plane
