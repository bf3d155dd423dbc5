# SPDX-License-Identifier: Apache-2.0
"""A map of surfaces and a grid for navigation from depth in metres and odometry.

    python -m ros_nodes.map_node --ros-args -p band.low:=0.1 -p band.high:=1.8

The interface is documented at `MapNode`; every parameter by `ros2 param describe`.
"""

import sys
import time
from collections.abc import Sequence
from time import perf_counter

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from depthkit.errors import DataError, DepthkitError
from depthkit.mapping.marks import near_obstacles
from ros_nodes.inputs.depth_input import DepthFrame, DepthInput
from ros_nodes.inputs.frames import Extrinsic, ExtrinsicConfig
from ros_nodes.inputs.motion_source import MotionSource
from ros_nodes.life.monitor import Complaints, Monitor, Status
from ros_nodes.life.params import declare, follow
from ros_nodes.life.run import run_node
from ros_nodes.life.slot import LatestSlot, Worker
from ros_nodes.map_config import MapNodeConfig
from ros_nodes.map_output import MapOutput
from ros_nodes.map_status import MapFigures
from ros_nodes.map_world import MapWorld, load_kernels, sigma_of_confidence


class MapNode:
    """Depth and odometry in, a map out; all in metres.

    Mode map: confident depth is fused into a surface, and rays free and mark the cells of a height
    band; what is seen through is cleared. Mode near_obstacles: each frame's near surfaces within
    the band as points, for a costmap layer that marks and does not clear: the worst case is a
    spurious mark. The height band needs an odometry whose z axis is up. A frame without a pose is
    left out; `/diagnostics` has the reason. When time or the odometry begin anew, so does the map.

    Subscribes (best effort, newest only):
        depth              sensor_msgs/Image, 32FC1 metres with NaN unknown, or 16UC1 millimetres
        depth/camera_info  sensor_msgs/CameraInfo, of the depth image
        confidence         sensor_msgs/Image 32FC1, with min_confidence above 0
        odometry           nav_msgs/Odometry, metres; its frame is that of the map
        /tf, /tf_static    tf2_msgs/TFMessage: body to camera (extrinsic.source auto or tf), and
                           map_frame to the odometry's frame, with map_frame
    Publishes (reliable):
        surface            sensor_msgs/PointCloud2: x, y, z of the surface; the last one is kept for
                           late subscribers (transient local)
        grid               nav_msgs/OccupancyGrid: -1 unknown, 0 free, 100 occupied in the height
                           band; transient local
        obstacles          sensor_msgs/PointCloud2: near obstacles of one frame, with its stamp;
                           mode near_obstacles only, instead of the others
        /diagnostics       diagnostic_msgs/DiagnosticArray, 1 Hz: input, motion, output
    Serves:
        ~/reset            std_srvs/Trigger: begin a new map
    Parameters:
        MapNodeConfig; band.* BandConfig, pose.* PoseConfig, extrinsic.* ExtrinsicConfig;
        docs/ros/parameters.md
    """

    def __init__(self, node: Node) -> None:
        """Declare parameters.

        Raises:
            ConfigError: a parameter is invalid.
        """
        self._node = node
        self._config = config = declare(node, MapNodeConfig)
        self.monitor = Monitor(node)
        self.figures = MapFigures()
        self._complaints = Complaints(
            node, "map", lambda reason, _: self.figures.note_refused(reason), monitor=self.monitor
        )
        load_kernels()
        self.world = MapWorld(config)
        self._slot = LatestSlot[Image]()
        self._worker = Worker(self._slot, self._handle, on_error=self._complaints.bug, name="map")
        self._input = DepthInput(node, self._slot.put, with_confidence=config.min_confidence > 0)
        self._extrinsic = Extrinsic(node, config.extrinsic)
        self._motion = MotionSource(
            node, config.pose.motion, self._extrinsic, wait_name="pose.wait"
        )
        # The same tree of frames answers for map_frame; it is read whatever extrinsic.source is.
        self._tree = Extrinsic(node, ExtrinsicConfig(source="tf"), listen=bool(config.map_frame))
        self._epochs, self._reset_requested = (0, 0), False
        self._used, self._sent = -np.inf, -np.inf
        self._output = MapOutput(node, config.mode)
        self.monitor.add("input", self._input.status)
        self.monitor.add("motion", self._motion.status)
        self.monitor.add("output", self._output_status, begins=True)
        self._reset_service = node.create_service(Trigger, "~/reset", self._on_reset)
        self._unfollow = follow(node, MapNodeConfig, config, self._apply)

    # --- life -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Subscribe and work."""
        self._worker.start()
        self._motion.start()
        self._input.start()
        self.monitor.start()

    def stop(self) -> None:
        """Unsubscribe and stop; `start` goes on with the map."""
        self.monitor.stop()
        self._input.stop()
        self._motion.stop()
        self._worker.stop()

    def close(self) -> None:
        """Leave the graph."""
        self._unfollow()
        self._node.destroy_service(self._reset_service)
        self._output.close()
        self._extrinsic.close()
        self._tree.close()

    # --- callbacks on the executor's thread -------------------------------------------------------

    def _apply(self, config: MapNodeConfig) -> None:
        """Apply live parameters; the worker reads them before its next frame."""
        self._config, self._motion.config = config, config.pose.motion

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._reset_requested = True
        response.success, response.message = True, "a new map begins with the next frame"
        return response

    def _output_status(self, now: float) -> Status:
        return self.figures.status(
            now, self.world, sent=self._output.sent, dropped=self._slot.dropped
        )

    # --- the worker's thread ----------------------------------------------------------------------

    def _handle(self, message: Image) -> None:
        """Use one depth image, or record the reason why it is left out."""
        config, started = self._config, perf_counter()
        if time.monotonic() - self._used < 0.9 / config.max_rate:
            self.figures.left_out += 1
            return
        if config.mode == "near_obstacles" and not self._output.has_subscribers("obstacles"):
            self.figures.note_idle()
            return
        try:
            self._use(self._input.read(message), config)
        except DepthkitError as error:
            self._complaints.refuse(str(error))
            return
        self._used = time.monotonic()
        self.figures.note_used(1e3 * (perf_counter() - started))

    def _use(self, frame: DepthFrame, config: MapNodeConfig) -> None:
        """Put a frame into the map, or send its marks.

        Raises:
            DataError: the pose of the frame is unknown.
        """
        # 1. The pose, and a new map where time or the odometry began anew.
        motion = self._motion.tell(frame.stamp, frame.header.frame_id, since=None)
        self._begin_anew_if_needed(frame, config)
        if motion.T_world_cam is None:
            raise DataError(self._motion.reason or "the pose of the frame is unknown")
        # 2. Confident pixels alone.
        depth, sigma = confident(frame, config)
        if config.mode == "near_obstacles":
            self._send_marks(frame, depth, motion.T_world_cam, config)
            return
        # 3. The map.
        self.world.add(
            depth,
            sigma=sigma,
            K=frame.K,
            T_odom_cam=motion.T_world_cam,
            T_map_odom=self._correction(config),
        )
        self._send_map(frame.header, config)

    def _begin_anew_if_needed(self, frame: DepthFrame, config: MapNodeConfig) -> None:
        epochs = (frame.epoch, self._motion.epoch)
        if self._reset_requested or epochs != self._epochs:
            self._reset_requested = False
            self.figures.resets += 1
            self.world = MapWorld(config)
        self._epochs = epochs

    def _odometry_frame(self) -> str:
        return self._motion.frame or "odom"

    def _correction(self, config: MapNodeConfig) -> np.ndarray:
        """Return T_map_odom; the identity without a map frame. (4, 4)

        Raises:
            DataError: there is no transform yet.
        """
        if not config.map_frame:
            return np.eye(4)
        missing = self._tree.missing(config.map_frame, self._odometry_frame())
        found = self._tree.T_base_cam(config.map_frame, self._odometry_frame())
        if found is None:
            raise DataError(missing.replace("extrinsic.xyz and extrinsic.rpy", "map_frame to ''"))
        return found

    def _send_marks(
        self, frame: DepthFrame, depth: np.ndarray, T: np.ndarray, config: MapNodeConfig
    ) -> None:
        points = near_obstacles(
            depth,
            K=frame.K,
            T_world_cam=T,
            band=(config.band.low, config.band.high),
            max_depth=config.max_depth,
            cell=config.voxel,
        )
        header = Header(stamp=frame.header.stamp, frame_id=self._odometry_frame())
        self._output.send_points("obstacles", points, header)

    def _send_map(self, stamped: Header, config: MapNodeConfig) -> None:
        """Send surface and grid when they are due and wanted."""
        now = time.monotonic()
        if now - self._sent < config.period:
            return
        self._sent = now
        frame_id = config.map_frame or self._odometry_frame()
        header = Header(stamp=stamped.stamp, frame_id=frame_id)
        if self._output.has_subscribers("surface"):
            points = self.world.surface.surface_points(least_weight=config.least_weight)
            self._output.send_points("surface", points.positions, header)
        if self._output.has_subscribers("grid"):
            self._output.send_grid(self.world.grid.fused(), header)


def confident(frame: DepthFrame, config: MapNodeConfig) -> tuple[np.ndarray, np.ndarray]:
    """Return depth, NaN where it is not confident, and its relative standard deviation. (H, W)"""
    if frame.confidence is None:
        return frame.depth, np.full(frame.depth.shape, config.sigma, np.float32)
    sure = frame.confidence >= config.min_confidence
    depth = np.where(sure, frame.depth, np.float32(np.nan))
    return depth, sigma_of_confidence(frame.confidence)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the node."""
    return run_node("map_node", MapNode, argv, schema=MapNodeConfig)


if __name__ == "__main__":
    sys.exit(main())
