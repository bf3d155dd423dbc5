# SPDX-License-Identifier: Apache-2.0
"""Edge-aware filling: averages by hand, edges that stop it."""

import numpy as np
import pytest

from depthkit.errors import ShapeError
from depthkit.multiview.global_smoother import fill


def test_an_even_picture_fills_from_what_is_known():
    """One value known anywhere: everything takes it."""
    values, weight = np.zeros((12, 15), np.float32), np.zeros((12, 15), np.float32)
    values[4, 5], weight[4, 5] = 3.0, 2.0
    filled, reach = fill(values, weight, np.zeros((12, 15), np.uint8))
    assert np.allclose(filled, 3.0, rtol=1e-4) and (reach > 0).all()


def test_a_constant_map_stays_whatever_the_weights():
    """A weighted mean of equal values is that value."""
    rng = np.random.default_rng(0)
    weight = rng.uniform(0.1, 5, (10, 14)).astype(np.float32)
    grey = rng.integers(0, 255, (10, 14)).astype(np.uint8)
    filled, _ = fill(np.full((10, 14), 0.7, np.float32), weight, grey)
    assert np.allclose(filled, 0.7, rtol=1e-4)


def test_an_edge_of_the_picture_stops_the_filling():
    """Left dark with 1, right bright with 2, nothing known near the edge."""
    grey = np.zeros((20, 40), np.uint8)
    grey[:, 20:] = 200
    values, weight = np.ones((20, 40), np.float32), np.zeros((20, 40), np.float32)
    values[:, 20:] = 2
    weight[:, :5] = weight[:, -5:] = 1
    filled, _ = fill(values, weight, grey)
    assert np.abs(filled[:, :20] - 1).max() < 0.05 and np.abs(filled[:, 20:] - 2).max() < 0.05


def test_the_weight_that_arrives_is_conserved():
    """Each pass is a tridiagonal system whose columns add up to 1: no weight appears or is lost."""
    weight = np.random.default_rng(0).uniform(0, 1, (9, 11)).astype(np.float32)
    grey = np.random.default_rng(1).integers(0, 255, (9, 11)).astype(np.uint8)
    _, reach = fill(np.ones((9, 11), np.float32), weight, grey)
    assert np.isclose(reach.sum(), weight.sum(), rtol=1e-4)


def test_sizes_must_agree():
    """A guide of another size is refused."""
    with pytest.raises(ShapeError, match="guide"):
        fill(np.ones((4, 5)), np.ones((4, 5)), np.zeros((5, 4), np.uint8))
