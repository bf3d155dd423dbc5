# SPDX-License-Identifier: Apache-2.0
"""Scores of matches by hand: repeatability, matching accuracy, corner error, pose error, AUC."""

import numpy as np
import pytest

from depthkit.errors import DataError
from depthkit.evaluation.matching import (
    HomographyScore,
    corner_error,
    inside,
    matching_accuracy,
    mean_homography,
    repeatability,
    score_homography,
    transfer,
    transfer_errors,
)
from depthkit.evaluation.pose_pairs import (
    PoseScore,
    choose_pairs,
    mean_pose,
    pose_auc,
    pose_error,
)

SHIFT = np.array([[1.0, 0, 10], [0, 1, 0], [0, 0, 1]])
"""Ten pixels to the right."""
SIZES = ((50, 100), (50, 100))


def test_repeatability_counts_points_visible_in_both() -> None:
    """Of a (5, 5) and (20, 5) stay inside, (95, 5) leaves; of b (3, 3) was never in a.

    (5, 5) goes onto (15, 5); (20, 5) comes 4 px beside (30, 9): 1 of 2 found there, 1 of 2 back.
    """
    a = np.array([[5.0, 5], [20, 5], [95, 5]])
    b = np.array([[15.0, 5], [30, 9], [3, 3]])
    assert repeatability(a, b, SHIFT, SIZES) == 0.5
    assert repeatability(a, b, SHIFT, SIZES, limit=4.0) == 1.0
    assert repeatability(a[2:], b[2:], SHIFT, SIZES) == 0.0
    assert repeatability(a, np.zeros((0, 2)), SHIFT, SIZES) == 0.0


def test_edge_pixels_are_inside_as_a_whole() -> None:
    """A pixel reaches half a pixel beyond its centre: -0.5 is inside, 99.5 is not."""
    points = np.array([[-0.5, 0], [-0.51, 0], [99.4, 49.4], [99.5, 0]])
    assert inside(points, np.eye(3), (50, 100)).tolist() == [True, False, True, False]


def test_what_goes_behind_the_camera_is_nowhere() -> None:
    """w = 1 - u / 50 is 0 at u = 50 and negative beyond: no position, and an infinite error."""
    H = np.array([[1.0, 0, 0], [0, 1, 0], [-0.02, 0, 1]])
    moved = transfer(np.array([[25.0, 10], [50, 10], [75, 10]]), H)
    assert moved[0].tolist() == [50, 20] and np.isnan(moved[1:]).all()
    assert np.isnan(transfer(np.array([[75.0, 10]]), -H)).all()  # the same homography
    assert transfer_errors(np.array([[75.0, 10]]), np.zeros((1, 2)), H).tolist() == [np.inf]


def test_matching_accuracy_by_hand() -> None:
    """Errors of 0.5, 2, 4 and 10 px: a quarter, a half and three quarters; no match is 0."""
    assert matching_accuracy(np.array([0.5, 2, 4, 10])) == (0.25, 0.5, 0.75)
    assert matching_accuracy(np.zeros(0)) == (0.0, 0.0, 0.0)


def test_corner_error_by_hand() -> None:
    """A shift by (3, 4) moves every corner by 5; a zoom by 1.01 about the first pixel by hand."""
    assert corner_error(np.array([[1.0, 0, 3], [0, 1, 4], [0, 0, 1]]), np.eye(3), (50, 100)) == 5
    zoom = corner_error(np.diag([1.01, 1.01, 1]), np.eye(3), (41, 31))
    assert zoom == pytest.approx((0 + 0.3 + 0.4 + 0.5) / 4)
    behind = np.array([[1.0, 0, 0], [0, 1, 0], [-0.02, 0, 1]])
    assert corner_error(behind, np.eye(3), (50, 100)) == np.inf
    assert corner_error(np.diag([1.0, 1, 0]), np.eye(3), (50, 100)) == np.inf


def test_score_of_a_pair_by_hand() -> None:
    """Three features each, two visible: one right match is half of them."""
    a = np.array([[5.0, 5], [20, 5], [95, 5]])
    b = np.array([[15.0, 5], [30, 9], [3, 3]])
    score = score_homography((a, b), (a[:1], b[:1]), SHIFT, SHIFT, SIZES)
    assert score == HomographyScore((3, 3), 0.5, 1, 0.5, (1.0, 1.0, 1.0), 0.0)
    without = score_homography(None, (a[:2], b[:2]), None, SHIFT, SIZES)
    assert without == HomographyScore((0, 0), None, 2, None, (0.5, 0.5, 1.0), np.inf)


def test_a_pair_without_homography_counts_as_wrong() -> None:
    """Corner errors of 0.5 px and none found: half of the pairs at every threshold."""
    found = HomographyScore((10, 20), 0.5, 4, 0.4, (1.0, 1.0, 1.0), 0.5)
    lost = HomographyScore((10, 20), 0.1, 0, 0.0, (0.0, 0.0, 0.0), np.inf)
    mean = mean_homography([found, lost])
    assert (mean.pairs, mean.found, mean.features, mean.matches) == (2, 1, 15, 2)
    assert mean.homography == mean.accuracy == (0.5, 0.5, 0.5)
    assert mean.repeatability == pytest.approx(0.3)
    with pytest.raises(DataError, match="no pair"):
        mean_homography([])


def turn(degrees: float) -> np.ndarray:
    """Turn about the optical axis. (3, 3)"""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


@pytest.mark.parametrize(
    ("rotation", "direction", "error"),
    [
        (0.0, (1.0, 0, 0), 0.0),
        (3.0, (2.0, 0, 0), 3.0),
        (3.0, (np.cos(np.radians(7)), np.sin(np.radians(7)), 0), 7.0),
        (0.0, (-1.0, 0, 0), 0.0),
        (0.0, (0.0, 1.0, 0), 90.0),
        (170.0, (1.0, 0, 0), 170.0),
    ],
)
def test_pose_error_is_the_larger_angle(
    rotation: float, direction: tuple[float, float, float], error: float
) -> None:
    """Rotation against direction of translation, whose sign and length are left open."""
    T = np.eye(4)
    T[:3, 3] = 0.2, 0, 0
    assert pose_error(turn(rotation), np.array(direction), T) == pytest.approx(error, abs=1e-6)


def test_auc_by_hand() -> None:
    """One of two pairs at 2 degrees: the curve climbs to 1/2 at 2, then stays until 5.

    Area 2 * 0.5 / 2 + 3 * 0.5 = 2 of 5; up to 10 degrees 0.5 + 8 * 0.5 = 4.5 of 10.
    """
    assert pose_auc(np.array([2.0, np.inf]), (5, 10)) == pytest.approx((0.4, 0.45))
    assert pose_auc(np.array([np.inf, np.inf])) == (0.0, 0.0, 0.0)
    assert pose_auc(np.zeros(4)) == (1.0, 1.0, 1.0)


def test_pose_means_count_failures() -> None:
    """Two of three without a pose: the median is infinite."""
    scores = [PoseScore((8, 8), 4, 2, error) for error in (1.0, np.inf, np.inf)]
    mean = mean_pose(scores)
    assert (mean.pairs, mean.found, mean.median_deg, mean.inliers) == (3, 1, np.inf, 2)
    with pytest.raises(DataError, match="no pair"):
        mean_pose([])


def test_pairs_keep_the_gap_and_leave_out_what_has_no_truth() -> None:
    """A camera that moves, rests from frame 60, and has no pose at frame 20."""
    poses = np.tile(np.eye(4), (100, 1, 1))
    poses[:, 0, 3] = np.minimum(np.arange(100), 60)
    poses[20] = np.nan
    pairs = choose_pairs(poses, (5, 9), 200)
    assert len(pairs) > 30 and pairs == choose_pairs(poses, (5, 9), 200)
    assert {j - i for i, j in pairs} == {5, 6, 7, 8, 9}
    assert all(20 not in pair and i < 60 for pair in pairs for i in pair[:1])
    assert len(pairs) == len(set(pairs))
    assert choose_pairs(poses[:5], (5, 9), 10) == []
