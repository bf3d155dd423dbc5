# SPDX-License-Identifier: Apache-2.0
"""The index of places: one product over an array, exact where codes are long, bad codes named."""

from time import process_time

import numpy as np
import pytest

from depthkit.errors import DataError
from depthkit.runtime.odometry.place_index import SHORT, START, PlaceIndex


def unit(rng: np.random.Generator, count: int, width: int) -> np.ndarray:
    """Draw unit vectors. (count, width) float32"""
    codes = rng.standard_normal((count, width), dtype=np.float32)
    return codes / np.linalg.norm(codes, axis=1, keepdims=True)


def test_cosines_by_hand() -> None:
    """(0.6, 0.8) against the axes and the diagonal; hidden ones are left out."""
    index = PlaceIndex(2)
    for key, code in ((3, [1, 0]), (5, [0, 1]), (9, [0.8, 0.6])):
        index.add(key, np.array(code))
    found = index.find(np.array([0.6, 0.8]), count=2)
    assert [key for key, _ in found] == [9, 5]
    np.testing.assert_allclose([c for _, c in found], [0.96, 0.8], rtol=1e-6)
    assert [k for k, _ in index.find(np.array([0.6, 0.8]), count=9, leave_out={9, 77})] == [5, 3]
    assert index.find(np.array([0.6, 0.8]), count=9, leave_out={3, 5, 9}) == []
    assert index.find(np.zeros(2), count=9) == []


def test_equal_codes_come_in_the_order_of_their_numbers() -> None:
    """Three of one code, entered in disorder."""
    index = PlaceIndex(2)
    for key in (8, 2, 5):
        index.add(key, np.array([1.0, 0]))
    assert [key for key, _ in index.find(np.array([1.0, 0]), count=3)] == [2, 5, 8]


def test_a_removed_place_is_gone_and_the_others_stay() -> None:
    """Beyond the first rows, with every third one removed: each is found by its own code."""
    rng = np.random.default_rng(0)
    codes, index = unit(rng, 3 * START, 32), PlaceIndex(32)
    for key, code in enumerate(codes):
        index.add(key, code)
    for key in range(0, len(codes), 3):
        index.remove(key)
    assert len(index) == 2 * START
    for key in range(1, len(codes), 3):
        assert index.find(codes[key], count=1)[0] == (key, pytest.approx(1.0, abs=1e-5))
        np.testing.assert_array_equal(index.code(key), codes[key])
    assert 3 not in index and 4 in index


def test_long_codes_are_compared_exactly() -> None:
    """600 codes of 1024 numbers, 4 that resemble the query: the same as the full product."""
    rng = np.random.default_rng(1)
    codes, width = unit(rng, 600, 4 * SHORT), 4 * SHORT
    query = unit(rng, 1, width)[0]
    like = [7, 100, 300, 599]
    for strength, key in zip((0.5, 0.45, 0.4, 0.35), like, strict=True):
        codes[key] = strength * query + np.sqrt(1 - strength**2) * codes[key]
    index = PlaceIndex(width)
    for key, code in enumerate(codes):
        index.add(key, code)
    found = index.find(query, count=4)
    assert [key for key, _ in found] == like
    np.testing.assert_allclose([c for _, c in found], codes[like] @ query, rtol=1e-4)


def test_ten_thousand_places_are_searched_fast() -> None:
    """A code of 256 numbers: 0.5 ms on an idle core; the bound allows ten times that."""
    rng = np.random.default_rng(2)
    codes, index = unit(rng, 10_000, 256), PlaceIndex(256)
    for key, code in enumerate(codes):
        index.add(key, code)
    spent = []
    for key in range(20):
        started = process_time()
        assert index.find(codes[key], count=4)[0][0] == key
        spent.append(process_time() - started)
    assert np.median(spent) < 5e-3


def test_bad_codes_are_named() -> None:
    """Another length, NaN, a number that is taken."""
    index = PlaceIndex(4)
    index.add(1, np.array([1.0, 0, 0, 0]))
    with pytest.raises(DataError, match=r"codes of 4 numbers, got \(3,\)"):
        index.find(np.zeros(3), count=1)
    with pytest.raises(DataError, match="NaN"):
        index.add(2, np.full(4, np.nan))
    with pytest.raises(DataError, match="number 1 is taken"):
        index.add(1, np.array([1.0, 0, 0, 0]))
