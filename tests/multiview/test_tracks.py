# SPDX-License-Identifier: Apache-2.0
"""Contrast normalisation and tracks on pictures that are a formula."""

import cv2
import numpy as np
import pytest

from depthkit.multiview.tracks import (
    CONTRAST_FLOOR,
    CONTRAST_WINDOW,
    ROUND_TRIP,
    normalise_contrast,
    track,
)


def texture(shift: float = 0.0, gain: float = 1.0, offset: float = 0.0) -> np.ndarray:
    """Smooth noise moved to the right. (120, 160) uint8"""
    noise = np.random.default_rng(0).normal(size=(120, 200)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.5) * 220
    move = np.array([[1, 0, shift - 20], [0, 1, 0]], np.float64)
    moved = cv2.warpAffine(smooth, move, (160, 120), flags=cv2.INTER_CUBIC)
    return np.clip(np.rint(gain * (128 + moved) + offset), 0, 255).astype(np.uint8)


def test_contrast_is_the_formula() -> None:
    """Of the blurred picture: 128 + 48 (g - mean) / (deviation + floor), to one level.

    Sums of float32 squares in another order round 625 squares of 255 to 1e-7 of them: 0.05 grey
    levels of a deviation of 6, so below one level of the result.
    """
    gray = texture()
    smooth = cv2.GaussianBlur(gray.astype(np.float64), (3, 3), 0)
    mean = cv2.blur(smooth, CONTRAST_WINDOW)
    deviation = np.sqrt(np.maximum(cv2.blur(smooth**2, CONTRAST_WINDOW) - mean**2, 0))
    expected = np.clip(128 + 48 * (smooth - mean) / (deviation + CONTRAST_FLOOR), 0, 255)
    got = normalise_contrast(gray)
    assert got.dtype == np.uint8
    assert np.abs(got.astype(int) - expected.astype(np.uint8)).max() <= 1


@pytest.mark.parametrize("level", [0, 128, 255])
def test_flat_picture_becomes_middle_grey(level: int) -> None:
    """Nothing over the floor: 128, a level of rounding apart, whatever the exposure."""
    flat = normalise_contrast(np.full((60, 80), level, np.uint8))
    assert np.abs(flat.astype(int) - 128).max() <= 1


def test_extreme_contrast_saturates() -> None:
    """One bright pixel on black is clipped at 255 and never wraps around."""
    gray = np.zeros((60, 80), np.uint8)
    gray[30, 40] = 255
    got = normalise_contrast(gray)
    assert got[30, 40] == 255 and got[0, 0] in (127, 128)


def test_tracks_follow_a_shift_under_another_exposure() -> None:
    """A shift of 3.25 pixels, darker and lighter: every kept track within a third of a pixel."""
    a, b = normalise_contrast(texture()), normalise_contrast(texture(3.25, 0.7, 40))
    points = np.stack(np.meshgrid(np.arange(20.0, 135, 12), np.arange(20.0, 101, 12)), -1)
    points = points.reshape(-1, 2).astype(np.float32)
    found, kept = track(a, b, points)
    assert kept.mean() > 0.8
    assert np.abs(found[kept] - points[kept] - (3.25, 0)).max() < 0.34
    again, same = track(a, b, points)
    assert again.tobytes() == found.tobytes() and (same == kept).all()


def test_tracks_that_do_not_return_are_dropped() -> None:
    """Into a picture of something else, or out of the image."""
    a, points = normalise_contrast(texture()), np.array([[60.0, 50.0], [155.0, 60.0]], np.float32)
    other = normalise_contrast(texture()[::-1, ::-1].copy())
    assert not track(a, other, points)[1].any()
    gone = track(a, normalise_contrast(texture(12.0)), points)
    assert gone[1].tolist() == [True, False]
    back, _ = track(normalise_contrast(texture(12.0)), a, gone[0][:1])
    assert np.linalg.norm(back[0] - points[0]) < ROUND_TRIP


def test_no_tracks() -> None:
    """None in, none out."""
    a = normalise_contrast(texture())
    found, kept = track(a, a, np.zeros((0, 2), np.float32))
    assert found.shape == (0, 2) and kept.shape == (0,)
