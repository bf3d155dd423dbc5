#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draw what CoopNet's ablation learnt: frames of unseen streets, what moves, and depth of two runs.

Usage: python scripts/coop/draw_coop.py COOP_RUN PLAIN_RUN SEQUENCE... --out PICTURE.png
       [--frame 20]
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from coop_guess import Guess, open_run
from matplotlib.figure import Figure

from depthkit.data.sequence import Sequence, open_sequence
from depthkit.errors import DataError, DepthkitError
from depthkit.evaluation.depth import depth_metrics
from depthkit.evaluation.resample import resize_depth

NEAR, FAR = 2.0, 60.0  # metres
TITLES = ("frame", "truly moving", "said to move", "depth, minimum + auto-mask",
          "depth, CoopNet", "true depth")  # fmt: skip


def main() -> None:
    """Ask both runs, draw."""
    args = read_arguments()
    methods = [open_run(path)[1] for path in (args.coop, args.plain)]
    rows = []
    for path in args.sequences:
        sequence = open_sequence(path)
        coop, plain = (
            next((guess for guess in method(sequence) if guess.frame == args.frame), None)
            for method in methods
        )
        if coop is None or plain is None:
            raise DataError(f"{path}: frame {args.frame} has no neighbours; choose another one")
        rows.append(row_of(sequence, coop, plain))
    draw(args.out, rows)
    print(args.out)


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("coop", type=Path, help="run of task coop")
    parser.add_argument("plain", type=Path, help="run of view_synthesis")
    parser.add_argument("sequences", type=Path, nargs="+", help="sequence folders with truth")
    parser.add_argument("--frame", type=int, default=20, help="of each sequence")
    parser.add_argument("--out", type=Path, required=True, help="the PNG to write")
    return parser.parse_args()


def row_of(sequence: Sequence, coop: Guess, plain: Guess) -> list[tuple[np.ndarray, str]]:
    """Return the pictures of a frame, each with its colour map ("" for colours).

    Raises:
        DataError: the coop run tells nothing of what moves, or the sequence has no such truth.
    """
    moving, gt = sequence.read_truth(coop.frame).moving, sequence.read_depth(coop.frame)
    if moving is None or coop.moving is None:
        raise DataError(f"{sequence.name}: what moves is not known; give a coop run and a street")
    depths = [_nearness(_scaled(guess.depth, gt)) for guess in (plain, coop)]
    return [
        (sequence.read_frame(coop.frame), ""),
        (moving.astype(np.float32), "gray"),
        (np.clip(coop.moving, 0, 1), "gray"),
        (depths[0], "magma"),
        (depths[1], "magma"),
        (_nearness(np.where(gt > 0, gt, FAR)), "magma"),
    ]


def _scaled(depth: np.ndarray | None, gt: np.ndarray) -> np.ndarray:
    """Bring depth to the truth's size and median."""
    if depth is None:
        raise DataError("a run tells no depth; give runs of view_synthesis and coop")
    depth = resize_depth(depth, gt.shape)
    return depth * depth_metrics(depth, gt, align="median", max_depth=80.0).ratio


def _nearness(depth: np.ndarray) -> np.ndarray:
    """Map metres to 1 (near) and 0 (far), by ratios. (H, W)"""
    return 1 - np.log(np.clip(depth, NEAR, FAR) / NEAR) / np.log(FAR / NEAR)


def draw(path: Path, rows: list[list[tuple[np.ndarray, str]]]) -> None:
    """Write one picture, a row a frame."""
    height, width = rows[0][0][0].shape[:2]
    figure = Figure(
        figsize=(15, 15 / 6 * height / width * len(rows) + 0.35), dpi=90, layout="constrained"
    )
    axes: Any = figure.subplots(len(rows), len(TITLES), squeeze=False)
    for ax, title in zip(axes[0], TITLES, strict=True):
        ax.set_title(title, fontsize=10)
    for line, row in zip(axes, rows, strict=True):
        for ax, (picture, colours) in zip(line, row, strict=True):
            ax.set_axis_off()
            ax.imshow(picture, cmap=colours or None, vmin=0, vmax=1 if colours else None)
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01)
    figure.savefig(path)


if __name__ == "__main__":
    try:
        main()
    except DepthkitError as error:
        sys.exit(f"draw_coop: error: {error}")
