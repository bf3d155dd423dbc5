# SPDX-License-Identifier: Apache-2.0
"""Saved scores: what is written comes back, evo's archives too, anything else is one line."""

import json
import zipfile
from pathlib import Path

import pytest

from depthkit.errors import DataError
from depthkit.evaluation.saved import (
    SavedScore,
    compare_notes,
    compare_table,
    load_scores,
    save_scores,
)


def odometry(name: str, **figures: object) -> SavedScore:
    """Figures of one estimate."""
    base = {"t_rel_percent": None, "ate_m": 0.5, "coverage": 1.0, "align": "6dof"}
    return SavedScore(name, base | figures)


def evo_archive(path: Path, title: str, stats: dict[str, float]) -> Path:
    """Write what `evo --save_results` writes, as far as it is read."""
    info = {"title": title, "ref_name": "/d/gt.txt", "est_name": "/d/run7.txt", "label": "x"}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("info.json", json.dumps(info))
        archive.writestr("stats.json", json.dumps(stats))
    return path


def test_saved_scores_come_back(tmp_path: Path) -> None:
    """Names, figures and nulls survive; what is common to all belongs to each."""
    scores = [odometry("a"), odometry("b", ate_m=0.25)]
    save_scores(tmp_path / "s.json", scores, {"reference": "gt.txt"})
    back = load_scores(tmp_path / "s.json")
    assert [one.name for one in back] == ["a", "b"] and back[0].kind == "odometry"
    assert back[1].figures == scores[1].figures | {"reference": "gt.txt"}
    assert [path.name for path in tmp_path.iterdir()] == ["s.json"]


def test_printed_json_takes_the_name_of_its_file(tmp_path: Path) -> None:
    """What --json printed has no name of its own; depth is read as well."""
    (tmp_path / "night.json").write_text('{"abs_rel": 0.1, "frames": 4}')
    (score,) = load_scores(tmp_path / "night.json")
    assert (score.name, score.kind) == ("night", "depth")


@pytest.mark.parametrize(
    "title, key, value",
    [
        ("APE w.r.t. translation part (m)\n(with SE(3) Umeyama alignment)", "ate_m", 0.75),
        ("RPE w.r.t. translation part (m)\nfor delta = 1 (frames)", "rpe_trans_m", 0.5),
        ("RPE w.r.t. rotation angle in degrees (deg)\ndelta = 1 (frames)", "rpe_rot_evo_deg", 0.5),
    ],
)
def test_results_of_evo_are_read(title: str, key: str, value: float, tmp_path: Path) -> None:
    """ATE is evo's rmse, RPE its mean over one frame."""
    (score,) = load_scores(evo_archive(tmp_path / "e.zip", title, {"rmse": 0.75, "mean": 0.5}))
    assert score.figures[key] == value and score.name == "run7" and score.kind == "odometry"
    assert score.figures["align"] == ("6dof" if key == "ate_m" else None)


BAD = {
    "text": ("hello", "is not JSON"),
    "empty": ("", "is not JSON"),
    "list": ("[1, 2]", "holds no score"),
    "no figure": ('{"a": 1}', "holds no score"),
    "no estimates": ('{"estimates": []}', "'estimates' must be a list of scores"),
    "number as text": ('{"ate_m": "0.5"}', "ate_m must be a number, got '0.5'"),
    "null": ('{"ate_m": null}', "its score is null"),
    "nested too deep": ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "is not JSON"),
    "bare estimates": ('{"estimates": [3]}', "holds no score"),
}


@pytest.mark.parametrize("name", BAD)
def test_other_files_are_one_line(name: str, tmp_path: Path) -> None:
    """What holds no score is said with its name."""
    text, message = BAD[name]
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DataError, match=message) as error:
        load_scores(tmp_path / "x.json")
    assert "x.json" in str(error.value) and "\n" not in str(error.value)


def test_other_archives_and_missing_files_are_one_line(tmp_path: Path) -> None:
    """A zip that is none of evo's, one of another figure, and no file at all."""
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr("a.txt", "a")
    evo_archive(tmp_path / "far.zip", "RPE w.r.t. translation part\ndelta = 10 (m)", {"mean": 1})
    for name, message in (
        ("z.zip", "no result archive of evo"),
        ("far.zip", "delta 1 frame"),
        ("none.json", "no such file"),
        ("", "is a folder"),
    ):
        with pytest.raises(DataError, match=message):
            load_scores(tmp_path / name)


def test_table_leaves_out_what_nobody_has() -> None:
    """A figure that all lack has no column; one that some lack is None."""
    table = compare_table([odometry("a", t_rel_percent=1.5), odometry("b")])
    assert table[0] == ["", "t_rel [%]", "ATE [m]", "coverage", "align"]
    assert table[2] == ["b", None, 0.5, 1.0, "6dof"]
    assert "t_rel [%]" not in compare_table([odometry("b")])[0]


def test_what_may_not_be_compared_is_said() -> None:
    """Other kinds are refused; another alignment or coverage is a note; equal runs have none."""
    with pytest.raises(DataError, match="depth and odometry cannot stand in one table"):
        compare_table([odometry("a"), SavedScore("d", {"abs_rel": 0.1})])
    notes = compare_notes([odometry("a"), odometry("b", align="7dof", coverage=0.5)])
    assert "6dof, 7dof" in notes[0] and "50.0 to 100.0 %" in notes[1]
    assert compare_notes([odometry("a"), odometry("b")]) == []
