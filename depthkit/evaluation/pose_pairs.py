# SPDX-License-Identifier: Apache-2.0
"""Scores of relative poses found from matches: error in degrees, and the area under its curve.

As Sarlin et al. (SuperGlue, CVPR 2020, section 5) and most work since: the error of a pair is the
larger of the angle between the rotations and the angle between the directions of translation, and
the sign of the direction is left open.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from depthkit.errors import DataError, check_shape
from depthkit.trajectory import log_so3

AUC_DEGREES = (5.0, 10.0, 20.0)
"""Ends of the curve, degrees."""
LEAST_BASELINE = 0.1
"""Smallest baseline of a pair over the median one: below it the noise of the true poses turns the
direction of translation."""


@dataclass(frozen=True)
class PoseScore:
    """Scores of one frame pair."""

    features: tuple[int, int]
    """Numbers of features in the two frames; 0 for a matcher that has none."""
    matches: int
    inliers: int
    """Matches that agree with the pose."""
    error_deg: float
    """Larger of rotation and direction error, degrees; infinite where no pose was found."""


@dataclass(frozen=True)
class PoseMean:
    """Scores over frame pairs; a pair without a pose counts as wrong at every angle."""

    pairs: int
    found: int
    """Pairs in which a pose was found at all."""
    features: float
    matches: float
    inliers: float
    median_deg: float
    """Infinite where no pose was found in half of the pairs."""
    auc: tuple[float, ...]
    """Area under the curve of the share of right pairs up to AUC_DEGREES, 0 to 1."""


def choose_pairs(
    T_world_cam: np.ndarray, gap: tuple[int, int], count: int
) -> list[tuple[int, int]]:
    """Choose frame pairs evenly along a sequence, each with a drawn number of frames between.

    Args:
        T_world_cam: NaN where unknown; such frames are in no pair. (N, 4, 4)
        gap: least and largest number of frames from the first to the second.
        count: largest number of pairs.

    Returns:
        Indices of both frames, rising; pairs whose camera hardly moved are left out.
    """
    check_shape("choose_pairs: T_world_cam", T_world_cam, "N 4 4")
    starts = np.linspace(0, max(0, len(T_world_cam) - 1 - gap[0]), count).round().astype(int)
    steps = np.random.default_rng(0).integers(gap[0], gap[1], count, endpoint=True)
    centres = T_world_cam[:, :3, 3]
    pairs = {(int(i), int(i + step)): 0.0 for i, step in zip(starts, steps, strict=True)}
    pairs = {
        (i, j): float(np.linalg.norm(centres[j] - centres[i]))
        for i, j in pairs
        if j < len(centres) and np.isfinite(T_world_cam[[i, j]]).all()
    }
    least = LEAST_BASELINE * float(np.median(list(pairs.values()))) if pairs else 0.0
    return [pair for pair, baseline in pairs.items() if baseline > max(least, 0.0)]


def mean_pose(scores: Sequence[PoseScore]) -> PoseMean:
    """Return the figures over pairs.

    Raises:
        DataError: there are none.
    """
    if not scores:
        raise DataError("mean_pose: no pair to take the mean of")
    errors = np.array([one.error_deg for one in scores])
    return PoseMean(
        pairs=len(scores),
        found=int(np.isfinite(errors).sum()),
        features=float(np.mean([one.features for one in scores])),
        matches=float(np.mean([one.matches for one in scores])),
        inliers=float(np.mean([one.inliers for one in scores])),
        median_deg=float(np.sort(errors)[len(errors) // 2]),
        auc=pose_auc(errors),
    )


def pose_error(R: np.ndarray, direction: np.ndarray, T_gt: np.ndarray) -> float:
    """Return the larger of rotation error and direction error, degrees.

    Args:
        R: found rotation from frame a to frame b. (3, 3)
        direction: found translation of T_b_a, of any length. (3,)
        T_gt: true T_b_a; its translation must not be 0. (4, 4)
    """
    turned = np.degrees(np.linalg.norm(log_so3(R.T @ T_gt[:3, :3])))
    t = T_gt[:3, 3]
    sine = np.linalg.norm(np.cross(direction, t))
    away = np.degrees(np.arctan2(sine, abs(float(direction @ t))))  # sign left open: 0 to 90
    return float(max(turned, away))


def pose_auc(errors: np.ndarray, degrees: Sequence[float] = AUC_DEGREES) -> tuple[float, ...]:
    """Return the area under the share of pairs with an error up to x, for x from 0 to an angle.

    The curve runs straight between the sorted errors, from (0, 0), and is level from the last
    error below the angle on, as in SuperGlue's evaluation.

    Args:
        errors: degrees, infinite where there is no pose. (N,)
        degrees: ends of the curve.

    Returns:
        One area an angle, divided by the angle: 0 to 1.
    """
    ranked = np.sort(errors)
    areas = []
    for end in degrees:
        below = ranked[ranked < end]
        share = np.arange(len(below) + 1) / len(errors)
        x = np.concatenate([[0.0], below, [end]])
        y = np.concatenate([share, share[-1:]])
        areas.append(float((np.diff(x) * (y[1:] + y[:-1]) / 2).sum() / end))
    return tuple(areas)
