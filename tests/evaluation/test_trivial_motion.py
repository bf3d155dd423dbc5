# SPDX-License-Identifier: Apache-2.0
"""What an odometry has to beat, and segments of one run scored together: numbers by hand."""

import json
from pathlib import Path

import numpy as np
import pytest

from depthkit.cli import main
from depthkit.evaluation.baselines import straight_on
from depthkit.evaluation.odometry import score_odometry
from depthkit.rigid import exp_se3
from depthkit.trajectory import Trajectory, save_tum

N = 41


def quarter_circle() -> Trajectory:
    """A quarter of a circle of 10 m, 4 s, looking along it."""
    steps = np.repeat(
        exp_se3(np.array([0, 0, 10 * np.pi / 2 / (N - 1), 0, np.pi / 80, 0]))[None], N - 1, 0
    )
    poses = [np.eye(4)]
    for step in steps:
        poses.append(poses[-1] @ step)
    return Trajectory(np.linspace(0, 4, N), np.stack(poses))


def line(n: int = N) -> Trajectory:
    """Straight forward, 0.5 m a frame, 10 Hz."""
    poses = np.repeat(np.eye(4)[None], n, 0)
    poses[:, 2, 3] = 0.5 * np.arange(n)
    return Trajectory(np.arange(n) / 10, poses)


def test_straight_on_is_right_on_a_line() -> None:
    """Constant speed forward is the truth there: its ATE is 0, standing still is half the line."""
    truth = line()
    score = score_odometry(truth, truth, mode="7dof")
    assert score.ate_straight_m == pytest.approx(0, abs=1e-9)
    # Even spacing d over n points: variance d^2 (n^2 - 1) / 12.
    assert score.ate_still_m == pytest.approx(0.5 * np.sqrt((N**2 - 1) / 12), rel=1e-9)


def test_straight_on_has_the_length_and_ignores_turns() -> None:
    """On a curve it starts as the reference does and is as long, but never turns."""
    truth = quarter_circle()
    path = straight_on(truth.stamps, truth.T_world_cam)
    length = np.linalg.norm(np.diff(truth.positions, axis=0), axis=1).sum()
    assert np.allclose(path[0], truth.T_world_cam[0])
    assert np.linalg.norm(path[-1, :3, 3]) == pytest.approx(length, rel=1e-9)
    assert np.allclose(path[:, :3, :3], np.eye(3))
    score = score_odometry(truth, truth)
    # The end of an arc r = 10 lies at (r, r); the line's end at (0, r pi/2) and a step's chord off.
    assert 5 < score.ate_straight_m < np.hypot(10, 10 * np.pi / 2 - 10)
    still = np.sqrt(np.mean(np.sum(truth.positions**2, axis=1)))
    assert score.ate_still_m == pytest.approx(still)


def test_a_reference_that_stands_still_has_no_straight_answer() -> None:
    """Nothing can be aligned by a scale then; without a fit the answer is 0."""
    still = Trajectory(np.arange(5.0), np.repeat(np.eye(4)[None], 5, 0))
    assert score_odometry(still, still).ate_straight_m == 0


def segments(folder: Path, *parts: Trajectory) -> Path:
    """Write an output folder with a file for each segment, and a smoothed one to be left alone."""
    folder.mkdir()
    for i, part in enumerate(parts):
        save_tum(folder / f"trajectory_tum{f'_{i}' if i else ''}.txt", part)
    save_tum(folder / "trajectory_smoothed_tum.txt", line(3))
    return folder


def evaluate(estimate: Path, reference: Path, *words: str) -> int:
    files = ("--estimate", str(estimate), "--reference", str(reference))
    return main(["evaluate", "odometry", *files, *words])


def test_trivial_answers_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They stand on stdout beside the ATE, and in the JSON."""
    save_tum(tmp_path / "a.txt", line())
    assert evaluate(tmp_path / "a.txt", tmp_path / "a.txt", "--align", "7dof") == 0
    assert "straight on at constant speed" in (shown := capsys.readouterr().out)
    assert "standing still 5.916 m" in shown and "coverage 100.0 %" in shown
    assert evaluate(tmp_path / "a.txt", tmp_path / "a.txt", "--json") == 0
    assert json.loads(capsys.readouterr().out)["ate_straight_m"] == pytest.approx(0, abs=1e-9)


def test_segments_of_a_folder_are_aligned_one_by_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two worlds at two scales are both right; together they cover what is left of a loss."""
    truth = quarter_circle()
    save_tum(tmp_path / "truth.txt", truth)
    first, second = truth.take(slice(0, 20)), truth.take(slice(25, N))
    poses = second.T_world_cam.copy()
    poses[:, :3, 3] *= 0.1  # another scale, another world
    second = Trajectory(second.stamps, poses)
    out = segments(tmp_path / "out", first, second)
    assert evaluate(out, tmp_path / "truth.txt", "--align", "7dof", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    together = found["together"]["out"]
    assert (together["segments"], together["poses"]) == (2, 36)
    assert together["coverage"] == pytest.approx(36 / N)
    assert together["ate_m"] == pytest.approx(0, abs=1e-9)
    assert [one["name"] for one in found["estimates"]] == ["out segment 0", "out segment 1"]
    assert evaluate(out, tmp_path / "truth.txt", "--align", "7dof") == 0
    assert "each aligned on its own" in capsys.readouterr().out


def test_a_segment_that_is_too_short_lowers_the_coverage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is named, and the others are scored."""
    truth = quarter_circle()
    save_tum(tmp_path / "truth.txt", truth)
    out = segments(tmp_path / "out", truth.take(slice(0, 20)), truth.take(slice(30, 32)))
    assert evaluate(out, tmp_path / "truth.txt", "--align", "7dof") == 0
    shown = capsys.readouterr()
    assert "out segment 1: not scored" in shown.err
    assert f"coverage {100 * 20 / N:.1f} %" in shown.out


def test_one_segment_is_scored_as_its_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder with one segment is that file; one without a trajectory is one line."""
    save_tum(tmp_path / "truth.txt", quarter_circle())
    out = segments(tmp_path / "out", quarter_circle())
    assert evaluate(out, tmp_path / "truth.txt", "--json") == 0
    assert json.loads(capsys.readouterr().out)["coverage"] == 1
    (tmp_path / "empty").mkdir()
    assert evaluate(tmp_path / "empty", tmp_path / "truth.txt") == 1
    assert "is a folder without trajectory_tum.txt" in capsys.readouterr().err


def test_a_relative_segment_is_no_error_in_metres(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the scale came late, a rigid fit scores the metres alone and says what it left out."""
    truth = quarter_circle()
    save_tum(tmp_path / "truth.txt", truth)
    poses = truth.T_world_cam.copy()
    poses[:, :3, 3] *= 0.1
    early = Trajectory(truth.stamps, poses).take(slice(0, 10))
    out = segments(tmp_path / "out", early, truth.take(slice(10, N)))
    units = {"segments": [{"unit": "relative"}, {"unit": "metric"}]}
    (out / "summary.json").write_text(json.dumps(units))
    assert evaluate(out, tmp_path / "truth.txt", "--align", "6dof") == 0
    shown = capsys.readouterr()
    assert "out segment 0: relative, left out by align '6dof'" in shown.err
    assert f"{100 * 31 / N:.1f} %" in shown.out
    assert evaluate(out, tmp_path / "truth.txt", "--align", "7dof", "--json") == 0
    assert json.loads(capsys.readouterr().out)["together"]["out"]["coverage"] == 1
