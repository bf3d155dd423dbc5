# SPDX-License-Identifier: Apache-2.0
"""The colon world: an endoscope in a tube of mucosa, its lamp the only light.

Five levels of rising complexity after Ruano et al. (CMIG 2024): 1 a plain tube, 2 haustral folds,
3 tissue texture, 4 vessels and polyps, 5 highlights, bubbles and debris. Each holds all below it;
levels 1 and 2 have one colour, so that nothing but shading tells the shape. Lengths are metres.
"""

from dataclasses import dataclass, replace

import numpy as np

from depthkit.camera import Camera
from depthkit.errors import ConfigError
from depthkit.synth import colon_textures
from depthkit.synth.colon_bodies import Garden
from depthkit.synth.colon_path import camera_poses, draw_way
from depthkit.synth.colon_shape import Peristalsis, Wall, build_wall
from depthkit.synth.colon_tube import draw_tube
from depthkit.synth.scene import Body, Light, Scene

DEPTH_RANGE = 0.25
"""Deepest value stored, metres, as in the paper."""

FRAMES_PER_SECOND = 10.0
BEHIND, BEYOND = 0.05, 0.30  # metres of tube behind the camera's way and beyond it
AMBIENT = (0.002, 0.008)  # interreflection of the walls
BRIGHT_SHARE = 0.97  # share of the image that the exposure keeps below white
WHITE = 0.85  # brightness at which that share ends
GAIN = (0.8, 1.2)  # factor of exposure error: endoscopes adapt slowly
GLOSS = (1.0, 3.0)
RELIEF = (0.0004, 0.0010)
SHININESS = (250.0, 700.0)


@dataclass(frozen=True)
class ColonOptions:
    """What a colon scene is made of."""

    level: int = 5
    """Complexity, 1 to 5."""
    field_of_view: float = 110.0
    """Full width of the picture, degrees."""
    deform: bool = False
    """Whether rings of narrowing travel along the wall (peristalsis) and floating bodies drift."""

    def __post_init__(self) -> None:
        if self.level not in range(1, 6):
            raise ConfigError(f"colon: level must be 1 to 5, got {self.level!r}")
        if not 40 <= self.field_of_view <= 140:
            raise ConfigError(
                f"colon: field_of_view must be 40 to 140 degrees, got {self.field_of_view!r}"
            )


def make_colon_scene(
    options: ColonOptions, seed: int, *, frames: int, size: tuple[int, int]
) -> Scene:
    """Draw a colon and a way through it.

    Tube and way of a seed are the same at all levels, but for the room that folds and polyps take.

    Args:
        options: what it is made of.
        seed: same seed, same scene.
        frames: number of frames, 1 to 3 mm apart.
        size: (H, W), pixels.
    """
    if frames < 1:
        raise ConfigError(f"colon: expected at least one frame, got {frames}")
    shape, ways, looks, things = np.random.default_rng((seed, 7)).spawn(4)
    way = draw_way(ways, frames)
    near = (float(way.s.min()), float(way.s.max()))
    tube = draw_tube(shape, near[0] - BEHIND, near[1] + BEYOND)
    wall = build_wall(shape, tube, options.level, near)
    textures, tint = _paint(looks, options.level)
    glossy = options.level >= 5
    gloss = float(looks.uniform(*GLOSS)) if glossy else 0.0
    relief = float(looks.uniform(*RELIEF)) if glossy else 0.0
    wave = _draw_wave(looks, wall) if options.deform else None
    cover = Body(wall.mesh, 0, np.eye(4), gloss, relief, wave)
    grown = Garden(things, tube, wall, (near[0] - 0.02, near[1] + 0.12))
    bodies = (cover, *_furnish(things, grown, options, gloss, wave, frames))
    obstacles = np.concatenate([_world_points(body, poses=8) for body in bodies])
    poses = camera_poses(way, tube, obstacles)
    camera = colon_camera(size, options.field_of_view)
    lamp = expose(bodies, poses, camera, float(tint[0]) ** 2.2) * looks.uniform(*GAIN)
    light = Light(
        looks.uniform(*AMBIENT), 0.0, lamp=lamp, shininess=looks.uniform(*SHININESS), gamma=2.2
    )
    return Scene(
        bodies=bodies,
        textures=textures,
        camera=camera,
        T_world_cam=poses,
        times=np.arange(frames) / FRAMES_PER_SECOND,
        light=light,
        near=0.001,
        far=1.0,
        background=(0.0, 0.0, 0.0),
    )


def colon_camera(size: tuple[int, int], field_of_view: float) -> Camera:
    """Return a centred pinhole camera.

    Args:
        size: (H, W), pixels.
        field_of_view: full width, degrees.
    """
    height, width = size
    f = width / 2 / np.tan(np.radians(field_of_view) / 2)
    return Camera(width=width, height=height, fx=f, fy=f, cx=(width - 1) / 2, cy=(height - 1) / 2)


def expose(
    bodies: tuple[Body, ...], T_world_cam: np.ndarray, camera: Camera, albedo: float
) -> float:
    """Choose the lamp's brightness as an endoscope's automatic exposure: almost nothing saturates.

    The image is approximated by the vertex nearest to the camera in each cell of a coarse grid.

    Args:
        bodies: all bodies of the scene.
        T_world_cam: camera poses, metres. (N, 4, 4)
        camera: the lens.
        albedo: linear albedo of the wall's brightest colour.

    Returns:
        Brightness of the lamp at 1 m.
    """
    points = np.concatenate([_world_points(body) for body in bodies])
    normals = np.concatenate([body.mesh.normals @ _first_turn(body).T for body in bodies])
    chosen = T_world_cam[:: max(1, len(T_world_cam) // 4)]
    seen = np.concatenate([_brightness(points, normals, pose, camera) for pose in chosen])
    return float(WHITE / (albedo * np.quantile(seen, BRIGHT_SHARE)))


def _brightness(
    points: np.ndarray,
    normals: np.ndarray,
    T_world_cam: np.ndarray,
    camera: Camera,
    cells: int = 24,
) -> np.ndarray:
    """Brightness under a unit lamp in the cells of an image grid. (M,)"""
    X = (points - T_world_cam[:3, 3]) @ T_world_cam[:3, :3]
    front = X[:, 2] > 0.002
    X, n = X[front], normals[front] @ T_world_cam[:3, :3]
    u = (camera.fx * X[:, 0] / X[:, 2] + camera.cx + 0.5) / camera.width
    v = (camera.fy * X[:, 1] / X[:, 2] + camera.cy + 0.5) / camera.height
    inside = (u >= 0) & (u < 1) & (v >= 0) & (v < 1)
    X, n, u, v = X[inside], n[inside], u[inside], v[inside]
    distance2 = (X * X).sum(axis=1)
    cell = (u * cells).astype(int) * cells + (v * cells).astype(int)
    order = np.lexsort((distance2, cell))
    _, first = np.unique(cell[order], return_index=True)
    nearest = order[first]
    X, distance2 = X[nearest], distance2[nearest]
    return np.abs((n[nearest] * X).sum(axis=1)) / distance2**1.5


def _paint(rng: np.random.Generator, level: int) -> tuple[np.ndarray, np.ndarray]:
    """Paint the wall; from level 4 two kinds of polyps; from 5 foam and two kinds of debris.

    Returns:
        textures: (L, h, w, 3) uint8
        tint: mean colour of the wall in [0, 1]. (3,)
    """
    tint = colon_textures.draw_tint(rng)
    if level < 3:
        return colon_textures.plain(tint)[None], tint
    vessels = rng.uniform(0.25, 0.9) if level >= 4 else 0.0
    layers = [colon_textures.tissue(rng, tint, vessels)]
    if level >= 4:
        layers += [colon_textures.lump(rng, tint) for _ in range(2)]
    if level >= 5:
        layers.append(colon_textures.stain(rng, np.array([0.88, 0.83, 0.70])))
        for colour in ((0.55, 0.34, 0.16), (0.78, 0.56, 0.30)):
            layers.append(colon_textures.stain(rng, np.array(colour) * rng.uniform(0.7, 1.1)))
    return np.stack(layers), tint


def _furnish(
    rng: np.random.Generator,
    garden: Garden,
    options: ColonOptions,
    gloss: float,
    wave: Peristalsis | None,
    frames: int,
) -> list[Body]:
    """Add polyps, foam and debris, according to the level."""
    hung = []
    if options.level >= 4:
        for _ in range(rng.integers(2, 7)):
            hung.append(garden.polyp(int(rng.integers(1, 3)), gloss, 0.0006 if gloss else 0.0))
    loose = []
    if options.level >= 5:
        hung += [garden.bubbles(3, 1.5 * gloss) for _ in range(rng.integers(0, 4))]
        hung += [garden.debris(int(rng.integers(4, 6)), gloss) for _ in range(rng.integers(0, 8))]
        drift = frames if options.deform else 0
        for _ in range(rng.integers(0, 4)):
            loose.append(garden.floating(int(rng.integers(3, 6)), gloss, drift))
    fixed = [_carry(anchor, body, wave, frames) for anchor, body in filter(None, hung)]
    return fixed + [body for body in loose if body is not None]


def _carry(anchor: int, body: Body, wave: Peristalsis | None, frames: int) -> Body:
    """Let a body follow the vertex of the wall that it is attached to."""
    if wave is None:
        return body
    rest = wave.wall.mesh.vertices[anchor]
    poses = np.repeat(body.T_world_body[None], frames, axis=0)
    poses[:, :3, 3] += [wave.place(anchor, t) - rest for t in range(frames)]
    return replace(body, T_world_body=poses)


def _draw_wave(rng: np.random.Generator, wall: Wall) -> Peristalsis:
    step = rng.choice([-1, 1]) * rng.uniform(0.0005, 0.002)
    return Peristalsis(wall, rng.uniform(0.02, 0.06), rng.uniform(0.05, 0.10), step)


def _world_points(body: Body, poses: int = 1) -> np.ndarray:
    """Vertices of an undeformed body at some of its poses, the first among them. (M, 3)"""
    T = body.T_world_body.reshape(-1, 4, 4)
    T = T[:: -(-len(T) // poses)]
    moved = body.mesh.vertices @ T[:, :3, :3].swapaxes(1, 2) + T[:, None, :3, 3]
    return moved.reshape(-1, 3)


def _first_turn(body: Body) -> np.ndarray:
    return body.T_world_body.reshape(-1, 4, 4)[0, :3, :3]
