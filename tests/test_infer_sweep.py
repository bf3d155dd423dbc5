# SPDX-License-Identifier: Apache-2.0
"""`depthkit infer sweep`: whose poses count, in which unit, what is written, what is refused."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import yaml
from fake_odometry import FakeOdometry
from fake_sweep import SURE, UNSURE
from runtime.onnx_makers import write_mono, write_pair

import depthkit
from depthkit.cli import main
from depthkit.data.sequence import Sequence, open_sequence
from depthkit.errors import CheckpointError
from depthkit.outputs.depth_folder import DepthFolder
from depthkit.outputs.sigma_files import read_sigma
from depthkit.pipelines.infer.writers import known_depth
from depthkit.pipelines.odometry import follow
from depthkit.runtime.depth.depth_method import sweep_method
from depthkit.runtime.depth.visual_depth import VisualDepth
from depthkit.runtime.motion.told import Motion
from depthkit.runtime.network.feature_engine import FeatureEngine
from depthkit.runtime.result import ScaleState
from depthkit.synth.boxes import write_box_sequence
from depthkit.trajectory import load_tum

pytestmark = pytest.mark.usefixtures("fake_sweep")

FRAMES, SIZE = 8, (48, 64)
RELATIVE = "source: odometry\nunit: up_to_scale\nsegments: [[0, 7]]\n"
SPEED = ScaleState("observed", "speed", 0.02)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight frames, about 0.3 m apart, with depth and poses."""
    root = tmp_path_factory.mktemp("sweep") / "room"
    write_box_sequence(root, FRAMES, SIZE, 0)
    return root


@pytest.fixture
def room(made: Path) -> Sequence:
    """The sequence, opened."""
    return open_sequence(made)


@pytest.fixture
def blind(tmp_path: Path, made: Path) -> Path:
    """The same frames without poses."""
    shutil.copytree(made, tmp_path / "blind")
    (tmp_path / "blind/poses.txt").unlink()
    return tmp_path / "blind"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch):
    """Put an odometry in the place of the real one."""

    def put(*args, **words) -> FakeOdometry:
        one = FakeOdometry(*args, **words)
        monkeypatch.setattr(follow, "make_odometry", lambda sources, **settings: one)
        return one

    return put


def infer(source: object, out: Path, *words: object, model: object = "sweep") -> int:
    """Run the verb."""
    return main(["infer", *map(str, (model, source, "--out", out, *words))])


def summary_of(out: Path) -> dict:
    """Read what was done."""
    return json.loads((out / "summary.json").read_text())


def stored(out: Path, i: int) -> np.ndarray:
    """Read a depth map in its own unit. (H, W)"""
    scale = yaml.safe_load((out / "depth/depth.yaml").read_text())["depth_scale"]
    return cv2.imread(str(out / f"depth/{i:06d}.png"), cv2.IMREAD_UNCHANGED) / scale


# --- whose poses ----------------------------------------------------------------------------------


def test_the_sequences_own_poses_give_metres(room: Sequence, tmp_path: Path) -> None:
    """Ten times the step, as the double says; confidence, sigma and decisions lie beside it."""
    assert infer(room.root, tmp_path / "out") == 0
    said = summary_of(tmp_path / "out")
    assert (said["model"], said["scale"], said["rule"]) == ("sweep", "metric", None)
    assert (said["backend"], said["frames"]) == ("numba", FRAMES)
    assert said["without_depth"] == ["000000: no past frame yet"]
    step = np.linalg.norm(room.poses[3, :3, 3] - room.poses[2, :3, 3])
    assert stored(tmp_path / "out", 3) == pytest.approx(10 * step, rel=1e-3)
    assert {"depth", "confidence", "sigma", "decisions"} <= said["files"].keys()
    sigma = read_sigma(tmp_path / "out/sigma/000003.png")
    assert sigma[0, 0] == pytest.approx(UNSURE) and sigma[0, -1] == pytest.approx(SURE)
    notes = yaml.safe_load((tmp_path / "out/depth/depth.yaml").read_text())
    assert "PNG value / 10000 = relative standard deviation" in notes["sigma"]
    lines = (tmp_path / "out/decisions.jsonl").read_text().splitlines()
    assert json.loads(lines[3])["baselines_m"] == pytest.approx([step])


def test_without_poses_the_odometry_is_taken_and_said(
    room: Sequence, blind: Path, fake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Depth is relative, by whole relative poses: 7 times the step's length, ten times."""
    fake(room, unit=7.0)
    assert infer(blind, tmp_path / "out", "--trajectory", "tum") == 0
    error = capsys.readouterr().err
    assert "the source has no poses: they are found in its frames (--poses odometry)" in error
    assert "depth is relative" in error
    said = summary_of(tmp_path / "out")
    assert said["scale"] == said["path_scale"] == "relative"
    step = 7 * np.linalg.norm(room.poses[3, :3, 3] - room.poses[2, :3, 3])
    assert stored(tmp_path / "out", 3) == pytest.approx(10 * step, rel=1e-3)
    assert len(load_tum(tmp_path / "out/trajectory_tum.txt")) == FRAMES


def test_a_speed_gives_metres(room: Sequence, blind: Path, fake, tmp_path: Path) -> None:
    """What gives the odometry metres gives the depth metres; the steps are told to it."""
    one = fake(room, state=SPEED)
    assert infer(blind, tmp_path / "out", "--speed", 3) == 0
    assert summary_of(tmp_path / "out")["scale"] == "metric"
    assert one.told[1][3].displacement == pytest.approx(0.3)
    step = np.linalg.norm(room.poses[3, :3, 3] - room.poses[2, :3, 3])
    assert stored(tmp_path / "out", 3) == pytest.approx(10 * step, rel=1e-3)


def test_a_camera_height_needs_no_word_of_the_odometry(
    room: Sequence, blind: Path, fake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a source without poses; beside poses it would change nothing, and is refused."""
    fake(room, state=ScaleState("observed", "camera height", 0.02))
    assert infer(blind, tmp_path / "out", "--camera-height", 1.2) == 0
    assert summary_of(tmp_path / "out")["scale"] == "metric"
    assert infer(room.root, tmp_path / "other", "--camera-height", 1.2) == 1
    assert "has poses, and --camera-height gives an odometry metres" in capsys.readouterr().err


def test_the_odometry_may_be_asked_for(room: Sequence, fake, tmp_path: Path) -> None:
    """Beside a sequence's own poses its motion counts, in its unit."""
    fake(room, unit=2.0)
    assert infer(room.root, tmp_path / "out", "--poses", "odometry") == 0
    assert summary_of(tmp_path / "out")["scale"] == "relative"


def test_a_lost_frame_says_why_and_begins_anew(
    room: Sequence, blind: Path, fake, fake_sweep, tmp_path: Path
) -> None:
    """The reason is the odometry's; poses of two segments never meet."""
    fake(room, lost=(3,))
    assert infer(blind, tmp_path / "out") == 0
    without = summary_of(tmp_path / "out")["without_depth"]
    assert [line[:6] for line in without] == ["000000", "000001", "000003", "000004", "000005"]
    assert without[2] == "000003: no camera pose (too dark)"
    assert fake_sweep.made[0].resets == 1
    unit = yaml.safe_load((tmp_path / "out/depth/depth.yaml").read_text())["unit"]
    assert unit == "one unknown factor for each of the 2 segments that decisions.jsonl names"
    lines = (tmp_path / "out/decisions.jsonl").read_text().splitlines()
    assert [json.loads(line)["segment"] for line in lines] == [0, 0, 0, 1, 1, 1, 1, 1]


def test_relative_poses_of_a_sequence_are_passed_whole(
    room: Sequence, made: Path, fake_sweep, tmp_path: Path
) -> None:
    """Poses that state no metres: relative depth, no odometry."""
    shutil.copytree(made, tmp_path / "other")
    (tmp_path / "other/poses.yaml").write_text(RELATIVE)
    assert infer(tmp_path / "other", tmp_path / "out") == 0
    assert summary_of(tmp_path / "out")["scale"] == "relative"
    assert {motion.metric for motion in fake_sweep.made[0].told} == {False}
    assert np.allclose(fake_sweep.made[0].told[3].T_world_cam, room.poses[3], atol=1e-6)


# --- what is written ------------------------------------------------------------------------------


def test_live_equals_offline(room: Sequence, blind: Path, fake, tmp_path: Path) -> None:
    """A robot that hands over frame after frame gets the bytes of the folder."""
    fake(room, unit=3.0, lost=(4,))
    assert infer(blind, tmp_path / "out") == 0
    with sweep_method() as method:
        visual = VisualDepth(FakeOdometry(room, unit=3.0, lost=(4,)), method.build())
    live = DepthFolder(tmp_path / "live", scale="relative", scale_source="")
    for i, stamp in enumerate(room.times):
        result = visual.process(
            room.read_frame(i), stamp=float(stamp), K=room.camera.K, motion=Motion()
        )
        if (depth := known_depth(result)) is not None:
            live.add(f"{i:06d}", depth)
    found = {path.name: path.read_bytes() for path in (tmp_path / "live").glob("*.png")}
    wanted = {path.name: path.read_bytes() for path in (tmp_path / "out/depth").glob("*.png")}
    assert len(wanted) == 3 and found == wanted


def test_min_confidence_leaves_the_unsure_half_out(room: Sequence, tmp_path: Path) -> None:
    """Of the double the left half has 0.3, the right 0.9; sigma and confidence stay whole."""
    assert infer(room.root, tmp_path / "out", "--min-confidence", 0.5) == 0
    depth = stored(tmp_path / "out", 3)
    assert not depth[:, :32].any() and depth[:, 32:].all()
    assert read_sigma(tmp_path / "out/sigma/000003.png").all()


def test_quality_reaches_the_sweep(room: Sequence, fake_sweep, tmp_path: Path) -> None:
    """Fast works at a quarter, the default at half; Python has the same option."""
    assert infer(room.root, tmp_path / "a", "--quality", "fast") == 0
    depthkit.infer("sweep", room.root, tmp_path / "b", threads=1)
    assert [one.config.shrink for one in fake_sweep.made] == [4, 2]


def test_similarity_reaches_the_sweep(room: Sequence, fake_sweep, tmp_path: Path) -> None:
    """A cost by its word; census is the default."""
    assert infer(room.root, tmp_path / "a", "--similarity", "zncc") == 0
    depthkit.evaluate.model("sweep", room.root, similarity="zncc", threads=1)
    assert infer(room.root, tmp_path / "b") == 0
    assert [one.config.cost for one in fake_sweep.made] == ["zncc", "zncc", "census"]


def test_a_network_of_features_is_opened_and_freed(
    room: Sequence, fake_sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its descriptors are what is compared; nothing else is a cost."""
    network = SimpleNamespace(close=lambda: closed.append(True))
    closed: list[bool] = []
    opened = []
    monkeypatch.setattr(FeatureEngine, "open", lambda *args, **_: opened.append(args) or network)
    assert infer(room.root, tmp_path / "out", "--similarity", "mine.onnx", "--threads", 1) == 0
    (made,) = fake_sweep.made
    assert (made.config.cost, made.describe) == ("learned", network)
    assert opened == [("mine.onnx",)] and closed == [True]


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--rule", "fixed"), "sweep: takes the poses of the source, of a file or of the odometry"),
        (("--shift", 2), "--shift is not for it"),
        (("--pose", "pose.onnx"), "--pose is not for it"),
        (("--trajectory", "tum"), "sweep: has no pose network beside; give --pose MODEL, or"),
    ],
)
def test_options_of_others_are_one_line(
    room: Sequence, tmp_path: Path, capsys: pytest.CaptureFixture[str], words, message
) -> None:
    """What is for pairs is named."""
    assert infer(room.root, tmp_path / "out", *words) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_pictures_without_k_are_one_line(
    room: Sequence, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No K, no depth from several views."""
    assert infer(room.root / "frames", tmp_path / "out") == 1
    assert "depth from several views needs K; give --camera" in capsys.readouterr().err


def test_options_of_the_sweep_are_not_for_networks(
    room: Sequence, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A quality of a network, and a confidence of single frames."""
    pair = write_pair(tmp_path / "pair.onnx", size=SIZE)
    assert infer(room.root, tmp_path / "out", "--quality", "fast", model=pair) == 1
    assert "--quality is for sweep, not for networks" in capsys.readouterr().err
    assert infer(room.root, tmp_path / "out", "--similarity", "zncc", model=pair) == 1
    assert "--similarity is for sweep, not for networks" in capsys.readouterr().err
    assert infer(room.root, tmp_path / "out", "--similarity", "none.onnx") == 1
    assert "none.onnx: no such model file" in (error := capsys.readouterr().err)
    assert error.count("\n") == 1
    assert infer(room.root, tmp_path / "out", "--similarity", pair) == 1
    assert "features" in capsys.readouterr().err
    mono = write_mono(tmp_path / "mono.onnx", size=SIZE)
    assert infer(room.root, tmp_path / "out", "--min-confidence", 0.5, model=mono) == 1
    assert "sees single frames; --min-confidence is for pair networks" in capsys.readouterr().err


def test_wrong_words_are_wrong_usage(
    room: Sequence, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A quality there is not, a share above 1: exit 2 and the choices; Python says the same."""
    assert infer(room.root, tmp_path / "out", "--quality", "best") == 2
    assert "'fast', 'normal', 'fine'" in capsys.readouterr().err
    assert infer(room.root, tmp_path / "out", "--min-confidence", 1.5) == 2
    with pytest.raises(depthkit.DepthkitError, match="--min-confidence: from 0 to 1, got 1.5"):
        depthkit.infer("sweep", room.root, tmp_path / "out", min_confidence=1.5)
    with pytest.raises(depthkit.DepthkitError, match="quality"):
        depthkit.infer("sweep", room.root, tmp_path / "out", quality="best")


def test_where_a_network_is_needed_the_word_is_explained(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """open_model, verify and bench: it has no network, and what it is for."""
    with pytest.raises(CheckpointError, match=r"sweep: .* has no network; .*runtime.SweepStream"):
        depthkit.open_model("sweep")
    for verb in ("verify", "bench"):
        assert main([verb, "sweep"]) == 1
        assert "sweep" in capsys.readouterr().err
