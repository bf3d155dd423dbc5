# SPDX-License-Identifier: Apache-2.0
"""How the poses of a file go to frames: by time, name or number.

By the order of rows only where there are as many as frames.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from depthkit.data.importers.pose_files import PoseList
from depthkit.data.importers.source import FrameRef
from depthkit.errors import DataError
from depthkit.trajectory import Trajectory, interpolate_poses
from depthkit.trajectory.record import STAMP_ROUNDING

OTHER_UNITS = (1e-3, 1e3, 1e-6, 1e-9)
"""Factors to try on times whose unit was detected by their spacing alone."""
CLEARLY_MORE = 2.0
"""How many times as many frames must have a pose for another unit to be taken."""


class Poses(NamedTuple):
    """Camera poses at the frames, and what there is to say of them."""

    T_world_cam: np.ndarray | None
    """NaN where unknown. (N, 4, 4)"""
    notes: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()


def put_to_frames(
    poses: PoseList, frames: Sequence[FrameRef], times: np.ndarray, max_gap: float
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Give each frame its pose, NaN where a pose is missing.

    Args:
        poses: the file.
        frames: the frames.
        times: their times, seconds. (M,)
        max_gap: as in `interpolate_poses`.

    Returns:
        T_world_cam: (M, 4, 4)
        assumed: how rows were put to frames, where the file does not say it.

    Raises:
        DataError: rows and frames cannot be paired, or none meets a frame.
    """
    if poses.trajectory is not None:
        counted = _by_counted_times(poses, frames, times, max_gap)
        return _by_time(poses, times, max_gap) if counted is None else counted
    if poses.names is not None:
        keys: list[str] | list[int] = [Path(name).stem for name in poses.names]
        wanted: list[str] | list[int] = [frame.path.stem for frame in frames]
        return _by_key(poses, keys, wanted), ()
    own = frame_numbers(frames)
    if poses.numbers is not None and own is not None and set(own) & set(poses.numbers.tolist()):
        return _by_number(poses, poses.numbers.tolist(), own)
    count = len(poses.T_world_cam)
    if count == len(frames):
        return poses.T_world_cam, ()
    if poses.numbers is not None:
        return _by_key(poses, poses.numbers.tolist(), list(range(len(frames)))), ()
    if own is not None and count > max(own):
        word = f"{poses.path.name}: row n is taken as the pose of frame number n, counted from 0"
        return _by_key(poses, list(range(count)), own), (word,)
    raise DataError(
        f"{poses.path}: {count} poses for {len(frames)} frames, and no times or names pair them; "
        "give rows with times (TUM) or with the frame's number first (13 numbers)"
    )


def missing_words(T_world_cam: np.ndarray, path: Path, max_gap: float) -> tuple[str, ...]:
    """Count the frames without a pose; none of them is worth no word. (N, 4, 4)"""
    unknown = int(np.isnan(T_world_cam).any(axis=(1, 2)).sum())
    if not unknown:
        return ()
    remedy = f"where two are more than {max_gap:g} s apart, --max-gap S allows more"
    return (f"{unknown} of {len(T_world_cam)} frames have no pose in {path.name}; {remedy}",)


def frame_numbers(frames: Sequence[FrameRef]) -> list[int] | None:
    """Return the number in each frame's name, or its index in a video; None if one has none."""
    if all(frame.index is not None for frame in frames):
        return [int(frame.index or 0) for frame in frames]
    found = [re.findall(r"\d+", frame.path.stem) for frame in frames]
    numbers = [int(group[-1]) for group in found if group]
    if len(numbers) == len(frames) and len(set(numbers)) == len(numbers):
        return numbers
    numbers = [int(group[0]) for group in found if group]
    return numbers if len(numbers) == len(set(numbers)) == len(frames) else None


def spans(poses: np.ndarray, frames: np.ndarray) -> str:
    """Name the times of poses and of frames, and two clocks where they are two. (N,), (M,)"""
    text = (
        f"poses span {poses[0]:.3f} to {poses[-1]:.3f} s, frames {frames[0]:.3f} to "
        f"{frames[-1]:.3f} s"
    )
    far = max(poses[0], frames[0]) > 1e8 > min(poses[-1], frames[-1])
    return f"{text}: one counts since 1970, the other since a start" if far else text


# --- pairing -------------------------------------------------------------------------------------


def _by_key(poses: PoseList, keys: Sequence[Any], wanted: Sequence[Any]) -> np.ndarray:
    row = {key: i for i, key in reversed(list(enumerate(keys)))}
    found = np.full((len(wanted), 4, 4), np.nan)
    for i, key in enumerate(wanted):
        if key in row:
            found[i] = poses.T_world_cam[row[key]]
    if not np.isfinite(found).any() and len(keys) and len(wanted):
        raise DataError(
            f"{poses.path}: none of its {len(keys)} poses is of a frame; it has {keys[0]!r}, the "
            f"frames {wanted[0]!r}"
        )
    return found


def _by_counted_times(
    poses: PoseList, frames: Sequence[FrameRef], times: np.ndarray, max_gap: float
) -> tuple[np.ndarray, tuple[str, ...]] | None:
    """Take times that are frame numbers for what they are; None where they are times.

    They are numbers where all are whole, have a frame of that number, and meet fewer frames as
    seconds.
    """
    own, trajectory = frame_numbers(frames), poses.trajectory
    if own is None or trajectory is None or not poses.any_unit:
        return None
    stamps = trajectory.stamps
    if len(stamps) < 2 or (stamps != np.round(stamps)).any() or not poses.in_seconds:
        return None
    shared = len(set(own) & set(stamps.astype(int).tolist()))
    known = interpolate_poses(trajectory, times, max_gap, slack=STAMP_ROUNDING)[1].sum()
    if shared <= max(1, CLEARLY_MORE * known):
        return None
    word = f"{poses.path.name}: its times are taken as frame numbers, as in the names of the frames"
    found, shifted = _by_number(poses, stamps.astype(int).tolist(), own)
    return found, (word, *shifted)


def _by_number(
    poses: PoseList, numbers: list[int], own: list[int]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Pair by number; two unbroken counts of one length from different starts go in order."""
    first, count = numbers[0], len(numbers)
    is_count = numbers == list(range(first, first + count))
    if not is_count or first == own[0] or own != list(range(own[0], own[0] + count)):
        return _by_key(poses, numbers, own), ()
    word = f"{poses.path.name}: counts from {first}, frames from {own[0]}: paired in order"
    return poses.T_world_cam, (word,)


def _by_time(
    poses: PoseList, times: np.ndarray, max_gap: float
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Interpolate; stamps that are no dates are read in the unit in which most frames have one."""
    trajectory = poses.trajectory
    if trajectory is None:
        raise DataError(f"{poses.path}: holds no times")
    found, known = interpolate_poses(trajectory, times, max_gap, slack=STAMP_ROUNDING)
    for factor in OTHER_UNITS if poses.any_unit else ():
        scaled = Trajectory(trajectory.stamps * factor, trajectory.T_world_cam)
        other, more = interpolate_poses(scaled, times, max_gap, slack=STAMP_ROUNDING)
        if more.sum() > max(1, CLEARLY_MORE * known.sum()):
            word = (
                f"{poses.path.name}: times multiplied by {factor:g}, since {more.sum()} frames lie "
                f"within the poses then and {known.sum()} otherwise (--time-unit sets the unit)"
            )
            return other, (word,)
    if not known.any():
        raise DataError(
            f"{poses.path}: no pose within {max_gap:g} s of a frame; "
            f"{spans(trajectory.stamps, times)}"
        )
    return found, poses.assumed
