# SPDX-License-Identifier: Apache-2.0
"""What stands along a street: houses in two rows, parks, trees, posts, signs."""

import numpy as np

from depthkit.synth.meshes import box, joined
from depthkit.synth.scene import Mesh
from depthkit.synth.street_road import kerb, strip
from depthkit.synth.street_shapes import moved, post, prism, tree, walls
from depthkit.synth.street_site import KERB, PAVEMENT, Site, build_pavement
from depthkit.synth.street_traffic import SIDE_REACH

SHOP_HEIGHT = 3.8  # metres
CELL, FAR_CELL = 8.0, 16.0  # metres: largest cells of walls, near and seen from afar
STOREY_TILE = 6.2  # metres: two storeys are one repeat of a facade
FINE_RINGS, COARSE_RINGS = 4, 3  # rings of trees near the camera, and of the others


def build_block(site: Site, span: tuple[float, float], side: float) -> None:
    """Fill one side of a block. What is near comes first: it spares drawing what it hides."""
    is_park = site.rng.random() < 0.15
    _furniture(site, span, side, trees=is_park or site.rng.random() < 0.5)
    if is_park:
        _park(site, span, side)
    else:
        _houses(site, span, side)
    build_pavement(site, span, side)
    _back_row(site, span, side)


def build_view_stops(site: Site) -> None:
    """Close the far ends of the side streets with a house."""
    rng = site.rng
    for s in site.layout.crossings:
        for side in (-1.0, 1.0):
            size = (10.0, rng.uniform(7, 20), rng.uniform(25, 40))
            pose = site.line.pose(s + rng.uniform(-6, 6), side * SIDE_REACH, y=-KERB)
            tile = (rng.uniform(5, 9), STOREY_TILE)
            site.add("facade", walls(size, side, tile, cell=FAR_CELL), pose)


def _houses(site: Site, span: tuple[float, float], side: float) -> None:
    """A row of houses of random width, height and distance from the kerb."""
    rng, front = site.rng, site.layout.half_width + PAVEMENT
    setback, s = rng.uniform(0, 2), span[0]
    storeys = rng.uniform(2, 6)
    while span[1] - s > 7:
        width = min(rng.uniform(9, 22), span[1] - s)
        if span[1] - s - width < 7:
            width = span[1] - s
        depth = rng.uniform(9, 15)
        back = setback + (rng.uniform(2, 6) if rng.random() < 0.15 else 0.0)
        height = 3.1 * max(round(storeys + rng.uniform(-1.6, 1.6)), 2)
        middle = s + width / 2, side * (front + back + depth / 2)
        alley = 1.0 if rng.random() < 0.25 else 0.02
        _house(site, (depth, height, width - alley), middle, side)
        s += width


def _house(
    site: Site, size: tuple[float, float, float], place: tuple[float, float], side: float
) -> None:
    """One house: a ground floor with or without shops, storeys, a roof, sometimes balconies."""
    rng, (depth, height, width) = site.rng, size
    pose, near = site.line.pose(*place, y=-KERB), site.is_near(place[0])
    cell = CELL if near else FAR_CELL
    shop = rng.random() < 0.6
    low = SHOP_HEIGHT if shop else 0.0
    tile = (rng.uniform(4.5, 8.0), STOREY_TILE)
    if shop:
        mesh = walls((depth + 0.1, low, width), side, (rng.uniform(6, 10), low), cell=cell)
        site.add("shop", mesh, pose)
    site.add("facade", walls((depth, height, width), side, tile, base=low, cell=cell), pose)
    top = -(low + height)
    if rng.random() < 0.4:
        tall = rng.uniform(1.5, 4.0)
        half = depth / 2 + 0.4
        gable = np.array([(-half, top), (0.0, top - tall), (half, top)])
        roof = prism(gable, width)  # its outline lies in z, y: turn it to x, y
        swapped = Mesh(roof.vertices[:, [2, 1, 0]], roof.faces, roof.normals[:, [2, 1, 0]], roof.uv)
        site.add("plain", swapped, pose)
    else:
        ledge = moved(box(np.array([depth + 0.5, 0.4, width])), (0, top - 0.2, 0))
        site.add("plain", ledge, pose)
    if near and rng.random() < 0.4:
        _balconies(site, size, (pose, side), low)


def _balconies(
    site: Site, size: tuple[float, float, float], place: tuple[np.ndarray, float], low: float
) -> None:
    """Columns of balconies on the front."""
    (depth, height, width), (pose, side) = size, place
    spacing, reach = site.rng.uniform(3, 5), site.rng.uniform(0.6, 1.3)
    slab = box(np.array([reach, site.rng.uniform(0.15, 1.0), 2.0]), 0.5)
    meshes = [
        moved(slab, (-side * (depth + reach) / 2, -(low + y), z))
        for y in np.arange(0.6, height - 1.5, 3.1)
        for z in np.arange(-width / 2 + 2, width / 2 - 1.5, spacing)
    ]
    if meshes:
        site.add("plain", joined(meshes), pose)


def _back_row(site: Site, span: tuple[float, float], side: float) -> None:
    """Larger houses behind, seen over the roofs and at the end of side streets."""
    rng, s = site.rng, span[0]
    while s < span[1]:
        width, depth = rng.uniform(15, 30), rng.uniform(12, 25)
        width = min(width, span[1] - s)
        height = rng.uniform(6, 28)
        d = side * (site.layout.half_width + 30 + rng.uniform(0, 12) + depth / 2)
        if width > 6:
            tile = (rng.uniform(5, 9), STOREY_TILE)
            pose = site.line.pose(s + width / 2, d, y=-KERB)
            site.add("facade", walls((depth, height, width - 1), side, tile, cell=FAR_CELL), pose)
        s += width + rng.uniform(0, 20)


def _park(site: Site, span: tuple[float, float], side: float) -> None:
    """Trees on grass, a low wall before them."""
    rng, walk = site.rng, site.layout.half_width + PAVEMENT
    for _ in range(int((span[1] - span[0]) / 6)):
        s, d = rng.uniform(span[0] + 2, span[1] - 2), side * (walk + rng.uniform(2, 22))
        _add_tree(site, s, d)
    if rng.random() < 0.6:
        height, d = rng.uniform(0.4, 1.4), side * (walk + 0.2)
        faces = [kerb(site.line, span, d + side * w, (-KERB - height, 0.0)) for w in (0, 0.3)]
        top = strip(site.line, span, (d, d + side * 0.3), y=-KERB - height, tile=2)
        site.add("plain", joined([*faces, top]))


def _add_tree(site: Site, s: float, d: float) -> None:
    pose = site.line.pose(s, d, y=-KERB)
    rings = FINE_RINGS if site.is_near(s) and abs(d) < 20 else COARSE_RINGS
    for kind, mesh in tree(site.rng, rings).items():
        site.add(kind, mesh, pose)


def _furniture(site: Site, span: tuple[float, float], side: float, *, trees: bool) -> None:
    """Trees, lamp posts, signs and bins along the kerb."""
    rng, d = site.rng, site.layout.half_width + 0.5
    spacing = rng.uniform(7, 14)
    for k, s in enumerate(np.arange(span[0] + 4, span[1] - 3, spacing)):
        pose = site.line.pose(s, side * d, y=-KERB)
        if k % 3 == 1:
            _add_post(site, pose, side)
        elif trees:
            _add_tree(site, s, side * (d + 0.4))
        if not site.is_near(s):
            continue
        if rng.random() < 0.3:
            _add_sign(site, site.line.pose(s + 2, side * d, y=-KERB))
        if rng.random() < 0.2:
            size = rng.uniform((0.4, 0.7, 0.4), (1.4, 1.8, 2.4))
            place = site.line.pose(s - 2, side * (d + 0.5 + size[0] / 2), y=-KERB)
            site.add("sign", moved(box(size, 0.4), (0, -size[1] / 2, 0)), place)


def _add_post(site: Site, pose: np.ndarray, side: float) -> None:
    """A lamp post whose arm reaches over the road."""
    height, reach = site.rng.uniform(5, 8), site.rng.uniform(0.8, 2.0)
    arm = moved(box(np.array([reach, 0.09, 0.09])), (-side * reach / 2, -height, 0))
    lamp = moved(box(np.array([0.7, 0.12, 0.25])), (-side * reach, -height, 0))
    site.add("bark", joined([post(0.09, height), arm, lamp]), pose)


def _add_sign(site: Site, pose: np.ndarray) -> None:
    """A board on a post, facing the road's traffic."""
    rng, height = site.rng, site.rng.uniform(2.0, 2.8)
    width, tall = rng.uniform(0.5, 1.0, 2)
    board = moved(box(np.array([width, tall, 0.04]), 1.0), (0, -height, -0.06))
    site.add("bark", post(0.04, height), pose)
    site.add("sign", board, pose)
