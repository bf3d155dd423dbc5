# SPDX-License-Identifier: Apache-2.0
"""A surface made smaller, and drawn from above without a graphics card. Numpy alone."""

from dataclasses import dataclass

import numpy as np

SIDES = 2_097_152
"""Cells along an axis at most: three numbers of 21 bits make one of 63."""
MARGIN = 0.04
"""Room around the view from above, as a share of it."""
PAPER = (255, 255, 255)
START, END = (0, 158, 115), (213, 94, 0)
LEAST_STEP = 1e-12


@dataclass(frozen=True, eq=False)
class SceneMesh:
    """Coloured triangles in world axes: x right, y down, z forward."""

    vertices: np.ndarray
    """(N, 3)"""
    faces: np.ndarray
    """Vertices of each triangle, anticlockwise as seen from the free side. (M, 3) int"""
    colours: np.ndarray
    """RGB of each vertex. (N, 3) uint8"""
    cell: float
    """Distance of neighbouring vertices, about."""


@dataclass(frozen=True, eq=False)
class TopView:
    """A picture from above and where it lies."""

    picture: np.ndarray
    """x to the right, z upwards. (H, W, 3) uint8"""
    scale: float
    """Pixels of one unit of length."""


def thinned(mesh: SceneMesh, most: int) -> SceneMesh:
    """Join the vertices of each cell of a grid, so coarse that few enough are left.

    Args:
        mesh: stays as it is where it is small enough.
        most: vertices at most.
    """
    if len(mesh.vertices) <= most:
        return mesh
    low = mesh.vertices.min(axis=0)
    span = float((mesh.vertices.max(axis=0) - low).max())
    cell = max(mesh.cell * np.sqrt(len(mesh.vertices) / most), span / SIDES)
    while True:
        index = np.minimum((mesh.vertices - low) / cell, SIDES - 1).astype(np.int64)
        keys = (index[:, 0] * SIDES + index[:, 1]) * SIDES + index[:, 2]
        kept, group = np.unique(keys, return_inverse=True)
        if len(kept) <= most:
            break
        cell *= 1.15
    return _joined(mesh, group, len(kept), float(cell))


def _joined(mesh: SceneMesh, group: np.ndarray, count: int, cell: float) -> SceneMesh:
    """Give each group the mean of its vertices; triangles that collapse are left out."""
    sizes = np.bincount(group, minlength=count)[:, None]

    def mean(values: np.ndarray) -> np.ndarray:
        sums = [np.bincount(group, values[:, k], minlength=count) for k in range(3)]
        return np.stack(sums, axis=1) / sizes

    faces = group[mesh.faces]
    a, b, c = faces.T
    faces = faces[(a != b) & (b != c) & (c != a)]
    # The same three corners in the same sense are one triangle: begin each with its smallest.
    turn = (faces.argmin(axis=1)[:, None] + np.arange(3)) % 3
    faces = np.unique(np.take_along_axis(faces, turn, axis=1), axis=0)
    colours = np.rint(mean(mesh.colours.astype(np.float64))).astype(np.uint8)
    vertices = mean(mesh.vertices.astype(np.float64)).astype(np.float32)
    return SceneMesh(vertices, faces.astype(np.int32), colours, cell)


def draw_from_above(mesh: SceneMesh, path: np.ndarray, *, width: int) -> TopView:
    """Draw a surface from straight above; ceilings, seen from below only, are left out.

    Args:
        mesh: in world axes, y down.
        path: positions of the camera. (N, 3)
        width: of the picture, pixels; its height follows, at most as large.
    """
    # 1. The box that is drawn: without the most distant hundredth, but with all of the path.
    flat = mesh.vertices[:, [0, 2]]
    low = np.minimum(np.percentile(flat, 1, axis=0), path[:, [0, 2]].min(axis=0))
    high = np.maximum(np.percentile(flat, 99, axis=0), path[:, [0, 2]].max(axis=0))
    margin = MARGIN * float((high - low).max())
    low, high = low - margin, high + margin
    scale = (width - 1) / float(max(high - low))
    size = np.maximum(np.ceil((high - low) * scale).astype(int) + 1, 2)
    # 2. Points of the triangles that face up, the lowest first, so that the highest stay.
    points, colours = sampled(mesh, 0.7 / scale)
    picture = np.full((size[1], size[0], 3), PAPER, np.uint8)
    u, v = _pixels(points, low, scale, size[1])
    inside = (u >= 0) & (u < size[0]) & (v >= 0) & (v < size[1])
    order = np.flatnonzero(inside)
    order = order[np.argsort(-points[order, 1], kind="stable")]
    picture[v[order], u[order]] = colours[order]
    _draw_path(picture, path, low, scale)
    return TopView(picture, scale)


def sampled(mesh: SceneMesh, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Return points on the triangles that face up, and their shaded colours.

    Args:
        mesh: y down.
        step: distance of the points at most, where a triangle is not more than 12 of them long.

    Returns:
        points: (P, 3)
        colours: (P, 3) uint8
    """
    corners = mesh.vertices[mesh.faces].astype(np.float64)  # (M, 3, 3)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    up = -normals[:, 1] / np.maximum(np.linalg.norm(normals, axis=1), LEAST_STEP)
    keep = up > 0
    corners, light = corners[keep], (0.6 + 0.4 * up[keep])[:, None, None]
    inks = mesh.colours[mesh.faces[keep]] * light  # (M, 3, 3)
    longest = np.linalg.norm(np.roll(corners, 1, axis=1) - corners, axis=2).max(initial=0.0)
    count = int(np.clip(np.ceil(longest / max(step, LEAST_STEP)), 1, 12))
    weights = (
        np.array([(i, j, count - i - j) for i in range(count + 1) for j in range(count + 1 - i)])
        / count
    )  # (S, 3)
    points = np.einsum("sk,mkc->msc", weights, corners).reshape(-1, 3)
    colours = np.einsum("sk,mkc->msc", weights, inks).reshape(-1, 3)
    return points, np.clip(colours, 0, 255).astype(np.uint8)


def _pixels(
    points: np.ndarray, low: np.ndarray, scale: float, height: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return where points lie in the picture: x to the right, z upwards."""
    u = np.rint((points[:, 0] - low[0]) * scale).astype(int)
    v = height - 1 - np.rint((points[:, 2] - low[1]) * scale).astype(int)
    return u, v


def _draw_path(picture: np.ndarray, path: np.ndarray, low: np.ndarray, scale: float) -> None:
    """Draw the path as a line of dots, its first place green, its last one orange."""
    height, width = picture.shape[:2]
    steps = np.linalg.norm(np.diff(path[:, [0, 2]], axis=0), axis=1) * scale
    along = np.concatenate([[0.0], np.cumsum(steps)])
    at = np.arange(0, along[-1] + 1, 0.5)
    dense = np.stack([np.interp(at, along, path[:, k]) for k in range(3)], axis=1)
    for points, colour, radius in (
        (dense, (20, 20, 20), 1),
        (path[:1], START, 5),
        (path[-1:], END, 5),
    ):
        u, v = _pixels(points, low, scale, height)
        offsets = range(-radius, radius + 1)
        for du, dv in ((a, b) for a in offsets for b in offsets if a * a + b * b <= radius**2):
            inside = (u + du >= 0) & (u + du < width) & (v + dv >= 0) & (v + dv < height)
            picture[v[inside] + dv, u[inside] + du] = colour
