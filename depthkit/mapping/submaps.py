# SPDX-License-Identifier: Apache-2.0
"""Submaps: runs of keyframes that share a rigid pose, which loop corrections move."""

import numpy as np

from depthkit.rigid import exp_se3, log_se3


class Submaps:
    """The pose of each submap in the world; the identity until a correction moves it.

    What is kept rigid: all that was seen from the keyframes of one submap.
    """

    def __init__(self, keyframes: int) -> None:
        """Start without any.

        Args:
            keyframes: keyframes a submap; 0: one submap holds all.
        """
        self._keyframes = keyframes
        self.poses: dict[int, np.ndarray] = {}
        """T_world_map of each submap."""
        self._newest = 0

    def number(self, keyframe: int) -> int:
        """Return the submap of a keyframe."""
        return keyframe // self._keyframes if self._keyframes else 0

    def enter(self, keyframe: int) -> tuple[int, np.ndarray]:
        """Return the submap of a keyframe and T_world_map; a new one stands as the world does."""
        self._newest = max(self._newest, keyframe)
        submap = self.number(keyframe)
        return submap, self.poses.setdefault(submap, np.eye(4))

    def move(self, correction: np.ndarray, since: int = 0) -> None:
        """Move the submaps that hold keyframes from a number on, as one rigid body.

        Args:
            correction: T_corrected_world, the rigid motion of the world's points. (4, 4)
            since: first keyframe that moves; its submap moves as a whole.
        """
        for submap, T_world_map in self.poses.items():
            if submap >= self.number(since):
                self.poses[submap] = correction @ T_world_map

    def bend(self, correction: np.ndarray, since: int = 0) -> None:
        """Move the newest submap by a correction, and those back to `since` by growing parts of it.

        Drift grows along the way, so a loop that ends here moves what was seen at its beginning not
        at all. The parts are those of a screw motion, linear in the submap's number.

        Args:
            correction: T_corrected_world of the newest keyframe. (4, 4)
            since: keyframe at which the correction begins.
        """
        first, last = self.number(since), self.number(self._newest)
        for submap, T_world_map in self.poses.items():
            if first < submap or first == submap == last:
                share = 1.0 if first == last else (submap - first) / (last - first)
                self.poses[submap] = exp_se3(share * log_se3(correction)) @ T_world_map
