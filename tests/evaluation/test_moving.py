# SPDX-License-Identifier: Apache-2.0
"""Masks of moving objects: overlap and average precision by hand."""

import numpy as np
import pytest

from depthkit.errors import ShapeError
from depthkit.evaluation.moving import average_precision, intersection_over_union

TRUTH = np.array([True, True, False, True, False, False])


def test_overlap_by_hand() -> None:
    """Two in both, four in either; nothing in either is no figure."""
    mask = np.array([True, True, True, False, False, False])
    assert intersection_over_union(mask, TRUTH) == 2 / 4
    assert intersection_over_union(~TRUTH, TRUTH) == 0
    assert intersection_over_union(mask & False, TRUTH & False) is None


def test_precision_by_hand() -> None:
    """In order hit, hit, miss, hit: precisions 1, 1 and 3/4 at the three hits."""
    score = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    assert average_precision(score, TRUTH) == pytest.approx((1 + 1 + 3 / 4) / 3)
    assert average_precision(-score, TRUTH) == pytest.approx((1 / 3 + 2 / 5 + 3 / 6) / 3)


def test_only_the_order_counts() -> None:
    """Any rising scale, shape and order of pixels give the same."""
    rng = np.random.default_rng(0)
    score, truth = rng.normal(size=(20, 30)), rng.random((20, 30)) > 0.8
    expected = average_precision(score, truth)
    assert average_precision(np.exp(3 * score) - 5, truth) == pytest.approx(expected)
    shuffled = rng.permutation(score.size)
    again = average_precision(score.ravel()[shuffled], truth.ravel()[shuffled])
    assert again == pytest.approx(expected)
    assert average_precision(truth.astype(float), truth) == 1


def test_ties_are_chance() -> None:
    """A constant gets the share of moving pixels, whatever their order."""
    for truth in (TRUTH, TRUTH[::-1]):
        assert average_precision(np.zeros(6), truth) == pytest.approx(0.5)
    assert average_precision(np.array([1.0, 1, 0, 0, 0, 0]), TRUTH) == pytest.approx(
        2 / 3 * 1 + 1 / 3 * 3 / 6
    )


def test_nothing_that_moves_is_no_figure() -> None:
    """Without moving pixels there is no recall; other shapes are the caller's bug."""
    assert average_precision(np.ones(3), np.zeros(3, bool)) is None
    assert average_precision(np.ones(0), np.zeros(0, bool)) is None
    with pytest.raises(ShapeError, match="moving score"):
        average_precision(np.ones(3), np.ones((3, 1), bool))
