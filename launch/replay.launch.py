# SPDX-License-Identifier: Apache-2.0
"""A recording: plays a sequence folder, video or bag to the nodes; point cloud and RViz on
request."""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

HOME = Path(__file__).resolve().parent.parent


def generate_launch_description() -> LaunchDescription:
    """Start the player and the nodes."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "source", description="sequence folder, video file or ROS 2 bag to play"
            ),
            DeclareLaunchArgument(
                "params_file",
                default_value=str(HOME / "configs" / "ros" / "replay.yaml"),
                description="YAML file of node parameters",
            ),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(HOME / "launch" / "nodes.launch.py"))
            ),
        ]
    )
