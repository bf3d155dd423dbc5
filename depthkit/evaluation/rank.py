# SPDX-License-Identifier: Apache-2.0
"""Order without scale: Spearman's rank correlation, for depth whose unit nobody knows."""

import math

import numpy as np

from depthkit.errors import DataError, check_shape

MOST_RANKED = 4096
"""Pixels of an image whose ranks are compared by `rank_order`."""


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Correlate the ranks of two sets of numbers (Spearman 1904); equal numbers share a mean rank.

    Args:
        a, b: finite, any units. (N,) each

    Returns:
        1 the same order, -1 the reverse, about 0 for unrelated numbers.

    Raises:
        DataError: fewer than two pairs, or one side is constant: there is no order.
    """
    check_shape("rank_correlation: a", a, "N")
    check_shape("rank_correlation: b", b, str(len(a)))
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        raise DataError(f"rank_correlation: {len(a)} pairs, and no order among them")
    return float(np.corrcoef(_ranks(a), _ranks(b))[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def rank_order(pred: np.ndarray, gt: np.ndarray) -> float:
    """Correlate the order of two sets of depths, of every n-th pixel; NaN without an order. (N,)"""
    step = max(1, len(gt) // MOST_RANKED)
    try:
        return rank_correlation(pred[::step], gt[::step])
    except DataError:
        return math.nan
