# SPDX-License-Identifier: Apache-2.0
"""Poses of a stream of frames: those of a file in its clock, those of a sequence folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from depthkit.errors import DataError
from depthkit.trajectory import Trajectory, interpolate_poses
from depthkit.trajectory.record import STAMP_ROUNDING

if TYPE_CHECKING:
    from depthkit.data.sequence import Sequence
    from depthkit.data.stream import FrameStream, StreamFrame

COUNTED = 1.5
"""How many times as long as the frames whole-numbered poses may last and still be seconds."""


def with_poses(stream: FrameStream, trajectory: Trajectory, max_gap: float) -> FrameStream:
    """Give a stream the poses of a trajectory in its clock, interpolated.

    Args:
        stream: its own poses are replaced.
        trajectory: T_world_cam, metres.
        max_gap: longest time between two poses that is bridged, seconds.

    Raises:
        DataError: no frame lies within the trajectory, or its times are frame numbers.
    """
    _check_counted(stream, trajectory)
    poses, known = interpolate_poses(trajectory, stream.times, max_gap, slack=STAMP_ROUNDING)
    if not known.any():
        spans = [f"{t[0]:.3f} to {t[-1]:.3f} s" for t in (stream.times, trajectory.stamps)]
        raise DataError(
            f"{stream.path}: no frame has a pose: frames are from {spans[0]}, poses from "
            f"{spans[1]}; both need one clock"
        )

    def frames() -> Iterator[StreamFrame]:
        for frame, pose in zip(stream.frames(), poses, strict=True):
            yield replace(frame, T_world_cam=pose)

    notes = (*stream.notes, *trajectory.assumed)
    return replace(stream, frames=frames, poses=poses, metric=True, notes=notes)


def _check_counted(stream: FrameStream, trajectory: Trajectory) -> None:
    """Refuse poses at 0, 1, 2 ... that run far beyond the frames: they are frame numbers."""
    stamps, times = trajectory.stamps, stream.times
    if len(stamps) < 3 or stamps[0] != round(stamps[0]) or (np.diff(stamps) != 1).any():
        return
    if np.ptp(stamps) > COUNTED * np.ptp(times) + 1:
        raise DataError(
            f"--poses: its times are {stamps[0]:.0f}, {stamps[1]:.0f}, {stamps[2]:.0f} ...: frame "
            f"numbers, where the frames lie between {times[0]:.3f} and {times[-1]:.3f} s; write "
            "the time of each frame, or give them to 'depthkit prepare' and its folder to infer"
        )


def longest_segment(sequence: Sequence) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Return the poses of the longest segment, NaN elsewhere, and what was left out."""
    labels = sequence.segments()
    numbers, counts = np.unique(labels[labels >= 0], return_counts=True)
    if sequence.poses is None or len(numbers) < 2:
        return sequence.poses, ()
    kept = labels == numbers[np.argmax(counts)]
    note = (
        f"its poses are {len(numbers)} segments in worlds of their own: those of the longest are "
        f"used, {int(kept.sum())} of {int(counts.sum())}"
    )
    return np.where(kept[:, None, None], sequence.poses, np.nan), (note,)


def has_metric_poses(sequence: Sequence) -> bool:
    """Whether poses are metres: by poses.yaml, else unless the depth is up to scale."""
    if sequence.note is not None:
        return sequence.note.unit == "metric"
    return sequence.depth_kind != "up_to_scale"
