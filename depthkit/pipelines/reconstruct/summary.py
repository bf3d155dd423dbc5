# SPDX-License-Identifier: Apache-2.0
"""What `reconstruct` has done: the record it returns, prints and keeps as summary.json."""

from __future__ import annotations

from dataclasses import dataclass

from depthkit.pipelines.odometry.path_log import Loss
from depthkit.pipelines.reconstruct.frames import KnownCamera


@dataclass(frozen=True)
class PartSummary:
    """One segment: poses that belong together, their depth and their surface."""

    number: int
    start: float
    """Time of its first pose, seconds."""
    end: float
    """Time of its last pose, seconds."""
    poses: int
    depth_frames: int
    """Frames with depth; 0 for a segment too short to have any."""
    path_length: float
    """Length of its path, in its unit."""
    unit: str
    """metric: metres; relative: a unit of its own."""
    scale_source: str
    """What the metres come from; empty for a relative one."""
    scale_sigma: float | None
    """Relative standard deviation of its lengths; null where unknown."""
    confident: float
    """Mean share of measured pixels: those with a standard deviation of depth up to
    `runtime.result.CONFIDENT_SIGMA`."""
    depth_scale: float
    """PNG value / depth_scale = depth; 0 without depth."""
    voxel: float | None
    """Distance of neighbouring voxels of its surface, in its unit; null without a surface."""
    vertices: int
    faces: int
    size: tuple[float, ...]
    """Sides of the box around its surface (x, y, z), in its unit; empty without a surface."""
    axes: str
    """Axes of its world, in words."""
    folder: str
    """Where its files are, inside `out`; empty for none."""


@dataclass(frozen=True)
class ReconstructSummary:
    """What was done: printed, and kept as summary.json."""

    source: str
    out: str
    frames: int
    """Frames that could be read."""
    skipped: tuple[str, ...]
    """Unreadable frames, one line each with the reason."""
    camera: KnownCamera
    """Camera of the frames, and where it came from."""
    poses: int
    """Frames with a pose."""
    depth_frames: int
    """Frames with depth."""
    scale: str
    """metric: metres; relative: a unit of its own; of the largest segment, whose files are those in
    `out` itself."""
    scale_source: str
    """What the metres come from; empty for a relative one."""
    scale_sigma: float | None
    """Relative standard deviation of lengths; null where unknown."""
    segments: tuple[PartSummary, ...]
    """The largest first."""
    losses: tuple[Loss, ...]
    """Stretches without a pose, each with its reason."""
    metric: tuple[str, ...]
    """What is metres and why, or why nothing is; sentences."""
    failed: tuple[str, ...]
    """What did not work, and why; sentences. Empty where all did."""
    assumed: tuple[str, ...]
    """What nobody said and was taken; sentences."""
    seconds: float
    """Wall time from the first frame to the last file."""
    files: dict[str, str]
    """Kind of output -> file or folder inside `out`."""

    @property
    def main(self) -> PartSummary:
        """The largest segment."""
        return self.segments[0]
