# SPDX-License-Identifier: Apache-2.0
"""`depthkit evaluate flow` as a user meets it, and classical flow on Middlebury's real pairs."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from depthkit.cli import main
from depthkit.data.flow_files import write_flow
from depthkit.data.flow_pairs import find_flow_pairs

Output = pytest.CaptureFixture[str]

DIS_MEDIUM = {"rubberwhale": 0.225, "Grove2": 0.319, "Urban2": 0.645, "Teddy": 8.9}
"""End-point errors of OpenCV's DIS, medium preset, as the data's README gives them, pixels."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with three true maps of (2, 0) px, as KITTI's PNG."""
    monkeypatch.chdir(tmp_path)
    for i in range(3):
        make_flow(tmp_path / f"gt/{i:06d}.png", 2.0)
    return tmp_path


def make_flow(path: Path, u: float, size: tuple[int, int] = (8, 12)) -> None:
    """Write even flow to the right."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_flow(path, np.broadcast_to(np.array([u, 0.0], np.float32), (*size, 2)))


def score(*options: str, pred: str = "pred", gt: str = "gt") -> int:
    """Run the program on two folders."""
    return main(["evaluate", "flow", "--pred", pred, "--gt", gt, *options])


def test_json_keeps_the_contract_and_says_what_is_missing(folder: Path, capsys: Output) -> None:
    """A .flo is paired with a PNG by name; a missing map and a spare one are said."""
    for name in ("000000", "000001", "000009"):
        make_flow(folder / f"pred/{name}.flo", 6.5)
    assert score("--json") == 0
    captured = capsys.readouterr()
    figures = json.loads(captured.out)
    assert list(figures)[:3] == ["epe", "fl_all_percent", "coverage"]
    assert (figures["epe"], figures["fl_all_percent"]) == (4.5, 100)
    assert figures["coverage"] == pytest.approx(2 / 3)
    assert (figures["frames"], figures["frames_gt"], figures["pixel_coverage"]) == (2, 3, 1)
    assert "1 of 3 frames with a truth have no prediction" in captured.err
    assert "1 of 3 predictions have no truth" in captured.err
    assert "no better than no motion" in figures["notes"][0] and len(figures["notes"]) == 3


def test_text_and_report(folder: Path, capsys: Output) -> None:
    """Coverage stands first; the report has the still picture beside, and three pictures."""
    for i in range(3):
        make_flow(folder / f"pred/{i:06d}.flo", 2.5)
    assert score("--report", "out") == 0
    out = capsys.readouterr().out
    assert out.startswith("coverage 100.0 %: 3 of 3 frames") and "epe     0.5" in out
    page = (folder / "out" / "report.html").read_text()
    assert "no motion (baseline)" in page and page.count("data:image/png;base64,") == 3
    assert score("--report", "out") == 1
    assert "holds files already" in capsys.readouterr().err
    assert score("--report", "out", "--force") == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: None, "pred: no such folder"),
        (lambda: Path("pred").mkdir(), "pred: holds no flow"),
        (lambda: make_flow(Path("pred/x.flo"), 0), "'x' against '000000'"),
        (lambda: make_flow(Path("pred/000001.flo"), 0, (4, 6)), "flow of 6x4"),
        (lambda: make_flow(Path("pred/000001.flo"), np.nan), "no frame has both"),
    ],
)
def test_bad_predictions_are_one_line(make, message, folder: Path, capsys: Output) -> None:
    """Exit 1 and one line that says what is wrong."""
    make()
    assert score("--json") == 1
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert captured.out == "" and line.startswith("depthkit: error: ") and message in line


def test_usage_error_is_two(folder: Path) -> None:
    """Both folders must be named."""
    assert main(["evaluate", "flow", "--pred", "x"]) == 2


def test_classical_flow_on_middlebury(tmp_path: Path, data_root: Path, capsys: Output) -> None:
    """DIS reaches the errors that the data's own README gives, scene by scene."""
    root = data_root / "middlebury_flow"
    if not root.is_dir():
        pytest.skip(f"no Middlebury pairs at {root}")
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    pairs = find_flow_pairs(root)
    assert set(pairs) == set(DIS_MEDIUM)
    for name, pair in pairs.items():
        first, second = (cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY) for rgb in pair.read_frames())
        write_flow(tmp_path / f"{name}.flo", search.calc(first, second, None))
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}.flo").rename(tmp_path / name / "flow10.flo")
        assert score("--json", pred=str(tmp_path / name), gt=str(root / name)) == 0
        epe = json.loads(capsys.readouterr().out)["epe"]
        assert epe == pytest.approx(DIS_MEDIUM[name], rel=0.01)
    assert score("--json", pred=str(tmp_path), gt=str(root)) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["epe_frame_mean"] == pytest.approx(2.511, rel=0.01)
    assert figures["frames"] == 4
