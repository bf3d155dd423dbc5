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
    open_flow,
    open_method,
    open_odometry,
)
from depthkit.pipelines.odometry.follow import FollowedOdometry
from depthkit.pipelines.odometry.options import REMEDY
from depthkit.runtime.config import SWEEP, BaselineConfig
from depthkit.runtime.depth.depth_method import DepthMethod
from depthkit.runtime.flow.flow_engine import FlowEngine
from depthkit.runtime.motion.told import usual_gap
from depthkit.runtime.odometry.odometry_engine import OdometryEngine
from depthkit.watcher import SILENT, Watcher


@dataclass
class Job:
    """One run at work: engines, frames, what is wanted."""

    method: DepthMethod
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
    def metric_poses(self) -> bool:
        """Whether the frames come with poses in metres."""
        return self.stream.poses is not None and self.stream.metric

    @property
    def scale(self) -> Literal["metric", "relative"]:
        """Scale of all depth that is written."""
        fitted = self.options.by_odometry and self.method.ambiguity != "none"
        engine = self.method.engine
        if engine is not None and self.method.own_scale is not None and not fitted:
            camera = self.stream.camera
            return engine.scale_of(None if camera is None else camera.K)[0]
        measured = self.motion_scale == "metric"
        if self.options.by_odometry:
            return "metric" if measured else "relative"
        paced = self.options.speed is not None and not self.method.needs_poses
        return "metric" if self.metric_poses or paced or measured else "relative"

    @property
    def motion_scale(self) -> Literal["metric", "relative"] | None:
        """Scale of the motion that is found in the frames; None where none is looked for."""
        if isinstance(self.odometry, FollowedOdometry):
            return self.odometry.scale
        return None if self.odometry is None else self.odometry.manifest.scale

    def notes(self) -> Iterator[str]:
        """Say what the user should know before it begins."""
        remedy = f"the odometry lacks a scale: {REMEDY}" if self.options.by_odometry else ""
        yield from scale_notes(self.method, self.scale, self.stream.camera, odometry=remedy)
        if isinstance(self.odometry, FollowedOdometry):
            yield from self.odometry.notes
        if self.metric_poses and self.options.speed:
            yield "--speed is not used: the poses say how far the camera moved"
        elif self.options.speed and self.method.kind == "sweep" and not self.options.by_odometry:
            yield "--speed is not used beside relative poses; it gives --poses odometry metres"
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
        DataError: depth from motion without K, or options of pairs for single frames.
        EngineError: a trajectory is wanted, and there is no pose network.
    """
    with ExitStack() as stack:
        note, runs_on = watcher.note, options.engine
        method = stack.enter_context(
            open_method(
                options.model,
                runs_on,
                quality=options.quality,
                similarity=options.similarity,
                note=note,
            )
        )
        config = pair_config(options, method, stream)
        odometry = _open_motion(options, method, stream, watcher)
        if isinstance(odometry, OdometryEngine):
            stack.enter_context(odometry)
        flow = None
        if options.flow:
            flow = stack.enter_context(open_flow(options.flow, runs_on, note=note))
        yield Job(method, odometry, flow, stream, options, config, watcher)


def _open_motion(
    options: InferOptions, method: DepthMethod, stream: FrameStream, watcher: Watcher
) -> OdometryEngine | FollowedOdometry | None:
    """Open the odometry or the pose network that is wanted; None for neither."""
    if options.by_odometry:
        found = FollowedOdometry(stream, options.scale)
        if found.scale == "relative" and not method.takes_relative_poses:
            raise DataError(
                f"{options.model}: needs the camera's motion in metres, and the odometry lacks "
                f"a scale; {REMEDY}"
            )
        return found
    if options.trajectory and not options.pose and not _is_run(options):
        raise EngineError(
            f"{options.model}: has no pose network beside; give --pose MODEL, or --poses odometry"
        )
    if not _wants_network(options):
        return None
    return open_odometry(
        options.pose or options.model,
        options.engine,
        max_gap=usual_gap(stream.times),
        note=watcher.note,
    )


def _is_run(options: InferOptions) -> bool:
    """Whether the model is a run that may hold a pose network."""
    return options.model != SWEEP and needs_export(options.model)


def _wants_network(options: InferOptions) -> bool:
    """Whether a pose network runs: asked for, or there and of use."""
    wanted = options.rerun or options.flow
    asked = bool(options.pose or options.trajectory)
    return asked or bool(wanted and has_own_pose(options.model))


def pair_config(options: InferOptions, method: DepthMethod, stream: FrameStream) -> BaselineConfig:
    """Return how pairs are chosen; refuse what does not go with the method."""
    words = [name for name in _not_for(options, method) if getattr(options, name)]
    if words:
        raise DataError(f"{options.model}: {_SEES[method.kind]}".format(words[0].replace("_", "-")))
    if method.kind == "mono":
        return BaselineConfig()
    if stream.camera is None:
        whose = "a pair network" if method.kind == "pair" else "depth from several views"
        raise DataError(f"{stream.path}: {whose} needs K; give --camera camera.yaml")
    given = {name: getattr(options, name) for name in ("rule", "shift") if getattr(options, name)}
    config = BaselineConfig()
    return replace(config, **given, capacity=max(config.capacity, given.get("shift", 0)))


_SEES = {
    "mono": "sees single frames; --{} is for pair networks",
    "sweep": "takes the poses of the source, of a file or of the odometry; --{} is not for it",
}
"""What a method says of an option that is not its own."""


def _not_for(options: InferOptions, method: DepthMethod) -> tuple[str, ...]:
    """Name the options that change nothing of a method."""
    if method.kind == "pair":
        return ()
    if method.kind == "sweep":
        return ("rule", "shift", "pose")
    names = ("rule", "shift", "min_confidence")
    if options.by_odometry:  # depth is fitted to its points
        return names
    return (*names, "speed") if options.flow else (*names, "poses", "speed")
