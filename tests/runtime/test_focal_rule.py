# SPDX-License-Identifier: Apache-2.0
"""What K decides of a network's depth: the factor of a canonical camera, the shift of points."""

import numpy as np
import pytest

from depthkit.errors import EngineError
from depthkit.runtime.depth.focal_rule import canonical_focal, solve_shift

SIZE = (40, 60)
K = np.array([[50.0, 0, 31], [0, 45.0, 18], [0, 0, 1]])


def points_of(depth: np.ndarray, shift: float, scale: float = 1.0) -> np.ndarray:
    """Return the points of a depth map, without a shift of z and at another scale. (3, h, w)"""
    v, u = np.mgrid[0 : SIZE[0], 0 : SIZE[1]]
    points = np.stack([(u - K[0, 2]) / K[0, 0] * depth, (v - K[1, 2]) / K[1, 1] * depth, depth])
    points[2] -= shift
    return (points / scale).astype(np.float32)


def test_rules_by_hand():
    """f/1000 is 1000; none and solve_shift are no factor; anything else is refused."""
    assert canonical_focal("f/1000") == 1000 and canonical_focal("f/0.5") == 0.5
    assert canonical_focal("none") is canonical_focal("solve_shift") is None
    for rule in ("f/", "f/-1", "f/nan", "1000", "F/300", ""):
        with pytest.raises(EngineError, match="expected none, f/N"):
            canonical_focal(rule)


@pytest.mark.parametrize("shift", [-3.0, -0.2, 0.0, 0.9, 4.0])
@pytest.mark.parametrize("scale", [1.0, 0.2, 40.0])
def test_exact_points_give_their_shift(shift, scale):
    """Whatever is missing along z, at any scale, comes back to float32."""
    depth = 2 + 3 * np.random.default_rng(0).random(SIZE)
    found = solve_shift(points_of(depth, shift, scale), K)
    assert found == pytest.approx(shift / scale, abs=1e-5 * (5 + abs(shift)) / scale)


def test_unknown_points_do_not_count():
    """NaN on half of the map changes nothing; too few points are no answer."""
    depth = 2 + 3 * np.random.default_rng(0).random(SIZE)
    points = points_of(depth, 0.7)
    points[:, :, ::2] = np.nan
    assert solve_shift(points, K) == pytest.approx(0.7, abs=1e-4)
    points[:, 2:] = np.nan
    points[:, :, 8:] = np.nan
    assert solve_shift(points, K) is None


def test_noise_moves_the_shift_little():
    """A fifth of a pixel of noise in x and y: the least-squares shift stays within its error."""
    rng = np.random.default_rng(1)
    depth = 2 + 3 * rng.random(SIZE)
    points = points_of(depth, 0.7).astype(np.float64)
    points[:2] += rng.normal(0, 0.2 / 50, (2, *SIZE)) * depth
    # Pixels lie 14 px from the axis: noise lengthens depth of 3.5 m by (0.2 / 14)^2, 0.0007 m. The
    # slope is 14 px / 3.5 m: sigma of 4800 observations 0.2 / (4 sqrt(4800)), 0.0007 m.
    assert solve_shift(points, K) == pytest.approx(0.7, abs=0.0007 + 4 * 0.0007)


def test_points_that_fit_no_pixel_are_no_depth():
    """Points mirrored through the camera, and all on the axis, have no shift."""
    depth = 2 + 3 * np.random.default_rng(0).random(SIZE)
    mirrored = points_of(depth, 0.0)
    mirrored[:2] *= -1
    assert solve_shift(mirrored, K) is None
    on_axis = points_of(depth, 0.0)
    on_axis[:2] = 0
    assert solve_shift(on_axis, K) is None
