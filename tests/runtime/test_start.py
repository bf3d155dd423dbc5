# SPDX-License-Identifier: Apache-2.0
"""The first two keyframes: pure rotation is told from translation, the unit is the median depth."""

import numpy as np
import pytest

from depthkit.rigid import exp_se3, inverse, log_so3
from depthkit.runtime.odometry.start import (
    LEAST_POINTS,
    Start,
    rotation_of,
    triangulate_rays,
    try_start,
)

K = np.array([[400.0, 0, 320], [0, 380.0, 240], [0, 0, 1]])


def two_views(T_b_a: np.ndarray, count: int = 150, noise: float = 0.0) -> tuple[np.ndarray, ...]:
    """Return points in a, and their pixels in both views."""
    rng = np.random.default_rng(2)
    z = rng.uniform(4, 12, count)
    X = np.column_stack([rng.uniform(-0.6, 0.6, count), rng.uniform(-0.5, 0.5, count)])
    X = np.column_stack([X, np.ones(count)]) * z[:, None]
    pixels = []
    for points in (X, X @ T_b_a[:3, :3].T + T_b_a[:3, 3]):
        at = points @ K.T
        pixels.append(at[:, :2] / at[:, 2:] + noise * rng.normal(size=(count, 2)))
    return X, pixels[0], pixels[1]


T = exp_se3(np.array([0.8, 0.1, -0.3, 0.02, 0.05, -0.03]))


def test_start_by_exact_tracks() -> None:
    """Rotation, direction and points to rounding; their median depth is the unit."""
    X, a, b = two_views(T)
    start = try_start(a, b, K)
    assert isinstance(start, Start) and start.good.all()
    unit = np.median(X[:, 2])
    assert np.abs(start.T_second_first[:3, :3] - T[:3, :3]).max() < 1e-4
    assert start.T_second_first[:3, 3] == pytest.approx(T[:3, 3] / unit, abs=1e-3)
    assert np.median(start.points[:, 2]) == pytest.approx(1.0)
    assert np.abs(start.points * unit - X).max() < 0.05


def test_wrong_tracks_are_marked() -> None:
    """A tenth of the tracks jump by 40 pixels across their lines: the others make the start."""
    _, a, b = two_views(T, noise=0.3)
    b[::10, 1] += 40.0
    start = try_start(a, b, K)
    assert isinstance(start, Start)
    assert not start.good[::10].any() and start.good.mean() > 0.8


def test_rotation_does_not_start() -> None:
    """Turning on the spot: its rotation is measured, there is no parallax, and no map begins."""
    turn = exp_se3(np.array([0, 0, 0, 0.05, -0.08, 0.02]))
    _, a, b = two_views(turn, noise=0.2)
    R, parallax = rotation_of(a, b, K)
    assert np.abs(log_so3(R @ turn[:3, :3].T)).max() < 1e-3
    assert parallax < 0.1
    assert try_start(a, b, K) == "a pure rotation explains the tracks"


def test_translation_has_parallax() -> None:
    """0.8 units at a median depth of 8 are 5.7 degrees; the turn is taken out first."""
    _, a, b = two_views(T)
    _, parallax = rotation_of(a, b, K)
    assert 1.0 < parallax < 6.0


def test_few_tracks_do_not_start() -> None:
    """Fewer than needed: a reason that says how many."""
    _, a, b = two_views(T, LEAST_POINTS - 10)
    assert "30 of 30" in str(try_start(a, b, K))
    assert try_start(a[:0], b[:0], K) == "0 tracks are too few"


def test_triangulation_is_the_midpoint() -> None:
    """Two rays a unit apart that pass each other at a tenth: between them, by hand.

    From the origin along z, and from (1, 0.1, 0) towards (-1, 0, 4): nearest at (0, 0..0.1, 4).
    """
    x_a = np.array([[0.0, 0.0, 1.0]])
    x_b = np.array([[-0.25, 0.0, 1.0]])
    at = triangulate_rays(x_a, x_b, np.eye(3), np.array([-1.0, -0.1, 0.0]))
    assert at == pytest.approx(np.array([[0.0, 0.05, 4.0]]))


def test_triangulation_returns_the_points() -> None:
    """Exact rays meet in the points; parallel ones give numbers, not errors."""
    X, _, _ = two_views(T)
    seen = X @ T[:3, :3].T + T[:3, 3]
    found = triangulate_rays(X / X[:, 2:], seen / seen[:, 2:], T[:3, :3], T[:3, 3])
    assert np.abs(found - X).max() < 1e-9
    ahead = np.array([[0.0, 0.0, 1.0]])
    assert np.isfinite(triangulate_rays(ahead, ahead, np.eye(3), inverse(np.eye(4))[:3, 3])).all()
