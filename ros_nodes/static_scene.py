# SPDX-License-Identifier: Apache-2.0
"""What of a picture belongs to the static scene, beside depth and never before it.

A thread of its own compares each frame, whose depth is sent already, with the one before. While it
is busy newer frames wait in a slot of one; depth waits for nothing.
"""

import time
from dataclasses import dataclass

import numpy as np
from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import Image

from depthkit.errors import DepthkitError
from depthkit.runtime import DepthResult, FlowEngine, MovingStream, StaticResult
from depthkit.runtime.motion.told import Motion
from ros_nodes.convert import image_message
from ros_nodes.depth_config import DepthNodeConfig
from ros_nodes.depth_output import SENT, nearest, output_size
from ros_nodes.inputs.camera_input import CameraFrame
from ros_nodes.inputs.motion_source import MotionSource
from ros_nodes.life.model_keeper import ModelKeeper
from ros_nodes.life.monitor import Monitor, Quantiles, Rate, Status
from ros_nodes.life.slot import LatestSlot, Worker

TOPIC = "static_probability"
RECENT = 3.0  # seconds that what was last said stays true
NO_POSES = (
    "where the camera went is not known, and flow is compared with that; set motion.source to "
    "odometry"
)


@dataclass(frozen=True, eq=False)
class Seen:
    """A frame whose depth was sent, or has none."""

    frame: CameraFrame
    depth: DepthResult
    motion: Motion | None
    """How the camera moved, where the depth network was told; else it is asked for here."""
    inside: np.ndarray | None
    """Which pixels are picture; None where all are. (H, W) bool"""
    width: int
    """Of what is sent, pixels; 0 for the camera's."""


class StaticScene:
    """Sends `static_probability` while somebody listens; off, and no topic, without a model."""

    def __init__(
        self, node: Node, config: DepthNodeConfig, motion: MotionSource, *, monitor: Monitor
    ) -> None:
        """Open the flow network.

        Args:
            node: the topic's name is relative to it.
            config: of the depth node; `flow_model` says whether anything is done.
            motion: stays the caller's; asked here for networks of single frames alone.
            monitor: gets the task "static", where there is a model.

        Raises:
            EngineError: the flow network, without `wait_for_model`.
        """
        self._node, self._motion, self._config = node, motion, config
        self._slot = LatestSlot[Seen]()
        self._worker = Worker(self._slot, self._handle, on_error=self._on_bug, name="static")
        self._publisher: Publisher | None = None
        self._keeper: ModelKeeper[FlowEngine] | None = None
        self._stream: MovingStream | None = None
        self._epochs, self._forget = (0, 0), False
        self._rate, self._age, self._network, self._sent = Rate(), Quantiles(), Quantiles(), 0
        self._last = (-RECENT, "no frame yet", "")
        if config.flow_model.name:
            self._keeper = ModelKeeper(
                self._open,
                wait=config.wait_for_model,
                say=lambda line: monitor.announce("static", Status("error", line)),
            )
            monitor.add("static", self.status)
            self._publisher = node.create_publisher(Image, TOPIC, SENT)

    def heard(self) -> bool:
        """Whether somebody listens."""
        return self._publisher is not None and bool(self._publisher.get_subscription_count())

    def start(self) -> None:
        """Take frames."""
        if self._keeper is not None:
            self._stream = None
            self._worker.start()
            self._keeper.start()

    def stop(self) -> None:
        """Take none; `start` begins again."""
        if self._keeper is not None:
            self._worker.stop()
            self._keeper.stop()

    def close(self) -> None:
        """Free the network and leave the graph."""
        if self._publisher is not None:
            self._node.destroy_publisher(self._publisher)
            self._publisher = None
        if self._keeper is not None:
            self._keeper.close()

    def reset(self) -> None:
        """Forget the frame before."""
        self._forget = True

    def offer(self, seen: Seen) -> None:
        """Take a frame, if somebody listens; never waits."""
        if self.heard():
            self._slot.put(seen)

    def status(self, now: float) -> Status:
        """Say how it is doing at steady time `now`: task "static"."""
        keeper = self._keeper
        if keeper is None or keeper.engine is None:
            return Status("error", "" if keeper is None else keeper.fault)
        law = keeper.engine.manifest.static_law
        rule = "residual" if law is None else law.evidence
        values: dict[str, str | float | int] = {"rule": rule, "sent": self._sent}
        values |= {"dropped": self._slot.dropped, "output_hz": round(self._rate.hz(now), 2)}
        for name, figures in (("age", self._age), ("network", self._network)):
            if (middle := figures.at(50)) is not None:
                values[f"{name}_p50_ms"] = round(middle, 2)
        if not self.heard():
            return Status("ok", "idle: nobody subscribes, so nothing is computed", values)
        at, said, fault = self._last
        if fault and now - at < RECENT:
            return Status("warn", f"no {TOPIC}: {fault}", values)
        return Status("ok", said, values)

    # --- what the worker does ---------------------------------------------------------------------

    def _open(self) -> FlowEngine:
        config = self._config
        return FlowEngine.open(
            config.flow_model,
            backend=config.backend,
            threads=config.threads,
            precision=config.precision,
        )

    def _handle(self, seen: Seen) -> None:
        engine = None if self._keeper is None else self._keeper.engine
        if engine is None:
            return  # the status says why
        try:
            result = self._compare(engine, seen)
        except DepthkitError as error:
            self._note(fault=str(error))
            return
        if result.probability is None:
            self._note(fault=result.reason)
            return
        self._send(seen, result.probability)
        now = self._node.get_clock().now().nanoseconds
        self._age.add(1e-6 * (now - seen.frame.stamp_ns))
        self._network.add(result.timing.network_ms)
        self._note(said=f"static scene by {result.rule}")

    def _compare(self, engine: FlowEngine, seen: Seen) -> StaticResult:
        """Compare a frame with the one before it."""
        frame = seen.frame
        stream = self._stream = self._stream or MovingStream(engine)
        motion = seen.motion
        if motion is None:
            motion = self._motion.tell(frame.stamp, frame.header.frame_id, since=None)
        epochs = (frame.epoch, self._motion.epoch)
        if self._forget or epochs != self._epochs:
            self._forget = False
            stream.reset()
        self._epochs = epochs
        pose = motion.T_world_cam
        result = stream.process(
            frame.rgb, seen.depth, T_world_cam=pose, same_unit=seen.depth.scale == "metric"
        )
        if pose is None and self._motion.config.source != "odometry":
            return StaticResult(None, result.rule, frame.stamp, reason=NO_POSES)
        if pose is None or not np.isfinite(pose).all():
            reason = self._motion.reason or result.reason
            return StaticResult(None, result.rule, frame.stamp, reason=reason)
        return result

    def _send(self, seen: Seen, probability: np.ndarray) -> None:
        if seen.inside is not None:
            probability = np.where(seen.inside, probability, np.float32(np.nan))
        small = nearest(probability, output_size(probability.shape, seen.width))
        publisher = self._publisher
        if publisher is not None:
            publisher.publish(image_message(small, "32FC1", seen.frame.header))
            self._sent += 1
            self._rate.tick(time.monotonic())

    def _note(self, *, said: str = "", fault: str = "") -> None:
        self._last = (time.monotonic(), said, fault)

    def _on_bug(self, error: Exception) -> None:
        line = " ".join(f"a bug, please report it: {type(error).__name__}: {error}".split())
        self._note(fault=line)
