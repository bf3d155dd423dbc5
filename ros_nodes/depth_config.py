# SPDX-License-Identifier: Apache-2.0
"""Settings of the depth node; its ROS parameters are declared from these dataclasses."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from depthkit.config.ranges import option
from depthkit.runtime import RuntimeConfig
from depthkit.runtime.config import SWEEP
from ros_nodes.depth_output import OutputConfig
from ros_nodes.inputs.camera_input import CameraConfig
from ros_nodes.inputs.frames import ExtrinsicConfig
from ros_nodes.inputs.motion_source import MotionConfig
from ros_nodes.odometry_config import StepScaleConfig


@dataclass(frozen=True)
class DepthNodeConfig(OutputConfig, RuntimeConfig):
    """Depth model, camera and outputs."""

    camera: CameraConfig = field(default_factory=CameraConfig)
    """Image input."""
    motion: MotionConfig = field(default_factory=MotionConfig)
    """Source of the camera motion, for the sweep and pair networks; visual also fits the depth of a
    single-frame network to the points of its odometry."""
    scale: StepScaleConfig = field(default_factory=StepScaleConfig)
    """Metres of motion.source visual."""
    features: Path = Path()
    """Network of keypoints with which motion.source visual matches keyframes and lost tracks, a
    file of kind features; empty: SIFT."""
    extrinsic: ExtrinsicConfig = field(default_factory=ExtrinsicConfig)
    """Pose of the camera on the body whose motion is measured."""
    mask: str = option("", live=True)
    """Field of view: empty for the whole image, "auto" to find the lit circle of an endoscope, or
    the path of a PNG mask drawn on the image (on the rectified one, if it is rectified), 0
    outside."""
    flow_model: Path = Path()
    """Flow network for `static_probability`, a file or the name of a shipped one; empty for none.
    Preferably from the same coop run as `model`. Requires motion.source odometry or visual."""
    wait_for_model: bool = True
    """Reaction to an unusable model; true: report it in /diagnostics and retry every 2 s; false:
    end with exit code 1."""

    @property
    def is_visual(self) -> bool:
        """Whether the motion is found in the images."""
        source = self.motion.source
        return source == "visual" or (source == "auto" and self.model == SWEEP)

    @property
    def has_metres(self) -> bool:
        """Whether the source of motion may give metres."""
        if not self.is_visual:
            return self.told_motion.source != "none"
        return self.scale.source != "auto" or self.scale.camera_height > 0

    @property
    def told_motion(self) -> MotionConfig:
        """Settings of the motion that topics tell; none with odometry on the images."""
        source = "none" if self.motion.source == "auto" else self.motion.source
        return replace(self.motion, source="visual" if self.is_visual else source)
