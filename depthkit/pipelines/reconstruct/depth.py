# SPDX-License-Identifier: Apache-2.0
"""The second reading of the frames: depth of each by the poses of its segment, and surfaces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from depthkit.data.folder import make_folder
from depthkit.outputs.video import SideBySideVideo
from depthkit.pipelines.infer.writers import Outputs
from depthkit.pipelines.reading import readable
from depthkit.pipelines.reconstruct.strip import FilmStrip
from depthkit.pipelines.reconstruct.surface import SurfaceBuilder
from depthkit.runtime.motion.told import Motion, usual_gap
from depthkit.runtime.result import CONFIDENT_SIGMA
from depthkit.watcher import Watcher

if TYPE_CHECKING:
    from depthkit.data.stream import FrameStream, StreamFrame
    from depthkit.pipelines.reconstruct.placed import Placed, PlacedFrames
    from depthkit.runtime.result import DepthResult
    from depthkit.runtime.streams import DepthSource

    Observe = Callable[[StreamFrame, Placed, DepthResult], None]

WORKING_WIDTH = 320
"""Width that depth is worked out at, pixels, as nearly as a whole factor allows."""
LEAST_FRAMES = 8
"""Frames of the shortest segment whose depth is worked out."""
DEFAULT_FPS = 10.0
VIDEO, SEGMENTS = "video.mp4", "segments"


@dataclass
class SegmentDepth:
    """What is written and known of one segment while its frames come."""

    number: int
    folder: Path
    outputs: Outputs
    builder: SurfaceBuilder
    frames: int = 0
    """Frames with depth."""
    confident: list[float] = field(default_factory=list)
    """Share of confident pixels of each of them."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Why frames with a pose have no depth."""


@dataclass
class DepthPass:
    """All that the second reading leaves."""

    segments: dict[int, SegmentDepth]
    strip: FilmStrip
    skipped: list[str] = field(default_factory=list)


def make_depth_source(stream: FrameStream) -> DepthSource:
    """Make what turns frames with known poses into depth: the plane sweep."""
    from depthkit.runtime.depth.sweep_config import SweepConfig
    from depthkit.runtime.depth.sweep_stream import SweepStream

    width = WORKING_WIDTH if stream.camera is None else stream.camera.width
    shrink = max(1, round(width / WORKING_WIDTH))
    return SweepStream(SweepConfig(shrink=shrink, max_gap=usual_gap(stream.times)))


def find_depth(
    stream: FrameStream,
    placed: PlacedFrames,
    folder: Path,
    watcher: Watcher,
    *,
    voxel: float | None,
    observe: Observe | None = None,
) -> DepthPass:
    """Read every frame again; write its depth, and grow the surface of its segment.

    Args:
        stream: its camera is known.
        placed: where the frames were.
        folder: exists.
        watcher: receives progress.
        voxel: of the surfaces; None by the scene's depth.
        observe: is shown every frame with its pose and depth, where it has a pose.
    """
    found = DepthPass(_open_segments(stream, placed, folder, voxel), FilmStrip(len(stream)))
    video = SideBySideVideo(folder / VIDEO, fps=_frame_rate(stream.times))
    source, current = make_depth_source(stream), None
    quiet = Watcher(watcher.begin, watcher.advance)  # what is unreadable was said at first reading
    for frame, rgb in readable(stream, "depth", found.skipped, quiet):
        one = placed.by_stamp.get(frame.time)
        segment = None if one is None else found.segments.get(one.segment)
        result = None
        if one is not None and segment is not None:
            if current not in (None, one.segment):
                source.reset()  # poses of two segments do not belong together
            current = one.segment
            result = _depth_of(source, stream, frame, rgb, one)
            _keep(segment, frame, rgb, result, one)
            if observe is not None:
                observe(frame, one, result)
        painted = None if segment is None else segment.outputs.painted
        known = result is not None and result.depth is not None
        video.add(rgb, painted if known and painted is not None else np.zeros_like(rgb), frame.name)
        found.strip.add(rgb, painted if known else None, result, is_placed=one is not None)
    video.close()
    return found


def _open_segments(
    stream: FrameStream, placed: PlacedFrames, folder: Path, voxel: float | None
) -> dict[int, SegmentDepth]:
    """Open the writers of each segment that is long enough; the largest is in the folder itself."""
    opened = {}
    for number, count in placed.sizes.items():
        if count < LEAST_FRAMES and number != placed.main:
            continue
        own = folder if number == placed.main else folder / SEGMENTS / str(number)
        make_folder(own)
        metric = all(one.metric for _, one in placed.of(number))
        outputs = Outputs(
            own,
            scale="metric" if metric else "relative",
            camera=stream.camera,
            by_motion=True,
            video_fps=None,
            cloud=False,
            rerun=False,
        )
        builder = SurfaceBuilder(is_metric=metric, voxel=voxel)
        opened[number] = SegmentDepth(number, own, outputs, builder)
    return opened


def _depth_of(
    source: DepthSource, stream: FrameStream, frame: StreamFrame, rgb: np.ndarray, one: Placed
) -> DepthResult:
    K = None if stream.camera is None else stream.camera.K
    motion = Motion(one.T_world_cam, expected=True, metric=one.metric)
    result = source.process(rgb, stamp=frame.time, K=K, motion=motion)
    if stream.covered is None or result.depth is None:
        return result
    valid = stream.covered if result.valid is None else result.valid & stream.covered
    return replace(result, valid=valid)


def _keep(
    segment: SegmentDepth, frame: StreamFrame, rgb: np.ndarray, result: DepthResult, one: Placed
) -> None:
    """Write the depth of a frame and take it into the surface."""
    segment.outputs.add(frame, rgb, result, one.T_world_cam, segment=one.segment)
    if result.depth is None:
        segment.reasons[result.reason] += 1
        return
    segment.frames += 1
    if result.sigma is not None:
        segment.confident.append(float((result.sigma <= CONFIDENT_SIGMA).mean()))
    segment.builder.add(result, rgb, one.T_world_cam)


def _frame_rate(times: np.ndarray) -> float:
    return float(1 / np.median(np.diff(times))) if len(times) > 1 else DEFAULT_FPS
