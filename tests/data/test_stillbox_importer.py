# SPDX-License-Identifier: Apache-2.0
"""The original Still Box layout: poses from speed and orientation, K from fov, metres from .npy."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from source_makers import H, W, picture, run, run_one, save

from depthkit.data.importers import find_sequences
from depthkit.data.sequence import open_sequence
from depthkit.errors import DataError

FRAMES = 4
SPEED = (0.5, -0.25, 1.0)
HALF = math.sqrt(0.5)


def make_stillbox(root: Path, orientation: list[list[float]] | None = None) -> Path:
    """Folder 7 with two scenes; frame i of a scene is at a plane (10 - 0.1 i) m away."""
    scenes = []
    for k in range(2):
        names = [f"{k:04d}_{i:02d}" for i in range(FRAMES)]
        for i, name in enumerate(names):
            save(root / "7" / f"RGB_{name}.png", picture(10 * k + i))
            depth = np.full((H, W), 10 - 0.1 * i, np.float32)
            depth[0, :3] = (0.0, 150.0, 1e4)
            np.save(root / "7" / f"depth_{name}.npy", depth)
        scene = {
            "imgs": [f"RGB_{name}.png" for name in names],
            "depth": [f"depth_{name}.npy" for name in names],
            "speed": list(SPEED),
            "time_step": 0.1,
            "orientation": orientation or [],
        }
        scenes.append(scene)
    write(root, {"args": {"fov": 90, "resolution": [W, H]}, "scenes": scenes})
    return root


def write(root: Path, record: object) -> None:
    """Replace the metadata of folder 7."""
    (root / "7" / "metadata.json").write_text(json.dumps(record))


def read(root: Path) -> dict:
    """Return the metadata of folder 7."""
    return json.loads((root / "7" / "metadata.json").read_text())


def test_each_scene_is_a_sequence(tmp_path):
    """f = W / 2 at 90 degrees, centre between the middle pixels, i * 0.1 s, i * 0.1 s * speed."""
    results = run(make_stillbox(tmp_path / "in"), tmp_path / "out", camera=None)
    assert [r.name for r in results] == ["7_0000", "7_0001"]
    sequence = open_sequence(results[1].path)
    camera = sequence.camera
    assert (camera.fx, camera.fy) == pytest.approx((W / 2, W / 2))
    assert (camera.cx, camera.cy) == ((W - 1) / 2, (H - 1) / 2)
    np.testing.assert_allclose(sequence.times, [0.0, 0.1, 0.2, 0.3], atol=1e-9)
    np.testing.assert_allclose(sequence.poses[3][:3, 3], 0.3 * np.array(SPEED), atol=1e-6)
    np.testing.assert_allclose(sequence.poses[:, :3, :3], np.tile(np.eye(3), (4, 1, 1)), atol=1e-9)
    np.testing.assert_array_equal(sequence.read_frame(2), picture(12))


def test_depth_is_metric_and_what_does_not_fit_is_unknown(tmp_path):
    """100 m and more fit into 16 bit at 1/300 m; 10 km do not."""
    root = make_stillbox(tmp_path / "in")
    sequence = run_one(root, tmp_path / "out", camera=None, sequence="7_0000", name="flight")
    depth = sequence.read_depth(3)
    assert sequence.depth_kind == "metric"
    assert depth[5, 5] == pytest.approx(9.7, abs=0.5 / 300)
    np.testing.assert_allclose(depth[0, :3], [0.0, 150.0, 0.0], atol=0.5 / 300)


def test_orientation_is_wxyz_from_camera_to_world(tmp_path):
    """A quarter turn about y (down) looks along x: the optical axis z comes to lie on world x."""
    turns = [[1, 0, 0, 0]] * (FRAMES - 1) + [[2 * HALF, 0, 2 * HALF, 0]]
    root = make_stillbox(tmp_path / "in", turns)
    sequence = run_one(root, tmp_path / "out", camera=None, sequence="7_0000")
    np.testing.assert_allclose(sequence.poses[3][:3, 2], [1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(sequence.poses[3][:3, 3], 0.3 * np.array(SPEED), atol=1e-6)


def test_it_is_found_from_the_root_or_a_folder_of_it(tmp_path):
    """Folders come in the order of their numbers; another program's metadata.json is not ours."""
    root = make_stillbox(tmp_path / "in")
    (root / "7").rename(root / "10")
    make_stillbox(root)
    names = ["7_0000", "7_0001", "10_0000", "10_0001"]
    assert list(find_sequences(root)[1]) == names
    assert list(find_sequences(root / "10")[1]) == names[2:]
    write(root, {"created": "2020"})
    assert find_sequences(root / "7")[0] == "images"


def test_rate_and_camera_of_the_user_overrule_the_file(tmp_path):
    """--fps sets times alone: the way between frames stays speed * time_step."""
    root = make_stillbox(tmp_path / "in")
    sequence = run_one(root, tmp_path / "out", sequence="7_0001", fps=2.0)
    assert sequence.camera.fx == 30.0
    np.testing.assert_allclose(sequence.times, [0.0, 0.5, 1.0, 1.5], atol=1e-9)
    np.testing.assert_allclose(sequence.poses[1][:3, 3], 0.1 * np.array(SPEED), atol=1e-6)


def drop(key):
    """Return an edit of a scene that removes a key."""
    return lambda scene: scene.pop(key)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (drop("speed"), "metadata.json: scene 0: key 'speed' is missing; it holds imgs"),
        (drop("depth"), "key 'depth' is missing"),
        (lambda s: s["depth"].pop(), "4 imgs but 3 depth"),
        (lambda s: s.update(imgs=[]), "imgs must be a list of file names"),
        (lambda s: s.update(speed=[1.0, 2.0]), r"speed must be 3 numbers, got '\[1.0, 2.0\]'"),
        (lambda s: s.update(speed=[1.0, None, 2.0]), "speed must be 3 numbers"),
        (lambda s: s.update(time_step=0), "time_step must be > 0 s, got 0"),
        (lambda s: s.update(orientation=[[1, 0, 0, 0]]), "orientation must be 4 x 4 numbers"),
        (lambda s: s.update(orientation=[[0] * 4] * 4), "quaternion of length 0"),
    ],
)
def test_broken_scene_is_one_line(tmp_path, edit, words):
    """File, scene, key, and what was found."""
    root = make_stillbox(tmp_path / "in")
    record = read(root)
    edit(record["scenes"][0])
    write(root, record)
    with pytest.raises(DataError, match=words) as caught:
        run(root, tmp_path / "out", camera=None)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_broken_camera_and_broken_json_are_one_line(tmp_path):
    """A fov of no lens, a missing resolution, a file cut short."""
    root = make_stillbox(tmp_path / "in")
    record = read(root)
    for args, words in (
        ({"fov": 180, "resolution": [W, H]}, "args: fov 180 degrees of 32x24 is no camera"),
        ({"fov": 90}, "args: key 'resolution' is missing; it holds fov"),
    ):
        write(root, record | {"args": args})
        with pytest.raises(DataError, match=words):
            run(root, tmp_path / "out", camera=None)
    (root / "7" / "metadata.json").write_text('{"args": {')
    with pytest.raises(DataError, match="7/metadata.json: cannot read: Expecting"):
        run(root, tmp_path / "out", camera=None)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda p: p.unlink(), r"depth_0000_02.npy: cannot read depth: .*No such file"),
        (lambda p: p.write_bytes(b""), "depth_0000_02.npy: cannot read depth"),
        (lambda p: np.save(p, np.zeros(3)), r"expected depth \(H, W\) in metres, got float64"),
        (lambda p: np.save(p, np.zeros((9, 9))), "depth is 9x9 but the calibration is for 32x24"),
    ],
)
def test_broken_depth_is_one_line(tmp_path, damage, words):
    """Missing, empty, of another shape, of another size."""
    root = make_stillbox(tmp_path / "in")
    damage(root / "7" / "depth_0000_02.npy")
    with pytest.raises(DataError, match=words) as caught:
        run(root, tmp_path / "out", camera=None)
    assert "\n" not in str(caught.value)
