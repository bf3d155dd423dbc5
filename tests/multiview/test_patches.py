# SPDX-License-Identifier: Apache-2.0
"""Patches found to a fraction of a pixel, in pictures that are a formula."""

import numpy as np
import pytest

from depthkit.multiview.patches import ITERATIONS, align_patches, cut_patches, plane_warps
from depthkit.rigid import exp_se3

K = np.array([[300.0, 0, 80], [0, 240.0, 60], [0, 0, 1]])
AT = np.stack(np.meshgrid(np.arange(30.0, 131, 20), np.arange(30.0, 91, 20)), -1).reshape(-1, 2)
UPRIGHT = np.tile(np.eye(2), (len(AT), 1, 1))


def picture(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Waves of 10 to 30 pixels, 28 to 228."""
    waves = np.sin(0.35 * u + 0.1 * v) + np.sin(0.5 * v - 0.2 * u) + np.cos(0.21 * u + 0.4 * v)
    return 128 + 100 / 3 * waves


def drawn(A: np.ndarray, shift: np.ndarray, offset: float = 0.0) -> np.ndarray:
    """Draw the picture at A x + shift for every pixel x. (120, 160) uint8"""
    v, u = np.mgrid[:120, :160].astype(float)
    x, y = A[0, 0] * u + A[0, 1] * v + shift[0], A[1, 0] * u + A[1, 1] * v + shift[1]
    return np.clip(np.rint(picture(x, y) + offset), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("offset", [0.0, -20.0])
def test_a_shift_is_found(offset: float) -> None:
    """A shift of (1.3, -0.7) from a guess 1.5 pixels off, also in a darker picture.

    Rounded grey levels and bilinear sampling leave 0.05 pixels.
    """
    a, shift = drawn(np.eye(2), np.zeros(2)), np.array([1.3, -0.7])
    b = drawn(np.eye(2), -shift, offset)
    found = align_patches(cut_patches(a, AT, UPRIGHT), b, AT)
    assert np.abs(found.pixels - AT - shift).max() < 0.06
    assert found.alike.min() > 0.98


def test_a_warp_is_undone() -> None:
    """A picture turned by 0.2 rad and grown by 1.2: found with its warp, not alike without."""
    c, s = 1.2 * np.cos(0.2), 1.2 * np.sin(0.2)
    A, a = np.array([[c, -s], [s, c]]), drawn(np.eye(2), np.zeros(2))
    middle = np.array([80.0, 60.0])
    b = drawn(np.linalg.inv(A), middle - np.linalg.inv(A) @ middle)
    near = AT[np.abs(AT - middle).max(axis=1) < 35]
    true = (near - middle) @ A.T + middle
    warps = np.tile(A, (len(near), 1, 1))
    with_warp = align_patches(cut_patches(a, near, warps), b, true + 0.8)
    without = align_patches(cut_patches(a, near, UPRIGHT[: len(near)]), b, true + 0.8)
    assert np.abs(with_warp.pixels - true).max() < 0.06
    assert with_warp.alike.min() > 0.98 > without.alike.min()


def test_a_flat_patch_stays_near_its_guess() -> None:
    """Without texture there is nothing to fit: finite, not alike, at most two pixels a step."""
    flat = np.full((120, 160), 90, np.uint8)
    found = align_patches(cut_patches(flat, AT, UPRIGHT), flat, AT)
    assert np.abs(found.pixels - AT).max() <= 2 * ITERATIONS
    assert (found.alike == 0).all()


def test_patches_beyond_the_border_are_finite() -> None:
    """The border is repeated outwards."""
    a, at = drawn(np.eye(2), np.zeros(2)), np.array([[0.0, 0.0], [159.0, 119.0]])
    found = align_patches(cut_patches(a, at, UPRIGHT[:2]), a, at)
    assert np.isfinite(found.pixels).all() and np.isfinite(found.alike).all()


def test_no_patches() -> None:
    """None in, none out."""
    a, none = drawn(np.eye(2), np.zeros(2)), np.zeros((0, 2))
    cut = cut_patches(a, none, np.zeros((0, 2, 2)))
    found = align_patches(cut, a, none)
    assert cut.shape == (0, 13, 13) and found.pixels.shape == (0, 2) and found.alike.shape == (0,)


def test_zoom_by_hand() -> None:
    """Two units towards a plane four units away double it; without motion nothing changes."""
    T = exp_se3(np.array([0, 0, -2.0, 0, 0, 0]))
    rays, depth = np.zeros((1, 2)), np.array([4.0])
    assert plane_warps(rays, depth, T, K)[0] == pytest.approx(2 * np.eye(2))
    assert plane_warps(rays, depth, np.eye(4), K)[0] == pytest.approx(np.eye(2))


def test_warps_are_slopes_of_the_projection() -> None:
    """At constant depth, by central differences of a hundredth of a pixel; fx and fy differ."""
    T = exp_se3(np.array([0.4, -0.2, 0.5, 0.1, -0.15, 0.3]))
    pixels, depth = AT, np.linspace(3, 9, len(AT))

    def to_b(at: np.ndarray) -> np.ndarray:
        rays = (at - K[:2, 2]) / (K[0, 0], K[1, 1])
        X = np.column_stack([rays, np.ones(len(at))]) * depth[:, None] @ T[:3, :3].T + T[:3, 3]
        return X[:, :2] / X[:, 2:] * (K[0, 0], K[1, 1]) + K[:2, 2]

    warps = plane_warps((pixels - K[:2, 2]) / (K[0, 0], K[1, 1]), depth, T, K)
    for column, h in enumerate(0.01 * np.eye(2)):
        slope = (to_b(pixels + h) - to_b(pixels - h)) / 0.02
        assert np.abs(warps[:, :, column] - slope).max() < 1e-5
