# SPDX-License-Identifier: Apache-2.0
"""A surface in a page: thinned, drawn from above, and packed so that a script can unpack it."""

import base64
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from depthkit.evaluation.scene_mesh import SceneMesh, draw_from_above, sampled, thinned
from depthkit.evaluation.scene_view import _SCRIPT, STEPS, ScenePath, scene_data, scene_view

K = np.array([[100.0, 0, 49.5], [0, 100, 39.5], [0, 0, 1]])


def grid(cells: int, *, facing_up: bool = True) -> SceneMesh:
    """A level square of 4 x 4 at y = 1, red on the left half, blue on the right."""
    steps = np.linspace(-2, 2, cells + 1)
    x, z = np.meshgrid(steps, steps, indexing="ij")
    vertices = np.stack([x, np.ones_like(x), z], axis=-1).reshape(-1, 3).astype(np.float32)
    number = np.arange((cells + 1) ** 2).reshape(cells + 1, cells + 1)
    a, b, c, d = number[:-1, :-1], number[1:, :-1], number[1:, 1:], number[:-1, 1:]
    faces = np.concatenate([np.stack(t, -1).reshape(-1, 3) for t in ((a, b, c), (a, c, d))])
    normal_y = np.cross(*(vertices[faces[0, 1:]] - vertices[faces[0, 0]]))[1]
    if (normal_y > 0) == facing_up:  # y points down
        faces = faces[:, ::-1]
    colours = np.where(vertices[:, :1] < 0, [[200, 0, 0]], [[0, 0, 200]]).astype(np.uint8)
    return SceneMesh(vertices, np.ascontiguousarray(faces, np.int32), colours, 4 / cells)


def straight(count: int = 5) -> ScenePath:
    """A camera that goes ahead by 1 a frame."""
    T = np.tile(np.eye(4), (count, 1, 1))
    T[:, 2, 3] = np.arange(count)
    begins = np.zeros(count, bool)
    begins[0] = True
    return ScenePath(T, begins, K, (80, 100))


def test_thinning_keeps_place_and_sense():
    """A plane stays that plane with few enough vertices, its triangles face as before."""
    mesh = thinned(grid(60), 500)
    assert len(mesh.vertices) <= 500 and len(mesh.faces) > 300
    assert np.allclose(mesh.vertices[:, 1], 1) and mesh.cell > 4 / 60
    corners = mesh.vertices[mesh.faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (across[:, 1] <= 0).all()  # all face up: y points down
    area = 0.5 * np.linalg.norm(across, axis=1).sum()
    assert 12 < area <= 16.01  # the rim moves in by half a cell
    small = grid(4)
    assert thinned(small, 500) is small


def test_from_above_left_is_left_and_ahead_is_up():
    """Red lies left, blue right; the path begins green below and ends orange above."""
    path = np.array([[0.0, 0, -1.5], [0, 0, 1.5]])
    top = draw_from_above(grid(20), path, width=200)
    picture = top.picture.astype(int)
    height, width = picture.shape[:2]
    assert picture[height // 2, width // 4, 0] > picture[height // 2, width // 4, 2] + 100
    assert picture[height // 2, 3 * width // 4, 2] > picture[height // 2, 3 * width // 4, 0] + 100
    greens = np.argwhere((picture == (0, 158, 115)).all(axis=2))
    oranges = np.argwhere((picture == (213, 94, 0)).all(axis=2))
    assert greens[:, 0].mean() - oranges[:, 0].mean() == pytest.approx(3 * top.scale, abs=2)


def test_what_faces_down_is_not_seen_from_above():
    """A ceiling is left out, a floor is not; the higher of two floors hides the lower."""
    assert len(sampled(grid(2, facing_up=False), 0.1)[0]) == 0
    assert len(sampled(grid(2), 0.1)[0]) > 100
    low, high = grid(10), grid(10)
    faces = np.concatenate([low.faces, high.faces + len(low.vertices)])
    vertices = np.concatenate([low.vertices, high.vertices - np.float32([0, 0.5, 0])])
    colours = np.concatenate([low.colours, np.full_like(high.colours, 90)])
    path = np.array([[-1.9, 0, -1.9], [-1.8, 0, -1.9]])
    top = draw_from_above(SceneMesh(vertices, faces, colours, 0.4), path, width=120)
    assert (top.picture[30:60, 60:90] == 90).all()


def test_data_unpack_to_the_surface():
    """Whole numbers of 16 bits within the box give the vertices back, to half a step."""
    mesh, path = grid(6), straight()
    data = json.loads(json.dumps(scene_data(mesh, path)))
    steps = np.frombuffer(base64.b64decode(data["positions"]), "<u2").reshape(-1, 3)
    back = np.array(data["low"]) + np.array(data["span"]) * steps / STEPS
    assert np.allclose(back, mesh.vertices, atol=4 / STEPS)
    faces = np.frombuffer(base64.b64decode(data["faces"]), "<u4").reshape(-1, 3)
    assert np.array_equal(faces, mesh.faces) and data["triangles"] == len(faces)
    assert data["view"] == [0.5, 0.4] and data["yaw"] == pytest.approx(0)
    assert [row[0][2] for row in data["path"]] == [0, 1, 2, 3, 4]
    assert [row[4] for row in data["path"]] == [1, 0, 0, 0, 0]


def test_a_page_holds_its_script_and_asks_nobody():
    """View, data and script stand one after the other; nothing in them is loaded."""
    page = scene_view(grid(6), straight())
    parts = [
        page.index(word) for word in ("class='scene-view'", "application/json", '"use strict"')
    ]
    assert parts == sorted(parts)
    assert not re.search(r"https?://|import |fetch\(|XMLHttp", page)


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node to read the script")
def test_the_script_is_sound():
    """The browser's script parses."""
    done = subprocess.run(["node", "--check", str(_SCRIPT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
