# SPDX-License-Identifier: Apache-2.0
"""`depthkit match`: a planted shift found and written, and bad pairs refused in one line."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from multiview.test_hybrid_match import texture
from test_export import save_small

import depthkit
from depthkit.cli import main
from depthkit.pipelines.match import MatchSummary

SHIFT, SIZE = 12, (120, 240)


@pytest.fixture
def pair(tmp_path) -> tuple[Path, Path]:
    """Two pictures of a wall, 12 pixels apart."""
    wall = texture(0, (SIZE[0], SIZE[1] + 40))
    files = tmp_path / "left.png", tmp_path / "right.png"
    cv2.imwrite(str(files[0]), wall[:, : SIZE[1]])
    cv2.imwrite(str(files[1]), wall[:, SHIFT : SHIFT + SIZE[1]])
    return files


def test_a_planted_shift_is_written(pair, tmp_path, capsys):
    """Every file says 12 pixels; the mask leaves out what the right picture does not show; Python
    and the command line give the same bytes."""
    out = tmp_path / "out"
    assert main(["match", *map(str, pair), "--out", str(out), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["max_disparity"] == 32  # 1.25 * 12 + 8, rounded up
    assert (printed["width"], printed["height"]) == (240, 120) and printed["measured"] > 0.9
    assert printed["median_disparity"] == pytest.approx(SHIFT, abs=0.1)
    assert printed["vertical_offset"] < 0.5
    valid = cv2.imread(str(out / "valid.png"), cv2.IMREAD_UNCHANGED) == 255
    steps = cv2.imread(str(out / "disparity.png"), cv2.IMREAD_UNCHANGED)
    filled = np.load(out / "disparity.npy")
    assert valid.shape == steps.shape == filled.shape == SIZE and steps.dtype == np.uint16
    assert not valid[:, : SHIFT - 2].any() and valid[:, SHIFT + 4 :].mean() > 0.97
    np.testing.assert_array_equal(steps > 0, valid)
    np.testing.assert_allclose(steps[valid] / 256, filled[valid], atol=1 / 512 + 1e-6)
    assert (np.abs(filled - SHIFT) < 0.5).mean() > 0.98
    assert cv2.imread(str(out / "picture.jpg")).shape == (*SIZE, 3)
    found = depthkit.match(*pair, tmp_path / "mine", threads=1)
    assert (tmp_path / "mine" / "disparity.npy").read_bytes() == (
        out / "disparity.npy"
    ).read_bytes()
    assert depthkit.load_record(MatchSummary, tmp_path / "mine" / "summary.json") == found


def test_a_run_compares_by_its_descriptors(pair, tmp_path, capsys):
    """A run of task similarity is exported on the way, which is said; its file then opens."""
    run = save_small(tmp_path / "run.safetensors", "task=similarity", "similarity.window=[48,64]")
    words = ["match", *map(str, pair), "--similarity", str(run), "--max-disparity", "16"]
    assert main([*words, "--out", str(tmp_path / "out"), "--threads", "1"]) == 0
    said = capsys.readouterr()
    assert "exported to a temporary ONNX file" in said.err and "by " in said.out
    assert np.load(tmp_path / "out" / "disparity.npy").shape == SIZE


def change(file: Path, how) -> None:
    """Rewrite a picture."""
    cv2.imwrite(str(file), how(cv2.imread(str(file), 0)))


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda left, right: right.unlink(), r"right.png"),
        (lambda left, right: right.write_text("no picture"), r"right.png"),
        (
            lambda left, right: change(right, lambda grey: grey[:100]),
            "right.png: is 240x100, left.png is 240x120; a rectified pair has one size",
        ),
        (
            lambda left, right: change(right, lambda grey: np.roll(grey, 5, 0)),
            "left.png and right.png: not rectified: the rows of",
        ),
        (
            lambda left, right: change(right, lambda grey: np.roll(grey, 2 * SHIFT, 1)),
            "the two look swapped; give the left one first",
        ),
    ],
    ids=["missing", "no picture", "sizes", "not rectified", "swapped"],
)
def test_bad_pairs_are_one_line(pair, tmp_path, capsys, spoil, line):
    """Exit 1, what is wrong in one line, and nothing written."""
    spoil(*pair)
    out = tmp_path / "out"
    assert main(["match", *map(str, pair), "--out", str(out)]) == 1
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and line in said[0]
    assert not out.exists()


def test_bad_options_are_one_line(pair, tmp_path, capsys):
    """No such model, a depth network, a range beyond the picture, an output that is there."""
    words = ["match", *map(str, pair), "--out", str(tmp_path / "out")]
    for more, line in (
        (["--similarity", "sift"], "sift: no such model"),
        (["--similarity", "depthnet-stillbox"], "expected a network of kind features, got pair"),
        (["--max-disparity", "240"], "--max-disparity: below the width, 240 pixels; got 240"),
    ):
        assert main([*words, *more]) == 1
        assert line in capsys.readouterr().err
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep")
    assert main([*words, "--force"]) == 1
    assert "holds something else" in capsys.readouterr().err
    assert main([*words, "--max-disparity", "0"]) == 2


def test_a_blank_pair_is_matched_and_said(tmp_path, capsys):
    """Without texture nothing is known of the pair: a quarter of the width is searched."""
    for name in ("left.png", "right.png"):
        cv2.imwrite(str(tmp_path / name), np.full((64, 128), 90, np.uint8))
    files = [str(tmp_path / name) for name in ("left.png", "right.png")]
    assert main(["match", *files, "--out", str(tmp_path / "out"), "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["vertical_offset"] is None
    assert "largest disparity: 32 pixels" in said.err
