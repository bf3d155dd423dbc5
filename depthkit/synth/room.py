# SPDX-License-Identifier: Apache-2.0
"""A furnished room for a hand-held camera: what `depthkit demo` films. All of it stands still.

Floor, walls and furniture have fine random grain, so that depth can be seen everywhere; nothing is
meant to be taken for a photograph.
"""

import numpy as np

from depthkit.camera import Camera
from depthkit.errors import ConfigError
from depthkit.rigid import make_pose
from depthkit.synth import meshes
from depthkit.synth.path import turns
from depthkit.synth.patterns import fractal_noise
from depthkit.synth.scene import Body, Light, Scene

WIDTH, HEIGHT, LENGTH = 5.6, 2.7, 7.0
"""Sides of the room, metres; its middle is the origin, y points down."""
EYES = 1.45
"""Height of the camera over the floor, metres."""
FOCAL = 0.8
"""Focal length in picture widths: 64 degrees wide."""
FRAMES_PER_SECOND = 15.0
STEP = 0.055
"""Mean way between two frames, metres."""
LONGEST = 160
"""Frames of the longest flight: then it leaves the room."""
TEXTURE, REPEAT = 512, 3.0
"""Pixels a side of a texture, metres after which it repeats."""
COLOURS = {
    "boards": (150, 108, 70),
    "plaster": (205, 198, 184),
    "bricks": (158, 88, 70),
    "cloth": (72, 104, 138),
    "wood": (176, 138, 92),
    "green": (96, 132, 92),
    "dark": (82, 78, 82),
    "ochre": (196, 152, 74),
}
JOINTS = {"boards": (8, 1), "bricks": (24, 8)}
"""Rows and columns of the pieces that a surface is laid of."""


def make_room_scene(seed: int, *, frames: int, size: tuple[int, int]) -> Scene:
    """Draw a room, its furniture and a way through it.

    Args:
        seed: same seed, same room.
        frames: length of the flight.
        size: (H, W), pixels.

    Raises:
        ConfigError: a flight that leaves the room.
    """
    if not 1 <= frames <= LONGEST:
        raise ConfigError(f"room: frames: 1 to {LONGEST}, got {frames}")
    rng = np.random.default_rng((seed, 17))
    names = list(COLOURS)
    textures = np.stack([_texture(rng, name) for name in names])
    height, width = size
    f = FOCAL * width
    return Scene(
        bodies=(*_walls(names), *_furniture(rng, names)),
        textures=textures,
        camera=Camera(width, height, f, f, (width - 1) / 2, (height - 1) / 2),
        T_world_cam=_flight(frames),
        times=np.arange(frames) / FRAMES_PER_SECOND,
        light=Light(ambient=0.8, sun=0.5, sun_direction=np.array([0.5, -0.7, -0.4])),
    )


def _flight(frames: int) -> np.ndarray:
    """Walk forward along a gentle S, looking about as a person does. (N, 4, 4)"""
    way = STEP * np.arange(frames)
    x = 1.1 * np.sin(0.55 * way + 2.6)
    y = 0.5 * HEIGHT - EYES + 0.10 * np.sin(1.3 * way)
    z = -0.46 * LENGTH + 0.75 * way * (1 - 0.035 * way)
    yaw = np.radians(26.0) * np.sin(0.5 * way + 0.5)
    pitch = np.radians(-9.0 + 4.0 * np.sin(0.7 * way))
    roll = np.radians(1.5) * np.sin(0.9 * way + 1.0)
    return make_pose(turns(yaw, pitch, roll), np.stack([x, y, z], axis=1))


def _walls(names: list[str]) -> list[Body]:
    """Return floor, ceiling and four walls, as thin boxes around the room."""
    w, h, length, thick = WIDTH, HEIGHT, LENGTH, 0.1
    sides = {
        "floor": ((w, thick, length), (0, h / 2 + thick / 2, 0), "boards"),
        "ceiling": ((w, thick, length), (0, -h / 2 - thick / 2, 0), "plaster"),
        "left": ((thick, h, length), (-w / 2 - thick / 2, 0, 0), "plaster"),
        "right": ((thick, h, length), (w / 2 + thick / 2, 0, 0), "bricks"),
        "back": ((w, h, thick), (0, 0, -length / 2 - thick / 2), "plaster"),
        "front": ((w, h, thick), (0, 0, length / 2 + thick / 2), "bricks"),
    }
    return [
        Body(
            meshes.box(np.array(extent), uv_scale=1 / REPEAT),
            names.index(look),
            make_pose(np.eye(3), np.array(place)),
        )
        for extent, place, look in sides.values()
    ]


def _furniture(rng: np.random.Generator, names: list[str]) -> list[Body]:
    """Stand cupboards, tables and seats along the walls, and some things upon them."""
    floor = HEIGHT / 2
    # Extent, place on the floor (x, z), lift, look: the way stays free between them.
    pieces = [
        ((0.6, 1.9, 1.3), (-2.45, 0.4), 0.0, "wood"),
        ((0.9, 0.75, 1.6), (2.2, -0.6), 0.0, "cloth"),
        ((0.9, 0.45, 0.9), (1.9, 2.2), 0.0, "ochre"),
        ((1.4, 0.72, 0.8), (-1.2, 2.4), 0.0, "wood"),
        ((0.35, 0.5, 0.3), (-1.3, 2.4), 0.72, "dark"),
        ((0.5, 0.3, 0.4), (2.2, -0.9), 0.75, "ochre"),
        ((0.8, 1.1, 0.5), (0.3, 3.2), 0.0, "green"),
        ((0.45, 0.5, 0.45), (-1.7, -1.2), 0.0, "green"),
        ((0.08, 0.9, 1.2), (-2.78, -1.6), 1.2, "cloth"),
        ((1.1, 0.8, 0.08), (1.5, 3.44), 1.3, "green"),
    ]
    bodies = []
    for extent, (x, z), lift, look in pieces:
        place = np.array([x, floor - lift - extent[1] / 2, z])
        is_free = lift == 0.0 and abs(x) < 2.0
        yaw = rng.uniform(-0.35, 0.35) if is_free else 0.0
        R = turns(np.array(yaw), np.zeros(()), np.zeros(()))
        mesh = meshes.box(np.array(extent), uv_scale=1 / 1.7)
        bodies.append(Body(mesh, names.index(look), make_pose(R, place)))
    vase = meshes.cylinder(0.16, 0.7, uv_scale=(1.0, 0.7))
    ball = meshes.sphere(0.24, uv_scale=(1.0, 0.5))
    return [
        *bodies,
        Body(vase, names.index("dark"), make_pose(np.eye(3), np.array([1.0, floor - 0.35, 0.9]))),
        Body(ball, names.index("ochre"), make_pose(np.eye(3), np.array([-0.7, floor - 0.24, 1.0]))),
    ]


def _texture(rng: np.random.Generator, name: str) -> np.ndarray:
    """Draw a tileable surface: grain of two sizes, joints where it is laid of pieces."""
    coarse = fractal_noise(rng, TEXTURE, coarsest=4)
    fine = fractal_noise(rng, TEXTURE, coarsest=32, roughness=0.8)
    bright = 1 + 0.10 * coarse + 0.13 * fine
    if name in JOINTS:
        bright *= _pieces(rng, *JOINTS[name])
    tint = 1 + 0.03 * np.stack([fractal_noise(rng, TEXTURE) for _ in range(3)], axis=-1)
    picture = np.array(COLOURS[name]) * bright[..., None] * tint
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def _pieces(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Shades of boards or bricks: each its own, dark between them, every other row shifted."""
    v, u = np.indices((TEXTURE, TEXTURE))
    row = v * rows // TEXTURE
    shift = rng.integers(0, TEXTURE, rows)[row]
    column = (u + shift) % TEXTURE * columns // TEXTURE
    shade = rng.uniform(0.8, 1.15, (rows, columns))[row, column]
    high, wide = TEXTURE // rows, TEXTURE // columns
    joint = (v % high < 2) | ((u + shift) % TEXTURE % wide < 2)
    return np.where(joint, 0.55, shade)
