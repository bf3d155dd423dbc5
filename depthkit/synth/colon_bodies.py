# SPDX-License-Identifier: Apache-2.0
"""Bodies in a colon: polyps on the wall, bubbles, debris.

Each body is built around its own origin with z towards the lumen, and is attached to one vertex of
the wall, so that it moves with the wall. The centreline stays free, so that a camera can always
pass. Lengths are metres.
"""

from dataclasses import replace

import numpy as np

from depthkit.rigid import make_pose
from depthkit.synth.colon_shape import Wall, grid_normals
from depthkit.synth.colon_tube import Tube, draw_waves
from depthkit.synth.meshes import grid_faces, joined, sphere
from depthkit.synth.scene import Body, Mesh

FREE = 0.007  # kept clear around the centreline
POLYP_DIAMETER = (0.005, 0.030)
BUBBLE_RADIUS = (0.0006, 0.0025)
DEBRIS_RADIUS = (0.0008, 0.0035)
TRIALS = 4  # number of places tried for a polyp
PERIOD = 0.03  # repeat of the textures of polyps and debris
DRIFT = 0.003  # either way, of what floats, where the wall moves too


class Garden:
    """Places bodies on a wall.

    Args:
        rng: source of all randomness.
        tube: the centreline, which stays free.
        wall: what they sit on.
        near: arc lengths between which they are placed.
    """

    def __init__(
        self, rng: np.random.Generator, tube: Tube, wall: Wall, near: tuple[float, float]
    ) -> None:
        self.rng, self.tube, self.wall = rng, tube, wall
        self.inward = wall.axis - wall.mesh.vertices
        self.room = np.linalg.norm(self.inward, axis=1)
        side = np.sign((wall.mesh.normals * self.inward).sum(axis=1, keepdims=True))
        self.normals = wall.mesh.normals * side
        inside = (wall.s > near[0]) & (wall.s < near[1]) & (self.room > FREE + 0.003)
        # Rings crowd on folds: a weight for each vertex makes all of the length equally likely.
        gaps = np.gradient(wall.s.reshape(wall.grid)[:, 0])
        weights = np.repeat(np.maximum(gaps, 1e-6), wall.grid[1]) * inside
        self.weights = weights / weights.sum()

    def polyp(self, texture: int, gloss: float, relief: float) -> tuple[int, Body] | None:
        """Grow a polyp, sessile or on a stalk; None where no place was found in a few trials.

        Returns:
            The wall's vertex it hangs on, and the body.
        """
        for _ in range(TRIALS):
            anchor = self._draw_anchor()
            mesh = lumpy(self.rng, self._draw_polyp(anchor), 32, self.rng.uniform(0.04, 0.12))
            grown = self._set(anchor, Body(mesh, texture, np.eye(4), gloss, relief), lean=0.25)
            if grown is not None and self._rooted(*grown):
                return grown
        return None

    def _draw_polyp(self, anchor: int) -> np.ndarray:
        """Draw the profile of a polyp that leaves room to pass. (P, 2)"""
        rng, room = self.rng, self.room[anchor] - FREE
        radius = min(_between(rng, POLYP_DIAMETER), 1.2 * self.room[anchor]) / 2
        if rng.random() < 0.35 and room > 0.007:
            radius = min(radius, room / 2.6)
            return _stalked(radius, stalk=rng.uniform(0.3, 0.7) * radius)
        return _sessile(radius, height=min(radius * rng.uniform(0.45, 1.1), room))

    def _rooted(self, anchor: int, body: Body) -> bool:
        """Tell whether the foot lies in the wall all around: it could stick out behind a fold."""
        foot = body.mesh.vertices[:32:4] @ body.T_world_body[:3, :3].T + body.T_world_body[:3, 3]
        local = np.flatnonzero(np.abs(self.wall.s - self.wall.s[anchor]) < 0.03)
        points = self.wall.mesh.vertices[local]
        distance2 = (points**2).sum(axis=1) - 2 * foot @ points.T
        closest = local[distance2.argmin(axis=1)]
        above = (foot - self.wall.mesh.vertices[closest]) * self.normals[closest]
        return bool((above.sum(axis=1) < 0).all())

    def bubbles(self, texture: int, gloss: float) -> tuple[int, Body] | None:
        """Lay a patch of foam on the wall."""
        rng, anchor = self.rng, self._draw_anchor()
        count = int(rng.integers(3, 14))
        spread = rng.uniform(0.001, 0.005)
        places = self._near(anchor, count, spread)
        radii = _between(rng, BUBBLE_RADIUS, count)
        balls = []
        for place, radius in zip(places, radii, strict=True):
            ball = sphere(float(radius), rings=6, uv_scale=(0.1, 0.05))
            centre = self.wall.mesh.vertices[place] + 0.35 * radius * self.normals[place]
            shift = (centre - self.wall.mesh.vertices[anchor]).astype(np.float32)
            balls.append(Mesh(ball.vertices + shift, ball.faces, ball.normals, ball.uv))
        mesh = joined(balls)
        pose = make_pose(np.eye(3), self.wall.mesh.vertices[anchor])
        return self._checked(anchor, Body(mesh, texture, pose, gloss, 0.0))

    def debris(self, texture: int, gloss: float) -> tuple[int, Body] | None:
        """Lay a crumb on the wall."""
        rng, anchor = self.rng, self._draw_anchor()
        radius = float(_between(rng, DEBRIS_RADIUS))
        profile = _sessile(radius, height=radius * rng.uniform(0.3, 0.8))
        mesh = lumpy(rng, profile, 20, 0.3)
        return self._set(anchor, Body(mesh, texture, np.eye(4), gloss, 0.0002), lean=0.0)

    def floating(self, texture: int, gloss: float, frames: int) -> Body | None:
        """Let a crumb or a bubble float near the wall.

        Args:
            texture: its layer.
            gloss: gloss of its surface.
            frames: number of poses it drifts over; 0 for standing still.
        """
        rng, anchor = self.rng, self._draw_anchor()
        radius = float(_between(rng, DEBRIS_RADIUS))
        mesh = lumpy(rng, _ball(radius), 20, rng.uniform(0.02, 0.2))
        away = rng.uniform(0.003, 0.006) / self.room[anchor]
        place = self.wall.mesh.vertices[anchor] + away * self.inward[anchor]
        pose = make_pose(_turn_to(rng.normal(size=3)), place)
        if self._checked(anchor, Body(mesh, texture, pose)) is None:
            return None
        if frames:
            along = self.tube.frame(self.wall.s[anchor])[:, 2]
            drift = DRIFT * draw_waves(rng, 40, 120)(np.arange(frames))
            R = np.broadcast_to(pose[:3, :3], (frames, 3, 3))
            pose = make_pose(R, place + drift[:, None] * along)
        return Body(mesh, texture, pose, gloss, 0.0)

    def _draw_anchor(self) -> int:
        return int(self.rng.choice(len(self.weights), p=self.weights))

    def _near(self, anchor: int, count: int, spread: float) -> np.ndarray:
        """Draw wall vertices around one. (count,)"""
        away = np.linalg.norm(self.wall.mesh.vertices - self.wall.mesh.vertices[anchor], axis=1)
        return self.rng.choice(np.argsort(away)[: max(count, int(2e6 * spread**2))], count)

    def _set(self, anchor: int, body: Body, *, lean: float) -> tuple[int, Body] | None:
        """Stand a body on the wall, leaning a little off its normal."""
        up = self.normals[anchor] + self.inward[anchor] / self.room[anchor]
        up = up / np.linalg.norm(up) + lean * self.rng.normal(size=3)
        pose = make_pose(_turn_to(up), self.wall.mesh.vertices[anchor])
        return self._checked(anchor, replace(body, T_world_body=pose))

    def _checked(self, anchor: int, body: Body) -> tuple[int, Body] | None:
        """Return the body, None if it comes too near to the centreline."""
        T = body.T_world_body
        points = body.mesh.vertices @ T[:3, :3].T + T[:3, 3]
        s = self.wall.s[anchor] + np.linspace(-0.04, 0.04, 41)
        middle = self.tube.centre(np.clip(s, self.tube.start, self.tube.end))
        nearest = ((points[:, None] - middle) ** 2).sum(axis=-1).min()
        return (anchor, body) if nearest > FREE**2 else None


def lumpy(rng: np.random.Generator, profile: np.ndarray, sectors: int, roughness: float) -> Mesh:
    """Turn a profile around z and dent the result.

    Args:
        rng: source of all randomness.
        profile: distance from z and height, from one end to the other. (P, 2)
        sectors: steps around.
        roughness: depth of the dents over the distance from z.
    """
    angle = 2 * np.pi * np.arange(sectors + 1) / sectors
    steps = np.linalg.norm(np.diff(profile, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    dents = np.ones((len(profile), sectors + 1))
    length = along[-1]
    for turn in (1, 2, 3, 5):
        wave = draw_waves(rng, length / 2, 2 * length)
        dents += roughness * wave(along)[:, None] * np.cos(turn * angle + rng.uniform(0, 6.3)) / 2
    radius = profile[:, :1] * dents
    height = np.broadcast_to(profile[:, 1:], radius.shape)
    vertices = np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=-1)
    vertices[:, -1] = vertices[:, 0]
    # Texture projected from the top: no seam, and no pinching in view.
    from_top = (length - along)[:, None, None] / PERIOD
    uv = from_top * np.stack([np.cos(angle), np.sin(angle)], axis=-1) + rng.random(2)
    return Mesh(
        vertices.reshape(-1, 3).astype(np.float32),
        grid_faces(len(profile), sectors + 1),
        grid_normals(vertices).reshape(-1, 3),
        uv.reshape(-1, 2).astype(np.float32),
    )


def _sessile(radius: float, height: float) -> np.ndarray:
    """Profile of a dome whose foot widens into the wall. (P, 2)"""
    polar = np.linspace(0.5 * np.pi, 0, 14)
    dome = np.stack([radius * np.sin(polar), height * np.cos(polar)], axis=1)
    foot = np.array([[1.35 * radius, -0.5 * height], [1.12 * radius, -0.12 * height]])
    return np.concatenate([foot, dome])


def _stalked(radius: float, stalk: float) -> np.ndarray:
    """Profile of a head on a stalk. (P, 2)"""
    polar = np.linspace(0.84 * np.pi, 0, 14)
    middle = stalk + 0.75 * radius
    head = np.stack([radius * np.sin(polar), middle + 0.85 * radius * np.cos(polar)], axis=1)
    foot = np.array([[0.9, -0.3], [0.55, -0.02], [0.4, 0.15]]) * radius
    return np.concatenate([foot, head])


def _between(
    rng: np.random.Generator, limits: tuple[float, float], count: int | None = None
) -> np.ndarray:
    """Draw sizes, each factor of two as likely as the next."""
    return np.exp(rng.uniform(np.log(limits[0]), np.log(limits[1]), count))


def _ball(radius: float) -> np.ndarray:
    polar = np.linspace(np.pi, 0, 11)
    return radius * np.stack([np.sin(polar), np.cos(polar)], axis=1)


def _turn_to(z: np.ndarray) -> np.ndarray:
    """A rotation whose third column points along a vector. (3, 3)"""
    z = z / np.linalg.norm(z)
    x = np.cross(z, np.eye(3)[np.argmin(np.abs(z))])
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z], axis=1)
