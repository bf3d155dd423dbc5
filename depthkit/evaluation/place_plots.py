# SPDX-License-Identifier: Apache-2.0
"""Pictures of place recognition: precision over recall, and queries with their best matches."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from depthkit.evaluation.places import PlaceCurve
from depthkit.evaluation.plots import (
    ESTIMATE_COLOUR,
    REFERENCE_COLOUR,
    START_COLOUR,
    UNKNOWN_COLOUR,
    WARNING_COLOUR,
    make_figure,
    save_figure,
)

LINES = (
    ("#9a9a9a", "-"),
    (REFERENCE_COLOUR, "--"),
    (ESTIMATE_COLOUR, "-"),
    (WARNING_COLOUR, "-"),
    (START_COLOUR, "-"),
    ("#cc79a7", "-"),
    ("#e69f00", "-."),
)
"""Colour and style of each method's line, in order."""
VERDICTS = {"right": START_COLOUR, "near": "#e69f00", "wrong": WARNING_COLOUR}
"""Colour of each verdict on a match; near is neither right nor a false loop."""


@dataclass(frozen=True, eq=False)
class Tile:
    """One picture of a strip."""

    image: np.ndarray
    """RGB. (H, W, 3) uint8"""
    title: str
    verdict: str = ""
    """A key of `VERDICTS`; empty for what is no match."""


def plot_precision_recall(path: str | Path, curves: Sequence[tuple[str, PlaceCurve]]) -> Path:
    """Draw precision over recall, one line a method.

    Args:
        path: the PNG to write.
        curves: name and curve of each method.
    """
    figure, axes = make_figure(7.2, 4.4)
    for number, (name, curve) in enumerate(curves):
        colour, style = LINES[number % len(LINES)]
        label = f"{name} (AP {curve.average_precision:.3f})"
        axes.plot(curve.recall, curve.precision, style, color=colour, lw=1.9, label=label)
    axes.set_xlim(0, 1.01)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("recall: right best matches of all queries with a right answer")
    axes.set_ylabel("precision")
    figure.legend(frameon=False, fontsize=8, loc="outside lower center", ncols=2)
    return save_figure(figure, path)


def plot_strip(path: str | Path, rows: Sequence[Sequence[Tile]]) -> Path:
    """Draw one query a row: the query, its best matches with their verdicts, the truth.

    Args:
        path: the PNG to write.
        rows: as many pictures in each.
    """
    from matplotlib.figure import Figure

    columns = len(rows[0])
    height, width = rows[0][0].image.shape[:2]
    tall = min(2.0 * height / width, 2.4) + 0.35
    figure = Figure(figsize=(2.0 * columns, tall * len(rows)), dpi=110, layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for axes, tile in zip(grid.flat, (tile for row in rows for tile in row), strict=True):
        axes.imshow(tile.image)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(f"{tile.title} {tile.verdict}".strip(), fontsize=8)
        axes.spines[:].set_color(VERDICTS.get(tile.verdict, UNKNOWN_COLOUR))
        axes.spines[:].set_linewidth(4.0 if tile.verdict else 1.0)
    return save_figure(figure, path)
