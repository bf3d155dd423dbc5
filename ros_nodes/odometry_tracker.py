# SPDX-License-Identifier: Apache-2.0
"""State of the odometry (waiting, tracking, lost) and the pose to publish in each state."""

from typing import Literal

import numpy as np

from depthkit.runtime import OdometryResult
from depthkit.runtime.odometry.odometry_chain import BodyPose, OdometryChain, body_motion, scaled

State = Literal["waiting", "tracking", "lost"]


class OdometryTracker:
    """Chains the engine's motions into poses of the body that never jump.

    Waiting: no motion has been known yet, and there is no pose. Tracking: the last motion is known.
    Lost: the last motion is unknown; the pose stays, with a covariance of "unknown", and the next
    known motion continues from there.
    """

    def __init__(self, chain: OdometryChain) -> None:
        """Start in state waiting."""
        self.chain = chain
        self.reset()

    def reset(self) -> None:
        """Drop the pose."""
        self.chain.reset()
        self.state: State = "waiting"
        self.reason = "no motion yet"
        """Why the odometry does not track; empty while it does."""
        self.segments = 0
        """Number of parts of the path; the motion between them is unknown."""
        self.lost_since: float | None = None
        """Stamp of the first lost frame, seconds."""

    @property
    def pose(self) -> BodyPose | None:
        """Pose to publish; None while waiting."""
        if self.state == "waiting":
            return None
        return self.chain.pose() if self.state == "tracking" else self.chain.lost_pose()

    def take(
        self,
        result: OdometryResult,
        *,
        T_base_cam: np.ndarray,
        factor: float | None,
        reason: str = "",
        spread: float = 0.0,
    ) -> None:
        """Add the engine's result of a frame.

        Args:
            result: result of a frame that the stride does not skip.
            T_base_cam: points of the camera to the body, metres. (4, 4)
            factor: metres per unit of the network's translations; None while unknown.
            reason: why the factor is unknown.
            spread: relative standard deviation of the factor of a single motion.
        """
        T, since = result.T_previous_current, result.since
        if T is None or since is None:
            self._lose(result.stamp, result.reason)
            return
        if factor is None:
            self._lose(result.stamp, reason)
            return
        motion = body_motion(scaled(T, factor), T_base_cam)
        refused = self.chain.move(motion, since=since, stamp=result.stamp, spread=spread)
        if refused:
            self._lose(result.stamp, refused)
            return
        self.segments += self.state != "tracking"
        self.state, self.reason, self.lost_since = "tracking", "", None

    def _lose(self, stamp: float, reason: str) -> None:
        if self.state == "tracking":
            self.state, self.lost_since = "lost", stamp
        self.reason = reason
