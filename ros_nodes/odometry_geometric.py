# SPDX-License-Identifier: Apache-2.0
"""The geometric odometry of the odometry node, with its sources of metres and its IMU."""

import time
from dataclasses import replace

import cv2
import numpy as np
from rclpy.node import Node

from depthkit.errors import DataError
from depthkit.runtime.motion.told import NO_MOTION, Motion
from depthkit.runtime.odometry.geometric import NOW_METRIC, GeometricConfig, GeometricOdometry
from depthkit.runtime.odometry.saved_map_files import save_map
from depthkit.runtime.result import ScaleState
from depthkit.runtime.streams import NO_IMU
from depthkit.trajectory.imu import Imu
from ros_nodes.inputs.camera_input import CameraFrame
from ros_nodes.inputs.frames import Extrinsic
from ros_nodes.inputs.imu_input import ImuInput
from ros_nodes.inputs.motion_source import MotionSource
from ros_nodes.life.monitor import Provider, Status
from ros_nodes.odometry_config import MOVING, OdometryNodeConfig
from ros_nodes.odometry_geometry_status import NO_SOURCE, GeometryFigures, scale_status
from ros_nodes.odometry_method import Step

GRACE = 2.0  # seconds that the first frames wait for the place of the IMU, which TF may tell late
TURNED = 0.02  # rad by which a rigid IMU may turn against the camera
NOTHING = "no source of scale"
NO_CAMERA = (
    "no camera_info yet: geometric odometry needs the camera's intrinsics; remap camera_info or "
    "set camera.info_file"
)


class GeometricMethod:
    """Motion by tracked points, see `Method`.

    Subscribes, as configured: `imu` (sensor_msgs/Imu), `twist` (geometry_msgs/TwistStamped or
    Twist), `scale_odometry` (nav_msgs/Odometry).
    """

    stage = "tracking"
    fault = ""

    def __init__(
        self,
        node: Node,
        config: OdometryNodeConfig,
        extrinsic: Extrinsic,
        *,
        no_source: str = NO_SOURCE,
    ) -> None:
        """Set up; the odometry itself begins with the first frame.

        Args:
            node: node that the topics are relative to.
            config: settings of the node.
            extrinsic: source of T_base_cam.
            no_source: what the status says without any source of metres.

        Raises:
            DataError: the IMU's calibration file is invalid.
        """
        self._node, self._config, self._no_source = node, config, no_source
        cv2.setNumThreads(config.threads)  # more than it has cores to itself slows OpenCV down
        self._motion = MotionSource(
            node,
            config.scale.motion,
            extrinsic,
            odometry_topic="scale_odometry",
            wait_name="scale.wait",
        )
        self._imu = None
        if config.uses_imu:
            self._imu = ImuInput(node, config.imu, base_frame=config.base_frame)
        self._engine: GeometricOdometry | None = None
        self._covered: np.ndarray | None = None
        self._imu_frames = ("", "")
        self._restarts, self._last_stamp = 0, -np.inf
        self._worlds: dict[int, int] = {}
        """First segment of the map of each segment that became metric."""
        self._segment = 0
        self._waits_since: float | None = None
        self._turned = ""
        self._figures = GeometryFigures()

    def start(self) -> None:
        """Subscribe."""
        self._motion.start()
        if self._imu is not None:
            self._imu.start()

    def stop(self) -> None:
        """Unsubscribe; `start` begins again."""
        self._motion.stop()
        if self._imu is not None:
            self._imu.stop()

    def close(self) -> None:
        """Leave the graph; the map is written."""
        self._write_map()
        if self._imu is not None:
            self._imu.close()

    def apply(self, config: OdometryNodeConfig) -> None:
        """Take live parameters."""
        self._config, self._motion.config = config, config.scale.motion
        if self._imu is not None:
            self._imu.config = config.imu

    def reset(self) -> None:
        """Forget all frames and the scale; the map is written, and read again."""
        self._write_map()
        self._engine = None
        self._figures = GeometryFigures()

    def restart(self, stamp: float) -> None:
        """Begin anew after time went back to a stamp, seconds; the map is written before."""
        self._write_map()
        self._engine = None
        if self._imu is not None:
            self._imu.restart(stamp)

    def change_camera(self) -> None:
        """Do nothing: the odometry compares the intrinsics itself."""

    @property
    def engine(self) -> GeometricOdometry | None:
        """The odometry at work; another one after each restart."""
        return self._engine

    # --- frames -----------------------------------------------------------------------------------

    def process(self, frame: CameraFrame, T_base_cam: np.ndarray) -> Step:
        """Take the next frame.

        Raises:
            DataError: the camera is unknown, or the place of the IMU just at the start.
        """
        if frame.K is None:
            raise DataError(NO_CAMERA)
        engine = self._ready(frame, T_base_cam)
        result = engine.process(
            frame.rgb,
            stamp=frame.stamp,
            K=frame.K,
            imu=self._samples(engine, frame, T_base_cam),
            motion=self._told(frame),
        )
        self._last_stamp = frame.stamp
        self._figures.take(engine, result)
        if result.reason == NOW_METRIC:  # a new number, but the same map and world
            self._worlds[result.segment] = self._world_of(self._segment)
        self._segment = result.segment
        state, closer = result.scale_state, engine.loops
        metric = result.scale == "metric"
        return Step(
            result=result,
            factor=1.0 if metric else None,
            reason="" if metric else f"scale {state.state}: {self._why(state)}",
            spread=state.sigma or 0.0,
            world=(self._restarts, self._world_of(result.segment)),
            map_world=None if closer is None else (self._restarts, self._world_of(closer.map)),
            map_root=None if engine.map_pose is None else T_base_cam,
        )

    def _world_of(self, segment: int) -> int:
        """Return the first segment of the map that a segment belongs to."""
        return self._worlds.get(segment, segment)

    def _ready(self, frame: CameraFrame, T_base_cam: np.ndarray) -> GeometricOdometry:
        """Return the odometry; a new one at the start, for another lens or another IMU."""
        imu, changed = self._calibrated_imu(frame, T_base_cam)
        same = self._covered is frame.covered or (
            self._covered is not None
            and frame.covered is not None
            and np.array_equal(self._covered, frame.covered)
        )
        self._covered = frame.covered
        if self._engine is not None and same and not changed:
            return self._engine
        scale = self._config.scale
        config = GeometricConfig(
            camera_height=scale.camera_height,
            step_source=scale.source if scale.source in MOVING else "speed",
            step_sigma=scale.sigma,
            loops=self._config.loops,
            max_gap=self._config.longest_gap,
            keep_path=False,
        )
        self._write_map()
        finder = self._config.places.open(threads=self._config.threads)
        self._engine = GeometricOdometry(config, imu=imu, valid=frame.covered, finder=finder)
        self._restarts, self._last_stamp = self._restarts + 1, -np.inf
        self._worlds, self._segment = {}, 0
        return self._engine

    def _write_map(self) -> None:
        """Write the map with what the odometry at work has seen; a failure is said, once."""
        places, engine = self._config.places, self._engine
        if engine is None or not places.has_map or places.map_read_only:
            return
        saved = engine.saved_map()
        if saved is None:
            return
        try:
            save_map(places.map, saved)
        except DataError as error:
            self._node.get_logger().error(str(error))
            return
        self._node.get_logger().info(
            f"map {places.map}: {len(saved.views)} keyframes of {saved.sessions} sessions, "
            f"{saved.unit}"
        )

    def _why(self, state: ScaleState) -> str:
        """Return why lengths are not metres, with the fault of the topic that should say so."""
        nothing = state.state == "unknown" and state.reason in ("", NOTHING)
        if nothing and self._measures:
            return self._motion.reason or "no measurement yet"
        return state.reason

    @property
    def _measures(self) -> bool:
        """Whether any source of metres is configured."""
        scale = self._config.scale
        return self._config.uses_imu or scale.camera_height > 0 or scale.source in MOVING

    def _told(self, frame: CameraFrame) -> Motion:
        """Return the length of the step since the previous frame, where a source knows it."""
        if not np.isfinite(self._last_stamp) or self._motion.config.source == "none":
            return NO_MOTION
        camera = frame.header.frame_id
        length = self._motion.displacement(frame.stamp, camera, since=self._last_stamp)
        return Motion(displacement=length)

    # --- the IMU ----------------------------------------------------------------------------------

    def _calibrated_imu(
        self, frame: CameraFrame, T_base_cam: np.ndarray
    ) -> tuple[Imu | None, bool]:
        """Return the IMU without rows, None while unused; and whether the odometry lacks it.

        Raises:
            DataError: its place is unknown, and the node has just begun.
        """
        if self._imu is None:
            return None, False
        frames = frame.header.frame_id, self._imu.frame
        T_cam_imu = self._imu.T_cam_imu(frames[0], T_base_cam)
        if T_cam_imu is None:
            self._wait_for_place()
            return None, False
        aid = None if self._engine is None else self._engine.aid
        known = aid is not None and (
            frames == self._imu_frames or np.allclose(aid.T_cam_imu, T_cam_imu)
        )
        self._imu_frames = frames
        return Imu(np.zeros((0, 7)), T_cam_imu, self._imu.noise), not known

    def _wait_for_place(self) -> None:
        """Refuse frames for a short time at the start."""
        now = time.monotonic()
        self._waits_since = self._waits_since or now
        if self._engine is None and now - self._waits_since < GRACE and self._imu is not None:
            raise DataError(f"waits for the IMU at most {GRACE:g} s: {self._imu.missing}")

    def _samples(
        self, engine: GeometricOdometry, frame: CameraFrame, T_base_cam: np.ndarray
    ) -> np.ndarray:
        """Take the samples up to the frame; none of an IMU that is not where it was. (N, 7)"""
        if self._imu is None or engine.aid is None:
            return NO_IMU
        rows = self._imu.take(frame.stamp)
        T = self._imu.T_cam_imu(frame.header.frame_id, T_base_cam)
        if T is None:
            return NO_IMU
        R = engine.aid.T_cam_imu[:3, :3].T @ T[:3, :3]
        angle = float(np.arccos(np.clip((np.trace(R) - 1) / 2, -1, 1)))
        self._turned = ""
        if angle < TURNED:
            return rows
        self._turned = (
            f"the IMU has turned by {np.degrees(angle):.0f} degrees against the camera: it must "
            "sit on the camera, not beyond a gimbal; its samples are not used"
        )
        return NO_IMU

    # --- diagnostics ------------------------------------------------------------------------------

    def tasks(self) -> dict[str, Provider]:
        """Return the status providers by task."""
        tasks: dict[str, Provider] = {"geometry": self._figures_status, "scale": self._scale_status}
        return {**tasks, "imu": self._imu_status} if self._imu is not None else tasks

    def _figures_status(self, _: float) -> Status:
        return self._figures.status()

    def _scale_status(self, now: float) -> Status:
        motion = None if self._motion.config.source == "none" else self._motion.status(now)
        scale, source = self._figures.scale, self._config.scale.source
        return scale_status(
            replace(scale, reason=self._why(scale)),
            source=source,
            given=self._measures,
            motion=motion,
            no_source=self._no_source,
        )

    def _imu_status(self, now: float) -> Status:
        if self._imu is None:
            return Status("ok", "not used")
        fault = self._turned or self._figures.imu_fault
        return self._imu.status(now, fault=fault, notes=self._figures.imu_notes)
