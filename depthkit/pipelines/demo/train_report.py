# SPDX-License-Identifier: Apache-2.0
"""The pictures and the HTML report of `depthkit demo --train`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from depthkit.config import TrainConfig
from depthkit.evaluation.plots import plot_depth, plot_trajectory
from depthkit.evaluation.report import Cell, Picture, Section, write_report
from depthkit.pipelines.demo.train_scores import FIGURE_ROWS, Networks, TrainingResult
from depthkit.pipelines.score.frames import depth_of_frame

SHOWN = (0.0, 0.5, 1.0)  # share of the first test flight at which pictures are taken


def write_training_report(
    out: Path, config: TrainConfig, result: TrainingResult, *, trained: float
) -> Path:
    """Draw the pictures, write the report.

    Args:
        out: the demo's folder.
        config: what was trained.
        result: the figures and the networks.
        trained: seconds the training took.

    Returns:
        The .html file.
    """
    folder = out / "pictures"
    folder.mkdir()
    before = [_draw(folder, result, "untrained", SHOWN[1])]
    after = [_draw(folder, result, "trained", share) for share in SHOWN]
    path = plot_trajectory(folder / "trajectory.png", result.motion, title="A test flight")
    sections = [
        Section(
            "What was learnt",
            text=_summary(config, trained),
            rows=_figure_rows(result),
            notes=(
                "Monocular training knows no metres: each depth map is scaled by the median of its "
                "truth and each path by a 7dof fit before it is scored.",
            ),
        ),
        Section("Depth after training", pictures=after),
        Section("Depth before training", pictures=before),
        Section(
            "Motion",
            text="Neighbouring frames' motions, chained. The reference is exact.",
            pictures=[Picture(path, "seen from above, after 7dof alignment")],
        ),
        Section(
            "The curve", text="On a flight kept for validation.", rows=_curve(out / "run/log.jsonl")
        ),
    ]
    return write_report(
        out / "report.html",
        "depthkit demo --train",
        sections,
        subtitle="Depth and motion from plain frames",
    )


def _summary(config: TrainConfig, trained: float) -> str:
    height, width = config.data.size
    return (
        f"Two networks ({config.model.depth} for depth, {config.model.pose} for motion) were "
        f"trained for {config.optimizer.steps} steps in {trained:.0f} s on frames of "
        f"{width} x {height} pixels, without labels: they learnt to rebuild each frame from the "
        "ones before and after.\n\n"
        "The scores are means over flights through the same room that were not trained on. The "
        "baseline of depth is the constant that fits these very flights best; that of motion "
        "repeats the mean motion of the training flights."
    )


def _figure_rows(result: TrainingResult) -> list[list[Cell]]:
    figures = asdict(result.figures)
    header: list[Cell] = ["", "untrained", "trained", "baseline"]
    return [header, *([row.label, *(figures[key] for key in row.keys)] for row in FIGURE_ROWS)]


def _draw(folder: Path, result: TrainingResult, which: str, share: float) -> Picture:
    """Draw image, prediction (scaled by the median), truth and error of a test frame."""
    nets: Networks = getattr(result, which)
    flight = result.test[0]
    i = round(share * (len(flight) - 1))
    rgb, truth = flight.read_frame(i), flight.read_depth(i)
    depth = depth_of_frame(nets.depth, flight, i)
    depth = depth * np.median(truth[truth > 0]) / np.median(depth[truth > 0])
    path = folder / f"depth_{which}_{i:06d}.png"
    plot_depth(path, depth, truth, image=rgb, title=f"{flight.name}, frame {i}, {which}")
    return Picture(path)


def _curve(log: Path) -> list[list[Cell]]:
    """Read the validations of a run's log."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    chosen = [line for line in lines if "val/loss" in line]
    header: list[Cell] = ["step", "seconds", "loss", "abs_rel"]
    keys = ("step", "seconds", "val/loss", "val/abs_rel")
    return [header, *([line.get(key) for key in keys] for line in chosen)]
