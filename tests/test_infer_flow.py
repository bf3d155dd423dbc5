# SPDX-License-Identifier: Apache-2.0
"""`depthkit infer --flow` with networks whose answers are known by hand."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from runtime.onnx_makers import write_flow, write_mono, write_pose

from depthkit.cli import main
from depthkit.data.flow_files import read_flow
from depthkit.data.sequence import open_sequence
from depthkit.runtime import DepthEngine, FlowEngine, MovingStream
from depthkit.runtime.network.manifest import Mixture, StaticLaw
from depthkit.synth.boxes import write_box_sequence

FRAMES, SIZE = 5, (24, 32)
DELTA, GAP = Mixture(0.0, 0.02, 0.2, 0.1), Mixture(0.3, 0.2, 1.5, 0.1)
LAW = StaticLaw("photometric", DELTA, GAP, ssim_weight=0.85, window=3)


@pytest.fixture(scope="module")
def room(tmp_path_factory) -> Path:
    """A small synthetic sequence with poses."""
    root = tmp_path_factory.mktemp("flow") / "room"
    write_box_sequence(root, FRAMES, SIZE, 0)
    return root


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """mono.onnx in metres, free.onnx without unit, flow.onnx, law.onnx of a coop run, pose.onnx."""
    folder = tmp_path_factory.mktemp("models")
    write_mono(folder / "mono.onnx", size=SIZE, scale="metric", scale_source="taught by hand")
    write_mono(folder / "free.onnx", size=SIZE)
    write_flow(folder / "flow.onnx", size=SIZE)
    write_flow(folder / "law.onnx", size=SIZE, static_law=LAW)
    write_pose(folder / "pose.onnx", size=SIZE, shifts=(-1, 1))
    return folder


def infer(*words) -> int:
    return main(["infer", *map(str, words)])


def static_of(model: Path, flow: Path, room: Path, *, same_unit: bool = True) -> list:
    """What the engines say when they are asked directly, frame by frame."""
    sequence, found = open_sequence(room), []
    with DepthEngine.open(model) as engine, FlowEngine.open(flow) as flows:
        stream = MovingStream(flows)
        for i, time in enumerate(sequence.times):
            rgb = sequence.read_frame(i)
            depth = engine.depth(rgb, K=sequence.camera.K, stamp=float(time))
            pose = sequence.poses[i]
            found.append(stream.process(rgb, depth, T_world_cam=pose, same_unit=same_unit))
    return found


def read_grey(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def test_flow_to_the_next_frame_and_the_static_scene(tmp_path, room, models, capsys):
    """Flow of frame i to i + 1 in KITTI's encoding, static of all but the first; the live path."""
    out = tmp_path / "out"
    words = ("--flow", models / "flow.onnx", "--json")
    assert infer(models / "mono.onnx", room, "--out", out, *words) == 0
    summary = json.loads(capsys.readouterr().out)
    sequence = open_sequence(room)
    names = [f"{i:06d}.png" for i in range(FRAMES)]
    assert sorted(p.name for p in (out / "flow").iterdir()) == names[:-1]
    assert sorted(p.name for p in (out / "static").iterdir()) == names[1:]
    now, then = (sequence.read_frame(i).mean(axis=2) / 10 for i in (2, 3))
    flow = read_flow(out / "flow" / names[2])
    assert flow == pytest.approx(np.stack([now, then], axis=-1), abs=1 / 64)
    wanted = static_of(models / "mono.onnx", models / "flow.onnx", room)
    assert wanted[0].probability is None and wanted[3].unit == 1
    probability = np.nan_to_num(wanted[3].probability)
    assert read_grey(out / "static" / names[3]) == pytest.approx(np.rint(255 * probability))
    assert summary["files"]["static"] == "static" and summary["files"]["flow"] == "flow"
    assert summary["static_rule"].startswith("residual")
    assert summary["without_static"] == ["000000: there is no frame before to compare it with"]
    assert "255" in yaml.safe_load((out / "depth/depth.yaml").read_text())["static"]


def test_a_coop_run_s_law_is_used_and_said(tmp_path, room, models, capsys):
    """With the law in the manifest the rule is that of the training."""
    out = tmp_path / "out"
    assert infer(models / "mono.onnx", room, "--out", out, "--flow", models / "law.onnx") == 0
    text = capsys.readouterr().out
    assert "static scene: 4 of 5 frames, by photometric" in text and str(out / "static") in text
    wanted = static_of(models / "mono.onnx", models / "law.onnx", room)[2]
    assert wanted.rule == "photometric"
    found = read_grey(out / "static/000002.png")
    assert found == pytest.approx(np.rint(255 * np.nan_to_num(wanted.probability)))


def test_relative_depth_and_metric_poses_have_two_units(tmp_path, room, models, capsys):
    """The factor between them is found from flow, the same as a node would."""
    out, flow = tmp_path / "out", models / "flow.onnx"
    assert infer(models / "free.onnx", room, "--out", out, "--flow", flow) == 0
    results = static_of(models / "free.onnx", flow, room, same_unit=False)
    assert {r.unit == 1 for r in results} == {False}
    assert "unit of motion by flow" in capsys.readouterr().out
    written = {path.stem for path in (out / "static").glob("*")}
    assert written == {f"{i:06d}" for i, r in enumerate(results) if r.probability is not None}


@pytest.mark.parametrize(("commit", "shared"), [("one", True), ("another", False)])
def test_depth_and_motion_of_one_run_share_their_unit(tmp_path, room, models, commit, shared):
    """By what their files say of the training; then the network's motion is taken before poses."""
    origin = {"config": {"task": "coop"}, "commit": "one"}
    depth = write_mono(tmp_path / "depth.onnx", size=SIZE, **origin)
    pose = write_pose(tmp_path / "pose.onnx", size=SIZE, **origin | {"commit": commit})
    words = ("--flow", models / "flow.onnx", "--pose", pose)
    assert infer(depth, room, "--out", tmp_path / "out", *words) == 0
    said = (tmp_path / "out/summary.json").read_text()
    assert ("unit of" in said) is not shared
    assert not shared or len(json.loads(said)["without_static"]) == 1


def test_a_pose_network_is_a_source_of_motion(tmp_path, room, models, capsys):
    """Pictures and no poses: --pose gives the motion; without it there is flow alone, said so."""
    images = tmp_path / "images"
    shutil.copytree(room / "frames", images)
    camera = ("--camera", room / "camera.yaml")
    words = (models / "free.onnx", images, *camera, "--flow", models / "law.onnx", "--json")
    assert infer(*words, "--out", tmp_path / "a", "--pose", models / "pose.onnx") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["static_rule"].startswith("photometric") and (tmp_path / "a/static").is_dir()
    assert infer(*words, "--out", tmp_path / "b") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["static_rule"].startswith("none") and "static" not in summary["files"]
    assert not (tmp_path / "b/static").exists() and len(list((tmp_path / "b/flow").iterdir())) == 4
    assert len(summary["without_static"]) == FRAMES
    assert "how the camera moved is not known" in summary["without_static"][0]


def test_another_kind_of_network_is_one_line(tmp_path, room, models, capsys):
    """--flow takes flow networks; nothing is left behind."""
    words = ("--out", tmp_path / "out", "--flow", models / "pose.onnx")
    assert infer(models / "mono.onnx", room, *words) == 1
    assert "expected a network of kind flow, got pose" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
