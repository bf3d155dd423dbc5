# SPDX-License-Identifier: Apache-2.0
"""Scores of places by hand: ranks, map@5, curves with ties, false loops; and what is right."""

import numpy as np
import pytest

from depthkit.errors import DataError, ShapeError
from depthkit.evaluation.place_truth import (
    PlaceTruth,
    first_return,
    truth_by_index,
    truth_by_poses,
    truth_of_returns,
)
from depthkit.evaluation.places import (
    calibrated_threshold,
    first_right_ranks,
    judge_loops,
    precision_recall,
    score_places,
)
from depthkit.rigid import exp_se3


def truth_of(right: np.ndarray, calibration: tuple[int, ...] = ()) -> PlaceTruth:
    """Nothing is near but what is right; every place may answer."""
    chosen = np.isin(np.arange(len(right)), calibration)
    return PlaceTruth(right, right, np.ones_like(right), chosen)


def ranked(*ranks: int, places: int = 12) -> np.ndarray:
    """Similarities whose place 0 has the given ranks. (Q, places)"""
    rows = np.tile(np.linspace(0.9, 0.1, places), (len(ranks), 1))
    for row, rank in zip(rows, ranks, strict=True):
        row[:rank] = np.roll(row[:rank], 1)
        row[0] = np.linspace(0.9, 0.1, places)[rank - 1]
    return rows


def first_is_right(queries: int, places: int = 12) -> np.ndarray:
    """Place 0 is right for all."""
    return np.tile(np.arange(places) == 0, (queries, 1))


def test_recall_and_map_by_hand() -> None:
    """Ranks 1, 2, 5, 6: R@1 1/4, R@5 3/4, R@10 1; map@5 = (1 + 1/2 + 1/5 + 0) / 4 = 0.425."""
    score = score_places(ranked(1, 2, 5, 6), truth_of(first_is_right(4)))
    assert score.recall == {1: 0.25, 5: 0.75, 10: 1.0}
    assert score.map_at_5 == pytest.approx(0.425)
    assert (score.queries, score.answerable, score.coverage, score.loops) == (4, 4, 1.0, None)


def test_the_first_of_several_right_places_counts() -> None:
    """Ranks 2 and 3 are right: 1/2, not 1/2 + 1/3."""
    similarity = np.array([[0.9, 0.8, 0.7, 0.1]])
    score = score_places(similarity, truth_of(np.array([[False, True, True, False]])))
    assert score.map_at_5 == 0.5


def test_a_wrong_place_as_similar_stands_before() -> None:
    """Descriptors that are all alike answer nothing, wherever the right place stands."""
    truth = truth_of(np.eye(7, dtype=bool))
    assert first_right_ranks(np.ones((7, 7)), truth).tolist() == [7] * 7
    score = score_places(np.ones((7, 7)), truth)
    assert (score.recall[1], score.recall[5], score.map_at_5) == (0, 0, 0)
    assert score.curve.average_precision == 0


def test_queries_without_an_answer_lower_coverage_alone() -> None:
    """One of two queries has no right place: R@1 is that of the other."""
    right = np.array([[True, False], [False, False]])
    score = score_places(np.array([[0.9, 0.1], [0.3, 0.2]]), truth_of(right))
    assert (score.recall[1], score.coverage, score.answerable) == (1.0, 0.5, 1)


def test_what_is_no_candidate_is_not_asked() -> None:
    """The most similar place is the query's own past, and a query of past alone is not counted."""
    right = np.array([[False, True], [True, False]])
    candidates = np.array([[False, True], [False, False]])
    truth = PlaceTruth(right, right, candidates, np.zeros(2, bool))
    score = score_places(np.array([[0.9, 0.2], [0.9, 0.2]]), truth)
    assert (score.queries, score.answerable, score.recall[1]) == (1, 1, 1.0)


def test_precision_and_recall_by_hand_with_a_tie() -> None:
    """Best matches 0.9 right, 0.8 right and 0.8 false together, 0.5 false, 0.4 right."""
    best, right = [0.9, 0.8, 0.8, 0.5, 0.4], [True, True, False, False, True]
    similarity = np.array([[b, 0.0] if r else [0.0, b] for b, r in zip(best, right, strict=True)])
    curve = precision_recall(similarity, truth_of(first_is_right(5, 2)))
    np.testing.assert_allclose(curve.threshold, [0.9, 0.8, 0.5, 0.4])
    np.testing.assert_allclose(curve.precision, [1, 2 / 3, 1 / 2, 3 / 5])
    np.testing.assert_allclose(curve.recall, [1 / 5, 2 / 5, 2 / 5, 3 / 5])
    assert curve.average_precision == pytest.approx((1 + 2 / 3 + 0 + 3 / 5) / 5)
    assert curve.recall_at_full_precision == pytest.approx(1 / 5)


def test_no_match_is_right_before_the_first_false_one() -> None:
    """The most similar match is false: nothing is found at full precision."""
    similarity = np.array([[0.2, 0.9], [0.8, 0.1]])
    curve = precision_recall(similarity, truth_of(first_is_right(2, 2)))
    assert curve.recall_at_full_precision == 0
    assert curve.average_precision == pytest.approx(0.5 * 0.5)


def test_what_is_near_is_neither_right_nor_false() -> None:
    """Place 1 is near: query 0 finds no loop and makes none false; R@1 misses it."""
    right, near = np.array([[True, False, False]] * 2), np.array([[True, True, False]] * 2)
    truth = PlaceTruth(right, near, np.ones_like(right), np.zeros(2, bool))
    similarity = np.array([[0.5, 0.9, 0.1], [0.8, 0.2, 0.1]])
    curve = precision_recall(similarity, truth)
    np.testing.assert_allclose(curve.precision, [1, 1])
    np.testing.assert_allclose(curve.recall, [0, 0.5])
    assert score_places(similarity, truth).recall[1] == 0.5
    loops = judge_loops(similarity, truth, 0.0, given=True)
    assert (loops.found, loops.false) == (1, 0)


def test_false_loops_by_hand() -> None:
    """Calibration's wrong places reach 0.6; of three others 0.7 is right, 0.65 false, 0.6 left."""
    right = first_is_right(5, 2)
    similarity = np.array([[0.9, 0.6], [0.3, 0.4], [0.7, 0.1], [0.2, 0.65], [0.5, 0.6]])
    truth = truth_of(right, calibration=(0, 1))
    assert calibrated_threshold(similarity, truth) == 0.6
    loops = score_places(similarity, truth).loops
    assert loops is not None and not loops.given
    assert (loops.threshold, loops.queries, loops.answerable) == (0.6, 3, 3)
    assert (loops.found, loops.false) == (1, 1)
    assert (loops.false_rate, loops.found_rate) == (pytest.approx(1 / 3), pytest.approx(1 / 3))


def test_a_given_threshold_judges_all_queries() -> None:
    """Calibration's queries count too: 0.9 and 0.7 are right above 0.62, 0.65 is false."""
    similarity = np.array([[0.9, 0.6], [0.3, 0.4], [0.7, 0.1], [0.2, 0.65], [0.5, 0.6]])
    truth = truth_of(first_is_right(5, 2), calibration=(0, 1))
    loops = score_places(similarity, truth, threshold=0.62).loops
    assert loops is not None and loops.given
    assert (loops.queries, loops.found, loops.false) == (5, 2, 1)


def test_nothing_to_judge_has_no_rate() -> None:
    """All queries are calibration: no share of none."""
    truth = truth_of(first_is_right(2, 2), calibration=(0, 1))
    loops = judge_loops(np.ones((2, 2)), truth, 0.5, given=False)
    assert (loops.queries, loops.false_rate, loops.found_rate) == (0, None, None)


def test_nobody_answers() -> None:
    """No query has a right place: an error that says what to do, not a score of 0."""
    with pytest.raises(DataError, match="none of 2 queries has a right answer.*larger radius"):
        score_places(np.ones((2, 3)), truth_of(np.zeros((2, 3), bool)))


def test_bad_similarities_are_refused() -> None:
    """NaN, another shape, no place, no query."""
    truth = truth_of(np.eye(2, dtype=bool))
    with pytest.raises(DataError, match="not finite"):
        score_places(np.array([[1, np.nan], [0, 1]]), truth)
    with pytest.raises(ShapeError, match="similarity"):
        score_places(np.ones((2, 3)), truth)
    for shape in ((0, 3), (3, 0)):
        with pytest.raises(DataError, match="both need at least one"):
            truth_of(np.zeros(shape, bool))


# --- what is right -------------------------------------------------------------------------------


def facing(x: float, z: float, degrees: float = 0.0) -> np.ndarray:
    """A camera at (x, 0, z), turned about its vertical axis. (4, 4)"""
    pose = exp_se3(np.array([0, 0, 0, 0, np.radians(degrees), 0]))
    pose[:3, 3] = x, 0, z
    return pose


def test_matching_pictures_within_the_tolerance() -> None:
    """Tolerance 1: three of a row are right, five near; every second query calibrates."""
    truth = truth_by_index(7, tolerance=1)
    assert truth.right[3].tolist() == [False, False, True, True, True, False, False]
    assert truth.near[3].tolist() == [False, True, True, True, True, True, False]
    assert truth.calibration.tolist() == [True, False] * 3 + [True]
    twice = truth.repeated(2)
    assert twice.right.shape == (14, 7) and (twice.right[6] == twice.right[7]).all()
    assert twice.calibration[:4].tolist() == [True, True, False, False]


def test_right_is_near_and_seen_the_same_way() -> None:
    """At 0.9 m right, at 1.5 m near, at 2.5 m wrong; turned by 60 degrees near alone."""
    database = np.stack([facing(0.9, 0), facing(1.5, 0), facing(2.5, 0), facing(0, 0, 60)])
    truth = truth_by_poses(facing(0, 0)[None], database, radius=1.0, angle=45)
    assert truth.right.tolist() == [[True, False, False, False]]
    assert truth.near.tolist() == [[True, True, False, True]]


def circle(laps: float, frames: int) -> np.ndarray:
    """A camera that drives on a circle of 100 m around, looking ahead. (N, 4, 4)"""
    turns = np.linspace(0, laps, frames, endpoint=False)
    radius = 100 / (2 * np.pi)
    angles = 2 * np.pi * turns
    places = zip(radius * np.sin(angles), radius * np.cos(angles), angles, strict=True)
    return np.stack([facing(x, z, np.degrees(a) + 90) for x, z, a in places])


def test_the_second_lap_returns_to_the_first() -> None:
    """Two laps of 50 frames: frame 49 comes first within 2.5 m of an earlier one; the path ahead
    of a query is no candidate, and calibration ends before the return."""
    truth = truth_of_returns(circle(2, 100), radius=2.5, angle=45, apart=25)
    assert first_return(truth.right & truth.candidates) == 49
    assert truth.answerable.sum() == 51
    assert not np.triu(truth.candidates).any()
    assert truth.calibration.nonzero()[0].tolist() == list(range(13, 49))


def test_a_recording_that_does_not_come_back_has_no_answer() -> None:
    """Half a lap: no query has a right place, and the first return is behind the end."""
    truth = truth_of_returns(circle(0.5, 25), radius=2.5, angle=45, apart=25)
    assert not truth.answerable.any()
    assert first_return(truth.right & truth.candidates) == 25


def test_an_early_return_calibrates_on_every_second_query() -> None:
    """Four frames a lap: two queries before the return are too few."""
    truth = truth_of_returns(circle(3, 12), radius=2.5, angle=45, apart=50)
    assert truth.calibration.tolist() == [True, False] * 6
