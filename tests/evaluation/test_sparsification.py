# SPDX-License-Identifier: Apache-2.0
"""Sparsification: curves by hand, ties, a confidence that knows all, nothing or the contrary."""

import numpy as np
import pytest

from depthkit.errors import DataError, ShapeError
from depthkit.evaluation.sparsification import PixelSample, sparsification


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers, the same each time."""
    return np.random.default_rng(0)


def test_four_pixels_by_hand():
    """Errors 4 3 2 1 with confidences 1 3 2 4: 4 goes first, then 2, then 3."""
    curves = sparsification(np.array([4.0, 3, 2, 1]), np.array([1.0, 3, 2, 4]), steps=4)
    assert curves.kept == pytest.approx([1, 0.75, 0.5, 0.25])
    assert curves.error == pytest.approx([2.5, 2, 2, 1])  # 10/4, (3+2+1)/3, (3+1)/2, 1
    assert curves.oracle == pytest.approx([2.5, 2, 1.5, 1])
    assert curves.random == pytest.approx(2.5)
    # Differences to the oracle 0 0 0.5 0: trapezoids 0, 0.25, 0.25, mean 1/6, over 2.5.
    assert curves.ause == pytest.approx(1 / 6 / 2.5)
    # Differences to chance 0 0.5 0.5 1.5: trapezoids 0.25, 0.5, 1, mean 1.75 / 3.
    assert curves.aurg == pytest.approx(1.75 / 3 / 2.5)


def test_equal_confidence_is_the_mean_over_all_orders():
    """Two tied pixels (errors 0 and 4) leave half each, however they are listed."""
    one = sparsification(np.array([4.0, 0, 2, 2]), np.array([1, 1, 5, 5]), steps=4)
    two = sparsification(np.array([0.0, 4, 2, 2]), np.array([1, 1, 5, 5]), steps=4)
    assert one.error == pytest.approx([2, 2, 2, 2])
    assert one.error == pytest.approx(two.error)


def test_constant_confidence_is_chance(rng):
    """What is the same everywhere knows nothing: the curve is flat, AURG 0."""
    curves = sparsification(rng.gamma(2.0, size=1000), np.full(1000, 0.7))
    assert curves.error == pytest.approx(curves.random)
    assert curves.aurg == pytest.approx(0, abs=1e-12)
    assert curves.ause > 0.3


def test_true_order_has_no_ause_and_its_reverse_the_most(rng):
    """Confidence = -error is the oracle; confidence = error is worse than chance."""
    error = rng.gamma(2.0, size=1000)
    assert sparsification(error, -error).ause == 0
    assert sparsification(error, -error).aurg > 0.3
    reverse, noise = sparsification(error, error), sparsification(error, rng.random(1000))
    assert reverse.ause > noise.ause > 0.3
    assert reverse.aurg < -0.3 < abs(noise.aurg) < 0.1


def test_areas_know_no_unit_and_no_monotone_change(rng):
    """Errors in millimetres and another scale of confidence give the same areas."""
    error, confidence = rng.gamma(2.0, size=500), rng.random(500)
    one = sparsification(error, confidence)
    two = sparsification(error * 1000, np.exp(5 * confidence))
    assert (one.ause, one.aurg) == pytest.approx((two.ause, two.aurg))


def test_shares_that_cut_a_pixel_take_a_part_of_it():
    """Half of three pixels is the surest one and half of the next."""
    curves = sparsification(np.array([6.0, 2, 1]), np.array([0, 1, 2]), steps=2)
    assert curves.error == pytest.approx([3, (1 + 0.5 * 2) / 1.5])


def test_no_error_at_all_is_no_area():
    """Perfect depth: nothing to rank, and nothing divided by 0."""
    curves = sparsification(np.zeros(10), np.arange(10))
    assert (curves.ause, curves.aurg) == (0, 0)


def test_sample_of_small_frames_is_all_their_scored_pixels(rng):
    """Frames below the limit are taken whole; pixels outside the mask may hold anything."""
    error, confidence = rng.random((2, 6, 8)), rng.random((2, 6, 8))
    scored = rng.random((2, 6, 8)) < 0.6
    error[~scored], confidence[~scored] = np.nan, -np.inf
    sample = PixelSample()
    for frame in zip(error, confidence, scored, strict=True):
        sample.add(*frame)
    single = (maps[scored].astype(np.float32) for maps in (error, confidence))
    assert sample.result().ause == pytest.approx(sparsification(*single).ause)


def test_sample_of_large_frames_is_seeded_and_close_to_all(rng):
    """One tenth of the pixels: the same each time, and near the areas of all pixels."""
    error = rng.gamma(2.0, size=(4, 100, 100))
    confidence = -error * rng.gamma(2.0, size=error.shape)
    results = []
    for seed in (1, 1, 2):
        sample = PixelSample(per_frame=1000, seed=seed)
        for frame in zip(error, confidence, np.ones(error.shape, bool), strict=True):
            sample.add(*frame)
        results.append(sample.result().ause)
    assert results[0] == results[1] != results[2]
    whole = sparsification(error.ravel(), confidence.ravel()).ause
    assert results[0] == pytest.approx(whole, rel=0.1)


@pytest.mark.parametrize(
    ("error", "confidence", "steps", "message"),
    [
        ([], [], 20, "got 0 and 20"),
        ([1.0], [1.0], 1, "got 1 and 1"),
        ([1.0, np.nan], [1.0, 1.0], 20, "1 of 2 errors are not finite"),
        ([1.0, 1.0], [1.0, np.inf], 20, "1 of 2 confidences are not finite"),
        ([1.0, -2.0], [1.0, 1.0], 20, "0 or more, got -2"),
    ],
)
def test_bad_numbers_are_refused(error, confidence, steps, message):
    """One line with what was given."""
    with pytest.raises(DataError, match=message):
        sparsification(np.array(error), np.array(confidence), steps=steps)


def test_arrays_that_do_not_fit_are_the_callers_bug():
    """Lengths and sizes must agree; a sample needs pixels."""
    with pytest.raises(ShapeError, match=r"confidence must be \(3\)"):
        sparsification(np.ones(3), np.ones(2))
    with pytest.raises(ShapeError, match="scored"):
        PixelSample().add(np.ones((2, 3)), np.ones((2, 3)), np.ones((3, 2), bool))
    with pytest.raises(DataError, match="no scored pixel in 1 frames"):
        empty = PixelSample()
        empty.add(np.ones((2, 3)), np.ones((2, 3)), np.zeros((2, 3), bool))
        empty.result()
    with pytest.raises(DataError, match="per_frame"):
        PixelSample(per_frame=0)
