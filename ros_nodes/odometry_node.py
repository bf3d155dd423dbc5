# SPDX-License-Identifier: Apache-2.0
"""Live odometry from one camera.

    python -m ros_nodes.odometry_node --ros-args -p model:=pose.onnx -p scale.source:=twist

The interface is documented at `OdometryNode`; every parameter by `ros2 param describe`.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter

import numpy as np
from rclpy.node import Node
from std_srvs.srv import Trigger

from depthkit.errors import DepthkitError
from depthkit.rigid import make_pose
from depthkit.runtime import OdometryResult
from depthkit.runtime.frame_gate import Intrinsics, steady_intrinsics
from depthkit.runtime.odometry.odometry_chain import OdometryChain
from ros_nodes.inputs.camera_input import CameraFrame, CameraInput, Received
from ros_nodes.inputs.frames import Extrinsic
from ros_nodes.life.model_keeper import ModelKeeper
from ros_nodes.life.monitor import Complaints, Monitor, Status
from ros_nodes.life.params import declare, follow
from ros_nodes.life.run import run_node
from ros_nodes.life.slot import LatestSlot, Worker
from ros_nodes.odometry_config import OdometryNodeConfig
from ros_nodes.odometry_models import Models, open_models
from ros_nodes.odometry_output import OdometryOutput
from ros_nodes.odometry_scale import OdometryScale
from ros_nodes.odometry_status import OdometryFigures, model_status
from ros_nodes.odometry_tracker import OdometryTracker


class OdometryNode:
    """Images in, poses of the body out [REP 103, REP 105].

    `odometry` is always in metres: nothing is published there until the scale is known. Motion of a
    network without a unit goes to `odometry_relative`. When the motion is lost (a covered lens, a
    pause, another image size, a restarted bag, a silent source of scale), the last known pose is
    published with variances of 9999 and TF stops. The next motion continues from that pose, with a
    covariance enlarged by the possible motion in between. The pose never jumps.

    Subscribes (best effort, newest only):
        image            sensor_msgs/Image, or image/compressed sensor_msgs/CompressedImage
        camera_info      sensor_msgs/CameraInfo, of the image: for rectification and a known height
        twist            geometry_msgs/TwistStamped or Twist, with scale.source twist
        scale_odometry   nav_msgs/Odometry, with scale.source odometry
        /tf, /tf_static  tf2_msgs/TFMessage, base_frame to camera, with extrinsic.source auto or tf
    Publishes (reliable):
        odometry           nav_msgs/Odometry: pose of base_frame in odom_frame, twist in base_frame
        odometry_relative  the same up to one unknown factor of all lengths, of networks without a
                           unit; in <odom_frame>_relative
        path               nav_msgs/Path, at most once a second
        /tf                odom_frame -> base_frame, with publish_tf, while it tracks
        /diagnostics       diagnostic_msgs/DiagnosticArray, 1 Hz: input, model, scale, output
    Serves:
        ~/reset            std_srvs/Trigger: restart at the origin, with the scale unknown
    Parameters (unit, default; live: may be changed while it runs):
        model              file exported with `depthkit export RUN --part pose`; model.onnx
        backend, threads, precision   auto, 1, default
        wait_for_model     true
        stride             frames, 0 = as trained
        max_gap            seconds, 1
        odom_frame         odom
        base_frame         base_link
        publish_tf         true
        max_path           poses, 500
        max_speed          metres a second, 50
        max_turn           radians a second, 10
        noise.*            translation (m/m, 0.1), rotation (rad/rad, 0.05), drift (rad/m, 0.0005):
                           t_rel / 100 and r_rel of `depthkit evaluate odometry`; lost_speed (m/s,
                           1), lost_turn (rad/s, 0.5). Standard deviations grow with the path; see
                           depthkit.runtime.odometry.odometry_chain
        scale.*            see ScaleConfig; speed, hold, stale are live
        camera.*  extrinsic.*   see CameraConfig, ExtrinsicConfig
    """

    def __init__(self, node: Node) -> None:
        """Declare parameters and open the models.

        Raises:
            ConfigError: a parameter is invalid.
            DataError: the camera_info file is invalid.
            EngineError: a model is unusable, without `wait_for_model`.
        """
        self._node = node
        self._config = config = declare(node, OdometryNodeConfig)
        self.figures = OdometryFigures()
        self.monitor = Monitor(node)
        self._complaints = Complaints(
            node,
            "odometry",
            lambda reason, _: self.figures.note_refused(reason),
            monitor=self.monitor,
        )
        self._slot = LatestSlot[Received]()
        self._worker = Worker(
            self._slot, self._handle, on_error=self._complaints.bug, name="odometry"
        )
        self._camera = CameraInput(node, config.camera, self._slot.put)
        self._keeper = ModelKeeper(
            self._open,
            wait=config.wait_for_model,
            say=lambda line: self.monitor.announce("model", Status("error", line)),
        )
        limits = {"max_speed": config.max_speed, "max_turn": config.max_turn}
        self._tracker = OdometryTracker(OdometryChain(config.noise, **limits))
        # Without a unit there is no limit of speed, and no assumed speed of a lost body.
        noise, limits["max_speed"] = replace(config.noise, lost_speed=0.0), np.inf
        self._relative = OdometryTracker(OdometryChain(noise, **limits))
        self._epoch, self._reset_requested = 0, False
        self._intrinsics: Intrinsics | None = None
        self._extrinsic = Extrinsic(node, config.extrinsic)
        self._scale = OdometryScale(node, config.scale, self._extrinsic)
        self._output = OdometryOutput(
            node,
            odom_frame=config.odom_frame,
            base_frame=config.base_frame,
            publish_tf=config.publish_tf,
            max_path=config.max_path,
        )
        self._watch()
        self._reset_service = node.create_service(Trigger, "~/reset", self._on_reset)
        self._unfollow = follow(node, OdometryNodeConfig, config, self._apply)

    # --- life -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Subscribe and work."""
        self._worker.start()
        self._scale.start()
        self._camera.start()
        self._keeper.start()
        self.monitor.start()

    def stop(self) -> None:
        """Unsubscribe and stop; `start` continues from the last pose."""
        self.monitor.stop()
        self._camera.stop()
        self._scale.stop()
        self._worker.stop()
        self._keeper.stop()

    def close(self) -> None:
        """Free the networks and leave the graph."""
        self._unfollow()
        self._node.destroy_service(self._reset_service)
        self._output.close()
        self._extrinsic.close()
        self._keeper.close()

    def _open(self) -> Models:
        config = self._config
        return open_models(config, config.scale, max_gap=config.max_gap, stride=config.stride)

    def _watch(self) -> None:
        """Register the status of every part with the monitor."""
        self.monitor.add("input", self._camera.status)
        self.monitor.add("model", self._model_status)
        self.monitor.add("scale", self._scale.status)
        self.monitor.add("output", self._output_status, begins=True)

    def _model_status(self, _: float) -> Status:
        return model_status(self._keeper.engine, self._keeper.fault, self._intrinsics)

    def _output_status(self, now: float) -> Status:
        return self.figures.status(
            now,
            self._tracker,
            relative=self._relative,
            dropped=self._slot.dropped,
            max_gap=self._config.max_gap,
        )

    # --- callbacks on the executor's thread -------------------------------------------------------

    def _apply(self, config: OdometryNodeConfig) -> None:
        """Apply live parameters."""
        self._config = config
        self._scale.apply(config.scale)

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._reset_requested = True
        response.success, response.message = True, "odometry begins anew with the next frame"
        return response

    # --- the worker's thread ----------------------------------------------------------------------

    def _handle(self, received: Received) -> None:
        """Compute odometry from one message, or record the reason why there is none."""
        started, models = perf_counter(), self._keeper.engine
        if not self._output.wanted():
            self.figures.note_idle()
            return
        if models is None:
            self._complaints.refuse(self._keeper.fault)
            return
        try:
            self._process(models, self._camera.read(received), started)
        except DepthkitError as error:
            self._complaints.refuse(str(error))

    def _process(self, models: Models, frame: CameraFrame, started: float) -> None:
        self._prepare(models, frame)
        base_frame, camera_frame = self._config.base_frame, frame.header.frame_id
        T_base_cam = self._extrinsic.T_base_cam(base_frame, camera_frame)
        if T_base_cam is None:
            self._complaints.refuse(self._extrinsic.missing(base_frame, camera_frame))
            return
        result = models.odometry.process(frame.rgb, stamp=frame.stamp)
        if result.left_out:
            self.figures.note_left_out()
            return
        self._track(models, frame, result, T_base_cam)
        self._send(frame, result, started)

    def _prepare(self, models: Models, frame: CameraFrame) -> None:
        """Reset what this frame does not continue: after a reset, a time jump or a new camera."""
        if self._reset_requested:
            self._reset_requested = False
            models.odometry.reset()
            for part in (self._tracker, self._relative, self._scale, self._output):
                part.reset()
        if frame.epoch != self._epoch:  # time went back: a looping bag
            self._epoch = frame.epoch
            self._scale.restart()
        now = None if frame.K is None else (frame.rgb.shape[:2], frame.K)
        if _is_calibrated_anew(self._intrinsics, now):
            models.odometry.reset()  # rectified differently: no pairs with earlier frames
        self._intrinsics = now

    def _track(
        self, models: Models, frame: CameraFrame, result: OdometryResult, T_base_cam: np.ndarray
    ) -> None:
        # 1. Metres per unit; measured only where the engine has a motion.
        factor = None
        if result.T_previous_current is not None:
            factor = self._scale.factor(models, frame, result, T_base_cam)
        # 2. The chain in metres: lost while the factor is unknown.
        self._tracker.take(
            result,
            T_base_cam=T_base_cam,
            factor=factor,
            reason=self._scale.reason,
            spread=self._scale.spread,
        )
        # 3. The relative chain: a lever arm in metres has no meaning there, only its rotation.
        turned = make_pose(T_base_cam[:3, :3], np.zeros(3))
        self._relative.take(result, T_base_cam=turned, factor=1.0)

    def _send(self, frame: CameraFrame, result: OdometryResult, started: float) -> None:
        tracker, relative = self._tracker, self._relative
        if tracker.pose is not None:
            self._output.send(tracker.pose, frame.header, tracking=tracker.state == "tracking")
        if result.scale == "relative" and relative.pose is not None:
            self._output.send_relative(relative.pose, frame.header)
        now = self._node.get_clock().now().nanoseconds
        self.figures.note_frame(
            result,
            tracker.state,
            age_ms=1e-6 * (now - frame.stamp_ns),
            total_ms=1e3 * (perf_counter() - started),
        )


def _is_calibrated_anew(before: Intrinsics | None, now: Intrinsics | None) -> bool:
    """Whether a calibration appeared, vanished or changed; the engine checks the size itself."""
    if before is None or now is None:
        return before is not now
    return before[0] == now[0] and steady_intrinsics(before, now) is not before


def main(argv: Sequence[str] | None = None) -> int:
    """Run the node."""
    return run_node("odometry_node", OdometryNode, argv, schema=OdometryNodeConfig)


if __name__ == "__main__":
    sys.exit(main())
