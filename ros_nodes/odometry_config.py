# SPDX-License-Identifier: Apache-2.0
"""What the odometry node can be told; its ROS parameters are declared from these dataclasses."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from depthkit.config.ranges import check_ranges, option
from depthkit.errors import ConfigError
from depthkit.runtime.config import EngineConfig
from depthkit.runtime.odometry.odometry_chain import Noise
from ros_nodes.inputs.camera_input import CameraConfig
from ros_nodes.inputs.frames import ExtrinsicConfig
from ros_nodes.inputs.motion_source import MotionConfig


@dataclass(frozen=True)
class ScaleConfig:
    """Where the metres of the odometry come from."""

    source: Literal["model", "speed", "twist", "odometry", "height"] = "model"
    """Model: a network trained in metres. Speed: the one below, all the time. Twist: topic twist.
    Odometry: topic scale_odometry (wheels, GPS-INS). Height: of the camera over level ground, with
    a depth network of the same training."""
    speed: float = option(0.0, least=0, live=True)
    """Of source speed, metres a second."""
    camera_height: float = option(0.0, least=0)
    """Of source height, metres above the ground."""
    depth_model: Path = Path()
    """Of source height: the depth network exported from the run of the pose network."""
    every: int = option(5, least=1)
    """Of source height: motions from one measurement to the next; each runs the depth network."""
    needed: int = option(10, least=1)
    """Measurements that must agree before anything in metres is sent."""
    window: int = option(100, least=1)
    """Newest measurements looked at: the scale is the median of those that agree."""
    least_motion: float = option(0.01, least=0)
    """A shorter motion says nothing of the scale, metres."""
    max_spread: float = option(0.5, above=0)
    """Relative standard deviation of the measurements above which the scale is not known."""
    hold: float = option(10.0, above=0, live=True)
    """Longest that a scale is used after its source has fallen silent, seconds: it drifts."""
    max_gap: float = option(0.5, above=0)
    """Longest pause between two samples that is interpolated, seconds."""
    stale: float = option(1.0, above=0, live=True)
    """A topic silent for longer is an error, seconds."""

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.needed > self.window:
            raise ConfigError(f"needed: at most window ({self.window}), got {self.needed}")
        if self.source == "speed" and self.speed == 0:
            raise ConfigError("speed: above 0 for source speed, got 0.0")
        if self.source == "height" and self.camera_height == 0:
            raise ConfigError("camera_height: above 0 for source height, got 0.0")
        if self.source == "height" and self.depth_model == Path():
            raise ConfigError("depth_model: the depth network for source height, got none")

    @property
    def motion(self) -> MotionConfig:
        """What the source of motion is told."""
        moving = self.source in ("speed", "twist", "odometry")
        return MotionConfig(
            source=self.source if moving else "none",  # type: ignore[arg-type]
            speed=self.speed,
            wait=0.0,
            max_gap=self.max_gap,
            stale=self.stale,
        )


@dataclass(frozen=True)
class OdometryNodeConfig(EngineConfig):
    """A pose network at work on a camera."""

    stride: int = option(0, least=0)
    """Frames from one that is used to the next; 0: as the network was trained."""
    max_gap: float = option(1.0, above=0)
    """Longest pause between two frames, seconds; after a longer one the motion is lost."""
    odom_frame: str = "odom"
    """Where the body started; frame_id of the odometry."""
    base_frame: str = "base_link"
    """The body; child_frame_id of the odometry."""
    publish_tf: bool = True
    """Send odom_frame -> base_frame on /tf; false where another node does."""
    max_path: int = option(500, least=1, most=100_000)
    """Newest poses of `path`."""
    max_speed: float = option(50.0, above=0)
    """A faster body is an error of the network and is refused, metres a second."""
    max_turn: float = option(10.0, above=0)
    """A body that turns faster too, radians a second."""
    wait_for_model: bool = True
    """Stay without a usable model, say so in /diagnostics and try again every 2 s; false: end with
    exit code 1."""
    noise: Noise = field(default_factory=Noise)
    """How wrong the odometry is, for its covariances."""
    scale: ScaleConfig = field(default_factory=ScaleConfig)
    """Where metres come from."""
    camera: CameraConfig = field(default_factory=CameraConfig)
    """How images are read."""
    extrinsic: ExtrinsicConfig = field(default_factory=ExtrinsicConfig)
    """Where the camera sits on the body."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.extrinsic.source == "none":
            raise ConfigError(
                "extrinsic.source: odometry is the body's, so none will not do; for a camera that "
                "looks along x set parameters and extrinsic.rpy [-1.5708, 0.0, -1.5708]"
            )
        if not self.odom_frame or not self.base_frame or self.odom_frame == self.base_frame:
            raise ConfigError(
                "odom_frame: two different frames, got "
                f"{self.odom_frame!r} and base_frame {self.base_frame!r}"
            )
