# SPDX-License-Identifier: Apache-2.0
"""State of the odometry (waiting, tracking, lost) and the pose to publish in each state."""

from typing import Literal

import numpy as np

from depthkit.runtime.odometry.odometry_chain import BodyPose, OdometryChain, body_motion, scaled
from ros_nodes.odometry_method import Step
from ros_nodes.odometry_world import MeasuredCovariance

State = Literal["waiting", "tracking", "lost"]


class OdometryTracker:
    """Chains the engine's motions into poses of the body that never jump.

    Waiting: no motion has been known yet, and there is no pose. Tracking: the last motion is known.
    Lost: the last motion is unknown; the pose stays, with a covariance of "unknown", and the next
    known motion continues from there. A motion over the gap, of a method that finds its place
    again, is an ordinary one.
    """

    def __init__(self, chain: OdometryChain) -> None:
        """Start in state waiting."""
        self.chain = chain
        self.reset()

    def reset(self) -> None:
        """Drop the pose."""
        self.chain.reset()
        self._measured = MeasuredCovariance()
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

    def take(self, step: Step, *, T_base_cam: np.ndarray, factor: float | None) -> None:
        """Add the result of a frame.

        Args:
            step: result of a frame that the stride does not skip.
            T_base_cam: points of the camera to the body, metres. (4, 4)
            factor: length in the chain's unit per unit of the translations; None while unknown.
        """
        result, before = step.result, self.chain.stamp
        T, since = result.T_previous_current, result.since
        if T is None or since is None:
            self._lose(result.stamp, result.reason)
            return
        if factor is None:
            self._lose(result.stamp, step.reason)
            return
        motion = body_motion(scaled(T, factor), T_base_cam)
        refused = self.chain.move(motion, since=since, stamp=result.stamp, spread=step.spread)
        if refused:
            self._lose(result.stamp, refused)
            return
        self._measured.apply(self.chain, step, T_base_cam, goes_on=since == before)
        self.segments += since != before
        self.state, self.reason, self.lost_since = "tracking", "", None

    def _lose(self, stamp: float, reason: str) -> None:
        if self.state == "tracking":
            self.state, self.lost_since = "lost", stamp
        self.reason = reason
