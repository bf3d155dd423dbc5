# SPDX-License-Identifier: Apache-2.0
"""Bring an estimated trajectory onto the reference before it is scored.

Umeyama, "Least-squares estimation of transformation parameters between two point patterns", PAMI
1991; the numbers in comments are that paper's equations. The modes are those of the KITTI odometry
literature, where a score means nothing without the mode's name beside it.
"""

from dataclasses import dataclass

import numpy as np

from depthkit.errors import DataError, ShapeError
from depthkit.trajectory import inverse, make_pose

ALIGNMENTS = {
    "none": "first common pose laid on the reference's, scale untouched",
    "scale": "first common pose laid on the reference's, one least-squares scale",
    "scale_7dof": "first common pose laid on the reference's, the scale of a Sim(3) fit",
    "6dof": "rigid SE(3) fit to all poses, scale untouched",
    "7dof": "Sim(3) fit to all poses: rotation, translation and one scale",
}

_LEAST_POSES = {"none": 2, "scale": 2, "scale_7dof": 3, "6dof": 3, "7dof": 3}


@dataclass(frozen=True)
class Similarity:
    """The map `x -> scale * R @ x + t` of estimated points to the reference's frame."""

    scale: float
    R: np.ndarray
    """Rotation. (3, 3)"""
    t: np.ndarray
    """(3,)"""

    def apply(self, T_world_cam: np.ndarray) -> np.ndarray:
        """Move poses: scale their positions, then turn and shift the world. (N, 4, 4)"""
        moved = T_world_cam.copy()
        moved[:, :3, :3] = self.R @ T_world_cam[:, :3, :3]
        moved[:, :3, 3] = self.scale * T_world_cam[:, :3, 3] @ self.R.T + self.t
        return moved


@dataclass(frozen=True)
class Alignment:
    """Both trajectories in one frame, the first common pose of the reference being its origin."""

    reference: np.ndarray
    """(N, 4, 4)"""
    estimate: np.ndarray
    """(N, 4, 4)"""
    mode: str
    similarity: Similarity


def umeyama(source: np.ndarray, target: np.ndarray, *, with_scale: bool) -> Similarity:
    """Fit the similarity that takes source points to target points with the least squared error.

    Args:
        source: (N, 3)
        target: (N, 3)
        with_scale: fit the scale too; without it the scale is 1.

    Raises:
        ShapeError: the arrays are not both (N, 3).
        DataError: a scale is asked for and one of the two does not move.
    """
    if source.shape != target.shape or source.ndim != 2 or source.shape[1] != 3:
        raise ShapeError(f"umeyama: expected two (N, 3), got {source.shape} and {target.shape}")
    mean_x, mean_y = source.mean(axis=0), target.mean(axis=0)  # eq. 34, 35
    x, y = source - mean_x, target - mean_y
    variance = np.mean(np.sum(x**2, axis=1))  # eq. 36
    U, d, V_t = np.linalg.svd(y.T @ x / len(x))  # eq. 38
    S = np.ones(3)
    S[2] = np.sign(np.linalg.det(U) * np.linalg.det(V_t))  # eq. 43: no mirror image
    R = U @ np.diag(S) @ V_t  # eq. 40
    if with_scale:
        _check_motion(variance, np.mean(np.sum(y**2, axis=1)))
    scale = float(np.sum(d * S) / variance) if with_scale else 1.0  # eq. 42
    return Similarity(scale, R, mean_y - scale * R @ mean_x)  # eq. 41


def least_squares_scale(source: np.ndarray, target: np.ndarray) -> float:
    """Return the s that minimises |s source - target|^2, both starting at the origin. (N, 3)"""
    _check_motion(np.mean(np.sum(source**2, axis=1)), np.mean(np.sum(target**2, axis=1)))
    return float(np.sum(source * target) / np.sum(source**2))


def _check_motion(estimate: float, reference: float) -> None:
    """A motionless side would make any scale fit (0 or infinite) look like an answer."""
    for name, variance in (("estimate", estimate), ("reference", reference)):
        if variance < 1e-18:
            raise DataError(
                f"the {name} does not move, so no scale can be fitted; use align 'none'"
            )


def align(reference: np.ndarray, estimate: np.ndarray, mode: str) -> Alignment:
    """Move both first poses to the origin, then align the estimate by the mode.

    Args:
        reference: matched poses, camera to world. (N, 4, 4)
        estimate: matched poses, camera to world, any scale. (N, 4, 4)
        mode: a key of `ALIGNMENTS`.

    Raises:
        DataError: an unknown mode, too few poses for it, or no motion to fit a scale to.
    """
    if mode not in ALIGNMENTS:
        raise DataError(f"align must be one of {', '.join(ALIGNMENTS)}, got {mode!r}")
    if len(reference) < _LEAST_POSES[mode]:
        raise DataError(
            f"align {mode!r} needs {_LEAST_POSES[mode]} matched poses or more, got {len(reference)}"
        )
    reference = origin_of(reference[0]) @ reference
    estimate = origin_of(estimate[0]) @ estimate
    fit = _fit(estimate[:, :3, 3], reference[:, :3, 3], mode)
    return Alignment(reference, fit.apply(estimate), mode, fit)


def origin_of(T_world_cam: np.ndarray) -> np.ndarray:
    """Return the rigid motion that takes a pose to the identity. (4, 4)

    KITTI files round rotations to 7 digits. The nearest true rotation is inverted, so that laying a
    path on the origin neither stretches nor skews it.
    """
    U, _, V_t = np.linalg.svd(T_world_cam[:3, :3])
    return inverse(make_pose(U @ V_t, T_world_cam[:3, 3]))


def _fit(source: np.ndarray, target: np.ndarray, mode: str) -> Similarity:
    """Fit the similarity of a mode."""
    identity = Similarity(1.0, np.eye(3), np.zeros(3))
    match mode:
        case "none":
            return identity
        case "scale":
            return Similarity(least_squares_scale(source, target), identity.R, identity.t)
        case "scale_7dof":
            return Similarity(
                umeyama(source, target, with_scale=True).scale, identity.R, identity.t
            )
        case _:
            return umeyama(source, target, with_scale=mode == "7dof")
