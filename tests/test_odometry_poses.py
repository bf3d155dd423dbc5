# SPDX-License-Identifier: Apache-2.0
"""`--poses odometry` in the place of a pose file: the same depth, or a reason why there is none."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from fake_odometry import FakeOdometry
from runtime.onnx_makers import write_mono, write_pair

from depthkit.cli import main
from depthkit.data.sequence import Sequence, open_sequence
from depthkit.pipelines.odometry import follow
from depthkit.runtime.result import ScaleState
from depthkit.synth.boxes import write_box_sequence
from depthkit.trajectory import load_tum

FRAMES, SIZE, NET = 8, (48, 64), 10.0
SPEED = ScaleState("observed", "speed", 0.02)
FIXED = ("--rule", "fixed", "--shift", 1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight frames, about 0.3 m apart, with depth and poses."""
    root = tmp_path_factory.mktemp("pairs") / "room"
    write_box_sequence(root, FRAMES, SIZE, 0)
    return root


@pytest.fixture
def room(made: Path) -> Sequence:
    """The sequence, opened."""
    return open_sequence(made)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, made: Path) -> Path:
    """A pair network of this camera that says 10 m at 0.3 m for every pixel."""
    path = tmp_path_factory.mktemp("net") / "pair.onnx"
    focal = open_sequence(made).camera.fx
    return write_pair(path, size=SIZE, focal=focal, weights=(0.0, 0.0), bias=NET)


@pytest.fixture
def fake(monkeypatch):
    """Put an odometry in the place of the real one."""

    def put(*args, **words) -> FakeOdometry:
        one = FakeOdometry(*args, **words)
        monkeypatch.setattr(follow, "make_odometry", lambda sources, **settings: one)
        return one

    return put


def run(*words: object) -> int:
    return main([*map(str, words)])


def read(folder: Path, i: int) -> np.ndarray:
    return cv2.imread(str(folder / f"depth/{i:06d}.png"), cv2.IMREAD_UNCHANGED)


def test_depth_is_that_of_the_same_poses(room, model, fake, tmp_path, capsys):
    """An odometry that is right gives the pixels of the pose file, from one frame later on."""
    assert run("infer", model, room.root, "--out", tmp_path / "given", *FIXED) == 0
    one = fake(room, state=SPEED)
    words = ("--poses", "odometry", "--speed", 3, "--trajectory", "tum", *FIXED, "--json")
    capsys.readouterr()
    assert run("infer", model, room.root, "--out", tmp_path / "found", *words) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["scale"] == summary["path_scale"] == "metric"
    # The first frame's motion is not known while it is the newest: it is no earlier frame either.
    assert [line[:6] for line in summary["without_depth"]] == ["000000", "000001"]
    for i in range(2, FRAMES):
        given, found = (read(tmp_path / name, i) for name in ("given", "found"))
        assert np.abs(given.astype(float) - found).max() <= 1
    assert one.told[1][3].displacement == pytest.approx(0.3)
    assert len(load_tum(tmp_path / "found/trajectory_tum.txt")) == FRAMES


def test_a_lost_frame_is_never_taken_for_motion(room, model, fake, tmp_path):
    """No depth at the loss, and none from frames of two segments; the reason is the odometry's."""
    fake(room, state=SPEED, lost=(3,))
    words = ("--poses", "odometry", "--speed", 3, *FIXED)
    assert run("infer", model, room.root, "--out", tmp_path / "out", *words) == 0
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    lines = [json.loads(one) for one in (tmp_path / "out/decisions.jsonl").read_text().splitlines()]
    assert [i for i, line in enumerate(lines) if line["depth"]] == [2, 6, 7]
    assert "too dark" in next(one for one in summary["without_depth"] if one.startswith("000003"))


def test_a_relative_odometry_gives_relative_depth(room, model, fake, tmp_path, capsys):
    """Without a source of metres nothing claims metres, and the remedy is named."""
    fake(room, unit=7.0)
    words = ("--poses", "odometry", *FIXED)
    assert run("infer", model, room.root, "--out", tmp_path / "out", *words) == 0
    shown = capsys.readouterr()
    assert "give --speed, --camera-height or an IMU" in shown.err
    assert "scale: relative" in shown.out
    words = ("evaluate", "model", model, room.root, "--poses", "odometry", *FIXED[:2])
    assert run(*words) == 1
    assert "give --speed, --camera-height or an IMU" in capsys.readouterr().err
    assert run(*words, "--align", "median") == 0


def test_frames_without_metres_have_no_depth(room, model, fake, tmp_path, capsys):
    """A source that was promised and says nothing gives no metres, not wrong ones."""
    fake(room, state=ScaleState("lost", reason="speed and map contradict"))
    words = ("--poses", "odometry", "--speed", 3, *FIXED)
    assert run("infer", model, room.root, "--out", tmp_path / "out", *words) == 1
    assert "no frame has depth" in capsys.readouterr().err


def test_evaluate_model_scores_with_found_motion(room, model, fake, capsys):
    """The score is that of the given poses, but for the frames without motion."""
    fake(room, state=SPEED)
    words = ("evaluate", "model", model, room.root, "--rule", "fixed", "--shift", -1, "--json")
    assert run(*words) == 0
    given = json.loads(capsys.readouterr().out)
    assert run(*words, "--poses", "odometry", "--speed", 3) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["coverage"] == pytest.approx(given["coverage"] - 1 / FRAMES)
    assert found["abs_rel"] == pytest.approx(given["abs_rel"], rel=0.2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--camera-height", 2), "give --poses odometry"),
        (("--poses", "odometry", "--pose", "x.onnx"), "two sources of motion; give one"),
    ],
)
def test_what_does_not_go_together_is_one_line(room, model, tmp_path, capsys, words, message):
    """Options of one source of motion beside another are refused."""
    assert run("infer", model, room.root, "--out", tmp_path / "out", *words) == 1
    assert message in capsys.readouterr().err


def test_pictures_without_k_are_one_line(room, model, fake, tmp_path, capsys):
    """The odometry needs K too, and single frames in metres take its trajectory."""
    fake(room, state=SPEED)
    mono = write_mono(tmp_path / "mono.onnx", size=SIZE, scale="metric")
    words = ("infer", mono, room.root / "frames", "--out", tmp_path / "a", "--trajectory", "tum")
    assert run(*words, "--poses", "odometry") == 1
    assert "odometry needs K; give --camera FILE" in capsys.readouterr().err
    words = ("infer", mono, room.root, "--out", tmp_path / "a", "--poses", "odometry")
    assert run(*words, "--speed", 3, "--trajectory", "tum") == 0
    assert len(load_tum(tmp_path / "a/trajectory_tum.txt")) == FRAMES


def test_a_network_that_takes_the_direction_needs_metres(room, fake, tmp_path, capsys):
    """A shipped network of that kind is refused at once, with the remedy, in both doors."""
    fake(room)
    words = ("sweepnet-stillbox", room.root, "--poses", "odometry", "--threads", 1)
    assert run("infer", *words, "--out", tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert "needs the camera's motion in metres" in error and error.count("\n") == 1
    assert run("evaluate", "model", *words, "--rule", "fixed", "--align", "median") == 1
    assert "the odometry is relative, not metres; give --speed" in capsys.readouterr().err
