# SPDX-License-Identifier: Apache-2.0
"""What a pipeline or a node calls without knowing which method is behind it."""

from typing import Protocol

import numpy as np

from depthkit.runtime.motion.told import Motion
from depthkit.runtime.result import DepthResult, OdometryResult


class DepthSource(Protocol):
    """Depth of a stream of frames: `DepthStream`, and every other method that gives depth."""

    def process(
        self, rgb: np.ndarray, *, stamp: float, K: np.ndarray | None, motion: Motion
    ) -> DepthResult:
        """Take the next frame and return its depth, or the reason why there is none.

        Args:
            rgb: (H, W, 3) uint8
            stamp: seconds, rising.
            K: intrinsics at H x W, pixels; None where unknown. (3, 3)
            motion: what is known of how the camera moved up to this frame.
        """
        ...

    def reset(self) -> None:
        """Forget all frames."""
        ...


class Odometry(Protocol):
    """Motion of the camera from its frames: `OdometryEngine`, and every other method."""

    def process(
        self, rgb: np.ndarray, *, stamp: float, K: np.ndarray | None = None
    ) -> OdometryResult:
        """Take the next frame and return the motion up to it, or the reason why it is not known.

        Args:
            rgb: (H, W, 3) uint8
            stamp: seconds, rising.
            K: intrinsics at H x W, pixels; None where unknown. (3, 3)
        """
        ...

    def reset(self) -> None:
        """Forget all frames."""
        ...
