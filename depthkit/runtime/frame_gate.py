# SPDX-License-Identifier: Apache-2.0
"""Does this frame continue the last one? The checks that all streams of frames share.

The gate only reports. What follows is each stream's own decision: depth skips a repeated or black
frame and keeps its past frames, odometry ends its segment.
"""

import numpy as np

from depthkit.errors import DataError
from depthkit.runtime.preprocess import check_frame

Intrinsics = tuple[tuple[int, int], np.ndarray | None]
"""(H, W) of a camera's frames, and K in pixels; K is None where unknown."""

SAME_K = 1e-3
"""Relative change of the intrinsics above which the camera counts as another one."""

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
        """Return why a frame is unusable on its own; empty if it is usable.

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
        """Whether a frame has the stamp of the previous one: a driver sent it twice."""
        return stamp == self.last_stamp

    def steady(self, size: tuple[int, int], K: np.ndarray | None) -> Intrinsics:
        """Return the camera of a frame, see `steady_intrinsics`.

        Args:
            size: (H, W) of the frame.
            K: intrinsics at that size, pixels; None where unknown. (3, 3)
        """
        return steady_intrinsics(self._camera, (size, K))

    def break_before(self, stamp: float, camera: Intrinsics) -> str:
        """Return why a usable frame does not continue the last one; empty if it does.

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
        """Record a frame as the last usable one."""
        self.last_stamp, self._camera = stamp, camera


def steady_intrinsics(before: Intrinsics | None, now: Intrinsics) -> Intrinsics:
    """Return the previous camera if the new one differs by calibration noise only.

    So all frames of one camera get one size at the network's focal length.
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
