# SPDX-License-Identifier: Apache-2.0
"""The road of a street: its course in plan, and the surfaces and marks that follow it.

Places on it are (s, d): metres along its middle, and metres to the right of it.
"""

from dataclasses import dataclass

import numpy as np

from depthkit.rigid import make_pose
from depthkit.synth.meshes import grid_faces
from depthkit.synth.path import turns
from depthkit.synth.scene import Mesh

SPACING = 0.5  # metres between the stored points of a course
CELL = 6.0  # metres: largest cell of a surface, so that interpolation over it stays exact


@dataclass(frozen=True)
class RoadLine:
    """The middle of the road, seen from above."""

    s: np.ndarray
    """Length along it, metres, even steps. (M,)"""
    x: np.ndarray
    """World, metres. (M,)"""
    z: np.ndarray
    """World, metres. (M,)"""
    heading: np.ndarray
    """From world z towards world x, radians. (M,)"""

    def point(self, s: np.ndarray, d: np.ndarray, y: np.ndarray | float = 0.0) -> np.ndarray:
        """Return world points of places at height y (down). (..., 3)"""
        s, d = np.broadcast_arrays(np.asarray(s, float), np.asarray(d, float))
        heading = np.interp(s, self.s, self.heading)
        x = np.interp(s, self.s, self.x) + d * np.cos(heading)
        z = np.interp(s, self.s, self.z) - d * np.sin(heading)
        return np.stack([x, np.broadcast_to(y, x.shape), z], axis=-1)

    def pose(
        self,
        s: np.ndarray | float,
        d: np.ndarray | float,
        *,
        y: np.ndarray | float = 0.0,
        turn: np.ndarray | float = 0.0,
    ) -> np.ndarray:
        """Return T_world_body of what stands at a place and faces along the road.

        Args:
            s, d: the place, metres.
            y: height, down, metres.
            turn: about y, from the road's direction to its right, radians.
        """
        position = self.point(np.asarray(s), np.asarray(d), y)
        yaw = np.broadcast_to(np.interp(s, self.s, self.heading) + turn, position.shape[:-1])
        return make_pose(turns(yaw, np.zeros_like(yaw), np.zeros_like(yaw)), position)


def draw_line(rng: np.random.Generator, start: float, end: float, curvature: float) -> RoadLine:
    """Draw a gently winding course that starts out along world z.

    Args:
        rng: source of all randomness.
        start: least s, metres; s = 0 lies at the origin.
        end: greatest s, metres.
        curvature: largest, 1 / metres.
    """
    s = np.arange(start, end + SPACING, SPACING)
    lengths, phases = rng.uniform(160, 320, 2), rng.uniform(0, 2 * np.pi, 2)
    share = rng.uniform(0.3, 0.7)
    waves = np.sin(2 * np.pi * s[:, None] / lengths + phases)
    heading = np.cumsum(curvature * SPACING * waves @ np.array([share, 1 - share]))
    heading -= np.interp(0.0, s, heading)
    x, z = np.cumsum(np.sin(heading)) * SPACING, np.cumsum(np.cos(heading)) * SPACING
    return RoadLine(s, x - np.interp(0.0, s, x), z - np.interp(0.0, s, z), heading)


def strip(
    line: RoadLine,
    s: tuple[float, float],
    d: tuple[float, float],
    *,
    y: float = 0.0,
    tile: float = 4.0,
    cell: float = CELL,
) -> Mesh:
    """Make a level surface that follows the road, world coordinates.

    Args:
        line: the road.
        s: its ends, metres.
        d: its sides, metres.
        y: height, down, metres.
        tile: size of one repeat of the texture, metres.
        cell: largest size of a cell, metres.
    """
    S, D = np.meshgrid(steps(s, cell), steps(d, cell), indexing="ij")
    vertices = line.point(S, D, y).reshape(-1, 3)
    normals = np.tile([0.0, -1.0, 0.0], (len(vertices), 1))
    return _grid(vertices, normals, np.stack([D, S], -1) / tile, S.shape)


def kerb(
    line: RoadLine, s: tuple[float, float], d: float, y: tuple[float, float], tile: float = 4.0
) -> Mesh:
    """Make an upright face along the road at d, from height y[0] to y[1]."""
    S, Y = np.meshgrid(steps(s, CELL), np.array(y), indexing="ij")
    vertices = line.point(S, np.full_like(S, d), Y).reshape(-1, 3)
    normals = line.pose(S.ravel(), 0.0)[:, :3, 0]
    return _grid(vertices, normals, np.stack([S, Y], -1) / tile, S.shape)


def cross_kerb(
    line: RoadLine, s: float, d: tuple[float, float], y: tuple[float, float], tile: float = 4.0
) -> Mesh:
    """Make an upright face across the road at s."""
    D, Y = np.meshgrid(steps(d, CELL), np.array(y), indexing="ij")
    vertices = line.point(np.full_like(D, s), D, Y).reshape(-1, 3)
    normals = np.broadcast_to(line.pose(s, 0.0)[:3, 2], vertices.shape)
    return _grid(vertices, normals, np.stack([D, Y], -1) / tile, D.shape)


def dashes(
    line: RoadLine,
    s: tuple[float, float],
    d: float,
    *,
    width: float = 0.14,
    dash: float = 3.0,
    gap: float = 6.0,
) -> list[Mesh]:
    """Paint a broken line along the road; gap 0 makes it solid.

    The paint stands a centimetre above the asphalt: at the grazing angles it is seen under, this
    keeps the two apart in any depth buffer.
    """
    side = (d - width / 2, d + width / 2)
    if gap == 0:
        return [strip(line, s, side, y=-0.01)]
    starts = np.arange(s[0], s[1] - dash, dash + gap)
    return [strip(line, (a, a + dash), side, y=-0.01) for a in starts]


def zebra(line: RoadLine, s: float, half_width: float) -> list[Mesh]:
    """Paint a crossing of 3 m for walkers over the whole road."""
    middles = np.arange(-half_width + 0.6, half_width - 0.3, 1.0)
    return [strip(line, (s, s + 3.0), (m - 0.25, m + 0.25), y=-0.01) for m in middles]


def steps(ends: tuple[float, float], cell: float) -> np.ndarray:
    """Cut a range into even cells of at most the given size."""
    count = max(int(np.ceil(abs(ends[1] - ends[0]) / cell - 1e-9)), 1)
    return np.linspace(ends[0], ends[1], count + 1)


def _grid(
    vertices: np.ndarray, normals: np.ndarray, uv: np.ndarray, shape: tuple[int, ...]
) -> Mesh:
    return Mesh(
        vertices.astype(np.float32),
        grid_faces(shape[0], shape[1]),
        np.asarray(normals, dtype=np.float32),
        uv.reshape(-1, 2).astype(np.float32),
    )
