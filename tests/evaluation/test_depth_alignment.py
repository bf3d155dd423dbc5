# SPDX-License-Identifier: Apache-2.0
"""Alignment of depth before it is scored: planted factors and shifts, and fits that degenerate."""

import json
from pathlib import Path

import numpy as np
import pytest

from depthkit.cli import main
from depthkit.evaluation.depth import DepthProtocol, depth_metrics, score_depth
from depthkit.evaluation.depth_alignment import DepthAlignment, align_depth
from depthkit.evaluation.depth_review import alignment_notes, as_scored

GT = np.tile(np.geomspace(1.0, 8.0, 40), (30, 1))


def other(a: float, b: float) -> np.ndarray:
    """Depth by a network whose inverse is off by a factor and a shift: 1 / GT = a / depth + b."""
    return a / (1 / GT - b)


def test_least_squares_by_hand() -> None:
    """Inverse depths 1, 2, 3 against 3, 5, 7: twice and one more; 0, 1, 2 against 1, 0, 2: by hand.

    There the mean products are 1/3 over a variance of 2/3: a = 1/2, b = 1 - 1/2.
    """
    exact = align_depth(1 / np.array([1.0, 2, 3]), 1 / np.array([3.0, 5, 7]), "affine")
    assert (exact.a, exact.b) == (pytest.approx(2), pytest.approx(1))
    noisy = align_depth(1 / np.array([1.0, 2, 3]), 1 / np.array([2.0, 1, 3]), "affine")
    assert (noisy.a, noisy.b) == (pytest.approx(0.5), pytest.approx(1))


@pytest.mark.parametrize(("a", "b"), [(1.0, 0.0), (3.0, 0.1), (0.2, -0.4)])
def test_affine_takes_out_factor_and_shift(a: float, b: float) -> None:
    """Predictions off by both score as perfect; by the median alone they do not."""
    affine = depth_metrics(other(a, b), GT, align="affine")
    assert affine.abs_rel == pytest.approx(0, abs=1e-9)
    assert (affine.alignment.a, affine.alignment.b) == (pytest.approx(a), pytest.approx(b))
    assert affine.behind == 0 and affine.pixel_coverage == 1
    if b:
        assert depth_metrics(other(a, b), GT, align="median").abs_rel > 0.05


def test_no_other_factor_and_shift_fit_better() -> None:
    """The squared error of the inverse depth rises in all directions."""
    rng = np.random.default_rng(0)
    p = (other(2.0, 0.05) * np.exp(0.2 * rng.standard_normal(GT.shape))).ravel()
    g = GT.ravel()
    fit = align_depth(p, g, "affine")

    def error(a: float, b: float) -> float:
        return float(np.sum((a / p + b - 1 / g) ** 2))

    least = error(fit.a, fit.b)
    for da, db in ((1e-3, 0), (-1e-3, 0), (0, 1e-3), (0, -1e-3)):
        assert error(fit.a + da, fit.b + db) > least


def test_a_constant_gets_the_mean_inverse_depth() -> None:
    """The trivial answer under the same alignment: one constant an image, and counted as such."""
    report = score_depth([(np.full(GT.shape, 3.0), GT), (GT, GT)], align="affine")
    assert report.flat == 1
    assert report.scores[0].alignment == DepthAlignment(0.0, pytest.approx(np.mean(1 / GT)))
    shown, _, _ = as_scored(np.full(GT.shape, 3.0), GT, DepthProtocol("affine"))
    np.testing.assert_allclose(shown, 1 / np.mean(1 / GT))


def test_swapped_near_and_far_is_no_better_than_a_constant() -> None:
    """A negative factor would turn disparity into depth: it is not given, and that is said."""
    swapped = score_depth([(1 / GT, GT)], align="affine")
    constant = score_depth([(np.ones_like(GT), GT)], align="affine")
    assert swapped.abs_rel == pytest.approx(constant.abs_rel)
    (note,) = alignment_notes(swapped)
    assert note.startswith("in 1 of 1 frames no factor above 0 fits")


def test_inverse_depth_below_zero_is_scored_at_the_far_end() -> None:
    """Pixels that the fit puts behind infinity are not dropped: they count as max depth, aloud."""
    p = other(1.0, -0.3)  # farthest: inverse 1/8 + 0.3
    p[:, -4:] = 1 / 0.1  # inverse 0.1 - 0.3: behind infinity
    report = score_depth([(p, GT)], align="affine", max_depth=20)
    (score,) = report.scores
    assert 0 < score.behind == report.behind <= 0.1
    aligned = score.alignment.apply(p, 20.0)
    assert (aligned[:, -4:] == 20).all() and (aligned > 0).all()
    assert score.pixel_coverage == 1
    (note,) = alignment_notes(report)
    assert "scored as 20 m" in note


def test_unknown_pixels_stay_unknown() -> None:
    """0, NaN and infinity have no aligned depth."""
    fit = DepthAlignment(2.0, 0.5)
    depth = fit.apply(np.array([0.0, np.nan, np.inf, -1.0, 4.0]))
    np.testing.assert_allclose(depth, [0, 0, 0, 0, 1.0])


@pytest.mark.parametrize("mode", ["none", "median", "affine"])
def test_pictures_show_what_was_scored(mode: str) -> None:
    """A map aligned for a picture has the errors of its score."""
    p, protocol = other(2.0, 0.05), DepthProtocol(mode)
    shown, scored, _ = as_scored(p, GT, protocol)
    error = float(np.mean(np.abs(shown - GT)[scored] / GT[scored]))
    assert error == pytest.approx(depth_metrics(p, GT, align=mode).abs_rel, abs=1e-12)


def test_evaluate_depth_aligns_by_factor_and_shift(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--align affine on folders: JSON says so, with coverage and the share behind infinity."""
    for name, depth in (("pred", other(2.0, 0.05)), ("gt", GT)):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "0.npy", depth.astype(np.float32))
    folders = ("--pred", str(tmp_path / "pred"), "--gt", str(tmp_path / "gt"))
    given = (*folders, "--align", "affine", "--report", str(tmp_path / "page"))
    assert main(["evaluate", "depth", *given, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["align"], figures["coverage"]) == ("affine", 1.0)
    assert figures["abs_rel"] == pytest.approx(0, abs=1e-6)
    assert (figures["behind"], figures["flat"]) == (0.0, 0)
    assert main(["evaluate", "depth", *folders, "--align", "affine"]) == 0
    assert "scaled and shifted in inverse depth by least squares" in capsys.readouterr().out
