# SPDX-License-Identifier: Apache-2.0
"""`depthkit infer` with a predictor that knows the truth: what goes in must come out."""

import json
import os
import shutil
import sys
import types
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from depthkit.cli import main
from depthkit.data.image_io import encode
from depthkit.data.sequence import open_sequence
from depthkit.rigid import inverse
from depthkit.synth.boxes import write_box_sequence
from depthkit.trajectory import load_kitti, load_tum

FRAMES, SIZE = 6, (24, 32)


class TruePredictor:
    """Answers with the exact depth and motion of the frames of one sequence."""

    size, shifts = SIZE, (-1, 1)

    def __init__(self, root: Path, scale: str = "metric") -> None:
        self.scale = scale
        sequence = open_sequence(root)
        colours = [sequence.read_frame(i) for i in range(len(sequence))]
        self.index = {rgb.tobytes(): i for i, rgb in enumerate(colours)}
        self.depths = [sequence.read_depth(i) for i in range(len(sequence))]
        self.poses = sequence.poses

    def depth(self, rgb):
        return self.depths[self.index.get(rgb.tobytes(), 0)]

    def require_motion(self):
        return self

    def relative_pose(self, rgb_a, rgb_b, K=None):
        a, b = (self.poses[self.index.get(rgb.tobytes(), 0)] for rgb in (rgb_a, rgb_b))
        return inverse(b) @ a


@pytest.fixture(scope="module")
def room(tmp_path_factory) -> Path:
    """A small synthetic sequence."""
    root = tmp_path_factory.mktemp("infer") / "room"
    write_box_sequence(root, FRAMES, SIZE, 0)
    return root


@pytest.fixture
def predictor(monkeypatch, room) -> TruePredictor:
    """Put the predictor that knows the truth in the place of a trained one."""
    known = TruePredictor(room)
    module = types.ModuleType("depthkit.training.predict")
    module.load_single_view = lambda folder, device="cpu": known
    monkeypatch.setitem(sys.modules, "depthkit.training.predict", module)
    return known


@pytest.fixture
def images(tmp_path, room) -> Path:
    """The frames as plain pictures 1.png, 2.png, ... 10.png and so on: natural order matters."""
    folder = tmp_path / "images"
    folder.mkdir()
    sequence = open_sequence(room)
    for i in range(40):
        (folder / f"{i + 1}.png").write_bytes(encode(sequence.read_frame(i % FRAMES), "png"))
    return folder


def infer(*words) -> int:
    return main(["infer", "model", *map(str, words)])


def read_depth(folder: Path, name: str) -> np.ndarray:
    scale = yaml.safe_load((folder / "depth" / "depth.yaml").read_text())["depth_scale"]
    return cv2.imread(str(folder / "depth" / f"{name}.png"), cv2.IMREAD_UNCHANGED) / scale


def test_sequence_gives_its_depth_and_trajectory(tmp_path, room, predictor, capsys):
    """Depth reads back as predicted; the poses are the chained motions, the first the identity."""
    out = tmp_path / "out"
    assert infer(room, "--out", out, "--trajectory", "tum", "--video", "--cloud", "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["frames"], summary["skipped"], summary["scale"]) == (FRAMES, [], "metric")
    step = 1 / summary["depth_scale"]
    for i in (0, 5):
        assert np.abs(read_depth(out, f"{i:06d}") - predictor.depths[i]).max() <= step
    trajectory = load_tum(out / "trajectory_tum.txt")
    assert np.allclose(trajectory.T_world_cam, inverse(predictor.poses[0]) @ predictor.poses)
    assert np.allclose(trajectory.stamps, open_sequence(room).times)
    assert summary["path_length"] == pytest.approx(5 * 0.3, rel=0.1)
    for name in ("colour/000003.jpg", "cloud/000003.ply", "video.mp4", "summary.json"):
        assert (out / name).stat().st_size > 100
    assert all((out / where).exists() for where in summary["files"].values())
    assert os.listdir(tmp_path) == ["out"]


def test_cloud_lies_in_the_camera_frame(tmp_path, room, predictor):
    """The cloud's z is the depth; x follows from K of the sequence."""
    assert infer(room, "--out", tmp_path / "out", "--cloud") == 0
    body = (tmp_path / "out/cloud/000000.ply").read_bytes().split(b"end_header\n")[1]
    points = np.frombuffer(body, dtype=[("xyz", "<f4", 3), ("rgb", "u1", 3)])["xyz"]
    depth, camera = predictor.depths[0], open_sequence(room).camera
    u = np.arange(SIZE[1])[None].repeat(SIZE[0], 0)
    assert np.allclose(points[:, 2], depth.ravel())
    assert np.allclose(points[:, 0], ((u - camera.cx) / camera.fx * depth).ravel(), atol=1e-5)


def test_images_are_taken_in_natural_order(tmp_path, images, predictor, capsys):
    """2.png comes before 10.png, and files keep the names of their frames."""
    out = tmp_path / "out"
    assert infer(images, "--out", out, "--trajectory", "kitti") == 0
    poses = load_kitti(out / "trajectory_kitti.txt").T_world_cam
    truth = predictor.poses[np.arange(40) % FRAMES]
    assert np.allclose(poses, inverse(truth[0]) @ truth, atol=1e-6)
    assert np.allclose(read_depth(out, "12"), predictor.depths[11 % FRAMES], atol=0.01)
    text = capsys.readouterr().out
    assert "40 frames" in text and "scale: metric" in text


def test_every_second_frame(tmp_path, images, predictor, capsys):
    """--every 2 takes half of the frames, keeps their indices, and warns of the wider motion."""
    out = tmp_path / "out"
    assert infer(images, "--out", out, "--every", 2, "--trajectory", "kitti") == 0
    rows = np.loadtxt(out / "trajectory_kitti.txt")
    assert rows.shape == (20, 13) and np.array_equal(rows[:, 0], np.arange(0, 40, 2))
    assert len(list((out / "depth").glob("*.png"))) == 20
    assert "--every 1 fits better" in capsys.readouterr().err


def test_one_bad_image_is_named_skipped_and_counted(tmp_path, images, predictor, capsys):
    """An unreadable image in the middle does not end the run, and its pose is missing."""
    (images / "20.png").write_bytes(b"no picture")
    out = tmp_path / "out"
    assert infer(images, "--out", out, "--trajectory", "kitti", "--json") == 0
    captured = capsys.readouterr()
    summary = json.loads(captured.out)
    assert summary["frames"] == 39 and "20.png" in summary["skipped"][0]
    assert "20.png" in captured.err
    assert 19 not in np.loadtxt(out / "trajectory_kitti.txt")[:, 0]


def test_too_many_bad_images_are_an_error(tmp_path, images, predictor, capsys):
    """More than 5 % unreadable frames: one line, exit 1, nothing left behind."""
    for name in ("3", "20", "39"):
        (images / f"{name}.png").write_bytes(b"no picture")
    assert infer(images, "--out", tmp_path / "out") == 1
    assert "3 of 40 frames unreadable (more than 5%)" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["images"]


def test_video_is_read_without_calibration(tmp_path, predictor):
    """A video file gives depth a frame, and stamps from its frame rate."""
    writer = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 5, (32, 24))
    for _ in range(4):
        writer.write(np.full((24, 32, 3), 90, np.uint8))
    writer.release()
    assert infer(tmp_path / "v.avi", "--out", tmp_path / "out", "--trajectory", "tum") == 0
    assert len(list((tmp_path / "out/depth").glob("00000?.png"))) == 4
    stamps = load_tum(tmp_path / "out/trajectory_tum.txt").stamps
    assert np.allclose(np.diff(stamps), 0.2, atol=1e-3)


def test_relative_scale_is_said_everywhere(tmp_path, room, predictor, capsys):
    """Relative depth never looks like metres: text, summary and depth.yaml say so."""
    predictor.scale = "relative"
    assert infer(room, "--out", tmp_path / "out") == 0
    assert "scale: relative" in capsys.readouterr().out
    assert "relative" in (tmp_path / "out/depth/depth.yaml").read_text()
    assert json.loads((tmp_path / "out/summary.json").read_text())["scale"] == "relative"


def test_existing_output_needs_force(tmp_path, room, predictor, capsys):
    """An output stays without --force; with it, only infer's own output is replaced."""
    out = tmp_path / "out"
    assert infer(room, "--out", out) == 0
    assert infer(room, "--out", out) == 1
    assert "use --force" in capsys.readouterr().err
    assert infer(room, "--out", out, "--every", 3, "--force") == 0
    assert len(list((out / "depth").glob("*.png"))) == 2
    (out / "summary.json").unlink()
    assert infer(room, "--out", out, "--force") == 1
    assert "holds something else" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "source not found"),
        (lambda folder: folder.mkdir(), "folder is empty"),
        (lambda folder: folder.write_bytes(b"x"), "no video sequence found"),
    ],
)
def test_source_without_frames_is_an_error(tmp_path, predictor, capsys, make, message):
    """Zero frames is an error in one line, not a success."""
    make(tmp_path / "in")
    assert infer(tmp_path / "in", "--out", tmp_path / "out") == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_cloud_of_images_needs_a_camera(tmp_path, images, room, predictor, capsys):
    """Without K there is no cloud; with the camera file of this size there is."""
    assert infer(images, "--out", tmp_path / "out", "--cloud") == 1
    assert "give --camera" in capsys.readouterr().err
    camera = ["--camera", room / "camera.yaml"]
    assert infer(images, "--out", tmp_path / "out", "--cloud", *camera) == 0
    text = (room / "camera.yaml").read_text().replace("width: 32", "width: 33")
    (tmp_path / "other.yaml").write_text(text)
    camera = ["--camera", tmp_path / "other.yaml"]
    assert infer(images, "--out", tmp_path / "out2", "--cloud", *camera) == 1
    assert "the calibration is for 33x24" in capsys.readouterr().err
    assert not (tmp_path / "out2").exists()


def test_distorted_camera_is_refused(tmp_path, images, room, predictor, capsys):
    """Clouds from distorted frames would be bent: prepare has to straighten them first."""
    text = (room / "camera.yaml").read_text().replace("model: pinhole", "model: brown_conrady")
    (tmp_path / "bent.yaml").write_text(text + "distortion: [0.1, 0.0, 0.0, 0.0]\n")
    assert infer(images, "--out", tmp_path / "out", "--camera", tmp_path / "bent.yaml") == 1
    assert "undistorted" in capsys.readouterr().err


def test_data_set_folder_names_its_sequences(tmp_path, room, predictor, capsys):
    """A data set is not one sequence: the error lists what to give instead."""
    shutil.copytree(room, tmp_path / "set" / "room")
    (tmp_path / "set" / "split.yaml").write_text("train: [room]\n")
    assert infer(tmp_path / "set", "--out", tmp_path / "out") == 1
    assert "give one of its sequences (room)" in capsys.readouterr().err


def test_full_disk_leaves_nothing(tmp_path, room, predictor, monkeypatch, capsys):
    """A write that fails in the middle is one line and no output folder."""
    from depthkit.runtime import output

    def full(path, data):
        raise output.DataError(f"{path}: cannot write: No space left on device")

    monkeypatch.setattr(output, "_write", full)
    assert infer(room, "--out", tmp_path / "out") == 1
    assert "No space left" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_missing_rerun_names_its_extra(tmp_path, room, predictor, monkeypatch, capsys):
    """Without rerun-sdk --rerun is one line that says what to install."""
    monkeypatch.setitem(sys.modules, "rerun", None)
    assert infer(room, "--out", tmp_path / "out", "--rerun") == 1
    assert "depthkit[rerun]" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_rerun_recording_is_written(tmp_path, room, predictor):
    """The recording holds the frames (skipped where rerun-sdk is not installed)."""
    pytest.importorskip("rerun", reason="rerun-sdk is not installed (extra [rerun])")
    assert infer(room, "--out", tmp_path / "out", "--rerun") == 0
    assert (tmp_path / "out/recording.rrd").stat().st_size > 1000


def test_wrong_usage_is_exit_2(tmp_path, capsys):
    """--every 0 and a missing --out are wrong usage."""
    assert infer("x", "--out", tmp_path / "o", "--every", 0) == 2
    assert infer("x") == 2
