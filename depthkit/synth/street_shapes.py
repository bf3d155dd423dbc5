# SPDX-License-Identifier: Apache-2.0
"""Meshes a street needs beyond the simple solids: walls in storeys, prisms, vehicles, trees.

Body axes are x right, y down, z forward; the ground is y = 0 and what stands has negative y.
"""

from dataclasses import dataclass

import numpy as np

from depthkit.synth.meshes import box, grid_faces, joined, revolve, sphere
from depthkit.synth.scene import Mesh

WHEEL_SIDES = 8
LAMP_WHITE, LAMP_RED = 0.25, 0.75  # where the texture of lamps has these colours


@dataclass(frozen=True)
class Shape:
    """The measures of a vehicle, metres."""

    kind: str
    length: float
    width: float
    height: float
    ground: float = 0.28
    """Clearance under it."""


def draw_shape(rng: np.random.Generator) -> Shape:
    """Draw a car, sometimes a van, a lorry or a bus."""
    kind = str(rng.choice(["car", "van", "lorry", "bus"], p=[0.72, 0.14, 0.09, 0.05]))
    length, width, height = {
        "car": (rng.uniform(3.7, 4.8), rng.uniform(1.65, 1.9), rng.uniform(1.35, 1.65)),
        "van": (rng.uniform(4.8, 6.0), rng.uniform(1.9, 2.1), rng.uniform(1.9, 2.4)),
        "lorry": (rng.uniform(6.5, 8.5), rng.uniform(2.2, 2.4), rng.uniform(2.9, 3.5)),
        "bus": (rng.uniform(9.5, 12.0), 2.45, rng.uniform(2.9, 3.2)),
    }[kind]
    return Shape(kind, length, width, height, 0.28 if kind in ("car", "van") else 0.5)


def vehicle_parts(shape: Shape, *, is_near: bool) -> dict[str, Mesh]:
    """Return the meshes of a vehicle by the kind of texture they wear; its front is +z.

    One that is seen from afar alone has neither wheels nor lamps.
    """
    length, w, g = shape.length, shape.width, shape.ground
    paint, glass = {"car": _car, "van": _van, "lorry": _lorry, "bus": _bus}[shape.kind](shape)
    shadow = moved(box(np.array([w * 1.02, 0.006, length * 0.98])), (0.0, -0.012, 0.0))
    under = moved(box(np.array([w * 0.92, 0.2, length * 0.96])), (0.0, -g, 0.0))
    parts = {"paint": joined(paint), "glass": joined(glass), "dark": joined([shadow, under])}
    if not is_near:
        return parts
    y = -g - 0.28 * min(shape.height, 1.7)
    lamps = [
        _plate((0.34, 0.15), (side * (w / 2 - 0.22), y, end * (length / 2 + 0.02)), u)
        for side in (-1, 1)
        for end, u in ((1, LAMP_WHITE), (-1, LAMP_RED))
    ]
    return parts | {
        "dark": joined([shadow, under, *_wheels(shape)]),
        "lamps": joined(lamps),
    }


def prism(profile: np.ndarray, width: float, tile: float = 2.0) -> Mesh:
    """Extrude a convex outline along x.

    Args:
        profile: corners, z and y, metres. (P, 2)
        width: along x, metres.
        tile: size of one repeat of the texture, metres.
    """
    count, half = len(profile), width / 2
    meshes = []
    for x in (-half, half):
        points = np.column_stack([np.full(count, x), profile[:, 1], profile[:, 0]])
        fan = np.array([[0, i, i + 1] for i in range(1, count - 1)])
        meshes.append(_flat(points, fan, np.array([np.sign(x), 0, 0]), profile / tile))
    for (z0, y0), (z1, y1) in zip(profile, np.roll(profile, -1, axis=0), strict=True):
        run = float(np.hypot(z1 - z0, y1 - y0))
        points = np.array([[-half, y0, z0], [half, y0, z0], [half, y1, z1], [-half, y1, z1]])
        normal = np.array([0.0, z1 - z0, y0 - y1]) / run
        uv = np.array([[0, 0], [width, 0], [width, run], [0, run]]) / tile
        meshes.append(_flat(points, np.array([[0, 1, 2], [0, 2, 3]]), normal, uv))
    return joined(meshes)


def walls(
    size: tuple[float, float, float],
    side: float,
    tile: tuple[float, float],
    *,
    cell: float,
    base: float = 0.0,
) -> Mesh:
    """Make what is seen of a house on one side of a street: its front, and its wall at -z.

    A camera that drives towards +z sees neither the other walls nor the roof.

    Args:
        size: along x, height, along z, metres.
        side: 1 on the right of the street, -1 on its left.
        tile: width and height of one repeat of the texture, metres.
        cell: walls are cut into cells of at most this size, metres.
        base: height of the lower edge, metres; storeys count from the ground.
    """
    x, height, z = side * size[0] / 2, size[1], size[2] / 2
    y = -np.linspace(base, base + height, max(int(np.ceil(height / cell)), 1) + 1)
    corners = np.array([[-x, z], [-x, -z], [x, -z]])
    front = _wall(corners[:2], y, tile, cell, np.array([-side, 0.0, 0.0]))
    return joined([front, _wall(corners[1:], y, tile, cell, np.array([0.0, 0.0, -1.0]))])


def tree(rng: np.random.Generator, rings: int) -> dict[str, Mesh]:
    """Return trunk and crown of a tree: lumpy spheres of so many rings on a post."""
    height, spread = rng.uniform(3.5, 8.0), rng.uniform(1.0, 2.2)
    trunk_height = height * rng.uniform(0.4, 0.6)
    crown = []
    for _ in range(int(rng.integers(2, 4))):
        radius = spread * rng.uniform(0.6, 1.0)
        offset = rng.uniform(-0.6, 0.6, 3) * spread
        offset[1] = -trunk_height - rng.uniform(0.2, 0.9) * (height - trunk_height)
        crown.append(moved(_lumpy(rng, radius, rings), offset))
    return {"bark": post(rng.uniform(0.08, 0.2), trunk_height), "leaves": joined(crown)}


def post(radius: float, height: float) -> Mesh:
    """Make an upright post on the ground, without ends: they are not seen from a street."""
    profile = np.array([[radius, 0.0], [radius, -height]])
    sideways = np.array([[1.0, 0.0], [1.0, 0.0]])
    return revolve(profile, sideways, 6, (1.0, height / 2))


def moved(mesh: Mesh, offset: np.ndarray | tuple[float, float, float]) -> Mesh:
    """Shift a mesh by metres."""
    shifted = mesh.vertices + np.asarray(offset, dtype=np.float32)
    return Mesh(shifted, mesh.faces, mesh.normals, mesh.uv)


# --- parts ---------------------------------------------------------------------------------------


def _car(shape: Shape) -> tuple[list[Mesh], list[Mesh]]:
    L, h, w, g = shape.length, shape.height, shape.width, shape.ground
    waist = -0.56 * h
    hull = np.array(
        [
            (-0.5 * L, -g),
            (-0.5 * L, waist * 0.95),
            (-0.44 * L, waist),
            (0.28 * L, waist),
            (0.47 * L, waist * 0.86),
            (0.5 * L, waist * 0.65),
            (0.5 * L, -g),
        ]
    )
    cabin = np.array(
        [(-0.42 * L, waist), (-0.33 * L, -h), (0.06 * L, -h), (0.24 * L, waist)]
    ) + np.array([0.0, 0.05])
    roof = np.array(
        [(-0.345 * L, 0.06 - h), (-0.32 * L, -h), (0.05 * L, -h), (0.075 * L, 0.06 - h)]
    )
    return [prism(hull, w), prism(roof, 0.87 * w)], [prism(cabin, 0.86 * w, 1.0)]


def _van(shape: Shape) -> tuple[list[Mesh], list[Mesh]]:
    L, h, w, g = shape.length, shape.height, shape.width, shape.ground
    hull = np.array(
        [
            (-0.5 * L, -g),
            (-0.5 * L, -0.97 * h),
            (-0.48 * L, -h),
            (0.26 * L, -h),
            (0.4 * L, -0.58 * h),
            (0.5 * L, -0.5 * h),
            (0.5 * L, -g),
        ]
    )
    front = np.array(
        [(0.1 * L, -0.6 * h), (0.1 * L, -0.92 * h), (0.295 * L, -0.92 * h), (0.4 * L, -0.6 * h)]
    )
    rear = moved(box(np.array([0.8 * w, 0.3 * h, 0.04])), (0.0, -0.75 * h, -L / 2))
    return [prism(hull, w)], [prism(front, w + 0.02, 1.0), rear]


def _lorry(shape: Shape) -> tuple[list[Mesh], list[Mesh]]:
    L, h, w, g = shape.length, shape.height, shape.width, shape.ground
    bed, cab = 0.72 * L, 0.25 * L
    load = moved(box(np.array([w, h - g - 0.3, bed]), 0.4), (0, -(h + g + 0.3) / 2, (bed - L) / 2))
    z = L / 2 - cab
    driver = np.array(
        [(z, -g), (z, -0.8 * h), (L / 2 - 0.2, -0.8 * h), (L / 2, -0.45 * h), (L / 2, -g)]
    )
    pane = moved(box(np.array([0.88 * w, 0.22 * h, 0.06])), (0, -0.6 * h, L / 2 - 0.06))
    side = moved(box(np.array([0.94 * w, 0.2 * h, 0.4 * cab])), (0, -0.62 * h, L / 2 - 0.45 * cab))
    return [load, prism(driver, 0.92 * w)], [pane, side]


def _bus(shape: Shape) -> tuple[list[Mesh], list[Mesh]]:
    L, h, w, g = shape.length, shape.height, shape.width, shape.ground
    hull = moved(box(np.array([w, h - g, L]), 0.4), (0, -(h + g) / 2, 0))
    count = 6
    panes = [
        moved(
            box(np.array([w + 0.03, 0.3 * h, 0.8 * L / count])),
            (0, -0.66 * h, L * ((k + 0.5) / count - 0.5) * 0.94),
        )
        for k in range(count)
    ]
    ends = moved(box(np.array([0.86 * w, 0.36 * h, L + 0.03])), (0, -0.64 * h, 0))
    return [hull], [*panes, ends]


def _wheels(shape: Shape) -> list[Mesh]:
    radius = 0.31 if shape.kind in ("car", "van") else 0.45
    angle = np.linspace(0, 2 * np.pi, WHEEL_SIDES, endpoint=False)
    wheel = prism(radius * np.stack([np.cos(angle), np.sin(angle)], axis=1), 0.22)
    across, along = shape.width / 2 - 0.1, 0.31 * shape.length
    places = [(side * across, -radius, end * along) for side in (-1, 1) for end in (-1, 1)]
    return [moved(wheel, place) for place in places]


def _plate(size: tuple[float, float], place: tuple[float, float, float], u: float) -> Mesh:
    """A small upright rectangle of the one colour its texture has at u."""
    corners = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) / 2 * (*size, 0)
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    return _flat(corners + place, faces, np.array([0, 0, 1.0]), np.full((4, 2), (u, 0.5)))


def _lumpy(rng: np.random.Generator, radius: float, rings: int) -> Mesh:
    """A sphere with dents; its seam and poles stay closed."""
    ball = sphere(1.0, rings, (3.0, 1.5))
    directions, phases = rng.normal(size=(4, 3)) * 2.5, rng.uniform(0, 6, 4)
    dents = 1 + 0.1 * np.sin(ball.vertices @ directions.T + phases).sum(axis=1, keepdims=True)
    scale = radius * np.array([1.0, rng.uniform(0.75, 1.2), 1.0])
    return Mesh(
        (ball.vertices * dents * scale).astype(np.float32), ball.faces, ball.normals, ball.uv
    )


def _wall(
    ends: np.ndarray, y: np.ndarray, tile: tuple[float, float], cell: float, normal: np.ndarray
) -> Mesh:
    """One upright wall between two corners (x, z), cut into cells."""
    length = float(np.abs(ends[1] - ends[0]).max())
    along = np.linspace(0, 1, max(int(np.ceil(length / cell)), 1) + 1)
    A, Y = np.meshgrid(along, y, indexing="ij")
    x, z = (ends[0, k] + A * (ends[1, k] - ends[0, k]) for k in (0, 1))
    points = np.stack([x, Y, z], axis=-1).reshape(-1, 3)
    repeats = max(round(length / tile[0]), 1)  # whole windows
    uv = np.stack([A * repeats, Y / tile[1]], axis=-1).reshape(-1, 2)
    return _flat(points, grid_faces(len(along), len(y)), normal, uv)


def _flat(points: np.ndarray, faces: np.ndarray, normal: np.ndarray, uv: np.ndarray) -> Mesh:
    """Vertices of one plane."""
    return Mesh(
        points.astype(np.float32),
        faces.astype(np.int32),
        np.tile(normal, (len(points), 1)).astype(np.float32),
        uv.astype(np.float32),
    )
