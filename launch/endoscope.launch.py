# SPDX-License-Identifier: Apache-2.0
"""An endoscope: depth of single frames from the shading of its own light."""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

HOME = Path(__file__).resolve().parent.parent


def generate_launch_description() -> LaunchDescription:
    """Start the nodes with the endoscope's parameters."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "params_file",
                default_value=str(HOME / "configs" / "ros" / "endoscope.yaml"),
                description="YAML file of node parameters",
            ),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(HOME / "launch" / "nodes.launch.py"))
            ),
        ]
    )
