#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draw the README's picture: depth of the two films of `depthkit demo`, without network or poses.

python scripts/draw_readme.py [--seed S] [--out docs/images/demo.png]
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

import depthkit
from depthkit.data.image_io import read_uint16
from depthkit.outputs.sigma_files import read_sigma
from depthkit.pipelines.demo.films import PLAN, Film, film_room, film_street
from depthkit.runtime.result import CONFIDENT_SIGMA
from depthkit.watcher import SILENT

SHOWN = (0.55, 0.9)  # of each film, as shares of its scored frames
UNKNOWN = "#d9d9d9"
TITLES = ("frame of a video", "depth, all pixels", "measured pixels", "true depth", "error")
OUT = Path(__file__).parent.parent / "docs" / "images" / "demo.png"


@dataclass(frozen=True, eq=False)
class Shown:
    """One frame, what was found and what is true, metres."""

    image: np.ndarray
    depth: np.ndarray
    sigma: np.ndarray
    truth: np.ndarray


def main() -> None:
    """Film, infer, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="as of 'depthkit demo'")
    parser.add_argument("--out", type=Path, default=OUT, help="the PNG to write")
    args = parser.parse_args()
    with TemporaryDirectory() as folder:
        films = (
            film_room(Path(folder, "room"), PLAN, seed=args.seed, watcher=SILENT),
            film_street(Path(folder, "street"), PLAN, seed=args.seed, watcher=SILENT),
        )
        rows = [row for film in films for row in results(film, Path(folder, f"{film.name}_out"))]
    draw(args.out, rows)
    print(args.out)


def results(film: Film, out: Path) -> list[Shown]:
    """Run the sweep on a film and return some of its frames; one factor where it is relative."""
    done = depthkit.infer(
        "sweep", film.video, out, camera=film.camera_file, camera_height=film.camera_height
    )
    video, frames = cv2.VideoCapture(str(film.video)), {}
    for i in range(max(film.depth) + 1):
        _, bgr = video.read()
        path = out / "depth" / f"{i:06d}.png"
        if i in film.depth and path.exists():
            depth = read_uint16(path) / done.depth_scale
            frames[i] = (bgr[..., ::-1], depth, read_sigma(out / "sigma" / path.name))
    ratios = [np.median(film.depth[i][d > 0] / d[d > 0]) for i, (_, d, _) in frames.items()]
    factor = 1.0 if done.scale == "metric" else float(np.median(ratios))
    known = list(frames)
    chosen = [known[int(share * (len(known) - 1))] for share in SHOWN]
    return [Shown(frames[i][0], factor * frames[i][1], frames[i][2], film.depth[i]) for i in chosen]


def draw(path: Path, rows: list[Shown]) -> None:
    """Draw a row of pictures for each frame: depth in one scale a row, error up to 50 %."""
    ratios = [row.image.shape[0] / row.image.shape[1] for row in rows]
    columns = len(TITLES)
    size = (12.0, 12.0 / columns * sum(ratios) * 1.02 + 0.4)
    figure = Figure(figsize=size, dpi=100, layout="constrained")
    axes = figure.subplots(len(rows), columns, gridspec_kw={"height_ratios": ratios})
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, title in zip(axes[0], TITLES, strict=True):
        ax.set_title(title, fontsize=10)
    for line, shown in zip(axes, rows, strict=True):
        draw_row(figure, line, shown)
    figure.savefig(path)


def draw_row(figure: Figure, line: Any, shown: Shown) -> None:
    """Draw frame, depth, measured depth, truth and error."""
    truth = np.where(shown.truth > 0, shown.truth, np.nan)
    error = 100 * np.abs(shown.depth - truth) / truth
    low, high = np.nanpercentile(np.minimum(truth, 60), (2, 95))
    near, wrong = (colormaps[n].with_extremes(bad=UNKNOWN) for n in ("magma_r", "YlOrRd"))
    sure = np.where(shown.sigma <= CONFIDENT_SIGMA, shown.depth, np.nan)
    line[0].imshow(shown.image)
    for ax, values in zip(line[1:4], (shown.depth, sure, truth), strict=True):
        drawn = ax.imshow(values, cmap=near, vmin=low, vmax=high)
    errors = line[4].imshow(error, cmap=wrong, vmin=0, vmax=50)
    for image, ax, label in ((drawn, line[3], "depth [m]"), (errors, line[4], "error [%]")):
        bar = figure.colorbar(image, ax=ax, fraction=0.046, pad=0.03)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=7, length=2)
        bar.set_label(label, fontsize=8)


if __name__ == "__main__":
    main()
