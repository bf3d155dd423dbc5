# SPDX-License-Identifier: Apache-2.0
"""Errors of depth against the sigmas that came with it."""

import math

import numpy as np
import pytest

from depthkit.errors import ShapeError
from depthkit.evaluation.depth_sigma import BAND, BandCoverage

ALL = np.ones((1, 4), bool)


def row(*values: float) -> np.ndarray:
    """A map of one row. (1, W)"""
    return np.array([values])


def test_the_band_by_hand() -> None:
    """ln(10) / sqrt(2) = 1.6282: within 0.16 of log depth where sigma is 0.1."""
    assert pytest.approx(math.log(10) / math.sqrt(2)) == BAND == pytest.approx(1.6282, abs=1e-4)
    coverage, gt = BandCoverage(), row(2.0, 2.0, 2.0, 2.0)
    pred = 2 * np.exp(row(0.16, -0.16, 0.17, -0.17))
    coverage.add(pred, gt, row(0.1, 0.1, 0.1, 0.1), ALL)
    assert (coverage.inside, coverage.pixels, coverage.share) == (2, 4, 0.5)


def test_right_sigmas_cover_nine_of_ten() -> None:
    """Errors drawn from the Laplace distribution of their sigma: 0.9, to three deviations."""
    rng, count = np.random.default_rng(1), 40_000
    sigma = rng.uniform(0.01, 0.3, (200, count // 200))
    gt = rng.uniform(1, 5, sigma.shape)
    pred = gt * np.exp(rng.laplace(scale=sigma / math.sqrt(2)))
    coverage = BandCoverage()
    coverage.add(pred, gt, sigma, np.ones(sigma.shape, bool))
    assert coverage.share == pytest.approx(0.9, abs=3 * math.sqrt(0.09 / count))


def test_pixels_without_truth_or_sigma_do_not_count() -> None:
    """Unknown sigmas are 0 or NaN; frames add up; nothing at all has no share."""
    coverage = BandCoverage()
    assert coverage.share is None
    gt, pred = row(1, 1, 1, 1), row(1, 1, 1, 1)
    coverage.add(pred, gt, row(0.1, 0, np.nan, 0.1), np.array([[True, True, True, False]]))
    assert (coverage.inside, coverage.pixels) == (1, 1)
    coverage.add(pred, gt, row(0.1, 0.1, 0.1, 0.1), ALL)
    assert coverage.pixels == 5


def test_maps_of_other_sizes_are_the_callers_bug() -> None:
    """All four are of one size."""
    with pytest.raises(ShapeError, match="BandCoverage: sigma"):
        BandCoverage().add(row(1, 1), row(1, 1), row(1), ALL[:, :2])
