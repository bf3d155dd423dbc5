# SPDX-License-Identifier: Apache-2.0
"""The record of a trajectory, its interpolation and its checks; it knows no file."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from depthkit.errors import DataError, ShapeError
from depthkit.rigid import exp_se3, inverse, log_se3
from depthkit.trajectory.table import ROTATION_TOLERANCE

STAMP_ROUNDING = 1e-3
"""Seconds by which a written stamp may differ from the time that was meant."""
MANY_REPEATS = 0.2
"""Share of stamps that repeat, from which on digits are missing."""
LEAST_REPEATS = 5
"""And their number."""
_REPEATS_REMEDY = "; drop the row, or keep the first of equal stamps (--repeats first)"
_ORDER_REMEDY = "; sort the rows by their stamp"


@dataclass(frozen=True)
class Trajectory:
    """Poses of one camera over time."""

    stamps: np.ndarray
    """Seconds, rising; the frame index where a file holds no time. (N,) float64"""
    T_world_cam: np.ndarray
    """Points of the camera frame to the world. (N, 4, 4) float64"""
    assumed: tuple[str, ...] = ()
    """Conventions its file does not state, and the value that was taken; one sentence each."""
    notes: tuple[str, ...] = ()
    """Rows that were left out, one sentence each."""

    def __post_init__(self) -> None:
        stamps, poses = np.shape(self.stamps), np.shape(self.T_world_cam)
        if len(stamps) != 1 or poses != (stamps[0], 4, 4):
            raise ShapeError(f"Trajectory: expected (N,) and (N, 4, 4), got {stamps} and {poses}")

    def __len__(self) -> int:
        return len(self.stamps)

    @property
    def positions(self) -> np.ndarray:
        """Camera centres in the world, in the unit of the file. (N, 3)"""
        return self.T_world_cam[:, :3, 3]

    def take(self, index: np.ndarray) -> "Trajectory":
        """Keep the poses that an index array, mask or slice selects."""
        return replace(self, stamps=self.stamps[index], T_world_cam=self.T_world_cam[index])


def interpolate_poses(
    traj: Trajectory, times: ArrayLike, max_gap: float, *, slack: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Interpolate poses at given times along the SE(3) geodesic T_a exp(s log(T_a^-1 T_b)).

    Args:
        traj: rising stamps.
        times: seconds. (M,)
        max_gap: seconds; a time between two poses further apart than this stays unknown. A time
            outside the trajectory is unknown too (nothing is extrapolated); a time on a stamp is
            always known.
        slack: seconds by which stamps may be rounded: a time that far outside the trajectory has
            the pose of its end, a gap that much longer than max_gap is bridged. At most a tenth of
            the usual step between poses is taken.

    Returns:
        poses: NaN where unknown. (M, 4, 4)
        known: (M,) bool
    """
    wanted = np.asarray(times, dtype=np.float64)
    poses = np.full((len(wanted), 4, 4), np.nan)
    if len(traj) == 0 or len(wanted) == 0:
        return poses, np.zeros(len(wanted), dtype=bool)
    if len(traj) > 1:
        slack = min(slack, 0.1 * float(np.median(np.diff(traj.stamps))))
    ends = traj.stamps[[0, -1]]
    near = (wanted >= ends[0] - slack) & (wanted <= ends[1] + slack)
    wanted = np.where(near, np.clip(wanted, *ends), wanted)
    after = np.clip(np.searchsorted(traj.stamps, wanted), 0, len(traj) - 1)
    before = np.where(traj.stamps[after] == wanted, after, np.maximum(after - 1, 0))
    gap = traj.stamps[after] - traj.stamps[before]
    inside = (wanted >= traj.stamps[before]) & (wanted <= traj.stamps[after])
    known = inside & ((gap == 0) | (gap <= max_gap + slack))
    share = (wanted - traj.stamps[before]) / np.where(gap > 0, gap, 1.0)
    T_a, T_b = traj.T_world_cam[before[known]], traj.T_world_cam[after[known]]
    poses[known] = T_a @ exp_se3(share[known, None] * log_se3(inverse(T_a) @ T_b))
    return poses, known


def check_trajectory(t: Trajectory, name: str, lines: Sequence[int] | None = None) -> None:
    """Refuse a trajectory that no score or training may be built on.

    Args:
        t: the trajectory.
        name: of the file or sequence, for the message.
        lines: line in the file of each pose; without it rows are counted from 1. (N,)

    Raises:
        DataError: NaN or infinite numbers, stamps that repeat or fall, matrices that do not rotate.
    """

    def where(i: int) -> str:
        return f"{name}: row {i + 1}" if lines is None else f"{name}: line {lines[i]}"

    finite = np.isfinite(t.stamps) & np.isfinite(t.T_world_cam).all(axis=(1, 2))
    if not finite.all():
        raise DataError(f"{where(int(np.argmin(finite)))} holds NaN or an infinite number")
    for i in np.flatnonzero(np.diff(t.stamps) <= 0)[:1]:
        same = t.stamps[i + 1] == t.stamps[i]
        repeated = int(np.sum(np.diff(t.stamps) == 0))
        if repeated > max(LEAST_REPEATS, MANY_REPEATS * len(t.stamps)):
            raise DataError(
                f"{name}: {repeated} of {len(t.stamps)} stamps repeat the one before, such as "
                f"{float(t.stamps[i])!r}: they were written with too few digits; write them again "
                "with all (seconds with 6 decimals, or whole nanoseconds)"
            )
        kind = "repeats" if same else "falls behind"
        remedy = _REPEATS_REMEDY if same else _ORDER_REMEDY
        raise DataError(
            f"{where(i + 1)} has stamp {float(t.stamps[i + 1])!r}, which {kind} the one before "
            f"({float(t.stamps[i])!r}); stamps must rise{remedy}"
        )
    R = t.T_world_cam[:, :3, :3]
    error = np.abs(R @ np.swapaxes(R, 1, 2) - np.eye(3)).max(axis=(1, 2), initial=0.0)
    wrong = (error > ROTATION_TOLERANCE) | (np.linalg.det(R) < 0)
    for i in np.flatnonzero(wrong)[:1]:
        raise DataError(f"{where(i)} holds a matrix that is no rotation (off by {error[i]:.3g})")
