# SPDX-License-Identifier: Apache-2.0
"""Still Box, after [Pinard 2017a]: random solids in a random room, crossed in a straight flight.

Sizes, places, shapes and textures are drawn without any sense, so that one picture tells little of
depth and only motion does. The sizes are ours: those of the original generator are not published.
Most of what is seen lies between 3 and 45 m, where a baseline of 0.3 m still shows.
"""

from dataclasses import dataclass

import numpy as np

from depthkit.camera import Camera
from depthkit.errors import ConfigError
from depthkit.rigid import exp_se3, make_pose
from depthkit.synth import meshes
from depthkit.synth.patterns import texture_pool
from depthkit.synth.scene import Body, Light, Mesh, Scene

DEPTH_RANGE = 200.0  # metres, deepest value stored
POOL_SEED, POOL_COUNT, POOL_SIZE = 1, 240, 128
LAYERS = 24  # textures of one scene
CLEARANCE = 0.36  # metres between the camera's way and any solid
NEAREST_WALL = 0.4  # share of the extent: middle of the flight to the walls, in small rooms
IN_VIEW = 0.6  # share of the solids that are placed where the camera looks
FRAMES_PER_SECOND = 30.0
SWINGS = (1.0, 2.0)  # fewest and most swings of an uneven speed in a flight
ROUND_TIPS = 0.98  # 1 is a sharp triangle wave, 0 a sine


@dataclass(frozen=True)
class StillboxOptions:
    """What may happen in a scene."""

    objects: tuple[int, int] = (20, 32)
    """Fewest and most solids."""
    room: tuple[float, float] = (21.0, 150.0)
    """Smallest and largest extent of the room along each axis, metres; drawn by its logarithm."""
    distance: tuple[float, float] = (0.9, 66.0)
    """Nearest and farthest solid from the middle of the flight, metres; drawn by its logarithm."""
    step: tuple[float, float] = (0.06, 0.06)
    """Slowest and fastest flight, metres a frame on average; D0 = 0.3 m is five frames of 0.06."""
    speed_change: float = 1.0
    """Speed at the fastest over speed at the slowest moment of one flight, 1 or more; 1 is even.
    It swings smoothly, about as long at each speed between the two, counted by its logarithm."""
    rotation: float = 0.0
    """Fastest turn about any axis, degrees a frame; smooth; 0 for a stabilised camera."""
    field_of_view: float = 90.0
    """Width of the view, degrees; 90 makes f = W / 2, as in the original."""
    moving: float = 0.0
    """Share of the solids that move, at up to twice the camera's speed."""

    def __post_init__(self) -> None:
        for name in ("objects", "room", "distance", "step"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ConfigError(f"stillbox: {name}: 0 < low <= high, got {low}, {high}")
        if not 10 <= self.field_of_view < 170:
            raise ConfigError(f"stillbox: field_of_view: 10 to 170, got {self.field_of_view}")
        if not 0 <= self.moving <= 1 or self.rotation < 0:
            raise ConfigError("stillbox: moving: 0 to 1, rotation: 0 or more")
        if not 1 <= self.speed_change < np.inf:
            raise ConfigError(f"stillbox: speed_change: 1 or more, got {self.speed_change}")


def make_stillbox_scene(
    options: StillboxOptions, seed: int, *, frames: int, size: tuple[int, int]
) -> Scene:
    """Draw a scene.

    Args:
        options: what may happen.
        seed: same seed, same scene.
        frames: length of the flight.
        size: (H, W), pixels.
    """
    rng = np.random.default_rng((seed, 11))
    reach = 0.5 * (frames - 1) * options.step[1] + CLEARANCE
    if reach > NEAREST_WALL * options.room[0]:
        raise ConfigError(
            f"stillbox: a flight of {frames} frames, {2 * reach:.1f} m with its margins, does not "
            f"fit into a room of {options.room[0]:g} m; set a larger room or fewer frames"
        )
    T_world_cam = _flight(rng, options, frames)
    pool = texture_pool(POOL_SEED, POOL_COUNT, POOL_SIZE)
    textures = pool[rng.choice(POOL_COUNT, LAYERS, replace=False)]
    extent = _log_uniform(rng, options.room, 3)
    bodies = [_room(rng, extent, margin=max(6.0, 2 * reach))]
    count = int(rng.integers(options.objects[0], options.objects[1] + 1))
    for _ in range(20 * count):  # places that are taken are drawn again, but not for ever
        if len(bodies) > count:
            break
        body = _solid(rng, options, T_world_cam)
        if body is not None:
            bodies.append(body)
    height, width = size
    f = 0.5 * width / np.tan(np.radians(options.field_of_view) / 2)
    return Scene(
        bodies=tuple(bodies),
        textures=textures,
        camera=Camera(width, height, f, f, (width - 1) / 2, (height - 1) / 2),
        T_world_cam=T_world_cam,
        times=np.arange(frames) / FRAMES_PER_SECOND,
        light=Light(ambient=rng.uniform(0.4, 0.7), sun=0.6, sun_direction=rng.normal(size=3)),
    )


def _flight(rng: np.random.Generator, options: StillboxOptions, frames: int) -> np.ndarray:
    """A straight line with its middle in the origin, the camera turning smoothly. (N, 4, 4)"""
    direction = rng.normal(size=3)
    step = rng.uniform(*options.step) * direction / np.linalg.norm(direction)
    count = np.arange(frames) - (frames - 1) / 2
    turning = rng.uniform(-1, 1, size=3) * np.radians(options.rotation) / 1.4
    # A slow wave on top: rates of a real drone are never constant.
    wave = np.sin(count[:, None] * rng.uniform(0.1, 0.4, 3) + rng.uniform(0, 6, 3))
    angles = count[:, None] * turning + wave * np.abs(turning)
    rotations = exp_se3(np.concatenate([np.zeros((frames, 3)), angles], axis=1))[:, :3, :3]
    first = exp_se3(np.concatenate([np.zeros(3), rng.uniform(-np.pi, np.pi) * _unit(rng)]))
    way = count if options.speed_change == 1 else _uneven_way(rng, options.speed_change, frames)
    return make_pose(first[:3, :3] @ rotations, way[:, None] * step)


def _uneven_way(rng: np.random.Generator, change: float, frames: int) -> np.ndarray:
    """Way covered at each frame, in mean steps from the middle of the flight. (N,)"""
    swings = np.arange(frames - 1) / max(frames - 2, 1) * rng.uniform(*SWINGS)
    # A triangle wave with round tips: linear in the logarithm of speed for most of the time.
    wave = np.arcsin(ROUND_TIPS * np.sin(2 * np.pi * (swings + rng.random())))
    speed = change ** (0.5 * wave / np.arcsin(ROUND_TIPS))
    way = np.concatenate([[0.0], np.cumsum(speed / speed.mean())]) if frames > 1 else np.zeros(1)
    return way - way[-1] / 2


def _room(rng: np.random.Generator, extent: np.ndarray, *, margin: float) -> Body:
    """A box around everything, the origin anywhere in it but near the walls."""
    least = 1 - 2 * NEAREST_WALL
    place = rng.uniform(-0.5, 0.5, 3) * np.maximum(extent - margin, least * extent)
    R = exp_se3(np.concatenate([np.zeros(3), rng.uniform(-np.pi, np.pi) * _unit(rng)]))[:3, :3]
    mesh = meshes.box(extent, uv_scale=1 / _log_uniform(rng, (2.0, 30.0)))
    return Body(mesh, int(rng.integers(LAYERS)), make_pose(R, R @ -place))


def _solid(
    rng: np.random.Generator, options: StillboxOptions, T_world_cam: np.ndarray
) -> Body | None:
    """Place a random solid; None where it would stand in the camera's way."""
    way = T_world_cam[:, :3, 3]
    distance = _log_uniform(rng, options.distance)
    centre = distance * _unit(rng)
    if rng.random() < IN_VIEW:  # somewhere in the picture, for a square view of 90 degrees
        centre = np.append(rng.uniform(-1, 1, 2), 1.0) * distance
        centre = T_world_cam[len(way) // 2, :3, :3] @ centre
    radius = distance * rng.uniform(0.06, 0.35)
    mesh = meshes.stretched(_shape(rng, radius), rng.uniform(0.5, 1.0, 3))
    reach = float(np.linalg.norm(mesh.vertices, axis=1).max())
    if np.linalg.norm(way - centre, axis=1).min() < reach + CLEARANCE:
        return None
    R = exp_se3(np.concatenate([np.zeros(3), rng.uniform(-np.pi, np.pi) * _unit(rng)]))[:3, :3]
    T, texture = make_pose(R, centre), int(rng.integers(LAYERS))
    if rng.random() >= options.moving:
        return Body(mesh, texture, T)
    speed = 2 * options.step[1] * rng.uniform(0.2, 1) * _unit(rng)
    count = np.arange(len(way)) - (len(way) - 1) / 2
    centres = centre + count[:, None] * speed
    if np.linalg.norm(way - centres, axis=1).min() < reach + CLEARANCE:
        return None
    return Body(mesh, texture, make_pose(np.broadcast_to(R, (len(way), 3, 3)), centres))


def _shape(rng: np.random.Generator, radius: float) -> Mesh:
    """A random solid about as large as a ball of this radius."""
    around, along = rng.integers(1, 7, size=2).astype(float)
    scale = (around, along)
    match rng.integers(5):
        case 0:
            return meshes.box(radius * rng.uniform(0.8, 1.6, 3), uv_scale=around / (2 * radius))
        case 1:
            return meshes.sphere(radius, rings=24, uv_scale=scale)
        case 2:
            return meshes.cylinder(radius * rng.uniform(0.3, 1), 2 * radius, uv_scale=scale)
        case 3:
            return meshes.cone(radius, 2 * radius * rng.uniform(0.6, 1.2), uv_scale=scale)
    return meshes.torus(radius, radius * rng.uniform(0.15, 0.4), segments=36, uv_scale=scale)


def _unit(rng: np.random.Generator) -> np.ndarray:
    v = rng.normal(size=3)
    return v / np.linalg.norm(v)


def _log_uniform(rng: np.random.Generator, bounds: tuple[float, float], n: int | None = None):  # type: ignore[no-untyped-def]
    return np.exp(rng.uniform(np.log(bounds[0]), np.log(bounds[1]), n))
