# SPDX-License-Identifier: Apache-2.0
"""A street while it is built, and its surfaces: road and marks, side streets, pavements, sky."""

from dataclasses import dataclass, field

import numpy as np

from depthkit.synth.meshes import joined, revolve
from depthkit.synth.scene import Body, Mesh
from depthkit.synth.street_road import RoadLine, cross_kerb, dashes, kerb, strip, zebra
from depthkit.synth.street_shapes import vehicle_parts
from depthkit.synth.street_textures import Palette
from depthkit.synth.street_traffic import LANE, SIDE_REACH, SIDE_STREET, Layout, Track

PAVEMENT = 3.2  # metres: its width
KERB = 0.12  # metres: height of the pavement over the road
COARSE = 16.0  # metres: cells of the ground, behind the pavement and below the road
UNDER = 0.3  # metres that a surface goes on below its neighbour: their cells differ at the edge
SKY_RADIUS = 1500.0  # metres beyond the street's length


@dataclass
class Site:
    """A street while it is built: bodies are added one by one."""

    rng: np.random.Generator
    layout: Layout
    palette: Palette
    reach: float
    """Beyond this s things are seen from afar alone, metres."""
    bodies: list[Body] = field(default_factory=list)

    @property
    def line(self) -> RoadLine:
        """The road."""
        return self.layout.line

    def is_near(self, s: float) -> bool:
        """Tell whether the camera comes near enough to s to see details."""
        return s < self.reach

    def add(self, kind: str, mesh: Mesh, T_world_body: np.ndarray | None = None) -> None:
        """Add a body with a random texture of a kind, in world coordinates or with a pose."""
        pose = np.eye(4) if T_world_body is None else T_world_body
        self.bodies.append(Body(mesh, self.palette.pick(self.rng, kind), pose))

    def add_vehicle(self, track: Track, *, moves: bool) -> None:
        """Add a vehicle: its parts share one pose, or one pose for each frame."""
        poses = track.poses(self.line)
        parts = vehicle_parts(track.shape, is_near=moves or self.is_near(float(track.s[0])))
        for kind, mesh in parts.items():
            self.add(kind, mesh, poses if moves else poses[0])


def block_spans(layout: Layout, start: float) -> list[tuple[float, float]]:
    """Return where blocks begin and end, s in metres."""
    half = SIDE_STREET / 2
    begins = [start, *(s + half for s in layout.crossings)]
    ends = [*(s - half for s in layout.crossings), layout.end]
    return list(zip(begins, ends, strict=True))


def build_road(site: Site, spans: list[tuple[float, float]]) -> None:
    """Lay the road with its marks, and the side streets between blocks."""
    layout, line, half = site.layout, site.line, site.layout.half_width
    edge = half + UNDER
    site.add("asphalt", strip(line, (spans[0][0], layout.end), (-edge, edge), tile=5))
    paint: list[Mesh] = []
    for begin, end in spans:
        paint += _marks(site, (begin + 5, end - 5))
    roads: list[Mesh] = []
    for s in layout.crossings:
        across = (s - SIDE_STREET / 2, s + SIDE_STREET / 2)
        for side in (-1, 1):
            d = (side * (half - UNDER), side * SIDE_REACH)
            roads.append(strip(line, across, d, y=0.02, tile=5))
        if site.rng.random() < 0.7:
            paint += zebra(line, across[0] - 4, half)
    site.add("white", joined(paint))
    if roads:
        site.add("asphalt", joined(roads))


def build_pavement(site: Site, span: tuple[float, float], side: float) -> None:
    """Raise one side of a block over the road."""
    line, near = site.line, side * site.layout.half_width
    walk, far = near + side * PAVEMENT, side * SIDE_REACH
    site.add("pavement", strip(line, span, (near, walk), y=-KERB, tile=2.5))
    inner = near + side * UNDER
    site.add("ground", strip(line, span, (inner, far), y=-KERB + 0.02, tile=8, cell=COARSE))
    edges = [kerb(line, span, near, (-KERB, 0.05))]
    edges += [cross_kerb(line, s, (near, far), (-KERB, 0.05)) for s in span]
    site.add("plain", joined(edges))


def build_sky(site: Site) -> None:
    """Put a dome around everything; its normals all face a viewer who looks along the street.

    So the sun lights it evenly: a sky has no shade. It reaches a little below the horizon.
    """
    radius = SKY_RADIUS + site.layout.end
    above = np.linspace(-0.03, 1.0, 9) * np.pi / 2
    profile = np.stack([np.cos(above), -np.sin(above)], axis=1)
    mesh = revolve(radius * profile, profile, 24, (4.0, 1.0))
    height = np.clip(-mesh.vertices[:, 1] / radius, 0, 1)  # of the unit dome
    row = 0.995 - 0.99 * np.clip(1.4 * height, 0, 1) ** 0.8
    uv = np.stack([mesh.uv[:, 0], row], axis=1).astype(np.float32)
    normals = np.tile(np.array([0, 0, -1], np.float32), (len(uv), 1))
    site.add("sky", Mesh(mesh.vertices, mesh.faces, normals, uv))


def _marks(site: Site, s: tuple[float, float]) -> list[Mesh]:
    """Lines between the lanes of one block: broken or solid in the middle, solid at the sides."""
    layout, line = site.layout, site.line
    paint = dashes(line, s, 0.0, gap=0.0 if site.rng.random() < 0.3 else 6.0)
    for side in (-1, 1):
        paint += dashes(line, s, side * layout.lanes * LANE, gap=0, width=0.1)
        for lane in range(1, layout.lanes):
            paint += dashes(line, s, side * lane * LANE)
    return paint
