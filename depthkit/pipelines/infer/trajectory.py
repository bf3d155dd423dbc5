# SPDX-License-Identifier: Apache-2.0
"""The trajectory that `infer` writes, and poses from a file given to its frames."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from depthkit.pipelines.trajectory_files import save_segments
from depthkit.runtime.motion.told import usual_gap
from depthkit.trajectory import load_tum

if TYPE_CHECKING:
    from depthkit.data.stream import FrameStream, StreamFrame
    from depthkit.runtime.odometry.odometry_engine import OdometryEngine
    from depthkit.runtime.result import OdometryResult


def give_poses(stream: FrameStream, path: Path | None) -> FrameStream:
    """Give a stream the poses of a TUM file, interpolated to its frames; None for its own."""
    from depthkit.data.stream import with_poses

    if path is None:
        return stream
    return with_poses(stream, load_tum(path), usual_gap(stream.times))


@dataclass
class MotionChain:
    """The poses of a pose network, segment by segment; the first frame is the world."""

    engine: OdometryEngine
    frames: list[tuple[int, float]] = field(default_factory=list)
    """Index and time of each frame with a pose."""
    poses: list[np.ndarray] = field(default_factory=list)
    segments: list[int] = field(default_factory=list)
    """Poses of two segments do not belong together: the motion between them is not known."""
    before: tuple[StreamFrame, OdometryResult] | None = None
    """The last frame, whose pose counts once a motion starts from it."""

    def follow(self, frame: StreamFrame, rgb: np.ndarray) -> OdometryResult:
        """Take the next frame."""
        result = self.engine.process(rgb, stamp=frame.time)
        if result.T_previous_current is not None:
            if self.before is not None and result.segment not in self.segments:
                self._keep(*self.before)
            self._keep(frame, result)
        self.before = frame, result
        return result

    def close(self) -> None:
        """Keep the one frame there is, where no motion was known at all."""
        if not self.poses and self.before is not None:
            self._keep(*self.before)

    def length(self) -> float:
        """Return the length of the path, in the unit of the translations."""
        centres, segments = np.stack(self.poses)[:, :3, 3], np.array(self.segments)
        steps = np.linalg.norm(np.diff(centres, axis=0), axis=1)
        return float(steps[segments[1:] == segments[:-1]].sum())

    def save(self, folder: Path, kind: str) -> dict[str, str]:
        """Write a file for each segment; see `save_segments`."""
        return save_segments(folder, kind, self.frames, self.poses, self.segments)

    def _keep(self, frame: StreamFrame, result: OdometryResult) -> None:
        self.frames.append((frame.index, frame.time))
        self.poses.append(result.T_world_cam)
        self.segments.append(result.segment)
