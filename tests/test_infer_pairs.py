# SPDX-License-Identifier: Apache-2.0
"""`depthkit infer` with pair networks: whose metres they are, what is left out, what is refused."""

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from runtime.onnx_makers import write_mono, write_pair, write_pose

from depthkit.cli import main
from depthkit.data.sequence import open_sequence
from depthkit.data.stream import FrameStream
from depthkit.installation import install_line
from depthkit.pipelines.infer.job import Job
from depthkit.pipelines.infer.options import InferOptions
from depthkit.runtime.config import BaselineConfig
from depthkit.runtime.depth.depth_method import DepthMethod
from depthkit.synth.boxes import write_box_sequence
from depthkit.trajectory import Trajectory, save_tum

FRAMES, SIZE, NET = 8, (48, 64), 40.0
Output = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight frames, about 0.3 m apart, with poses."""
    root = tmp_path_factory.mktemp("pairs") / "room"
    write_box_sequence(root, FRAMES, SIZE, 0)
    return root


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, room: Path) -> Path:
    """A pair network of this camera that says 40 m at 0.3 m for every pixel."""
    path = tmp_path_factory.mktemp("net") / "pair.onnx"
    focal = open_sequence(room).camera.fx
    return write_pair(path, size=SIZE, focal=focal, weights=(0.0, 0.0), bias=NET)


@pytest.fixture
def blind(tmp_path: Path, room: Path) -> Path:
    """The same frames in a sequence without poses."""
    shutil.copytree(room, tmp_path / "blind")
    (tmp_path / "blind/poses.txt").unlink()
    return tmp_path / "blind"


def infer(*words: object) -> int:
    """Run the verb."""
    return main(["infer", *map(str, words)])


def read(folder: Path, i: int) -> np.ndarray:
    """Read a depth map. (H, W)"""
    scale = yaml.safe_load((folder / "depth/depth.yaml").read_text())["depth_scale"]
    return cv2.imread(str(folder / f"depth/{i:06d}.png"), cv2.IMREAD_UNCHANGED) / scale


def lines(folder: Path) -> list[dict]:
    """Read the decisions."""
    return [json.loads(line) for line in (folder / "decisions.jsonl").read_text().splitlines()]


def test_metres_follow_from_the_poses(tmp_path: Path, room: Path, model: Path) -> None:
    """At |t| the map is 40 |t| / 0.3 m; shift and baseline of each frame are written down."""
    out = tmp_path / "out"
    assert infer(model, room, "--out", out, "--rule", "fixed", "--shift", 2) == 0
    poses = open_sequence(room).poses
    assert poses is not None
    for i, line in enumerate(lines(out)[2:], start=2):
        baseline = float(np.linalg.norm(poses[i, :3, 3] - poses[i - 2, :3, 3]))
        assert (line["rule"], line["shifts"], line["frame"]) == ("fixed", [2], f"{i:06d}")
        assert line["baselines_m"] == pytest.approx([baseline], rel=1e-6)
        known = read(out, i)
        assert np.median(known[known > 0]) == pytest.approx(NET * baseline / 0.3, rel=0.01)
        confidence = cv2.imread(str(out / f"confidence/{i:06d}.png"), cv2.IMREAD_UNCHANGED)
        assert confidence.dtype == np.uint8 and confidence.shape == SIZE
    settings = yaml.safe_load((out / "depth/depth.yaml").read_text())
    assert settings["scale"] == "metric" and "255" in settings["confidence"]


def test_frames_without_depth_are_named(tmp_path: Path, room: Path, model: Path, capsys: Output):
    """The first frame has no past: no file, a reason, and a share below one."""
    out = tmp_path / "out"
    assert infer(model, room, "--out", out, "--video", "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["without_depth"] == ["000000: no past frame yet"]
    assert summary["coverage"] == pytest.approx(7 / 8) and summary["rule"] == "multi_range"
    assert not (out / "depth/000000.png").exists() and (out / "depth/000001.png").exists()
    assert not lines(out)[0]["depth"] and lines(out)[0]["no_depth"] == "no past frame yet"
    assert infer(model, room, "--out", out, "--force") == 0
    assert "no depth for 1 of 8 frames:\n  000000: no past" in capsys.readouterr().out


def test_a_speed_beside_poses_is_said_to_be_unused(
    tmp_path: Path, room: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An option that changes nothing is named."""
    assert infer(model, room, "--out", tmp_path / "out", "--speed", 3) == 0
    assert "--speed is not used" in capsys.readouterr().err
    assert infer(model, room, "--out", tmp_path / "other") == 0
    assert "--speed is not used" not in capsys.readouterr().err


def test_unknown_poses_in_the_middle_are_survived(tmp_path: Path, room: Path, model: Path) -> None:
    """Two frames lose their poses: they are counted, and the next one has depth again."""
    holed = tmp_path / "holed"
    shutil.copytree(room, holed)
    rows = (room / "poses.txt").read_text().splitlines(keepends=True)
    kept = [row for row in rows if not row.startswith("#")]
    (holed / "poses.txt").write_text("".join(kept[:4] + kept[6:]))
    assert infer(model, holed, "--out", tmp_path / "out") == 0
    found = [line["depth"] for line in lines(tmp_path / "out")]
    assert found == [False, True, True, True, False, False, True, True]
    assert "pose" in lines(tmp_path / "out")[4]["no_depth"]


def test_without_poses_depth_is_relative_and_said(
    tmp_path: Path, blind: Path, model: Path, capsys: Output
) -> None:
    """No displacement: relative depth at the fixed shift, in every place where scale is told."""
    out = tmp_path / "out"
    assert infer(model, blind, "--out", out) == 0
    said = capsys.readouterr()
    assert "depth is relative; give --poses FILE or --speed" in said.err
    assert "scale: relative" in said.out
    assert yaml.safe_load((out / "depth/depth.yaml").read_text())["scale"] == "relative"
    assert lines(out)[5]["shifts"] == [3] and lines(out)[5]["baselines_m"] == []


def test_speed_makes_metres(tmp_path: Path, blind: Path, model: Path) -> None:
    """3 m/s at 10 frames/s: a shift of one is 0.3 m, the nominal baseline."""
    out, rule = tmp_path / "out", ("--rule", "fixed", "--shift", 1)
    assert infer(model, blind, "--out", out, "--speed", 3, *rule) == 0
    assert lines(out)[4]["baselines_m"] == pytest.approx([0.3])
    assert np.median(read(out, 4)) == pytest.approx(NET, rel=0.01)
    assert "metric" in (out / "depth/depth.yaml").read_text()


def test_poses_of_a_file_are_interpolated(
    tmp_path: Path, room: Path, blind: Path, model: Path
) -> None:
    """Poses between the frames' times, as an odometry writes them, give the sequence's metres."""
    sequence, rule = open_sequence(room), ("--rule", "fixed", "--shift", 1)
    x = np.arange(0.0, 1.01, 0.04)
    poses = np.tile(np.eye(4), (len(x), 1, 1))
    poses[:, 0, 3] = 2 * x
    save_tum(tmp_path / "odometry.txt", Trajectory(sequence.times[0] - 0.05 + x, poses))
    out, file = tmp_path / "out", tmp_path / "odometry.txt"
    assert infer(model, blind, "--out", out, "--poses", file, *rule) == 0
    assert lines(out)[4]["baselines_m"] == pytest.approx([0.2], rel=1e-6)
    late = Trajectory(1000 + x, poses)
    save_tum(tmp_path / "late.txt", late)
    assert infer(model, blind, "--out", out, "--poses", tmp_path / "late.txt", "--force") == 1


def test_a_pose_network_gives_the_attitude(
    tmp_path: Path, blind: Path, model: Path, capsys: Output
) -> None:
    """With --pose the turn is known, with --speed the distance: metres of a turning camera."""
    pose = write_pose(tmp_path / "pose.onnx", size=SIZE, motion=(0, 0.02, 0, 0, 0, 0))
    out, rule = tmp_path / "out", ("--rule", "fixed", "--shift", 1, "--speed", 3)
    assert infer(model, blind, "--out", out, "--pose", pose, *rule) == 0
    mean = open_sequence(blind).read_frame(4).mean()
    assert lines(out)[4]["rotation_deg"] == pytest.approx([np.degrees(2e-4 * mean)], rel=1e-3)


def test_a_broken_chain_is_two_trajectories(tmp_path: Path, blind: Path, capsys: Output) -> None:
    """A black frame ends the segment: two files, whose poses are not mixed."""
    pose, depth = write_pose(tmp_path / "pose.onnx"), write_mono(tmp_path / "mono.onnx")
    black = np.zeros((*SIZE, 3), np.uint8)
    frame = open_sequence(blind).frames[3]
    cv2.imwrite(str(frame), black)
    out, words = tmp_path / "out", ("--pose", pose, "--trajectory", "kitti", "--json")
    assert infer(depth, blind, "--out", out, *words) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["segments"] == 2 and len(summary["without_depth"]) == 1
    assert len(np.loadtxt(out / summary["files"]["trajectory"])) == 3
    assert np.loadtxt(out / summary["files"]["trajectory_1"])[:, 0].tolist() == [4, 5, 6, 7]


REFUSED = {
    "images": ([], "a pair network needs K; give --camera"),
    "mono": (["--rule", "nearest"], "sees single frames; --rule is for pair networks"),
    "tampered": ([], "changed since its export: sha256 should be"),
    "openvino": (["--backend", "openvino"], install_line("openvino")),
    "pose": ([], "a pose network is for odometry"),
    "no_such": ([], "no such model; give an exported .onnx"),
    "depth_alone": (["--trajectory", "tum"], "has no pose network beside; give --pose MODEL"),
    "depth_as_pose": (["--pose", "MODEL"], "write one with 'depthkit export RUN --part pose'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_one_line(
    tmp_path: Path,
    room: Path,
    model: Path,
    case: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Output,
) -> None:
    """What cannot work is one line with a remedy, and no folder."""
    words, message = REFUSED[case]
    words = [str(model) if word == "MODEL" else word for word in words]
    models = {"no_such": tmp_path / "no_such", "pose": tmp_path / "pose.onnx"}
    source = room / "frames" if case == "images" else room
    if case == "tampered":
        data = bytearray(model.read_bytes())
        data[-100] ^= 1
        (tmp_path / "tampered.onnx").write_bytes(data)
        models[case] = tmp_path / "tampered.onnx"
    if case == "mono":
        models[case] = write_mono(tmp_path / "mono.onnx")
    if case == "pose":
        write_pose(models[case])
    if case == "openvino":
        monkeypatch.setitem(sys.modules, "openvino", None)
    assert infer(models.get(case, model), source, "--out", tmp_path / "out", *words) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_wrong_numbers_are_wrong_usage(tmp_path: Path, room: Path, model: Path) -> None:
    """A speed of 0 and a shift of 0 say nothing."""
    for words in (("--speed", 0), ("--shift", 0), ("--threads", 0), ("--rule", "none")):
        assert infer(model, room, "--out", tmp_path / "out", *words) == 2


def job(*, scale: str, poses: bool) -> Job:
    """Return a run of a single-frame network whose depth has a scale, with or without poses."""
    manifest = SimpleNamespace(scale=scale)
    engine: Any = SimpleNamespace(manifest=manifest, scale_of=lambda K: (scale, "training"))
    given = np.eye(4)[None] if poses else None
    stream = FrameStream(Path("room"), None, np.zeros(1), (), lambda: iter(()), poses=given)
    options = InferOptions(Path("model"), Path("room"), Path("out"))
    return Job(DepthMethod("mono", engine), None, None, stream, options, BaselineConfig())


def test_poses_beside_depth_have_its_unit() -> None:
    """Metres of depth never lie along a path in a pose network's own unit."""
    from depthkit.pipelines.infer.run import _pose

    known, chained = np.eye(4), np.diag([1.0, 1, 1, 1])
    frame: Any = SimpleNamespace(T_world_cam=known)
    for scale, own, expected in (
        ("relative", "metric", None),
        ("metric", "metric", chained),
        ("relative", "relative", chained),
    ):
        moved: Any = SimpleNamespace(T_previous_current=known, T_world_cam=chained, scale=scale)
        assert _pose(job(scale=own, poses=False), frame, moved) is expected
        assert _pose(job(scale="metric", poses=True), frame, moved) is known
