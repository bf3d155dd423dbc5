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

RANKS = (1, 5, 10)
"""Numbers of answers of recall@k."""
LEAST_CALIBRATION = 10
"""Queries before the first return that are enough to choose a threshold on."""


@dataclass(frozen=True, eq=False)
class PlaceTruth:
    """What is right, for Q queries and D places of the database."""

    right: np.ndarray
    """The two show one place. (Q, D) bool"""
    near: np.ndarray
    """They are near enough that a loop between them is no false one; holds `right`. (Q, D) bool"""
    candidates: np.ndarray
    """The query may be answered by the place; False for its own recent past. (Q, D) bool"""
    calibration: np.ndarray
    """Queries that a threshold is chosen on, and that do not count behind it. (Q,) bool"""

    def __post_init__(self) -> None:
        """Check the shapes.

        Raises:
            ShapeError: they differ.
            DataError: there is no query or no place.
        """
        check_shape("PlaceTruth: right", self.right, "Q D")
        queries, places = self.right.shape
        if not (queries and places):
            raise DataError(f"{queries} queries and {places} places; both need at least one")
        check_shape("PlaceTruth: near", self.near, f"{queries} {places}")
        check_shape("PlaceTruth: candidates", self.candidates, f"{queries} {places}")
        check_shape("PlaceTruth: calibration", self.calibration, f"{queries}")

    @property
    def answerable(self) -> np.ndarray:
        """Queries that have a right answer among their candidates. (Q,) bool"""
        return np.any(self.right & self.candidates, axis=1)

    @property
    def asked(self) -> np.ndarray:
        """Queries that have candidates at all. (Q,) bool"""
        return self.candidates.any(axis=1)


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


# --- what is right -------------------------------------------------------------------------------


def truth_by_index(count: int, tolerance: int = 0) -> PlaceTruth:
    """Query i shows place i; every second query is calibration.

    Args:
        count: number of queries and of places.
        tolerance: largest difference of the indices that is right; twice that is near.
    """
    apart = np.abs(np.arange(count)[:, None] - np.arange(count))
    everywhere = np.ones((count, count), bool)
    return PlaceTruth(apart <= tolerance, apart <= 2 * tolerance, everywhere, _every_second(count))


def truth_by_poses(
    query: np.ndarray, database: np.ndarray, *, radius: float, angle: float
) -> PlaceTruth:
    """Right is a place within the radius that looks the same way; every second query calibrates.

    Args:
        query: T_world_cam, metres. (Q, 4, 4)
        database: T_world_cam in the same world. (D, 4, 4)
        radius: largest distance of a right place, metres; within twice that all is near.
        angle: largest angle between the optical axes of a right place, degrees.
    """
    right, near = _right_and_near(query, database, radius=radius, angle=angle)
    return PlaceTruth(right, near, np.ones_like(right), _every_second(len(query)))


def truth_of_returns(
    poses: np.ndarray, *, radius: float, angle: float, apart: float
) -> PlaceTruth:
    """Ask each frame of one recording for places that were passed before.

    Calibration is what comes before the first return, where it is `LEAST_CALIBRATION` queries or
    more: there every answer is wrong. Else it is every second query.

    Args:
        poses: T_world_cam in order of time, metres. (N, 4, 4)
        radius, angle: as of `truth_by_poses`.
        apart: least length of path between a query and its candidates, metres.
    """
    right, near = _right_and_near(poses, poses, radius=radius, angle=angle)
    steps = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
    path = np.concatenate([[0.0], np.cumsum(steps)])
    candidates = path[:, None] - path >= apart
    before = np.arange(len(poses)) < first_return(right & candidates)
    early = before & candidates.any(axis=1)
    enough = early.sum() >= LEAST_CALIBRATION
    return PlaceTruth(right, near, candidates, early if enough else _every_second(len(poses)))


def first_return(right: np.ndarray) -> int:
    """Return the first query with a right answer; their number where none has one."""
    answered = right.any(axis=1)
    return int(answered.argmax()) if answered.any() else len(right)


def _right_and_near(
    query: np.ndarray, database: np.ndarray, *, radius: float, angle: float
) -> tuple[np.ndarray, np.ndarray]:
    check_shape("poses of the queries", query, "Q 4 4")
    check_shape("poses of the database", database, "D 4 4")
    distance = np.linalg.norm(query[:, None, :3, 3] - database[:, :3, 3], axis=2)
    cosine = query[:, :3, 2] @ database[:, :3, 2].T
    aligned = cosine >= np.cos(np.radians(angle))
    return (distance <= radius) & aligned, distance <= 2 * radius


def _every_second(count: int) -> np.ndarray:
    return np.arange(count) % 2 == 0
