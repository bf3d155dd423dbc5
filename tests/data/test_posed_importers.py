# SPDX-License-Identifier: Apache-2.0
"""COLMAP, nerfstudio, Polycam and Record3D: their axes, directions, pixels and scale."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from depthkit.data.sequence import open_sequence
from depthkit.errors import DataError
from depthkit.rigid import exp_se3, inverse, matrix_to_quaternion
from tests.data.source_makers import (
    PINHOLE,
    H,
    W,
    listener,
    make_images,
    make_video,
    run,
    run_one,
    save,
)

POSES = np.stack([exp_se3([i, 2 * i, 0.5, 0.1, 0.2, 0.1 * i]) for i in range(4)])
OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
CORNER = "30 31 15.5 12.5"
"""The small camera's numbers counted from the corner of the picture."""


def colmap_rows(count: int = 4) -> list[tuple[int, list[float], int, str]]:
    rows = []
    for i in range(count):
        T = inverse(POSES[i])
        x, y, z, w = matrix_to_quaternion(T[:3, :3]).tolist()
        rows.append((i + 1, [w, x, y, z, *T[:3, 3].tolist()], 1, f"frame{i + 1}.png"))
    return rows


def make_colmap(root: Path, count: int = 4, model: str = "sparse/0") -> Path:
    make_images(root / "images", 4)
    (root / model).mkdir(parents=True, exist_ok=True)
    lines = ["# Image list with two lines of data per image:"]
    for number, pose, camera, name in colmap_rows(count):
        lines += [f"{number} {' '.join(map(repr, pose))} {camera} {name}", "1.5 2.5 -1 3.5 4.5 12"]
    (root / model / "images.txt").write_text("\n".join(lines) + "\n")
    (root / model / "cameras.txt").write_text(f"# Camera list\n1 PINHOLE {W} {H} {CORNER}\n")
    return root


@pytest.mark.parametrize("model", ["sparse/0", "sparse", "."])
def test_colmap_text(tmp_path, model):
    """World to camera is inverted, pixels move by half, the sequence is up to scale."""
    notes, watcher = listener()
    source = make_colmap(tmp_path / "yard", model=model)
    (result,) = run(source, tmp_path / "out", watcher, camera=None)
    sequence = open_sequence(result.path)
    assert (result.name, result.format, result.poses) == ("yard", "colmap", 4)
    np.testing.assert_allclose(sequence.poses, POSES, atol=1e-6)
    assert sequence.camera == PINHOLE.camera
    assert sequence.depth_kind == "up_to_scale"
    assert any("up to scale, not metres" in note for note in notes)


def test_colmap_points_may_be_missing(tmp_path):
    """An image without points has an empty line; a name may hold spaces."""
    root = make_colmap(tmp_path / "yard")
    (root / "images" / "frame4.png").rename(root / "images" / "frame 4.png")
    path = root / "sparse" / "0" / "images.txt"
    path.write_text(
        path.read_text().replace("1.5 2.5 -1 3.5 4.5 12", "").replace("frame4", "frame 4")
    )
    (result,) = run(root, tmp_path / "out", camera=None)
    assert (result.frames, result.poses) == (4, 4)


def test_colmap_unregistered_picture_stays_without_pose(tmp_path):
    """Three of four pictures were registered: the last has no pose, and it is said."""
    notes, watcher = listener()
    (result,) = run(make_colmap(tmp_path / "yard", 3), tmp_path / "out", watcher, camera=None)
    assert (result.frames, result.poses) == (4, 3)
    assert any("1 of 4 frames have no pose in images.txt" in note for note in notes)


def test_colmap_models_that_do_not_connect_are_named(tmp_path):
    """sparse/1 beside sparse/0 is another part of the pictures, not read; it is named."""
    root = make_colmap(make_colmap(tmp_path / "yard", model="sparse/1"))
    notes, watcher = listener()
    run(root, tmp_path / "out", watcher, camera=None)
    assert any("model 0 taken, not 1" in note for note in notes)


def test_colmap_binary_equals_text(tmp_path):
    """images.bin and cameras.bin hold the same."""
    root = make_colmap(tmp_path / "yard")
    folder = root / "sparse" / "0"
    data = struct.pack("<Q", 4)
    for number, pose, camera, name in colmap_rows():
        data += struct.pack("<I7dI", number, *pose, camera) + name.encode() + b"\0"
        data += struct.pack("<Q", 1) + struct.pack("<ddq", 1.5, 2.5, -1)
    (folder / "images.bin").write_bytes(data)
    numbers = [float(v) for v in CORNER.split()]
    cameras = struct.pack("<QIiQQ4d", 1, 1, 1, W, H, *numbers)
    (folder / "cameras.bin").write_bytes(cameras)
    for name in ("images.txt", "cameras.txt"):
        (folder / name).unlink()
    sequence = run_one(root, tmp_path / "out", camera=None)
    np.testing.assert_allclose(sequence.poses, POSES, atol=1e-6)
    assert sequence.camera == PINHOLE.camera
    (folder / "images.bin").write_bytes(data[:100])
    with pytest.raises(DataError, match=r"no images\.bin of COLMAP, or cut short"):
        run(root, tmp_path / "again", camera=None)


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("images.txt", "", "holds no pictures"),
        ("images.txt", "1 2 3\n", "expected 'id qw qx qy qz tx ty tz camera name', got '1 2 3'"),
        ("images.txt", "1 0 0 0 0 1 2 3 1 frame1.png\n\n", "quaternion of length 0"),
        ("images.txt", "1 a 0 0 0 1 2 3 1 frame1.png\n\n", "expected 'id qw"),
        ("cameras.txt", "1 FOV 32 24 30 31 15 12 0.9\n", "camera model FOV is not supported"),
        ("cameras.txt", "1 PINHOLE 32 24 30\n", "PINHOLE takes 4 parameters, got 1"),
        ("cameras.txt", "7 PINHOLE 32 24 30 31 15 12\n", "no camera 1, which images name"),
        ("cameras.txt", "1 PINHOLE a b 30 31 15 12\n", "width must be a number, got"),
    ],
)
def test_broken_colmap_is_one_line(tmp_path, file, text, words):
    """Empty, short, text in numbers, models of no pinhole."""
    root = make_colmap(tmp_path / "yard")
    (root / "sparse" / "0" / file).write_text(text)
    with pytest.raises(DataError, match=words) as caught:
        run(root, tmp_path / "out", camera=None)
    assert "\n" not in str(caught.value)


# --- nerfstudio ----------------------------------------------------------------------------------


def make_nerfstudio(root: Path, **changes: object) -> Path:
    make_images(root / "images", 4)
    frames = [
        {"file_path": f"images/frame{i + 1}.png", "transform_matrix": (POSES[i] @ OPENGL).tolist()}
        for i in (2, 0, 1)
    ]
    fx, fy, cx, cy = (float(v) for v in CORNER.split())
    record = {"fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy, "w": W, "h": H, "frames": frames}
    (root / "transforms.json").write_text(json.dumps({**record, **changes}))
    return root


def test_nerfstudio_axes_are_turned(tmp_path):
    """OpenGL's y up, z back becomes y down, z forward; pictures come in the order of names."""
    notes, watcher = listener()
    (result,) = run(make_nerfstudio(tmp_path / "yard"), tmp_path / "out", watcher, camera=None)
    sequence = open_sequence(result.path)
    np.testing.assert_allclose(sequence.poses, POSES[:3], atol=1e-6)
    assert sequence.camera == PINHOLE.camera
    assert sequence.depth_kind == "up_to_scale"
    assert any("camera axes taken as OpenGL's" in note for note in notes)


def test_nerfstudio_angle_and_distortion(tmp_path):
    """instant-ngp may give camera_angle_x: 90 degrees are half the width."""
    root = make_nerfstudio(tmp_path / "yard")
    record = json.loads((root / "transforms.json").read_text())
    for key in ("fl_x", "fl_y", "cx", "cy", "w", "h"):
        del record[key]
    record["camera_angle_x"] = np.pi / 2
    (root / "transforms.json").write_text(json.dumps(record))
    camera = run_one(root, tmp_path / "out", camera=None).camera
    np.testing.assert_allclose([camera.fx, camera.fy, camera.cx], [16, 16, 15.5])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"w": 64}, "the calibration is for 64x24, the frames are 32x24"),
        ({"fl_x": None}, "missing fl_x"),
        ({"frames": [{"transform_matrix": 1, "file_path": "a"}]}, "a: expected a 4x4 transform"),
        ({"frames": [{"transform_matrix": [[1, 2], [3]], "file_path": "a"}]}, "a: expected a 4x4"),
    ],
)
def test_broken_transforms_are_one_line(tmp_path, changes, words):
    """Another size, no focal length, no matrix."""
    with pytest.raises(DataError, match=words) as caught:
        run(make_nerfstudio(tmp_path / "yard", **changes), tmp_path / "out", camera=None)
    assert "\n" not in str(caught.value)


# --- phones --------------------------------------------------------------------------------------


def test_polycam(tmp_path):
    """Metres, OpenGL axes, names in microseconds, depth in millimetres at half the size."""
    folder = tmp_path / "room" / "keyframes"
    (folder / "cameras").mkdir(parents=True)
    for i in range(3):
        stem = f"{3600_000_000 + 500_000 * i}"
        make_images(tmp_path / "in", 3)
        save(folder / "images" / f"{stem}.jpg", np.full((H, W, 3), 40 * i, np.uint8))
        save(folder / "depth" / f"{stem}.png", np.full((H // 2, W // 2), 1501, np.uint16))
        T = POSES[i] @ OPENGL
        record = {f"t_{r}{c}": T[r, c] for r in range(3) for c in range(4)}
        record |= {"fx": 30.0, "fy": 31.0, "cx": 15.0, "cy": 12.0, "width": W, "height": H}
        (folder / "cameras" / f"{stem}.json").write_text(json.dumps(record))
    (result,) = run(tmp_path / "room", tmp_path / "out", camera=None)
    sequence = open_sequence(result.path)
    assert (result.format, result.poses, result.depth) == ("polycam", 3, 3)
    assert (sequence.depth_kind, sequence.camera) == ("metric", PINHOLE.camera)
    np.testing.assert_allclose(sequence.poses, POSES[:3], atol=1e-6)
    np.testing.assert_allclose(sequence.read_depth(0)[H // 2, W // 2], 1.501, atol=1e-6)
    np.testing.assert_allclose(np.diff(sequence.times), 0.5, atol=1e-6)


def make_record3d(root: Path, **changes: object) -> Path:
    q = matrix_to_quaternion((POSES @ OPENGL)[:, :3, :3])
    rows = np.concatenate([q, POSES[:, :3, 3]], axis=1).tolist()
    for i in range(4):
        save(root / "rgbd" / f"{i}.jpg", np.full((H, W, 3), 40 * i, np.uint8))
        (root / "rgbd" / f"{i}.depth").write_bytes(b"bvx2")
    record = {"K": [30, 0, 0, 0, 31, 0, 15, 12, 1], "w": W, "h": H, "fps": 20, "poses": rows}
    (root / "metadata").write_text(json.dumps({**record, **changes}))
    return root


def test_record3d(tmp_path):
    """K by columns, quaternion first, frame rate of the metadata; packed depth is named."""
    notes, watcher = listener()
    (result,) = run(make_record3d(tmp_path / "room"), tmp_path / "out", watcher, camera=None)
    sequence = open_sequence(result.path)
    assert (result.format, result.poses, sequence.camera) == ("record3d", 4, PINHOLE.camera)
    np.testing.assert_allclose(sequence.poses, POSES, atol=1e-6)
    np.testing.assert_allclose(np.diff(sequence.times), 0.05, atol=1e-9)
    assert any("4 .depth files are packed with LZFSE" in note for note in notes)


def test_record3d_width_for_height(tmp_path):
    """w and h are swapped in the metadata, K fits the pictures as they are: said."""
    notes, watcher = listener()
    root = make_record3d(tmp_path / "room", w=H, h=W)
    (result,) = run(root, tmp_path / "out", watcher, camera=None)
    assert open_sequence(result.path).camera == PINHOLE.camera
    assert any("width and height taken as swapped there" in note for note in notes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"w": 64, "h": 48}, "its intrinsics are for 64x48, the pictures are 32x24"),
        ({"K": [1, 2]}, "expected K of 9 numbers"),
        ({"poses": [[1, 2, 3]]}, "expected poses as rows of qx qy qz qw x y z"),
        ({"poses": [["a"] * 7]}, "poses hold what is no number"),
    ],
)
def test_broken_record3d_is_one_line(tmp_path, changes, words):
    """Another size, a short K, short and wordy poses."""
    with pytest.raises(DataError, match=words) as caught:
        run(make_record3d(tmp_path / "room", **changes), tmp_path / "out", camera=None)
    assert "\n" not in str(caught.value)


def make_stray(root: Path, rows: int = 10) -> Path:
    root.mkdir()
    make_video(root / "rgb.mp4", 10)
    (root / "camera_matrix.csv").write_text("50, 0, 31.5\n0, 50, 23.5\n0, 0, 1\n")
    q = matrix_to_quaternion(POSES[1][:3, :3])
    lines = ["timestamp, frame, x, y, z, qx, qy, qz, qw"]
    for i in range(rows):
        save(root / "depth" / f"{i:06d}.png", np.full((24, 32), 1000 + i, np.uint16))
        lines.append(", ".join([f"{5000.5 + i / 60:.6f}", f"{i:06d}", f"{i}, 0, 0", *map(str, q)]))
    (root / "odometry.csv").write_text("\n".join(lines))
    return root


def test_stray_scanner(tmp_path):
    """Times and poses of odometry.csv, depth by the number of the video frame, enlarged twice."""
    (result,) = run(make_stray(tmp_path / "room"), tmp_path / "out", camera=None)
    sequence = open_sequence(result.path)
    assert (result.format, result.frames, result.poses, result.depth) == ("stray", 10, 10, 10)
    np.testing.assert_allclose(sequence.times[[0, 9]], [5000.5, 5000.65], atol=1e-6)
    np.testing.assert_allclose(sequence.poses[7, :3, 3], [7, 0, 0], atol=1e-6)
    np.testing.assert_allclose(sequence.poses[7, :3, :3], POSES[1][:3, :3], atol=1e-6)
    np.testing.assert_allclose(sequence.read_depth(7)[24, 32], 1.007, atol=1e-6)
    assert sequence.camera.size == (48, 64) and sequence.camera.fx == 50


def test_stray_scanner_cut_short(tmp_path):
    """Eight rows for ten frames: the last two frames are left out, and it is said."""
    notes, watcher = listener()
    (result,) = run(make_stray(tmp_path / "room", 8), tmp_path / "out", watcher, camera=None)
    assert result.frames == 8
    assert any("8 rows of odometry.csv for 10 video frames" in note for note in notes)
