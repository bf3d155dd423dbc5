# SPDX-License-Identifier: Apache-2.0
"""What the figures of an odometry score would hide: poses of another convention or another time.

Each suspicion is tried on the matched poses: a change that makes both files agree is named.
"""

import numpy as np

from depthkit.errors import DataError
from depthkit.evaluation.alignment import Similarity, umeyama
from depthkit.evaluation.baselines import standing_still_ate
from depthkit.evaluation.relative import log_angle
from depthkit.trajectory import Trajectory, inverse, log_so3

CLEARLY = 0.3
"""A change is named where it leaves less than this share of the error."""
OF_PATH = 0.02
"""Error of the fitted positions, as a share of the extent of the path, that raises no doubt."""
OF_TURNING = 0.5
"""Share of the turning that rotations must be off by before a fixed rotation is looked for."""
NO_BETTER = 0.95
"""Share of the error of an estimate that never moves, from which on a score says nothing."""
LONGEST_SHIFT = 500
"""Poses by which the times of two files are shifted against each other, at most."""
LEAST_TIMING = 0.005
"""Share of the turning by which rotations must differ before a shift is looked for."""
FEW = 8
"""Poses from which on another convention can be distinguished from chance."""
MANY = 20
"""Poses from which on a shift in time can be detected."""


def suspicions(reference: np.ndarray, estimate: np.ndarray, stamps: np.ndarray) -> tuple[str, ...]:
    """Say what looks wrong with an estimate, and what to do.

    Args:
        reference: matched poses, camera to world. (N, 4, 4)
        estimate: the same poses as estimated, before any alignment. (N, 4, 4)
        stamps: seconds or frame indices. (N,)
    """
    if np.ptp(estimate[:, :3, 3], axis=0).max() < 1e-9:
        return ("the estimate does not move: the errors are those of standing still",)
    if np.ptp(reference[:, :3, 3], axis=0).max() < 1e-9:
        return ("the reference does not move: is it the file that was meant?",)
    if len(reference) < FEW:
        return ()
    checks = (_inverted, _mirrored, _turned_axes)
    found = [text for check in checks if (text := check(reference, estimate))]
    return tuple(found[:1] or filter(None, [_shifted(reference, estimate, stamps)]))


def counted_from_one(reference: Trajectory, estimate: Trajectory) -> tuple[str, ...]:
    """Say that the frames of an estimate seem to be counted from 1, those of the truth from 0."""
    behind = estimate.stamps[[0, -1]] - reference.stamps[[0, -1]]
    if not (behind[0] >= 1 and behind[1] == 1):
        return ()
    return (
        f"the last frame of the estimate is {estimate.stamps[-1]:.0f}, of the reference "
        f"{reference.stamps[-1]:.0f}: is one counted from 1? Then each pose is scored against the "
        "frame behind it",
    )


def no_better(ate: np.ndarray, reference: np.ndarray, mode: str) -> tuple[str, ...]:
    """Say that an estimate is no better than one that never moves.

    Args:
        ate: distance of each scored position to its reference, metres. (N,)
        reference: positions in the frame of the first one, metres. (N, 3)
        mode: of the alignment; a fit may put the standing point anywhere.
    """
    still = standing_still_ate(reference, mode)
    if still < 1e-9 or np.sqrt(np.mean(ate**2)) < NO_BETTER * still:
        return ()
    return (f"no better than an estimate that never moves, whose ATE is {still:.4g} m",)


def _rms(offsets: np.ndarray) -> float:
    """Return the root mean square length. (N, 3)"""
    return float(np.sqrt(np.mean(np.sum(offsets**2, axis=-1))))


def _misfit(source: np.ndarray, target: np.ndarray) -> float:
    """Return the error that a Sim(3) fit of positions leaves, metres. (N, 3), (N, 3)"""
    try:
        fit: Similarity = umeyama(source, target, with_scale=True)
    except DataError:  # one of them does not move
        return float("inf")
    return _rms(fit.scale * source @ fit.R.T + fit.t - target)


def _doubtful(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Return the misfit of the positions where it is large, else 0."""
    target = reference[:, :3, 3]
    misfit = _misfit(estimate[:, :3, 3], target)
    return misfit if misfit > OF_PATH * _rms(target - target.mean(axis=0)) else 0.0


def _inverted(reference: np.ndarray, estimate: np.ndarray) -> str:
    other = _misfit(inverse(estimate)[:, :3, 3], reference[:, :3, 3])
    if other >= CLEARLY * _doubtful(reference, estimate):
        return ""
    return (
        "the positions agree only if each pose of the estimate is inverted: it looks like world to "
        "camera (T_cam_world); write camera to world"
    )


def _mirrored(reference: np.ndarray, estimate: np.ndarray) -> str:
    other = _misfit(estimate[:, :3, 3] * [1, 1, -1], reference[:, :3, 3])
    if other >= CLEARLY * _doubtful(reference, estimate):
        return ""
    return (
        "the positions agree only as a mirror image: one of the two files has left-handed axes "
        "(Unity, Unreal) or one axis with the wrong sign"
    )


def _turned_axes(reference: np.ndarray, estimate: np.ndarray) -> str:
    """Search for a fixed rotation between the two pose frames, such as body and camera."""
    a, b = (_turning(T) for T in (reference, estimate))
    kept, turned = (float(np.mean(np.linalg.norm(d, axis=1))) for d in (a - b, a))
    if kept < OF_TURNING * turned:
        return ""
    U, _, V_t = np.linalg.svd(a.T @ b)  # Kabsch: a = X b, as R_ref = X R_est X^T
    X = U @ np.diag([1, 1, np.sign(np.linalg.det(U @ V_t))]) @ V_t
    if np.mean(np.linalg.norm(a - b @ X.T, axis=1)) >= CLEARLY * kept:
        return ""
    angle = float(np.rad2deg(log_angle(X)))
    return (
        f"the rotations agree if the estimate's axes are turned by a fixed {angle:.0f} deg: one "
        "file is of a body (IMU), the other of its camera; RPE and t_rel count that as error"
    )


def _turning(T: np.ndarray) -> np.ndarray:
    """Return the rotation vectors from pose to pose, radians. (N, 4, 4) -> (N - 1, 3)"""
    R = T[:, :3, :3]
    return log_so3(R[:-1].swapaxes(1, 2) @ R[1:])


def _shifted(reference: np.ndarray, estimate: np.ndarray, stamps: np.ndarray) -> str:
    """Look for a shift in time at which the turning from pose to pose is the same in both."""
    if len(stamps) < MANY:
        return ""
    a, b = (np.linalg.norm(_turning(T), axis=1) for T in (reference, estimate))
    most = min(len(a) // 2, LONGEST_SHIFT)
    errors = {k: _difference_at(a, b, k) for k in range(-most, most + 1)}
    best = min(errors, key=lambda k: errors[k])
    if errors[0] < LEAST_TIMING * a.mean() or errors[best] >= CLEARLY * errors[0]:
        return ""
    later = best * float(np.median(np.diff(stamps)))
    return (
        f"the turning of both agrees if {later:+.4g} (seconds, or frames) is added to the stamps "
        "of the estimate: are the clocks, or the first frames, the same?"
    )


def _difference_at(a: np.ndarray, b: np.ndarray, shift: int) -> float:
    """Return the mean difference of a[i + shift] and b[i]. (N,), (N,)"""
    if shift < 0:
        a, b, shift = b, a, -shift
    return float(np.mean(np.abs(a[shift:] - b[: len(b) - shift])))
