# SPDX-License-Identifier: Apache-2.0
"""What `odometry` has done: the record it returns, prints and keeps as summary.json."""

from __future__ import annotations

from dataclasses import dataclass

from depthkit.pipelines.odometry.map_output import MapSummary
from depthkit.pipelines.odometry.path_log import Loss, Segment


@dataclass(frozen=True)
class OdometrySummary:
    """What was done: printed, and kept as summary.json."""

    source: str
    out: str
    frames: int
    """Frames that could be read."""
    skipped: tuple[str, ...]
    """Unreadable frames, one line each with the reason."""
    poses: int
    """Frames with a live pose."""
    coverage: float
    """Share of the readable frames that have a live pose."""
    segments: tuple[Segment, ...]
    """Parts of the path between which the motion is not known, each in a world of its own."""
    losses: tuple[Loss, ...]
    """Stretches without a pose, each with its reason."""
    keyframes: int
    """Frames that the map was built from."""
    landmarks: int
    """Points of points.ply."""
    loops: int
    """Places seen again that corrected the map, or joined two segments in it."""
    map: MapSummary | None
    """The session in the map that outlives it; null without one."""
    path_length: float
    """Length of the live path, over all segments: metres if path_scale is metric, of a mixed path
    that of its part in metres."""
    path_scale: str
    """metric: metres; relative: a unit of its own for each segment; mixed: metres for some of the
    frames only."""
    scale_source: str
    """What the metres come from; empty for a relative path."""
    scale_sigma: float | None
    """Relative standard deviation of lengths; null for a relative path."""
    scale_sources: tuple[str, ...]
    """Sources of metres that there were."""
    milliseconds: float
    """Mean time that the odometry took for a frame."""
    seconds: float
    """Wall time from the first frame to the last file."""
    notes: tuple[str, ...]
    """What the figures alone would hide."""
    files: dict[str, str]
    """Kind of output -> file or folder inside `out`."""


def unit_of(scale: str, source: str, sigma: float | None) -> str:
    """Say in words what a length is measured in.

    Args:
        scale: metric, relative or mixed.
        source: what the metres come from.
        sigma: relative standard deviation of lengths, where known.
    """
    if scale == "relative":
        return "relative"
    sure = "" if sigma is None else f" (sigma {100 * sigma:.2g} %)"
    words = f"metres, by {source}{sure}" if source else f"metres{sure}"
    return words if scale == "metric" else f"{words}; frames without a scale are not counted"
