# SPDX-License-Identifier: Apache-2.0
"""Poses of the odometry as those of a sequence folder: poses.txt and poses.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from depthkit.data.poses_note import PosesNote, load_poses_note, save_poses_note
from depthkit.data.sequence import open_sequence
from depthkit.errors import DataError
from depthkit.trajectory import Trajectory, save_tum

if TYPE_CHECKING:
    from depthkit.pipelines.odometry.path_log import FrameMotion, PathLog


def check_without_poses(folder: Path) -> None:
    """Refuse a folder whose poses would be lost.

    Raises:
        DataError: no sequence folder, or its poses are not those of an earlier odometry.
    """
    sequence = open_sequence(folder)
    note = load_poses_note(folder, len(sequence))
    if sequence.poses is not None and (note is None or note.source != "odometry"):
        raise DataError(
            f"{folder}: has a poses.txt that was given with the frames; --write-poses replaces "
            "those of an odometry only: remove poses.txt first"
        )


def write_sequence_poses(folder: Path, log: PathLog) -> PosesNote:
    """Write poses.txt and poses.yaml.

    Args:
        folder: a sequence folder, the source of the frames.
        log: what the odometry said of them; indices are those of the sequence's frames.

    Returns:
        What poses.yaml says.
    """
    frames = {one.index: one for one in log.posed}
    times = open_sequence(folder).times
    save_tum(
        folder / "poses.txt",
        Trajectory(
            times[list(frames)],
            np.stack([one.T_world_cam for one in frames.values() if one.T_world_cam is not None]),
        ),
    )
    note = PosesNote(
        "odometry",
        "metric" if all(one.unit == "metric" for one in log.segments()) else "up_to_scale",
        tuple(_stretches(list(frames.values()))),
        *(_column(frames, len(times), name) for name in ("sigma_position", "sigma_rotation")),
    )
    save_poses_note(folder, note)
    return note


def _stretches(posed: list[FrameMotion]) -> list[tuple[int, int]]:
    """Return first and last frame of each segment."""
    found = dict[int, tuple[int, int]]()
    for one in posed:
        first, _ = found.get(one.segment, (one.index, one.index))
        found[one.segment] = first, one.index
    return list(found.values())


def _column(frames: dict[int, FrameMotion], count: int, name: str) -> tuple[float, ...]:
    """Return one number a frame, NaN without a pose; nothing where none is known."""
    values = [getattr(frames[i], name) if i in frames else None for i in range(count)]
    if all(value is None for value in values):
        return ()
    return tuple(float("nan") if value is None else float(value) for value in values)
