# SPDX-License-Identifier: Apache-2.0
"""Live depth from one camera.

    python -m ros_nodes.depth_node --ros-args -p model:=shading-colon -r image:=/camera/image_raw

The interface is documented at `DepthNode`; every parameter by `ros2 param describe`.
"""

import sys
from collections.abc import Sequence
from time import perf_counter
from typing import Any

import numpy as np
from rclpy.node import Node
from std_srvs.srv import Trigger

from depthkit.errors import DepthkitError
from depthkit.runtime.depth.depth_method import DepthMethod
from depthkit.runtime.field_of_view import open_view
from ros_nodes.depth_config import DepthNodeConfig
from ros_nodes.depth_live import LiveStream, open_method
from ros_nodes.depth_output import DepthOutput
from ros_nodes.depth_status import DepthFigures, Stages, model_status
from ros_nodes.depth_visual import TrackedFrame, VisualStage
from ros_nodes.inputs.camera_input import CameraFrame, CameraInput, Received
from ros_nodes.inputs.frames import Extrinsic
from ros_nodes.inputs.motion_source import MotionSource
from ros_nodes.life.model_keeper import ModelKeeper
from ros_nodes.life.monitor import Complaints, Monitor, Status, StopWatch
from ros_nodes.life.params import declare, follow
from ros_nodes.life.run import run_node
from ros_nodes.life.slot import LatestSlot, Worker
from ros_nodes.odometry_config import GEOMETRIC_QUEUE
from ros_nodes.static_scene import FrameWithDepth, StaticScene


class DepthNode:
    """Images in, depth out: `depth` is always in metres.

    A slot keeps the newest image. One worker thread decodes it, looks up the motion up to it,
    computes depth and publishes it with the image's own stamp and frame. With motion.source visual
    a thread before it tracks every image, and depth of a single-frame network is fitted to its
    points. A frame without depth publishes none; `baseline` and `/diagnostics` have the reason.
    Nothing is computed without subscribers.

    Subscribes (best effort, newest only):
        image            sensor_msgs/Image, or image/compressed sensor_msgs/CompressedImage
        camera_info      sensor_msgs/CameraInfo, of the image
        odometry         nav_msgs/Odometry, with motion.source odometry
        twist            geometry_msgs/TwistStamped or Twist, with motion.source twist, or visual
                         with scale.source twist
        scale_odometry   nav_msgs/Odometry, with motion.source visual, scale.source odometry
        imu              sensor_msgs/Imu, with motion.attitude imu
        /tf, /tf_static  tf2_msgs/TFMessage, body to camera, with extrinsic.source auto or tf,
                         where motion.source odometry or motion.attitude imu needs it
    Publishes (reliable, newest only), stamp and frame of the image:
        depth              sensor_msgs/Image 32FC1, metres along the optical axis, NaN unknown
                           (16UC1: millimetres, 0 unknown)
        depth_relative     sensor_msgs/Image 32FC1, up to one unknown factor, NaN unknown
        depth/camera_info  sensor_msgs/CameraInfo of either, at the size sent
        confidence         sensor_msgs/Image 32FC1, 0 to 1, 0 unknown; of sweep and pair networks
        depth_sigma        sensor_msgs/Image 32FC1, relative standard deviation of depth, NaN
                           unknown; of sweep, and of fitted single frames
        baseline           diagnostic_msgs/DiagnosticArray: which earlier frames, and why
        static_probability sensor_msgs/Image 32FC1, 0 moves to 1 static, NaN unknown; with
                           flow_model, after depth
        /diagnostics       diagnostic_msgs/DiagnosticArray, 1 Hz: input, model, output; motion, or
                           geometry and scale with motion.source visual
    Serves:
        ~/reset            std_srvs/Trigger: drop the past frames and the found field of view
    Parameters (unit, default; live: may be changed while it runs):
        model              sweep, a file or shipped name (sweepnet-stillbox, depthnet-stillbox,
                           shading-colon); model.onnx
        quality            fast | normal | fine, of sweep; normal
        similarity         census | zncc | network of kind features, of sweep; census
        backend, threads, precision   auto, 1, default
        wait_for_model     true
        encoding           32FC1 | 16UC1; live
        output_width       pixels, 0 = the camera's; live
        min_confidence     0 to 1, 0 = all; live
        max_depth_out      metres, 0 = all; live
        mask               "" | auto | PNG; live
        flow_model         file or shipped name; none
        baseline.*         pair networks, see BaselineConfig; live
        camera.*  motion.*  scale.*  extrinsic.*   see CameraConfig, MotionConfig, StepScaleConfig,
                           ExtrinsicConfig
    """

    def __init__(self, node: Node) -> None:
        """Declare parameters and open the model.

        Raises:
            ConfigError: a parameter is invalid.
            DataError: a mask or camera_info file is invalid.
            EngineError: the model is unusable, without `wait_for_model`.
        """
        self._node = node
        self._config = config = declare(node, DepthNodeConfig)
        self._view = open_view(config.mask)
        self._figures = DepthFigures()
        self.monitor = Monitor(node)
        self._complaints = Complaints(
            node, "depth", self._figures.note_refused, monitor=self.monitor
        )
        self._epoch, self._reset_requested = 0, False
        # /tf of a robot costs a Python node more than a small network does.
        motion = config.told_motion
        listen = motion.needs_place or (config.is_visual and config.scale.source == "odometry")
        self._extrinsic = Extrinsic(node, config.extrinsic, listen=listen)
        self._motion = MotionSource(node, motion, self._extrinsic)
        self._live = LiveStream(self._motion)
        self._visual = self._make_visual() if config.is_visual else None
        self._slot: LatestSlot[Any] = self._visual.tracked if self._visual else LatestSlot()
        self._worker = Worker(self._slot, self._handle, on_error=self._complaints.bug, name="depth")
        images: LatestSlot[Any] = self._visual.images if self._visual else self._slot
        queue = GEOMETRIC_QUEUE if self._visual else 1
        self._camera = CameraInput(node, config.camera, images.put, queue=queue)
        self._keeper = ModelKeeper(
            lambda: open_method(self._config, node.get_logger().info),
            wait=config.wait_for_model,
            say=lambda line: self.monitor.announce("model", Status("error", line)),
        )
        self._output = DepthOutput(node)
        self._static = StaticScene(node, config, self._motion, monitor=self.monitor)
        self._watch()
        self._reset_service = node.create_service(Trigger, "~/reset", self._on_reset)
        self._unfollow = follow(node, DepthNodeConfig, config, self._apply)

    # --- life -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Subscribe and work."""
        self._live.restart()
        self._worker.start()
        self._motion.start()
        if self._visual is not None:
            self._visual.start()
        self._camera.start()
        self._static.start()
        self._keeper.start()
        self.monitor.start()

    def stop(self) -> None:
        """Unsubscribe and stop; `start` begins again."""
        self.monitor.stop()
        self._camera.stop()
        self._motion.stop()
        if self._visual is not None:
            self._visual.stop()
        self._worker.stop()
        self._static.stop()
        self._keeper.stop()

    def close(self) -> None:
        """Free the network and leave the graph."""
        self._unfollow()
        self._node.destroy_service(self._reset_service)
        self._output.close()
        self._static.close()
        if self._visual is not None:
            self._visual.close()
        self._extrinsic.close()
        self._keeper.close()

    def _make_visual(self) -> VisualStage:
        """Set up the tracking of every image."""
        return VisualStage(
            self._node,
            self._config,
            self._extrinsic,
            read=lambda received: self._camera.read(received),
            wanted=self._wanted,
            refuse=self._complaints.refuse,
            idle=self._figures.note_idle,
            on_bug=self._complaints.bug,
        )

    def _watch(self) -> None:
        """Register the status of every part with the monitor."""
        watch, figures, slot = self.monitor.add, self._figures, self._slot
        watch("input", self._camera.status)
        tasks = self._visual.tasks() if self._visual else {"motion": self._motion.status}
        for task, provider in tasks.items():
            watch(task, provider)
        watch("model", self._model_status)
        watch("output", lambda now: figures.status(now, dropped=slot.dropped), begins=True)

    def _model_status(self, _: float) -> Status:
        return model_status(
            self._keeper.engine,
            fault=self._keeper.fault,
            motion=self._config.told_motion.source,
            metres=self._config.has_metres,
            min_confidence=self._config.min_confidence,
        )

    # --- callbacks on the executor's thread -------------------------------------------------------

    def _apply(self, config: DepthNodeConfig) -> None:
        """Apply live parameters; the worker reads them before its next frame."""
        if config.mask != self._config.mask:
            self._view = open_view(config.mask)
        self._config, self._motion.config = config, config.told_motion
        if self._visual is not None:
            self._visual.apply(config)

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._reset_requested = True
        if self._visual is not None:
            self._visual.reset()
        response.success, response.message = True, "the past is forgotten with the next frame"
        return response

    # --- the worker's thread ----------------------------------------------------------------------

    def _wanted(self) -> bool:
        """Whether anybody listens."""
        return self._output.wanted() or self._static.has_subscribers()

    def _handle(self, item: Received | TrackedFrame) -> None:
        """Compute depth from one message, or record the reason why there is none."""
        started, method = perf_counter(), self._keeper.engine
        if not self._wanted():
            self._figures.note_idle()
            return
        if method is None:
            self._complaints.refuse(self._keeper.fault)
            return
        try:
            self._process(method, item, started)
        except DepthkitError as error:
            self._complaints.refuse(str(error))

    def _process(self, method: DepthMethod, item: Received | TrackedFrame, started: float) -> None:
        """Compute depth and publish it.

        Raises:
            DataError: the frame lacks an input of the method, or does not fit the mask.
        """
        config, tracked = self._config, item if isinstance(item, TrackedFrame) else None
        frame = item.frame if isinstance(item, TrackedFrame) else self._camera.read(item)
        # 1. Whether it continues the frames before, and its field of view.
        watch, forget = StopWatch(started), self._forgets(frame)
        inside = self._inside(frame)
        # 2. Depth; may wait for the motion.
        if tracked is not None:
            live = self._live.depth_of_tracked(method, tracked, config.baseline)
        else:
            live = self._live.depth(method, frame, config.baseline, forget=forget)
        if live.begins:
            self._static.reset()
            self._figures.resets += 1
        # 3. Depth is published before the frame is used for anything else.
        result = live.result
        self._output.send(result, frame.header, camera=frame.camera, inside=inside, config=config)
        self._static.offer(FrameWithDepth(frame, result, live.motion, inside, config.output_width))
        if result.depth is None:
            told = live.motion is not None and tracked is None and self._motion.reason
            self._complaints.refuse(result.reason + (f"; motion: {told}" if told else ""))
            return
        now = self._node.get_clock().now().nanoseconds
        stages = Stages(
            age_ms=1e-6 * (now - frame.stamp_ns),
            total_ms=watch.total_ms(),
            engine_ms=live.engine_ms,
            wait_ms=live.wait_ms,
        )
        self._figures.note_sent(result, stages)

    def _forgets(self, frame: CameraFrame) -> bool:
        """Whether a frame begins anew: after a reset, or where time went back (a looping bag)."""
        forget = self._reset_requested or frame.epoch != self._epoch
        self._reset_requested, self._epoch = False, frame.epoch
        if forget and (view := self._view) is not None:
            view.reset()
        return forget

    def _inside(self, frame: CameraFrame) -> np.ndarray | None:
        """Return the pixels inside the field of view; None if all are. (H, W) bool"""
        view = self._view  # read once: a live parameter may change it
        masks = [] if view is None else [view.look(frame.rgb)]
        masks += [] if frame.covered is None else [frame.covered]
        return np.logical_and.reduce(masks) if masks else None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the node."""
    return run_node("depth_node", DepthNode, argv, schema=DepthNodeConfig)


if __name__ == "__main__":
    sys.exit(main())
