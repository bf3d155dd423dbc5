# SPDX-License-Identifier: Apache-2.0
"""What the player can be told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from depthkit.config.ranges import check_ranges, option


@dataclass(frozen=True)
class PlayerConfig:
    """What is played, and how."""

    source: Path = Path()
    """Sequence folder, folder of images, video, or ROS 2 bag (folder, .mcap, .db3)."""
    rate: float = option(1.0, least=0.01, most=100)
    """Speed, multiples of the source's own."""
    fps: float = option(0.0, least=0, most=1000)
    """Frames a second of a source at rate 1, 0 = its own; a bag is played faster or slower."""
    loop: bool = False
    """Start again at the end; else the node ends there."""
    start: float = option(0.0, least=0)
    """Where to begin, seconds into the source; every loop begins there."""
    stamps: Literal["now", "source"] = "now"
    """Now: the time of sending, rising over loops, spaced as in the source. Source: as recorded;
    they jump back with a loop, as those of any bag."""
    clock: bool = False
    """Publish /clock in the time of the stamps, for nodes with use_sim_time."""
    frame_id: str = "camera_optical"
    """Of images; a bag keeps its own."""
    odom_frame: str = "odom"
    """Of the poses of a sequence; a bag keeps its own."""
    wait_for_subscribers: int = option(0, least=0)
    """Begin when so many subscribe to the images."""
    topic: str = ""
    """Of a bag: its images; empty for the only ones."""
    odometry_topic: str = ""
    """Of a bag: its nav_msgs/Odometry; empty for the only one, none for none."""
    imu_topic: str = ""
    """Of a bag: its sensor_msgs/Imu; empty for the only one, none for none."""
    twist_topic: str = ""
    """Of a bag: its Twist or TwistStamped; empty for the only one, none for none."""

    def __post_init__(self) -> None:
        check_ranges(self)
