# SPDX-License-Identifier: Apache-2.0
"""What the depth node can be told; its ROS parameters are declared from these dataclasses."""

from dataclasses import dataclass, field
from pathlib import Path

from depthkit.config.ranges import option
from depthkit.runtime import RuntimeConfig
from ros_nodes.depth_output import OutputConfig
from ros_nodes.inputs.camera_input import CameraConfig
from ros_nodes.inputs.frames import ExtrinsicConfig
from ros_nodes.inputs.motion_source import MotionConfig


@dataclass(frozen=True)
class DepthNodeConfig(OutputConfig, RuntimeConfig):
    """A model at work on a camera."""

    camera: CameraConfig = field(default_factory=CameraConfig)
    """How images are read."""
    motion: MotionConfig = field(default_factory=MotionConfig)
    """Where the camera's motion comes from, for networks of pairs."""
    extrinsic: ExtrinsicConfig = field(default_factory=ExtrinsicConfig)
    """Where the camera sits on the body whose motion is told."""
    mask: str = option("", live=True)
    """Where the picture is: empty for all of the image, "auto" to find an endoscope's lit circle,
    or the path of a PNG drawn on the image (the rectified one, where it is rectified), 0 outside.
    """
    flow_model: Path = Path()
    """Flow network, a file or the name of a shipped one, by which `static_probability` is told;
    empty for none. Best of the coop run that `model` is of. It needs motion.source odometry."""
    wait_for_model: bool = True
    """Stay without a usable model, say so in /diagnostics and try again every 2 s; false: end with
    exit code 1."""
