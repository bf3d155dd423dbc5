# SPDX-License-Identifier: Apache-2.0
"""The focal length of an unknown camera, from tracks alone.

The odometry runs over a stretch of frames under a first guess. Wherever its keyframes turn and move
enough, they say which focal length fits them better [focal_check; Hartley and Zisserman, Multiple
View Geometry, chapter 19]; with that one it runs again, until nothing changes. A camera that only
goes straight ahead, only turns or stands still determines no focal length: that is the answer then.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from depthkit.runtime.odometry.focal_check import FocalFit
from depthkit.runtime.odometry.geometric import GeometricConfig, GeometricOdometry

TYPICAL = 0.8
"""Focal length of a first guess, in picture widths: 64 degrees wide, as phones and webcams have."""
WIDTH = 320
"""Width of the frames that are looked at, pixels."""
EVERY = 6
"""New keyframes between two fits."""
ROUNDS = 5
"""Times that the odometry runs at most."""
SETTLED = 0.02
"""Change of the logarithm that is none: the next round would find the same."""
LEAST_FITS = 3
"""Fits that an answer needs."""
UNSHARP = 0.1
"""Standard deviation above which a single fit says nothing."""
FLOOR = 0.03
"""Standard deviation that no number of fits goes below: what lenses and rolling shutters do to the
fits of five training clips (rendered rooms, KITTI 02, MH_01, RedKitchen 0-199)."""
WIDEST = 0.1
"""Largest standard deviation of an answer."""
VIEWS = (0.25, 4.0)
"""Focal lengths that are believed, in picture widths: 127 to 14 degrees wide."""


@dataclass(frozen=True)
class FoundFocal:
    """What tracks say of a focal length."""

    focal: float
    """Focal length, in picture widths; that of the first guess where tracks do not say it."""
    sigma: float | None
    """Relative standard deviation; None where it is only the first guess."""
    fits: int = 0
    """Sets of keyframes that agreed on it."""
    reason: str = ""
    """Why tracks do not determine it; empty where they do."""


def search_focal(frames: Sequence[np.ndarray], times: np.ndarray) -> FoundFocal:
    """Find the focal length that the tracks of a stretch of video fit best.

    Args:
        frames: square pixels, principal point near the middle, no strong distortion; 10 a second
            are enough. (H, W, 3) uint8 each
        times: seconds, rising. (N,)

    Returns:
        The focal length, or why it is not determined.
    """
    small = [reduced(frame) for frame in frames]
    focal, fits = TYPICAL, list[FocalFit]()
    for _ in range(ROUNDS):
        # 1. The odometry under the focal length of now; its keyframes say how to change it.
        fits, posed = _fits(small, times, focal)
        if len(fits) < LEAST_FITS:
            return FoundFocal(TYPICAL, None, len(fits), _why_not(len(small), posed, len(fits)))
        change, sigma = _combine(fits)
        focal *= float(np.exp(change))
        # 2. Again, until nothing changes; what runs away is no camera.
        if not VIEWS[0] < focal < VIEWS[1]:
            return FoundFocal(TYPICAL, None, len(fits), "the tracks fit no usual focal length")
        if abs(change) < SETTLED:
            return _judged(focal, sigma, len(fits))
    return FoundFocal(TYPICAL, None, len(fits), f"it changes still after {ROUNDS} rounds")


def _judged(focal: float, sigma: float, count: int) -> FoundFocal:
    if sigma > WIDEST:
        why = f"the motion tells it to {100 * sigma:.0f} % only"
        return FoundFocal(TYPICAL, None, count, why)
    return FoundFocal(focal, sigma, count)


def _fits(
    frames: Sequence[np.ndarray], times: np.ndarray, focal: float
) -> tuple[list[FocalFit], int]:
    """Run the odometry; return what its keyframes say, and how many frames have a pose."""
    height, width = frames[0].shape[:2]
    f = focal * width
    K = np.array([[f, 0, (width - 1) / 2], [0, f, (height - 1) / 2], [0, 0, 1.0]])
    odometry = GeometricOdometry(GeometricConfig(keep_path=False))
    found, posed, last = list[FocalFit](), 0, 0
    for frame, time in zip(frames, times, strict=True):
        result = odometry.process(frame, stamp=float(time), K=K)
        if result.reason:
            continue
        posed += 1
        if odometry.keyframes >= last + EVERY:
            last, fit = odometry.keyframes, odometry.fit_focal()
            if fit is not None and fit.sigma < UNSHARP:
                found.append(fit)
    return found, posed


def _combine(fits: list[FocalFit]) -> tuple[float, float]:
    """Return the weighted median of the changes, and its standard deviation.

    Neighbouring fits share keyframes: their number counts half.
    """
    changes = np.array([one.change for one in fits])
    weights = 1 / np.array([max(one.sigma, FLOOR) for one in fits]) ** 2
    order = np.argsort(changes, kind="stable")
    half = np.searchsorted(np.cumsum(weights[order]), 0.5 * weights.sum())
    middle = float(changes[order][half])
    count = max(len(fits) / 2, 1.0)
    spread = 1.4826 * float(np.median(np.abs(changes - middle)))
    formal = float(np.sqrt(len(fits) / weights.sum()))
    return middle, float(np.hypot(FLOOR, max(spread, formal) / np.sqrt(count)))


def _why_not(count: int, posed: int, fits: int) -> str:
    if posed < 0.3 * count:
        return f"only {posed} of {count} frames move enough to be placed"
    return f"the camera turns and moves too little at once ({fits} of {LEAST_FITS} fits)"


def reduced(frame: np.ndarray) -> np.ndarray:
    """Return a frame at the size that the search works at. (H, W, 3) uint8"""
    height, width = frame.shape[:2]
    if width <= WIDTH:
        return frame
    size = WIDTH, max(1, round(height * WIDTH / width))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA))
