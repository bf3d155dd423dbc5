# SPDX-License-Identifier: Apache-2.0
"""Depth from images alone: an odometry finds the camera's motion for any source of depth.

Files and robot run this one class, so the same frames give the same bytes.
"""

from dataclasses import replace

import numpy as np

from depthkit.runtime.depth.scale_fit import ScaledDepth
from depthkit.runtime.motion.told import NO_MOTION, Motion
from depthkit.runtime.result import DepthResult, OdometryResult
from depthkit.runtime.streams import NO_IMU, DepthSource, Odometry

NOT_METRIC = "the odometry is not in metres here: scale {state}{why}"


class VisualDepth:
    """A source of depth, with the odometry that tells it the motion. One thread at a time.

    `process` does all of it; a caller that has time for every frame's motion but not for every
    frame's depth calls `follow` for each frame and `depth` for some of them.
    """

    def __init__(
        self,
        odometry: Odometry,
        source: DepthSource,
        *,
        metres_only: bool = False,
        fit: ScaledDepth | None = None,
    ) -> None:
        """Start without frames.

        Args:
            odometry: source of the motion.
            source: source of the depth.
            metres_only: whether a frame of relative motion is a fault; else its depth is relative.
            fit: brings the depth of a network of single frames to the unit of the odometry.
        """
        self.odometry, self.source, self._metres_only = odometry, source, metres_only
        self._fit = fit
        self.moved: OdometryResult | None = None
        """What the odometry said of the newest frame."""
        self.segment: int | None = None
        """Segment of the newest depth; None before the first."""

    def reset(self) -> None:
        """Forget all frames, of the odometry too."""
        self.odometry.reset()
        self.source.reset()
        if self._fit is not None:
            self._fit.reset()
        self.moved, self.segment = None, None

    def process(
        self,
        rgb: np.ndarray,
        *,
        stamp: float,
        K: np.ndarray | None,
        motion: Motion = NO_MOTION,
        imu: np.ndarray = NO_IMU,
    ) -> DepthResult:
        """Take the next frame and return its depth, or the reason why it is missing.

        Args:
            rgb: (H, W, 3) uint8
            stamp: seconds, rising.
            K: intrinsics at H x W, pixels. (3, 3)
            motion: `displacement` is the length of the step in metres, where something knows it.
            imu: inertial samples since the previous frame [streams.Odometry]. (N, 7)
        """
        return self.depth(
            rgb, K=K, moved=self.follow(rgb, stamp=stamp, K=K, motion=motion, imu=imu)
        )

    def follow(
        self,
        rgb: np.ndarray,
        *,
        stamp: float,
        K: np.ndarray | None,
        motion: Motion = NO_MOTION,
        imu: np.ndarray = NO_IMU,
    ) -> OdometryResult:
        """Find the motion up to a frame; arguments as of `process`."""
        self.moved = self.odometry.process(rgb, stamp=stamp, K=K, imu=imu, motion=motion)
        return self.moved

    def depth(self, rgb: np.ndarray, *, K: np.ndarray | None, moved: OdometryResult) -> DepthResult:
        """Return the depth of a frame whose motion was found.

        Args:
            rgb: (H, W, 3) uint8
            K: intrinsics at H x W, pixels. (3, 3)
            moved: of `follow` for this frame; frames may be left out between two calls.
        """
        # 1. Poses of another segment have another world and another unit.
        if self.segment not in (None, moved.segment):
            self.source.reset()
        self.segment = moved.segment
        # 2. Depth by the whole pose, or the reason why there is none.
        motion = found_motion(moved, metres_only=self._metres_only)
        result = self.source.process(rgb, stamp=moved.stamp, K=K, motion=motion)
        if self._fit is not None:
            return self._fit.apply(result, moved)
        if result.depth is None and motion.T_world_cam is None and (why := self._why(moved)):
            return replace(result, reason=f"{result.reason} ({why})")
        return result

    def _why(self, moved: OdometryResult) -> str:
        """Return why the frame has no usable motion; empty if it has one."""
        if moved.reason or not self._metres_only or moved.scale == "metric":
            return moved.reason
        state = moved.scale_state
        why = f", {state.reason}" if state.reason else ""
        return NOT_METRIC.format(state=state.state, why=why)


def found_motion(moved: OdometryResult, *, metres_only: bool) -> Motion:
    """Return the motion that an odometry found, for a source of depth.

    A frame without motion is a fault, so that no depth is computed from a pose that stood still.

    Args:
        moved: of the frame.
        metres_only: whether a relative pose is a fault, too.
    """
    metric = moved.scale == "metric"
    known = moved.T_previous_current is not None and (metric or not metres_only)
    return Motion(moved.T_world_cam if known else None, expected=not known, metric=metric)
