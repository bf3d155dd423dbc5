# SPDX-License-Identifier: Apache-2.0
"""The trajectory that `infer` writes, and poses from a file given to its frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from depthkit.pipelines.odometry.options import WORD
from depthkit.pipelines.odometry.path_log import PathLog
from depthkit.pipelines.trajectory_files import save_segments
from depthkit.runtime.motion.told import usual_gap
from depthkit.trajectory import load_tum

if TYPE_CHECKING:
    from depthkit.data.stream import FrameStream, StreamFrame
    from depthkit.runtime.result import OdometryResult


def give_poses(stream: FrameStream, path: Path | None) -> FrameStream:
    """Give a stream the poses of a TUM file, interpolated to its frames.

    Args:
        stream: the frames.
        path: the file; None for the stream's own poses, the word odometry for none.
    """
    from depthkit.data.stream_poses import with_poses

    if path is None:
        return stream
    if path == WORD:
        return _without_poses(stream)
    return with_poses(stream, load_tum(path), usual_gap(stream.times))


def _without_poses(stream: FrameStream) -> FrameStream:
    """Leave out the poses that a source has: another source of motion is wanted."""

    def frames() -> Iterator[StreamFrame]:
        for frame in stream.frames():
            yield replace(frame, T_world_cam=None)

    return replace(stream, frames=frames, poses=None)


@dataclass
class MotionChain:
    """The poses of a pose network or of the geometric odometry, segment by segment."""

    log: PathLog = field(default_factory=PathLog)
    last: OdometryResult | None = None
    """What was said of the last frame."""

    def add(self, frame: StreamFrame, moved: OdometryResult) -> None:
        """Keep what is known of the next frame."""
        self.last = moved
        self.log.add(frame, moved, moved.timing.total_ms)

    def close(self) -> None:
        """Keep the last frame, where no motion was known at all."""
        if not self.log.posed and self.last is not None:
            frame = self.log.frames[-1]
            self.log.frames[-1] = replace(frame, T_world_cam=self.last.T_world_cam)

    def scale(self) -> str:
        """Return metric where all of the path is metres, else relative."""
        return "metric" if self.log.in_metres else "relative"

    def segments(self) -> int:
        """Count the segments that hold a pose."""
        return len(self.log.segments())

    def length(self) -> float:
        """Return the length of the path, in the unit of the translations."""
        return sum(one.length for one in self.log.segments())

    def save(self, folder: Path, kind: str) -> dict[str, str]:
        """Write a file for each segment; see `save_segments`."""
        posed = self.log.posed
        return save_segments(
            folder,
            kind,
            [(one.index, one.time) for one in posed],
            [one.T_world_cam for one in posed if one.T_world_cam is not None],
            [one.segment for one in posed],
            total=len(self.log.frames),
        )
