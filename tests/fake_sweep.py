# SPDX-License-Identifier: Apache-2.0
"""A sweep that sees nothing: ten times the last step everywhere, the left half unsure.

What the doors make of it can be worked out by hand; the real one has tests of its own.
"""

import numpy as np

from depthkit.runtime.depth.baseline import Decision
from depthkit.runtime.motion.told import NO_MOTION, Motion
from depthkit.runtime.result import DepthResult, Timing

SURE, UNSURE = 0.05, 0.5
"""Sigmas of the right and of the left half."""


class FakeSweep:
    """A source of depth from poses; the last pose stays where a frame has none."""

    made: list["FakeSweep"] = []

    def __init__(self, config=None, *, describe=None) -> None:
        self.config, self.describe, self.resets, self.told = config, describe, 0, []
        self.before = None
        FakeSweep.made.append(self)

    def reset(self) -> None:
        """Forget all frames."""
        self.before = None
        self.resets += 1

    def process(self, rgb, *, stamp, K=None, motion: Motion = NO_MOTION) -> DepthResult:
        """Take the next frame."""
        self.told.append(motion)
        pose, before = motion.T_world_cam, self.before
        if K is None or pose is None:
            return self._result(
                stamp, K, motion, "no intrinsics" if K is None else "no camera pose"
            )
        self.before = pose
        if before is None:
            return self._result(stamp, K, motion, "no past frame yet")
        step = float(np.linalg.norm(pose[:3, 3] - before[:3, 3]))
        size = rgb.shape[:2]
        sigma = np.full(size, SURE, np.float32)
        sigma[:, : size[1] // 2] = UNSURE
        return DepthResult(
            depth=np.full(size, max(10 * step, 1e-3), np.float32),
            valid=np.ones(size, bool),
            confidence=np.where(sigma == np.float32(SURE), 0.9, 0.3).astype(np.float32),
            K=K,
            scale="metric" if motion.metric else "relative",
            scale_source="camera poses",
            stamp=stamp,
            decision=Decision("sweep", (1,), (step,)),
            timing=Timing(0.0, 1.0, 0.0),
            sigma=sigma,
        )

    def _result(self, stamp, K, motion: Motion, reason: str) -> DepthResult:
        scale = "metric" if motion.metric else "relative"
        return DepthResult(None, None, None, K, scale, "camera poses", stamp, reason=reason)
