# SPDX-License-Identifier: Apache-2.0
"""The method that parameter `model` names, and the source of depth of a live camera, which begins
anew where its frames do not continue."""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

from depthkit.errors import DataError
from depthkit.runtime import DepthEngine, DepthResult
from depthkit.runtime.config import SWEEP, BaselineConfig
from depthkit.runtime.depth.depth_method import DepthMethod, network_method, sweep_method
from depthkit.runtime.depth.scale_fit import ScaledDepth
from depthkit.runtime.depth.visual_depth import VisualDepth, found_motion
from depthkit.runtime.motion.told import NO_MOTION, Motion
from depthkit.runtime.streams import DepthSource
from ros_nodes.depth_config import DepthNodeConfig
from ros_nodes.depth_visual import TrackedFrame
from ros_nodes.inputs.camera_input import CameraFrame
from ros_nodes.inputs.motion_source import MotionSource
from ros_nodes.life.monitor import StopWatch

NO_CAMERA = (
    "no camera_info yet, and {} needs the camera's intrinsics; publish it beside the image, or set "
    "camera.info_file"
)


@dataclass(frozen=True, eq=False)
class LiveDepth:
    """Depth of one frame, and what it cost."""

    result: DepthResult
    motion: Motion | None
    """Motion that the depth was computed with; None of a network of single frames."""
    begins: bool
    """Whether the frame does not continue the ones before."""
    wait_ms: float
    """Time spent waiting for the motion that brackets the frame."""
    engine_ms: float
    """Time inside the source of depth."""


def open_method(config: DepthNodeConfig, say: Callable[[str], object]) -> DepthMethod:
    """Open what parameter `model` names: the sweep, or a network.

    Args:
        config: settings of the node.
        say: called with one line about it.

    Raises:
        EngineError: the network is unusable.
    """
    if config.model == SWEEP:
        method = sweep_method(
            config.quality,
            similarity=config.similarity,
            threads=config.threads,
            backend=config.backend,
            precision=config.precision,
        )
        cost = f"quality {config.quality}, similarity {config.similarity}"
        say(f"sweep: depth from several views, {cost}")
        method.warm_up()
        return method
    engine = DepthEngine.open(
        config.model,
        backend=config.backend,
        threads=config.threads,
        precision=config.precision,
    )
    # The scale of a pair network is that of the motion: the output reports it.
    scale = f", {engine.manifest.scale} depth" if engine.kind == "mono" else ""
    say(f"{config.model}: {engine.kind} network{scale}, on {engine.backend.name}")
    return network_method(engine)


class LiveStream:
    """Passes the frames of a camera to the source of depth; one thread."""

    def __init__(self, motion: MotionSource) -> None:
        """Start without frames.

        Args:
            motion: of frames that are not tracked already; stays the caller's.
        """
        self._motion = motion
        self._source: DepthSource | None = None
        self._visual: VisualDepth | None = None
        self._built_for: tuple[DepthMethod, BaselineConfig] | None = None
        self.restart()

    def restart(self) -> None:
        """Begin without any frame: the motion in the meantime is unknown."""
        self._source = self._visual = None
        self._since: float | None = None
        self._motion_epoch = 0

    def depth(
        self, method: DepthMethod, frame: CameraFrame, config: BaselineConfig, *, forget: bool
    ) -> LiveDepth:
        """Return the depth of a frame with the motion that topics tell; may wait for it.

        Args:
            method: where depth comes from.
            frame: the next frame.
            config: choice of a pair network's earlier frames.
            forget: whether the frame does not continue the ones before.

        Raises:
            DataError: K is missing.
        """
        _check_camera(method, frame)
        # 1. The source that the frame continues, and the motion up to it.
        watch = StopWatch(perf_counter())
        source, motion = self._open(method, config), None
        if method.uses_motion:
            since = None if forget else self._since
            motion = self._motion.tell(frame.stamp, frame.header.frame_id, since=since)
        wait_ms = watch.lap_ms()
        # 2. A reset, or motion that does not continue that before.
        begins = forget or self._motion.epoch != self._motion_epoch
        if begins:
            source.reset()
        self._motion_epoch = self._motion.epoch
        # 3. Depth.
        told = motion or NO_MOTION
        result = source.process(frame.rgb, stamp=frame.stamp, K=frame.K, motion=told)
        self._since = frame.stamp
        return LiveDepth(result, motion, begins, wait_ms, watch.lap_ms())

    def depth_of_tracked(
        self, method: DepthMethod, tracked: TrackedFrame, config: BaselineConfig
    ) -> LiveDepth:
        """Return the depth of a frame whose motion was found in the images.

        Args:
            method: where depth comes from.
            tracked: the next frame that was tracked; others may be left out.
            config: choice of a pair network's earlier frames.
        """
        frame, moved = tracked.frame, tracked.moved
        source, before = self._open(method, config), self._visual
        # 1. Another odometry has another world, as another segment has.
        visual = before
        if visual is None or (visual.odometry, visual.source) != (tracked.odometry, source):
            source.reset()
            fit = None if method.ambiguity is None else ScaledDepth(method.ambiguity)
            visual = self._visual = VisualDepth(tracked.odometry, source, fit=fit)
        begins = before is not None and visual.segment != moved.segment
        # 2. Depth.
        watch = StopWatch(perf_counter())
        result = visual.depth(frame.rgb, K=frame.K, moved=moved)
        motion = found_motion(moved, metres_only=False)
        return LiveDepth(result, motion, begins, 0.0, watch.lap_ms())

    def _open(self, method: DepthMethod, config: BaselineConfig) -> DepthSource:
        """Return the source of a method, a new one for other settings."""
        if self._source is None or self._built_for != (method, config):
            self._source, self._built_for = method.build(config), (method, config)
            self._since = None
        return self._source


def _check_camera(method: DepthMethod, frame: CameraFrame) -> None:
    """Refuse a frame without K where depth, or its metres, rest on it."""
    if frame.K is None and (method.uses_motion or method.own_scale == "metric"):
        name = "depth from several views" if method.kind == "sweep" else "this network"
        raise DataError(NO_CAMERA.format(name))
