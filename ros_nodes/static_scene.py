# SPDX-License-Identifier: Apache-2.0
"""Static probability in the depth node, computed after depth has been published.

A separate thread compares each frame, whose depth is already published, with the previous one.
While it is busy, the newest frame waits in a slot; depth never waits.
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
RECENT = 3.0  # seconds for which the last fault stays in the status
NO_POSES = (
    "camera poses are unknown, and flow is compared with their rigid flow; set motion.source to "
    "odometry or visual"
)


@dataclass(frozen=True, eq=False)
class FrameWithDepth:
    """A frame after depth was published or refused."""

    frame: CameraFrame
    depth: DepthResult
    motion: Motion | None
    """Camera motion, if the depth network used it; None: it is looked up here."""
    inside: np.ndarray | None
    """Pixels inside the field of view; None if all are. (H, W) bool"""
    width: int
    """Published width, pixels; 0 for the camera's."""


class StaticScene:
    """Publishes `static_probability` while it has subscribers; disabled without a flow model."""

    def __init__(
        self, node: Node, config: DepthNodeConfig, motion: MotionSource, *, monitor: Monitor
    ) -> None:
        """Open the flow network.

        Args:
            node: the topic's name is relative to it.
            config: settings of the depth node; an empty `flow_model` disables this class.
            motion: source of motion, owned by the caller; read here for single-frame networks only.
            monitor: gets the task "static", if there is a model.

        Raises:
            EngineError: the flow network is unusable, without `wait_for_model`.
        """
        self._node, self._motion, self._config = node, motion, config
        self._slot = LatestSlot[FrameWithDepth]()
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

    def has_subscribers(self) -> bool:
        """Whether `static_probability` has subscribers."""
        return self._publisher is not None and bool(self._publisher.get_subscription_count())

    def start(self) -> None:
        """Begin to process frames."""
        if self._keeper is not None:
            self._stream = None
            self._worker.start()
            self._keeper.start()

    def stop(self) -> None:
        """Stop processing; `start` begins again."""
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
        """Drop the previous frame."""
        self._forget = True

    def offer(self, item: FrameWithDepth) -> None:
        """Take a frame if there are subscribers; never waits."""
        if self.has_subscribers():
            self._slot.put(item)

    def status(self, now: float) -> Status:
        """Return the status of task "static" at steady time `now`, seconds."""
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
        if not self.has_subscribers():
            return Status("ok", "idle: nobody subscribes, so nothing is computed", values)
        at, message, fault = self._last
        if fault and now - at < RECENT:
            return Status("warn", f"no {TOPIC}: {fault}", values)
        return Status("ok", message, values)

    # --- the worker's thread ----------------------------------------------------------------------

    def _open(self) -> FlowEngine:
        config = self._config
        return FlowEngine.open(
            config.flow_model,
            backend=config.backend,
            threads=config.threads,
            precision=config.precision,
        )

    def _handle(self, item: FrameWithDepth) -> None:
        engine = None if self._keeper is None else self._keeper.engine
        if engine is None:
            return  # the status has the reason
        try:
            result = self._compare(engine, item)
        except DepthkitError as error:
            self._note(fault=str(error))
            return
        if result.probability is None:
            self._note(fault=result.reason)
            return
        self._send(item, result.probability)
        now = self._node.get_clock().now().nanoseconds
        self._age.add(1e-6 * (now - item.frame.stamp_ns))
        self._network.add(result.timing.network_ms)
        self._note(message=f"static scene by {result.rule}")

    def _compare(self, engine: FlowEngine, item: FrameWithDepth) -> StaticResult:
        """Compare a frame with the previous one."""
        frame = item.frame
        stream = self._stream = self._stream or MovingStream(engine)
        motion = item.motion
        if motion is None:
            motion = self._motion.tell(frame.stamp, frame.header.frame_id, since=None)
        epochs = (frame.epoch, self._motion.epoch)
        if self._forget or epochs != self._epochs:
            self._forget = False
            stream.reset()
        self._epochs = epochs
        pose = motion.T_world_cam
        result = stream.process(
            frame.rgb, item.depth, T_world_cam=pose, same_unit=item.depth.scale == "metric"
        )
        if pose is None and self._motion.config.source not in ("odometry", "visual"):
            return StaticResult(None, result.rule, frame.stamp, reason=NO_POSES)
        if pose is None or not np.isfinite(pose).all():
            reason = self._motion.reason or result.reason
            return StaticResult(None, result.rule, frame.stamp, reason=reason)
        return result

    def _send(self, item: FrameWithDepth, probability: np.ndarray) -> None:
        if item.inside is not None:
            probability = np.where(item.inside, probability, np.float32(np.nan))
        small = nearest(probability, output_size(probability.shape, item.width))
        publisher = self._publisher
        if publisher is not None:
            publisher.publish(image_message(small, "32FC1", item.frame.header))
            self._sent += 1
            self._rate.tick(time.monotonic())

    def _note(self, *, message: str = "", fault: str = "") -> None:
        self._last = (time.monotonic(), message, fault)

    def _on_bug(self, error: Exception) -> None:
        line = " ".join(f"a bug, please report it: {type(error).__name__}: {error}".split())
        self._note(fault=line)
