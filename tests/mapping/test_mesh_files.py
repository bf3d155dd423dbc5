# SPDX-License-Identifier: Apache-2.0
"""PLY and GLB, parsed back byte by byte; axes; what cannot be written."""

import json
import struct

import numpy as np
import pytest

from depthkit.errors import DataError
from depthkit.mapping.mesh import Mesh, Points
from depthkit.mapping.mesh_files import linear_colours, read_ply, write_glb, write_ply

MESH = Mesh(
    np.array([[0, 0, 1], [1, 0, 1], [0, 2, 1], [1, 2, 1.5]], np.float32),
    np.array([[0, 2, 1], [1, 2, 3]], np.int32),
    np.array([[255, 0, 0], [0, 128, 0], [0, 0, 255], [255, 255, 255]], np.uint8),
)


def parse_glb(data: bytes) -> tuple[dict, list[np.ndarray]]:
    """Read the scene and the arrays of its accessors, checking the container as it goes."""
    magic, version, length = struct.unpack_from("<4sII", data)
    assert (magic, version, length) == (b"glTF", 2, len(data))
    size, kind = struct.unpack_from("<I4s", data, 12)
    assert kind == b"JSON" and size % 4 == 0
    scene = json.loads(data[20 : 20 + size])
    body_size, kind = struct.unpack_from("<I4s", data, 20 + size)
    assert kind == b"BIN\0" and body_size % 4 == 0 and 28 + size + body_size == len(data)
    body = data[28 + size :]
    assert scene["buffers"][0]["byteLength"] == len(body)
    arrays = []
    for accessor in scene["accessors"]:
        view = scene["bufferViews"][accessor["bufferView"]]
        dtype = {5126: "<f4", 5123: "<u2", 5125: "<u4"}[accessor["componentType"]]
        width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[accessor["type"]]
        assert view["byteOffset"] % 4 == 0
        part = body[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
        arrays.append(np.frombuffer(part, dtype).reshape(accessor["count"], width))
    return scene, arrays


def test_ply_has_the_header_and_the_rows_of_the_format(tmp_path):
    """15 bytes a vertex and 13 a face after a header of known lines; the same read back."""
    write_ply(tmp_path / "m.ply", MESH, comment="metres")
    head, _, body = (tmp_path / "m.ply").read_bytes().partition(b"end_header\n")
    assert head.decode().split("\n")[:4] == [
        *("ply", "format binary_little_endian 1.0", "comment metres", "element vertex 4"),
    ]
    assert "property list uchar int vertex_indices" in head.decode()
    assert len(body) == 4 * 15 + 2 * 13
    assert struct.unpack_from("<3f3B", body, 15) == (1, 0, 1, 0, 128, 0)
    assert struct.unpack_from("<B3i", body, 60 + 13) == (3, 1, 2, 3)
    mesh = read_ply(tmp_path / "m.ply")
    np.testing.assert_array_equal(mesh.vertices, MESH.vertices)
    np.testing.assert_array_equal(mesh.faces, MESH.faces)
    np.testing.assert_array_equal(mesh.colours, MESH.colours)


def test_points_are_a_ply_without_faces(tmp_path):
    """The same vertices, no element face."""
    write_ply(tmp_path / "p.ply", Points(MESH.vertices, MESH.colours))
    assert b"element face" not in (tmp_path / "p.ply").read_bytes()
    assert len(read_ply(tmp_path / "p.ply").faces) == 0


def test_glb_holds_the_mesh(tmp_path):
    """Positions with their bounds, unit normals, linear colours, indices; colours unlit."""
    write_glb(tmp_path / "m.glb", MESH)
    scene, (positions, normals, colours, indices) = parse_glb((tmp_path / "m.glb").read_bytes())
    np.testing.assert_array_equal(positions, MESH.vertices)
    np.testing.assert_array_equal(indices.reshape(-1, 3), MESH.faces)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, rtol=1e-6)
    assert scene["accessors"][0]["min"] == [0, 0, 1] and scene["accessors"][0]["max"] == [1, 2, 1.5]
    assert colours[3].tolist() == [65535] * 4 and colours[0].tolist() == [65535, 0, 0, 65535]
    assert scene["accessors"][2]["normalized"] and scene["asset"]["version"] == "2.0"
    assert scene["extensionsUsed"] == ["KHR_materials_unlit"]
    attributes = scene["meshes"][0]["primitives"][0]["attributes"]
    assert attributes == {"POSITION": 0, "NORMAL": 1, "COLOR_0": 2}


@pytest.mark.parametrize(
    ("up", "point"),
    [
        ("-y", [[0, -1, 0], [0, 0, 1]]),
        ("z", [[0, 0, 1], [1, 0, 0]]),
        ("y", [[0, 1, 0], [0, 0, -1]]),
    ],
)
def test_glb_stands_upright(tmp_path, up, point):
    """Up becomes y, and ahead -z, into the picture; the matrix is a rotation, column by column."""
    write_glb(tmp_path / "m.glb", MESH, up=up)
    scene, _ = parse_glb((tmp_path / "m.glb").read_bytes())
    R = np.array(scene["nodes"][0]["matrix"]).reshape(4, 4).T[:3, :3]
    assert (R @ np.array(point).T).T.tolist() == [[0, 1, 0], [0, 0, -1]]
    assert np.linalg.det(R) == pytest.approx(1.0)


def test_a_mesh_of_one_colour_is_lit(tmp_path):
    """Without light it would be a silhouette."""
    grey = Mesh(MESH.vertices, MESH.faces, np.full((4, 3), 176, np.uint8))
    write_glb(tmp_path / "g.glb", grey)
    assert "extensionsUsed" not in parse_glb((tmp_path / "g.glb").read_bytes())[0]


def test_colours_become_linear():
    """sRGB 0, 128, 255 are 0, 0.2158605, 1 of the light; the lowest values lie on a line."""
    found = linear_colours(np.array([[0, 128, 255], [10, 10, 10]], np.uint8))
    assert found[0].tolist() == [0, round(0.2158605 * 65535), 65535, 65535]
    assert found[1, 0] == round(10 / 255 / 12.92 * 65535)


def test_what_cannot_be_written_is_one_line(tmp_path):
    """No such folder, no faces; a text file that is no PLY of ours."""
    with pytest.raises(DataError, match="cannot be written"):
        write_ply(tmp_path / "no" / "m.ply", MESH)
    empty = Mesh(
        np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32), np.zeros((0, 3), np.uint8)
    )
    with pytest.raises(DataError, match="without faces"):
        write_glb(tmp_path / "m.glb", empty)
    (tmp_path / "t.ply").write_text("ply\nformat ascii 1.0\nend_header\n")
    with pytest.raises(DataError, match="a PLY file of depthkit"):
        read_ply(tmp_path / "t.ply")
    assert [path.name for path in tmp_path.iterdir()] == ["t.ply"]
