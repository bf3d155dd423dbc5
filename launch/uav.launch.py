# SPDX-License-Identifier: Apache-2.0
"""A drone: odometry and depth from several views of one camera; nothing is trained.

Images and camera_info are enough: depth_node finds the motion in the images, depth and odometry are
relative. Metres come from `scale_source` (imu, twist, speed), from `camera_height`, or from the
autopilot's odometry (`odometry:=/mavros/local_position/odom`).
"""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

HOME = Path(__file__).resolve().parent.parent


def generate_launch_description() -> LaunchDescription:
    """Start the nodes with the drone's parameters."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "params_file",
                default_value=str(HOME / "configs" / "ros" / "uav.yaml"),
                description="YAML file of node parameters",
            ),
            DeclareLaunchArgument(
                "odometry_node",
                default_value="true",
                choices=["true", "false"],
                description="start odometry_node, which publishes on visual_odometry",
            ),
            DeclareLaunchArgument(
                "odometry",
                default_value="",
                description="topic of the autopilot's odometry, metres; empty: odometry_node's",
            ),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(HOME / "launch" / "nodes.launch.py"))
            ),
        ]
    )
