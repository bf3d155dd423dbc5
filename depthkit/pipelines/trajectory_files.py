# SPDX-License-Identifier: Apache-2.0
"""Trajectories on disk, a file for each segment: poses of two segments do not belong together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from depthkit.trajectory import Trajectory, save_kitti, save_tum


def save_segments(
    folder: Path,
    kind: str,
    frames: Sequence[tuple[int, float]],
    poses: Sequence[np.ndarray],
    segments: Sequence[int],
    *,
    total: int,
    stem: str = "trajectory",
) -> dict[str, str]:
    """Write a file for each segment; where frames are left out, KITTI's rows begin with the index.

    Args:
        folder: where to.
        kind: tum or kitti.
        frames: index in the source and time, seconds, of each pose.
        poses: T_world_cam. (4, 4) each
        segments: number of the segment of each pose.
        total: frames of the run, those without a pose included.
        stem: beginning of the names.

    Returns:
        What lies in which file.
    """
    files = {}
    for number, segment in enumerate(dict.fromkeys(segments)):
        chosen = [i for i, one in enumerate(segments) if one == segment]
        more = f"_{number}" if number else ""
        files[f"{stem}{more}"] = f"{stem}_{kind}{more}.txt"
        indices, times = zip(*(frames[i] for i in chosen), strict=True)
        trajectory = Trajectory(np.array(times), np.stack([poses[i] for i in chosen]))
        whole = list(indices) == list(range(total))
        _write(folder / files[f"{stem}{more}"], kind, trajectory, None if whole else indices)
    return files


def _write(path: Path, kind: str, trajectory: Trajectory, indices: Sequence[int] | None) -> None:
    if kind == "tum":
        save_tum(path, trajectory)
    else:
        save_kitti(path, trajectory, indices=indices)
