# SPDX-License-Identifier: Apache-2.0
"""A two-dimensional map of a height band for navigation: unknown, free, occupied.

Rays from the camera free the cells they cross within the band and mark those of the surfaces they
end at; evidence adds up as log odds [Elfes 1989; values of Hornung et al. 2013]. Heights are z of
the world, which must be upright: z against gravity.
"""

from dataclasses import dataclass

import numpy as np

from depthkit.errors import ConfigError, DataError
from depthkit.mapping.submaps import Submaps
from depthkit.mapping.tsdf import check_frame
from depthkit.rigid import inverse

HIT, MISS = 0.85, -0.4
"""Log odds that a frame adds to an occupied cell and to a free one."""
LEAST, MOST = -2.0, 3.5
"""Bounds of the log odds, so that a cell can change its mind."""
FEWEST = 2
"""Surfaces that one frame must show in a cell for it to count: a lone pixel is often noise."""
UNKNOWN, FREE, OCCUPIED = -1, 0, 100
"""Values of nav_msgs/OccupancyGrid."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Cells of a height band."""

    cells: np.ndarray
    """-1 unknown, 0 free, 100 occupied; row 0 has the smallest y. (H, W) int8"""
    corner: np.ndarray
    """Position (x, y) of the outer corner of cells[0, 0]. (2,)"""
    cell: float
    """Side of a cell."""


@dataclass(eq=False)
class _Sheet:
    """Evidence of one submap, in its own frame."""

    origin: np.ndarray
    """Cell index (x, y) of evidence[0, 0]. (2,) int64"""
    evidence: np.ndarray
    """Log odds of occupied; 0: unknown. (H, W) float32"""


class BandGrid:
    """Occupancy of a height band around the camera's way; memory is bounded by `most_cells`."""

    def __init__(
        self,
        *,
        low: float,
        high: float,
        cell: float = 0.1,
        max_depth: float = 5.0,
        keyframes_per_submap: int = 0,
        most_cells: int = 2048,
    ) -> None:
        """Start with everything unknown.

        Args:
            low, high: height band, z of the world.
            cell: side of a cell.
            max_depth: depth up to which surfaces mark and rays free.
            keyframes_per_submap: keyframes that share a rigid pose; 0: all.
            most_cells: longest side of the grid; beyond, what is far from the camera is dropped.

        Raises:
            ConfigError: a value out of range.
        """
        if not low < high:
            raise ConfigError(f"BandGrid: low: below high, got {low:g} and {high:g}")
        if not (cell > 0 and max_depth > cell and most_cells > 2 * max_depth / cell + 2):
            raise ConfigError(
                f"BandGrid: cell: above 0, below max_depth, and most_cells of them span more than "
                f"the view; got cell {cell:g}, max_depth {max_depth:g}, most_cells {most_cells}"
            )
        self._band, self._cell, self._max_depth = np.array([low, high]), cell, max_depth
        self._most = most_cells
        self._submaps = Submaps(keyframes_per_submap)
        self._sheets: dict[int, _Sheet] = {}
        self.cropped = 0
        """Number of times that far cells were dropped."""

    def add(
        self,
        depth: np.ndarray,
        *,
        K: np.ndarray,
        T_world_cam: np.ndarray,
        sigma: np.ndarray | None = None,
        keyframe: int = 0,
    ) -> None:
        """Add what one frame shows; the arguments are those of `Tsdf.integrate`.

        Raises:
            DataError: K or the pose is not finite.
        """
        from depthkit.mapping.band_kernels import cast_rays

        depth, sure, _ = check_frame(depth, sigma, None)
        if not (np.isfinite(K).all() and np.isfinite(T_world_cam).all()):
            raise DataError("BandGrid.add: K and T_world_cam must be finite; leave the frame out")
        # 1. The sheet of the keyframe's submap, grown to the camera's reach.
        submap, T_world_map = self._submaps.enter(keyframe)
        T_map_cam = inverse(T_world_map) @ T_world_cam
        ray = np.array([K[0, 0], K[1, 1], K[0, 2], K[1, 2]], np.float64)
        sheet = self._reach(submap, T_map_cam[:2, 3], self._widest_ray(depth.shape, ray))
        # 2. What the rays of this frame say, one vote a cell.
        seen = np.zeros(sheet.evidence.shape, np.uint8)
        hits = np.zeros(sheet.evidence.shape, np.int32)
        stride = max(1, int(0.5 * self._cell * min(ray[0], ray[1]) / self._max_depth))
        cast_rays(
            *(depth, sure, ray, T_map_cam, stride, self._band, self._max_depth, self._cell),
            *(sheet.origin, seen, hits),
        )
        vote = np.where(hits >= FEWEST, HIT, np.where((seen > 0) & (hits == 0), MISS, 0))
        np.clip(sheet.evidence + vote, LEAST, MOST, out=sheet.evidence, casting="same_kind")

    def move(self, correction: np.ndarray, since: int = 0) -> None:
        """Move the submaps of keyframes from `since` on, see `Submaps.move`."""
        self._submaps.move(correction, since)

    def bend(self, correction: np.ndarray, since: int = 0) -> None:
        """Spread a loop's correction over the submaps since then, see `Submaps.bend`."""
        self._submaps.bend(correction, since)

    def fused(self) -> Grid:
        """Return all submaps as one grid of the world; one unknown cell where nothing was added."""
        low, high = self._extent()
        total = np.zeros((high[1] - low[1], high[0] - low[0]), np.float32)
        for submap, sheet in sorted(self._sheets.items()):
            total += self._sampled(sheet, self._submaps.poses[submap], low, total.shape)
        cells = np.full(total.shape, UNKNOWN, np.int8)
        cells[total < 0], cells[total > 0] = FREE, OCCUPIED
        return Grid(cells, low * self._cell, self._cell)

    # --- inside -----------------------------------------------------------------------------------

    def _widest_ray(self, size: tuple[int, ...], ray: np.ndarray) -> float:
        """Return the length of the view's longest ray at the largest depth."""
        x = max(ray[2], size[1] - ray[2]) / ray[0]
        y = max(ray[3], size[0] - ray[3]) / ray[1]
        return float(self._max_depth * np.sqrt(1 + x * x + y * y))

    def _reach(self, submap: int, centre: np.ndarray, reach: float) -> _Sheet:
        """Return the sheet of a submap, grown to hold a circle and cropped to the longest side."""
        reach = min(reach, 0.5 * (self._most - 2) * self._cell)
        low = np.floor((centre - reach) / self._cell).astype(np.int64)
        high = np.floor((centre + reach) / self._cell).astype(np.int64) + 1
        sheet = self._sheets.get(submap)
        if sheet is not None:
            size = np.array(sheet.evidence.shape[::-1])
            wanted = np.minimum(low, sheet.origin), np.maximum(high, sheet.origin + size)
            too_long = wanted[1] - wanted[0] > self._most
            self.cropped += bool(too_long.any())
            # A side that would be too long keeps what is nearest to the camera's reach.
            low = np.where(too_long, np.maximum(wanted[0], high - self._most), wanted[0])
            high = np.where(too_long, np.minimum(wanted[1], low + self._most), wanted[1])
            if (low == sheet.origin).all() and (high == sheet.origin + size).all():
                return sheet
        grown = _Sheet(low, np.zeros((high - low)[::-1], np.float32))
        if sheet is not None:
            _paste(grown, sheet)
        self._sheets[submap] = grown
        return grown

    def _extent(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the cells (x, y) that hold all submaps: first, and one past the last."""
        corners = [np.zeros((1, 2))]
        if self._sheets:
            corners = [
                self._corners(one, self._submaps.poses[n]) for n, one in self._sheets.items()
            ]
        points = np.concatenate(corners)
        low = np.floor(points.min(axis=0)).astype(np.int64)
        return low, np.maximum(np.ceil(points.max(axis=0)).astype(np.int64), low + 1)

    def _corners(self, sheet: _Sheet, T_world_map: np.ndarray) -> np.ndarray:
        """Return the corners of a sheet at mid-height in the world, in cells. (4, 2)"""
        height, width = sheet.evidence.shape
        shifts = np.array([[0, 0], [width, 0], [0, height], [width, height]])
        T, middle = T_world_map[:2], 0.5 * float(self._band.sum()) / self._cell
        shift = T[:, 2] * middle + T[:, 3] / self._cell
        return np.asarray((sheet.origin + shifts) @ T[:, :2].T + shift)

    def _sampled(
        self, sheet: _Sheet, T_world_map: np.ndarray, low: np.ndarray, shape: tuple[int, ...]
    ) -> np.ndarray:
        """Return the evidence of a submap on the cells of the world, by the nearest cell. (H, W)"""
        T = inverse(T_world_map)
        middle = 0.5 * float(self._band.sum()) / self._cell
        x, y = np.arange(shape[1]) + low[0] + 0.5, np.arange(shape[0]) + low[1] + 0.5
        at = [
            row[0] * x[None] + row[1] * y[:, None] + row[2] * middle + row[3] / self._cell
            for row in T[:2]
        ]
        columns, rows = (
            np.floor(one).astype(np.int64) - first
            for one, first in zip(at, sheet.origin, strict=True)
        )
        height, width = sheet.evidence.shape
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        found = np.zeros(shape, np.float32)
        found[inside] = sheet.evidence[rows[inside], columns[inside]]
        return found


def _paste(into: _Sheet, sheet: _Sheet) -> None:
    """Copy the cells that two sheets share."""
    size, room = np.array(sheet.evidence.shape[::-1]), np.array(into.evidence.shape[::-1])
    low = np.maximum(into.origin, sheet.origin)
    high = np.minimum(into.origin + room, sheet.origin + size)
    if (high > low).all():
        (x0, y0), (x1, y1) = low - into.origin, high - into.origin
        (a0, b0), (a1, b1) = low - sheet.origin, high - sheet.origin
        into.evidence[y0:y1, x0:x1] = sheet.evidence[b0:b1, a0:a1]
