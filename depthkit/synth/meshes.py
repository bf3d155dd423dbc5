# SPDX-License-Identifier: Apache-2.0
"""Meshes of simple solids, centred on their origin. uv counts texture repeats; sizes in metres.

Curved solids are fine enough that the truth may be called theirs, and it is in any case the mesh's.
"""

import numpy as np

from depthkit.synth.scene import Mesh


def box(size: np.ndarray, uv_scale: float = 1.0) -> Mesh:
    """Make a box with flat faces.

    Args:
        size: full extents along x, y, z, metres. (3,)
        uv_scale: texture repeats a metre.
    """
    vertices: list[np.ndarray] = []
    normals, uv, faces = list[np.ndarray](), list[np.ndarray](), list[np.ndarray]()
    half = np.asarray(size, dtype=np.float64) / 2
    for axis in range(3):
        for sign in (-1.0, 1.0):
            a, b = (axis + 1) % 3, (axis + 2) % 3
            corners = np.zeros((4, 3))
            corners[:, axis] = sign
            corners[:, a], corners[:, b] = (-1, 1, 1, -1), (-1, -1, 1, 1)
            points = corners * half
            normal = np.zeros(3)
            normal[axis] = sign
            first = len(vertices) * 4
            vertices.append(points)
            normals.append(np.tile(normal, (4, 1)))
            uv.append((points[:, [a, b]] + half[[a, b]]) * uv_scale)
            faces.append(np.array([[0, 1, 2], [0, 2, 3]]) + first)
    return _mesh(*map(np.concatenate, (vertices, faces, normals, uv)))


def plane(
    size: tuple[float, float], cells: tuple[int, int] = (1, 1), uv_scale: float = 1.0
) -> Mesh:
    """Make a rectangle in x and z, facing -y (up), cut into cells.

    Args:
        size: extents along x and z, metres.
        cells: number of cells along x and z.
        uv_scale: texture repeats a metre.
    """
    x = np.linspace(-0.5, 0.5, cells[0] + 1) * size[0]
    z = np.linspace(-0.5, 0.5, cells[1] + 1) * size[1]
    X, Z = np.meshgrid(x, z, indexing="ij")
    vertices = np.stack([X, np.zeros_like(X), Z], axis=-1).reshape(-1, 3)
    normals = np.tile([0.0, -1.0, 0.0], (len(vertices), 1))
    uv = vertices[:, [0, 2]] * uv_scale
    return _mesh(vertices, grid_faces(len(x), len(z)), normals, uv)


def sphere(radius: float, rings: int = 24, uv_scale: tuple[float, float] = (4.0, 2.0)) -> Mesh:
    """Make a sphere of rings x 2 rings quads. uv_scale: repeats around and from pole to pole."""
    polar = np.linspace(0, np.pi, rings + 1)
    profile = np.stack([np.sin(polar), -np.cos(polar)], axis=1)
    return revolve(radius * profile, profile, 2 * rings, uv_scale)


def cylinder(
    radius: float, height: float, segments: int = 48, uv_scale: tuple[float, float] = (4.0, 2.0)
) -> Mesh:
    """Make a closed cylinder along y."""
    h = height / 2
    profile = np.array([[0, -h], [radius, -h], [radius, -h], [radius, h], [radius, h], [0, h]])
    normals = np.array([[0, -1], [0, -1], [1, 0], [1, 0], [0, 1], [0, 1]], dtype=float)
    return revolve(profile, normals, segments, uv_scale)


def cone(
    radius: float, height: float, segments: int = 48, uv_scale: tuple[float, float] = (4.0, 2.0)
) -> Mesh:
    """Make a closed cone along y, its tip at -y (up)."""
    h = height / 2
    side = np.array([height, -radius]) / np.hypot(height, radius)
    profile = np.array([[0, -h], [radius, h], [radius, h], [0, h]])
    return revolve(profile, np.array([side, side, [0, 1], [0, 1]]), segments, uv_scale)


def torus(
    radius: float, tube: float, segments: int = 48, uv_scale: tuple[float, float] = (6.0, 2.0)
) -> Mesh:
    """Make a torus around y; `radius` to the middle of the `tube` (its radius)."""
    around = np.linspace(0, 2 * np.pi, segments // 2 + 1)
    circle = np.stack([np.cos(around), np.sin(around)], axis=1)
    return revolve(np.array([radius, 0.0]) + tube * circle, circle, segments, uv_scale)


def revolve(
    profile: np.ndarray, normals: np.ndarray, segments: int, uv_scale: tuple[float, float]
) -> Mesh:
    """Turn a profile around the y axis.

    Args:
        profile: distance from the axis and y, metres. (P, 2)
        normals: unit normals of the profile, the same axes. (P, 2)
        segments: steps around.
        uv_scale: texture repeats around and along the profile.
    """
    angle = np.linspace(0, 2 * np.pi, segments + 1)
    c, s = np.cos(angle)[:, None], np.sin(angle)[:, None]

    def turn(flat: np.ndarray) -> np.ndarray:
        r, y = flat[None, :, 0], np.broadcast_to(flat[None, :, 1], (segments + 1, len(flat)))
        return np.stack([r * c, y, r * s], axis=-1).reshape(-1, 3)

    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(profile, axis=0), axis=1))])
    U, V = np.meshgrid(angle / (2 * np.pi), along / along[-1], indexing="ij")
    uv = np.stack([U * uv_scale[0], V * uv_scale[1]], axis=-1).reshape(-1, 2)
    return _mesh(turn(profile), grid_faces(segments + 1, len(profile)), turn(normals), uv)


def grid_faces(rows: int, columns: int) -> np.ndarray:
    """Triangles of a grid of rows x columns vertices, stored row by row. (F, 3) int32"""
    first = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).reshape(-1, 1)
    quad = np.array([[0, 1, columns + 1], [0, columns + 1, columns]])
    return (first[:, None] + quad).reshape(-1, 3).astype(np.int32)


def stretched(mesh: Mesh, factors: np.ndarray) -> Mesh:
    """Scale a mesh along its axes; normals follow with the inverse factors."""
    factors = np.asarray(factors, dtype=np.float32)
    normals = mesh.normals / factors
    normals = normals / np.linalg.norm(normals, axis=1, keepdims=True)
    return Mesh(mesh.vertices * factors, mesh.faces, normals, mesh.uv)


def joined(meshes: list[Mesh]) -> Mesh:
    """Put meshes of one frame together."""
    first = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes[:-1]])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([m.faces + k for m, k in zip(meshes, first, strict=True)]).astype(np.int32),
        np.concatenate([mesh.normals for mesh in meshes]),
        np.concatenate([mesh.uv for mesh in meshes]),
    )


def _mesh(vertices: np.ndarray, faces: np.ndarray, normals: np.ndarray, uv: np.ndarray) -> Mesh:
    return Mesh(
        vertices.astype(np.float32),
        faces.astype(np.int32),
        normals.astype(np.float32),
        uv.astype(np.float32),
    )
