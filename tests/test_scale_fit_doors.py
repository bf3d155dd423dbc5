# SPDX-License-Identifier: Apache-2.0
"""`--poses odometry` with a network of single frames: metres by the odometry's points."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from fake_odometry import FakeOdometry
from runtime.onnx_makers import write_mono, write_pair

from depthkit.camera import Camera
from depthkit.cli import main
from depthkit.data.sequence import Sequence, SequenceWriter, open_sequence
from depthkit.pipelines.odometry import follow
from depthkit.runtime import DepthEngine
from depthkit.runtime.depth.depth_method import network_method
from depthkit.runtime.result import ScaleState

FRAMES, SIZE, FACTOR = 6, (32, 48), 2.5
SPEED = ScaleState("observed", "speed", 0.02)


def write_room(root: Path, shift: float = 0.0) -> Path:
    """Write frames whose brightness is the network's inverse depth, and the depth of a fit."""
    camera = Camera(width=SIZE[1], height=SIZE[0], fx=40.0, fy=40.0, cx=23.5, cy=15.5)
    level = np.tile(np.linspace(10, 240, SIZE[1]).astype(np.uint8), (SIZE[0], 1))
    depth = (1 / ((0.1 + level / 255) / FACTOR + shift)).astype(np.float32)
    with SequenceWriter(root, camera, ext="png") as writer:
        for i in range(FRAMES):
            pose = np.eye(4)
            pose[0, 3] = 0.1 * i
            writer.add_frame(np.dstack([level] * 3), 0.1 * i, pose, depth=depth)
    return root


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A room 2.5 times as far as the network says."""
    return write_room(tmp_path_factory.mktemp("scaled") / "room")


@pytest.fixture
def room(made: Path) -> Sequence:
    """The sequence, opened."""
    return open_sequence(made)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A relative network of single frames: depth = 1 / (0.1 + brightness)."""
    return write_mono(tmp_path_factory.mktemp("net") / "mono.onnx", size=SIZE)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch):
    """Put an odometry with true points in the place of the real one."""

    def put(sequence: Sequence, **words) -> FakeOdometry:
        one = FakeOdometry(sequence, true_points=100, **words)
        monkeypatch.setattr(follow, "make_odometry", lambda sources, **settings: one)
        return one

    return put


def run(*words: object) -> int:
    return main([*map(str, words)])


def depth_of(folder: Path, i: int) -> np.ndarray:
    """Read a written map in its own unit."""
    scale = float((folder / "depth/depth.yaml").read_text().split("depth_scale: ")[1].split()[0])
    return cv2.imread(str(folder / f"depth/{i:06d}.png"), cv2.IMREAD_UNCHANGED) / scale


def test_infer_writes_metres(room, model, fake, tmp_path, capsys):
    """The first frame has no points yet; all others are the truth, with the fit of each."""
    fake(room, state=SPEED)
    out = tmp_path / "out"
    words = ("infer", model, room.root, "--out", out, "--poses", "odometry", "--speed", 1, "--json")
    assert run(*words) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["scale"], summary["coverage"]) == ("metric", pytest.approx(1 - 1 / FRAMES))
    assert summary["scale_source"] == "points of the odometry, metres by speed"
    assert summary["without_depth"][0].startswith("000000: scale fit unknown: first frame")
    for i in range(1, FRAMES):
        np.testing.assert_allclose(depth_of(out, i), room.read_depth(i), rtol=2e-3)
    fits = [json.loads(line) for line in (out / summary["files"]["fits"]).read_text().splitlines()]
    assert [fit["state"] for fit in fits] == ["unknown"] + ["observed"] * (FRAMES - 1)
    assert fits[-1]["factor"] == pytest.approx(FACTOR, rel=1e-3)
    assert fits[-1]["shift"] == 0 and fits[-1]["points"] == 100


def test_infer_without_metres_keeps_one_unit(room, model, fake, tmp_path, capsys):
    """A relative odometry: all frames in the unit of its path, and nothing claims metres."""
    fake(room, unit=7.0)
    out = tmp_path / "out"
    assert run("infer", model, room.root, "--out", out, "--poses", "odometry") == 0
    shown = capsys.readouterr()
    assert "in the unit of the odometry's path, not metres" in shown.err
    assert "scale: relative" in shown.out
    ratio = depth_of(out, FRAMES - 1) / room.read_depth(FRAMES - 1)
    np.testing.assert_allclose(ratio, 7.0, rtol=2e-3)


def test_infer_finds_the_shift_of_a_disparity_network(fake, tmp_path):
    """An adopted network that leaves factor and shift open: both come from the points."""
    shifted = open_sequence(write_room(tmp_path / "shifted", shift=0.08))
    fake(shifted, state=SPEED)
    stated = {"quantity": "disparity", "ambiguity": "scale-and-shift"}
    mono = write_mono(tmp_path / "mono.onnx", size=SIZE, **stated)
    out = tmp_path / "out"
    words = ("infer", mono, shifted.root, "--out", out, "--poses", "odometry", "--speed", 1)
    assert run(*words) == 0
    for i in range(1, FRAMES):
        np.testing.assert_allclose(depth_of(out, i), shifted.read_depth(i), rtol=5e-3)
    fit = json.loads((out / "scale_fits.jsonl").read_text().splitlines()[-1])
    assert fit["factor"] == pytest.approx(FACTOR, rel=0.01)
    assert fit["shift"] == pytest.approx(0.08, rel=0.01)


@pytest.mark.parametrize(
    ("stated", "ambiguity"),
    [
        ({"scale": "metric"}, "none"),
        ({}, "scale"),
        ({"quantity": "inverse", "ambiguity": "scale-and-shift"}, "scale-and-shift"),
        ({"quantity": "points", "ambiguity": "scale-and-shift"}, "scale"),
    ],
)
def test_what_the_points_settle_is_stated_by_the_manifest(tmp_path, stated, ambiguity):
    """A shift of another quantity than the inverse depth is not looked for."""
    path = write_mono(tmp_path / "mono.onnx", size=SIZE, **stated)
    with network_method(DepthEngine.open(path)) as method:
        assert method.ambiguity == ambiguity


def test_infer_calibrates_a_metric_network_where_that_helps(room, fake, tmp_path, capsys):
    """2.5 times off: calibrated; the first frame, without points, keeps the network's metres."""
    fake(room, state=SPEED)
    mono = write_mono(tmp_path / "mono.onnx", size=SIZE, scale="metric")
    out = tmp_path / "out"
    words = ("infer", mono, room.root, "--out", out, "--poses", "odometry", "--speed", 1)
    assert run(*words) == 0
    first, last = depth_of(out, 0), depth_of(out, FRAMES - 1)
    np.testing.assert_allclose(last / first, FACTOR, rtol=5e-3)


def test_evaluate_model_scores_metres(room, model, fake, capsys):
    """Without --align: the fit alone gives metres; its states stand beside the scores."""
    fake(room, state=SPEED)
    words = ("evaluate", "model", model, room.root)
    assert run(*words) == 1
    assert "pass --align median, or --poses odometry" in capsys.readouterr().err
    fitted = (*words, "--poses", "odometry", "--speed", 1)
    assert run(*fitted, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["kind"] == "mono" and found["align"] == "none"
    assert found["abs_rel"] < 2e-3
    assert found["coverage"] == pytest.approx(1 - 1 / FRAMES)
    assert found["scale_fit"]["frames"] == {
        "observed": FRAMES - 1,
        "held": 0,
        "lost": 0,
        "unknown": 1,
    }
    assert found["scale_fit"]["factor"] == pytest.approx(FACTOR, rel=1e-3)
    assert run(*fitted) == 0
    assert "fitted to the points of the odometry" in capsys.readouterr().out


def test_evaluate_model_refuses_what_has_no_metres(room, model, fake, tmp_path, capsys):
    """A relative odometry without alignment, and a pair network without a rule."""
    fake(room)
    words = ("evaluate", "model", model, room.root, "--poses", "odometry")
    assert run(*words) == 1
    assert "the odometry is relative, not metres; give --speed" in capsys.readouterr().err
    assert run(*words, "--align", "affine") == 0
    pair = write_pair(tmp_path / "pair.onnx", size=(48, 64))
    assert run("evaluate", "model", pair, room.root, "--poses", "odometry") == 1
    assert "give --rule for a pair network" in capsys.readouterr().err
