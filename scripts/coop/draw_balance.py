#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draw each network's share of the gradient norm over training, of coop runs side by side.

As the optimiser sees them, before clipping: `gradient/` in log.jsonl. Prints the mean shares of
the first and the last fifth.

Usage: python scripts/coop/draw_balance.py RUN... --out FILE.png
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from depthkit.errors import DataError, DepthkitError
from depthkit.evaluation.plots import make_figure, save_figure

NETWORKS = {"depth_net": "#0072b2", "pose_net": "#e69f00", "flow_net": "#009e73"}
SMOOTH = 5  # logged steps


def main() -> None:
    """Read the logs, draw, print the shares."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", type=Path, nargs="+", help="run folders of task coop")
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    args = parser.parse_args()
    figure, axes = make_figure(4.8 * len(args.runs), 3.6, columns=len(args.runs))
    for run, place in zip(args.runs, np.atleast_1d(axes), strict=True):
        steps, shares = read_shares(run)
        for (name, colour), share in zip(NETWORKS.items(), shares.T, strict=True):
            place.plot(steps, smooth(share), color=colour, lw=1.6, label=name)
        place.set_ylim(0, 1)
        place.set_title(run.name)
        place.set_xlabel("step")
        place.set_ylabel("share of the gradient norm")
        place.legend(loc="upper right", fontsize=8)
        fifth = max(1, len(shares) // 5)
        for when, part in (("first fifth", shares[:fifth]), ("last fifth", shares[-fifth:])):
            means = ", ".join(
                f"{n} {m:.2f}" for n, m in zip(NETWORKS, part.mean(axis=0), strict=True)
            )
            print(f"{run.name}, {when}: {means}")
    save_figure(figure, args.out)


def read_shares(run: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the logged steps, (N,), and each network's share of the sum of the norms, (N, 3)."""
    if not (run / "log.jsonl").is_file():
        raise DataError(f"{run}: no log.jsonl; name the folder of a run")
    lines = (run / "log.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if "gradient/depth_net" in row]
    if not rows:
        raise DataError(f"{run}: no gradient norms in log.jsonl; is it a run of task coop?")
    norms = np.array([[row[f"gradient/{name}"] for name in NETWORKS] for row in rows])
    return np.array([row["step"] for row in rows]), norms / norms.sum(axis=1, keepdims=True)


def smooth(values: np.ndarray) -> np.ndarray:
    """Average over the logged steps around each."""
    count = min(SMOOTH, len(values))
    total = np.convolve(values, np.ones(count), "same")
    return total / np.convolve(np.ones_like(values), np.ones(count), "same")


if __name__ == "__main__":
    try:
        main()
    except DepthkitError as error:
        sys.exit(f"error: {error}")
