# SPDX-License-Identifier: Apache-2.0
"""`depthkit evaluate model sweep`: all pixels, those that count as measured, and the sigmas."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from fake_odometry import FakeOdometry

import depthkit
from depthkit.cli import main
from depthkit.data.sequence import Sequence, open_sequence
from depthkit.pipelines.odometry import follow
from depthkit.runtime.result import CONFIDENT_SIGMA, ScaleState
from depthkit.synth.boxes import write_box_sequence

pytestmark = pytest.mark.usefixtures("fake_sweep")

FRAMES = 8
RELATIVE = "source: odometry\nunit: up_to_scale\nsegments: [[0, 7]]\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight frames with depth and poses."""
    root = tmp_path_factory.mktemp("sweep") / "room"
    write_box_sequence(root, FRAMES, (48, 64), 0)
    return root


@pytest.fixture
def room(made: Path) -> Sequence:
    """The sequence, opened."""
    return open_sequence(made)


def evaluate(*words: object) -> int:
    """Run the verb."""
    return main(["evaluate", "model", "sweep", *map(str, words)])


def depth_of(room: Sequence, i: int) -> float:
    """What the double says of a frame: ten times the step, metres."""
    return 10 * float(np.linalg.norm(room.poses[i, :3, 3] - room.poses[i - 1, :3, 3]))


def test_json_by_hand(room: Sequence, capsys: pytest.CaptureFixture[str]) -> None:
    """Errors of all pixels and of the sure right half; shares; the band of 1.63 sigma."""
    assert evaluate(room.root, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    truths = {i: room.read_depth(i) for i in range(1, FRAMES)}
    errors = [np.abs(depth_of(room, i) / gt - 1).mean() for i, gt in truths.items()]
    assert found["abs_rel"] == pytest.approx(np.mean(errors), rel=1e-5)
    right = [np.abs(depth_of(room, i) / gt[:, 32:] - 1).mean() for i, gt in truths.items()]
    assert found["confident"]["abs_rel"] == pytest.approx(np.mean(right), rel=1e-5)
    assert found["confident"]["sigma"] == CONFIDENT_SIGMA
    assert found["confident"]["pixel_coverage"] == pytest.approx(0.5)
    assert found["coverage"] == found["confident"]["coverage"] == (FRAMES - 1) / FRAMES
    sigma = np.where(np.arange(64) < 32, 0.5, 0.05)
    inside = [np.abs(np.log(depth_of(room, i) / gt)) <= 1.6282 * sigma for i, gt in truths.items()]
    assert found["band_90"] == pytest.approx(np.mean(inside), abs=1e-3)
    assert found["kind"] == "sweep" and "rule" not in found
    assert {"ause", "aurg", "constant", "sparsification", "without_depth"} <= found.keys()
    assert found["without_depth"] == ["room 0: no past frame yet"]


def test_text_names_the_rows(room: Sequence, tmp_path: Path, capsys) -> None:
    """A reader sees the best constant, confident pixels with their coverage, and the band."""
    assert evaluate(room.root, "--report", tmp_path / "report") == 0
    shown = capsys.readouterr().out
    for words in ("abs_rel, confident pixels", "coverage, confident pixels", "90 % band of sigma"):
        assert words in shown
    assert "AUSE" in shown and (tmp_path / "report/report.html").is_file()


def test_every_scores_some_and_streams_all(room: Sequence, fake_sweep, capsys) -> None:
    """Each frame reaches the sweep; every third is scored."""
    assert evaluate(room.root, "--every", 3, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["frames"], found["frames_gt"]) == (2, 3)
    assert len(fake_sweep.made[0].told) == FRAMES


def test_poses_by_odometry(room: Sequence, monkeypatch, capsys) -> None:
    """In metres by a speed; relative only with the median; the first pose comes a frame later."""
    for unit, state, words in (
        (1.0, ScaleState("observed", "speed", 0.02), ("--speed", 3)),
        (5.0, ScaleState(), ("--align", "median")),
    ):
        one = FakeOdometry(room, unit=unit, state=state)
        monkeypatch.setattr(follow, "make_odometry", lambda *_, one=one, **__: one)
        assert evaluate(room.root, "--poses", "odometry", *words, "--json") == 0
        found = json.loads(capsys.readouterr().out)
        assert found["frames"] == FRAMES - 2 and "band_90" in found
    assert evaluate(room.root, "--poses", "odometry") == 1
    assert "the odometry is relative, not metres; give --speed" in capsys.readouterr().err


def test_several_sequences_begin_anew(room: Sequence, fake_sweep, capsys) -> None:
    """Each has a stream of its own."""
    result = depthkit.evaluate.model("sweep", [room.root, room.root], quality="fast", threads=1)
    assert len(fake_sweep.made) == 2 and fake_sweep.made[0].config.shrink == 4
    assert result.figures["frames_gt"] == 2 * FRAMES


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--rule", "fixed"), "sweep: chooses its earlier frames itself"),
        (("--baseline", 0.3), "--rule, --baseline and --shift are for pairs"),
        (("--shift", -2), "are for pairs"),
        (("--speed", 3), "gives an odometry metres; give --poses odometry"),
    ],
)
def test_what_does_not_go_with_it_is_one_line(room: Sequence, capsys, words, message) -> None:
    """Options of pairs, and metres of an odometry that does not run."""
    assert evaluate(room.root, *words) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_without_poses_the_odometry_is_named(made: Path, tmp_path: Path, capsys) -> None:
    """A sequence without poses, or with relative ones: what to give."""
    shutil.copytree(made, tmp_path / "blind")
    (tmp_path / "blind/poses.txt").unlink()
    assert evaluate(tmp_path / "blind", "--align", "median") == 1
    assert "has no poses.txt" in (error := capsys.readouterr().err) and "--poses odometry" in error
    shutil.copytree(made, tmp_path / "other")
    (tmp_path / "other/poses.yaml").write_text(RELATIVE)
    assert evaluate(tmp_path / "other") == 1
    assert "its poses are relative, not metres; pass --align median" in capsys.readouterr().err
    assert evaluate(tmp_path / "other", "--align", "median") == 0
