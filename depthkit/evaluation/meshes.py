# SPDX-License-Identifier: Apache-2.0
"""How near a reconstructed surface lies to the true one, and how much of that it covers.

Both are compared as points in one frame and one unit; whoever has another frame aligns first, by
the trajectories. Accuracy is the distance from the estimate to the truth, completeness the share of
the truth that the estimate comes near [Seitz et al. 2006; Knapitsch et al. 2017].
"""

from dataclasses import dataclass

import numpy as np

from depthkit.errors import DataError, check_shape

_CHUNK = 20_000  # points compared at once
_FEW = 8  # sides of a cube in which one far reference point is kept, for each side of a cell
_GOLDEN = np.array([0.7548776662466927, 0.5698402909980532])
"""Steps of the evenly spread sequence in two dimensions [Roberts 2018]."""


@dataclass(frozen=True)
class SurfaceScore:
    """Agreement of two surfaces; lengths in the unit of the points."""

    accuracy_median: float
    """Median distance from points of the estimate to the truth."""
    accuracy_share: float
    """Share of the estimate's points within `within` of the truth, 0 to 1."""
    completeness: float
    """Share of the truth's points within `within` of the estimate, 0 to 1."""
    completeness_median: float
    """Median distance from points of the truth to the estimate; inf where more than half lies
    beyond `most`."""
    within: float
    """Distance that counts as near."""
    estimate_points: int
    truth_points: int

    def __str__(self) -> str:
        return (
            f"median distance {self.accuracy_median:.4f}, {100 * self.accuracy_share:.1f} % within "
            f"{self.within:g}; completeness {100 * self.completeness:.1f} % within {self.within:g}"
        )


def score_surfaces(
    estimate: np.ndarray, truth: np.ndarray, *, within: float = 0.05, most: float = 1.0
) -> SurfaceScore:
    """Compare the points of two surfaces.

    Args:
        estimate: points, evenly spread; see `sample_mesh`. (N, 3)
        truth: the same of the true surface. (M, 3)
        within: distance that counts as near.
        most: distance beyond which the nearest point is not looked for.

    Raises:
        DataError: one of them is empty.
    """
    for name, points in (("estimate", estimate), ("truth", truth)):
        check_shape(f"score_surfaces: {name}", points, "N 3")
        if len(points) == 0:
            raise DataError(f"score_surfaces: {name} holds no points; nothing can be compared")
    there = distances_to(estimate, truth, most=most)
    back = distances_to(truth, estimate, most=most)
    return SurfaceScore(
        accuracy_median=float(np.median(there)),
        accuracy_share=float(np.mean(there <= within)),
        completeness=float(np.mean(back <= within)),
        completeness_median=float(np.median(back)),
        within=within,
        estimate_points=len(estimate),
        truth_points=len(truth),
    )


def sample_mesh(vertices: np.ndarray, faces: np.ndarray, *, spacing: float) -> np.ndarray:
    """Spread points evenly over the triangles of a mesh; the same mesh gives the same points.

    Args:
        vertices: positions. (V, 3)
        faces: vertices of the triangles. (F, 3)
        spacing: side of the square for which there is one point.

    Returns:
        Points. (N, 3) float64
    """
    a, b, c = np.moveaxis(np.asarray(vertices, np.float64)[faces], 1, 0)
    area = 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1)
    upto = np.cumsum(area)
    count = int(upto[-1] / spacing**2) if len(upto) else 0
    number = np.arange(count)
    face = np.searchsorted(upto, (number + 0.5) * spacing**2)
    s, t = np.modf((number[:, None] + 1) * _GOLDEN)[0].T
    over = s + t > 1  # the other half of the parallelogram
    s, t = np.where(over, 1 - s, s)[:, None], np.where(over, 1 - t, t)[:, None]
    return np.asarray(a[face] + s * (b - a)[face] + t * (c - a)[face])


def distances_to(points: np.ndarray, reference: np.ndarray, *, most: float) -> np.ndarray:
    """Return the distance from each point to the nearest reference point.

    The reference is sorted into cubes, whose sides double until each point has found a neighbour.
    Distances up to an eighth of `most` are exact; beyond, the reference is thinned and they are up
    to a fifth too large.

    Args:
        points: (N, 3)
        reference: at least one. (M, 3)
        most: distance beyond which the answer is inf.

    Returns:
        Distances. (N,) float64
    """
    points, kept = np.asarray(points, np.float64), np.asarray(reference, np.float64)
    found = np.full(len(points), np.inf)
    left = np.arange(len(points))
    for step in range(7, -1, -1):
        side = most / 2**step
        if step < 3:
            kept = _thinned(kept, side / _FEW)
        table = _Cells(kept, side)
        for start in range(0, len(left), _CHUNK):
            chunk = left[start : start + _CHUNK]
            found[chunk] = table.nearest(points[chunk])
        left = left[found[left] > side]
    found[left] = np.inf
    return found


class _Cells:
    """Reference points by the cube that they lie in."""

    def __init__(self, reference: np.ndarray, side: float) -> None:
        self._side, self._first = side, np.floor(reference.min(axis=0) / side).astype(np.int64) - 1
        cells = np.floor(reference / side).astype(np.int64) - self._first
        self._span = cells.max(axis=0) + 2
        keys = self._key(cells)
        order = np.argsort(keys, kind="stable")
        self._points = reference[order]
        self._keys, self._starts, self._counts = np.unique(
            keys[order], return_index=True, return_counts=True
        )

    def nearest(self, points: np.ndarray) -> np.ndarray:
        """Return the distance to the nearest point in the 27 cubes around each; inf: none. (N,)"""
        cells = np.floor(points / self._side).astype(np.int64) - self._first
        best = np.full(len(points), np.inf)
        for step in np.ndindex(3, 3, 3):
            at = cells + np.array(step) - 1
            inside = ((at >= 0) & (at < self._span)).all(axis=1)
            key = self._key(np.where(inside[:, None], at, 0))
            place = np.minimum(np.searchsorted(self._keys, key), len(self._keys) - 1)
            who = np.flatnonzero(inside & (self._keys[place] == key))
            if len(who) == 0:
                continue
            counts, starts = self._counts[place[who]], self._starts[place[who]]
            ends = np.cumsum(counts)
            index = np.arange(ends[-1]) - np.repeat(ends - counts - starts, counts)
            apart = self._points[index] - np.repeat(points[who], counts, axis=0)
            squares = np.einsum("ni,ni->n", apart, apart)
            least = np.sqrt(np.minimum.reduceat(squares, ends - counts))
            best[who] = np.minimum(best[who], least)
        return best

    def _key(self, cells: np.ndarray) -> np.ndarray:
        x, y, z = cells.T
        return np.asarray((x * self._span[1] + y) * self._span[2] + z)


def _thinned(points: np.ndarray, side: float) -> np.ndarray:
    """Keep the first point of each cube."""
    _, first = np.unique(np.floor(points / side).astype(np.int64), axis=0, return_index=True)
    return points[np.sort(first)]
