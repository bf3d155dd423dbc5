# SPDX-License-Identifier: Apache-2.0
"""Rotation and parallax from tracks, against motions known by construction."""

import cv2
import numpy as np
import pytest

from depthkit.multiview.epipolar import rotation_angle
from depthkit.multiview.tracks import detect_corners, normalise_contrast, track
from depthkit.multiview.two_view import flow_of_cells, measure_motion

K = np.array([[260.0, 0, 159.5], [0, 260.0, 119.5], [0, 0, 1]])
SIZE = (240, 320)


def _tracks(depth, t, turn_deg, *, noise=0.05, outliers=0.0, seed=0, count=400):
    """Project random points before and after a motion. Returns points, R_b_a, parallax."""
    rng = np.random.default_rng(seed)
    a = rng.uniform([0, 0], [319, 239], (count, 2))
    x = np.column_stack([(a - K[:2, 2]) / 260, np.ones(count)])
    X = x * np.broadcast_to(depth(x, rng), count)[:, None]
    R = cv2.Rodrigues(np.radians(np.array(turn_deg, float)))[0]
    exact, turned = _project(X @ R.T + t), _project(x @ R.T)
    b = exact + rng.normal(0, noise, exact.shape)
    wrong = rng.random(count) < outliers
    b[wrong] += rng.uniform(-15, 15, (int(wrong.sum()), 2))
    return a, b, R, float(np.median(np.linalg.norm(exact - turned, axis=1)))


def _project(X):
    return X[:, :2] / X[:, 2:] * 260 + K[:2, 2]


def _deep(x, rng):
    return rng.uniform(1, 6, len(x))


def _wall(x, rng):
    return 2.0


def _slanted_wall(x, rng):
    return 2 / (1 + 0.4 * x[:, 0])


@pytest.mark.parametrize("turn", [(0, 0, 0), (0.3, 1.0, -0.5), (0, -6.0, 0)])
@pytest.mark.parametrize("t", [(0.05, 0, 0), (0, 0, 0.1), (0.05, 0.02, 0.05)])
@pytest.mark.parametrize("outliers", [0.0, 0.3])
def test_motion_before_a_deep_scene_is_recovered(turn, t, outliers):
    """Rotation within 0.05 deg, parallax and direction come out despite outliers."""
    a, b, R, parallax = _tracks(_deep, t, turn, outliers=outliers)
    inside = np.linalg.norm(b - a, axis=1) < 80
    motion = measure_motion(a[inside], b[inside], K)
    assert not motion.is_rotation
    assert rotation_angle(motion.R_b_a @ R.T) < 0.05
    assert motion.parallax == pytest.approx(parallax, rel=0.05 if outliers == 0 else 0.12)
    assert motion.direction_b_a @ np.array(t) / np.linalg.norm(t) > np.cos(np.radians(3))


@pytest.mark.parametrize("wall", [_wall, _slanted_wall])
@pytest.mark.parametrize("step", [0.025, 0.05, 0.1])
def test_slide_along_a_plane_is_not_taken_for_its_twin(wall, step):
    """A plane allows two motions; the one that puts points behind the camera is refused."""
    a, b, R, parallax = _tracks(wall, (step, 0, 0), (0, 1.0, 0))
    motion = measure_motion(a, b, K)
    assert not motion.is_rotation
    assert motion.parallax == pytest.approx(parallax, rel=0.05)
    assert rotation_angle(motion.R_b_a @ R.T) < 0.05


@pytest.mark.parametrize("turn", [(0, 0, 0), (0, 0.1, 0), (0.5, 2, 0), (0, 0, 8), (3, -10, 2)])
@pytest.mark.parametrize("noise", [0.0, 0.1, 0.3])
def test_rotation_on_the_spot_is_told_from_motion(turn, noise):
    """Whatever the noise, a pure rotation is one, and its angle is right."""
    a, b, R, _ = _tracks(_deep, (0, 0, 0), turn, noise=noise)
    motion = measure_motion(a, b, K)
    assert motion.is_rotation and np.isnan(motion.direction_b_a).all()
    assert rotation_angle(motion.R_b_a @ R.T) < 0.02 + 0.05 * noise
    assert motion.parallax < 0.02 + 1.3 * noise


def test_few_tracks_measure_nothing():
    """Ten tracks give no motion and no flow, rather than a guess."""
    a, b, _, _ = _tracks(_deep, (0.05, 0, 0), (0, 0, 0), count=10)
    assert measure_motion(a, b, K) is None
    assert np.isnan(flow_of_cells(a, b, SIZE))


def test_flow_of_cells_ignores_noise_and_small_objects():
    """Noise of 0.3 px a track reads as standing; a common shift of 0.3 px reads as 0.3 px."""
    a, b, _, _ = _tracks(_deep, (0, 0, 0), (0, 0, 0), noise=0.3)
    assert flow_of_cells(a, b, SIZE) < 0.15
    b[a[:, 0] < 100] += 20
    assert flow_of_cells(a, b, SIZE) < 0.2
    assert flow_of_cells(a, a + (0.3, 0.0), SIZE) == pytest.approx(0.3)


def test_tracks_are_blind_to_gain_and_offset():
    """The same picture, 1.3 times as bright and 15 levels lifted: no track moves."""
    noise = np.random.default_rng(0).standard_normal(SIZE).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    picture = np.clip(100 + 25 * smooth / smooth.std(), 0, 255)
    a = normalise_contrast(picture.round().astype(np.uint8))
    b = normalise_contrast(np.clip(1.3 * picture + 15, 0, 255).round().astype(np.uint8))
    corners = detect_corners(a)
    found, kept = track(a, b, corners)
    assert kept.mean() > 0.9 and len(corners) > 100
    assert np.median(np.linalg.norm(found - corners, axis=1)[kept]) < 0.03


def test_corners_stay_inside_the_valid_area():
    """A round picture: nothing is tracked outside."""
    noise = np.random.default_rng(1).integers(0, 255, SIZE, dtype=np.uint8)
    valid = np.zeros(SIZE, bool)
    valid[60:180, 80:240] = True
    corners = detect_corners(noise, valid)
    assert len(corners) > 30
    assert ((corners >= (80, 60)) & (corners < (240, 180))).all()
