# SPDX-License-Identifier: Apache-2.0
"""Distances between surfaces: numbers by hand, brute force, even sampling, bad input."""

import numpy as np
import pytest

from depthkit.errors import DataError
from depthkit.evaluation.meshes import distances_to, sample_mesh, score_surfaces

SQUARE = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]), np.array([[0, 1, 2], [0, 2, 3]])


def test_distances_equal_those_of_brute_force():
    """Random clouds: exact up to an eighth of the limit, at most a fifth too large beyond."""
    generator = np.random.default_rng(1)
    points, reference = generator.uniform(0, 1, (300, 3)), generator.uniform(0, 1, (400, 3))
    points[:20] += 0.4
    true = np.linalg.norm(points[:, None] - reference[None], axis=2).min(axis=1)
    found = distances_to(points, reference, most=2.0)
    near = true <= 0.25
    assert near.sum() > 250
    np.testing.assert_allclose(found[near], true[near], rtol=1e-12)
    assert (found >= true - 1e-12).all() and (found <= 1.2 * true).all()


def test_beyond_the_limit_nothing_is_near():
    """One point at 0.3, one at 3 of a limit of 1."""
    found = distances_to(np.array([[0.3, 0, 0], [3.0, 0, 0]]), np.zeros((1, 3)), most=1.0)
    assert found[0] == pytest.approx(0.3)
    assert found[1] == np.inf


def test_samples_are_as_many_as_the_area_says_and_even():
    """A unit square at a spacing of 0.02: 2500 points, each quarter with a quarter of them."""
    points = sample_mesh(*SQUARE, spacing=0.02)
    assert len(points) == 2500
    counts = np.histogram2d(points[:, 0], points[:, 1], bins=2, range=[[0, 1], [0, 1]])[0]
    assert np.abs(counts / 625 - 1).max() < 0.05
    assert (points[:, 2] == 0).all()


def test_a_shifted_half_has_half_the_completeness():
    """Half of the square, lifted by 0.03: distance 0.03, all of it near; half of the truth is."""
    truth = sample_mesh(*SQUARE, spacing=0.01)
    estimate = truth[truth[:, 0] < 0.5] + (0, 0, 0.03)
    score = score_surfaces(estimate, truth, within=0.05)
    assert score.accuracy_median == pytest.approx(0.03, rel=1e-6)
    assert score.accuracy_share == 1.0
    assert score.completeness == pytest.approx(0.54, abs=0.01)  # 0.04 beside the edge is near, too
    assert "completeness 5" in str(score)


def test_nothing_to_compare_is_an_error():
    """One line that names the empty side."""
    with pytest.raises(DataError, match="estimate holds no points"):
        score_surfaces(np.zeros((0, 3)), np.zeros((1, 3)))
