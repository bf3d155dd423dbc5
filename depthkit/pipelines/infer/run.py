# SPDX-License-Identifier: Apache-2.0
"""The stages of `depthkit infer`: open engines, take frame after frame, sum up."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from rich.console import Console

from depthkit.cli.engines import (
    engine_options,
    has_own_pose,
    needs_export,
    open_depth,
    open_flow,
    open_odometry,
)
from depthkit.cli.infer import Summary
from depthkit.data.frame_conversion import MAX_UNREADABLE
from depthkit.data.stream import FrameStream, StreamFrame
from depthkit.errors import DataError, EngineError
from depthkit.pipelines.infer.flow import FlowOutputs, open_outputs, pose_of
from depthkit.pipelines.infer.trajectory import MotionChain
from depthkit.pipelines.infer.writers import Outputs, check_scale, scale_notes
from depthkit.runtime.config import BaselineConfig
from depthkit.runtime.depth.depth_engine import DepthEngine
from depthkit.runtime.depth.depth_stream import DepthStream
from depthkit.runtime.flow.flow_engine import FlowEngine
from depthkit.runtime.motion.told import NO_MOTION, KnownMotion, usual_gap
from depthkit.runtime.odometry.odometry_engine import OdometryEngine

if TYPE_CHECKING:
    from depthkit.runtime.result import DepthResult, OdometryResult

DEFAULT_FPS = 10.0  # of a video made from one frame
SQUEEZED = 1.1  # ratio of two shapes of a picture that differ


@dataclass
class Job:
    """One call of the verb: engines, frames, what is wanted."""

    engine: DepthEngine
    odometry: OdometryEngine | None
    flow: FlowEngine | None
    stream: FrameStream
    args: argparse.Namespace
    config: BaselineConfig
    """Of pair networks."""
    console: Console = field(default_factory=lambda: Console(stderr=True))
    skipped: list[str] = field(default_factory=list)
    """Unreadable frames, with the reason."""
    without_depth: list[str] = field(default_factory=list)
    """Readable ones, with the reason."""

    @property
    def pairs(self) -> bool:
        """Whether the network takes pairs."""
        return self.engine.kind == "pair"

    @property
    def metric_poses(self) -> bool:
        """Whether the frames come with poses in metres."""
        return self.stream.poses is not None and self.stream.metric

    @property
    def scale(self) -> Literal["metric", "relative"]:
        """Of all depth that is written."""
        if not self.pairs:
            return self.engine.manifest.scale
        measured = self.odometry is not None and self.odometry.manifest.scale == "metric"
        return "metric" if self.metric_poses or self.args.speed or measured else "relative"

    def say(self, line: str) -> None:
        """Tell the user on stderr."""
        self.console.print(line, highlight=False, soft_wrap=True, markup=False)

    def notes(self) -> Iterator[str]:
        """Say what the user should know before it begins."""
        yield from scale_notes(self.engine.manifest, self.scale, self.stream.camera)
        if self.metric_poses and self.args.speed:
            yield "--speed is not used: the poses say how far the camera moved"
        shifts = () if self.odometry is None else self.odometry.manifest.shifts
        learnt = sorted({abs(shift) for shift in shifts})
        if learnt and self.args.every not in learnt:
            yield (
                f"the pose network learnt motions between frames {', '.join(map(str, learnt))} "
                f"apart and is asked for {self.args.every}; --every {learnt[0]} fits better"
            )


@contextmanager
def open_job(stream: FrameStream, args: argparse.Namespace) -> Iterator[Job]:
    """Open the engines that are asked for; check that they get what they need.

    Raises:
        DataError: a pair network without K, or options of pairs for single frames.
        EngineError: a trajectory is asked for, and there is no pose network.
    """
    options = engine_options(args)
    with ExitStack() as stack:
        engine = stack.enter_context(open_depth(args.model, options))
        config = pair_config(args, engine, stream)
        odometry = None
        if args.trajectory and not args.pose and not needs_export(args.model):
            raise EngineError(f"{args.model}: has no pose network beside; give --pose MODEL")
        wanted = args.rerun or args.flow
        if args.pose or args.trajectory or (wanted and has_own_pose(args.model)):
            gap = usual_gap(stream.times)
            odometry = stack.enter_context(
                open_odometry(args.pose or args.model, options, max_gap=gap)
            )
        flow = stack.enter_context(open_flow(args.flow, options)) if args.flow else None
        yield Job(engine, odometry, flow, stream, args, config)


def pair_config(
    args: argparse.Namespace, engine: DepthEngine, stream: FrameStream
) -> BaselineConfig:
    """Return how pairs are chosen; refuse what does not go with the network."""
    if engine.kind == "mono":
        pairs = ("rule", "shift", "speed") + (() if args.flow else ("poses",))
        words = [name for name in pairs if getattr(args, name)]
        if words:
            raise DataError(f"{args.model}: sees single frames; --{words[0]} is for pair networks")
        return BaselineConfig()
    if stream.camera is None:
        raise DataError(f"{stream.path}: a pair network needs K; give --camera camera.yaml")
    given = {name: getattr(args, name) for name in ("rule", "shift") if getattr(args, name)}
    shift = given.get("shift", 0)
    config = BaselineConfig()
    return replace(
        config,
        **given,
        capacity=max(config.capacity, shift),
        max_gap=max(config.max_gap, usual_gap(stream.times)),
    )


def write_all(job: Job, folder: Path) -> Summary:
    """Take every frame through the engines and write what is wanted.

    Args:
        job: what to do.
        folder: exists and is empty.
    """
    start, args = time.perf_counter(), job.args
    outputs = Outputs(
        folder,
        scale=job.scale,
        camera=job.stream.camera,
        pairs=job.pairs,
        video_fps=_frame_rate(job.stream.times) if args.video else None,
        cloud=args.cloud,
        rerun=args.rerun,
    )
    flows = open_outputs(job, folder)
    chain = None if job.odometry is None else MotionChain(job.odometry)
    for frame, rgb, result, moved in results(job, chain):
        check_scale(result, job.scale, frame.name)
        outputs.add(frame, rgb, result, _pose(job, frame, moved))
        if flows is not None:
            flows.add(frame, rgb, result, pose_of(job, frame, moved))
    if job.without_depth and not outputs.depth.paths:
        raise DataError(f"{job.stream.path}: no frame has depth; {job.without_depth[-1]}")
    files = outputs.close() if flows is None else flows.close() | outputs.close(**flows.note())
    if chain is not None and args.trajectory:
        chain.close()
        files |= chain.save(folder, args.trajectory)
    return _sum_up(job, outputs, chain, flows, files, round(time.perf_counter() - start, 3))


def results(
    job: Job, chain: MotionChain | None
) -> Iterator[tuple[StreamFrame, np.ndarray, DepthResult, OdometryResult | None]]:
    """Pass on each readable frame, its colours, its depth and what is known of its motion."""
    stream = DepthStream(job.engine, job.config)
    K = None if job.stream.camera is None else job.stream.camera.K
    known, segment, sizes = KnownMotion(job.metric_poses, job.args.speed), 0, set[tuple[int, ...]]()
    for frame, rgb in _good_frames(job):
        if rgb.shape not in sizes:  # once for each size there is
            sizes.add(rgb.shape)
            _say_aspect(job, rgb)
        moved = None if chain is None else chain.follow(frame, rgb)
        if job.pairs and moved is not None and moved.segment != segment and not job.metric_poses:
            stream.reset()  # how the camera turned across the break is not known
            segment = moved.segment
        motion = known.tell(frame.T_world_cam, frame.time, moved) if job.pairs else NO_MOTION
        result = stream.process(rgb, stamp=frame.time, K=K, motion=motion)
        result = _inside(result, job.stream.covered)
        if result.depth is None:
            job.without_depth.append(f"{frame.name}: {result.reason}")
        yield frame, rgb, result, moved


def _inside(result: DepthResult, covered: np.ndarray | None) -> DepthResult:
    """Leave out depth of pixels that are no picture: a lens' rim, an endoscope's corners."""
    if covered is None or result.depth is None:
        return result
    return replace(result, valid=covered if result.valid is None else result.valid & covered)


def _good_frames(job: Job) -> Iterator[tuple[StreamFrame, np.ndarray]]:
    """Pass on frames that can be read, and their colours; name and count the rest, up to 5 %."""
    total = len(job.stream)
    for frame in _watched(job):
        if frame.rgb is not None:
            yield frame, frame.rgb
            continue
        job.skipped.append(frame.problem)
        job.say(f"skipped: {frame.problem}")
        if len(job.skipped) > MAX_UNREADABLE * total:
            raise DataError(
                f"{len(job.skipped)} of {total} frames unreadable (more than {MAX_UNREADABLE:.0%}),"
                f" the last: {frame.problem}"
            )


def _watched(job: Job) -> Iterator[StreamFrame]:
    """Pass on all frames under a progress bar, which only a terminal shows."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns, console = ("infer", BarColumn(), MofNCompleteColumn(), "eta"), job.console
    bar = Progress(
        *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal
    )
    with bar as progress:
        yield from progress.track(job.stream.frames(), total=len(job.stream))


def _pose(job: Job, frame: StreamFrame, moved: OdometryResult | None) -> np.ndarray | None:
    """Return the pose of a frame in the unit of its depth, as far as it is known. (4, 4)"""
    if job.metric_poses and job.scale == "metric":
        pose = frame.T_world_cam
        return None if pose is None or not np.isfinite(pose).all() else pose
    if moved is None or moved.T_previous_current is None or moved.scale != job.scale:
        return None
    return moved.T_world_cam


def _frame_rate(times: np.ndarray) -> float:
    """Return frames a second from the median gap."""
    return float(1 / np.median(np.diff(times))) if len(times) > 1 else DEFAULT_FPS


def _say_aspect(job: Job, rgb: np.ndarray) -> None:
    """Metric depth of one frame rests on the view that was learnt: a squeezed one is another."""
    (height, width), (h, w) = rgb.shape[:2], job.engine.manifest.size
    if job.pairs or job.scale == "relative":
        return
    if not 1 / SQUEEZED < width / height / (w / h) < SQUEEZED:
        job.say(
            f"note: frames are {width}x{height}, the network learnt {w}x{h}: they are squeezed, "
            "and its metres suffer; crop them alike"
        )


def _sum_up(
    job: Job,
    outputs: Outputs,
    chain: MotionChain | None,
    flows: FlowOutputs | None,
    files: dict[str, str],
    seconds: float,
) -> Summary:
    args, backend = job.args, job.engine.backend
    frames = len(job.stream) - len(job.skipped)
    path = chain if args.trajectory else None
    return Summary(
        model=str(args.model),
        source=str(args.source),
        out=str(args.out),
        frames=frames,
        skipped=tuple(job.skipped),
        coverage=1 - len(job.without_depth) / max(1, frames),
        without_depth=tuple(job.without_depth),
        rule=job.config.rule if job.pairs else None,
        scale=job.scale,
        scale_source=outputs.depth.scale_source,
        depth_scale=outputs.depth.depth_scale,
        path_length=path.length() if path else None,
        path_scale=path.engine.manifest.scale if path else None,
        segments=len(set(path.segments)) if path else None,
        static_rule=None if flows is None else flows.rule,
        without_static=() if flows is None else tuple(flows.without),
        backend=backend.name,
        precision=backend.precision,
        threads=backend.threads,
        seconds=seconds,
        files=files,
    )
