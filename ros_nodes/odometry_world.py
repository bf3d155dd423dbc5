# SPDX-License-Identifier: Apache-2.0
"""Where the worlds of a method lie in odom and in the map, and its covariance in odom.

Each segment of a method begins at the identity of a world of its own, while the pose in odom goes
on; both are known for a frame, so the world's place in odom is.
"""

import numpy as np

from depthkit.rigid import inverse, skew
from depthkit.runtime.odometry.odometry_chain import OdometryChain
from ros_nodes.odometry_method import Step, World


class Worlds:
    """Pose of odom in the map by the loops of a method (kept state) [REP 105]."""

    def __init__(self) -> None:
        """Start with the map where odom is."""
        self.reset()

    def reset(self) -> None:
        """Put the map where odom is."""
        self.T_map_odom = np.eye(4)
        """Pose of odom in the map; the identity before a loop. (4, 4)"""
        self._T_map_world: dict[World, np.ndarray] = {}

    def take(self, step: Step, T_odom_world: np.ndarray) -> None:
        """Follow the correction of a frame whose pose is known in metres.

        Args:
            step: result with its world.
            T_odom_world: place of that world in odom. (4, 4)
        """
        # 1. A new world lies in the map where odom puts it, until a loop says better.
        self._T_map_world.setdefault(step.world, self.T_map_odom @ T_odom_world)
        # 2. The correction leads to the world that the map began with.
        root = step.map_root
        if root is None and step.map_world is not None:
            root = self._T_map_world.get(step.map_world)
        correction = step.result.correction
        if correction is not None and root is not None:
            self.T_map_odom = root @ correction @ inverse(T_odom_world)


def world_in_odom(T_odom_base: np.ndarray, T_base_cam: np.ndarray, step: Step) -> np.ndarray:
    """Return the place in odom of the world that a frame's pose is in. (4, 4)

    Args:
        T_odom_base: pose of the body at the frame. (4, 4)
        T_base_cam: points of the camera to the body, the lever in the unit of odom. (4, 4)
        step: result of the frame.
    """
    return T_odom_base @ T_base_cam @ inverse(step.result.T_world_cam)


class MeasuredCovariance:
    """Covariance in odom from that of each segment (kept state).

    At the first motion of a segment, or after one that is unknown, the chain's own covariance
    holds; from there on the method's is carried into odom and the scale's error is added.
    """

    def __init__(self) -> None:
        """Start without a segment."""
        self._world: World | None = None
        self._T_start, self._at_start = np.eye(4), np.zeros((6, 6))

    def apply(
        self, chain: OdometryChain, step: Step, T_base_cam: np.ndarray, *, goes_on: bool
    ) -> None:
        """Replace the chain's covariance after a motion.

        Args:
            chain: chain with the motion.
            step: result of the frame.
            T_base_cam: points of the camera to the body. (4, 4)
            goes_on: whether the motion begins where the last one ended.
        """
        own, pose = step.result.covariance, chain.pose()
        if own is None or step.world != self._world or not goes_on:
            self._world = None if own is None else step.world
            self._T_start, self._at_start = pose.T_odom_base, pose.covariance
            return
        moved = pose.T_odom_base[:3, 3] - self._T_start[:3, 3]
        grown = in_odom(own, T_base_cam, pose.T_odom_base) + carried(self._at_start, moved)
        sigma = step.result.scale_state.sigma or 0.0
        grown[:3, :3] += sigma**2 * np.outer(moved, moved)
        chain.set_covariance(grown)


def in_odom(covariance: np.ndarray, T_base_cam: np.ndarray, T_odom_base: np.ndarray) -> np.ndarray:
    """Carry the covariance of a camera's pose, in its own axes, to that of the body in odom.

    Args:
        covariance: translation first. (6, 6)
        T_base_cam: points of the camera to the body. (4, 4)
        T_odom_base: pose of the body. (4, 4)
    """
    R, t = T_base_cam[:3, :3], T_base_cam[:3, 3]
    G = np.zeros((6, 6))  # the adjoint of T_base_cam, then the axes of odom
    G[:3, :3] = G[3:, 3:] = R
    G[:3, 3:] = skew(t) @ R
    axes = np.kron(np.eye(2), T_odom_base[:3, :3])
    return axes @ G @ covariance @ G.T @ axes.T


def carried(covariance: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """Carry the covariance of an earlier pose along: its attitude error turns what follows.

    Args:
        covariance: in the axes of odom, translation first. (6, 6)
        moved: from the earlier position to that now. (3,)
    """
    F = np.eye(6)
    F[:3, 3:] = -skew(moved)
    return F @ covariance @ F.T
