# SPDX-License-Identifier: Apache-2.0
"""Pictures and the HTML report: whole, self-contained, and honest about holes."""

import base64
import re
import struct
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from depthkit.errors import DataError
from depthkit.evaluation.odometry import OdometryScore, score_odometry
from depthkit.evaluation.plots import (
    plot_ate,
    plot_depth,
    plot_segment_errors,
    plot_trajectory,
    widest_axes,
    with_holes,
)
from depthkit.evaluation.report import Picture, Section, format_cell, write_report
from depthkit.evaluation.snippets import chain_relative
from depthkit.trajectory import Trajectory, exp_se3


def drive(frames: int) -> Trajectory:
    """A curve of one metre a frame."""
    steps = np.repeat(exp_se3([0, 0, 1, 0, 0.01, 0])[None], frames - 1, axis=0)
    return Trajectory(np.arange(frames, dtype=np.float64), chain_relative(steps))


@pytest.fixture(scope="module")
def score() -> OdometryScore:
    """A drive of 250 m with a hole in the estimate."""
    truth = drive(250)
    keep = (truth.stamps < 60) | (truth.stamps > 120)
    return score_odometry(truth, truth.take(keep), mode="7dof")


def png_size(path: Path) -> tuple[int, int]:
    """Return (width, height) of a PNG by its header."""
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n") and data.endswith(b"IEND\xaeB`\x82")
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def test_every_picture_is_a_whole_png(score: OdometryScore, tmp_path: Path) -> None:
    """Each plot writes one PNG of readable size and leaves no temporary file."""
    depth = np.random.default_rng(0).uniform(1, 5, (48, 64))
    depth[:5] = 0
    image = np.zeros((96, 128, 3), np.uint8)
    made = [
        plot_trajectory(tmp_path / "t.png", score),
        plot_segment_errors(tmp_path / "s.png", score.segments),
        plot_ate(tmp_path / "a.png", score),
        plot_depth(tmp_path / "d.png", depth * 1.1, depth, image=image, title="frame"),
        plot_depth(tmp_path / "e.png", depth * 0, depth * 0),
    ]
    for path in made:
        assert min(png_size(path)) > 300
    assert sorted(tmp_path.iterdir()) == sorted(made)


def test_lines_break_where_the_estimate_is_missing() -> None:
    """A hole in time puts NaN between its two sides, so that no line crosses it."""
    stamps = np.array([0.0, 1, 2, 10, 11])
    broken = with_holes(np.arange(10.0).reshape(5, 2), stamps)
    assert np.isnan(broken[:, 0]).tolist() == [False, False, False, True, False, False]


@pytest.mark.parametrize(
    "extent, plane",
    [((100, 5, 300), (0, 2)), ((1, 4, 100), (0, 2)), ((80, 60, 2), (0, 1)), ((2, 60, 80), (2, 1))],
)
def test_the_plane_drawn_holds_the_path(extent: tuple[int, ...], plane: tuple[int, int]) -> None:
    """A car is seen from above, a drone that looks down in its image plane."""
    assert widest_axes(np.array([[0, 0, 0], extent], dtype=float)) == plane


class Links(HTMLParser):
    """Collects what a page loads and the tags it leaves open."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_report_is_one_file_that_loads_nothing(score: OdometryScore, tmp_path: Path) -> None:
    """The picture is inside as base64, nothing else is referred to, every tag is closed."""
    picture = plot_ate(tmp_path / "a.png", score)
    section = Section("Scores", "One.\n\nTwo.", [["", "a"], ["x", 1.5]], [Picture(picture, "c")])
    page = write_report(tmp_path / "r.html", "T", [section], subtitle="s").read_text()
    links = Links()
    links.feed(page)
    (source,) = links.sources
    assert base64.b64decode(source.removeprefix("data:image/png;base64,")) == picture.read_bytes()
    assert links.open == [] and not re.search(r"https?:|@import|url\(", page)
    assert "prefers-color-scheme: dark" in page and "<p>One.</p>\n<p>Two.</p>" in page


def test_report_escapes_what_users_name(tmp_path: Path) -> None:
    """A file called <script> stays text."""
    evil = "<script>alert('x')</script>"
    section = Section(evil, evil, [[evil], [evil]], notes=[evil])
    page = write_report(tmp_path / "r.html", evil, [section], subtitle=evil).read_text()
    assert "<script" not in page and page.count("&lt;script&gt;") == 8


def test_figures_without_a_value_are_said() -> None:
    """None is not 0; counts and texts stand as they are."""
    assert [format_cell(v) for v in (None, 0.0, 2.8841128, 950, "x")] == [
        "not scored",
        "0",
        "2.884",
        "950",
        "x",
    ]


def test_report_with_a_lost_picture_writes_nothing(tmp_path: Path) -> None:
    """A picture that is not there is named, and no half report is left."""
    section = Section("x", pictures=[Picture(tmp_path / "none.png")])
    with pytest.raises(DataError, match="none.png: cannot read picture"):
        write_report(tmp_path / "r.html", "x", [section])
    assert list(tmp_path.iterdir()) == []


def test_scores_load_neither_torch_nor_matplotlib() -> None:
    """Importing the evaluation is cheap: matplotlib waits for the first picture."""
    code = (
        "import sys, depthkit.evaluation.plots, depthkit.evaluation.depth, "
        "depthkit.evaluation.report; "
        "sys.exit(any(m in sys.modules for m in ('torch', 'matplotlib', 'cv2', 'scipy')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
