# SPDX-License-Identifier: Apache-2.0
"""The files that `odometry` leaves: trajectories, the table of sigmas, the sparse points."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from depthkit.data.image_io import write_atomic
from depthkit.outputs.clouds import save_points
from depthkit.pipelines.trajectory_files import save_segments

if TYPE_CHECKING:
    from depthkit.pipelines.odometry.path_log import FrameMotion, PathLog
    from depthkit.runtime.odometry.live_path import Landmarks, SmoothedPath
    from depthkit.runtime.odometry.loop import LoopCloser

POSES, POINTS = "poses.csv", "points.ply"
COLUMNS = (
    *("stamp", "frame", "segment", "sigma_position", "sigma_rotation_deg"),
    *("scale_state", "scale_source", "scale_sigma", "tracks", "reason"),
)
SURE = 0.3
"""Largest relative standard deviation of the depth of a landmark that is written."""


def write_paths(
    folder: Path, kind: str, log: PathLog, smoothed: SmoothedPath | None
) -> dict[str, str]:
    """Write the live and the smoothed trajectory, a file for each segment.

    Args:
        folder: where to.
        kind: tum or kitti.
        log: what the odometry said, with at least one pose.
        smoothed: every frame by the final keyframes.

    Returns:
        What lies in which file.
    """
    posed = log.posed
    files = save_segments(
        folder,
        kind,
        [(one.index, one.time) for one in posed],
        [one.T_world_cam for one in posed if one.T_world_cam is not None],
        [one.segment for one in posed],
        total=len(log.frames),
    )
    if smoothed is None or not len(smoothed.stamps):
        return files
    indices = {one.time: one.index for one in log.frames}
    frames = [(indices[float(stamp)], float(stamp)) for stamp in smoothed.stamps]
    segments = [int(one) for one in smoothed.segments]
    more = save_segments(
        folder,
        kind,
        frames,
        list(smoothed.poses),
        segments,
        total=len(log.frames),
        stem="trajectory_smoothed",
    )
    return files | more


def write_loops(
    folder: Path, kind: str, log: PathLog, closer: LoopCloser | None
) -> tuple[dict[str, str], int]:
    """Write the keyframes as the loops have them; return what lies where, and how many loops.

    Args:
        folder: where to.
        kind: tum or kitti.
        log: what the odometry said.
        closer: what found the loops; None where none were looked for.
    """
    events = [] if closer is None else [one for one in closer.events if one.kind != "refused"]
    if closer is None or not events:
        return {}, 0
    stamps, poses = closer.corrected()
    scale = np.cbrt(np.linalg.det(poses[:, :3, :3]))
    poses = poses.copy()
    poses[:, :3, :3] /= scale[:, None, None]  # a similarity's rotation; its position stands
    indices = {one.time: one.index for one in log.frames}
    files = save_segments(
        folder,
        kind,
        [(indices[float(stamp)], float(stamp)) for stamp in stamps],
        list(poses),
        closer.corrected_maps().tolist(),
        total=len(log.frames),
        stem="trajectory_loops",
    )
    return files, len(events)


def write_table(folder: Path, frames: list[FrameMotion]) -> dict[str, str]:
    """Write a row a frame: how sure its pose is, and the state of the scale; or the reason."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for one in frames:
        rotation = None if one.sigma_rotation is None else math.degrees(one.sigma_rotation)
        table.writerow(
            [
                *(f"{one.time:.9f}", one.index, one.segment),
                *(_number(one.sigma_position), _number(rotation)),
                *(one.scale.state, one.scale.source, _number(one.scale.sigma)),
                *(one.tracks, one.reason),
            ]
        )
    write_atomic(folder / POSES, text.getvalue())
    return {"sigmas": POSES}


def write_points(folder: Path, landmarks: Landmarks, unit: str) -> tuple[dict[str, str], int]:
    """Write the landmarks whose depth is known well; return what lies where, and their number.

    Args:
        folder: where to.
        landmarks: those of the map.
        unit: of the positions, in words.
    """
    sure = landmarks.sigma <= SURE
    if not sure.any():
        return {}, 0
    comment = f"world of the first camera: x right, y down, z forward; unit: {unit}"
    save_points(
        folder / POINTS, landmarks.positions[sure], landmarks.colours[sure], comment=comment
    )
    return {"points": POINTS}, int(sure.sum())


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
