# SPDX-License-Identifier: Apache-2.0
"""Opens what a run of `infer` needs, and refuses what does not go together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal

from depthkit.data.stream import FrameStream
from depthkit.errors import DataError, EngineError
from depthkit.pipelines.infer.options import InferOptions
from depthkit.pipelines.infer.writers import scale_notes
from depthkit.pipelines.models import (
    has_own_pose,
    needs_export,
    open_depth,
    open_flow,
    open_odometry,
)
from depthkit.pipelines.odometry.follow import FollowedOdometry
from depthkit.pipelines.odometry.options import REMEDY
from depthkit.runtime.config import BaselineConfig
from depthkit.runtime.depth.depth_engine import DepthEngine
from depthkit.runtime.flow.flow_engine import FlowEngine
from depthkit.runtime.motion.told import usual_gap
from depthkit.runtime.odometry.odometry_engine import OdometryEngine
from depthkit.watcher import SILENT, Watcher


@dataclass
class Job:
    """One run at work: engines, frames, what is wanted."""

    engine: DepthEngine
    odometry: OdometryEngine | FollowedOdometry | None
    """A pose network, or the geometric odometry."""
    flow: FlowEngine | None
    stream: FrameStream
    options: InferOptions
    config: BaselineConfig
    """How a pair network's earlier frames are chosen."""
    watcher: Watcher = SILENT
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
        """Scale of all depth that is written."""
        if not self.pairs:
            camera = self.stream.camera
            return self.engine.scale_of(None if camera is None else camera.K)[0]
        measured = self.motion_scale == "metric"
        if self.options.by_odometry:
            return "metric" if measured else "relative"
        return "metric" if self.metric_poses or self.options.speed or measured else "relative"

    @property
    def motion_scale(self) -> Literal["metric", "relative"] | None:
        """Scale of the motion that is found in the frames; None where none is looked for."""
        if isinstance(self.odometry, FollowedOdometry):
            return self.odometry.scale
        return None if self.odometry is None else self.odometry.manifest.scale

    def notes(self) -> Iterator[str]:
        """Say what the user should know before it begins."""
        remedy = f"the odometry lacks a scale: {REMEDY}" if self.options.by_odometry else ""
        yield from scale_notes(
            self.engine.manifest, self.scale, self.stream.camera, odometry=remedy
        )
        if isinstance(self.odometry, FollowedOdometry):
            yield from self.odometry.notes
        if self.metric_poses and self.options.speed:
            yield "--speed is not used: the poses say how far the camera moved"
        network = self.odometry if isinstance(self.odometry, OdometryEngine) else None
        shifts = () if network is None else network.manifest.shifts
        learnt = sorted({abs(shift) for shift in shifts})
        if learnt and self.options.every not in learnt:
            yield (
                f"the pose network learnt motions between frames {', '.join(map(str, learnt))} "
                f"apart and gets frames {self.options.every} apart; --every {learnt[0]} fits better"
            )


@contextmanager
def open_job(
    stream: FrameStream, options: InferOptions, watcher: Watcher = SILENT
) -> Iterator[Job]:
    """Open the engines that are needed; check that they get what they need.

    Args:
        stream: the frames.
        options: what is wanted.
        watcher: receives progress, and notes that the user should read.

    Raises:
        DataError: a pair network without K, or options of pairs for single frames.
        EngineError: a trajectory is wanted, and there is no pose network.
    """
    with ExitStack() as stack:
        engine = stack.enter_context(open_depth(options.model, options.engine, note=watcher.note))
        config = pair_config(options, engine, stream)
        odometry: OdometryEngine | FollowedOdometry | None = None
        if options.by_odometry:
            odometry = FollowedOdometry(stream, options.scale)
            if engine.kind == "pair" and engine.needs_direction and odometry.scale == "relative":
                raise DataError(
                    f"{options.model}: needs the camera's motion in metres, and the odometry lacks "
                    f"a scale; {REMEDY}"
                )
        elif options.trajectory and not options.pose and not needs_export(options.model):
            raise EngineError(
                f"{options.model}: has no pose network beside; give --pose MODEL, or "
                "--poses odometry"
            )
        if odometry is None and _wants_network(options):
            gap = usual_gap(stream.times)
            odometry = stack.enter_context(
                open_odometry(
                    options.pose or options.model, options.engine, max_gap=gap, note=watcher.note
                )
            )
        flow = None
        if options.flow:
            flow = stack.enter_context(open_flow(options.flow, options.engine, note=watcher.note))
        yield Job(engine, odometry, flow, stream, options, config, watcher)


def _wants_network(options: InferOptions) -> bool:
    """Whether a pose network runs: asked for, or there and of use."""
    wanted = options.rerun or options.flow
    asked = bool(options.pose or options.trajectory)
    return asked or bool(wanted and has_own_pose(options.model))


def pair_config(options: InferOptions, engine: DepthEngine, stream: FrameStream) -> BaselineConfig:
    """Return how pairs are chosen; refuse what does not go with the network."""
    if engine.kind == "mono":
        motion_used = bool(options.flow or (options.by_odometry and options.uses_motion))
        pairs = ("rule", "shift") + (() if motion_used else ("poses",))
        pairs += () if motion_used and options.by_odometry else ("speed",)
        words = [name for name in pairs if getattr(options, name)]
        if words:
            raise DataError(
                f"{options.model}: sees single frames; --{words[0]} is for pair networks"
            )
        return BaselineConfig()
    if stream.camera is None:
        raise DataError(f"{stream.path}: a pair network needs K; give --camera camera.yaml")
    given = {name: getattr(options, name) for name in ("rule", "shift") if getattr(options, name)}
    shift = given.get("shift", 0)
    config = BaselineConfig()
    return replace(
        config,
        **given,
        capacity=max(config.capacity, shift),
        max_gap=max(config.max_gap, usual_gap(stream.times)),
    )
