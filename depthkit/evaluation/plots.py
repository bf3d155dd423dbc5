# SPDX-License-Identifier: Apache-2.0
"""Pictures of scores as PNG: the path from above, error over length and time, depth maps.

Matplotlib is loaded when a picture is made, without pyplot, so no window and no global state.
Colours are those of Okabe and Ito, which colour-blind readers can tell apart.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from depthkit.evaluation.odometry import OdometryScore
from depthkit.evaluation.relative import SEGMENT_LENGTHS, SegmentErrors
from depthkit.evaluation.sparsification import Sparsification

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REFERENCE_COLOUR = "#3b3b3b"
ESTIMATE_COLOUR = "#0072b2"
START_COLOUR = "#009e73"
WARNING_COLOUR = "#d55e00"
UNKNOWN_COLOUR = "#d9d9d9"

AXES = ("x, right", "y, down", "z, forward")
"""Axes of the first camera, in which trajectories are drawn."""

_HOLE = 2.5
"""A step of time longer than this many median steps is drawn as a hole."""


def plot_trajectory(path: str | Path, score: OdometryScore, *, title: str = "Trajectory") -> Path:
    """Draw reference and aligned estimate from above, or in the plane they move in; start marked.

    Args:
        path: the PNG to write.
        score: score of one trajectory.
        title: title of the picture.
    """
    figure, axes = make_figure(6.4, 5.8)
    reference = score.reference_path
    estimate = with_holes(score.aligned.estimate[:, :3, 3], score.stamps)
    u, v = widest_axes(reference)
    axes.plot(reference[:, u], reference[:, v], color=REFERENCE_COLOUR, lw=2.2, label="reference")
    label = f"estimate ({score.aligned.mode}, {100 * score.coverage:.1f} % covered)"
    axes.plot(estimate[:, u], estimate[:, v], color=ESTIMATE_COLOUR, lw=1.6, label=label)
    start = score.aligned.reference[0, :3, 3]
    axes.plot(start[u], start[v], "o", color=START_COLOUR, ms=9, mec="white", label="start")
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel(f"{AXES[u]} [m]")
    axes.set_ylabel(f"{AXES[v]} [m]")
    if v == 1:
        axes.invert_yaxis()  # y points down
    axes.set_title(title)
    axes.legend(frameon=False, loc="best")
    return save_figure(figure, path)


def plot_segment_errors(path: str | Path, segments: SegmentErrors) -> Path:
    """Draw t_rel and r_rel over the length of the segments, the means dashed."""
    figure, (left, right) = make_figure(9.6, 3.8, columns=2)
    lengths = [n for n in SEGMENT_LENGTHS if np.any(segments.length == n)]
    values = (100 * segments.translation, 100 * np.rad2deg(segments.rotation))
    names = ("t_rel [%]", "r_rel [deg / 100 m]")
    colours = (ESTIMATE_COLOUR, WARNING_COLOUR)
    for axes, value, name, colour in zip((left, right), values, names, colours, strict=True):
        means = [float(value[segments.length == n].mean()) for n in lengths]
        bars = axes.bar([str(n) for n in lengths], means, color=colour, width=0.7)
        plate = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
        axes.bar_label(bars, fmt="%.3g", fontsize=8, padding=3, bbox=plate, zorder=3)
        axes.grid(False, axis="x")
        axes.set_xlabel("segment length [m]")
        axes.set_ylabel(name)
        axes.margins(y=0.12)
        if lengths:
            axes.axhline(value.mean(), color=REFERENCE_COLOUR, lw=1.0, ls="--")
            axes.set_title(f"mean {value.mean():.4g} (dashed), {len(value)} segments", fontsize=10)
    return save_figure(figure, path)


def plot_ate(path: str | Path, score: OdometryScore) -> Path:
    """Draw the distance of each scored position to its reference over time, its RMSE dashed."""
    figure, axes = make_figure(9.6, 3.2)
    indices = bool(np.all(score.stamps == np.round(score.stamps)))
    time = score.stamps if indices else score.stamps - score.stamps[0]
    broken = with_holes(np.stack([time, score.ate], axis=1), score.stamps)
    axes.fill_between(broken[:, 0], broken[:, 1], color=ESTIMATE_COLOUR, alpha=0.18, lw=0)
    axes.plot(broken[:, 0], broken[:, 1], color=ESTIMATE_COLOUR, lw=1.4)
    axes.axhline(
        score.ate_m, color=WARNING_COLOUR, lw=1.2, ls="--", label=f"RMSE {score.ate_m:.4g} m"
    )
    axes.set_xlabel("frame" if indices else "time since the first scored pose [s]")
    axes.set_ylabel("position error [m]")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, loc="upper left")
    axes.set_title(f"Absolute trajectory error after alignment {score.aligned.mode!r}")
    return save_figure(figure, path)


def plot_depth(
    path: str | Path,
    pred: np.ndarray,
    gt: np.ndarray,
    *,
    image: np.ndarray | None = None,
    title: str = "",
    largest_error: float = 0.5,
    scored: np.ndarray | None = None,
) -> Path:
    """Draw image, prediction, truth and relative error side by side; unknown pixels are grey.

    Args:
        path: the PNG to write.
        pred: metres, scaled as it was scored. (H, W)
        gt: metres, 0 = unknown. (H, W)
        image: RGB of any size. (h, w, 3) uint8
        title: title of the picture.
        largest_error: relative error at the end of the error's colours.
        scored: pixels that count; the error is shown and averaged over these. (H, W) bool
    """
    known = gt > 0
    span = np.percentile(gt[known], (2, 98)) if known.any() else (0.0, 1.0)
    error = _relative_error(pred, gt)
    error = error if scored is None else np.where(scored, error, np.nan)
    finite = np.isfinite(error)
    mean = f", mean {100 * error[finite].mean():.1f}" if finite.any() else ""
    panels = [
        ("prediction [m]", _masked(pred), "magma_r", span),
        ("truth [m]", _masked(gt), "magma_r", span),
        (
            f"relative error [%]{mean}",
            np.ma.masked_invalid(100 * error),
            "YlOrRd",
            (0, 100 * largest_error),
        ),
    ]
    count = len(panels) + (image is not None)
    height = 3.2 * gt.shape[0] / gt.shape[1]
    # A row of pictures and a thin row of colour bars: the pictures stay level.
    figure, axes = make_figure(3.2 * count, height + 1.1, columns=count, heights=(height, 0.1))
    for ax in axes.flat:
        ax.set_axis_off()
    if image is not None:
        axes[0, 0].imshow(image)
        axes[0, 0].set_title("image", fontsize=10)
    for (top, bottom), (name, values, colours, (low, high)) in zip(
        axes.T[-len(panels) :], panels, strict=True
    ):
        shown = top.imshow(values, cmap=with_unknown_grey(colours), vmin=low, vmax=high)
        top.set_title(name, fontsize=10)
        colour_bar(figure, shown, bottom)
    figure.suptitle(title, fontsize=11)
    return save_figure(figure, path)


def plot_sparsification(path: str | Path, curve: Sparsification) -> Path:
    """Draw the mean error of the pixels kept over the share removed, with oracle and chance.

    Args:
        path: the PNG to write.
        curve: curves of one model.
    """
    figure, axes = make_figure(6.4, 4.2)
    removed = 100 * (1 - curve.kept)
    axes.axhline(curve.random, color=UNKNOWN_COLOUR, lw=2.2, label="chance")
    axes.plot(removed, curve.error, color=ESTIMATE_COLOUR, lw=1.8, label="by confidence")
    axes.plot(removed, curve.oracle, color=REFERENCE_COLOUR, lw=1.4, ls="--", label="oracle")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("pixels removed, the least sure first [%]")
    axes.set_ylabel("mean relative error of the rest")
    axes.set_title(f"AUSE {curve.ause:.3f}, AURG {curve.aurg:.3f}", fontsize=11)
    axes.legend(frameon=False, loc="best")
    return save_figure(figure, path)


def _relative_error(pred: np.ndarray, gt: np.ndarray) -> np.ndarray:
    """Return |p - g| / g, NaN where either is unknown. (H, W)"""
    known = (gt > 0) & np.isfinite(pred) & (pred > 0)
    error = np.full(gt.shape, np.nan)
    error[known] = np.abs(pred[known] - gt[known]) / gt[known]
    return error


def widest_axes(points: np.ndarray) -> tuple[int, int]:
    """Return the plane to draw: (x, z), seen from above, unless the path lies in another one."""
    x, y, z = np.ptp(points, axis=0)
    if y <= max(1.5 * min(x, z), 0.1 * max(x, z)):
        return 0, 2
    return (0, 1) if x >= z else (2, 1)


def with_holes(values: np.ndarray, stamps: np.ndarray) -> np.ndarray:
    """Insert a NaN row into every gap of time, so that a line breaks there. (N, C) -> (M, C)"""
    steps = np.diff(stamps)
    holes = np.flatnonzero(steps > _HOLE * np.median(steps)) + 1
    return np.insert(values.astype(np.float64), holes, np.nan, axis=0)


def _masked(depth: np.ndarray) -> np.ma.MaskedArray:
    """Hide unknown depth: 0, NaN and inf."""
    return np.ma.masked_where(~(np.isfinite(depth) & (depth > 0)), depth)


def with_unknown_grey(name: str) -> Any:
    """Return a colour map whose unknown values are grey."""
    from matplotlib import colormaps

    return colormaps[name].with_extremes(bad=UNKNOWN_COLOUR)


def colour_bar(figure: "Figure", shown: Any, axes: "Axes") -> None:
    """Fill axes with the colour bar of a picture."""
    axes.set_axis_on()
    bar = figure.colorbar(shown, cax=axes, orientation="horizontal")
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, length=2)


def make_figure(
    width: float, height: float, *, columns: int = 1, heights: tuple[float, ...] = (1.0,)
) -> tuple["Figure", Any]:
    """Make a figure (inches) with quiet axes: a light grid, no box; one row for each height."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=140, layout="constrained")
    axes = figure.subplots(len(heights), columns, height_ratios=heights)
    for ax in np.atleast_1d(axes).flat:
        ax.grid(color="#e6e6e6", lw=0.8)
        ax.set_axisbelow(True)
        ax.spines[["top", "right"]].set_visible(False)
        ax.spines[["left", "bottom"]].set_color("#9a9a9a")
        ax.tick_params(labelsize=9, color="#9a9a9a")
    return figure, axes


def save_figure(figure: "Figure", path: str | Path) -> Path:
    """Write the PNG under a temporary name beside it, then rename."""
    file = Path(path)
    part = file.with_name(f".{file.name}.part")
    figure.savefig(part, format="png", facecolor="white")
    os.replace(part, file)
    return file
