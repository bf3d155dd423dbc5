# SPDX-License-Identifier: Apache-2.0
"""Pictures of several estimates against one reference: all paths, and all errors over time."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from depthkit.evaluation.odometry import OdometryScore
from depthkit.evaluation.plots import (
    AXES,
    REFERENCE_COLOUR,
    make_figure,
    save_figure,
    widest_axes,
    with_holes,
)
from depthkit.trajectory import inverse

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442")
STYLES = ("-", "--", ":", "-.")


def plot_trajectories(path: str | Path, scores: Mapping[str, OdometryScore]) -> Path:
    """Draw all aligned estimates over the reference, in the frame of the first one's start.

    Args:
        path: the PNG to write.
        scores: by the name of the estimate, all against one reference.
    """
    first = next(iter(scores.values()))
    figure, axes = make_figure(7.4, 6.4)
    u, v = widest_axes(first.reference_path)
    line = first.reference_path
    axes.plot(line[:, u], line[:, v], color=REFERENCE_COLOUR, lw=2.4, label="reference")
    for i, (name, score) in enumerate(scores.items()):
        move = first.T_first_world @ inverse(score.T_first_world)
        points = score.aligned.estimate[:, :3, 3] @ move[:3, :3].T + move[:3, 3]
        line = with_holes(points, score.stamps)
        label = f"{name} ({100 * score.coverage:.0f} % covered)"
        axes.plot(line[:, u], line[:, v], lw=1.5, label=label, **_style(i))
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel(f"{AXES[u]} [m]")
    axes.set_ylabel(f"{AXES[v]} [m]")
    if v == 1:
        axes.invert_yaxis()  # y points down
    axes.set_title(f"align {first.aligned.mode}")
    axes.legend(frameon=False, loc="best")
    return save_figure(figure, path)


def plot_errors(path: str | Path, scores: Mapping[str, OdometryScore]) -> Path:
    """Draw the position error of all estimates over one axis of time.

    Args:
        path: the PNG to write.
        scores: by the name of the estimate, all against one reference.
    """
    figure, axes = make_figure(9.6, 3.8)
    indices = all(np.all(score.stamps == np.round(score.stamps)) for score in scores.values())
    start = 0.0 if indices else min(float(score.stamps[0]) for score in scores.values())
    for i, (name, score) in enumerate(scores.items()):
        line = with_holes(np.stack([score.stamps - start, score.ate], axis=1), score.stamps)
        label = f"{name}, RMSE {score.ate_m:.4g} m"
        axes.plot(line[:, 0], line[:, 1], lw=1.3, label=label, **_style(i))
    axes.set_xlabel("frame" if indices else "time since the first scored pose [s]")
    axes.set_ylabel("position error [m]")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, loc="upper left")
    return save_figure(figure, path)


def _style(index: int) -> dict[str, str]:
    """Return colour and dashes; estimates beyond the colours differ by their dashes."""
    dash = STYLES[index // len(COLOURS) % len(STYLES)]
    return {"color": COLOURS[index % len(COLOURS)], "ls": dash}
