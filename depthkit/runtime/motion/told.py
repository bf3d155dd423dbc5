# SPDX-License-Identifier: Apache-2.0
"""What a stream is told of how the camera moved, and the rule that picks its source."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from depthkit.runtime.result import OdometryResult

MAX_GAP = 1.0  # seconds between frames; more where a source is slower than that
SLOW = 3.0  # a gap is this many usual steps, where the steps themselves are long


class Motion(NamedTuple):
    """What is known of how the camera moved up to a frame.

    An odometry, a twist, an IMU, a file of poses and a speed all hand over this record. A source
    that usually knows the motion and lacks it for one frame sets `expected`: that frame is a
    fault, never a frame of relative depth.
    """

    T_world_cam: np.ndarray | None = None
    """Pose, metres; goes before the other two. (4, 4)"""
    displacement: float | None = None
    """Distance travelled since the frame before, metres, in any direction."""
    R_world_cam: np.ndarray | None = None
    """Attitude alone, where there is no pose. (3, 3)"""
    expected: bool = False
    """Something that is None here should be known: a missing value is a fault, not "relative"."""

    def merged(self, other: "Motion") -> "Motion":
        """Add what another source knows; its values win where both know one."""
        return Motion(
            self.T_world_cam if other.T_world_cam is None else other.T_world_cam,
            self.displacement if other.displacement is None else other.displacement,
            self.R_world_cam if other.R_world_cam is None else other.R_world_cam,
            self.expected or other.expected,
        )


NO_MOTION = Motion()
"""Nothing is known, and nothing was promised."""


def usual_gap(times: np.ndarray) -> float:
    """Return the longest pause that is no gap, seconds: a slow source has long steps."""
    return max(MAX_GAP, SLOW * float(np.median(np.diff(times)))) if len(times) > 1 else MAX_GAP


@dataclass
class KnownMotion:
    """What a `DepthStream` is told of each frame of a recording; one source for a whole run."""

    metric_poses: bool
    """The recording's frames have poses in metres."""
    speed: float | None
    """Metres a second, all the way; taken where there are no poses."""
    last: float | None = None
    """Time of the frame before, seconds."""

    def tell(
        self, pose: np.ndarray | None, time: float, odometry: "OdometryResult | None" = None
    ) -> Motion:
        """Return what is known of the next frame's motion.

        Args:
            pose: T_world_cam where the recording has any, NaN where it is unknown. (4, 4)
            time: of the frame, seconds.
            odometry: what a pose network says of it, where one runs.
        """
        # 1. The recording's own poses, in metres: a frame without one is a fault.
        known = pose if pose is not None and not np.isnan(pose).all() else None
        if self.metric_poses:
            return Motion(known, expected=pose is not None and known is None)
        # 2. A pose network that says metres.
        if odometry is not None and odometry.scale == "metric":
            return Motion(odometry.T_world_cam)
        # 3. The attitude of relative poses, and a speed for the distance.
        if odometry is not None:
            pose = known = odometry.T_world_cam
        R = None if known is None else known[:3, :3]
        lost = pose is not None and known is None
        if self.speed is None:
            return Motion(R_world_cam=R, expected=lost)
        before, self.last = time if self.last is None else self.last, time
        return Motion(displacement=self.speed * (time - before), R_world_cam=R, expected=lost)
