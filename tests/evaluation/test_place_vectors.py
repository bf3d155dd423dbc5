# SPDX-License-Identifier: Apache-2.0
"""Descriptors as numbers: similarity, principal axes, codes, and two models as one, by hand."""

import numpy as np
import pytest

from depthkit.errors import DataError, ShapeError
from depthkit.evaluation.place_vectors import (
    concatenate,
    fuse_late,
    principal_axes,
    similarities,
    unit,
)


def test_similarity_is_the_cosine_and_nothing_is_like_zeros() -> None:
    """(3, 4) and (4, 3): 24 / 25, whatever their lengths; zeros give 0, not NaN."""
    found = similarities(np.array([[3, 4], [0, 0]]), np.array([[8, 6], [-3, -4]]))
    np.testing.assert_allclose(found, [[0.96, -1], [0, 0]], atol=1e-6)


@pytest.mark.parametrize(
    ("query", "database", "message"),
    [
        ((2, 3), (2, 4), "3 numbers against 4 of the database"),
        ((2, 3), (0, 3), "2 queries and 0 places"),
        ((0, 3), (2, 3), "0 queries and 2 places"),
    ],
)
def test_descriptors_that_cannot_be_compared(
    query: tuple[int, int], database: tuple[int, int], message: str
) -> None:
    """Another length, an empty database."""
    with pytest.raises(DataError, match=message):
        similarities(np.ones(query), np.ones(database))
    with pytest.raises(ShapeError):
        similarities(np.ones(3), np.ones((2, 3)))


def points_on_axes() -> np.ndarray:
    """Deviation sqrt(8) along the second axis, sqrt(2) along the first, none along the third."""
    return np.array([[2.0, 0, 5], [-2, 0, 5], [0, 4, 5], [0, -4, 5]])


def test_principal_axes_by_hand() -> None:
    """Two axes, the longer first; a code of two whitened numbers of (1, 2) has equal parts."""
    axes = principal_axes(points_on_axes())
    np.testing.assert_allclose(axes.mean, [0, 0, 5])
    np.testing.assert_allclose(axes.deviation, [np.sqrt(8), np.sqrt(2)])
    np.testing.assert_allclose(np.abs(axes.axes), [[0, 1], [1, 0], [0, 0]], atol=1e-12)
    code = axes.apply(np.array([[1.0, 2, 5]]), 2, whiten=True)
    np.testing.assert_allclose(np.abs(code), [[np.sqrt(0.5), np.sqrt(0.5)]], atol=1e-6)
    plain = axes.apply(np.array([[3.0, 4, 5]]), 2, whiten=False)
    np.testing.assert_allclose(np.abs(plain), [[0.8, 0.6]], atol=1e-6)


def test_axes_are_the_same_from_both_gram_matrices() -> None:
    """Six points of eight numbers (rows are fewer), and the same turned into six numbers."""
    x = np.random.default_rng(0).normal(size=(6, 8))
    few = principal_axes(x)
    basis = np.linalg.qr(np.concatenate([few.axes, few.mean[:, None]], axis=1))[0]
    many = principal_axes(np.concatenate([x @ basis] * 2))
    assert few.rank == many.rank == 5
    np.testing.assert_allclose(few.deviation, many.deviation, rtol=1e-9)
    np.testing.assert_allclose(few.axes.T @ few.axes, np.eye(5), atol=1e-9)


def test_all_axes_keep_what_the_mean_leaves() -> None:
    """A code as long as the rank has the similarities of the descriptors without their mean."""
    x = np.random.default_rng(1).normal(size=(9, 4))
    axes = principal_axes(x)
    codes = axes.apply(x, 4, whiten=False)
    centred = unit(x - x.mean(axis=0))
    np.testing.assert_allclose(codes @ codes.T, centred @ centred.T, atol=1e-5)


def test_codes_that_cannot_be() -> None:
    """Longer than there are axes; axes of two points, or of points that are all one."""
    with pytest.raises(DataError, match="a code of 3 numbers from 2 axes"):
        principal_axes(points_on_axes()).apply(np.ones((1, 3)), 3, whiten=False)
    for points in (np.eye(2), np.ones((5, 3)), np.ones((0, 3))):
        with pytest.raises(DataError, match="principal axes of"):
            principal_axes(points)


def test_joined_descriptors_have_the_mean_similarity() -> None:
    """Cosines 1 and 0 give 0.5; each model counts the same, whatever its length and scale."""
    first, second = np.array([[9.0, 0], [9, 0]]), np.array([[1.0, 0, 0], [0, 1, 0]])
    joined = concatenate([first, second])
    np.testing.assert_allclose(joined @ joined.T, [[1, 0.5], [0.5, 1]], atol=1e-6)


def test_late_fusion_by_hand() -> None:
    """Known places at right angles and one between: cosines 0, h, h; h = sqrt(1/2)."""
    known = np.array([[1.0, 0], [0, 1], [1, 1]])
    half = np.sqrt(0.5)
    between = np.array([0, half, half])
    similarity = np.array([[0.9, 0.1]])
    fused = fuse_late([similarity, similarity], [known, known])
    np.testing.assert_allclose(fused, (similarity - between.mean()) / between.std(), atol=1e-5)


def test_late_fusion_is_led_by_the_model_that_tells_places_apart() -> None:
    """Similarities of the first spread over 0.01, those of the second over 0.5: equal weight."""
    rng = np.random.default_rng(2)
    alike = np.concatenate([np.full((40, 1), 10.0), rng.normal(size=(40, 4))], axis=1)
    apart = rng.normal(size=(40, 5))
    parts = [similarities(alike, alike), similarities(apart, apart)]
    fused = fuse_late(parts, [alike, apart])
    off = ~np.eye(40, dtype=bool)
    shares = [np.corrcoef(fused[off], part[off])[0, 1] for part in parts]
    assert min(shares) > 0.6  # a plain mean would follow the second alone


def test_late_fusion_without_known_places() -> None:
    """None, one, or all alike: nothing says how similarities spread."""
    for known in (np.ones((0, 2)), np.ones((1, 2)), np.ones((3, 2))):
        with pytest.raises(DataError, match="late fusion"):
            fuse_late([np.ones((1, 1))], [known])
