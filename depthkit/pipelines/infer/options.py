# SPDX-License-Identifier: Apache-2.0
"""Options of `infer`: one record from the command line or from Python down to each frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from depthkit.data.cropping import Crop
from depthkit.errors import DataError
from depthkit.pipelines.checks import check_at_least, check_choices, check_crop, check_positive
from depthkit.pipelines.models import EngineOptions
from depthkit.pipelines.odometry.options import WORD, ScaleSources
from depthkit.runtime.config import SWEEP, Quality, Rule


@dataclass(frozen=True)
class InferOptions:
    """One run of `infer`: what to read, what to write, what is known of the motion."""

    model: Path
    """Depth network: exported .onnx, run folder, checkpoint, or a shipped model's name; or the word
    sweep: depth from several views, without a network."""
    source: Path
    """Sequence folder, folder of images, video or ROS 2 bag."""
    out: Path
    """Folder to write; it appears when all of it is there."""
    pose: Path | None = None
    """Pose network; None takes the run's own where one is needed."""
    trajectory: Literal["tum", "kitti"] | None = None
    """Format in which the pose network's chained motions are written; None for no trajectory."""
    flow: Path | None = None
    """Flow network: also write flow to the next frame and the static probability."""
    video: bool = False
    """Also write an mp4, frame beside depth."""
    cloud: bool = False
    """Also write a PLY a frame; needs K."""
    rerun: bool = False
    """Also write a recording for the rerun viewer."""
    camera: Path | None = None
    """Calibration file of images or a video; a sequence has its own."""
    crop: Crop = "mask"
    """Black borders: mask leaves them without depth, auto cuts frames to the picture, none keeps
    all; or the window to cut (top, left, height, width), pixels."""
    quality: Quality | None = None
    """Sweep: working size; None for normal."""
    similarity: str | None = None
    """Sweep: census, zncc, or an exported network of kind features; None for census."""
    min_confidence: float = 0.0
    """Smallest confidence of a known pixel, 0 to 1; 0 keeps all."""
    rule: Rule | None = None
    """Pair networks: how earlier frames are chosen; None for multi_range."""
    shift: int | None = None
    """Pair networks: frames back, of rule fixed and while no displacement is known."""
    poses: Path | None = None
    """T_world_cam of the frames, metres, TUM rows on the source's clock; or the word odometry:
    found in the frames, in the same pass. None takes those of the source; of the sweep, where it
    has none, odometry."""
    speed: float | None = None
    """Speed of the camera all the way, metres a second: of the odometry with --poses odometry, else
    where nothing else is known."""
    camera_height: float | None = None
    """With --poses odometry: height of the camera over flat ground, metres."""
    topic: str = ""
    """Bags: pictures to take; empty for the only ones."""
    odometry_topic: str = ""
    """Bags: whose poses count; empty for the only one, 'none' for no poses."""
    bits: Literal[10, 12, 16] = 16
    """Bags: bits in use of a 16-bit pixel."""
    every: int = 1
    """Take every n-th frame."""
    engine: EngineOptions = field(default_factory=EngineOptions)
    """What the networks run on."""
    force: bool = False
    """Replace an earlier output."""

    def __post_init__(self) -> None:
        check_choices(self)
        check_crop(self.crop)
        check_at_least(1, every=self.every, shift=self.shift)
        check_positive(speed=self.speed, camera_height=self.camera_height)
        if self.by_odometry and self.pose is not None:
            raise DataError("--pose and --poses odometry are two sources of motion; give one")
        if not 0 <= self.min_confidence <= 1:
            raise DataError(f"--min-confidence: from 0 to 1, got {self.min_confidence:g}")
        if self.camera_height is not None and not (self.by_odometry or self.may_need_odometry):
            raise DataError("--camera-height gives an odometry metres; give --poses odometry")

    @property
    def by_odometry(self) -> bool:
        """Whether the motion is that of the geometric odometry."""
        return self.poses == WORD

    @property
    def may_need_odometry(self) -> bool:
        """Whether the motion is found in the frames where the source has no poses."""
        return self.model == SWEEP and self.poses is None

    @property
    def uses_motion(self) -> bool:
        """Whether something that is written needs the motion, beside depth."""
        return bool(self.trajectory or self.flow or self.rerun)

    @property
    def scale(self) -> ScaleSources:
        """What gives the odometry metres."""
        return ScaleSources(self.camera_height, self.speed)
