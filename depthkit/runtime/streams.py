# SPDX-License-Identifier: Apache-2.0
"""Interfaces that pipelines and nodes use, whichever method implements them."""

from typing import Protocol

import numpy as np

from depthkit.runtime.motion.told import NO_MOTION, Motion
from depthkit.runtime.result import DepthResult, OdometryResult


class DepthSource(Protocol):
    """A source of depth for a stream of frames: `DepthStream` or another method."""

    def process(
        self, rgb: np.ndarray, *, stamp: float, K: np.ndarray | None, motion: Motion
    ) -> DepthResult:
        """Take the next frame and return its depth, or the reason why it is missing.

        Args:
            rgb: (H, W, 3) uint8
            stamp: seconds, rising.
            K: intrinsics at H x W, pixels; None where unknown. (3, 3)
            motion: camera motion up to this frame, as far as it is known.
        """
        ...

    def reset(self) -> None:
        """Forget all frames."""
        ...


NO_IMU = np.zeros((0, 7))
"""No inertial samples between two frames."""


class Odometry(Protocol):
    """Camera motion from a stream of frames: `GeometricOdometry` or a network's."""

    def process(
        self,
        rgb: np.ndarray,
        *,
        stamp: float,
        K: np.ndarray | None = None,
        imu: np.ndarray = NO_IMU,
        motion: Motion = NO_MOTION,
    ) -> OdometryResult:
        """Take the next frame and return the motion up to it, or the reason why it is unknown.

        Args:
            rgb: (H, W, 3) uint8
            stamp: seconds, rising.
            K: intrinsics at H x W, pixels; None where unknown. (3, 3)
            imu: inertial samples since the previous frame, rows t wx wy wz ax ay az in the axes of
                the IMU, seconds, rad/s and m/s2. (N, 7)
            motion: what another source says of the motion; `displacement` is the length of the step
                in metres, by speed, wheels or another odometry.
        """
        ...

    def reset(self) -> None:
        """Forget all frames."""
        ...
