# SPDX-License-Identifier: Apache-2.0
"""The wall of a colon: a tube with taeniae, haustra, crescent folds, and peristalsis.

The wall is a grid of rings and sectors. A ring belongs to a place along the centreline, but each of
its points may be shifted along it, so that folds tilt, lean and differ between sectors while the
rings still follow their crests. All lengths are metres.
"""

from dataclasses import dataclass

import numpy as np

from depthkit.synth.colon_tube import Tube, draw_waves
from depthkit.synth.meshes import grid_faces
from depthkit.synth.scene import Mesh

FREE_RADIUS = 0.0065  # no fold comes nearer to the centreline
FOLD_SPACING = (0.020, 0.040)
FOLD_HEIGHT = (0.20, 0.50)  # over the radius of the tube
FOLD_WIDTH = (0.0018, 0.0034)
TEXTURE_PERIOD = 0.06  # rounded to a whole number of repeats around the tube
LEAD_LENGTH = 0.012  # over which texture columns draw level again
GRIDS = {1: (160, 64), 2: (224, 88), 3: (224, 88), 4: (224, 88), 5: (224, 88)}  # rings, sectors


@dataclass(frozen=True)
class Wall:
    """The inner wall of a tube; its vertices are rings x (sectors + 1), the seam twice."""

    mesh: Mesh
    """In world coordinates."""
    axis: np.ndarray
    """Point of the centreline that each vertex belongs to. (V, 3) float32"""
    s: np.ndarray
    """Arc length of that point. (V,)"""
    grid: tuple[int, int]
    """Rings, columns (sectors + 1)."""


def build_wall(rng: np.random.Generator, tube: Tube, level: int, near: tuple[float, float]) -> Wall:
    """Build the wall of a tube, closed at both ends.

    Args:
        rng: source of all randomness.
        tube: tube to cover.
        level: 1 for a plain tube, more for one with taeniae and folds.
        near: arc lengths that the camera keeps between; rings are dense there.
    """
    rings, sectors = GRIDS[level]
    rows = _draw_rows(rng, tube) if level > 1 else np.empty(0)
    widths = rng.uniform(*FOLD_WIDTH, len(rows))
    s = _place_rings(tube, rings, rows, widths, near)
    angle = 2 * np.pi * np.arange(sectors) / sectors
    radius = tube.radius(s)[:, None] * (1 + 0.05 * np.cos(2 * angle + rng.uniform(0, 6.3)))
    along = np.broadcast_to(s[:, None], radius.shape)
    if level > 1:
        radius, along = _fold(rng, s, angle, radius, rows, widths)
    share = _closing(tube, s)[:, None]
    radius = np.maximum(radius, FREE_RADIUS) * share
    along = np.clip(s[:, None] + share * (along - s[:, None]), tube.start, tube.end)
    axis, frame = tube.centre(along), tube.frame(along)
    spokes = frame[..., 0] * np.cos(angle)[:, None] + frame[..., 1] * np.sin(angle)[:, None]
    vertices = axis + radius[..., None] * spokes
    uv = _unwrap(rng, s, vertices, float(tube.radii.mean()))
    vertices, axis = (np.concatenate([a, a[:, :1]], axis=1) for a in (vertices, axis))
    along = np.concatenate([along, along[:, :1]], axis=1)
    mesh = Mesh(
        vertices.reshape(-1, 3).astype(np.float32),
        grid_faces(rings, sectors + 1),
        grid_normals(vertices).reshape(-1, 3),
        uv.astype(np.float32),
    )
    return Wall(mesh, axis.reshape(-1, 3).astype(np.float32), along.ravel(), vertices.shape[:2])


def grid_normals(vertices: np.ndarray) -> np.ndarray:
    """Return unit normals of a grid closed around, its last column being its first.

    Args:
        vertices: (rings, columns, 3)

    Returns:
        Normals. (rings, columns, 3) float32
    """
    v = vertices[:, :-1].astype(np.float32)
    along = np.empty_like(v)
    along[1:-1], along[0], along[-1] = v[2:] - v[:-2], v[1] - v[0], v[-1] - v[-2]
    around = np.roll(v, -1, axis=1) - np.roll(v, 1, axis=1)
    x, y, z = np.moveaxis(along, -1, 0)
    a, b, c = np.moveaxis(around, -1, 0)
    normals = np.stack([y * c - z * b, z * a - x * c, x * b - y * a], axis=-1)
    # The ends are single points: all around them shares one normal.
    normals[[0, -1]] = normals[[1, -2]].mean(axis=1, keepdims=True)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return np.concatenate([normals, normals[:, :1]], axis=1)


@dataclass(frozen=True)
class Peristalsis:
    """A ring of narrowing that travels along the wall; call it for the wall's shape at a time."""

    wall: Wall
    """At rest."""
    depth: float
    """Largest narrowing, as a share of the radius."""
    length: float
    """Distance between two rings of narrowing."""
    step: float
    """Distance travelled per frame; negative backwards."""

    def __call__(self, t: float) -> tuple[np.ndarray, np.ndarray]:
        """Return vertices and normals at a time in frames. (V, 3), (V, 3) float32"""
        vertices = self.place(slice(None), t)
        return vertices, grid_normals(vertices.reshape(*self.wall.grid, 3)).reshape(-1, 3)

    def place(self, chosen: slice | int, t: float) -> np.ndarray:
        """Return where chosen vertices are at a time in frames. (..., 3) float32"""
        s, axis = self.wall.s[chosen], self.wall.axis[chosen]
        wave = 0.5 + 0.5 * np.sin(2 * np.pi * (s - self.step * t) / self.length)
        shrink = np.asarray(1 - self.depth * wave**2, dtype=np.float32)[..., None]
        return axis + shrink * (self.wall.mesh.vertices[chosen] - axis)


def _draw_rows(rng: np.random.Generator, tube: Tube) -> np.ndarray:
    """Arc lengths of the rows of folds."""
    count = int((tube.end - tube.start) / FOLD_SPACING[0]) + 1
    rows = tube.start + 0.01 + np.cumsum(rng.uniform(*FOLD_SPACING, count))
    return rows[rows < tube.end - 0.02]


def _place_rings(
    tube: Tube, count: int, rows: np.ndarray, widths: np.ndarray, near: tuple[float, float]
) -> np.ndarray:
    """Arc lengths of the rings: closer on folds, at the closed ends and where the camera is."""
    s = np.linspace(tube.start, tube.end, 2000)
    crest = np.exp(-(((s - rows[:, None]) / (2.2 * widths[:, None])) ** 2)).sum(axis=0)
    beyond = np.maximum(np.maximum(near[0] - s, s - near[1] - 0.06), 0)
    density = (0.6 + 2.0 * crest) / (1 + beyond / 0.06)
    ends = np.minimum(s - tube.start, tube.end - s)
    density += 0.8 * np.exp(-ends / 0.002)
    total = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]))])
    return np.interp(np.linspace(0, total[-1], count), total, s)


def _fold(
    rng: np.random.Generator,
    s: np.ndarray,
    angle: np.ndarray,
    radius: np.ndarray,
    rows: np.ndarray,
    widths: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Press taeniae and folds into a tube.

    Returns:
        radius: radius of each vertex. (rings, sectors)
        along: arc length of each vertex. (rings, sectors)
    """
    taenia = rng.uniform(0, 2 * np.pi) + 0.5 * draw_waves(rng, 0.3, 0.8)(s)[:, None]
    bands = np.exp((np.cos(3 * (angle - taenia)) - 1) / 0.15)
    across = (s - rows[:, None]) / widths[:, None]
    profile = 0.72 * np.exp(-(across**2)) + 0.28 * np.exp(-((across / 3) ** 2))  # (rows, rings)
    crescents = _crescents(rng, len(rows), angle, float(taenia.mean()))  # (rows, sectors)
    sag = np.sin(np.pi * _between(s, rows))[:, None] ** 2  # haustra swell between the rows
    waviness = _waviness(rng, s, angle)
    shape = 1 + 0.10 * sag * (1 - bands) - 0.09 * bands + 0.02 * waviness
    height = np.einsum("ri,rj->ij", profile, crescents)
    lean = np.einsum("r,ri,rj->ij", rng.uniform(-0.35, 0.35, len(rows)), profile, crescents)
    tilt = 0.0045 * _waviness(rng, s, angle, shortest=0.09)
    plain = radius.mean(axis=1, keepdims=True)
    return radius * shape - plain * height, s[:, None] + tilt + plain * lean


def _crescents(rng: np.random.Generator, rows: int, angle: np.ndarray, taenia: float) -> np.ndarray:
    """Height of the crest of each row around the tube, over its radius. (rows, sectors)

    A crescent is what a straight edge cuts off the circle: three of them leave a triangle free.
    """
    middle = taenia + np.pi / 3 + 2 * np.pi / 3 * np.arange(3) + rng.normal(0, 0.2, (rows, 3))
    highest = rng.uniform(0.3, FOLD_HEIGHT[1])
    height = rng.uniform(FOLD_HEIGHT[0], highest, (rows, 3)) * (rng.random((rows, 3)) < 0.85)
    off = np.angle(np.exp(1j * (angle - middle[..., None])))
    chord = (1 - height)[..., None] / np.maximum(np.cos(off), 1e-3)
    cut = 1 - chord.min(axis=1)
    return 0.5 * (cut + np.sqrt(cut**2 + 0.04**2))  # a maximum with 0 that has no kink


def _between(s: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Where each place lies between its two rows of folds, 0 to 1; 0 beyond them."""
    return np.interp(s, rows, np.arange(len(rows)), left=0, right=0) % 1.0


def _waviness(
    rng: np.random.Generator, s: np.ndarray, angle: np.ndarray, shortest: float = 0.03
) -> np.ndarray:
    """Smooth random function on the wall, in [-1, 1]. (rings, sectors)"""
    total = np.zeros((len(s), len(angle)))
    for turn in (1, 2, 3):
        wave, phase = draw_waves(rng, shortest, 4 * shortest), rng.uniform(0, 2 * np.pi)
        other = draw_waves(rng, shortest, 4 * shortest)
        total += wave(s)[:, None] * np.cos(turn * angle + phase)
        total += other(s)[:, None] * np.sin(turn * angle + phase)
    return total / 6


def _closing(tube: Tube, s: np.ndarray) -> np.ndarray:
    """Share of the radius that the rounded ends leave, 0 at both ends. (rings,)"""
    share = np.ones(len(s))
    for away in (s - tube.start, tube.end - s):
        part = np.clip(away / 0.015, 0, 1)
        share *= np.sqrt(1 - (1 - part) ** 2)
    return share


def _unwrap(
    rng: np.random.Generator, s: np.ndarray, vertices: np.ndarray, radius: float
) -> np.ndarray:
    """Texture coordinates along the angle and the arc length on the wall, seam included. (V, 2)

    A column that climbs a fold has a longer way than its neighbours. It keeps the lead and loses it
    over the next smooth stretch, so that texels stay square on folds and columns stay together.
    Slow shifts keep the repeats of the texture from lining up.
    """
    steps = np.linalg.norm(np.diff(vertices, axis=0), axis=-1)
    mean = steps.mean(axis=1, keepdims=True)
    keep = np.exp(-np.diff(s) / LEAD_LENGTH)
    lead = np.zeros_like(vertices[..., 0])
    for i, step in enumerate(steps - mean):
        lead[i + 1] = keep[i] * lead[i] + step
    along = np.concatenate([[0.0], np.cumsum(mean)])
    repeats = max(1, round(2 * np.pi * radius / TEXTURE_PERIOD))
    angle = np.linspace(0, 2 * np.pi, vertices.shape[1] + 1)
    u = repeats * angle / (2 * np.pi) + 0.35 * draw_waves(rng, 0.1, 0.3)(along)[:, None]
    v = (along[:, None] + np.concatenate([lead, lead[:, :1]], axis=1)) * repeats
    v = v / (2 * np.pi * radius) + 0.08 * np.cos(angle + rng.uniform(0, 6.3))
    return np.stack([u + rng.random(), v + rng.random()], axis=-1).reshape(-1, 2)
