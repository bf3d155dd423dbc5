# SPDX-License-Identifier: Apache-2.0
"""`depthkit evaluate model`: pairs chosen by displacement, scores derived by hand, honest rows."""

import json
import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from runtime.onnx_makers import write_mono, write_pair

from depthkit.cli import main
from depthkit.data.sequence import open_sequence
from depthkit.errors import DataError
from depthkit.evaluation.depth import DepthProtocol
from depthkit.evaluation.pairs import (
    pairs_at_baseline,
    pairs_at_shift,
    score_best_constants,
    score_pair,
)
from depthkit.pipelines.score import model as evaluate_model
from depthkit.pipelines.score.pairs import Setting, score_row
from depthkit.runtime.depth.depth_method import DepthMethod
from depthkit.trajectory import exp_se3

Output = pytest.CaptureFixture[str]
PROTOCOL = DepthProtocol(max_depth=50.0)


def line(*x: float) -> np.ndarray:
    """Poses on the x axis. (N, 4, 4)"""
    poses = np.tile(np.eye(4), (len(x), 1, 1))
    poses[:, 0, 3] = x
    return poses


# --- pairs ---------------------------------------------------------------------------------------


def test_pairs_take_the_nearest_displacement() -> None:
    """At 0.1 m a frame 0.3 m is three frames, earlier where there are earlier ones."""
    pairs = pairs_at_baseline(line(*(0.1 * i for i in range(6))), 0.3)
    assert [(p.target, p.source) for p in pairs] == [(0, 3), (1, 4), (2, 5), (3, 0), (4, 1), (5, 2)]
    assert all(p.baseline == pytest.approx(0.3) for p in pairs)
    # The source stands at -0.3 m: what the target sees at x, it sees at x + 0.3.
    np.testing.assert_allclose(pairs[3].T_source_target[:3, 3], [0.3, 0, 0])


def test_pairs_leave_out_what_does_not_fit() -> None:
    """No partner within a factor sqrt(2), no pose, or too much turned: no pair."""
    assert pairs_at_baseline(line(0.0, 0.1, 0.2), 0.3) == []  # 0.2 < 0.3 / sqrt(2)
    poses = line(0.0, 0.3, 0.6)
    poses[1] = np.nan
    assert pairs_at_baseline(poses, 0.3) == []
    poses = line(0.0, 0.3)
    poses[1] = poses[1] @ exp_se3(np.array([0, 0, 0, 0, 0.6, 0]))
    assert pairs_at_baseline(poses, 0.3) == []
    poses = line(0.0, 0.3, 0.32)  # the nearest has turned away, the next has not
    poses[1] = poses[1] @ exp_se3(np.array([0, 0, 0, 0, 0.6, 0]))
    assert [(p.target, p.source) for p in pairs_at_baseline(poses, 0.3)] == [(0, 2), (2, 0)]


def test_pairs_at_shift_need_motion() -> None:
    """Frames that hover are in no pair, and a shift of 0 is refused."""
    pairs = pairs_at_shift(line(0.0, 0.0, 0.2, 0.3), -1)
    assert [(p.target, p.source) for p in pairs] == [(2, 1), (3, 2)]
    assert pairs[0].baseline == pytest.approx(0.2) and pairs[0].rotation == 0
    with pytest.raises(DataError, match="must not be 0"):
        pairs_at_shift(line(0.0, 0.1), 0)


# --- scores --------------------------------------------------------------------------------------


def test_score_by_hand() -> None:
    """Truth 2, 10 and 80 m at 0.6 m; D0 0.3 m halves them; the far one is beyond the range of the
    metric figures and counts, clipped, at the nominal baseline."""
    gt = np.array([[2.0, 10.0, 80.0, 0.0]])
    pred = np.array([[3.0, 10.0, 60.0, 5.0]])
    score = score_pair(pred, gt, None, to_nominal=0.5, far=35.0, protocol=PROTOCOL)
    assert score is not None
    assert score.abs_rel == pytest.approx(0.25)  # (0.5 + 0) / 2
    assert score.mae_m == pytest.approx(0.5)
    assert score.a1 == pytest.approx(0.5)
    assert score.mae_m_at_d0 == pytest.approx((0.5 + 0.0 + 5.0) / 3)  # 1.5-1, 5-5, 30-35 (of 40)
    assert score.pixel_coverage == 1.0


def test_score_of_chosen_pixels() -> None:
    """`valid` leaves pixels out of all figures and is told as coverage; nothing left is None."""
    gt, pred = np.array([[2.0, 4.0]]), np.array([[2.0, 8.0]])
    choices: dict[str, Any] = {"to_nominal": 1.0, "far": 100.0, "protocol": PROTOCOL}
    score = score_pair(pred, gt, np.array([[True, False]]), **choices)
    assert score is not None
    assert (score.abs_rel, score.mae_m_at_d0, score.pixel_coverage) == (0.0, 0.0, 0.5)
    assert score_pair(pred, 0 * gt, None, **choices) is None


def test_best_constants_beat_every_other_constant() -> None:
    """No constant has less abs_rel, MAE or MAE at D0, or more a1, than the best ones are given."""
    rng = np.random.default_rng(0)
    truths = [(rng.gamma(3.0, 2.0, (20, 30)) + 0.5, s) for s in (1.0, 2.0, 0.5)]
    choices: dict[str, Any] = {"far": 20.0, "protocol": PROTOCOL}
    best = score_best_constants(truths, **choices)
    assert best is not None
    for depth in np.geomspace(0.5, 40, 60):
        found = [
            score_pair(np.full(g.shape, depth), g, None, to_nominal=s, **choices) for g, s in truths
        ]
        for name in ("abs_rel", "mae_m"):
            assert getattr(best, name) < np.mean([getattr(f, name) for f in found]) + 1e-3
        assert best.a1 > np.mean([f.a1 for f in found if f]) - 5e-3
        at_d0 = [
            score_pair(np.full(g.shape, depth / s), g, None, to_nominal=s, **choices)
            for g, s in truths
        ]
        assert best.mae_m_at_d0 < np.mean([f.mae_m_at_d0 for f in at_d0 if f]) + 1e-3


# --- the command ---------------------------------------------------------------------------------


class Oracle:
    """Knows the truth of every frame and is wrong by a factor."""

    def __init__(self, sequence: Path, factor: float) -> None:
        opened = open_sequence(sequence)
        self.truth = {opened.read_frame(i).tobytes(): i for i in range(len(opened))}
        self.sequence, self.factor = opened, factor
        self.manifest = SimpleNamespace(scale="metric")
        self.seen: list[tuple[int, int]] = []

    def look(self, rgb: np.ndarray) -> np.ndarray:
        """Return the wrong depth of a frame."""
        return self.factor * self.sequence.read_depth(self.truth[rgb.tobytes()])


class PairOracle(Oracle):
    """The same, asked with pairs; checks that it is told how the camera moved."""

    kind, nominal_baseline, max_depth = "pair", 0.3, 100.0

    def depth(
        self,
        rgb_previous: np.ndarray,
        rgb_current: np.ndarray,
        *,
        T_current_previous: np.ndarray,
        K: np.ndarray,
    ) -> np.ndarray:
        """Return the wrong depth of the current frame."""
        i, j = (self.truth[rgb.tobytes()] for rgb in (rgb_previous, rgb_current))
        poses = self.sequence.poses
        assert poses is not None
        np.testing.assert_allclose(poses[j] @ T_current_previous, poses[i], atol=1e-9)
        np.testing.assert_allclose(K, self.sequence.camera.K)
        self.seen.append((i, j))
        return self.look(rgb_current)


class MonoOracle(Oracle):
    """The same for single frames."""

    kind = "mono"

    def depth(self, rgb: np.ndarray, *, K: np.ndarray) -> Any:
        """Return the wrong depth of a frame."""
        np.testing.assert_allclose(K, self.sequence.camera.K)
        return SimpleNamespace(depth=self.look(rgb))


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight frames of a room, 0.3 m apart."""
    from depthkit.synth.boxes import write_box_sequence

    path = tmp_path_factory.mktemp("room") / "room"
    write_box_sequence(path, 8, (48, 64), seed=3)
    return path


def evaluate(model: Any, monkeypatch: pytest.MonkeyPatch, *words: str | Path) -> int:
    """Run the program with a model in the place of an engine."""
    opened = nullcontext(DepthMethod(model.kind, model))
    monkeypatch.setattr(evaluate_model, "open_method", lambda *_, **__: opened)
    monkeypatch.setattr(evaluate_model, "EnginePairs", lambda engine: engine)
    return main(["evaluate", "model", "some_run", *map(str, words)])


def test_pair_model_is_scored_over_baselines(
    room: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    """A model that is wrong by 10 % has abs_rel 0.1 at every displacement there is; those there are
    not (0.25 and 0.5 of D0, here) are named; the classical answer and the constant stand beside."""
    assert evaluate(PairOracle(room, 1.1), monkeypatch, room, "--json") == 0
    captured = capsys.readouterr()
    figures = json.loads(captured.out)
    assert figures["kind"] == "pair" and figures["align"] == "none"
    assert figures["abs_rel"] == pytest.approx(0.1, abs=1e-3)
    assert (figures["a1"], figures["coverage"], figures["frames"]) == (1.0, 1.0, 8)
    factors = [row["factor"] for row in figures["rows"]]
    assert factors == pytest.approx([0.25, 0.5, 1, 2, 4])
    counts = [row["pairs"] for row in figures["rows"]]
    assert counts[:2] == [0, 0] and all(count > 0 for count in counts[2:])
    assert captured.err.count("no pair of frames is that far apart") == 2
    nominal = figures["rows"][2]
    assert nominal["baseline_m"] == pytest.approx(0.3, abs=0.01)
    assert nominal["model"]["mae_m_at_d0"] == pytest.approx(figures["mae_m_at_d0"])
    assert 0 < nominal["classical"]["abs_rel"] < nominal["constant"]["abs_rel"]
    measured = nominal["classical_where_measured"]
    assert measured["pixel_coverage"] <= 1 and nominal["model"]["pixel_coverage"] == 1
    assert nominal["model_where_measured"]["abs_rel"] == pytest.approx(0.1, abs=1e-3)


def test_pairs_that_hardly_move_lower_the_coverage(room: Path) -> None:
    """The engine refuses 1 mm, D0 / 300: one such pair must not end the whole evaluation."""
    model = PairOracle(room, 1.1)
    assert model.sequence.poses is not None
    poses = model.sequence.poses.copy()
    poses[1] = poses[0]
    poses[1, 0, 3] += 0.001
    model.sequence = replace(model.sequence, poses=poses)
    row = score_row(model, [model.sequence], Setting(shift=-1), PROTOCOL)
    assert [case.pair.target for case in row.cases] == [2, 3, 4, 5, 6, 7]
    assert row.coverage == 6 / 8


def test_pairs_that_turn_too_far_lower_the_coverage(room: Path) -> None:
    """A frame turned by 90 degrees shares no view with its neighbours: two pairs are left out."""
    model = PairOracle(room, 1.1)
    assert model.sequence.poses is not None
    poses = model.sequence.poses.copy()
    poses[4, :3, :3] = poses[4, :3, :3] @ np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]])
    model.sequence = replace(model.sequence, poses=poses)
    row = score_row(model, [model.sequence], Setting(shift=-1), PROTOCOL)
    assert [case.pair.target for case in row.cases] == [1, 2, 3, 6, 7]
    assert row.coverage == 5 / 8


def test_real_network_is_scored_too(room: Path, tmp_path: Path, capsys: Output) -> None:
    """A pair network that says 20 m at 0.3 m, of another focal length: its error, by hand."""
    model = write_pair(tmp_path / "pair.onnx", weights=(0, 0), bias=20.0, focal=40.0)
    words = ("evaluate", "model", model, room, "--shift", "1", "--every", "4", "--json")
    assert main([*map(str, words)]) == 0
    figures = json.loads(capsys.readouterr().out)
    sequence, errors = open_sequence(room), []
    assert sequence.poses is not None
    for i in (0, 4):
        step = np.linalg.norm(sequence.poses[i + 1, :3, 3] - sequence.poses[i, :3, 3])
        gt = sequence.read_depth(i)
        errors.append(np.mean(np.abs(20 * step / 0.3 - gt) / gt))
    assert figures["frames"] == 2 and figures["kind"] == "pair"
    assert figures["abs_rel"] == pytest.approx(np.mean(errors), rel=1e-4)


# --- streams -------------------------------------------------------------------------------------


def stream(model: Path, *words: str | Path) -> int:
    """Evaluate a real file."""
    return main(["evaluate", "model", str(model), *map(str, words)])


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pair network that says 20 m at 0.3 m for every pixel."""
    path = tmp_path_factory.mktemp("flat") / "pair.onnx"
    return write_pair(path, size=(48, 64), weights=(0, 0), bias=20.0, focal=51.2)


def test_stream_is_scored_by_hand(room: Path, flat: Path, capsys: Output) -> None:
    """Rule fixed, shift 2: the error of each frame follows from its own baseline; frames without
    a past lower the coverage and are named; the old keys are all there."""
    words = ("--rule", "fixed", "--shift", "-2", "--json")
    assert stream(flat, room, *words) == 0
    captured = capsys.readouterr()
    figures = json.loads(captured.out)
    sequence, errors = open_sequence(room), []
    assert sequence.poses is not None
    for i in range(2, 8):
        step = np.linalg.norm(sequence.poses[i, :3, 3] - sequence.poses[i - 2, :3, 3])
        gt = sequence.read_depth(i)
        errors.append(np.mean(np.abs(20 * step / 0.3 - gt) / gt))
    # The second frame takes the first: shift 1 is what there is.
    assert (figures["frames"], figures["coverage"]) == (7, pytest.approx(7 / 8))
    assert figures["abs_rel"] == pytest.approx(np.mean(errors), rel=0.1)
    assert figures["baseline_m"] == pytest.approx(0.6, abs=0.05)
    assert figures["without_depth"] == ["room 0: no past frame yet"]
    assert "room 0: no past frame yet" in captured.err
    wanted = {"abs_rel", "sq_rel", "rmse", "rmse_log", "a1", "a2", "a3", "coverage", "frames"}
    assert wanted | {"kind", "rule", "ause", "aurg", "constant", "model"} <= figures.keys()
    assert len(figures["sparsification"]["kept"]) == len(figures["sparsification"]["oracle"])


def test_stream_reports_its_curve(room: Path, flat: Path, tmp_path: Path, capsys: Output) -> None:
    """The table names coverage and AUSE; the report shows the curve and a depth map."""
    assert stream(flat, room, "--rule", "multi_range", "--report", tmp_path / "r") == 0
    out = capsys.readouterr().out
    assert "AUSE" in out and "coverage, frames" in out and "rule multi_range" in out
    page = (tmp_path / "r/report.html").read_text()
    assert page.count("<img") == 2 and (tmp_path / "r/sparsification.png").exists()


def test_stream_refuses_what_it_cannot_do(
    room: Path, flat: Path, tmp_path: Path, capsys: Output
) -> None:
    """Baselines of pairs, rules for single frames, sequences without poses: one line each."""

    def fails(model: Path, message: str, *words: str | Path) -> None:
        assert stream(model, *words) == 1
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1, error

    fails(flat, "--rule streams all frames", room, "--rule", "fixed", "--baseline", "0.3")
    mono = write_mono(tmp_path / "mono.onnx", scale="metric")
    fails(mono, "sees single frames; --rule is for pairs", room, "--rule", "fixed")
    blind = tmp_path / "blind"
    shutil.copytree(room, blind)
    (blind / "poses.txt").unlink()
    fails(flat, "has no poses.txt", blind, "--rule", "multi_range")
    assert stream(flat, blind, "--rule", "multi_range", "--align", "median", "--json") == 0
    assert json.loads(capsys.readouterr().out)["align"] == "median"


def test_pair_model_at_a_shift(room: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    """--shift -2 shows every frame with the one two earlier, and prints a table."""
    oracle = PairOracle(room, 1.0)
    assert evaluate(oracle, monkeypatch, room, "--shift", "-2", "--every", "3") == 0
    assert oracle.seen == [(1, 3), (4, 6)]
    out = capsys.readouterr().out
    assert "shift -2" in out and "best constant" in out and "classical" in out


def test_report_of_pairs(
    room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    """--report writes a page with the table and pictures of model and classical answer."""
    words = (room, "--baseline", "0.3", "--every", "4", "--report", tmp_path / "report")
    assert evaluate(PairOracle(room, 1.2), monkeypatch, *words) == 0
    page = (tmp_path / "report" / "report.html").read_text()
    assert "0.3 m" in page and page.count("<img") == 6
    assert "report.html" in capsys.readouterr().out


def test_frame_model_is_scored_beside_the_constant(
    room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    """A network of single frames gets the keys of `evaluate depth`, and a report when asked."""
    words = ("--json", "--report", str(tmp_path / "report"))
    assert evaluate(MonoOracle(room, 0.9), monkeypatch, room, *words) == 0
    figures = json.loads(capsys.readouterr().out)
    wanted = {"abs_rel", "sq_rel", "rmse", "rmse_log", "a1", "a2", "a3", "coverage", "frames"}
    assert wanted <= figures.keys() and figures["kind"] == "mono"
    assert figures["abs_rel"] == pytest.approx(0.1, abs=1e-3)
    assert figures["abs_rel"] < figures["constant"]["abs_rel"]
    assert (tmp_path / "report" / "report.html").read_text().count("<img") == 3
    assert evaluate(MonoOracle(room, 0.9), monkeypatch, room, "--every", "4") == 0
    assert "best constant depth" in capsys.readouterr().out


def test_bad_input_is_one_line(
    room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    """Relative depth without alignment, shifts for single frames, no depth, no pairs: one line."""
    relative = MonoOracle(room, 1.0)
    relative.manifest.scale = "relative"

    def fails(model: Any, message: str, *words: str | Path) -> None:
        assert evaluate(model, monkeypatch, *words) == 1
        error = capsys.readouterr().err.splitlines()[-1]
        assert message in error, error

    fails(relative, "its depth is relative, not metres; pass --align median", room)
    assert evaluate(relative, monkeypatch, room, "--align", "median", "--every", "4") == 0
    fails(MonoOracle(room, 1.0), "--shift and --baseline are for pairs", room, "--shift", "1")
    fails(PairOracle(room, 1.0), "no pair of frames", room, "--baseline", "40")
    fails(PairOracle(room, 1.0), "the shift must not be 0", room, "--shift", "0")
    fails(PairOracle(room, 1.0), "not a sequence folder", tmp_path)
    for wrong in (("--every", "0"), ("--baseline", "-1"), ("--shift", "1", "--baseline", "1")):
        assert evaluate(PairOracle(room, 1.0), monkeypatch, room, *wrong) == 2
