# SPDX-License-Identifier: Apache-2.0
"""Scores of place recognition: which places of a map look most alike to a query.

Recall@k is the share of answerable queries with a right place among the k most similar ones.
map@5 = sum_{n <= 5} r_n / n with one right answer [Khokhlova 2020]; r_n is 1 where the first right
place has rank n. A place that is wrong and just as similar stands before a right one, so that
descriptors that are all alike score nothing.
"""

from dataclasses import dataclass

import numpy as np

from depthkit.errors import DataError, check_shape
from depthkit.evaluation.place_truth import PlaceTruth

RANKS = (1, 5, 10)
"""Numbers of answers of recall@k."""


@dataclass(frozen=True, eq=False)
class PlaceCurve:
    """Precision and recall of the best matches, for every threshold from high to low."""

    threshold: np.ndarray
    """Similarities from which on matches are accepted. (M,)"""
    precision: np.ndarray
    """Right ones among the accepted right and false ones; 1 where there is neither. (M,)"""
    recall: np.ndarray
    """Right ones among all answerable queries. (M,)"""

    @property
    def average_precision(self) -> float:
        """Sum over the steps of recall, each times the precision behind it."""
        return float(np.sum(np.diff(self.recall, prepend=0.0) * self.precision))

    @property
    def recall_at_full_precision(self) -> float:
        """Largest recall without a single false match."""
        return float(self.recall[self.precision == 1.0].max(initial=0.0))


@dataclass(frozen=True)
class LoopScore:
    """Best matches above a threshold, on queries that the threshold was not chosen on."""

    threshold: float
    """Similarity above which a match is accepted."""
    given: bool
    """It was given; else it is the smallest without a false match among the calibration's."""
    queries: int
    """Number of queries that were judged."""
    answerable: int
    """Number of these with a right answer."""
    found: int
    """Number of accepted right matches."""
    false: int
    """Number of accepted matches with a place that is not even near."""

    @property
    def false_rate(self) -> float | None:
        """Share of the judged queries with a false match; None without such queries."""
        return self.false / self.queries if self.queries else None

    @property
    def found_rate(self) -> float | None:
        """Share of the judged answerable queries with a right match; None without such queries."""
        return self.found / self.answerable if self.answerable else None


@dataclass(frozen=True, eq=False)
class PlaceScore:
    """Scores of one method on one set of queries."""

    queries: int
    """Number of queries with candidates."""
    answerable: int
    """Number of these with a right answer."""
    recall: dict[int, float]
    """Recall@k by k, of `RANKS`."""
    map_at_5: float
    """Mean over answerable queries of 1 / rank of the first right place, 0 beyond rank 5."""
    curve: PlaceCurve
    """Precision and recall of the best matches."""
    loops: LoopScore | None
    """Matches above the threshold; None where none could be chosen."""

    @property
    def coverage(self) -> float:
        """Share of the queries that have a right answer."""
        return self.answerable / self.queries


def score_places(
    similarity: np.ndarray, truth: PlaceTruth, *, threshold: float | None = None
) -> PlaceScore:
    """Score similarities of queries to the places of a database.

    Args:
        similarity: larger is more alike. (Q, D)
        truth: what is right.
        threshold: similarity above which a match is accepted; None to choose it on the
            calibration's queries.

    Raises:
        ShapeError: similarities of another shape than the truth.
        DataError: similarities that are not finite, or no query with a right answer.
    """
    queries, places = truth.right.shape
    check_shape("score_places: similarity", similarity, f"{queries} {places}")
    if not np.isfinite(similarity).all():
        raise DataError("similarities of places are not finite; look at the descriptors")
    if not truth.answerable.any():
        raise DataError(
            f"none of {queries} queries has a right answer among its candidates; use another "
            "database, a larger radius, or a recording that comes back"
        )
    ranks = first_right_ranks(similarity, truth)[truth.answerable]
    curve = precision_recall(similarity, truth)
    given = threshold is not None
    chosen = threshold if given else calibrated_threshold(similarity, truth)
    return PlaceScore(
        queries=int(truth.asked.sum()),
        answerable=len(ranks),
        recall={k: float(np.mean(ranks <= k)) for k in RANKS},
        map_at_5=float(np.mean(np.where(ranks <= 5, 1.0 / ranks, 0.0))),
        curve=curve,
        loops=None if chosen is None else judge_loops(similarity, truth, chosen, given=given),
    )


def first_right_ranks(similarity: np.ndarray, truth: PlaceTruth) -> np.ndarray:
    """Rank the first right place of each query, from 1; behind all where there is none. (Q,) int"""
    right = truth.right & truth.candidates
    best = np.where(right, similarity, -np.inf).max(axis=1, keepdims=True)
    ahead = truth.candidates & ~right & (similarity >= best)
    return np.where(right.any(axis=1), 1 + ahead.sum(axis=1), 1 + similarity.shape[1])


def best_matches(
    similarity: np.ndarray, truth: PlaceTruth
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each query's best similarity, whether that match is right, and whether it is false.

    Neither is true of a place that is near without being right.

    Returns:
        best: -inf without candidates. (Q,)
        right, false: (Q,) bool each
    """
    best = np.where(truth.candidates, similarity, -np.inf).max(axis=1)
    tops = truth.candidates & (similarity >= best[:, None])
    right = truth.asked & ~np.any(tops & ~truth.right, axis=1)
    return best, right, np.any(tops & ~truth.near, axis=1)


def precision_recall(similarity: np.ndarray, truth: PlaceTruth) -> PlaceCurve:
    """Accept best matches from the most similar down; equal ones are accepted together."""
    best, right, false = (values[truth.asked] for values in best_matches(similarity, truth))
    steps = np.unique(best)[::-1]
    accepted = best[None, :] >= steps[:, None]
    hits, faults = accepted @ right.astype(float), accepted @ false.astype(float)
    counted = hits + faults
    precision = np.divide(hits, counted, out=np.ones_like(hits), where=counted > 0)
    return PlaceCurve(steps, precision, hits / truth.answerable.sum())


def calibrated_threshold(similarity: np.ndarray, truth: PlaceTruth) -> float | None:
    """Return the largest similarity of a calibration query to a place that is not near.

    Accepting what lies above it is the smallest threshold without a false match there. None where
    the calibration holds no such pair.
    """
    wrong = truth.calibration[:, None] & truth.candidates & ~truth.near
    return float(similarity[wrong].max()) if wrong.any() else None


def judge_loops(
    similarity: np.ndarray, truth: PlaceTruth, threshold: float, *, given: bool
) -> LoopScore:
    """Count what lies above a threshold, over the queries it was not chosen on.

    Args:
        similarity: (Q, D)
        truth: what is right.
        threshold: similarity above which a match is accepted.
        given: it was not chosen on these queries; then all of them are judged.
    """
    best, right, false = best_matches(similarity, truth)
    judged = truth.asked if given else truth.asked & ~truth.calibration
    accepted = judged & (best > threshold)
    return LoopScore(
        threshold=threshold,
        given=given,
        queries=int(judged.sum()),
        answerable=int((judged & truth.answerable).sum()),
        found=int((accepted & right).sum()),
        false=int((accepted & false).sum()),
    )
