# SPDX-License-Identifier: Apache-2.0
"""Live depth from one camera.

    python -m ros_nodes.depth_node --ros-args -p model:=shading-colon -r image:=/camera/image_raw

The interface is documented at `DepthNode`; every parameter by `ros2 param describe`.
"""

import sys
from collections.abc import Sequence
from time import perf_counter

import numpy as np
from rclpy.node import Node
from std_srvs.srv import Trigger

from depthkit.errors import DataError, DepthkitError
from depthkit.runtime import DepthEngine, DepthStream
from depthkit.runtime.field_of_view import open_view
from depthkit.runtime.motion.told import NO_MOTION, Motion
from ros_nodes.depth_config import DepthNodeConfig
from ros_nodes.depth_output import DepthOutput
from ros_nodes.depth_status import DepthFigures, Stages, model_status
from ros_nodes.inputs.camera_input import CameraFrame, CameraInput, Received
from ros_nodes.inputs.frames import Extrinsic
from ros_nodes.inputs.motion_source import MotionSource
from ros_nodes.life.model_keeper import ModelKeeper
from ros_nodes.life.monitor import Complaints, Monitor, Status, StopWatch
from ros_nodes.life.params import declare, follow
from ros_nodes.life.run import run_node
from ros_nodes.life.slot import LatestSlot, Worker
from ros_nodes.static_scene import FrameWithDepth, StaticScene

NO_CAMERA = (
    "no camera_info yet, and this network needs the camera's intrinsics; publish it beside the "
    "image, or set camera.info_file"
)


class DepthNode:
    """Images in, depth out: `depth` is always in metres.

    A slot keeps the newest image. One worker thread decodes it, looks up the motion up to it, runs
    the network and publishes the result with the image's own stamp and frame. A frame without depth
    publishes none; `baseline` and `/diagnostics` have the reason. Nothing is computed without
    subscribers.

    Subscribes (best effort, newest only):
        image            sensor_msgs/Image, or image/compressed sensor_msgs/CompressedImage
        camera_info      sensor_msgs/CameraInfo, of the image
        odometry         nav_msgs/Odometry, with motion.source odometry
        twist            geometry_msgs/TwistStamped or Twist, with motion.source twist
        imu              sensor_msgs/Imu, with motion.attitude imu
        /tf, /tf_static  tf2_msgs/TFMessage, body to camera, with extrinsic.source auto or tf,
                         where motion.source odometry or motion.attitude imu needs it
    Publishes (reliable, newest only), stamp and frame of the image:
        depth              sensor_msgs/Image 32FC1, metres along the optical axis, NaN unknown
                           (16UC1: millimetres, 0 unknown)
        depth_relative     sensor_msgs/Image 32FC1, up to one unknown factor, NaN unknown
        depth/camera_info  sensor_msgs/CameraInfo of either, at the size sent
        confidence         sensor_msgs/Image 32FC1, 0 to 1, 0 unknown; of pair networks
        baseline           diagnostic_msgs/DiagnosticArray: which earlier frames, and why
        static_probability sensor_msgs/Image 32FC1, 0 moves to 1 static, NaN unknown; with
                           flow_model, after depth
        /diagnostics       diagnostic_msgs/DiagnosticArray, 1 Hz: input, motion, model, output
    Serves:
        ~/reset            std_srvs/Trigger: drop the past frames and the found field of view
    Parameters (unit, default; live: may be changed while it runs):
        model              file or shipped name (sweepnet-stillbox, depthnet-stillbox,
                           shading-colon); model.onnx
        backend, threads, precision   auto, 1, default
        wait_for_model     true
        encoding           32FC1 | 16UC1; live
        output_width       pixels, 0 = the camera's; live
        min_confidence     0 to 1, 0 = all; live
        max_depth_out      metres, 0 = all; live
        mask               "" | auto | PNG; live
        flow_model         file or shipped name; none
        baseline.*         pair networks, see BaselineConfig; live
        camera.*  motion.*  extrinsic.*   see CameraConfig, MotionConfig, ExtrinsicConfig
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
        self._stream: DepthStream | None = None
        self._since: float | None = None
        self._epochs = (0, 0)
        self._reset_requested = False
        self._slot = LatestSlot[Received]()
        self._worker = Worker(self._slot, self._handle, on_error=self._complaints.bug, name="depth")
        self._camera = CameraInput(node, config.camera, self._slot.put)
        self._keeper = ModelKeeper(
            self._open_engine,
            wait=config.wait_for_model,
            say=lambda line: self.monitor.announce("model", Status("error", line)),
        )
        # /tf of a robot costs a Python node more than a small network does.
        self._extrinsic = Extrinsic(node, config.extrinsic, listen=config.motion.needs_place)
        self._motion = MotionSource(node, config.motion, self._extrinsic)
        self._output = DepthOutput(node)
        self._static = StaticScene(node, config, self._motion, monitor=self.monitor)
        self._watch()
        self._reset_service = node.create_service(Trigger, "~/reset", self._on_reset)
        self._unfollow = follow(node, DepthNodeConfig, config, self._apply)

    # --- life -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Subscribe and work."""
        self._stream = self._since = None  # the motion in the meantime is unknown
        self._worker.start()
        self._motion.start()
        self._camera.start()
        self._static.start()
        self._keeper.start()
        self.monitor.start()

    def stop(self) -> None:
        """Unsubscribe and stop; `start` begins again."""
        self.monitor.stop()
        self._camera.stop()
        self._motion.stop()
        self._worker.stop()
        self._static.stop()
        self._keeper.stop()

    def close(self) -> None:
        """Free the network and leave the graph."""
        self._unfollow()
        self._node.destroy_service(self._reset_service)
        self._output.close()
        self._static.close()
        self._extrinsic.close()
        self._keeper.close()

    def _open_engine(self) -> DepthEngine:
        config = self._config
        engine = DepthEngine.open(
            config.model,
            backend=config.backend,
            threads=config.threads,
            precision=config.precision,
        )
        # The scale of a pair network is that of the motion: the output reports it.
        scale = f", {engine.manifest.scale} depth" if engine.kind == "mono" else ""
        words = f"{engine.kind} network{scale}, on {engine.backend.name}"
        self._node.get_logger().info(f"{config.model}: {words}")
        return engine

    def _watch(self) -> None:
        """Register the status of every part with the monitor."""
        watch, figures, slot = self.monitor.add, self._figures, self._slot
        watch("input", self._camera.status)
        watch("motion", self._motion.status)
        watch("model", self._model_status)
        watch("output", lambda now: figures.status(now, dropped=slot.dropped), begins=True)

    def _model_status(self, _: float) -> Status:
        return model_status(
            self._keeper.engine,
            fault=self._keeper.fault,
            motion=self._config.motion.source,
            min_confidence=self._config.min_confidence,
        )

    # --- callbacks on the executor's thread -------------------------------------------------------

    def _apply(self, config: DepthNodeConfig) -> None:
        """Apply live parameters; the worker reads them before its next frame."""
        if config.mask != self._config.mask:
            self._view = open_view(config.mask)
        self._config, self._motion.config = config, config.motion

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._reset_requested = True
        response.success, response.message = True, "the past is forgotten with the next frame"
        return response

    # --- the worker's thread ----------------------------------------------------------------------

    def _handle(self, received: Received) -> None:
        """Compute depth from one message, or record the reason why there is none."""
        started, engine = perf_counter(), self._keeper.engine
        if not (self._output.wanted() or self._static.has_subscribers()):
            self._figures.note_idle()
            return
        if engine is None:
            self._complaints.refuse(self._keeper.fault)
            return
        try:
            self._process(engine, self._camera.read(received), started)
        except DepthkitError as error:
            self._complaints.refuse(str(error))

    def _process(self, engine: DepthEngine, frame: CameraFrame, started: float) -> None:
        """Compute depth and publish it.

        Raises:
            DataError: the frame lacks an input of the network, or does not fit the mask.
        """
        config = self._config
        if frame.K is None and (engine.kind == "pair" or engine.manifest.scale == "metric"):
            raise DataError(NO_CAMERA)
        # 1. The stream that the frame continues, and the motion up to it; may wait for odometry.
        watch = StopWatch(started)
        stream, motion = self._follow(engine, frame, config)
        wait_ms = watch.lap_ms()
        # 2. The field of view of the frame, then its depth.
        inside = self._inside(frame)
        watch.lap_ms()
        result = stream.process(frame.rgb, stamp=frame.stamp, K=frame.K, motion=motion or NO_MOTION)
        engine_ms = watch.lap_ms()
        # 3. Depth is published before the frame is used for anything else.
        self._since = frame.stamp
        self._output.send(result, frame.header, camera=frame.camera, inside=inside, config=config)
        self._static.offer(FrameWithDepth(frame, result, motion, inside, config.output_width))
        if result.depth is None:
            why = f"; motion: {self._motion.reason}" if motion and self._motion.reason else ""
            self._complaints.refuse(result.reason + why)
            return
        now = self._node.get_clock().now().nanoseconds
        stages = Stages(
            age_ms=1e-6 * (now - frame.stamp_ns),
            total_ms=watch.total_ms(),
            engine_ms=engine_ms,
            wait_ms=wait_ms,
        )
        self._figures.note_sent(result, stages)

    def _follow(
        self, engine: DepthEngine, frame: CameraFrame, config: DepthNodeConfig
    ) -> tuple[DepthStream, Motion | None]:
        """Return the stream that a frame continues or begins, and its motion (None for mono)."""
        stream = self._stream
        if stream is None or stream.config != config.baseline:
            stream, self._since = DepthStream(engine, config.baseline), None
        reset = self._reset_requested
        if reset:
            self._reset_requested = False
        # A new epoch: time went back, as with a looping bag.
        forget = reset or frame.epoch != self._epochs[0]
        if forget and (view := self._view) is not None:
            view.reset()
        motion = None
        if engine.kind == "pair":
            since = None if forget else self._since
            motion = self._motion.tell(frame.stamp, frame.header.frame_id, since=since)
        if forget or self._motion.epoch != self._epochs[1]:
            stream.reset()
            self._static.reset()
            self._figures.resets += 1
        self._stream, self._epochs = stream, (frame.epoch, self._motion.epoch)
        return stream, motion

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
