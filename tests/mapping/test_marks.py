# SPDX-License-Identifier: Apache-2.0
"""Marks of near obstacles: where they are, what makes none."""

import numpy as np
from map_worlds import SIZE, K, wall_depth
from test_band_grid import looking

from depthkit.mapping.marks import near_obstacles


def marks(depth, **options):
    """Marks of a level camera at 1 m in a band of half a metre around it."""
    settings = {"band": (0.5, 1.5), "max_depth": 2.0, "cell": 0.05} | options
    return near_obstacles(depth, K=K, T_world_cam=looking(), **settings)


def test_a_near_wall_is_marked_within_the_band():
    """A wall at 1.02 m: all marks at x = 1.02, heights 0.5 to 1.5, one a cube of 5 cm."""
    found = marks(wall_depth(1.02))
    assert np.abs(found[:, 0] - 1.02).max() < 1e-6
    assert found[:, 2].min() >= 0.5 and found[:, 2].max() <= 1.5
    cubes = np.unique(np.floor(found / 0.05).astype(int), axis=0)
    # The view spans y from -0.607 to 0.607 m and z from 0.546 to 1.454 m: 26 columns, 20 rows at
    # most, of which the outermost may hold fewer than three pixels.
    assert 24 * 18 <= len(cubes) == len(found) <= 26 * 20


def test_far_unknown_and_lone_pixels_make_no_marks():
    """Beyond the reach, NaN, outside the band, and two pixels in a cube: nothing."""
    assert len(marks(wall_depth(2.5))) == 0
    assert len(marks(wall_depth(np.nan))) == 0
    assert len(marks(wall_depth(1.0), band=(3.0, 4.0))) == 0
    lone = np.full(SIZE, np.nan, np.float32)
    lone[46, 63:65] = 1.02
    assert len(marks(lone)) == 0
    lone[47, 63:65] = 1.02
    assert len(marks(lone, cell=0.2)) == 1
