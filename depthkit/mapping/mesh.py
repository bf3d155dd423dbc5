# SPDX-License-Identifier: Apache-2.0
"""The surface of a volume of signed distances, as triangles and as points: surface nets.

One vertex lies in each cell of eight voxels that the surface runs through, at the mean of its
crossings with the cell's edges [Gibson 1998]; four cells around an edge that it crosses make two
triangles.
"""

from dataclasses import dataclass

import numpy as np

from depthkit.errors import DataError
from depthkit.mapping.fused import Volume


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles in world axes."""

    vertices: np.ndarray
    """Positions. (N, 3) float32"""
    faces: np.ndarray
    """Vertices of each triangle, anticlockwise as seen from the free side. (M, 3) int32"""
    colours: np.ndarray
    """RGB of each vertex. (N, 3) uint8"""

    def normals(self) -> np.ndarray:
        """Return unit normals of the vertices, towards the free side: faces by their area.

        A vertex without a face has (0, 0, 1). (N, 3) float32
        """
        corners = self.vertices[self.faces].astype(np.float64)  # (M, 3, 3)
        across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        sums = np.zeros((len(self.vertices), 3))
        for corner in range(3):
            np.add.at(sums, self.faces[:, corner], across)
        length = np.linalg.norm(sums, axis=1, keepdims=True)
        unit = np.where(length > 0, sums / np.where(length > 0, length, 1), [0.0, 0.0, 1.0])
        return np.asarray(unit, np.float32)


@dataclass(frozen=True, eq=False)
class Points:
    """Points of a surface in world axes."""

    positions: np.ndarray
    """(N, 3) float32"""
    colours: np.ndarray
    """RGB. (N, 3) uint8"""


def points_of(volume: Volume, *, least_weight: float) -> Points:
    """Return one point for each cell of voxels that the surface runs through.

    Args:
        volume: signed distances.
        least_weight: smallest weight of a voxel that counts.
    """
    positions, colours, _ = _vertices(volume, least_weight)
    return Points(positions, colours)


def mesh_of(volume: Volume, *, least_weight: float, least_faces: int = 0) -> Mesh:
    """Return the surface as triangles.

    Args:
        volume: signed distances.
        least_weight: smallest weight of a voxel that counts.
        least_faces: number of faces below which a component is left out.

    Raises:
        DataError: there is no surface.
    """
    from depthkit.mapping.mesh_kernels import write_faces

    positions, colours, ids = _vertices(volume, least_weight)
    where = volume.keys, volume.rows, volume.distance, ids
    count = write_faces(*where, positions, np.zeros((0, 3), np.int32))
    if count == 0:
        raise DataError(
            f"mesh: no surface among {len(volume.keys)} blocks with weights of {least_weight:g} "
            "and more; integrate frames with confident depth, or lower least_weight"
        )
    faces = np.zeros((count, 3), np.int32)
    write_faces(*where, positions, faces)
    kept = _large_components(faces, len(positions), least_faces)
    return _without_loose_vertices(Mesh(positions, kept, colours))


def _vertices(volume: Volume, least_weight: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return positions, colours, and the number of each cell's vertex, -1 for none."""
    from depthkit.mapping.mesh_kernels import number_cells, place_vertices

    shape = (len(volume.keys), *volume.distance.shape[1:])
    ids = np.full(shape, -1, np.int32)
    where = volume.keys, volume.rows, volume.distance, volume.weight
    count = number_cells(*where, least_weight, ids)
    positions = np.zeros((count, 3), np.float32)
    colours = np.zeros((count, 3), np.uint8)
    place_vertices(
        volume.keys,
        volume.rows,
        volume.distance,
        volume.colour,
        volume.voxel,
        ids,
        positions,
        colours,
    )
    return positions, colours, ids


def _large_components(faces: np.ndarray, vertices: int, least_faces: int) -> np.ndarray:
    """Leave out the faces of components with fewer than `least_faces`. (M, 3)"""
    from depthkit.mapping.mesh_kernels import component_of_vertices

    if least_faces <= 1:
        return faces
    component = component_of_vertices(faces, vertices)[faces[:, 0]]
    return faces[np.bincount(component, minlength=vertices)[component] >= least_faces]


def _without_loose_vertices(mesh: Mesh) -> Mesh:
    """Leave out vertices without a face."""
    used = np.zeros(len(mesh.vertices), bool)
    used[mesh.faces] = True
    number = np.cumsum(used, dtype=np.int32) - 1
    return Mesh(mesh.vertices[used], number[mesh.faces].astype(np.int32), mesh.colours[used])
