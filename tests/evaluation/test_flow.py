# SPDX-License-Identifier: Apache-2.0
"""Flow scores: numbers by hand, KITTI's outliers, parts that add up, coverage that counts."""

import numpy as np
import pytest

from depthkit.errors import DataError, ShapeError
from depthkit.evaluation.flow import FlowTruth, flow_errors, score_flow, suspicions
from depthkit.evaluation.flow_plots import flow_colours

SIZE = (4, 5)


def even_flow(u: float = 0.0, v: float = 0.0) -> np.ndarray:
    """The same flow everywhere. (4, 5, 2)"""
    return np.broadcast_to(np.array([u, v], np.float32), (*SIZE, 2)).copy()


def row_mask(row: int) -> np.ndarray:
    """One row of the four. (4, 5) bool"""
    mask = np.zeros(SIZE, dtype=bool)
    mask[row] = True
    return mask


def test_error_is_the_length_of_the_difference() -> None:
    """(3, 4) against (0, 0) is 5 px, everywhere an outlier."""
    score = flow_errors(even_flow(3, 4), even_flow())
    assert (score.epe, score.fl_all_percent) == pytest.approx((5, 100))
    assert (score.coverage, score.pixels) == (1, 20)
    assert score.epe_noc is None and score.epe_moving is None and score.epe_moving_noc is None


@pytest.mark.parametrize(
    ("error", "length", "outlier"),
    [
        (3.0, 10, False),  # 3 px exactly is none
        (3.25, 10, True),
        (3.25, 64, True),  # 5 % of 64 is 3.2
        (3.25, 65, False),  # 5 % of 65 is exactly 3.25
        (3.25, 66, False),
        (4.0, 100, False),  # far off, but 4 % of a long flow
        (6.0, 100, True),
        (2.0, 1, False),  # twice the truth, but 2 px
    ],
)
def test_outlier_needs_three_pixels_and_five_percent(
    error: float, length: float, outlier: bool
) -> None:
    """KITTI 2015: both thresholds are exceeded."""
    score = flow_errors(even_flow(length + error), even_flow(length))
    assert score.epe == pytest.approx(error)
    assert score.fl_all_percent == (100 if outlier else 0)


def test_parts_by_hand() -> None:
    """Row 0 is off by 8 px and hidden, row 1 by 4 px and moving, the rest exact: 20 pixels."""
    predicted = even_flow()
    predicted[0, :, 0], predicted[1, :, 1] = 8, -4
    score = flow_errors(predicted, even_flow(), occluded=row_mask(0), moving=row_mask(1))
    assert score.epe == pytest.approx((5 * 8 + 5 * 4) / 20)
    assert score.fl_all_percent == pytest.approx(50)
    assert (score.epe_occ, score.fl_occ_percent) == pytest.approx((8, 100))
    assert (score.epe_noc, score.fl_noc_percent) == pytest.approx((5 * 4 / 15, 100 / 3))
    assert (score.epe_moving, score.epe_static) == pytest.approx((4, 5 * 8 / 15))
    assert score.epe_moving_noc == pytest.approx(4)


def test_all_is_the_weighted_mean_of_noc_and_occ() -> None:
    """Pooled over frames of different sizes and shares, the parts add up to the whole."""
    rng = np.random.default_rng(0)
    pairs = []
    for size in ((4, 5), (7, 3), (2, 9)):
        flow, guess = rng.normal(0, 9, (2, *size, 2))
        pairs.append((guess, FlowTruth(flow, occluded=rng.random(size) > 0.7)))
    score = score_flow(pairs).score
    hidden = sum(int(truth.occluded.sum()) for _, truth in pairs)
    mean = (score.epe_occ * hidden + score.epe_noc * (score.pixels - hidden)) / score.pixels
    assert score.epe == pytest.approx(mean)
    errors = np.concatenate([np.linalg.norm(p - t.flow, axis=-1).ravel() for p, t in pairs])
    assert score.epe == pytest.approx(errors.mean())


def test_unknown_truth_is_left_out_whatever_was_predicted() -> None:
    """NaN in one component of the truth, or outside valid: no error, no coverage lost."""
    truth, predicted = even_flow(1, 1), even_flow(1, 1)
    truth[0, :, 1] = np.nan
    predicted[0], predicted[1, 0] = 1e6, np.nan
    score = flow_errors(predicted, truth, valid=~row_mask(1))
    assert (score.epe, score.coverage, score.pixels) == (0, 1, 10)


def test_missing_pixels_lower_the_coverage_not_the_error() -> None:
    """NaN and infinite predictions are not scored: 5 of 20 are missing."""
    predicted = even_flow(1)
    predicted[2, :2], predicted[2, 2:] = np.nan, np.inf
    score = flow_errors(predicted, even_flow())
    assert (score.epe, score.coverage, score.pixels) == (1, 0.75, 15)


def test_missing_frames_lower_the_coverage() -> None:
    """Of four frames one has no truth, one no prediction, one a prediction of nothing."""
    nothing = np.full((*SIZE, 2), np.nan)
    truth = FlowTruth(even_flow())
    pairs = [
        (even_flow(2), FlowTruth(nothing)),
        (None, truth),
        (nothing, truth),
        (even_flow(0, 2), truth),
    ]
    report = score_flow(pairs)
    assert report.coverage == pytest.approx(1 / 3)
    assert (report.frames, report.frames_gt, report.indices) == (1, 3, (1, 2, 3))
    assert [score is None for score in report.scores] == [True, True, False]
    assert report.score.epe == 2 and report.score.coverage == pytest.approx(1 / 2)


def test_frame_mean_is_beside_the_pooled_error() -> None:
    """20 pixels off by 1 and 5 off by 6: 2 px pooled, 3.5 px as the mean of two frames."""
    small = FlowTruth(np.zeros((1, 5, 2)))
    pairs = [(even_flow(1), FlowTruth(even_flow())), (np.full((1, 5, 2), [6.0, 0.0]), small)]
    report = score_flow(pairs)
    assert (report.score.epe, report.epe_frame_mean) == pytest.approx((2, 3.5))


def test_json_begins_with_the_contract() -> None:
    """epe, fl_all_percent, coverage come first; parts that are not known are left out."""
    report = score_flow([(even_flow(1), FlowTruth(even_flow(), occluded=row_mask(0)))])
    keys = list(report.as_json())
    assert keys[:3] == ["epe", "fl_all_percent", "coverage"]
    assert "epe_noc" in keys and "fl_occ_percent" in keys and "epe_moving" not in keys


def test_misfits_are_refused() -> None:
    """Other sizes are the caller's bug; nothing to compare is one line."""
    with pytest.raises(ShapeError, match="predicted must be"):
        flow_errors(np.zeros((4, 4, 2)), even_flow())
    with pytest.raises(ShapeError, match="occluded must be"):
        flow_errors(even_flow(), even_flow(), occluded=np.zeros((5, 4), bool))
    with pytest.raises(DataError, match="no pixel has both"):
        flow_errors(even_flow(), np.full((*SIZE, 2), np.nan))
    with pytest.raises(DataError, match="no frame has both"):
        score_flow([(None, FlowTruth(even_flow()))])


def test_colours_of_flow() -> None:
    """Right is red, standing is white, unknown is grey; left is red's opposite, cyan."""
    flow = np.array([[[5.0, 0.0], [0.0, 0.0], [np.nan, 1.0], [-5.0, 0.0]]])
    colours = flow_colours(flow, longest=5)
    expected = [[1, 0, 0], [1, 1, 1], [0.85] * 3, [0, 1, 1]]
    np.testing.assert_allclose(colours[0], expected, atol=1e-12)


@pytest.mark.parametrize(
    "guess, doubted",
    [
        (even_flow(3, 4), False),
        (even_flow(4, 4.5), False),
        (even_flow(-3, -4), True),  # backward: 10 px
        (even_flow(0.1, 0.1), True),  # as shares of the size: 4.9 px
    ],
)
def test_a_prediction_no_better_than_no_motion_is_doubted(guess: np.ndarray, doubted: bool) -> None:
    """The truth is 5 px long: that is the error of no motion."""
    report = score_flow([(guess, FlowTruth(even_flow(3, 4)))])
    assert report.epe_still == pytest.approx(5)
    assert [("whose epe is 5 px" in text) for text in suspicions(report)] == [True] * doubted


def test_a_scene_that_stands_still_raises_no_doubt() -> None:
    """Nothing is better than no motion there."""
    assert suspicions(score_flow([(even_flow(0.1, 0), FlowTruth(even_flow()))])) == []
