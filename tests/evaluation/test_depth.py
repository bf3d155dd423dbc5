# SPDX-License-Identifier: Apache-2.0
"""Depth scores: numbers by hand, the published crop and caps, and coverage that counts."""

from pathlib import Path

import numpy as np
import pytest

from depthkit.errors import DataError, ShapeError
from depthkit.evaluation.baselines import constant_depth
from depthkit.evaluation.depth import (
    DepthProtocol,
    depth_metrics,
    garg_crop,
    score_depth,
    scored_pixels,
)
from depthkit.evaluation.resample import resize_depth

GT = np.array([[1.0, 2.0], [4.0, 0.0]])
PRED = np.array([[1.0, 3.0], [2.0, 9.0]])


def scene(seed: int = 0, size: tuple[int, int] = (24, 32)) -> np.ndarray:
    """Depth between 1 and 10 m. (H, W)"""
    return np.random.default_rng(seed).uniform(1, 10, size)


def test_metrics_by_hand() -> None:
    """Truth 1 2 4, prediction 1 3 2; the fourth pixel has no truth and does not count."""
    score = depth_metrics(PRED, GT)
    assert score.abs_rel == pytest.approx((0 + 1 / 2 + 2 / 4) / 3)
    assert score.sq_rel == pytest.approx((0 + 1 / 2 + 4 / 4) / 3)
    assert score.rmse == pytest.approx(np.sqrt((0 + 1 + 4) / 3))
    assert score.rmse_log == pytest.approx(np.sqrt((np.log(1.5) ** 2 + np.log(2) ** 2) / 3))
    # Ratios 1, 1.5 and 2 against 1.25, 1.5625 and 1.953.
    assert (score.a1, score.a2, score.a3) == pytest.approx((1 / 3, 2 / 3, 2 / 3))
    assert score.pixels == 3 and score.pixel_coverage == 1
    assert score.ratio == pytest.approx(2 / 2)


def test_a_threshold_is_strict() -> None:
    """A ratio of exactly 1.25 is outside a1, as in the published code."""
    score = depth_metrics(np.full((1, 4), 1.25), np.ones((1, 4)))
    assert (score.a1, score.a2) == (0, 1)


def test_median_alignment_forgives_scale_and_reports_it() -> None:
    """A prediction at a third of the scale is perfect after median scaling, with ratio 3."""
    score = depth_metrics(scene() / 3, scene(), align="median")
    assert score.abs_rel == pytest.approx(0, abs=1e-12) and score.ratio == pytest.approx(3)
    assert depth_metrics(scene() / 3, scene()).abs_rel == pytest.approx(2 / 3)


def test_clipping_follows_scaling() -> None:
    """Predictions are clipped to the caps after they are scaled, and truth on a cap is left out."""
    gt = np.array([[5.0, 10.0, 20.0, 80.0]])
    pred = np.array([[0.5, 1.0, 200.0, 3.0]])
    score = depth_metrics(pred, gt, align="median", max_depth=80)
    assert score.pixels == 3 and score.ratio == pytest.approx(10)
    assert score.rmse == pytest.approx(np.sqrt((80 - 20) ** 2 / 3))


def test_garg_crop_of_kitti() -> None:
    """The crop of a 375 x 1242 image is rows 153 to 371 and columns 44 to 1197."""
    assert garg_crop((375, 1242)) == (slice(153, 371), slice(44, 1197))
    mask = scored_pixels(np.ones((375, 1242)), None, DepthProtocol(crop="garg"))
    assert mask.sum() == (371 - 153) * (1197 - 44)


def test_valid_and_broken_pixels() -> None:
    """Pixels outside `valid` do not count; NaN and 0 predictions lower the pixel coverage."""
    gt, pred = scene(), scene()
    valid = np.ones(gt.shape, dtype=bool)
    valid[:, 16:] = False
    pred[:6, :16] = np.nan
    pred[6:12, :16] = 0
    pred[:, 16:] = 1e6
    score = depth_metrics(pred, gt, valid)
    assert score.abs_rel == 0 and score.pixel_coverage == pytest.approx(0.5)


def test_mean_is_over_images_not_pixels() -> None:
    """An image with one true pixel weighs as much as a full one."""
    sparse = np.zeros((4, 4))
    sparse[0, 0] = 1
    full = np.ones((4, 4))
    report = score_depth([(full * 2, sparse), (full, full)])
    assert report.abs_rel == pytest.approx((1 + 0) / 2)


def test_missing_predictions_lower_the_coverage_only() -> None:
    """A frame without a prediction lowers coverage; one without any truth is not counted."""
    gt = scene()
    report = score_depth([(gt, gt), (None, gt), (None, np.zeros_like(gt)), (gt * 0, gt)])
    assert (report.frames, report.frames_gt) == (1, 3)
    assert report.coverage == pytest.approx(1 / 3)
    assert report.indices == (0, 1, 3)
    assert [score is None for score in report.scores] == [False, True, True]


def test_scale_spread_tells_one_scale_from_many() -> None:
    """Ratios 2, 2, 2 have no spread; 1, 2, 3 have sqrt(2/3) over the median 2."""
    gt = scene()
    same = score_depth([(gt / 2, gt)] * 3, align="median")
    assert same.ratio_median == pytest.approx(2) and same.ratio_spread == pytest.approx(0)
    wild = score_depth([(gt / k, gt) for k in (1, 2, 3)], align="median")
    assert wild.abs_rel == pytest.approx(0, abs=1e-12)
    assert wild.ratio_spread == pytest.approx(np.sqrt(2 / 3) / 2)


def test_nothing_to_score_is_an_error() -> None:
    """Zero frames or zero pixels are no success."""
    gt = scene()
    with pytest.raises(DataError, match="no frame has both"):
        score_depth([(None, gt)])
    with pytest.raises(DataError, match="no frame has both"):
        score_depth([])
    with pytest.raises(DataError, match="no pixel has both"):
        depth_metrics(gt, np.zeros_like(gt))


@pytest.mark.parametrize(
    "choice, message",
    [
        ({"align": "mean"}, "align must be one of none, median, affine, got 'mean'"),
        ({"crop": "eigen"}, "crop must be one of none, garg, got 'eigen'"),
        ({"min_depth": 0.0}, "expected 0 < min depth < max depth, got 0 and 80"),
        ({"max_depth": float("nan")}, "expected 0 < min depth < max depth"),
    ],
)
def test_choices_are_checked(choice: dict, message: str) -> None:
    """A protocol that means nothing is refused, with what is allowed."""
    with pytest.raises(DataError, match=message):
        depth_metrics(GT, GT, **choice)


def test_sizes_must_match_at_the_narrow_door() -> None:
    """depth_metrics does not resample; score_depth does."""
    with pytest.raises(ShapeError, match=r"\(4, 4\) and \(2, 2\)"):
        depth_metrics(np.ones((4, 4)), np.ones((2, 2)))
    assert score_depth([(np.ones((4, 4)), np.ones((2, 2)))]).abs_rel == 0


def test_resizing_follows_the_pixel_convention() -> None:
    """c' = s (c + 0.5) - 0.5: a ramp stays the same ramp away from the border."""
    ramp = np.tile(np.arange(16.0) + 10, (8, 1))
    double = resize_depth(ramp, (16, 32))
    columns = np.arange(2, 30)
    np.testing.assert_allclose(double[5, columns], (columns + 0.5) / 2 - 0.5 + 10)
    np.testing.assert_allclose(resize_depth(double, (8, 16))[3, 2:14], ramp[3, 2:14])
    assert resize_depth(ramp, (8, 16)) is ramp


def test_resizing_does_not_smear_holes() -> None:
    """A pixel that would mix in an unknown one is unknown, so no depth is invented at holes."""
    depth = np.full((4, 4), 5.0)
    depth[1, 1] = 0
    large = resize_depth(depth, (8, 8))
    assert set(np.unique(large)) == {0.0, 5.0}
    assert np.count_nonzero(large == 0) == 16


def test_constant_baseline_is_the_best_constant() -> None:
    """No other constant has a smaller mean abs_rel on the truth it was chosen from."""
    truths = [scene(seed, (20, 20)) ** 1.5 for seed in range(3)]
    best = constant_depth(truths, DepthProtocol())

    def error(depth: float) -> float:
        return score_depth([(np.full(gt.shape, depth), gt) for gt in truths]).abs_rel

    grid = [error(best * factor) for factor in np.linspace(0.8, 1.25, 46)]
    assert error(best) <= min(grid) + 1e-4
    with pytest.raises(DataError, match="no pixel has a truth"):
        constant_depth([np.zeros((3, 3))], DepthProtocol())


def test_constant_depth_on_real_frames_is_the_anchor(data_root: Path) -> None:
    """A flat map, median-scaled, scores abs_rel about 0.374 on RedKitchen 320-399."""
    sevenscenes = pytest.importorskip("depthkit.data.importers.sevenscenes")
    folder = data_root / "sevenscenes_redkitchen"
    pairs = []
    for i in range(320, 400, 8):
        gt = sevenscenes.read_registered(folder / f"frame-{i:06d}.depth.png")[::4, ::4]
        pairs.append((np.ones_like(gt), gt))
    assert score_depth(pairs, align="median").abs_rel == pytest.approx(0.374, abs=0.01)
