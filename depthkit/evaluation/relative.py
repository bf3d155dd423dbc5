# SPDX-License-Identifier: Apache-2.0
"""Relative pose errors: KITTI's t_rel and r_rel over 100 to 800 m of path, and RPE over one frame.

The definitions are those of the public KITTI devkit and of kitti-odom-eval, to the digit: inverses
are full matrix inverses as there, because KITTI files round rotations to 7 digits and a transpose
would turn that into an error of the estimate.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from depthkit.trajectory import log_so3

SEGMENT_LENGTHS = (100, 200, 300, 400, 500, 600, 700, 800)
"""Path lengths of KITTI's relative errors, metres."""

SEGMENT_STEP = 10
"""A segment starts at every tenth frame."""


@dataclass(frozen=True)
class SegmentErrors:
    """Relative errors of the segments that have a pose at both ends."""

    length: np.ndarray
    """Nominal length of each segment, metres. (M,)"""
    translation: np.ndarray
    """Translation drift over length, a fraction. (M,)"""
    rotation: np.ndarray
    """Rotation drift over length, rad/m. (M,)"""
    possible: int
    """Number of segments in the reference."""
    path_length: float
    """Length of the reference path, metres."""


def trace_angle(R: np.ndarray) -> np.ndarray:
    """Return arccos((trace - 1) / 2), the angle of the KITTI devkit, radians. (..., 3, 3) -> (...)

    Exact for exact rotations. KITTI's own files carry 7 digits, and near 0 this formula turns their
    rounding into about 0.03 degrees; it stays because published figures contain it. evo takes
    `log_angle` instead, so its mean differs: on KITTI 00 of ORB-SLAM by 1 %.
    """
    return np.arccos(np.clip((np.trace(R, axis1=-2, axis2=-1) - 1) / 2, -1.0, 1.0))


def log_angle(R: np.ndarray) -> np.ndarray:
    """Return the norm of the rotation vector, radians: robust to rounding. (..., 3, 3) -> (...)"""
    return np.linalg.norm(log_so3(R), axis=-1)


def relative_errors(
    reference: np.ndarray,
    estimate: np.ndarray,
    *,
    angle: Callable[[np.ndarray], np.ndarray] = trace_angle,
) -> tuple[np.ndarray, np.ndarray]:
    """Compare the motion from each scored pose to the next.

    Where poses are missing the pair spans the hole, so a gap shows as one large error.

    Args:
        reference: camera to world. (M, 4, 4)
        estimate: camera to world, at the reference's scale. (M, 4, 4)
        angle: `trace_angle` as published for KITTI, or `log_angle` as in evo.

    Returns:
        translation: metres. (M - 1,)
        rotation: radians. (M - 1,)
    """
    truth = np.linalg.inv(reference[:-1]) @ reference[1:]
    guess = np.linalg.inv(estimate[:-1]) @ estimate[1:]
    error = np.linalg.inv(truth) @ guess
    return np.linalg.norm(error[:, :3, 3], axis=1), angle(error[:, :3, :3])


def segment_errors(
    reference: np.ndarray,
    estimate: np.ndarray,
    *,
    known: np.ndarray | None = None,
    lengths: tuple[float, ...] = SEGMENT_LENGTHS,
    step: int = SEGMENT_STEP,
) -> SegmentErrors:
    """Compute KITTI's relative errors over 100 to 800 m of path.

    A segment ends at the first frame whose path exceeds the start's by more than the length.

    Args:
        reference: camera to world of every frame, metres. (F, 4, 4)
        estimate: the same frames, at the reference's scale; ignored where unknown. (F, 4, 4)
        known: frames that have an estimate. (F,) bool
        lengths: segment lengths, metres; only the published ones give KITTI's figures.
        step: a segment starts at every step-th frame.
    """
    known = np.ones(len(reference), dtype=bool) if known is None else known
    steps = np.linalg.norm(np.diff(reference[:, :3, 3], axis=0), axis=1)
    path = np.concatenate([[0.0], np.cumsum(steps)])
    starts = np.arange(0, len(reference), step)
    length = np.tile(lengths, len(starts))
    start = np.repeat(starts, len(lengths))
    end = np.searchsorted(path, path[start] + length, side="right")
    inside = end < len(reference)
    start, end, length = start[inside], end[inside], length[inside]
    scored = known[start] & known[end]
    start, end, length = start[scored], end[scored], length[scored]
    truth = np.linalg.inv(reference[start]) @ reference[end]
    guess = np.linalg.inv(estimate[start]) @ estimate[end]
    error = np.linalg.inv(guess) @ truth
    return SegmentErrors(
        length=length,
        translation=np.linalg.norm(error[:, :3, 3], axis=1) / length,
        rotation=trace_angle(error[:, :3, :3]) / length,
        possible=len(scored),
        path_length=float(path[-1]),
    )
