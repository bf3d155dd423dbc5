# SPDX-License-Identifier: Apache-2.0
"""Metres per unit of an odometry from a depth network's metres at the odometry's landmarks."""

from dataclasses import dataclass

import numpy as np

from depthkit.errors import check_shape

MAD_TO_SIGMA = 1.4826  # standard deviation over MAD of a normal distribution
OUTLIER = 3.0  # standard deviations from the median
LEAST_POINTS = 20
LEAST_SHARE = 0.6  # share of the points that must agree
MOST_SPREAD = 0.4  # relative spread of the agreeing ratios
INDEPENDENT = 9  # a network errs by whole regions: as many points at most count as independent


@dataclass(frozen=True)
class DepthRatio:
    """Metres per unit at one frame, or the reason why they are unknown."""

    factor: float | None
    """Median of network depth over landmark depth, metres per unit; None if unknown."""
    sigma: float | None
    """Its relative standard deviation; None if unknown."""
    reason: str = ""
    """Why the factor is unknown; empty if it is known."""


def depth_ratio(points_depth: np.ndarray, network_depth: np.ndarray) -> DepthRatio:
    """Compare depths of landmarks with those of a network.

    Args:
        points_depth: depth of the landmarks, in the odometry's unit; not finite or not above 0:
            unknown. (N,)
        network_depth: depth of the network at the same pixels, metres; likewise. (N,)

    Raises:
        ShapeError: the caller's bug.
    """
    check_shape("depth_ratio: points_depth", points_depth, "N")
    check_shape("depth_ratio: network_depth", network_depth, str(len(points_depth)))
    # 1. Log ratios where both are known.
    one, other = np.asarray(points_depth, np.float64), np.asarray(network_depth, np.float64)
    known = np.isfinite(one) & np.isfinite(other) & (one > 0) & (other > 0)
    if known.sum() < LEAST_POINTS:
        return DepthRatio(None, None, f"{known.sum()} points with depth, needs {LEAST_POINTS}")
    logs = np.log(other[known] / one[known])
    # 2. Those that agree: at most the largest spread from the median.
    away = np.abs(logs - np.median(logs))
    limit = OUTLIER * min(MAD_TO_SIGMA * float(np.median(away)), MOST_SPREAD)
    inside = logs[away <= max(limit, 1e-9)]
    spread = MAD_TO_SIGMA * float(np.median(np.abs(inside - np.median(inside))))
    share = len(inside) / len(logs)
    if share < LEAST_SHARE or spread > MOST_SPREAD:
        return DepthRatio(None, None, f"{share:.0%} of the points agree, within {spread:.0%}")
    # 3. A median's deviation is 1.25 times that of a mean.
    sigma = 1.25 * spread / np.sqrt(min(len(inside), INDEPENDENT))
    return DepthRatio(float(np.exp(np.median(inside))), max(float(sigma), 1e-3))
