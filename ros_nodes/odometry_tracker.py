# SPDX-License-Identifier: Apache-2.0
"""Whether the odometry tracks, is lost or waits, and the pose that may be sent in each state."""

from typing import Literal

import numpy as np

from depthkit.runtime import OdometryResult
from depthkit.runtime.odometry.odometry_chain import BodyPose, OdometryChain, body_motion, scaled

State = Literal["waiting", "tracking", "lost"]


class OdometryTracker:
    """Chains what the engine says into poses of the body, and never lets them jump.

    Waiting: nothing has been known yet, and there is no pose. Tracking: the last motion is known.
    Lost: it is not; the pose stays where it was, with a covariance that says so, and the next
    motion that is known goes on from there.
    """

    def __init__(self, chain: OdometryChain) -> None:
        """Start to wait."""
        self.chain = chain
        self.reset()

    def reset(self) -> None:
        """Forget the pose."""
        self.chain.reset()
        self.state: State = "waiting"
        self.reason = "no motion yet"
        """Why it does not track; empty where it does."""
        self.segments = 0
        """Parts of the path between which the motion is not known."""
        self.lost_since: float | None = None
        """Stamp of the first frame that it is lost at, seconds."""

    @property
    def pose(self) -> BodyPose | None:
        """What may be sent; None while waiting."""
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
        """Take in the engine's answer to a frame.

        Args:
            result: not of a frame that the stride leaves out.
            T_base_cam: points of the camera to the body, metres. (4, 4)
            factor: metres a unit of the network's translations; None while not known.
            reason: why it is not.
            spread: relative standard deviation of the factor, motion by motion.
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
