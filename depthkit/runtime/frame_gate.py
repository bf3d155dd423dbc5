# SPDX-License-Identifier: Apache-2.0
"""May this frame go on from the last one? The checks that all streams of frames share.

A gate only answers. What follows from the answer is the stream's own decision: depth leaves a
repeated or black frame out and keeps its past, odometry ends its segment.
"""

import numpy as np

from depthkit.errors import DataError
from depthkit.runtime.preprocess import check_frame

Intrinsics = tuple[tuple[int, int], np.ndarray | None]
"""(H, W) of a camera's frames, and K, pixels; None where it is not known."""

SAME_K = 1e-3
"""Relative change of the intrinsics above which they are another camera's."""

BLACK_FRAME = "the frame is black; a covered lens or an empty buffer"


class FrameGate:
    """Remembers the last good frame's stamp, size and intrinsics. One thread at a time."""

    def __init__(self, max_gap: float) -> None:
        """Start with no frame.

        Args:
            max_gap: longest pause between two frames that belong together, seconds.
        """
        self.max_gap = max_gap
        self.last_stamp = -np.inf
        self._camera: Intrinsics | None = None

    def fault_of(self, rgb: np.ndarray, stamp: float) -> str:
        """Say what makes a frame unusable by itself; empty where nothing does.

        Args:
            rgb: (H, W, 3) uint8
            stamp: seconds.

        Raises:
            TypeError: the frame is not an array: the caller's bug.
        """
        if not isinstance(rgb, np.ndarray):
            raise TypeError(f"frame must be a numpy array, got {type(rgb).__name__}")
        try:
            check_frame(rgb)
        except DataError as error:
            return str(error)
        return "" if np.isfinite(stamp) else f"stamp must be finite, got {stamp}"

    def repeats(self, stamp: float) -> bool:
        """Whether a frame has the stamp of the one before: a driver sent it twice."""
        return stamp == self.last_stamp

    def steady(self, size: tuple[int, int], K: np.ndarray | None) -> Intrinsics:
        """Return the camera of a frame, see `steady_intrinsics`.

        Args:
            size: (H, W) of the frame.
            K: intrinsics at that size, pixels; None where unknown. (3, 3)
        """
        return steady_intrinsics(self._camera, (size, K))

    def break_before(self, stamp: float, camera: Intrinsics) -> str:
        """Say why a good frame does not go on from the last one; empty where it does.

        Args:
            stamp: seconds.
            camera: from `steady`.
        """
        pause, before = stamp - self.last_stamp, self._camera
        if pause < 0:
            return f"time ran back by {-pause:.3f} s"
        if pause == 0:
            return f"stamp {stamp:.6f} s came before"
        if np.isfinite(pause) and pause > self.max_gap:
            return f"no frame for {pause:.2f} s, over {self.max_gap:g}"
        if before is not None and before[0] != camera[0]:
            return f"frames of another size: {_words(before[0])} before, {_words(camera[0])} now"
        if before is not None and before is not camera:
            return "the intrinsics changed"
        return ""

    def enter(self, stamp: float, camera: Intrinsics) -> None:
        """Make a frame the last good one."""
        self.last_stamp, self._camera = stamp, camera


def steady_intrinsics(before: Intrinsics | None, now: Intrinsics) -> Intrinsics:
    """Return the camera of before where now differs by the noise of a calibration alone.

    At the network's focal length, frames of one camera then have one size.
    """
    size, K = now
    if before is not None and before[0] == size and _same(before[1], K):
        return before
    return size, None if K is None else np.array(K, dtype=np.float64)


def _same(before: np.ndarray | None, now: np.ndarray | None) -> bool:
    if before is None or now is None:
        return before is now
    return np.allclose(before, now, rtol=SAME_K, atol=1e-6)


def _words(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"
