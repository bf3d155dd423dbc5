# SPDX-License-Identifier: Apache-2.0
"""One map's stretch of the odometry, and what was published of it."""

from dataclasses import dataclass, field

import numpy as np

from depthkit.rigid import inverse
from depthkit.runtime.odometry.live_path import WorldPath
from depthkit.runtime.odometry.metres import Metres, scaled


@dataclass(eq=False)
class Segment:
    """Poses of one map, in its unit and as published (kept state)."""

    path: WorldPath
    metres: Metres
    T_world_cam: np.ndarray = field(default_factory=lambda: np.eye(4))
    """Newest published pose. (4, 4)"""
    T_map_cam: np.ndarray = field(default_factory=lambda: np.eye(4))
    """The same in units of the map. (4, 4)"""
    factor: float = 1.0
    """Published unit per unit of the map: 1 while relative, the last known one while lost."""
    metric: bool = False
    """Whether published translations are or were metres."""
    since: float | None = None
    """Stamp of the newest known pose, seconds."""
    moved: bool = False
    """Whether a motion was published."""

    @property
    def number(self) -> int:
        """Number of the segment as published."""
        return self.path.segment

    def begin(self, T_world_cam: np.ndarray, stamp: float) -> None:
        """Set the pose and stamp of the first keyframe."""
        self.T_map_cam = self.T_world_cam = T_world_cam
        self.since = stamp

    def move(self, T_map_cam: np.ndarray) -> bool:
        """Move the published pose.

        Steps are scaled, not positions: the factor follows the drift of the map's scale.

        Returns:
            Whether the scale became known just now: the pose is that of the whole path in metres.
        """
        factor = self.metres.factor
        step, self.T_map_cam = inverse(self.T_map_cam) @ T_map_cam, T_map_cam
        if factor is not None:
            self.factor = factor
        if factor is None or self.metric:
            self.T_world_cam = self.T_world_cam @ scaled(step, self.factor)
            return False
        self.T_world_cam, self.metric = scaled(T_map_cam, factor), True
        return True

    def published(self, positions: np.ndarray) -> np.ndarray:
        """Bring points of the map to the published world and unit. (N, 3)"""
        T = self.T_world_cam @ scaled(inverse(self.T_map_cam), self.factor)
        return self.factor * positions @ T[:3, :3].T + T[:3, 3]
