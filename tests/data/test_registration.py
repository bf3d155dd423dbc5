# SPDX-License-Identifier: Apache-2.0
"""Depth moved to another camera: rows by hand, a step that hides, a plane with exact truth."""

import numpy as np
import pytest

from depthkit.camera import Camera
from depthkit.data.importers.registration import register_depth
from depthkit.rigid import exp_se3, make_pose

SMALL = Camera(8, 3, 4.0, 4.0, 3.0, 1.0)


def move(depth: np.ndarray, shift: tuple[float, float, float]) -> np.ndarray:
    """Move depth of SMALL to a camera of the same K that stands elsewhere, not turned."""
    T = make_pose(np.eye(3), list(shift))
    return register_depth(depth, K_depth=SMALL.K, T_colour_depth=T, camera=SMALL)


def test_a_wall_by_hand() -> None:
    """At 2 m, 0.5 m to the left of the points: 4 * 0.5 / 2 = 1 pixel; the border is unknown."""
    depth = np.full((3, 8), 2.0)
    depth[1, 4] = 0.0
    expected = np.full((3, 8), 2.0)
    expected[:, 0] = expected[1, 5] = 0.0
    np.testing.assert_array_equal(move(depth, (0.5, 0, 0)), expected)


@pytest.mark.parametrize(
    ("shift", "expected"),
    [
        (0.5, [0, 0, 1, 1, 1, 1, 2, 2]),  # near 2 px, far 1 px to the right: near hides one of far
        (-0.5, [1, 1, 0, 2, 2, 2, 2, 0]),  # to the left: one column that no pixel has seen
    ],
)
def test_a_step_hides_and_uncovers(shift: float, expected: list[float]) -> None:
    """Four columns at 1 m, four at 2 m: the nearest wins, what nobody saw is unknown."""
    depth = np.tile([1.0] * 4 + [2.0] * 4, (3, 1))
    np.testing.assert_array_equal(move(depth, (shift, 0, 0)), np.tile(expected, (3, 1)))


def test_the_order_of_points_does_not_matter() -> None:
    """The step of the other hand: the far half comes first in the picture."""
    depth = np.tile([2.0] * 4 + [1.0] * 4, (3, 1))
    expected = [2, 2, 1, 1, 1, 1, 0, 0]
    np.testing.assert_array_equal(move(depth, (-0.5, 0, 0)), np.tile(expected, (3, 1)))


def test_depth_is_along_the_new_axis() -> None:
    """A camera 0.5 m farther back sees 2.5 m; one that has passed the wall sees nothing."""
    depth = np.full((3, 8), 2.0)
    found = move(depth, (0, 0, 0.5))
    assert set(np.unique(found)) == {0.0, 2.5}
    assert not move(depth, (0, 0, -2.0)).any() and not move(depth, (0, 0, -3.0)).any()
    assert found.dtype == np.float32


def test_unknown_and_invalid_depth_gives_no_point() -> None:
    """0, NaN and negative values."""
    depth = np.zeros((3, 8))
    depth[0], depth[2] = np.nan, -1.0
    assert not move(depth, (0.01, 0, 0)).any()


def test_a_slanted_plane_is_where_it_is() -> None:
    """Every colour pixel has the plane's own depth, to what half a pixel changes it.

    The plane n X = 1.2 m lies slanted before a turned camera of another focal length; each pixel
    holds the exact depth of a point within half a pixel of it, in both axes.
    """
    camera, K_depth = Camera(96, 72, 80.0, 80.0, 48.0, 36.0), np.diag([90.0, 90.0, 1.0])
    K_depth[:2, 2] = 50.0, 34.0
    T = exp_se3(np.array([-0.03, 0.002, 0.004, 0.01, -0.02, 0.03]))
    n = np.array([0.3, -0.2, 0.9])
    # In the depth camera the same plane: n (R X + t) = 1.2.
    truth = plane_depth(n, 1.2, camera.K, (72, 96))
    measured = plane_depth(n @ T[:3, :3], 1.2 - n @ T[:3, 3], K_depth, (72, 96))
    found = register_depth(measured, K_depth=K_depth, T_colour_depth=T, camera=camera)
    inner = np.s_[16:-16, 16:-16]
    assert (found[inner] > 0).all()  # 90 pixels of depth for 80 of colour: no holes
    slope = np.abs(np.gradient(truth)).sum(axis=0)
    assert (np.abs(found - truth) < 0.51 * slope + 1e-6)[inner].all()


def plane_depth(n: np.ndarray, distance: float, K: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Depth of the plane n X = distance in each pixel. (H, W)"""
    v, u = np.mgrid[: size[0], : size[1]]
    rays = np.stack([u, v, np.ones_like(u)], axis=-1) @ np.linalg.inv(K).T
    return distance / (rays @ n)
