# SPDX-License-Identifier: Apache-2.0
"""What `depthkit infer --flow` leaves: flow to the next frame, and what belongs to the scene."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from depthkit.data.flow_files import write_flow
from depthkit.data.folder import make_folder
from depthkit.outputs.pictures import CONFIDENCE_LEVELS, save_confidence
from depthkit.runtime.flow.moving_stream import MovingStream
from depthkit.runtime.motion.told import usual_gap
from depthkit.runtime.odometry.odometry_engine import OdometryEngine

if TYPE_CHECKING:
    from depthkit.data.stream import StreamFrame
    from depthkit.pipelines.infer.job import Job
    from depthkit.runtime.flow.flow_engine import FlowEngine
    from depthkit.runtime.network.manifest import Manifest
    from depthkit.runtime.result import DepthResult, OdometryResult

FLOW, STATIC = "flow", "static"
EVIDENCE = {
    "photometric": "errors of rebuilding by depth and motion, and by flow",
    "gap": "distance of flow from what depth and motion say",
    "both": "errors of rebuilding, and distance of flow from what depth and motion say",
}


@dataclass(frozen=True)
class Pose:
    """Where the camera is, for the comparison of two frames."""

    T_world_cam: np.ndarray | None
    """(4, 4)"""
    same_unit: bool
    """Its translation has the unit of depth."""
    begins: bool = False
    """It cannot be compared with the pose before."""


class FlowOutputs:
    """Flow of each frame to the next, and the static probability of each frame by the one before.

    `flow/` has the names and the encoding of a sequence's: that of frame i leads to the next one.
    """

    def __init__(self, engine: FlowEngine, folder: Path, *, every: int, max_gap: float) -> None:
        """Make the folders.

        Args:
            engine: stays the caller's.
            folder: exists.
            every: frames of the source from one to the next.
            max_gap: longest pause between two frames that are compared, seconds.
        """
        self.engine, self.folder, self.every = engine, folder, every
        self.stream = MovingStream(engine, max_gap=max_gap)
        self.before: tuple[StreamFrame, np.ndarray] | None = None
        self.static, self.fitted, self.without = 0, False, list[str]()
        for name in (FLOW, STATIC):
            make_folder(folder / name)

    def add(self, frame: StreamFrame, rgb: np.ndarray, depth: DepthResult, pose: Pose) -> None:
        """Write what is known of a frame with the one before it.

        Args:
            frame: its name and place.
            rgb: its colours. (H, W, 3) uint8
            depth: what is known of it.
            pose: of the camera.
        """
        before, self.before = self.before, (frame, rgb)
        follows = before is not None and frame.index - before[0].index == self.every
        if before is not None and follows and before[1].shape == rgb.shape:
            flow = self.engine.flow(before[1], rgb).flow
            write_flow(self.folder / FLOW / f"{before[0].name}.png", flow)
        if pose.begins:
            self.stream.reset()
        result = self.stream.process(
            rgb, depth, T_world_cam=pose.T_world_cam, same_unit=pose.same_unit
        )
        if result.probability is None:
            self.without.append(f"{frame.name}: {result.reason}")
            return
        self.static += 1
        self.fitted |= not pose.same_unit
        save_confidence(self.folder / STATIC / f"{frame.name}.png", result.probability)

    def close(self) -> dict[str, str]:
        """Return what lies where."""
        if self.static:
            return {FLOW: FLOW, STATIC: STATIC}
        (self.folder / STATIC).rmdir()
        return {FLOW: FLOW}

    def note(self) -> dict[str, str]:
        """Say how the pictures are read."""
        if not self.static:
            return {}
        return {
            "static": f"../{STATIC}, 8 bits: PNG value / {CONFIDENCE_LEVELS} = how likely a pixel "
            "belongs to the static scene; 0 where unknown too"
        }

    @property
    def rule(self) -> str:
        """Name the evidence for the static scene."""
        if not self.static:
            return "none: depth, K and the camera's motion are needed"
        law, unit = self.engine.manifest.static_law, "; unit of motion by flow" * self.fitted
        if law is None:
            return f"residual ({EVIDENCE['gap']}, against its median{unit})"
        looks = "" if law.temper is None else "; with what the mask network says of looks"
        return f"{law.evidence} ({EVIDENCE[law.evidence]}, law of the training{looks}{unit})"


def open_outputs(job: Job, folder: Path) -> FlowOutputs | None:
    """Make the writer, if a flow network is at work."""
    if job.flow is None:
        return None
    gap = usual_gap(job.stream.times)
    return FlowOutputs(job.flow, folder, every=job.options.every, max_gap=gap)


def pose_of(job: Job, frame: StreamFrame, moved: OdometryResult | None) -> Pose:
    """Choose the source of motion: the odometry, else the one in the unit of depth, a network."""
    poses_fit = job.metric_poses and job.scale == "metric"
    if job.options.by_odometry and moved is not None:
        # A frame without a motion has no pose: that of the frame before it is not its own.
        known = moved.T_previous_current is not None
        fits = moved.scale == job.scale == "metric"
        return Pose(moved.T_world_cam if known else None, fits, not known)
    network = job.odometry if isinstance(job.odometry, OdometryEngine) else None
    depth = job.method.engine
    network_fits = (
        network is not None
        and depth is not None
        and _share_unit(depth.manifest, network.manifest, metric=job.scale == "metric")
    )
    if moved is not None and (network_fits or not poses_fit):
        return Pose(moved.T_world_cam, network_fits, moved.T_previous_current is None)
    return Pose(frame.T_world_cam, poses_fit)


def _share_unit(depth: Manifest, pose: Manifest, *, metric: bool) -> bool:
    """Tell whether two networks speak of one unit: metres, or that of one training."""
    if metric and pose.scale == "metric":
        return True
    together = depth.config == pose.config and depth.commit == pose.commit
    return together and depth.kind == "mono" and depth.scale == pose.scale
