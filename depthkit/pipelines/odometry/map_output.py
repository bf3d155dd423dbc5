# SPDX-License-Identifier: Apache-2.0
"""What a saved map adds to `odometry`: poses in its frame, its line in the summary, its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from depthkit.multiview.similarity import rigid_of
from depthkit.pipelines.trajectory_files import save_segments
from depthkit.runtime.odometry.saved_map_files import save_map

if TYPE_CHECKING:
    from depthkit.pipelines.odometry.options import OdometryOptions
    from depthkit.pipelines.odometry.path_log import PathLog
    from depthkit.runtime.odometry.geometric import GeometricOdometry
    from depthkit.runtime.odometry.live_path import SmoothedPath
    from depthkit.runtime.odometry.saved_map import SavedMap


@dataclass(frozen=True)
class MapSummary:
    """A session in a map that outlives it."""

    folder: str
    keyframes_before: int
    """Keyframes of earlier sessions that it began with; 0 for a new map."""
    keyframes: int
    """Keyframes at the end, those of this session included."""
    sessions: int
    """Sessions that made the map at the end."""
    unit: str
    """Unit of its lengths: metric, relative, or mixed where parts are not joined."""
    found: float | None
    """Time of the first frame with a pose in the map, seconds; null where there is none."""
    poses: int
    """Frames with a pose in the map."""
    written: bool
    """Whether the folder holds this session too."""

    @property
    def line(self) -> str:
        """What a reader should know, in one line."""
        if not self.keyframes_before:
            where = "a new map begins in the frame of this session"
        elif self.found is None:
            where = "no frame was found in it: this session is a part of its own"
        else:
            where = f"{self.poses} frames have a pose in it, from {self.found:.3f} s on"
        kept = f"{self.keyframes} keyframes, {self.unit}" if self.written else "left as it was"
        return f"map {self.folder}: {where}; {kept}"


def write_map_path(folder: Path, kind: str, log: PathLog) -> dict[str, str]:
    """Write the live poses in the frame of the saved map, a file for each part of it.

    Args:
        folder: where to.
        kind: tum or kitti.
        log: what the odometry said.

    Returns:
        What lies in which file; nothing where no frame was found.
    """
    found = [(one, one.in_map) for one in log.frames if one.in_map is not None]
    if not found:
        return {}
    return save_segments(
        folder,
        kind,
        [(one.index, one.time) for one, _ in found],
        [place.T_map_cam for _, place in found],
        [place.map for _, place in found],
        total=len(log.frames),
        stem="trajectory_map",
    )


def summary_of_map(
    options: OdometryOptions, odometry: GeometricOdometry, log: PathLog
) -> MapSummary | None:
    """Sum up the session in the map; None without one.

    Args:
        options: of the run.
        odometry: at its end.
        log: what it said.
    """
    if options.map is None:
        return None
    before, now = odometry.finder.saved, odometry.saved_map()
    found = [one.time for one in log.frames if one.in_map is not None]
    kept = before if options.map_read_only or now is None else now
    return MapSummary(
        folder=str(options.map),
        keyframes_before=0 if before is None else len(before.views),
        keyframes=0 if kept is None else len(kept.views),
        sessions=0 if kept is None else kept.sessions,
        unit="relative" if kept is None else kept.unit,
        found=found[0] if found else None,
        poses=len(found),
        written=now is not None and not options.map_read_only,
    )


def notes_on_unit(log: PathLog) -> list[str]:
    """Say where lengths in the map are others than those of this session."""
    kinds = {(one.in_map.metric, one.scale.metric) for one in log.frames if one.in_map is not None}
    notes = []
    if (False, True) in kinds:
        notes.append(
            "the map is relative: poses in its frame are in its unit, those of this session are "
            "metres"
        )
    if (True, False) in kinds:
        notes.append(
            "the map is in metres: poses in its frame are metres, those of this session are "
            "relative"
        )
    return notes


def write_map(options: OdometryOptions, odometry: GeometricOdometry) -> None:
    """Write the map with this session, unless it is only read.

    Raises:
        DataError: a disk that is full or cannot be written.
    """
    saved: SavedMap | None = odometry.saved_map()
    if options.map is not None and saved is not None and not options.map_read_only:
        save_map(options.map, saved)


def path_in_map(odometry: GeometricOdometry, smoothed: SmoothedPath) -> SmoothedPath | None:
    """Return the smoothed path in the frame and unit of the map.

    Frames of segments that lie in another part of the map are left out.

    Args:
        odometry: at its end.
        smoothed: every frame, each segment in a world of its own.

    Returns:
        None where no segment lies in the first part of the map.
    """
    from depthkit.runtime.odometry.live_path import SmoothedPath

    closer, saved = odometry.loops, odometry.saved_map()
    if closer is None or saved is None:
        return None
    root = min(closer.graph.maps.values())
    inside = np.array([closer.graph.maps.get(int(one)) == root for one in smoothed.segments])
    if not inside.any():
        return None
    stamps, segments = smoothed.stamps[inside], smoothed.segments[inside]
    S = closer.S_map_odom(stamps, segments)
    poses = rigid_of(S @ smoothed.poses[inside])
    return SmoothedPath(stamps, poses, segments, np.full(len(stamps), saved.segments[0].metric))
