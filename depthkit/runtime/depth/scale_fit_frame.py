# SPDX-License-Identifier: Apache-2.0
"""A network's depth against sparse points of one frame: one factor, or a factor and a shift.

    1 / D = q / factor + shift,    q = 1 / depth by the network

with D the depth of a point. A network that learnt inverse depth up to scale and shift needs both
[Ranftl 2020, eq. 3]; they are told apart only by points of different depths. All residuals are
relative: logarithms of a ratio of depths.
"""

from dataclasses import dataclass

import numpy as np

from depthkit.multiview.robust import (
    MAD_TO_SIGMA,
    TUKEY,
    biweight,
    repeated_median,
    weighted_median,
)

LEAST_POINTS = 10
"""Points that one factor needs: 10 to 20 scale a single view."""
SHIFT_POINTS = 50
"""Points that a shift needs."""
SHIFT_SPAN = 2.0
"""Ratio of their 95th to their 5th percentile of depth that a shift needs: on one plane factor and
shift cannot be told apart. Chosen on RedKitchen 0-199 with a network trained on other frames:
abs_rel 0.300 without a shift and at 3, 0.206 at 2, 0.219 and less steady at 1.5."""
HELPS = 0.9
"""Error on held-out points over that of the simpler fit, below which the larger one is taken."""
TILES = 4
"""Rows and columns of the picture's chequerboard: a fit to the white squares is judged on the black
ones, and the other way round. A network errs by whole regions, so neighbours prove nothing."""
NETWORK_SIGMA = 0.1
"""Relative error of a network at one pixel, beside which that of a point counts."""
CROWD, CELLS = 4, (6, 8)
"""Points that count in full in each of 6 x 8 cells of the picture; more share their weight. Points
crowd where there is texture, and the depth of the rest of the picture matters as much. Chosen on
RedKitchen 0-199: abs_rel 0.292 by all points alike, 0.269 so."""
LEAST_SHARE = 0.5
"""Share of the points, by weight, that must agree with a factor."""
MOST_SPREAD = 0.5
"""Relative spread of the agreeing points above which there is no factor."""
CERTAIN = 2.0
"""Standard deviations that a shift, or a factor on metres, must differ from none."""
INDEPENDENT = 9
"""Points at most that count as independent: a network errs by whole regions."""
ROUNDS = 10
SMALLEST = 1e-6
"""Smallest spread: exact points have none."""
PAIRED = 120
"""Points at most of which all pairs are compared for the start of a fit with a shift."""


@dataclass(frozen=True, eq=False)
class FitPoints:
    """Depths at the points of one frame, all of them known."""

    network: np.ndarray
    """Depth by the network, its own unit. (N,)"""
    measured: np.ndarray
    """Depth of the points, unit of the odometry. (N,)"""
    weight: np.ndarray
    """Weight of each point, above 0. (N,)"""
    white: np.ndarray
    """Whether the point lies on a white square of the chequerboard. (N,) bool"""

    def __len__(self) -> int:
        return len(self.network)

    def part(self, chosen: np.ndarray) -> "FitPoints":
        """Return some of the points. chosen: (N,) bool or indices"""
        return FitPoints(
            self.network[chosen], self.measured[chosen], self.weight[chosen], self.white[chosen]
        )


@dataclass(frozen=True)
class Level:
    """Factor of one frame at a given shift."""

    log: float
    """Logarithm of the factor."""
    sigma: float
    """Standard deviation of that logarithm."""
    residual: float
    """Relative spread of the agreeing points about the fit."""
    agreeing: int
    """Number of points that agree."""


@dataclass(frozen=True)
class Shift:
    """Shift of one frame, in the network's own inverse unit: `factor * shift`."""

    value: float
    sigma: float
    """Standard deviation."""


def weights_of(sigma: np.ndarray, pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the weight of each point by its own certainty and by how crowded its cell is.

    Args:
        sigma: relative standard deviation of its depth. (N,)
        pixels: column and row, inside the picture. (N, 2) int
        size: (H, W) of the picture.
    """
    column, row = (pixels * CELLS[::-1] // np.array(size[::-1])).T
    cell = row * CELLS[1] + column
    crowded = np.bincount(cell, minlength=CELLS[0] * CELLS[1])[cell]
    return np.minimum(1, CROWD / crowded) / (sigma**2 + NETWORK_SIGMA**2)


def find_level(points: FitPoints, shift: float = 0.0) -> Level | None:
    """Fit the factor; None where points are too few or do not agree.

    Args:
        points: of the frame.
        shift: added to the network's inverse depth first, in its unit.
    """
    inverse = 1 / points.network + shift
    ahead = inverse > 0
    if ahead.sum() < LEAST_POINTS:
        return None
    logs = np.log(points.measured[ahead] * inverse[ahead])
    weights = points.weight[ahead]
    # 1. Start at the weighted median; its spread decides what agrees.
    centre = weighted_median(logs, weights)
    spread = max(MAD_TO_SIGMA * weighted_median(np.abs(logs - centre), weights), SMALLEST)
    # 2. Tukey's biweight.
    for _ in range(ROUNDS):
        kept = weights * biweight((logs - centre) / spread)
        centre = float(kept @ logs / kept.sum())
    inside = np.abs(logs - centre) < TUKEY * spread
    residual = MAD_TO_SIGMA * weighted_median(np.abs(logs[inside] - centre), weights[inside])
    agreeing = float(weights[inside].sum() / points.weight.sum())
    if agreeing < LEAST_SHARE or residual > MOST_SPREAD:
        return None
    count = int(inside.sum())
    sigma = max(residual, SMALLEST) / np.sqrt(min(count, INDEPENDENT))
    return Level(centre, float(sigma), residual, count)


def find_shift(points: FitPoints) -> Shift | None:
    """Find the shift; None where the points do not tell it from 0, or from a factor."""
    if not tells_shift(points):
        return None
    fit = fit_inverse(points)
    if fit is None or abs(fit[1]) < CERTAIN * fit[2]:
        return None
    return Shift(fit[1] / fit[0], fit[2] / fit[0])


def tells_shift(points: FitPoints) -> bool:
    """Return whether points are enough and of different depths."""
    if len(points) < SHIFT_POINTS:
        return False
    near, far = np.percentile(points.measured, (5, 95))
    return bool(far >= SHIFT_SPAN * near)


def fit_inverse(points: FitPoints) -> tuple[float, float, float] | None:
    """Fit `1 / D = a q + b` to relative residuals, robustly.

    Returns:
        a, b and the standard deviation of b; None where a is not above 0.
    """
    q, D, weights = 1 / points.network, points.measured, points.weight
    # 1. Start: repeated median of the slopes of pairs [Siegel 1982], half of which may be wrong.
    chosen = np.argsort(q, kind="stable")[:: max(1, len(q) // PAIRED)]
    a, b = repeated_median(q[chosen], 1 / D[chosen])
    # 2. Weighted least squares of D (a q + b) - 1, Tukey's biweight anew in each round.
    rows = np.stack([q * D, D], axis=1)
    normal, spread = np.eye(2), SMALLEST
    for _ in range(ROUNDS):
        away = rows @ (a, b) - 1
        spread = max(MAD_TO_SIGMA * weighted_median(np.abs(away), weights), SMALLEST)
        kept = weights * biweight(away / spread)
        normal = rows.T @ (kept[:, None] * rows)
        if np.linalg.cond(normal) > 1e12:
            return None
        a, b = (float(one) for one in np.linalg.solve(normal, rows.T @ kept))
    if not a > 0:
        return None
    # 3. Neighbours err alike: no more than INDEPENDENT points count.
    correlated = kept.sum() / weights.max() / INDEPENDENT
    variance = spread**2 * weights.max() * max(1.0, correlated) * np.linalg.inv(normal)[1, 1]
    return a, b, float(np.sqrt(variance))


def shift_helps(points: FitPoints) -> bool:
    """Return whether held-out points agree better with a shift than with a factor alone."""
    plain, shifted = [], []
    for fitted in (points.white, ~points.white):
        train, held = points.part(fitted), points.part(~fitted)
        if min(len(train), len(held)) < LEAST_POINTS:
            return False
        level, fit = find_level(train), fit_inverse(train)
        if fit is None:
            return False
        factor = np.inf if level is None else np.exp(level.log)  # without a factor all is wrong
        plain.append(_error(held, 1 / (factor * held.network)))
        shifted.append(_error(held, fit[0] / held.network + fit[1]))
    return max(shifted) < np.inf and sum(shifted) < HELPS * sum(plain)


def factor_helps(points: FitPoints) -> bool:
    """Return whether held-out points agree better with a fitted factor than with depth as it is.

    A factor within the noise of its fit does not count: by chance it often agrees better.
    """
    level = find_level(points)
    if level is None or abs(level.log) < CERTAIN * level.sigma:
        return False
    plain, scaled = 0.0, 0.0
    for fitted in (points.white, ~points.white):
        train, held = points.part(fitted), points.part(~fitted)
        level = find_level(train)
        if level is None or len(held) < LEAST_POINTS:
            return False
        plain += _error(held, 1 / held.network)
        scaled += _error(held, np.exp(-level.log) / held.network)
    return scaled < HELPS * plain


def _error(points: FitPoints, inverse: np.ndarray) -> float:
    """Median relative error of an inverse depth that was fitted elsewhere. (N,)"""
    with np.errstate(divide="ignore", invalid="ignore"):
        away = np.abs(np.log(points.measured * inverse))
    return weighted_median(np.where(inverse > 0, away, np.inf), points.weight)
