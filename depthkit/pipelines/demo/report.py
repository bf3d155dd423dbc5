# SPDX-License-Identifier: Apache-2.0
"""The pictures and the HTML report of `depthkit demo`."""

from __future__ import annotations

from pathlib import Path

from depthkit.evaluation.plots import plot_depth
from depthkit.evaluation.report import Cell, Picture, Section, write_report
from depthkit.pipelines.demo.scores import COLUMNS, UNSCALED, Result
from depthkit.pipelines.demo.worlds import World, world_sections

HEADINGS = {
    "stillbox": "Depth from two frames and the known motion between them",
    "colon": "Depth from the shading of one frame",
}
TEXTS = {
    "stillbox": (
        "A camera flies straight through random solids in a random room. The network sees two "
        "frames and knows how far the camera moved; colours and sizes are random, so that nothing "
        "but the motion in the picture tells depth. It never saw these scenes.\n\n"
        "The mean error is taken with depths scaled to the baseline it was trained at and clipped "
        "where it was taught no more. Classical: OpenCV DIS flow, triangulated with the same known "
        "motion, gaps filled from the nearest measured pixel."
    ),
    "colon": (
        "An endoscope's lamp is the only light: what is near is bright. The network sees one frame "
        "of a tube with folds, vessels, polyps, highlights and debris. It never saw these tubes."
    ),
}


def write_demo_report(out: Path, worlds: list[World], results: list[Result]) -> Path:
    """Draw the pictures, write the report: the films first, the networks in its second half.

    Args:
        out: the demo's folder.
        worlds: of each film.
        results: of each network.

    Returns:
        The .html file.
    """
    (out / "pictures").mkdir()
    return write_report(
        out / "report.html",
        "depthkit demo",
        [
            *world_sections(out, worlds),
            *(_section(out / "pictures", result) for result in results),
        ],
        subtitle="Two films turned into 3-D without a network; then the networks that come with "
        "depthkit. All of it was rendered a moment ago",
    )


def _section(folder: Path, result: Result) -> Section:
    header: list[Cell] = [result.title, *COLUMNS]
    rows: list[list[Cell]] = [
        [figure.label, *("" if value is None else value for value in figure.values())]
        for figure in result.figures
    ]
    return Section(
        HEADINGS[result.world],
        text=TEXTS[result.world],
        rows=[header, *rows],
        pictures=_draw(folder, result),
        notes=(UNSCALED,),
    )


def _draw(folder: Path, result: Result) -> list[Picture]:
    """Draw frame, prediction, truth and error of each shown frame, one picture a row."""
    pictures = []
    for shown in result.shown:
        path = folder / f"{shown.name}.png"
        plot_depth(path, shown.depth, shown.truth, image=shown.image, title=shown.title)
        pictures.append(Picture(path, shown.title))
    return pictures
