# SPDX-License-Identifier: Apache-2.0
"""May two trajectory files be compared, and in which order do their quaternions stand?

The angle between two poses is the same in both orders; only the axis differs. So the order that no
header states is decided by the other file: the motion from pose to pose must be the same in both.
"""

from dataclasses import dataclass, replace

import numpy as np

from depthkit.errors import DataError
from depthkit.evaluation.association import associate
from depthkit.evaluation.relative import log_angle, relative_errors
from depthkit.trajectory import (
    Trajectory,
    TrajectoryFile,
    matrix_to_quaternion,
    quaternion_to_matrix,
)

DECISIVE = 0.6
"""An order is right where its error is below this share of the other order's and of the turning."""

COUNTED = 9
"""Steps of exactly 1 from which on times are taken for frame numbers."""

STILL = 1e-6
"""Mean turning from pose to pose, radians, below which the order cannot be decided."""


def check_axes(
    reference: TrajectoryFile, estimate: TrajectoryFile, reference_name: str, estimate_name: str
) -> bool:
    """Tell whether two files pair by frame (else by time).

    Raises:
        DataError: one has times and the other frames, or frame numbers in place of times, or rows
            without an index differ in number.
    """
    by_frame = [file.axis != "time" for file in (reference, estimate)]
    if by_frame[0] != by_frame[1]:
        raise DataError(
            f"{estimate_name} is a {estimate.kind} file and {reference_name} a {reference.kind} "
            "file: one has frame indices, the other times; give both in one format"
        )
    if not by_frame[0]:
        _check_counted(reference, estimate, estimate_name)
    if estimate.axis == "row" and estimate.rows != reference.rows:
        raise DataError(
            f"{estimate_name} holds {estimate.rows} rows without a frame index and "
            f"{reference_name} {reference.rows}: they cannot be paired by row; write the frame "
            "index as a first column (13 columns), or times in both (TUM)"
        )
    return by_frame[0]


def _check_counted(reference: TrajectoryFile, estimate: TrajectoryFile, name: str) -> None:
    """Refuse times that are 0, 1, 2 ... beside a reference of seconds: they are frame numbers."""
    steps, own = np.diff(estimate.trajectory.stamps), np.diff(reference.trajectory.stamps)
    first = estimate.trajectory.stamps[0]
    if len(steps) < COUNTED or first != round(first) or (steps != 1).any():
        return
    if np.median(own) < 0.5:
        raise DataError(
            f"{name}: its times are {first:.0f}, {first + 1:.0f}, {first + 2:.0f} ...: frame "
            f"numbers, where the reference has seconds, {np.median(own):.3g} s apart; write the "
            "time of each frame"
        )


def settle_orders(
    reference: TrajectoryFile,
    estimate: TrajectoryFile,
    *,
    max_gap: float | None,
    names: tuple[str, str],
) -> tuple[Trajectory, Trajectory, tuple[str, ...]]:
    """Read quaternions whose order no file states in the order that makes both files agree.

    Args:
        reference: as read.
        estimate: as read.
        max_gap: as in `associate`.
        names: of reference and estimate, for messages.

    Returns:
        reference, estimate: with the order decided; the sentence about an order that the other
            file confirms is dropped from `assumed`.
        notes: an order that was changed, or that a header states and the other file denies.

    Raises:
        DataError: the files agree only if an unstated order is another one, and it is that of the
            reference, or of either: a truth is not turned because an estimate says so.
    """
    files, pair = [reference, estimate], [reference.trajectory, estimate.trajectory]
    errors = _order_errors(files, max_gap)
    is_open = [file.order is not None and not file.is_order_stated for file in files]
    if errors is None:
        return pair[0], pair[1], ()
    if errors.swapped < DECISIVE * min(errors.kept, errors.turned):
        if all(is_open):
            raise DataError(
                f"{names[1]} and {names[0]}: one of them has w first in its quaternions and "
                "neither says so; give --quaternion or --reference-quaternion (xyzw or wxyz)"
            )
        if not any(is_open):
            return pair[0], pair[1], (_doubt(errors, names),)
        which = is_open.index(True)
        if which == 0 and not estimate.order_note:
            raise DataError(_open_truth(reference, names))
        pair[which] = _reordered(files[which])
        return pair[0], pair[1], (_decision(errors, files, which, names),)
    if errors.kept < DECISIVE * errors.swapped and not all(is_open):
        pair = [file.without_order_note() for file in files]
    return pair[0], pair[1], ()


@dataclass(frozen=True)
class _OrderErrors:
    """Mean rotation error from pose to pose, radians."""

    kept: float
    """Both files as read."""
    swapped: float
    """One of them read in the other order, the better of the two."""
    turned: float
    """What the reference turns from pose to pose: the error of an estimate that never turns."""


def _order_errors(files: list[TrajectoryFile], max_gap: float | None) -> _OrderErrors | None:
    """Compare the orders; None where both hold matrices, share no three poses or do not turn."""
    try:
        matches = associate(*(file.trajectory for file in files), max_gap=max_gap)
    except DataError:
        return None  # the score says so in its own words
    pairs = zip(files, (matches.reference, matches.estimate), strict=True)
    poses = [file.trajectory.T_world_cam[index] for file, index in pairs]
    can_swap = [i for i, file in enumerate(files) if file.order is not None]
    if not can_swap or len(poses[0]) < 3:
        return None
    swapped = [
        [reorder(T, str(files[j].order)) if j == i else T for j, T in enumerate(poses)]
        for i in can_swap
    ]
    still = np.broadcast_to(np.eye(4), poses[0].shape)
    kept, turned, *others = (
        float(np.mean(relative_errors(a, b, angle=log_angle)[1]))
        for a, b in (poses, (poses[0], still), *swapped)
    )
    return None if turned < STILL else _OrderErrors(kept, min(others), turned)


def reorder(T_world_cam: np.ndarray, order: str) -> np.ndarray:
    """Return poses as they are when quaternions read in one order are read in the other.

    Args:
        T_world_cam: as read. (N, 4, 4)
        order: in which they were read, xyzw or wxyz.
    """
    q = matrix_to_quaternion(T_world_cam[:, :3, :3])
    moved = T_world_cam.copy()
    # The file holds a b c d. Read with w last, w is d; with w first, xyzw is b c d a.
    columns = [1, 2, 3, 0] if order == "xyzw" else [3, 0, 1, 2]
    moved[:, :3, :3] = quaternion_to_matrix(q[:, columns])
    return moved


def _reordered(file: TrajectoryFile) -> Trajectory:
    return replace(
        file.without_order_note(), T_world_cam=reorder(file.trajectory.T_world_cam, str(file.order))
    )


def _open_truth(reference: TrajectoryFile, names: tuple[str, str]) -> str:
    """Say that either the estimate's stated order is wrong or the reference's assumed one."""
    other = "wxyz" if reference.order == "xyzw" else "xyzw"
    return (
        f"{names[0]} does not state the order of its quaternions, and agrees with {names[1]} only "
        f"if one of the two is another than read; give --reference-quaternion {other} if it is the "
        f"reference, {reference.order} if the header or --quaternion of the estimate is wrong"
    )


def _decision(
    errors: _OrderErrors, files: list[TrajectoryFile], which: int, names: tuple[str, str]
) -> str:
    order = "w x y z" if files[which].order == "xyzw" else "x y z w"
    return (
        f"{names[which]}: quaternions read as {order}, as the rotation of {names[1 - which]} shows "
        f"({_difference(errors)})"
    )


def _doubt(errors: _OrderErrors, names: tuple[str, str]) -> str:
    return (
        f"the rotations of {names[1]} and {names[0]} agree only if one of them has its quaternion "
        f"in the other order ({_difference(errors)}); check headers, --quaternion and "
        "--reference-quaternion"
    )


def _difference(errors: _OrderErrors) -> str:
    kept, swapped = np.rad2deg(errors.kept), np.rad2deg(errors.swapped)
    return f"from pose to pose they differ by {swapped:.3g} deg so, else by {kept:.3g} deg"
