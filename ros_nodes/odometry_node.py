# SPDX-License-Identifier: Apache-2.0
"""Live odometry from one camera.

    python -m ros_nodes.odometry_node --ros-args -p scale.source:=imu -r imu:=/mavros/imu/data

The interface is documented at `OdometryNode`; every parameter by `ros2 param describe`.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter, process_time

import numpy as np
from rclpy.node import Node
from std_srvs.srv import Trigger

from depthkit.errors import DepthkitError
from depthkit.rigid import make_pose
from depthkit.runtime.frame_gate import Intrinsics, steady_intrinsics
from depthkit.runtime.odometry.odometry_chain import OdometryChain
from ros_nodes.inputs.camera_input import CameraFrame, CameraInput, Received
from ros_nodes.inputs.frames import Extrinsic
from ros_nodes.life.monitor import Complaints, Monitor, Status
from ros_nodes.life.params import declare, follow
from ros_nodes.life.run import run_node
from ros_nodes.life.slot import LatestSlot, Worker
from ros_nodes.odometry_config import OdometryNodeConfig
from ros_nodes.odometry_geometric import GeometricMethod
from ros_nodes.odometry_method import Method, Step
from ros_nodes.odometry_network import NetworkMethod
from ros_nodes.odometry_output import OdometryOutput
from ros_nodes.odometry_status import OdometryFigures
from ros_nodes.odometry_tracker import OdometryTracker
from ros_nodes.odometry_world import Worlds, world_in_odom

BY_MODEL = "model is given, so its network is the method; for geometric odometry give no model"


class OdometryNode:
    """Images in, poses of the body out [REP 103, REP 105].

    Without a `model` the motion comes from geometry, which needs camera_info and no training.
    `odometry` is always in metres: nothing is published there until the scale is known. Motion
    without a unit goes to `odometry_relative`. When the motion is lost (a covered lens, a pause,
    another image size, a restarted bag, a silent source of scale), the last known pose is published
    with variances of 9999 and TF stops. The next motion continues from that pose, with a covariance
    enlarged by the possible motion in between, unless the place is found again. The pose never
    jumps.

    Subscribes (best effort):
        image            sensor_msgs/Image, or image/compressed sensor_msgs/CompressedImage
        camera_info      sensor_msgs/CameraInfo, of the image
        imu              sensor_msgs/Imu, with imu.use or scale.source imu
        twist            geometry_msgs/TwistStamped or Twist, with scale.source twist
        scale_odometry   nav_msgs/Odometry, with scale.source odometry
        /tf, /tf_static  tf2_msgs/TFMessage: base_frame to camera (extrinsic.source auto or tf) and
                         the IMU to camera
    Publishes (reliable):
        odometry           nav_msgs/Odometry: pose of base_frame in odom_frame, twist in base_frame
        odometry_relative  the same up to one unknown factor of all lengths (of geometry: one a
                           segment); in <odom_frame>_relative
        path               nav_msgs/Path, at most once a second
        points             sensor_msgs/PointCloud2: x, y, z, id, sigma of the landmarks in view, in
                           odom_frame; points_relative in <odom_frame>_relative
        /tf                odom_frame -> base_frame, with publish_tf, while it tracks; with loops
                           or places.map also map_frame -> odom_frame
        /diagnostics       diagnostic_msgs/DiagnosticArray, 1 Hz: input, geometry or model, scale,
                           imu, output
    Serves:
        ~/reset            std_srvs/Trigger: restart at the origin, with the scale unknown
    Parameters:
        OdometryNodeConfig; scale.* ScaleConfig, imu.* ImuConfig, noise.* Noise, camera.*
        CameraConfig, extrinsic.* ExtrinsicConfig; docs/ros/parameters.md
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
        self.monitor = Monitor(node)
        queue = config.waiting_frames
        self._slot = LatestSlot[Received](queue)
        self._camera = CameraInput(node, config.camera, self._slot.put, queue=queue)
        self._extrinsic = Extrinsic(node, config.extrinsic)
        self.method: Method = self._choose_method()
        self.figures = OdometryFigures(self.method.stage)
        self._complaints = Complaints(
            node,
            "odometry",
            lambda reason, _: self.figures.note_refused(reason),
            monitor=self.monitor,
        )
        self._worker = Worker(
            self._slot, self._handle, on_error=self._complaints.bug, name="odometry"
        )
        limits = {"max_speed": config.max_speed, "max_turn": config.max_turn}
        self._tracker = OdometryTracker(OdometryChain(config.noise, **limits))
        # Without a unit there is no limit of speed, and no assumed speed of a lost body.
        noise, limits["max_speed"] = replace(config.noise, lost_speed=0.0), np.inf
        self._relative = OdometryTracker(OdometryChain(noise, **limits))
        self._epoch, self._reset_requested = 0, False
        self._intrinsics: Intrinsics | None = None
        self._worlds = Worlds()
        self._output = OdometryOutput(
            node,
            odom_frame=config.odom_frame,
            base_frame=config.base_frame,
            map_frame=config.map_frame if config.has_map_frame else "",
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
        self.method.start()
        self._camera.start()
        self.monitor.start()

    def stop(self) -> None:
        """Unsubscribe and stop; `start` continues from the last pose."""
        self.monitor.stop()
        self._camera.stop()
        self.method.stop()
        self._worker.stop()

    def close(self) -> None:
        """Free the networks and leave the graph."""
        self._unfollow()
        self._node.destroy_service(self._reset_service)
        self._output.close()
        self._extrinsic.close()
        self.method.close()

    def _choose_method(self) -> Method:
        config = self._config
        if not config.uses_network:
            return GeometricMethod(self._node, config, self._extrinsic)
        if config.method != "network":
            self._node.get_logger().info(BY_MODEL)
        return NetworkMethod(self._node, config, self._extrinsic, monitor=self.monitor)

    def _watch(self) -> None:
        """Register the status of every part with the monitor."""
        self.monitor.add("input", self._camera.status)
        for task, provider in self.method.tasks().items():
            self.monitor.add(task, provider)
        self.monitor.add("output", self._output_status, begins=True)

    def _output_status(self, now: float) -> Status:
        return self.figures.status(
            now,
            self._tracker,
            relative=self._relative,
            dropped=self._slot.dropped,
            max_gap=self._config.longest_gap,
        )

    # --- callbacks on the executor's thread -------------------------------------------------------

    def _apply(self, config: OdometryNodeConfig) -> None:
        """Apply live parameters."""
        self._config = config
        self.method.apply(config)

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._reset_requested = True
        response.success, response.message = True, "odometry begins anew with the next frame"
        return response

    # --- the worker's thread ----------------------------------------------------------------------

    def _handle(self, received: Received) -> None:
        """Compute odometry from one message, or record the reason why there is none."""
        started = perf_counter(), process_time()
        if not self._output.wanted():
            self.figures.note_idle()
            return
        if self.method.fault:
            self._complaints.refuse(self.method.fault)
            return
        try:
            self._process(self._camera.read(received), started)
        except DepthkitError as error:
            self._complaints.refuse(str(error))

    def _process(self, frame: CameraFrame, started: tuple[float, float]) -> None:
        self._prepare(frame)
        base_frame, camera_frame = self._config.base_frame, frame.header.frame_id
        T_base_cam = self._extrinsic.T_base_cam(base_frame, camera_frame)
        if T_base_cam is None:
            self._complaints.refuse(self._extrinsic.missing(base_frame, camera_frame))
            return
        step = self.method.process(frame, T_base_cam)
        if step.result.left_out:
            self.figures.note_left_out()
            return
        self._send(frame, step, T_base_cam)
        now = self._node.get_clock().now().nanoseconds
        self.figures.note_frame(
            step.result,
            self._tracker.state,
            age_ms=1e-6 * (now - frame.stamp_ns),
            total_ms=1e3 * (perf_counter() - started[0]),
            cpu_ms=1e3 * (process_time() - started[1]),
        )

    def _prepare(self, frame: CameraFrame) -> None:
        """Reset what this frame does not continue: after a reset, a time jump or a new camera."""
        if self._reset_requested:
            self._reset_requested = False
            for part in (self.method, self._tracker, self._relative, self._worlds, self._output):
                part.reset()
        if frame.epoch != self._epoch:  # time went back: a looping bag
            self._epoch = frame.epoch
            self.method.restart(frame.stamp)
        now = None if frame.K is None else (frame.rgb.shape[:2], frame.K)
        if _is_calibrated_anew(self._intrinsics, now):
            self.method.change_camera()
        self._intrinsics = now

    def _send(self, frame: CameraFrame, step: Step, T_base_cam: np.ndarray) -> None:
        """Chain the motion of a frame and publish what is known."""
        # 1. In metres: lost while the factor is unknown.
        tracker, header = self._tracker, frame.header
        tracker.take(step, T_base_cam=T_base_cam, factor=step.factor)
        tracks = tracker.state == "tracking"
        if tracker.pose is not None:
            self._output.send(tracker.pose, header, tracking=tracks)
        if tracks:
            self._send_world(frame, step, T_base_cam)
        # 2. Relative: a lever arm in metres has no meaning there, only its rotation.
        if step.result.scale == "metric":
            return
        relative, turned = self._relative, make_pose(T_base_cam[:3, :3], np.zeros(3))
        relative.take(step, T_base_cam=turned, factor=1.0)
        if relative.pose is not None:
            self._output.send_relative(relative.pose, header)
        points = step.result.points
        if points is None or relative.state != "tracking":
            return
        if relative.pose is not None and self._output.wants_points(metric=False):
            T_odom_world = world_in_odom(relative.pose.T_odom_base, turned, step)
            self._output.send_points(points, T_odom_world, header, metric=False)

    def _send_world(self, frame: CameraFrame, step: Step, T_base_cam: np.ndarray) -> None:
        """Publish the map's transform and the landmarks of a frame in metres."""
        pose, points = self._tracker.pose, step.result.points
        if pose is None or step.result.scale != "metric":
            return
        T_odom_world = world_in_odom(pose.T_odom_base, T_base_cam, step)
        if self._config.has_map_frame:
            self._worlds.take(step, T_odom_world)
            self._output.send_map(self._worlds.T_map_odom, frame.header)
        if points is not None and self._output.wants_points(metric=True):
            self._output.send_points(points, T_odom_world, frame.header, metric=True)


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
