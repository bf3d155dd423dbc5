# SPDX-License-Identifier: Apache-2.0
"""The working image, new corners, and tracks over near and far views."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from layered_world import SIZE, K, frame, render

from depthkit.multiview.features import Sift
from depthkit.rigid import exp_se3
from depthkit.runtime.odometry.front_end import (
    BORDER,
    Tracks,
    follow,
    follow_far,
    new_corners,
    working_frame,
    working_size,
)

HERE = frame(np.eye(4))


def test_working_size_keeps_the_shape() -> None:
    """Small frames stay; 3000 x 4000 at most 600,000 pixels becomes 671 x 894."""
    assert working_size((480, 640), 600_000) == (480, 640)
    assert working_size((3000, 4000), 600_000) == (671, 894)
    assert working_size((1, 10_000_000), 100) == (1, 31623)


def test_reduced_frame_keeps_its_rays() -> None:
    """Half the size: the middle of the picture stays on its ray; pixels and rays are inverse."""
    big = cv2.resize(render(np.eye(4)), (640, 480), interpolation=cv2.INTER_CUBIC)
    K_big = np.array([[500.0, 0, 319.5], [0, 500.0, 239.5], [0, 0, 1]])
    small = working_frame(big, K=K_big, stamp=0.0, most=320 * 240)
    assert small.image.shape == small.gray.shape == (240, 320) and small.rgb.shape == (240, 320, 3)
    assert pytest.approx(K) == small.K and small.focal == pytest.approx(250.0)
    at = np.array([[10.0, 20.0], [300.0, 200.0]])
    assert small.pixels(small.rays(at)) == pytest.approx(at)
    assert small.rays(np.array([[159.5, 119.5]])) == pytest.approx(np.zeros((1, 2)))


def test_corners_keep_apart_and_inside() -> None:
    """From each other, from tracks there are, from the border, and from what is no picture."""
    taken = np.array([[160.0, 120.0], [60.0, 60.0]])
    valid = np.ones(SIZE[::-1], bool)
    valid[:, 200:] = False
    found = new_corners(replace(HERE, valid=valid), taken, 150)
    apart = int(0.5 * np.sqrt(240 * 320 / 150))
    assert 30 < len(found) <= 148
    assert (found >= BORDER).all() and (found[:, 0] < 200).all()
    every = np.concatenate([found, taken])
    distance = np.linalg.norm(every[:, None] - every[None], axis=2) + 1e6 * np.eye(len(every))
    assert distance.min() >= apart - 1  # the discs are drawn round whole pixels


def test_no_corners() -> None:
    """Enough tracks, or a picture without texture."""
    assert new_corners(HERE, np.zeros((150, 2)), 150).shape == (0, 2)
    flat = replace(HERE, image=np.full(SIZE[::-1], 128, np.uint8))
    assert new_corners(flat, np.zeros((0, 2)), 100).shape == (0, 2)


def test_tracks_are_kept_in_memory_of_their_own() -> None:
    """A part, and more: the pieces stay in order."""
    tracks = Tracks(np.array([5, 3, 9]), np.arange(6, dtype=np.float32).reshape(3, 2))
    part = tracks.kept(np.array([True, False, True]))
    more = part.with_more(np.array([7]), np.array([[8.0, 9.0]]))
    part.pixels[0] = -1
    assert more.slots.tolist() == [5, 9, 7] and tracks.pixels[0].tolist() == [0, 1]
    assert more.pixels.dtype == np.float32 and len(more) == 3 and len(Tracks()) == 0


def moved_pixels(pixels: np.ndarray, R: np.ndarray) -> np.ndarray:
    H = K @ R.T @ np.linalg.inv(K)
    return cv2.perspectiveTransform(pixels[:, None].astype(np.float64), H)[:, 0]


def test_follow_recovers_from_a_wrong_guess() -> None:
    """A turn of 1 degree: from the right guess, and from one 90 pixels off."""
    T = exp_se3(np.array([0, 0, 0, 0, np.radians(1), 0]))
    there, pixels = frame(T), new_corners(HERE, np.zeros((0, 2)), 120)
    true = moved_pixels(pixels, T[:3, :3])
    for guess in (true, true + 90.0):
        found, kept = follow(HERE, there, pixels, guess)
        assert kept.mean() > 0.8
        assert np.median(np.abs(found[kept] - true[kept])) < 0.1


def test_far_views_are_followed_by_features() -> None:
    """A turn of 18 degrees and of 12 about the axis, 90 pixels: SIFT says where corners went."""
    T = exp_se3(np.array([0, 0, 0, 0, np.radians(18), np.radians(12)]))
    there, pixels = frame(T), new_corners(HERE, np.zeros((0, 2)), 150)
    true = moved_pixels(pixels, T[:3, :3])
    inside = ((true > 12) & (true < (307, 227))).all(axis=1)
    outside = ((true < -1) | (true > (320, 240))).any(axis=1)
    found, kept = follow_far(HERE, there, pixels, Sift())
    assert kept[inside].mean() > 0.6 and outside.sum() > 20 and not kept[outside].any()
    assert np.median(np.abs(found[kept] - true[kept])) < 0.15


def test_far_views_without_a_common_motion_are_lost() -> None:
    """Into a flat picture, and without tracks."""
    flat = replace(HERE, image=np.full(SIZE[::-1], 128, np.uint8))
    pixels = new_corners(HERE, np.zeros((0, 2)), 50)
    assert not follow_far(HERE, flat, pixels, Sift())[1].any()
    found, kept = follow_far(HERE, HERE, pixels[:0], Sift())
    assert found.shape == (0, 2) and kept.shape == (0,)
