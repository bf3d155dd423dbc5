# SPDX-License-Identifier: Apache-2.0
"""What becomes of a swept map: its uncertainty, fusion over time, and filling."""

from dataclasses import dataclass, replace

import numpy as np

from depthkit.multiview.global_smoother import fill
from depthkit.rigid import inverse
from depthkit.runtime.depth.sweep import Swept
from depthkit.runtime.depth.sweep_confidence import filled_sigma, swept_sigma
from depthkit.runtime.result import CONFIDENT_SIGMA

UNKNOWN = 2.0
"""Sigma of a pixel of which nothing is known."""
SAME = 0.05
"""Relative difference of inverse depths that are the same surface, or two levels."""
AGED = 1.1
"""Factor of sigma when a map is carried on: motion and rounding are not exact."""
DOUBT = 2.0
"""Factor of sigma where two maps disagree and the surer one stays."""
TRUST = 0.15
"""Sigma at which a measured value and the filled one count the same."""
WEIGHED_AT = 0.05
"""Sigma of a pixel that has the weight 1 in filling."""
DRIFT = 0.02
"""Drift of the scale that is carried from map to map, a square root of a second."""
FARTHEST = 0.5
"""Largest difference of log scale that is averaged; a larger one is another map."""
ENOUGH = 200
"""Pixels that both maps must be sure of for their scales to be compared."""
SUREST = 0.02
"""Sigma below which a pixel gains no more weight in filling."""


@dataclass(frozen=True, eq=False)
class DepthMap:
    """Inverse depth of a frame with its uncertainty."""

    inverse: np.ndarray
    """Inverse depth; 0 unknown. (h, w) float32"""
    sigma: np.ndarray
    """Relative standard deviation. (h, w) float32"""
    T_world_cam: np.ndarray
    """(4, 4)"""
    K: np.ndarray
    """Intrinsics at h x w, pixels. (3, 3)"""

    @property
    def sure(self) -> np.ndarray:
        """Pixels that count as measured. (h, w) bool"""
        return (self.inverse > 0) & (self.sigma <= CONFIDENT_SIGMA)

    def scaled(self, factor: float) -> "DepthMap":
        """Return the map with its inverse depths multiplied."""
        return replace(self, inverse=(self.inverse * factor).astype(np.float32))


class SteadyScale:
    """The common scale of the maps: a mean over time, by how well each frame knows it.

    The baselines of one frame are short, and an error of a centimetre in their length is one of
    several percent in all its depths. A Kalman filter of one number weighs them.
    """

    def __init__(self) -> None:
        """Start without a map."""
        self._variance, self._stamp, self._error = np.inf, 0.0, 0.0

    @property
    def sigma(self) -> float:
        """Relative standard deviation of the scale: at least that of the newest frame alone.

        The errors of frames in a row are alike, as poses drift slowly, so their mean steadies the
        scale and hardly makes it surer.
        """
        return max(float(np.sqrt(self._variance)), self._error)

    def take(self, error: float, stamp: float) -> float:
        """Return the weight of a new map's scale, 0 to 1.

        Args:
            error: its relative standard deviation.
            stamp: seconds.
        """
        drifted = self._variance + DRIFT**2 * (stamp - self._stamp)
        gain = 1.0 if np.isinf(drifted) else drifted / (drifted + error**2)
        self._variance = error**2 if np.isinf(drifted) else (1 - gain) * drifted
        self._stamp, self._error = stamp, error
        return float(gain)


def measured(swept: Swept, grey: np.ndarray, T_world_cam: np.ndarray, K: np.ndarray) -> DepthMap:
    """Give a swept map its uncertainty.

    Args:
        swept: result of the sweep.
        grey: target. (h, w) uint8
        T_world_cam: its pose. (4, 4)
        K: its intrinsics, pixels. (3, 3)
    """
    return DepthMap(swept.inverse, swept_sigma(swept, grey), T_world_cam, K)


def carried(last: DepthMap, T_world_cam: np.ndarray, K: np.ndarray) -> DepthMap:
    """Move a map into another frame by the known motion; the nearest point wins a pixel."""
    from depthkit.runtime.depth.fusion_kernels import carry

    T = inverse(T_world_cam) @ last.T_world_cam
    moved = np.zeros_like(last.inverse)
    sigma = np.full_like(last.sigma, UNKNOWN)
    turn = K @ T[:3, :3] @ np.linalg.inv(last.K)
    carry(last.inverse, last.sigma, turn, K @ T[:3, 3], moved, sigma)
    return DepthMap(moved, np.minimum(AGED * sigma, UNKNOWN), T_world_cam, K)


def steadied(new: DepthMap, last: DepthMap, *, gain: float) -> tuple[DepthMap, DepthMap]:
    """Bring a new map and the carried one to a common scale between theirs.

    The baselines of one frame are short, and an error of a centimetre in their length is one of
    several percent in all depths. So the scale is a mean over some seconds of motion.

    Args:
        new: of this frame.
        last: from `carried`.
        gain: share of the difference that the new map decides, 0 to 1.
    """
    both = new.sure & last.sure
    if both.sum() < ENOUGH:
        return new, last
    apart = float(np.median(np.log(new.inverse[both] / last.inverse[both])))
    if abs(apart) > FARTHEST:
        return new, last
    return new.scaled(np.exp(-(1 - gain) * apart)), last.scaled(np.exp(gain * apart))


def fused(new: DepthMap, last: DepthMap, *, step: float) -> DepthMap:
    """Fuse a map with the last one, carried into its frame.

    Args:
        new: of this frame.
        last: from `carried`.
        step: difference of two levels of the sweep.
    """
    known = last.inverse > 0
    near = np.abs(new.inverse - last.inverse) <= np.maximum(2 * step, SAME * new.inverse)
    # 1. Where both agree: the mean weighted by the inverse variance.
    a, b = 1 / new.sigma**2, np.where(known, 1 / last.sigma**2, 0)
    mean = (a * new.inverse + b * last.inverse) / (a + b)
    # The errors of both are alike, so the mean is no surer than they are on average.
    together = np.sqrt(2 / (a + b))
    # 2. Where they do not: the surer one stays, with doubt.
    older = known & ~near & (last.sigma < new.sigma)
    agree, differ = known & near, known & ~near
    value = np.where(agree, mean, np.where(older, last.inverse, new.inverse))
    sigma = np.where(agree, together, np.where(older, last.sigma, new.sigma))
    # The doubt is as large as the other map was sure.
    surer, other = np.minimum(new.sigma, last.sigma), np.maximum(new.sigma, last.sigma)
    sigma = np.where(differ, sigma * (1 + (DOUBT - 1) * surer / other), sigma)
    return DepthMap(
        value.astype(np.float32),
        np.minimum(sigma, UNKNOWN).astype(np.float32),
        new.T_world_cam,
        new.K,
    )


def dense(own: DepthMap, grey: np.ndarray) -> DepthMap:
    """Fill unsure pixels from sure ones along the picture's edges.

    Args:
        own: measured map.
        grey: its picture. (h, w) uint8
    """
    value, filled, reach = smoothed(own, grey)
    sigma = filled_sigma(own.sigma, own.inverse, filled, value, reach)
    return DepthMap(value.astype(np.float32), sigma, own.T_world_cam, own.K)


def smoothed(own: DepthMap, grey: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the inverse depth after filling, the smooth map, and the weight that reached it.

    Args:
        own: measured map.
        grey: its picture. (h, w) uint8

    Returns:
        (h, w) each.
    """
    weight = (WEIGHED_AT / np.maximum(own.sigma, SUREST)) ** 2
    filled, reach = fill(own.inverse, weight.astype(np.float32), grey)
    # A measured pixel keeps its value as far as it is sure.
    share = TRUST**2 / (TRUST**2 + own.sigma**2)
    value = np.maximum(share * own.inverse + (1 - share) * filled, np.float32(1e-9))
    return value, filled, reach
