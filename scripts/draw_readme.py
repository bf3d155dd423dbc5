#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draw the README's picture: two rows of each shipped network on the flights of `depthkit demo`.

python scripts/draw_readme.py [--seed S] [--out docs/images/demo.png]
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from depthkit.pipelines.demo.scores import (
    Shown,
    open_shipped,
    score_frames,
    score_pairs,
    write_flights,
)

ROWS = 2  # of each network
UNKNOWN = "#d9d9d9"
TITLES = ("frame", "predicted depth", "true depth", "relative error")
OUT = Path(__file__).parent.parent / "docs" / "images" / "demo.png"


def main() -> None:
    """Render, predict, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="as of 'depthkit demo'")
    parser.add_argument("--out", type=Path, default=OUT, help="the PNG to write")
    args = parser.parse_args()
    pairs, frames = open_shipped()
    with TemporaryDirectory() as folder:
        solids = write_flights(Path(folder, "s"), "stillbox", pairs.manifest.size, seed=args.seed)
        colons = write_flights(Path(folder, "c"), "colon", frames.manifest.size, seed=args.seed)
        results = (score_pairs(pairs, solids), score_frames(frames, colons))
    draw(args.out, [*results[0].shown[:ROWS], *results[1].shown[:ROWS]])
    print(args.out)


def draw(path: Path, rows: list[Shown]) -> None:
    """Draw a row of four pictures for each frame: depth in one scale a row, error up to 50 %."""
    figure = Figure(figsize=(9.6, 2.2 * len(rows) + 0.3), dpi=110, layout="constrained")
    axes = figure.subplots(len(rows), 4)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, title in zip(axes[0], TITLES, strict=True):
        ax.set_title(title, fontsize=11)
    for line, shown in zip(axes, rows, strict=True):
        draw_row(figure, line, shown)
    figure.savefig(path)


def draw_row(figure: Figure, line: Any, shown: Shown) -> None:
    """Draw frame, prediction, truth and error; endoscopes are read in centimetres."""
    known = shown.truth > 0
    truth = np.where(known, shown.truth, np.nan)
    error = 100 * np.abs(shown.depth - truth) / truth
    factor, unit = (100, "cm") if truth[known].max() < 1 else (1, "m")
    low, high = factor * np.percentile(truth[known], (2, 98))
    colours = [colormaps[name].with_extremes(bad=UNKNOWN) for name in ("magma_r", "YlOrRd")]
    line[0].imshow(shown.image)
    line[1].imshow(factor * shown.depth, cmap=colours[0], vmin=low, vmax=high)
    depth = line[2].imshow(factor * truth, cmap=colours[0], vmin=low, vmax=high)
    errors = line[3].imshow(error, cmap=colours[1], vmin=0, vmax=50)
    for image, ax, label in ((depth, line[2], f"depth [{unit}]"), (errors, line[3], "error [%]")):
        bar = figure.colorbar(image, ax=ax, fraction=0.046, pad=0.03)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=8, length=2)
        bar.set_label(label, fontsize=9)


if __name__ == "__main__":
    main()
