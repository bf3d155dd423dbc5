# SPDX-License-Identifier: Apache-2.0
"""Scores of features and matches of two pictures that a known homography relates.

Repeatability and homography accuracy as DeTone et al. (SuperPoint, CVPRW 2018, section 7 and
appendix A) define them, mean matching accuracy as Dusmanu et al. (D2-Net, CVPR 2019, section 5.1).
Only points that lie in both pictures can be repeated.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from depthkit.errors import DataError, check_shape

THRESHOLDS = (1.0, 3.0, 5.0)
"""Errors up to which a match, or a homography, counts as right, pixels."""
REPEAT_PIXELS = 3.0
"""Distance up to which a point counts as found again, pixels."""


@dataclass(frozen=True)
class HomographyScore:
    """Scores of one picture pair."""

    features: tuple[int, int]
    """Numbers of features in the two pictures; 0 for a matcher that has none."""
    repeatability: float | None
    """Share of the features visible in both pictures that are found again within REPEAT_PIXELS;
    0 without visible features, None for a matcher that has no features."""
    matches: int
    matched_share: float | None
    """Matches over the smaller number of features visible in both pictures; None as above."""
    accuracy: tuple[float, ...]
    """Share of the matches within each of THRESHOLDS; 0 without matches."""
    corner_error: float
    """Mean distance of the four corners under the found homography, pixels; infinite where none
    was found."""


@dataclass(frozen=True)
class HomographyMean:
    """Means over picture pairs; a pair without a homography counts as wrong at every threshold."""

    pairs: int
    found: int
    """Pairs in which a homography was found at all."""
    features: float
    repeatability: float | None
    matches: float
    matched_share: float | None
    accuracy: tuple[float, ...]
    """Mean matching accuracy at THRESHOLDS (MMA)."""
    homography: tuple[float, ...]
    """Share of the pairs with a corner error below THRESHOLDS."""


def score_homography(
    points: tuple[np.ndarray, np.ndarray] | None,
    matched: tuple[np.ndarray, np.ndarray],
    H_pred: np.ndarray | None,
    H_b_a: np.ndarray,
    sizes: tuple[tuple[int, int], tuple[int, int]],
) -> HomographyScore:
    """Score one picture pair.

    Args:
        points: all features of picture a and of picture b, pixels, (N, 2) each; None for a matcher
            that has none.
        matched: the matched positions in a and in b, pixels. (M, 2) each
        H_pred: the homography found from the matches, None without one. (3, 3)
        H_b_a: the true one, pixels of a to pixels of b. (3, 3)
        sizes: (H, W) of a and of b.
    """
    size_a, size_b = sizes
    a, b = points if points is not None else (np.zeros((0, 2)), np.zeros((0, 2)))
    H_a_b = np.linalg.inv(H_b_a)
    visible = min(inside(a, H_b_a, size_b).sum(), inside(b, H_a_b, size_a).sum())
    errors = transfer_errors(*matched, H_b_a)
    share = len(errors) / visible if visible else 0.0
    return HomographyScore(
        features=(len(a), len(b)),
        repeatability=None if points is None else repeatability(a, b, H_b_a, sizes),
        matches=len(errors),
        matched_share=None if points is None else min(1.0, float(share)),
        accuracy=matching_accuracy(errors),
        corner_error=np.inf if H_pred is None else corner_error(H_pred, H_b_a, size_a),
    )


def mean_homography(scores: Sequence[HomographyScore]) -> HomographyMean:
    """Return the means over pairs.

    Raises:
        DataError: there are none.
    """
    if not scores:
        raise DataError("mean_homography: no pair to take the mean of")
    corners = np.array([one.corner_error for one in scores])
    return HomographyMean(
        pairs=len(scores),
        found=int(np.isfinite(corners).sum()),
        features=float(np.mean([one.features for one in scores])),
        repeatability=_mean([one.repeatability for one in scores]),
        matches=float(np.mean([one.matches for one in scores])),
        matched_share=_mean([one.matched_share for one in scores]),
        accuracy=tuple(np.mean([one.accuracy for one in scores], axis=0).tolist()),
        homography=tuple(float((corners < limit).mean()) for limit in THRESHOLDS),
    )


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def transfer(points: np.ndarray, H: np.ndarray) -> np.ndarray:
    """Move points by a homography; NaN where they go behind the camera.

    Args:
        points: pixels. (N, 2)
        H: scaled so that the first pixel is in front. (3, 3)

    Returns:
        Pixels. (N, 2) float64
    """
    check_shape("transfer: points", points, "N 2")
    moved = np.column_stack([points, np.ones(len(points))]) @ (H / H[2, 2]).T
    depth = np.where(moved[:, 2:] > 1e-9, moved[:, 2:], np.nan)
    return moved[:, :2] / depth


def inside(points: np.ndarray, H: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Tell which points lie in the other picture, edge pixels whole.

    Args:
        points: pixels. (N, 2)
        H: to the other picture. (3, 3)
        size: (H, W) of the other picture.

    Returns:
        (N,) bool
    """
    height, width = size
    u, v = transfer(points, H).T
    return (u >= -0.5) & (u < width - 0.5) & (v >= -0.5) & (v < height - 0.5)  # NaN fails


def repeatability(
    points_a: np.ndarray,
    points_b: np.ndarray,
    H_b_a: np.ndarray,
    sizes: tuple[tuple[int, int], tuple[int, int]],
    *,
    limit: float = REPEAT_PIXELS,
) -> float:
    """Return the share of the features visible in both pictures that are found in both.

    Features of a are compared with those of b in picture b, features of b with those of a in
    picture a [DeTone 2018, eq. 12 and 13].

    Args:
        points_a, points_b: features, pixels. (N, 2), (M, 2)
        H_b_a: pixels of a to pixels of b. (3, 3)
        sizes: (H, W) of a and of b.
        limit: distance up to which a point is found, pixels.

    Returns:
        0 to 1; 0 where no feature of either picture is visible in the other.
    """
    H_a_b = np.linalg.inv(H_b_a)
    seen_a = points_a[inside(points_a, H_b_a, sizes[1])]
    seen_b = points_b[inside(points_b, H_a_b, sizes[0])]
    visible = len(seen_a) + len(seen_b)
    if not visible:
        return 0.0
    again = _found(transfer(seen_a, H_b_a), points_b, limit)
    again += _found(transfer(seen_b, H_a_b), points_a, limit)
    return again / visible


def _found(points: np.ndarray, others: np.ndarray, limit: float) -> int:
    """Count the points that have another within the limit."""
    if not len(others):
        return 0
    squared = ((points[:, None] - others[None]) ** 2).sum(axis=2)  # (N, M)
    return int((squared.min(axis=1) <= limit**2).sum())


def transfer_errors(points_a: np.ndarray, points_b: np.ndarray, H_b_a: np.ndarray) -> np.ndarray:
    """Return the distances in picture b of matches from where they belong, pixels; infinite where
    the point cannot be in b. (M, 2), (M, 2) -> (M,)"""
    errors = np.linalg.norm(transfer(points_a, H_b_a) - points_b, axis=1)
    return np.where(np.isfinite(errors), errors, np.inf)


def matching_accuracy(errors: np.ndarray) -> tuple[float, ...]:
    """Return the share of matches within each of THRESHOLDS; 0 without matches. (M,) pixels"""
    if not len(errors):
        return tuple(0.0 for _ in THRESHOLDS)
    return tuple(float((errors <= limit).mean()) for limit in THRESHOLDS)


def corner_error(H_pred: np.ndarray, H_gt: np.ndarray, size: tuple[int, int]) -> float:
    """Return the mean distance of the picture's four corners under two homographies, pixels.

    Args:
        H_pred, H_gt: found and true, to the other picture. (3, 3)
        size: (H, W) of the first picture.

    Returns:
        Infinite where a corner goes behind the camera.
    """
    height, width = size
    corners = np.array([[0, 0], [width - 1, 0], [0, height - 1], [width - 1, height - 1]], float)
    if not H_pred[2, 2]:
        return np.inf
    away = np.linalg.norm(transfer(corners, H_pred) - transfer(corners, H_gt), axis=1)
    return float(away.mean()) if np.isfinite(away).all() else np.inf
