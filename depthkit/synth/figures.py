# SPDX-License-Identifier: Apache-2.0
"""Random figures with known corners: polygons, lines, stars, boards, stripes, cubes, ellipses.

After the kinds of Synthetic Shapes [DeTone 2018, section 4]; sizes, angles and looks are our own.
Each maker takes a generator, a centre and a radius in pixels. Corners that would be hard to tell
are avoided: angles below 25 or above 150 degrees, sides shorter than `SHORTEST` pixels.
"""

from collections.abc import Callable

import cv2
import numpy as np

from depthkit.synth.figure_parts import Ellipse, Figure, Polygon, Stroke, closed

SHORTEST = 7.0  # pixels, side of a polygon or of a cell
SHARPEST, BLUNTEST = np.radians(25), np.radians(150)
TRIES = 40
Maker = Callable[[np.random.Generator, np.ndarray, float], Figure]


def make_triangle(rng: np.random.Generator, centre: np.ndarray, radius: float) -> Figure:
    """Draw a triangle."""
    return _polygon_figure(draw_corners(rng, centre, radius, 3))


def make_quad(rng: np.random.Generator, centre: np.ndarray, radius: float) -> Figure:
    """Draw a quadrilateral."""
    return _polygon_figure(draw_corners(rng, centre, radius, 4))


def make_polygon(rng: np.random.Generator, centre: np.ndarray, radius: float) -> Figure:
    """Draw a convex polygon of 5 to 7 corners."""
    return _polygon_figure(draw_corners(rng, centre, radius, int(rng.integers(5, 8))))


def make_line(rng: np.random.Generator, centre: np.ndarray, radius: float) -> Figure:
    """Draw one thin line: its two ends count."""
    arm = radius * _direction(rng.uniform(0, np.pi))
    return _strokes([(centre - arm, centre + arm)], rng.uniform(0.5, 1.5), points=())


def make_star(rng: np.random.Generator, centre: np.ndarray, radius: float) -> Figure:
    """Draw 3 to 6 thin lines out of one junction: it counts, and so do their ends."""
    count = int(rng.integers(3, 7))
    angles = 2 * np.pi * (np.arange(count) + rng.uniform(-0.2, 0.2, count)) / count
    angles += rng.uniform(0, 2 * np.pi)
    reach = radius * rng.uniform(0.5, 1.0, count)
    arms = [(centre, centre + r * _direction(a)) for r, a in zip(reach, angles, strict=True)]
    return _strokes(arms, rng.uniform(0.5, 1.5), points=(centre,))


def make_board(rng: np.random.Generator, centre: np.ndarray, radius: float) -> Figure:
    """Draw a checkerboard in perspective: all corners of its cells count."""
    most = int(np.clip(radius / SHORTEST, 2, 6))
    rows, columns = rng.integers(2, most + 1, 2)
    return _grid(rng, centre, radius, np.linspace(0, 1, rows + 1), np.linspace(0, 1, columns + 1))


def make_stripes(rng: np.random.Generator, centre: np.ndarray, radius: float) -> Figure:
    """Draw stripes of different widths in perspective: both ends of their sides count."""
    most = int(np.clip(radius / (1.5 * SHORTEST), 2, 8))
    widths = rng.uniform(0.6, 1.4, int(rng.integers(2, most + 1)))
    return _grid(
        rng, centre, radius, np.array([0.0, 1.0]), np.r_[0, widths.cumsum()] / widths.sum()
    )


def make_cube(rng: np.random.Generator, centre: np.ndarray, radius: float) -> Figure:
    """Draw a box with three visible faces: its seven visible corners count."""
    for _ in range(TRIES):
        faces = _visible_faces(rng, radius)
        if len(faces) == 3 and all(is_clear(face) for face in faces):
            break
    else:
        return make_quad(rng, centre, radius)
    faces = [face + centre for face in faces]
    points = np.unique(np.round(np.concatenate(faces), 9), axis=0)
    whole = cv2.convexHull(points.astype(np.float32))[:, 0].astype(float)
    # The first face is what the silhouette shows beside the others, so no seam lets through.
    parts = (Polygon(whole), *(Polygon(face, tone) for tone, face in enumerate(faces[1:], 1)))
    return Figure(parts, points, np.concatenate([closed(face) for face in faces]))


def make_ellipse(rng: np.random.Generator, centre: np.ndarray, radius: float) -> Figure:
    """Draw an ellipse: no point counts, but lines that cross its outline make junctions."""
    axes = radius * np.array([1.0, rng.uniform(0.4, 1.0)])
    angle = float(rng.uniform(0, np.pi))
    around = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    c, s = np.cos(angle), np.sin(angle)
    on_axes = axes * np.stack([np.cos(around), np.sin(around)], axis=1)
    outline = centre + on_axes @ np.array([[c, s], [-s, c]])
    return Figure((Ellipse(centre, axes, angle),), np.zeros((0, 2)), closed(outline))


MAKERS: tuple[tuple[Maker, float], ...] = (
    (make_triangle, 1.0),
    (make_quad, 1.0),
    (make_polygon, 1.0),
    (make_line, 2.0),
    (make_star, 1.0),
    (make_board, 1.5),
    (make_stripes, 1.0),
    (make_cube, 1.5),
    (make_ellipse, 1.5),
)
"""Every kind and how often it is drawn, relative to the others."""


def draw_figure(rng: np.random.Generator, centre: np.ndarray, radius: float) -> Figure:
    """Draw a figure of a random kind."""
    shares = np.array([share for _, share in MAKERS])
    make, _ = MAKERS[int(rng.choice(len(MAKERS), p=shares / shares.sum()))]
    return make(rng, centre, radius)


def draw_corners(
    rng: np.random.Generator, centre: np.ndarray, radius: float, count: int
) -> np.ndarray:
    """Draw the corners of a convex polygon on an ellipse; regular where none turns out clear.

    Returns:
        Pixels, in order. (count, 2)
    """
    for _ in range(TRIES):
        angles = 2 * np.pi * (np.arange(count) + rng.uniform(-0.35, 0.35, count)) / count
        corners = radius * _direction(angles) * np.array([1.0, rng.uniform(0.5, 1.0)])
        if is_clear(corners):
            return centre + corners @ _turn(rng)
    regular = radius * _direction(2 * np.pi * np.arange(count) / count)
    return centre + regular @ _turn(rng)


def is_clear(corners: np.ndarray) -> bool:
    """Say whether all sides are long enough and all angles neither too sharp nor too blunt."""
    sides = np.roll(corners, -1, axis=0) - corners
    lengths = np.linalg.norm(sides, axis=1)
    if lengths.min() < SHORTEST:
        return False
    ahead = sides / lengths[:, None]
    angles = np.pi - np.arccos(np.clip((ahead * np.roll(ahead, 1, axis=0)).sum(axis=1), -1, 1))
    return bool(angles.min() >= SHARPEST and angles.max() <= BLUNTEST)


def _polygon_figure(corners: np.ndarray) -> Figure:
    return Figure((Polygon(corners),), corners, closed(corners))


def _strokes(
    lines: list[tuple[np.ndarray, np.ndarray]],
    half_width: float,
    *,
    points: tuple[np.ndarray, ...],
) -> Figure:
    """Make a figure of lines; their far ends count, and both ends where no other point does."""
    ends = [end for _, end in lines] if points else [end for line in lines for end in line]
    parts = tuple(Stroke(start, end, half_width) for start, end in lines)
    return Figure(parts, np.stack([*points, *ends]), np.stack([np.stack(line) for line in lines]))


def _grid(
    rng: np.random.Generator,
    centre: np.ndarray,
    radius: float,
    rows: np.ndarray,
    columns: np.ndarray,
) -> Figure:
    """Make a board of cells in two tones between lines at the given shares of a quadrilateral."""
    corners = draw_corners(rng, centre, radius, 4)
    unit = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    H = cv2.getPerspectiveTransform(unit, corners.astype(np.float32))
    x, y = np.meshgrid(columns, rows)
    moved = np.stack([x, y, np.ones_like(x)], axis=-1) @ H.T
    nodes = moved[..., :2] / moved[..., 2:]  # (R+1, C+1, 2)
    outline = nodes[[0, 0, -1, -1], [0, -1, -1, 0]]
    cells = [
        Polygon(nodes[[i, i, i + 1, i + 1], [j, j + 1, j + 1, j]], tone=1)
        for i in range(len(rows) - 1)
        for j in range(len(columns) - 1)
        if (i + j) % 2
    ]
    across = np.stack([nodes[:, 0], nodes[:, -1]], axis=1)
    down = np.stack([nodes[0], nodes[-1]], axis=1)
    return Figure((Polygon(outline), *cells), nodes.reshape(-1, 2), np.concatenate([across, down]))


def _visible_faces(rng: np.random.Generator, radius: float) -> list[np.ndarray]:
    """Return the outlines of a random box's faces that look to the viewer. (4, 2) each, pixels"""
    sides = rng.uniform(0.6, 1.0, 3)
    R = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    faces = list[np.ndarray]()
    for axis in range(3):
        others = [k for k in range(3) if k != axis]
        for sign in (-1.0, 1.0):
            corners = np.zeros((4, 3))
            corners[:, axis] = sign
            corners[:, others] = [[-1, -1], [1, -1], [1, 1], [-1, 1]]
            corners = 0.6 * sides * corners @ R.T
            distant = corners + np.array([0, 0, 4.0])  # the eye is four radii away
            outward = sign * R[:, axis]
            if outward @ distant.mean(axis=0) < 0:
                faces.append(4 * radius * distant[:, :2] / distant[:, 2:])
    return faces


def _direction(angle: np.ndarray | float) -> np.ndarray:
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def _turn(rng: np.random.Generator) -> np.ndarray:
    angle = rng.uniform(0, 2 * np.pi)
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, s], [-s, c]])
