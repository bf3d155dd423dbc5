# SPDX-License-Identifier: Apache-2.0
"""Homography and relative pose among wrong matches: exact truth comes back, the same every time."""

import numpy as np
import pytest

from depthkit.evaluation.matching import corner_error, transfer
from depthkit.evaluation.pose_pairs import pose_error
from depthkit.multiview.robust_fit import Robust, fit_homography, fit_relative_pose
from depthkit.rigid import exp_se3

H_TRUE = np.array([[0.9, 0.1, 20], [-0.05, 1.1, -8], [1e-4, -5e-5, 1]])
K = np.array([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]])


def wrong_from(points: np.ndarray, first: int) -> np.ndarray:
    """Replace the matches from a number on by drawn ones. (N, 2)"""
    drawn = np.random.default_rng(1).uniform((0, 0), (640, 480), points.shape)
    return np.where(np.arange(len(points))[:, None] < first, points, drawn)


@pytest.mark.parametrize("robust", ["magsac", "ransac"])
def test_homography_among_wrong_matches(robust: Robust) -> None:
    """60 exact matches of 100: the corners come to a hundredth of a pixel, twice the same bytes."""
    a = np.random.default_rng(0).uniform((0, 0), (640, 480), (100, 2))
    b = wrong_from(transfer(a, H_TRUE), 60)
    found = fit_homography(a, b, robust=robust)
    assert found is not None and corner_error(found, H_TRUE, (480, 640)) < 0.01
    again = fit_homography(a, b, robust=robust)
    assert again is not None and again.tobytes() == found.tobytes()


@pytest.mark.parametrize("robust", ["magsac", "ransac"])
def test_pose_among_wrong_matches(robust: Robust) -> None:
    """140 exact matches of 200 points in space: the pose comes to 0.1 degrees."""
    T_b_a = exp_se3(np.array([0.3, -0.1, 0.05, 0.02, -0.1, 0.05]))
    points = np.random.default_rng(0).uniform((-2, -1.5, 3), (2, 1.5, 8), (200, 3))
    moved = points @ T_b_a[:3, :3].T + T_b_a[:3, 3]
    a, b = ((p @ K.T)[:, :2] / p[:, 2:] for p in (points, moved))
    found = fit_relative_pose(a, wrong_from(b, 140), K, robust=robust)
    assert found is not None and found.inliers[:140].sum() > 130 and found.inliers.sum() < 160
    assert pose_error(found.R_b_a, found.direction_b_a, T_b_a) < 0.1
    assert found.direction_b_a @ T_b_a[:3, 3] > 0  # points in front of both cameras


def test_too_few_matches_are_no_answer() -> None:
    """Three matches give no homography, four no pose; matches on one spot give neither."""
    points = np.random.default_rng(0).uniform(0, 100, (4, 2))
    assert fit_homography(points[:3], points[:3]) is None
    assert fit_relative_pose(points, points, K) is None
    assert fit_homography(np.ones((30, 2)), np.ones((30, 2))) is None
