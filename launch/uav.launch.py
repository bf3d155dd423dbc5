# SPDX-License-Identifier: Apache-2.0
"""A drone: pair depth in metres from one stabilised camera and the autopilot's odometry."""

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
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(HOME / "launch" / "nodes.launch.py"))
            ),
        ]
    )
