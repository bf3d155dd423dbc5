# SPDX-License-Identifier: Apache-2.0
"""Pictures of an odometry's path without a reference: the path, and its state over time."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from depthkit.evaluation.plots import (
    AXES,
    ESTIMATE_COLOUR,
    REFERENCE_COLOUR,
    START_COLOUR,
    UNKNOWN_COLOUR,
    WARNING_COLOUR,
    make_figure,
    save_figure,
)

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
STATE_COLOURS = {
    "observed": START_COLOUR,
    "held": "#e69f00",
    "lost": WARNING_COLOUR,
    "unknown": UNKNOWN_COLOUR,
}
NAMED = len(COLOURS)  # segments that are drawn


def plot_path(
    path: str | Path,
    live: Mapping[int, np.ndarray],
    smoothed: Mapping[int, np.ndarray],
    *,
    unit: str,
) -> Path:
    """Draw a path from above and from the side, in the axes of its first camera.

    Args:
        path: the PNG to write.
        live: positions by the number of the segment, the longest first. (N, 3) each
        smoothed: the same after all frames; may be empty.
        unit: of the positions, for the axes.
    """
    figure, (above, side) = make_figure(10.4, 5.2, columns=2)
    for axes, (u, v), title in ((above, (0, 2), "from above"), (side, (2, 1), "from the side")):
        for points in smoothed.values():
            axes.plot(points[:, u], points[:, v], color=REFERENCE_COLOUR, lw=2.4, alpha=0.35)
        for colour, (number, points) in zip(COLOURS, live.items(), strict=False):
            axes.plot(points[:, u], points[:, v], color=colour, lw=1.5, label=f"segment {number}")
        first = next(iter(live.values()))[0]
        axes.plot(first[u], first[v], "o", color=START_COLOUR, ms=8, mec="white", label="start")
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_xlabel(f"{AXES[u]} [{unit}]")
        axes.set_ylabel(f"{AXES[v]} [{unit}]")
        axes.set_title(title, fontsize=10)
    side.invert_yaxis()  # y points down
    above.legend(frameon=False, loc="best", fontsize=8)
    return save_figure(figure, path)


def plot_states(
    path: str | Path,
    times: np.ndarray,
    states: Sequence[str],
    sigma: np.ndarray,
    tracks: np.ndarray,
    posed: np.ndarray,
) -> Path:
    """Draw over time: the state of the scale with its sigma, and the number of tracks.

    Args:
        path: the PNG to write.
        times: of the frames, seconds. (N,)
        states: of the scale, a key of `STATE_COLOURS`, one a frame.
        sigma: relative standard deviation of lengths, NaN where unknown. (N,)
        tracks: landmarks seen. (N,)
        posed: whether the frame has a pose. (N,) bool
    """
    figure, (top, bottom) = make_figure(10.4, 4.8, heights=(1.0, 1.0))
    time = times - times[0]
    for state, colour in STATE_COLOURS.items():
        chosen = np.array([one == state for one in states])
        if chosen.any():
            _band(top, time, chosen, colour, f"{state} ({chosen.mean():.0%})")
    if np.isfinite(sigma).any():
        top.plot(time, 100 * sigma, color=REFERENCE_COLOUR, lw=1.4)
        top.set_ylim(bottom=0)
        top.set_ylabel("sigma of lengths [%]")
    else:
        top.set_yticks([])
    top.legend(frameon=False, loc="upper right", fontsize=8, title="scale")
    bottom.plot(time, tracks, color=ESTIMATE_COLOUR, lw=1.3)
    if not posed.all():
        _band(bottom, time, ~posed, WARNING_COLOUR, f"no pose ({(~posed).mean():.0%})")
        bottom.legend(frameon=False, loc="upper right", fontsize=8)
    bottom.set_ylim(bottom=0)
    bottom.set_ylabel("landmarks seen")
    bottom.set_xlabel("time since the first frame [s]")
    return save_figure(figure, path)


def _band(axes: object, time: np.ndarray, chosen: np.ndarray, colour: str, label: str) -> None:
    """Fill the height of axes where chosen, each frame up to the next one."""
    step = float(np.median(np.diff(time))) if len(time) > 1 else 1.0
    edges = np.append(time, time[-1] + step)
    starts = np.flatnonzero(chosen & ~np.append(False, chosen[:-1]))
    ends = np.flatnonzero(chosen & ~np.append(chosen[1:], False)) + 1
    for start, end in zip(starts, ends, strict=True):
        axes.axvspan(edges[start], edges[end], color=colour, alpha=0.3, lw=0, label=label)  # type: ignore[attr-defined]
        label = "_"  # one entry of the legend for all stretches
