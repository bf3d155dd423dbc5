# SPDX-License-Identifier: Apache-2.0
"""The record of camera motion that streams take, and the rule that picks its source."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from depthkit.runtime.result import OdometryResult

MAX_GAP = 1.0  # seconds between frames; more where a source is slower than that
SLOW = 3.0  # median intervals that make a gap, where the intervals themselves are long


class Motion(NamedTuple):
    """Camera motion up to a frame, as far as it is known.

    Odometry, twist, IMU, a file of poses and a speed all produce this record. A source that usually
    has the motion and lacks it for one frame sets `expected`: that frame is a fault, and its depth
    is not computed as relative.
    """

    T_world_cam: np.ndarray | None = None
    """Camera pose, metres unless `metric` says otherwise; takes precedence over the other two. (4,
    4)"""
    displacement: float | None = None
    """Distance travelled since the previous frame, metres, in any direction."""
    R_world_cam: np.ndarray | None = None
    """Camera attitude, used without a pose. (3, 3)"""
    expected: bool = False
    """Whether a value that is None should be known: a missing one is then a fault, not
    "relative"."""
    metric: bool = True
    """Whether the translation of `T_world_cam` is metres; else it is up to one unknown factor, the
    same since the stream began: a pair network takes the attitude of such a pose alone."""

    def merged(self, other: "Motion") -> "Motion":
        """Combine with the motion of another source; its values win where both are known."""
        return Motion(
            self.T_world_cam if other.T_world_cam is None else other.T_world_cam,
            self.displacement if other.displacement is None else other.displacement,
            self.R_world_cam if other.R_world_cam is None else other.R_world_cam,
            self.expected or other.expected,
            self.metric if other.T_world_cam is None else other.metric,
        )


NO_MOTION = Motion()
"""No motion known and none expected."""


def usual_gap(times: np.ndarray) -> float:
    """Return the longest pause that does not count as a gap, seconds; longer for a slow source."""
    return max(MAX_GAP, SLOW * float(np.median(np.diff(times)))) if len(times) > 1 else MAX_GAP


@dataclass
class KnownMotion:
    """Motion of each frame of a recording for a `DepthStream`; one source for a whole run."""

    metric_poses: bool
    """Whether the recording has poses in metres."""
    speed: float | None
    """Constant speed, m/s; used where there are no poses."""
    last: float | None = None
    """Time of the previous frame, seconds."""

    def tell(
        self, pose: np.ndarray | None, time: float, odometry: "OdometryResult | None" = None
    ) -> Motion:
        """Return the motion of the next frame, as far as it is known.

        Args:
            pose: T_world_cam where the recording has any, NaN where it is unknown. (4, 4)
            time: time of the frame, seconds.
            odometry: result of a pose network for this frame.
        """
        # 1. The recording's own poses, in metres: a frame without one is a fault.
        known = pose if pose is not None and not np.isnan(pose).all() else None
        if self.metric_poses:
            return Motion(known, expected=pose is not None and known is None)
        # 2. A pose network with metric scale.
        if odometry is not None and odometry.scale == "metric":
            return Motion(odometry.T_world_cam)
        # 3. Relative poses, and the speed for the distance.
        if odometry is not None:
            pose = known = odometry.T_world_cam
        lost = pose is not None and known is None
        way = None
        if self.speed is not None:
            before, self.last = time if self.last is None else self.last, time
            way = self.speed * (time - before)
        return Motion(known, way, expected=lost, metric=known is None)
