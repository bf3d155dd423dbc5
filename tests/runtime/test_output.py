# SPDX-License-Identifier: Apache-2.0
"""Outputs of inference: what is written must read back as what was meant."""

import subprocess
import sys

import cv2
import numpy as np
import pytest
import yaml

from depthkit.errors import DataError, EngineError
from depthkit.outputs.clouds import back_project, save_cloud
from depthkit.outputs.depth_folder import DepthFolder, choose_depth_scale
from depthkit.outputs.pictures import InverseDepthColours, save_picture
from depthkit.outputs.video import SideBySideVideo

K = np.array([[100.0, 0, 3], [0, 50.0, 2], [0, 0, 1]])


def read_depth(folder):
    """Read a depth folder back as its depth.yaml says. {stem: (H, W)}"""
    scale = yaml.safe_load((folder / "depth.yaml").read_text())["depth_scale"]
    raw = {p.stem: cv2.imread(str(p), cv2.IMREAD_UNCHANGED) for p in folder.glob("*.png")}
    assert all(image.dtype == np.uint16 for image in raw.values())
    return {name: image / scale for name, image in raw.items()}


@pytest.mark.parametrize(
    ("largest", "expected"),
    [(10.0, 1000.0), (80.0, 200.0), (1.0, 10000.0), (0.004, 2e6), (65534 / 4, 1.0), (1e6, 0.01)],
)
def test_depth_scale_is_the_largest_round_one_with_headroom(largest, expected):
    """65534 / (4 * largest), rounded down to 1, 2 or 5 times a power of ten."""
    assert choose_depth_scale(largest) == pytest.approx(expected)


def test_depth_reads_back_within_half_a_step(tmp_path):
    """PNG value / depth_scale is the depth; NaN, infinity, 0 and negative depth are unknown."""
    depth = np.array([[1.0, 2.345, 9.9], [np.nan, np.inf, 0.0], [-1.0, 1e-9, 5.0]], np.float32)
    folder = DepthFolder(tmp_path / "d", scale="metric", scale_source="known baselines")
    folder.add("000007", depth)
    folder.close()
    back = read_depth(tmp_path / "d")["000007"]
    known = np.isfinite(depth) & (depth > 0)
    assert np.abs(back - depth)[known].max() <= 1e-3  # the step is 1 mm; 1e-9 m is raised to it
    assert np.all(back[~known] == 0) and np.all(back[known] > 0)


def test_depth_yaml_states_scale_and_its_source(tmp_path):
    """Whoever reads the folder learns whether it holds metres and how that is known."""
    folder = DepthFolder(tmp_path / "d", scale="relative", scale_source="none")
    folder.add("a", np.ones((2, 2)))
    folder.close()
    record = yaml.safe_load((tmp_path / "d" / "depth.yaml").read_text())
    assert record["scale"] == "relative" and record["scale_source"] == "none"
    assert "metres" not in record["unit"]


def test_depth_of_all_frames_shares_one_scale(tmp_path):
    """A later frame beyond the range lowers the scale of the whole folder, nothing is cut off."""
    folder = DepthFolder(tmp_path / "d", scale="metric", scale_source="x")
    near = np.array([[0.5, 1.0, np.nan]])
    folder.add("near", near)
    first_scale = folder.depth_scale
    folder.add("far", near * 500)
    folder.close()
    back = read_depth(tmp_path / "d")
    step = 1 / folder.depth_scale
    assert folder.depth_scale < first_scale
    assert np.allclose(back["near"][:, :2], near[:, :2], atol=step)
    assert np.allclose(back["far"][:, :2], 500 * near[:, :2], atol=step)
    assert back["near"][0, 2] == 0


def room(*far):
    """Depths of 1 to 3 m, the last pixels replaced."""
    depth = np.linspace(1, 3, 1000).astype(np.float32).reshape(20, 50)
    depth.reshape(-1)[len(depth.reshape(-1)) - len(far) :] = far
    return depth


@pytest.mark.parametrize("first", [True, False])
def test_one_far_outlier_changes_no_scale(tmp_path, first):
    """In the first frame or in a later one: it is unknown and counted; the rest stays as fine."""
    plain = DepthFolder(tmp_path / "plain", scale="metric", scale_source="x")
    plain.add("a", room())
    folder = DepthFolder(tmp_path / "d", scale="metric", scale_source="x")
    folder.add("a", room(1e6) if first else room())
    before = (folder.paths[0].read_bytes(), folder.paths[0].stat().st_mtime_ns)
    folder.add("b", room() if first else room(5e4, 1e6))
    folder.close()
    assert folder.depth_scale == plain.depth_scale == 5000
    assert before == (folder.paths[0].read_bytes(), folder.paths[0].stat().st_mtime_ns)
    far = "a" if first else "b"
    back = read_depth(tmp_path / "d")
    assert back[far][-1, -1] == 0
    assert np.abs(back["a"] - room())[:, :-2].max() <= 0.5001 / 5000
    record = yaml.safe_load((tmp_path / "d" / "depth.yaml").read_text())
    assert (
        record["beyond"] == f"{1 if first else 2} pixels deeper than 13.1068 are stored as unknown"
    )


def test_what_many_pixels_show_is_no_outlier(tmp_path):
    """One in a hundred at 50 m: the folder is written with a smaller scale, nothing is lost."""
    folder = DepthFolder(tmp_path / "d", scale="metric", scale_source="x")
    folder.add("a", room())
    folder.add("b", room(*[50.0] * 10))
    folder.close()
    back = read_depth(tmp_path / "d")
    assert folder.depth_scale == 200 and folder.beyond == 0
    assert (back["b"].reshape(-1)[-10:] == 50).all()
    assert "beyond" not in yaml.safe_load((tmp_path / "d" / "depth.yaml").read_text())


def test_the_largest_number_is_never_written(tmp_path):
    """65535 means unknown to readers: a depth that would become it is stored as unknown."""
    folder = DepthFolder(tmp_path / "d", scale="metric", scale_source="x")
    folder.add("a", room())
    folder.add("b", room(65535 / 5000, 65534 / 5000))
    back = cv2.imread(str(tmp_path / "d" / "b.png"), cv2.IMREAD_UNCHANGED)
    assert back[-1, -2:].tolist() == [0, 65534]


def test_colours_are_bright_near_and_black_where_unknown():
    """Magma of inverse depth: brightness falls with depth; unknown pixels are black."""
    depth = np.linspace(1, 10, 100).reshape(10, 10)
    depth[0, 0] = np.nan
    rgb = InverseDepthColours().paint(depth)
    brightness = rgb.astype(int).sum(axis=-1).ravel()
    assert brightness[0] == 0
    assert np.all(np.diff(brightness[1:]) <= 0) and brightness[1] > 600 > 30 > brightness[-1]


def test_colours_do_not_flicker():
    """One frame of other depths moves the colours of the next only a little."""
    paint = InverseDepthColours()
    steady = np.linspace(1, 10, 100).reshape(10, 10)
    before = paint.paint(steady).astype(int)
    paint.paint(steady / 2)
    after = paint.paint(steady).astype(int)
    assert 0 < np.abs(after - before).mean() < 15
    assert np.abs(InverseDepthColours().paint(steady / 2).astype(int) - before).max() <= 1


def test_colours_of_flat_or_empty_depth_are_defined():
    """A constant depth and a frame without any depth are painted without a warning."""
    paint = InverseDepthColours()
    assert not paint.paint(np.zeros((4, 4))).any()
    assert paint.paint(np.full((4, 4), 3.0)).shape == (4, 4, 3)


def test_picture_keeps_its_colours(tmp_path):
    """RGB goes to disk as RGB: red stays red."""
    red = np.zeros((4, 5, 3), np.uint8)
    red[..., 0] = 200
    save_picture(tmp_path / "red.png", red)
    assert np.array_equal(cv2.imread(str(tmp_path / "red.png"))[0, 0], [0, 0, 200])
    assert [p.name for p in tmp_path.iterdir()] == ["red.png"]


def test_back_projection_by_hand():
    """M = Z K^-1 m: pixel (13, 7) at depth 2 is ((13 - 3) / 100, (7 - 2) / 50, 1) * 2."""
    points = back_project(np.full((8, 14), 2.0), K)
    assert np.allclose(points[7, 13], [0.2, 0.2, 2.0], atol=1e-12)
    assert np.allclose(points[2, 3], [0, 0, 2.0], atol=1e-12)


def test_cloud_file_holds_the_known_points(tmp_path):
    """The PLY lists x y z red green blue of each known pixel, 15 bytes a point."""
    depth = np.array([[1.0, np.nan, 3.0], [0.0, 5.0, -2.0]])
    rgb = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    assert save_cloud(tmp_path / "c.ply", depth, rgb, K=K) == 3
    header, body = (tmp_path / "c.ply").read_bytes().split(b"end_header\n")
    assert b"format binary_little_endian 1.0" in header and b"element vertex 3\n" in header
    assert len(body) == 3 * 15
    values = np.frombuffer(body, dtype=[("xyz", "<f4", 3), ("rgb", "u1", 3)])
    assert np.allclose(values["xyz"], back_project(depth, K)[[0, 0, 1], [0, 2, 1]], rtol=1e-6)
    assert np.array_equal(values["rgb"], rgb[[0, 0, 1], [0, 2, 1]])


def test_video_holds_all_frames_side_by_side(tmp_path):
    """Frame left, depth right, every frame there, and the temporary name gone."""
    video = SideBySideVideo(tmp_path / "v.mp4", fps=10)
    left, right = np.full((48, 64, 3), 200, np.uint8), np.zeros((48, 64, 3), np.uint8)
    for _ in range(5):
        video.add(left, right, "x")
    video.close()
    capture = cv2.VideoCapture(str(tmp_path / "v.mp4"))
    frame = capture.read()[1]
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 5 and frame.shape == (48, 128, 3)
    assert frame[:, :56].mean() > 180 and frame[:, 72:].mean() < 20
    assert [p.name for p in tmp_path.iterdir()] == ["v.mp4"]


def test_video_refuses_a_frame_of_another_size(tmp_path):
    """A video has one size: the odd frame is named, with both sizes."""
    video = SideBySideVideo(tmp_path / "v.mp4", fps=10)
    video.add(*[np.zeros((48, 64, 3), np.uint8)] * 2, "a.png")
    with pytest.raises(DataError, match="b.png: is 32x24, the video began with 64x48"):
        video.add(*[np.zeros((24, 32, 3), np.uint8)] * 2, "b.png")


def test_video_that_cannot_be_written_is_an_error(tmp_path):
    """A writer that does not open is not ignored."""
    video = SideBySideVideo(tmp_path / "missing" / "v.mp4", fps=10)
    with pytest.raises(EngineError, match="cannot write mp4"):
        video.add(*[np.zeros((48, 64, 3), np.uint8)] * 2, "a.png")


def test_a_folder_that_exists_or_cannot_be_made_is_an_error(tmp_path):
    """Nothing is overwritten, and the reason is one line."""
    with pytest.raises(DataError, match="cannot make folder"):
        DepthFolder(tmp_path, scale="metric", scale_source="x")
    with pytest.raises(DataError, match="cannot write"):
        save_picture(tmp_path / "no" / "x.png", np.zeros((2, 2, 3), np.uint8))


def test_runtime_loads_no_torch():
    """The robot has no torch: importing the writers must not ask for it."""
    code = "import sys, depthkit.outputs.video, depthkit.outputs.pictures; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "torchvision", "matplotlib", "rerun"} & set(done.stdout.split())
