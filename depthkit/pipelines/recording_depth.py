# SPDX-License-Identifier: Apache-2.0
"""Depth of the frames of one recording, with the motion that is known of them: for all doors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from depthkit.pipelines.odometry.follow import FollowedOdometry
from depthkit.runtime.depth.scale_fit import ScaledDepth
from depthkit.runtime.depth.visual_depth import VisualDepth
from depthkit.runtime.motion.told import NO_MOTION, KnownMotion, usual_gap

if TYPE_CHECKING:
    import numpy as np

    from depthkit.data.stream import FrameStream
    from depthkit.runtime.config import BaselineConfig
    from depthkit.runtime.depth.depth_method import DepthMethod
    from depthkit.runtime.odometry.odometry_engine import OdometryEngine
    from depthkit.runtime.result import DepthResult, OdometryResult


class RecordingDepth:
    """Takes frame after frame through a method of depth and, where there is one, an odometry.

    Without an odometry the poses of the recording count, with a pose network its motion, with the
    geometric odometry nothing but that; depth of single frames is fitted to its points.
    """

    def __init__(
        self,
        method: DepthMethod,
        stream: FrameStream,
        *,
        pairs: BaselineConfig,
        odometry: FollowedOdometry | OdometryEngine | None = None,
        speed: float | None = None,
    ) -> None:
        """Start before the first frame.

        Args:
            method: where depth comes from; stays the caller's.
            stream: camera, times and poses of the frames.
            pairs: how a pair network's earlier frames are chosen.
            odometry: finds the motion in the frames; stays the caller's.
            speed: of the camera, m/s, where its poses are not known in metres.
        """
        self.moved: OdometryResult | None = None
        """What the odometry said of the newest frame."""
        self._uses_motion, self._odometry = method.uses_motion, odometry
        self._K = None if stream.camera is None else stream.camera.K
        self._metric_poses = stream.poses is not None and stream.metric
        self._known, self._segment = KnownMotion(self._metric_poses, speed), 0
        self._source = method.build(pairs, max_gap=usual_gap(stream.times))
        self._visual: VisualDepth | None = None
        if isinstance(odometry, FollowedOdometry):
            fit = None
            if method.ambiguity is not None:
                fit = ScaledDepth(method.ambiguity, scale=odometry.scale)
            self._visual = VisualDepth(
                odometry.odometry, self._source, metres_only=odometry.scale == "metric", fit=fit
            )

    def take(self, rgb: np.ndarray, stamp: float, pose: np.ndarray | None) -> DepthResult:
        """Return the depth of the next frame, or the reason why it is missing.

        Args:
            rgb: (H, W, 3) uint8
            stamp: seconds.
            pose: T_world_cam where the recording has any, NaN where it is unknown. (4, 4)
        """
        if self._visual is not None and isinstance(self._odometry, FollowedOdometry):
            imu, step = self._odometry.told(stamp)
            result = self._visual.process(rgb, stamp=stamp, K=self._K, motion=step, imu=imu)
            self.moved = self._visual.moved
            return result
        if self._odometry is not None:
            self.moved = self._odometry.process(rgb, stamp=stamp)
            if self.moved.segment != self._segment and not self._metric_poses:
                self._source.reset()  # how the camera turned across the break is not known
                self._segment = self.moved.segment
        motion = self._known.tell(pose, stamp, self.moved) if self._uses_motion else NO_MOTION
        return self._source.process(rgb, stamp=stamp, K=self._K, motion=motion)
