# SPDX-License-Identifier: Apache-2.0
"""Spearman's rank correlation, by hand."""

import numpy as np
import pytest

from depthkit.errors import DataError
from depthkit.evaluation.rank import rank_correlation


def test_rank_correlation_by_hand() -> None:
    """1 - 6 sum d^2 / (n (n^2 - 1)) without ties; any rising function leaves it as it is."""
    a = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    b = np.array([20.0, 10.0, 30.0, 50.0, 40.0])  # ranks 2 1 3 5 4: sum d^2 = 4
    assert rank_correlation(a, b) == pytest.approx(1 - 6 * 4 / (5 * 24))
    assert rank_correlation(a, np.exp(b)) == pytest.approx(0.8)
    assert rank_correlation(a, -b) == pytest.approx(-0.8)


def test_equal_numbers_share_a_rank() -> None:
    """Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: 4.5 / sqrt(4.5 * 5)."""
    a, b = np.array([1.0, 2.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0, 4.0])
    assert rank_correlation(a, b) == pytest.approx(4.5 / np.sqrt(4.5 * 5))


def test_no_order_is_refused() -> None:
    """A constant, or a single number, has no order."""
    with pytest.raises(DataError, match="no order"):
        rank_correlation(np.ones(5), np.arange(5.0))
    with pytest.raises(DataError, match="no order"):
        rank_correlation(np.ones(1), np.ones(1))
