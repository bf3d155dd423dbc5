# SPDX-License-Identifier: Apache-2.0
"""The door of the geometric odometry: which frames come in, and at which size."""

import numpy as np

from depthkit.errors import check_shape
from depthkit.runtime.frame_gate import BLACK_FRAME, FrameGate
from depthkit.runtime.odometry.front_end import (
    WorkingFrame,
    working_frame,
    working_size,
    working_valid,
)
from depthkit.runtime.preprocess import check_camera, is_black

NO_CAMERA = "the camera is unknown: geometry needs K; give a calibration"


class FrameDoor:
    """Refuses frames that are unusable and prepares the others (kept state)."""

    def __init__(self, *, max_gap: float, most: int, valid: np.ndarray | None) -> None:
        """Start with no frame.

        Args:
            max_gap: longest pause between two frames that are compared directly, seconds.
            most: largest number of pixels of a working frame.
            valid: pixels that are picture at all; everything if None. (H, W) bool
        """
        self._gate = FrameGate(max_gap)
        self._most, self._valid = most, valid
        self.last_stamp = -np.inf
        """Stamp of the last frame that came in, seconds."""

    @property
    def working_valid(self) -> np.ndarray | None:
        """Pixels that are picture at all, at the working size. (h, w) bool"""
        if self._valid is None:
            return None
        return working_valid(self._valid, working_size(self._valid.shape[:2], self._most))

    def fault(
        self, rgb: np.ndarray, stamp: float, K: np.ndarray | None
    ) -> tuple[str, np.ndarray | None]:
        """Return why the tracks end here, empty if they go on; no K where the frame is unusable.

        Args:
            rgb: (H, W, 3) uint8
            stamp: seconds.
            K: intrinsics at H x W, pixels; None where unknown. (3, 3)
        """
        fault = self._gate.fault_of(rgb, stamp) or (NO_CAMERA if K is None else "")
        if not fault and self._gate.repeats(stamp):
            fault = f"stamp {stamp:.3f} s came before; the frame is left out"
        if not fault and is_black(rgb[::4, ::4]):  # a sixteenth of the pixels tells it as well
            fault = BLACK_FRAME
        if not fault and self._valid is not None and self._valid.shape != rgb.shape[:2]:
            have, want = (f"{one[1]}x{one[0]}" for one in (rgb.shape, self._valid.shape))
            fault = f"the frame is {have}, the mask of valid pixels {want}; give one for each size"
        if fault or K is None:
            return fault, None
        check_camera(K)
        camera = self._gate.steady(rgb.shape[:2], K)
        broken = self._gate.break_before(stamp, camera) if np.isfinite(self.last_stamp) else ""
        self._gate.enter(stamp, camera)
        return broken, camera[1]

    def working(
        self, rgb: np.ndarray, *, stamp: float, K: np.ndarray, static: np.ndarray | None
    ) -> WorkingFrame:
        """Prepare a frame that `fault` let in.

        Args:
            rgb: (H, W, 3) uint8
            stamp: seconds.
            K: intrinsics at H x W, pixels. (3, 3)
            static: probability that a pixel is static, where something says it. (H, W)
        """
        if static is not None:
            check_shape("process: static", static, f"{rgb.shape[0]} {rgb.shape[1]}")
        self.last_stamp = stamp
        valid = self._valid
        return working_frame(rgb, K=K, stamp=stamp, most=self._most, valid=valid, static=static)
