# SPDX-License-Identifier: Apache-2.0
"""Robust estimates over numbers some of which are wrong: medians, biweight, a line."""

import numpy as np

MAD_TO_SIGMA = 1.4826
"""Standard deviation over the median absolute deviation of a normal distribution."""
TUKEY = 4.685
"""Standard deviations at which Tukey's biweight leaves a residual out: 95 % efficient."""


def weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """Return the value at which half of the weight is reached. (N,), (N,)"""
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weights[order])
    return float(values[order[np.searchsorted(total, total[-1] / 2)]])


def biweight(ratios: np.ndarray) -> np.ndarray:
    """Return Tukey's weights of residuals over their standard deviation. (N,)"""
    return np.maximum(1 - (ratios / TUKEY) ** 2, 0) ** 2


def repeated_median(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Fit a line of which just under half of the points may be wrong [Siegel 1982].

    All pairs are compared: memory and time grow with N^2.

    Args:
        x: (N,)
        y: (N,)

    Returns:
        Slope and intercept; slope 0 where all x are the same.
    """
    dx, dy = x[None] - x[:, None], y[None] - y[:, None]
    slopes = np.divide(dy, dx, out=np.full(dx.shape, np.nan), where=dx != 0)
    known = np.isfinite(slopes).any(axis=1)
    if not known.any():
        return 0.0, float(np.median(y))
    slope = float(np.median(np.nanmedian(slopes[known], axis=1)))
    return slope, float(np.median(y - slope * x))
