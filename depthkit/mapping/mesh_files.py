# SPDX-License-Identifier: Apache-2.0
"""Meshes and points as files: PLY (binary little endian) and GLB (glTF 2.0 in one file).

PLY keeps the world's axes. glTF is right-handed with y up: the vertices of a GLB keep the world's
axes too, and the matrix of its one node turns them upright.
"""

import json
import os
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np

from depthkit.errors import DataError
from depthkit.mapping.mesh import Mesh, Points

Up = Literal["-y", "z", "y"]

_VERTEX = np.dtype([("xyz", "<f4", (3,)), ("rgb", "u1", (3,))])
_FACE = np.dtype([("count", "u1"), ("corners", "<i4", (3,))])

# Rows of the matrices that turn the world's axes into glTF's: x right, y up, z towards the viewer.
_UPRIGHT: dict[Up, list[list[int]]] = {
    "-y": [[1, 0, 0], [0, -1, 0], [0, 0, -1]],  # a camera's axes: x right, y down, z ahead
    "z": [[0, -1, 0], [0, 0, 1], [-1, 0, 0]],  # a robot's: x ahead, y left, z up
    "y": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
}
_FLOAT, _SHORT, _WHOLE = 5126, 5123, 5125  # glTF component types
_VERTICES, _INDICES = 34962, 34963  # targets of buffer views


def write_ply(path: Path, mesh: Mesh | Points, *, comment: str = "") -> None:
    """Write a mesh or points as PLY, in the world's axes.

    Args:
        path: ends in .ply.
        mesh: triangles with coloured vertices, or coloured points.
        comment: axes and unit, one line.

    Raises:
        DataError: the file cannot be written.
    """
    faces = mesh.faces if isinstance(mesh, Mesh) else np.zeros((0, 3), np.int32)
    positions = mesh.vertices if isinstance(mesh, Mesh) else mesh.positions
    vertices = np.empty(len(positions), _VERTEX)
    vertices["xyz"], vertices["rgb"] = positions, mesh.colours
    triangles = np.empty(len(faces), _FACE)
    triangles["count"], triangles["corners"] = 3, faces
    lines = ["ply", "format binary_little_endian 1.0"]
    lines += [f"comment {comment}"] if comment else []
    lines += [f"element vertex {len(vertices)}"]
    lines += [f"property float {axis}" for axis in "xyz"]
    lines += [f"property uchar {colour}" for colour in ("red", "green", "blue")]
    if isinstance(mesh, Mesh):
        lines += [f"element face {len(faces)}", "property list uchar int vertex_indices"]
    header = "\n".join([*lines, "end_header\n"]).encode()
    _write(Path(path), header + vertices.tobytes() + triangles.tobytes())


def read_ply(path: Path) -> Mesh:
    """Read a PLY file that `write_ply` wrote; points are a mesh without faces.

    Raises:
        DataError: the file is missing, or is another kind of PLY.
    """
    try:
        head, end, body = Path(path).read_bytes().partition(b"end_header\n")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    counts = {
        name: int(n) for name, n in re.findall(r"element (\w+) (\d+)", head.decode("latin-1"))
    }
    sizes = _VERTEX.itemsize * counts.get("vertex", 0), _FACE.itemsize * counts.get("face", 0)
    is_ours = b"binary_little_endian" in head and end and len(body) == sum(sizes)
    if not is_ours:
        raise DataError(f"{path}: expected a PLY file of depthkit: binary, x y z red green blue")
    vertices = np.frombuffer(body[: sizes[0]], _VERTEX)
    faces = np.frombuffer(body[sizes[0] :], _FACE)["corners"]
    return Mesh(vertices["xyz"].copy(), faces.astype(np.int32), vertices["rgb"].copy())


def write_glb(path: Path, mesh: Mesh, *, up: Up = "-y") -> None:
    """Write a mesh as GLB, which browsers and modelling programs open.

    Pictures' colours are shown as they are (KHR_materials_unlit); a mesh of one colour is lit.

    Args:
        path: ends in .glb.
        mesh: triangles with coloured vertices; at least one.
        up: the world's axis that points up: -y of a camera's axes, z of a robot's.

    Raises:
        DataError: the mesh is empty, or the file cannot be written.
    """
    if len(mesh.faces) == 0:
        raise DataError(f"{path}: a mesh without faces; GLB takes at least one")
    # 1. The arrays, each at a multiple of four bytes.
    arrays = [
        (mesh.vertices.astype("<f4"), _FLOAT, "VEC3", _VERTICES),
        (mesh.normals().astype("<f4"), _FLOAT, "VEC3", _VERTICES),
        (linear_colours(mesh.colours), _SHORT, "VEC4", _VERTICES),
        (mesh.faces.reshape(-1).astype("<u4"), _WHOLE, "SCALAR", _INDICES),
    ]
    # 2. Their description.
    scene = _scene(arrays, upright=up, is_lit=bool((mesh.colours == mesh.colours[0]).all()))
    text = json.dumps(scene, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    body = b"".join(values.tobytes() for values, *_ in arrays)
    # 3. Header and the two chunks.
    parts = [_words(len(text), 0x4E4F534A), text, _words(len(body), 0x004E4942), body]
    length = 12 + sum(map(len, parts))
    _write(Path(path), b"".join([_words(0x46546C67, 2, length), *parts]))


def linear_colours(rgb: np.ndarray) -> np.ndarray:
    """Turn sRGB into the linear colours that glTF stores at vertices, with full opacity.

    Args:
        rgb: (N, 3) uint8

    Returns:
        Linear RGBA, 65535 is 1. (N, 4) uint16
    """
    share = np.arange(256) / 255.0
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    table = np.rint(65535 * linear).astype("<u2")
    opaque = np.full((len(rgb), 1), 65535, "<u2")
    return np.concatenate([table[rgb], opaque], axis=1)


def _scene(arrays: list[tuple[np.ndarray, int, str, int]], *, upright: Up, is_lit: bool) -> Any:
    """Return the JSON of a scene with one mesh."""
    views: list[Any] = []
    accessors: list[Any] = []
    offset = 0
    for values, kind, shape, target in arrays:
        size = values.nbytes
        views.append({"buffer": 0, "byteOffset": offset, "byteLength": size, "target": target})
        one = {"bufferView": len(accessors), "componentType": kind, "type": shape}
        accessors.append(one | {"count": len(values)})
        offset += size
    positions = arrays[0][0]
    accessors[0] |= {"min": positions.min(axis=0).tolist(), "max": positions.max(axis=0).tolist()}
    accessors[2] |= {"normalized": True}
    material: dict[str, Any] = {
        "doubleSided": True,
        "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 1.0},
    }
    if not is_lit:
        material["extensions"] = {"KHR_materials_unlit": {}}
    turn = np.eye(4)
    turn[:3, :3] = _UPRIGHT[upright]
    shown = {"attributes": {"POSITION": 0, "NORMAL": 1, "COLOR_0": 2}, "indices": 3, "material": 0}
    return {
        "asset": {"version": "2.0", "generator": "depthkit"},
        **({} if is_lit else {"extensionsUsed": ["KHR_materials_unlit"]}),
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"name": "map", "mesh": 0, "matrix": turn.T.reshape(-1).tolist()}],
        "meshes": [{"primitives": [shown]}],
        "materials": [material],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": offset}],
    }


def _words(*numbers: int) -> bytes:
    return np.array(numbers, "<u4").tobytes()


def _write(path: Path, data: bytes) -> None:
    """Write under a temporary name, then rename."""
    partial = path.with_name(path.name + ".part")
    try:
        partial.write_bytes(data)
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise DataError(f"{path}: cannot be written: {error.strerror}") from error
