# SPDX-License-Identifier: Apache-2.0
"""The hybrid matcher: planted shifts, hidden strips, windows of levels, and what a pair's features
say of it."""

import cv2
import numpy as np
import pytest

from depthkit.errors import ShapeError
from depthkit.multiview.hybrid_kernels import average_windows, fill_rows
from depthkit.multiview.hybrid_match import MatchConfig, _factors, agrees, match_pair, search
from depthkit.multiview.rectified import PairGeometry, measure_pair, suggest_max_disparity

RIGHT, WIDTH, HEIGHT = 40, 200, 96


def texture(seed: int, size: tuple[int, int] = (HEIGHT, WIDTH + 60)) -> np.ndarray:
    """Return smooth random grey with detail at several sizes. (H, W) uint8"""
    rng = np.random.default_rng(seed)
    total = np.zeros(size, np.float32)
    for sigma in (1.0, 3.0, 9.0):
        total += sigma * cv2.GaussianBlur(rng.normal(size=size).astype(np.float32), (0, 0), sigma)
    total = (total - total.mean()) / total.std()
    return np.clip(128 + 45 * total, 0, 255).astype(np.uint8)


def shifted_pair(shift: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two views of a wall that lies `shift` pixels apart."""
    wall = texture(0)
    return wall[:, :WIDTH], np.ascontiguousarray(wall[:, shift : shift + WIDTH])


@pytest.mark.parametrize("whole_range", [1, 2, 8])
@pytest.mark.parametrize("cost", ["census", "zncc"])
def test_a_planted_shift_is_found(cost, whole_range):
    """A wall moved by 21 pixels has that disparity everywhere, searched whole or coarse to fine."""
    left, right = shifted_pair(21)
    config = MatchConfig(cost=cost, whole_range=whole_range)
    found = match_pair(left, right, max_disparity=48, config=config)
    assert found.disparity.shape == (HEIGHT, WIDTH) and found.disparity.dtype == np.float32
    inside = found.measured[:, 24:]
    assert inside.mean() > 0.97
    error = np.abs(found.disparity[:, 24:][inside] - 21)
    assert error.max() < 1 and (error < 0.3).mean() > 0.98
    assert not found.measured[:, :18].any()  # outside the right picture
    assert np.abs(found.disparity - 21).max() < 1  # and filled by what is beside it


def test_the_learnt_cost_takes_descriptors_of_every_size():
    """Descriptors made of two shifted copies of the picture find the shift as well."""
    left, right = shifted_pair(10)
    sizes = []

    def describe(grey):
        sizes.append(grey.shape)
        blurred = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 4)
        maps = [np.roll(grey - blurred, (v, u), (0, 1)) for v in (-1, 0, 1) for u in (-1, 0, 1)]
        stack = np.stack(maps, 2)
        return stack / np.maximum(np.linalg.norm(stack, axis=2, keepdims=True), 1)

    config = MatchConfig(cost="learned")
    found = match_pair(left, right, max_disparity=32, config=config, describe=describe)
    error = np.abs(found.disparity[:, 16:] - 10)
    assert (error < 0.5).mean() > 0.98 and found.measured[:, 16:].mean() > 0.95
    assert set(sizes) == {(48, 100), (96, 200)}


def test_what_is_hidden_takes_the_disparity_behind():
    """A square 24 pixels nearer than its wall of 4: the strip to its left is not measured, and
    filled with the wall's disparity."""
    wall, square = texture(1), texture(2)
    left, right = wall[:, 20 : 20 + WIDTH].copy(), wall[:, 24 : 24 + WIDTH].copy()
    left[30:66, 100:150] = square[30:66, 100:150]
    right[30:66, 72:122] = square[30:66, 100:150]
    found = match_pair(left, right, max_disparity=48)
    strip = np.s_[36:60, 80:96]
    assert found.measured[strip].mean() < 0.1
    np.testing.assert_allclose(found.disparity[strip], 4, atol=1)
    inner = np.s_[36:60, 106:144]
    np.testing.assert_allclose(found.disparity[inner], 28, atol=0.5)


def test_sub_pixel_shifts_are_found_between_levels():
    """A wall moved by 7.5 pixels is measured within a quarter pixel."""
    wall = texture(3)
    moved = cv2.warpAffine(
        wall, np.array([[1, 0, -7.5], [0, 1, 0.0]]), wall.shape[::-1], flags=cv2.INTER_CUBIC
    )
    found = search(wall[:, :WIDTH], np.ascontiguousarray(moved[:, :WIDTH]), 32)
    assert abs(np.median(found[:, 20:]) - 7.5) < 0.25


def test_same_input_same_bytes():
    """Twice the same."""
    left, right = shifted_pair(5)
    one, two = (match_pair(left, right, max_disparity=16) for _ in range(2))
    assert one.disparity.tobytes() == two.disparity.tobytes()
    with pytest.raises(ShapeError):
        match_pair(left, right[:, 1:], max_disparity=16)


def test_large_pictures_begin_at_smaller_sizes():
    """The whole range is searched at 1/2 of a small picture, at 1/8 of twelve megapixels with 255
    levels, and nowhere below the size at which a picture or its range has a few pixels left."""
    auto = MatchConfig()
    assert list(_factors((500, 741), 64, auto)) == [2, 1]
    assert list(_factors((3000, 4000), 255, auto)) == [8, 4, 2, 1]
    assert list(_factors((3000, 4000), 255, MatchConfig(whole_range=16))) == [16, 8, 4, 2, 1]
    assert list(_factors((30, 4000), 255, MatchConfig(whole_range=8))) == [2, 1]
    assert list(_factors((500, 741), 3, MatchConfig(whole_range=8))) == [2, 1]


def test_windows_are_averaged_at_the_same_absolute_level():
    """Neighbours whose windows begin one level apart are compared level by level."""
    lowest = np.array([[0, 1]], np.int16)
    cost = np.array([[[10, 20, 30], [21, 33, 50]]], np.uint8)  # levels 0-2 and 1-3
    out = np.empty_like(cost)
    average_windows(cost, lowest, out)
    # Level 0: 10 alone. Level 1: 20 and 21, rounded up. Level 2: 30 and 33. Level 3: 50 alone.
    assert out.tolist() == [[[10, 21, 32], [21, 32, 50]]]


def test_rows_are_filled_from_behind():
    """Between 9 and 4 stands 4; at the ends the only neighbour; an empty row stays unknown."""
    disparity = np.array([[0, 9, 0, 4, 0], [0, 0, 0, 0, 0]], np.float32)
    out = np.empty_like(disparity)
    fill_rows(disparity, disparity > 0, out)
    assert out[0].tolist() == [9, 9, 4, 4, 4] and np.isnan(out[1]).all()


def test_agreement_looks_from_the_other_side():
    """Disparity 2 leads from column 3 to column 1, where the other view must say 2 as well."""
    there = np.full((1, 5), 2.0, np.float32)
    back = np.array([[2.0, 3.5, 2.4, 2.0, 2.0]], np.float32)
    assert agrees(there, back, 1.0).tolist() == [[False, False, True, False, True]]


def test_features_tell_what_a_pair_is():
    """A rectified pair lies on its rows; one that is 4 pixels lower does not."""
    wall = texture(4, (240, 400))
    left, right = wall[:, :320], np.ascontiguousarray(wall[:, 30:350])
    found = measure_pair(left, right)
    assert found.is_known and found.is_rectified and abs(found.median - 30) < 1
    assert suggest_max_disparity(found, 320) == 48  # 1.25 * 30 + 8, rounded up
    lower = measure_pair(left[4:], right[:-4])
    assert lower.vertical == pytest.approx(4, abs=0.5) and not lower.is_rectified
    blank = measure_pair(*(np.full((64, 64), 90, np.uint8),) * 2)
    assert blank == PairGeometry(0, *(blank.vertical,) * 3) or not blank.is_known
    assert blank.is_rectified and suggest_max_disparity(blank, 320) == 80
