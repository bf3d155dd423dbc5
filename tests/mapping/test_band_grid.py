# SPDX-License-Identifier: Apache-2.0
"""The grid of a height band: cells by hand, clearing, corrections, bounds, bad input."""

import numpy as np
import pytest
from map_worlds import SIZE, K, wall_depth

from depthkit.errors import ConfigError, DataError
from depthkit.mapping.band_grid import FREE, OCCUPIED, UNKNOWN, BandGrid
from depthkit.rigid import exp_se3, make_pose

AHEAD = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
"""R of a camera that looks along x in a world with z up."""


def looking(x: float = 0.0, y: float = 0.0, z: float = 1.0, turn: float = 0.0) -> np.ndarray:
    """Pose of a level camera at a height, turned to the left by radians. (4, 4)"""
    T = exp_se3(np.array([0, 0, 0, 0, 0, turn])) @ make_pose(AHEAD, [0, 0, 0])
    T[:3, 3] = x, y, z
    return T


def band(**options: float) -> BandGrid:
    """Half a metre around a camera at 1 m."""
    return BandGrid(**{"low": 0.5, "high": 1.5, "cell": 0.1, "max_depth": 4.0} | options)


def cell_at(grid: BandGrid, x: float, y: float) -> int:
    """Value of the cell that holds a point; unknown outside."""
    found = grid.fused()
    column, row = np.floor((np.array([x, y]) - found.corner) / found.cell + 1e-9).astype(int)
    height, width = found.cells.shape
    inside = 0 <= row < height and 0 <= column < width
    return int(found.cells[row, column]) if inside else UNKNOWN


def test_a_wall_is_occupied_free_before_it_unknown_behind():
    """A wall at 2.05 m is taken, the way to it free, what lies beside and behind it unknown."""
    grid = band()
    grid.add(wall_depth(2.05), K=K, T_world_cam=looking())
    assert [cell_at(grid, 2.05, y) for y in (-1.0, 0.05, 1.0)] == [OCCUPIED] * 3
    assert [cell_at(grid, x, 0.05) for x in (0.05, 0.55, 1.05, 1.75)] == [FREE] * 4
    assert [cell_at(grid, x, 0.05) for x in (2.25, 3.05, -0.15)] == [UNKNOWN] * 3
    assert cell_at(grid, 0.55, 1.05) == UNKNOWN  # outside the view of 62 degrees
    assert (grid.fused().cells == OCCUPIED).sum() == 26  # from -1.2198 m to 1.2198 m


def test_what_lies_outside_the_band_marks_nothing():
    """A floor 1 m below: rays free the band on their way down, its points are below the band."""
    rows = (np.arange(SIZE[0]) - K[1, 2]) / K[1, 1]
    floor = np.where(rows > 0.01, 1.0 / np.maximum(rows, 0.01), np.nan)
    depth = np.repeat(floor[:, None], SIZE[1], axis=1).astype(np.float32)
    grid = band()
    grid.add(depth, K=K, T_world_cam=looking())
    cells = grid.fused().cells
    assert not (cells == OCCUPIED).any() and (cells == FREE).sum() > 100
    raised = band(low=-0.1, high=0.1)  # the same floor in a band that holds it
    raised.add(depth, K=K, T_world_cam=looking())
    assert (raised.fused().cells == OCCUPIED).sum() > 100


def test_far_surfaces_free_up_to_the_largest_depth():
    """A wall at 9 m with a reach of 4 m: free to 4 m, nothing occupied."""
    grid = band()
    grid.add(wall_depth(9.0), K=K, T_world_cam=looking())
    assert not (grid.fused().cells == OCCUPIED).any()
    assert [cell_at(grid, x, 0.05) for x in (3.85, 4.25)] == [FREE, UNKNOWN]


def test_evidence_outweighs_a_mistake():
    """Hit 0.85, miss -0.4: after one wrong wall, two frames leave it, the third clears it."""
    grid = band()
    grid.add(wall_depth(1.05), K=K, T_world_cam=looking())
    states = []
    for _ in range(3):
        grid.add(wall_depth(3.05), K=K, T_world_cam=looking())
        states.append(cell_at(grid, 1.05, 0.05))
    assert states == [OCCUPIED, OCCUPIED, FREE]


def test_a_lone_pixel_marks_nothing():
    """One surface in a cell is noise; and its cell is not freed either."""
    depth = np.full(SIZE, np.nan, np.float32)
    depth[44, 60] = 2.05
    grid = band()
    grid.add(depth, K=K, T_world_cam=looking())
    assert cell_at(grid, 2.05, -0.01) == UNKNOWN


def test_unsure_depth_frees_less():
    """10 % at 2 m: two deviations of 0.2 m and a cell before the wall are left unknown."""
    grid = band()
    grid.add(wall_depth(2.05), K=K, T_world_cam=looking(), sigma=np.full(SIZE, 0.1, np.float32))
    assert [cell_at(grid, x, 0.05) for x in (1.45, 1.65)] == [FREE, UNKNOWN]


def test_a_correction_moves_the_cells():
    """A quarter turn to the left takes a wall ahead to the left; a bend leaves the first submap."""
    grid = band(keyframes_per_submap=1)
    grid.add(wall_depth(2.05), K=K, T_world_cam=looking(), keyframe=0)
    grid.move(exp_se3(np.array([0, 0, 0, 0, 0, np.pi / 2])))
    assert [cell_at(grid, 0.05, 2.05), cell_at(grid, 2.05, 0.05)] == [OCCUPIED, UNKNOWN]
    grid.add(wall_depth(2.05), K=K, T_world_cam=looking(), keyframe=1)
    assert cell_at(grid, 2.05, 0.05) == OCCUPIED
    grid.bend(make_pose(np.eye(3), [0.5, 0, 0]))
    assert [cell_at(grid, 0.05, 2.05), cell_at(grid, 2.55, 0.05)] == [OCCUPIED, OCCUPIED]


def test_the_grid_is_bounded():
    """A flight of 30 m with 100 cells of 0.1 m keeps the last part, and counts what it lost."""
    grid = band(most_cells=140, max_depth=2.5)
    for x in np.arange(0.0, 30.0, 1.0):
        grid.add(wall_depth(2.05), K=K, T_world_cam=looking(x))
    cells = grid.fused().cells
    assert max(cells.shape) <= 140 and grid.cropped > 5
    assert cell_at(grid, 31.05, 0.05) == OCCUPIED


def test_the_same_frames_give_the_same_bytes():
    """Twice the same cells."""
    grids = [band(), band()]
    for grid in grids:
        grid.add(wall_depth(2.05), K=K, T_world_cam=looking(turn=0.3))
    assert grids[0].fused().cells.tobytes() == grids[1].fused().cells.tobytes()


def test_nothing_added_is_one_unknown_cell():
    """A message without cells would be no map."""
    assert band().fused().cells.tolist() == [[UNKNOWN]]


def test_bad_input_is_refused():
    """Heights that cross, cells of 0, a grid smaller than the view, a pose that is not finite."""
    for options in ({"low": 2.0}, {"cell": 0.0}, {"most_cells": 50}):
        with pytest.raises(ConfigError, match="BandGrid: "):
            band(**options)
    with pytest.raises(DataError, match="must be finite"):
        band().add(wall_depth(1.0), K=K, T_world_cam=np.full((4, 4), np.nan))
