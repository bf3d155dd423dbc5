# SPDX-License-Identifier: Apache-2.0
"""Settings of the odometry node; its ROS parameters are declared from these dataclasses."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from depthkit.config.ranges import check_ranges, option
from depthkit.errors import ConfigError
from depthkit.runtime.config import EngineConfig
from depthkit.runtime.odometry.finder import Finder, open_finder
from depthkit.runtime.odometry.geometric import GeometricConfig
from depthkit.runtime.odometry.odometry_chain import Noise
from ros_nodes.inputs.camera_input import CameraConfig
from ros_nodes.inputs.frames import ExtrinsicConfig
from ros_nodes.inputs.imu_input import ImuConfig
from ros_nodes.inputs.motion_source import MotionConfig

NETWORK_GAP, GEOMETRIC_GAP = 1.0, GeometricConfig.max_gap
"""Longest pause between two frames by method, seconds."""
GEOMETRIC_QUEUE = 4
"""Frames that wait: a keyframe takes the time of five other frames."""


ScaleSource = Literal["auto", "model", "speed", "twist", "odometry", "height", "imu"]
MOVING = ("speed", "twist", "odometry")
"""Sources of scale that know the length of a step."""


@dataclass(frozen=True)
class StepScaleConfig:
    """Source of the metric scale of geometric odometry: how long a step is."""

    source: Literal["auto", "speed", "twist", "odometry"] = "auto"
    """Source of the scale. Auto: scale.camera_height where it is given, else none. Speed: the
    constant scale.speed. Twist: topic twist. Odometry: topic scale_odometry (wheels, GPS-INS)."""
    speed: float = option(0.0, least=0, live=True)
    """Constant speed for source speed, m/s."""
    camera_height: float = option(0.0, least=0)
    """Camera height above level ground, metres; 0: unknown. Geometric odometry measures by it also
    beside another source."""
    sigma: float = option(0.02, above=0)
    """Relative standard deviation of a step's length by speed, twist or odometry; geometric
    odometry only, as `wait`."""
    wait: float = option(0.05, least=0, most=5, live=True)
    """Longest wait of a frame for the sample of twist or odometry that brackets it, seconds; set it
    above the period of the topic."""
    max_gap: float = option(0.5, above=0)
    """Longest pause between two samples that is interpolated, seconds."""
    stale: float = option(1.0, above=0, live=True)
    """Longest silence of a topic before it is an error, seconds."""

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.source == "speed" and self.speed == 0:
            raise ConfigError("speed: above 0 for source speed, got 0.0")

    @property
    def motion(self) -> MotionConfig:
        """Settings of the source of motion."""
        return MotionConfig(
            source=self.source if self.source in MOVING else "none",
            speed=self.speed,
            wait=self.wait,
            max_gap=self.max_gap,
            stale=self.stale,
        )


@dataclass(frozen=True)
class ScaleConfig(StepScaleConfig):
    """Source of the metric scale of the odometry."""

    source: ScaleSource = "auto"  # type: ignore[assignment]
    """Source of the scale. Auto: of a network its training, of geometry scale.camera_height and an
    IMU in use, else none. Model: a network trained in metres. Speed: the constant scale.speed.
    Twist: topic twist. Odometry: topic scale_odometry (wheels, GPS-INS). Height: the constant
    scale.camera_height over level ground. Imu: topic imu, by gyroscope and accelerometer."""
    depth_model: Path = Path()
    """Depth network for source height of a pose network, exported from the same run. This, `every`,
    `needed`, `window`, `least_motion`, `max_spread` and `hold` are of method network only."""
    every: int = option(5, least=1)
    """Number of motions per height measurement for source height; each runs the depth network."""
    needed: int = option(10, least=1)
    """Number of measurements that must agree before metric odometry is published."""
    window: int = option(100, least=1)
    """Number of newest measurements used; the scale is the median of those that agree."""
    least_motion: float = option(0.01, least=0)
    """Shortest motion used as a measurement, metres."""
    max_spread: float = option(0.5, above=0)
    """Relative standard deviation of the measurements above which the scale is unknown."""
    hold: float = option(10.0, above=0, live=True)
    """Longest use of a scale after its source has stopped, seconds; the scale drifts."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.needed > self.window:
            raise ConfigError(f"needed: at most window ({self.window}), got {self.needed}")
        if self.source == "height" and self.camera_height == 0:
            raise ConfigError("camera_height: above 0 for source height, got 0.0")


@dataclass(frozen=True)
class FinderConfig:
    """How geometric odometry recognises what it saw before."""

    features: Path = Path()
    """Network of keypoints for keyframes, loops and lost tracks, a file of kind features; empty:
    SIFT."""
    model: Path = Path()
    """Network that describes places, a file of kind place; empty: their features do."""
    map: Path = Path()
    """Folder of a map: one that is there is searched at the start and after a loss, and extended
    when the node stops; a new folder begins a map. Empty: none."""
    map_read_only: bool = False
    """Whether the map is left as it is."""

    def __post_init__(self) -> None:
        if self.map_read_only and not self.has_map:
            raise ConfigError("map_read_only: needs the folder of a map, got none; set map")

    @property
    def has_map(self) -> bool:
        """Whether a map is used."""
        return self.map != Path()

    def open(self, *, threads: int) -> Finder:
        """Open the networks and read the map.

        Args:
            threads: CPU threads of the networks.

        Raises:
            DepthkitError: a network or a map that cannot be used.
        """
        return open_finder(
            features=_given(self.features),
            places=_given(self.model),
            map=_given(self.map),
            threads=threads,
        )


def _given(path: Path) -> Path | None:
    return None if path == Path() else path


@dataclass(frozen=True)
class OdometryNodeConfig(EngineConfig):
    """Method, camera, scale and outputs."""

    model: Path = Path()
    """Pose network of `depthkit export RUN --part pose`, a file; empty: geometric odometry. This,
    `backend`, `precision`, `stride` and `wait_for_model` are of method network only."""
    threads: int = option(1, least=1)
    """Number of CPU threads for the network, or for OpenCV."""
    method: Literal["geometric", "network"] = "geometric"
    """Source of the motion. Geometric: tracked points and bundle adjustment, for any calibrated
    camera, nothing trained. Network: the pose network `model`; taken whenever `model` is given."""
    loops: bool = False
    """Whether loops are looked for and map_frame -> odom_frame is published, as with places.map;
    geometric only."""
    map_frame: str = "map"
    """Frame of the map that loops correct; the odometry itself never jumps."""
    stride: int = option(0, least=0)
    """Frames from one used frame to the next; 0: as in the network's training."""
    max_gap: float = option(0.0, least=0)
    """Longest pause between two frames, seconds; after a longer one the motion is lost. 0: 1 s of a
    network, 3 s of geometry."""
    queue: int = option(0, least=0, most=100)
    """Number of frames that wait while one is processed; one more drops the oldest. 0: 1 of a
    network, 4 of geometry, whose keyframes take longer than other frames."""
    odom_frame: str = "odom"
    """Frame of the body's start; frame_id of the odometry."""
    base_frame: str = "base_link"
    """Frame of the body; child_frame_id of the odometry."""
    publish_tf: bool = True
    """Whether to publish odom_frame -> base_frame on /tf; false if another node does."""
    max_path: int = option(500, least=1, most=100_000)
    """Number of newest poses in `path`."""
    max_speed: float = option(50.0, above=0)
    """Largest speed of the body; faster motion is rejected as an outlier, m/s."""
    max_turn: float = option(10.0, above=0)
    """Largest angular rate of the body; faster rotation is rejected as an outlier, rad/s."""
    wait_for_model: bool = True
    """Reaction to an unusable model; true: report it in /diagnostics and retry every 2 s; false:
    end with exit code 1."""
    noise: Noise = field(default_factory=Noise)
    """Error model, for the covariances."""
    scale: ScaleConfig = field(default_factory=ScaleConfig)
    """Source of the metric scale."""
    places: FinderConfig = field(default_factory=FinderConfig)
    """How geometric odometry recognises what it saw before, and a map that outlives the node."""
    imu: ImuConfig = field(default_factory=ImuConfig)
    """IMU of the geometric odometry."""
    camera: CameraConfig = field(default_factory=CameraConfig)
    """Image input."""
    extrinsic: ExtrinsicConfig = field(default_factory=ExtrinsicConfig)
    """Pose of the camera on the body."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.extrinsic.source == "none":
            raise ConfigError(
                "extrinsic.source: odometry is the body's and needs the camera's pose on it, got "
                "none; for a camera that looks along x set parameters and extrinsic.rpy "
                "[-1.5708, 0.0, -1.5708]"
            )
        if not self.odom_frame or not self.base_frame or self.odom_frame == self.base_frame:
            raise ConfigError(
                "odom_frame: two different frames, got "
                f"{self.odom_frame!r} and base_frame {self.base_frame!r}"
            )
        if self.has_map_frame and self.map_frame in ("", self.odom_frame, self.base_frame):
            raise ConfigError(f"map_frame: a frame of its own, got {self.map_frame!r}")
        self._check_method()

    def _check_method(self) -> None:
        """Refuse settings that the method cannot serve."""
        if self.uses_network:
            self._check_network()
        elif self.scale.source == "model":
            raise ConfigError(
                "scale.source: model is the training of a network and none is given; set model, or "
                "speed, twist, odometry, height or imu"
            )

    def _check_network(self) -> None:
        if self.model == Path():
            raise ConfigError(
                "model: method network needs a pose network; none is shipped: write one with "
                "'depthkit export RUN --part pose'"
            )
        if self.scale.source == "height" and self.scale.depth_model == Path():
            raise ConfigError("scale.depth_model: the depth network for source height, got none")
        if self.uses_imu or self.loops or self.places != FinderConfig():
            raise ConfigError(
                "model: IMU, loops, places and maps are of geometric odometry; give no model"
            )

    @property
    def has_map_frame(self) -> bool:
        """Whether map_frame -> odom_frame is published."""
        return self.loops or self.places.has_map

    @property
    def uses_network(self) -> bool:
        """Whether a pose network gives the motion: a given model always does."""
        return self.method == "network" or self.model != Path()

    @property
    def uses_imu(self) -> bool:
        """Whether the IMU is used."""
        return self.imu.use or self.scale.source == "imu"

    @property
    def waiting_frames(self) -> int:
        """Number of frames that wait while one is processed."""
        return self.queue or (1 if self.uses_network else GEOMETRIC_QUEUE)

    @property
    def longest_gap(self) -> float:
        """Longest pause between two frames, seconds."""
        return self.max_gap or (NETWORK_GAP if self.uses_network else GEOMETRIC_GAP)
