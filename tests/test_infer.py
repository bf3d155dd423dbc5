# SPDX-License-Identifier: Apache-2.0
"""`depthkit infer` with networks whose answers are known by hand: what goes in must come out."""

import json
import os
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from runtime.onnx_makers import write_mono, write_pose

from depthkit.cli import main
from depthkit.data.image_io import encode
from depthkit.data.sequence import open_sequence
from depthkit.installation import install_line
from depthkit.rigid import exp_se3, inverse, make_pose
from depthkit.synth.boxes import write_box_sequence
from depthkit.trajectory import load_kitti, load_tum

FRAMES, SIZE = 6, (24, 32)


@pytest.fixture(scope="module")
def room(tmp_path_factory) -> Path:
    """A small synthetic sequence."""
    root = tmp_path_factory.mktemp("infer") / "room"
    write_box_sequence(root, FRAMES, SIZE, 0)
    return root


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A network of single frames at the frames' size, metric: near is bright."""
    path = tmp_path_factory.mktemp("mono") / "mono.onnx"
    return write_mono(path, size=SIZE, scale="metric", scale_source="taught by hand")


@pytest.fixture(scope="module")
def pose(tmp_path_factory) -> Path:
    """A pose network whose motion grows with the later frame's brightness."""
    return write_pose(tmp_path_factory.mktemp("pose") / "pose.onnx", size=SIZE, shifts=(-1, 1))


def true_depth(rgb: np.ndarray) -> np.ndarray:
    """What the network of single frames says, by hand."""
    return 1 / (0.1 + rgb.mean(axis=2) / 255)


def true_motion(rgb: np.ndarray) -> np.ndarray:
    """What the pose network says of a frame and the one before it, by hand: T_before_now."""
    turn, shift = np.array([0, 0, 0.1, 0.2, 0, 0]).reshape(2, 3) * rgb.mean() / 100
    return inverse(make_pose(exp_se3(np.array([0, 0, 0, *turn]))[:3, :3], shift))


def true_poses(frames: list[np.ndarray]) -> np.ndarray:
    """Chain the motions by hand; the first frame is the world."""
    poses = [np.eye(4)]
    for rgb in frames[1:]:
        poses.append(poses[-1] @ true_motion(rgb))
    return np.stack(poses)


def read_frames(root: Path) -> list[np.ndarray]:
    """Read all colours of a sequence."""
    sequence = open_sequence(root)
    return [sequence.read_frame(i) for i in range(len(sequence))]


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
    return main(["infer", *map(str, words)])


def read_depth(folder: Path, name: str) -> np.ndarray:
    scale = yaml.safe_load((folder / "depth" / "depth.yaml").read_text())["depth_scale"]
    return cv2.imread(str(folder / "depth" / f"{name}.png"), cv2.IMREAD_UNCHANGED) / scale


def test_sequence_gives_its_depth_and_trajectory(tmp_path, room, model, pose, capsys):
    """Depth reads back as said; the poses are the chained motions, the first the identity."""
    out = tmp_path / "out"
    words = ("--pose", pose, "--trajectory", "tum", "--video", "--cloud", "--json")
    assert infer(model, room, "--out", out, *words) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["frames"], summary["skipped"], summary["scale"]) == (FRAMES, [], "metric")
    assert (summary["coverage"], summary["without_depth"], summary["rule"]) == (1, [], None)
    assert (summary["backend"], summary["precision"]) == ("onnxruntime-cpu", "fp32")
    frames, step = read_frames(room), 1 / summary["depth_scale"]
    for i in (0, 5):
        assert np.abs(read_depth(out, f"{i:06d}") - true_depth(frames[i])).max() <= step
    trajectory = load_tum(out / "trajectory_tum.txt")
    assert np.allclose(trajectory.T_world_cam, true_poses(frames), atol=1e-5)
    assert np.allclose(trajectory.stamps, open_sequence(room).times)
    length = sum(0.2 * rgb.mean() / 100 for rgb in frames[1:])
    assert summary["path_length"] == pytest.approx(length, rel=1e-4)
    assert (summary["path_scale"], summary["segments"]) == ("relative", 1)
    for name in ("colour/000003.jpg", "cloud/000003.ply", "video.mp4", "summary.json"):
        assert (out / name).stat().st_size > 100
    assert all((out / where).exists() for where in summary["files"].values())
    assert os.listdir(tmp_path) == ["out"]


def test_cloud_lies_in_the_camera_frame(tmp_path, room, model):
    """The cloud's z is the depth; x follows from K of the sequence."""
    assert infer(model, room, "--out", tmp_path / "out", "--cloud") == 0
    body = (tmp_path / "out/cloud/000000.ply").read_bytes().split(b"end_header\n")[1]
    points = np.frombuffer(body, dtype=[("xyz", "<f4", 3), ("rgb", "u1", 3)])["xyz"]
    depth, camera = true_depth(read_frames(room)[0]), open_sequence(room).camera
    u = np.arange(SIZE[1])[None].repeat(SIZE[0], 0)
    assert np.allclose(points[:, 2], depth.ravel(), rtol=1e-4)
    assert np.allclose(points[:, 0], ((u - camera.cx) / camera.fx * depth).ravel(), atol=1e-3)


def test_images_are_taken_in_natural_order(tmp_path, images, room, model, pose, capsys):
    """2.png comes before 10.png, and files keep the names of their frames."""
    out = tmp_path / "out"
    assert infer(model, images, "--out", out, "--pose", pose, "--trajectory", "kitti") == 0
    poses = load_kitti(out / "trajectory_kitti.txt").T_world_cam
    frames = read_frames(room)
    assert np.allclose(poses, true_poses([frames[i % FRAMES] for i in range(40)]), atol=1e-4)
    assert np.allclose(read_depth(out, "12"), true_depth(frames[11 % FRAMES]), atol=0.01)
    text = capsys.readouterr().out
    assert "40 frames" in text and "scale: metric (taught by hand" in text


def test_every_second_frame(tmp_path, images, model, pose, capsys):
    """--every 2 takes half of the frames, keeps their indices, and warns of the wider motion."""
    out, motion = tmp_path / "out", ("--pose", pose, "--trajectory", "kitti")
    assert infer(model, images, "--out", out, "--every", 2, *motion) == 0
    rows = np.loadtxt(out / "trajectory_kitti.txt")
    assert rows.shape == (20, 13) and np.array_equal(rows[:, 0], np.arange(0, 40, 2))
    assert len(list((out / "depth").glob("*.png"))) == 20
    assert "--every 1 fits better" in capsys.readouterr().err


def test_one_bad_image_is_named_skipped_and_counted(tmp_path, images, model, pose, capsys):
    """An unreadable image in the middle does not end the run, and its pose is missing."""
    (images / "20.png").write_bytes(b"no picture")
    out = tmp_path / "out"
    motion = ("--pose", pose, "--trajectory", "kitti")
    assert infer(model, images, "--out", out, *motion, "--json") == 0
    captured = capsys.readouterr()
    summary = json.loads(captured.out)
    assert summary["frames"] == 39 and "20.png" in summary["skipped"][0]
    assert "20.png" in captured.err
    assert 19 not in np.loadtxt(out / "trajectory_kitti.txt")[:, 0]


def test_too_many_bad_images_are_an_error(tmp_path, images, model, capsys):
    """More than 5 % unreadable frames: one line, exit 1, nothing left behind."""
    for name in ("3", "20", "39"):
        (images / f"{name}.png").write_bytes(b"no picture")
    assert infer(model, images, "--out", tmp_path / "out") == 1
    assert "3 of 40 frames unreadable (more than 5%)" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["images"]


def test_video_is_read_without_calibration(tmp_path, model, pose):
    """A video file gives depth a frame, and stamps from its frame rate."""
    writer = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 5, (32, 24))
    for _ in range(4):
        writer.write(np.full((24, 32, 3), 90, np.uint8))
    writer.release()
    motion = ("--pose", pose, "--trajectory", "tum")
    assert infer(model, tmp_path / "v.avi", "--out", tmp_path / "out", *motion) == 0
    assert len(list((tmp_path / "out/depth").glob("00000?.png"))) == 4
    stamps = load_tum(tmp_path / "out/trajectory_tum.txt").stamps
    assert np.allclose(np.diff(stamps), 0.2, atol=1e-3)


def test_metres_without_calibration_are_questioned(tmp_path, images, room, capsys):
    """Metres of single frames hold for one focal length: unchecked, it is said, and only then."""
    words = {"size": SIZE, "scale_source": "taught by hand"}
    metric = write_mono(tmp_path / "metric.onnx", scale="metric", focal=20.0, **words)
    relative = write_mono(tmp_path / "relative.onnx", **words)
    camera = room / "camera.yaml"
    runs = [(metric, ()), (metric, ("--camera", camera)), (relative, ())]
    for i, (model, more) in enumerate(runs):
        assert infer(model, images, "--out", tmp_path / f"out{i}", "--every", "20", *more) == 0
        said = [line for line in capsys.readouterr().err.splitlines() if "no calibration" in line]
        assert said == [
            "note: no calibration: metres rest on the focal length that was learnt, 20 px at "
            "32x24; give --camera camera.yaml, or take depth as relative"
        ] * (i == 0)


def test_metres_of_another_focal_length_are_questioned(tmp_path, images, room, capsys):
    """The room's camera is not the one that was learnt; at its own focal length nothing is said."""
    camera = open_sequence(room).camera
    own = camera.fx * SIZE[1] / camera.width
    for focal, doubted in ((own, False), (own / 2.7, True)):
        words = {"size": SIZE, "scale_source": "taught by hand", "scale": "metric"}
        model = write_mono(tmp_path / "metric.onnx", focal=focal, **words)
        out = tmp_path / f"out{doubted}"
        assert infer(model, room, "--out", out, "--every", "20") == 0
        assert ("its metres do not hold here" in capsys.readouterr().err) == doubted


def test_relative_scale_is_said_everywhere(tmp_path, room, capsys):
    """Relative depth never looks like metres: text, summary and depth.yaml say so."""
    model = write_mono(tmp_path / "relative.onnx")
    assert infer(model, room, "--out", tmp_path / "out") == 0
    assert "scale: relative" in capsys.readouterr().out
    assert "relative" in (tmp_path / "out/depth/depth.yaml").read_text()
    assert json.loads((tmp_path / "out/summary.json").read_text())["scale"] == "relative"


def test_existing_output_needs_force(tmp_path, room, model, capsys):
    """An output stays without --force; with it, only infer's own output is replaced."""
    out = tmp_path / "out"
    assert infer(model, room, "--out", out) == 0
    assert infer(model, room, "--out", out) == 1
    assert "use --force" in capsys.readouterr().err
    assert infer(model, room, "--out", out, "--every", 3, "--force") == 0
    assert len(list((out / "depth").glob("*.png"))) == 2
    (out / "summary.json").unlink()
    assert infer(model, room, "--out", out, "--force") == 1
    assert "holds something else" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "source not found"),
        (lambda folder: folder.mkdir(), "folder is empty"),
        (lambda folder: folder.write_bytes(b"x"), "is a text file; expected a picture"),
    ],
)
def test_source_without_frames_is_an_error(tmp_path, model, capsys, make, message):
    """Zero frames is an error in one line, not a success."""
    make(tmp_path / "in")
    assert infer(model, tmp_path / "in", "--out", tmp_path / "out") == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_cloud_of_images_needs_a_camera(tmp_path, images, room, model, capsys):
    """Without K there is no cloud; with the camera file of this size there is."""
    assert infer(model, images, "--out", tmp_path / "out", "--cloud") == 1
    assert "give --camera" in capsys.readouterr().err
    camera = ["--camera", room / "camera.yaml"]
    assert infer(model, images, "--out", tmp_path / "out", "--cloud", *camera) == 0
    text = (room / "camera.yaml").read_text().replace("width: 32", "width: 33")
    (tmp_path / "other.yaml").write_text(text)
    camera = ["--camera", tmp_path / "other.yaml"]
    assert infer(model, images, "--out", tmp_path / "out2", "--cloud", *camera) == 1
    assert "the calibration is for 33x24" in capsys.readouterr().err
    assert not (tmp_path / "out2").exists()


def test_distorted_camera_is_refused(tmp_path, images, room, model, capsys):
    """Clouds from distorted frames would be bent: prepare has to straighten them first."""
    text = (room / "camera.yaml").read_text().replace("model: pinhole", "model: brown_conrady")
    (tmp_path / "bent.yaml").write_text(text + "distortion: [0.1, 0.0, 0.0, 0.0]\n")
    assert infer(model, images, "--out", tmp_path / "out", "--camera", tmp_path / "bent.yaml") == 1
    assert "undistorted" in capsys.readouterr().err


def test_data_set_folder_names_its_sequences(tmp_path, room, model, capsys):
    """A data set is not one sequence: the error lists what to give instead."""
    shutil.copytree(room, tmp_path / "set" / "room")
    (tmp_path / "set" / "split.yaml").write_text("train: [room]\n")
    assert infer(model, tmp_path / "set", "--out", tmp_path / "out") == 1
    assert "give one of its sequences (room)" in capsys.readouterr().err


def test_full_disk_leaves_nothing(tmp_path, room, model, monkeypatch, capsys):
    """A write that fails in the middle is one line and no output folder."""
    from depthkit.outputs import depth_folder

    def full(path, data):
        raise depth_folder.DataError(f"{path}: cannot write: No space left on device")

    monkeypatch.setattr(depth_folder, "write_atomic", full)
    assert infer(model, room, "--out", tmp_path / "out") == 1
    assert "No space left" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_missing_rerun_names_its_extra(tmp_path, room, model, monkeypatch, capsys):
    """Without rerun-sdk --rerun is one line that says what to install."""
    monkeypatch.setitem(sys.modules, "rerun", None)
    assert infer(model, room, "--out", tmp_path / "out", "--rerun") == 1
    assert install_line("rerun") in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_rerun_recording_is_written(tmp_path, room, model):
    """The recording holds the frames (skipped where rerun-sdk is not installed)."""
    pytest.importorskip("rerun", reason="rerun-sdk is not installed (extra [rerun])")
    assert infer(model, room, "--out", tmp_path / "out", "--rerun") == 0
    assert (tmp_path / "out/recording.rrd").stat().st_size > 1000


def test_wrong_usage_is_exit_2(tmp_path, capsys):
    """--every 0 and a missing --out are wrong usage."""
    assert infer("m", "x", "--out", tmp_path / "o", "--every", 0) == 2
    assert infer("m", "x") == 2


def test_black_border_has_no_depth(tmp_path, model):
    """A round view: 0 outside, what it was inside; --crop none gives depth everywhere."""
    height, width = 2 * SIZE[0], 2 * SIZE[1]
    v, u = np.mgrid[:height, :width]
    inside = np.hypot(u - width / 2, v - height / 2) < 0.45 * height
    folder = tmp_path / "scope"
    folder.mkdir()
    for i in range(3):
        rgb = np.where(inside[..., None], np.uint8(100 + 20 * i), np.uint8(0))
        (folder / f"{i}.png").write_bytes(encode(np.repeat(rgb, 3, axis=2), "png"))
    shares = {}
    for crop in ("mask", "none"):
        assert infer(model, folder, "--out", tmp_path / crop, "--crop", crop) == 0
        stored = cv2.imread(str(tmp_path / crop / "depth" / "2.png"), cv2.IMREAD_UNCHANGED)
        shares[crop] = (stored > 0).mean()
        assert stored[height // 2, width // 2] > 0 and (stored[0, 0] > 0) == (crop == "none")
    assert shares["none"] == 1 and abs(shares["mask"] - inside.mean()) < 0.06
