# SPDX-License-Identifier: Apache-2.0
"""Poses of the odometry as those of a sequence folder: poses.txt and poses.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from depthkit.data.folder import STAMP_TOLERANCE
from depthkit.data.poses_note import PosesNote, load_poses_note, save_poses_note
from depthkit.data.sequence import open_sequence
from depthkit.data.stream import stream_sequence
from depthkit.errors import DataError
from depthkit.pipelines.odometry.follow import FollowedOdometry, follow_all
from depthkit.pipelines.odometry.options import REMEDY
from depthkit.trajectory import Trajectory, save_tum

if TYPE_CHECKING:
    from depthkit.pipelines.odometry.options import ScaleSources
    from depthkit.pipelines.odometry.path_log import FrameMotion, PathLog
    from depthkit.runtime.odometry.live_path import SmoothedPath
    from depthkit.watcher import Watcher


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


def find_sequence_poses(folder: Path, scale: ScaleSources, watcher: Watcher) -> None:
    """Run the odometry on a sequence folder and write poses.txt and poses.yaml into it.

    Args:
        folder: frames and tables are complete; an IMU is taken where it has one.
        scale: what may turn lengths into metres.
        watcher: receives progress, and a note on what was found.

    Raises:
        DataError: no frame has a pose.
    """
    stream = stream_sequence(open_sequence(folder), with_imu=True)
    at_work = FollowedOdometry(stream, scale)
    log, _ = follow_all(stream, at_work, [], watcher)
    for suspicion in (*at_work.notes, *at_work.odometry.notes):
        watcher.note(suspicion)
    note = write_sequence_poses(folder, at_work.odometry.smoothed(), log)
    unit = "metres" if note.unit == "metric" else f"relative, not metres ({REMEDY})"
    watcher.note(
        f"poses of the odometry: {unit}; {len(log.posed)} of {len(log.frames)} frames, "
        f"{len(note.segments)} segment" + "s" * (len(note.segments) > 1)
    )


def write_sequence_poses(
    folder: Path, smoothed: SmoothedPath, log: PathLog, *, frame: str = ""
) -> PosesNote:
    """Write the smoothed poses as poses.txt, and poses.yaml.

    Where at least half of the poses are metres, the others are left out: one folder has one unit.

    Args:
        folder: a sequence folder, the source of the frames.
        smoothed: every frame by the final keyframes.
        log: what the odometry said of the frames; indices are those of the sequence.
        frame: what the poses are in; empty for a world of their own.

    Returns:
        What poses.yaml says.
    """
    times = open_sequence(folder).times
    index = np.searchsorted(times, smoothed.stamps - STAMP_TOLERANCE)
    frames = {one.index: one for one in log.frames}
    is_metric = bool(smoothed.metric.mean() >= 0.5)
    kept = smoothed.metric if is_metric else np.ones(len(index), bool)
    index, poses, segments = index[kept], smoothed.poses[kept], smoothed.segments[kept]
    save_tum(folder / "poses.txt", Trajectory(times[index], poses))
    placed = set(index.tolist())
    known = [frames.get(i) if i in placed else None for i in range(len(times))]
    note = PosesNote(
        "odometry",
        "metric" if is_metric else "up_to_scale",
        _stretches(index, segments),
        sigma_translation=_column(known, "sigma_position"),
        sigma_rotation=_column(known, "sigma_rotation"),
        frame=frame,
    )
    save_poses_note(folder, note)
    return note


def _stretches(index: np.ndarray, segments: np.ndarray) -> tuple[tuple[int, int], ...]:
    """Return the first and last frame of each stretch of one segment, in the order of frames.

    A segment that is found again later is two stretches: another one lies between them.

    Args:
        index: of the frames, rising. (N,)
        segments: number of the segment of each. (N,)
    """
    cuts = np.flatnonzero(np.diff(segments)) + 1
    return tuple((int(one[0]), int(one[-1])) for one in np.split(index, cuts))


def _column(frames: list[FrameMotion | None], name: str) -> tuple[float, ...]:
    """Return one number a frame, NaN without one; nothing where none is known."""
    values = [None if one is None else getattr(one, name) for one in frames]
    if all(value is None for value in values):
        return ()
    return tuple(float("nan") if value is None else float(value) for value in values)
