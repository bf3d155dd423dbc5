# SPDX-License-Identifier: Apache-2.0
"""What figures of depth hide: reversed order, wrong units, frames of a few pixels."""

import math

import numpy as np
import pytest

from depthkit.errors import DataError
from depthkit.evaluation.depth import DepthProtocol, DepthReport, clip_depth, score_depth
from depthkit.evaluation.depth_review import as_scored, frames_to_show, suspicions, title_of
from depthkit.evaluation.rank import MOST_RANKED, rank_order

STATED, ASSUMED = (False, False), (True, True)


def truth(seed: int = 0) -> np.ndarray:
    """Depths of 1 to 9 m. (40, 50)"""
    return np.random.default_rng(seed).uniform(1, 9, (40, 50))


def noisy(seed: int = 0) -> np.ndarray:
    """The truth with 5 % noise."""
    return truth(seed) * np.random.default_rng(seed + 9).normal(1, 0.05, (40, 50))


def score(pred: np.ndarray, gt: np.ndarray | None = None, **options: object) -> DepthReport:
    """Score three equal frames."""
    return score_depth([(pred, truth() if gt is None else gt)] * 3, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("align", ["none", "median"])
@pytest.mark.parametrize("near", [1.0, 255.0])
def test_inverse_depth_is_suspected(align: str, near: float) -> None:
    """Inverse depth and disparity have the reversed order at any scale and alignment."""
    report = score(near / noisy(), align=align)
    (text,) = suspicions(report, STATED)
    assert report.rank_correlation < -0.95
    assert "look like inverse depth or disparity" in text


def test_good_and_mediocre_depth_is_not_suspected() -> None:
    """Right order and unit need no word, nor does a prediction at another relative scale."""
    for pred in (noisy(), 1.4 * noisy(), (noisy() + noisy(5)) / 2):
        assert suspicions(score(pred), ASSUMED) == []
    assert suspicions(score(1000 * noisy(), align="median"), ASSUMED) == []


@pytest.mark.parametrize(
    "factor, option",
    [
        (1000.0, "--pred-scale 1000"),
        (256.0, "--pred-scale 256"),
        (5000.0, "--pred-scale 5000"),
        (0.001, "--gt-scale 1000"),
        (1 / 5000, "--gt-scale 5000"),
    ],
)
def test_units_off_by_a_usual_scale_are_suspected(factor: float, option: str) -> None:
    """The median ratio shows millimetres and stored values that were never divided."""
    (text,) = suspicions(score(factor * noisy()), STATED)
    assert option in text


@pytest.mark.parametrize(
    "factor, option",
    [(5.0, "--pred-scale 5000"), (0.2, "--gt-scale 5000"), (3.9, "--gt-scale 256")],
)
def test_another_stored_scale_is_suspected_where_none_is_stated(factor: float, option: str) -> None:
    """5000 or 256 read as 1000 is off by 5 or 3.9: named only where a unit was assumed."""
    report = score(factor * noisy(), max_depth=100)
    assert any(option in text for text in suspicions(report, ASSUMED))
    assert not any(option in text for text in suspicions(report, STATED))


def test_truth_beyond_the_range_is_said() -> None:
    """Millimetres taken as metres leave nothing to score, or next to nothing."""
    with pytest.raises(DataError, match="the truth is .* in the median; give its unit .--gt-scale"):
        score(1000 * truth(), 1000 * truth())
    far = np.where(np.arange(50) < 10, 1.0, 1000.0) * truth()
    report = score(far, far)
    assert report.out_of_range == pytest.approx(0.8)
    assert "80 % of the true pixels lie outside 0.001 to 80 m" in suspicions(report, STATED)[0]


def test_a_crop_is_not_out_of_range() -> None:
    """Pixels that the crop leaves out are not counted as too far."""
    assert score(noisy(), crop="garg").out_of_range == 0


def test_no_order_is_nan_and_large_images_are_thinned() -> None:
    """A constant has no order; ranks of many pixels are those of every n-th."""
    many = np.arange(10.0 * MOST_RANKED)
    assert rank_order(many, many**2) == pytest.approx(1)
    assert math.isnan(rank_order(np.ones(9), many[:9]))
    assert math.isnan(score(np.full((40, 50), 3.0)).rank_correlation)


def test_frames_of_few_pixels_are_not_shown_as_the_best() -> None:
    """A frame that predicts 3 % of its pixels perfectly is neither best nor worst."""
    sparse = np.where(np.arange(2000).reshape(40, 50) < 60, truth(), 0)
    pairs = [(1.2 * truth(), truth()), (sparse, truth()), (1.1 * truth(), truth())]
    report = score_depth([*pairs, (1.5 * truth(), truth()), (10 * sparse, truth())])
    shown = {rank: index for rank, (_, index) in frames_to_show(report).items()}
    assert shown == {"best": 2, "middle": 0, "worst": 3}
    best = frames_to_show(report)["best"][0]
    assert title_of("best", "f2", best) == "best: f2, abs_rel 0.1000, 100.0 % of the true pixels"


def test_a_clipped_picture_has_the_error_of_the_score() -> None:
    """Depth beyond the range is clipped as it is scored; unknown pixels stay unknown."""
    protocol = DepthProtocol(max_depth=10)
    pred = np.array([[5.0, 4000.0, 0.0, np.nan, 1e-9]])
    np.testing.assert_array_equal(clip_depth(pred, protocol), [[5, 10, 0, 0, 1e-3]])
    wild = np.where(truth() > 8, 1e6, noisy())
    report = score(wild, max_depth=10)
    error = np.abs(clip_depth(wild, protocol) - truth()) / truth()
    assert error.mean() == pytest.approx(report.abs_rel)


def test_a_picture_shows_what_is_scored() -> None:
    """Scaled by the median, clipped, and the figure over it is that of the pixels shown."""
    pred = np.where(truth() > 8.5, 1e6, noisy() / 7)
    pred[:4] = 0
    depth, scored, words = as_scored(pred, truth(), DepthProtocol(align="median", max_depth=10))
    shown = (depth > 0) & scored
    error = np.abs(depth - truth())[shown] / truth()[shown]
    assert words == f"abs_rel {error.mean():.4f}, 90.0 % of the true pixels"
    assert as_scored(0 * pred, truth(), DepthProtocol())[2] == "not scored"


@pytest.mark.parametrize(
    "pred, words",
    [
        (0.15 * noisy(), "--align median"),
        (np.full_like(truth(), 3.0), "one constant"),
        (truth()[:, ::-1], "rank correlation"),
    ],
)
def test_what_says_nothing_about_the_truth_is_named(pred: np.ndarray, words: str) -> None:
    """Relative depth, a constant, and maps of the other side."""
    (text,) = suspicions(score(pred), STATED)
    assert words in text


def test_relative_depth_aligned_by_the_median_needs_no_word() -> None:
    """Seven times as small: the alignment takes it out."""
    assert suspicions(score(0.15 * noisy(), align="median"), STATED) == []


def test_another_shape_is_said_and_another_size_is_not() -> None:
    """Every second pixel keeps the shape; the upper half does not."""
    ramp = np.tile(np.linspace(1, 9, 50), (40, 1))
    assert suspicions(score(ramp[::2, ::2], ramp), STATED) == []
    (text,) = suspicions(score(ramp[:20], ramp), STATED)
    assert "20x50 were stretched to 40x50" in text
