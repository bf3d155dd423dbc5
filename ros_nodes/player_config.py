# SPDX-License-Identifier: Apache-2.0
"""Settings of the player."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from depthkit.config.ranges import check_ranges, option


@dataclass(frozen=True)
class PlayerConfig:
    """Source and pace of the player."""

    source: Path = Path()
    """Recording to play: sequence folder, folder of images, video, or ROS 2 bag (folder, .mcap,
    .db3)."""
    rate: float = option(1.0, least=0.01, most=100)
    """Playing speed, as a multiple of the source's own."""
    fps: float = option(0.0, least=0, most=1000)
    """Frame rate at rate 1, frames/s; 0 = the source's own. A bag is played faster or slower."""
    loop: bool = False
    """Whether to restart at the end; else the node ends there."""
    start: float = option(0.0, least=0)
    """Start of playing, seconds into the source; also of every loop."""
    stamps: Literal["now", "source"] = "now"
    """Stamps of the messages. Now: time of sending, spaced as in the source, rising over loops.
    Source: as recorded; they jump back with each loop."""
    clock: bool = False
    """Whether to publish /clock in the time of the stamps, for nodes with use_sim_time."""
    frame_id: str = "camera_optical"
    """frame_id of the images; a bag keeps its own."""
    odom_frame: str = "odom"
    """frame_id of the poses of a sequence; a bag keeps its own."""
    imu_frame: str = "imu"
    """frame_id of the IMU of a sequence; a bag keeps its own."""
    wait_for_subscribers: int = option(0, least=0)
    """Number of subscribers of the images to wait for before playing."""
    topic: str = ""
    """Image topic of a bag; empty for the only one."""
    odometry_topic: str = ""
    """nav_msgs/Odometry topic of a bag; empty for the only one, if any; "none" to play none."""
    imu_topic: str = ""
    """sensor_msgs/Imu topic of a bag; empty for the only one, if any; "none" to play none, also of
    a sequence."""
    twist_topic: str = ""
    """Twist or TwistStamped topic of a bag; empty for the only one, if any; "none" to play none."""

    def __post_init__(self) -> None:
        check_ranges(self)
