# SPDX-License-Identifier: Apache-2.0
"""Matching costs: where the truth lies, the cost is least, whatever is compared."""

import cv2
import numpy as np
import pytest

from depthkit.multiview.matching_cost import (
    FULL,
    UNSEEN,
    disparity_lines,
    matching_cost,
    stereo_cost,
    sweep_lines,
    turned,
    zncc_descriptors,
)

K = np.array([[60.0, 0, 31.5], [0, 60.0, 23.5], [0, 0, 1]])


def texture(height: int = 48, width: int = 96, seed: int = 0) -> np.ndarray:
    """A random picture with structure of a few pixels."""
    noise = np.random.default_rng(seed).integers(0, 255, (height, width)).astype(np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 1.2)


def test_lines_are_the_projection_of_planes():
    """u' of a point on the plane q, by the projection itself."""
    offsets, levels = np.array([[0.2, -0.1, 0.3], [-0.4, 0.0, 0.0]]), np.array([0.0, 0.5, 1.3])
    lines = sweep_lines(offsets, K, levels)
    for s, t in enumerate(offsets):
        for n, q in enumerate(levels):
            point = np.linalg.inv(K) @ [10.0, 20.0, 1.0] + q * t
            expected = (K @ point / point[2])[:2]
            scale, du, dv = lines[s, n]
            assert np.allclose([scale * 10 + du, scale * 20 + dv], expected, atol=1e-4)


def test_a_plane_behind_the_source_shows_nothing():
    """A level behind the source camera costs what an unseen pixel costs."""
    lines = sweep_lines(np.array([[0.0, 0.0, -2.0]]), K, np.array([0.1, 1.0]))
    cost = matching_cost(texture(48, 64), [texture(48, 64)], lines)
    assert (cost[..., 1] == round(UNSEEN * FULL)).all()


@pytest.mark.parametrize("cost", ["census", "zncc", "learned"])
def test_the_true_disparity_costs_least(cost):
    """The right picture is the left one moved by 7 pixels, brighter and with more contrast."""
    wide = texture()
    left, right = wide[:, 7:87], wide[:, 14:94]
    right = np.clip(1.2 * right.astype(float) - 10, 0, 255).astype(np.uint8)
    describe = zncc_descriptors if cost == "learned" else None
    volume = stereo_cost(left, right, disparities=np.arange(-3.0, 12), cost=cost, describe=describe)
    inner = volume[4:-4, 16:-8]
    wanted = 3 - 7  # left u shows what right shows at u - 7: the disparity is 7
    assert wanted < 0 and (inner.argmin(axis=2) == 3 + 7).mean() > 0.97


def test_half_pixels_are_told_apart():
    """A move by 2.5 pixels costs less at 2.5 than at 2 and 3."""
    wide = texture(48, 192)
    left = cv2.resize(wide[:, 20:180], (80, 24), interpolation=cv2.INTER_AREA)
    right = cv2.resize(wide[:, 25:185], (80, 24), interpolation=cv2.INTER_AREA)
    levels = np.array([2.0, 2.5, 3.0])
    volume = stereo_cost(left, right, disparities=levels).astype(float)[4:-4, 8:-8]
    assert volume[..., 1].mean() < min(volume[..., 0].mean(), volume[..., 2].mean())


def test_one_bad_source_does_not_spoil_the_others():
    """Two of three sources show the point: the true level keeps its cost, the mean of those two."""
    wide = texture()
    left, right = wide[:, 10:74], wide[:, 14:78]
    lines = np.repeat(disparity_lines(np.arange(8.0)), 3, axis=0)
    clean = matching_cost(left, [right] * 3, lines)
    covered = matching_cost(left, [right, np.zeros_like(right), right], lines)
    true = np.s_[4:-4, 12:-4, 4]
    assert clean[true].max() <= 4 and np.array_equal(clean[true], covered[true])


def test_windows_are_cuts_of_the_whole_volume():
    """Costs of a window are those of its levels; levels that do not exist are unseen."""
    wide = texture()
    left, right = wide[:, 10:74], wide[:, 14:78]
    lines = disparity_lines(np.arange(8.0))
    one = np.zeros(left.shape, np.int16)
    whole = matching_cost(left, [right], lines, lowest=one)
    window = matching_cost(left, [right], lines, levels=4, lowest=one + 6)
    assert np.array_equal(window[..., :2], whole[..., 6:])
    assert (window[..., 2:] == round(UNSEEN * FULL)).all()


def test_a_turned_source_is_the_target_again():
    """Turning a picture there and back moves no pixel."""
    angle = np.radians(4)
    R = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    grey = cv2.GaussianBlur(texture(48, 64), (0, 0), 2)
    there = turned(grey, R, K)
    back = turned(there, R.T, K)
    assert np.abs(back[10:-10, 14:-14].astype(int) - grey[10:-10, 14:-14]).max() <= 3


def test_zncc_does_not_feel_brightness_and_contrast():
    """A cosine of 1 with the same patch, twice as bright."""
    grey = texture(20, 20)
    a, b = zncc_descriptors(grey // 2), zncc_descriptors((grey // 2) * 2)
    assert (a * b).sum(axis=2).min() > 0.999


def test_the_learnt_cost_needs_descriptors():
    """No silent fall-back to census."""
    with pytest.raises(ValueError, match="needs describe"):
        stereo_cost(texture(), texture(), disparities=np.arange(4.0), cost="learned")
