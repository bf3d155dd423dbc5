# SPDX-License-Identifier: Apache-2.0
"""The HTML report of `odometry`: path, tracks, state of the scale over time, losses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from depthkit.data.folder import make_folder
from depthkit.data.image_io import encode, write_atomic
from depthkit.evaluation.path_plots import NAMED, plot_path, plot_states
from depthkit.evaluation.report import Cell, Picture, Section, write_report
from depthkit.installation import install_line
from depthkit.pipelines.odometry.summary import OdometrySummary, unit_of

if TYPE_CHECKING:
    from depthkit.pipelines.odometry.path_log import PathLog
    from depthkit.pipelines.odometry.track_pictures import TrackPictures
    from depthkit.runtime.odometry.live_path import SmoothedPath

LISTED = 20  # losses and segments of the tables
READING = (
    "Live poses are causal: what a robot would have had at that moment. Smoothed ones use later "
    "frames too. A frame without a pose has none: nothing is interpolated. Two segments share "
    "neither a world nor, without metres, a scale."
    "\n\n"
    "Scale: unknown = lengths are relative, up to one factor a segment; observed = a source "
    "measures the step now; held = none at the moment, the last factor is kept and its sigma "
    "grows; lost = held for too long, or the sources contradict each other."
)


def write_odometry_report(
    folder: Path,
    log: PathLog,
    smoothed: SmoothedPath | None,
    tracks: TrackPictures,
    summary: OdometrySummary,
) -> None:
    """Write pictures and index.html.

    Args:
        folder: is made.
        log: what the odometry said.
        smoothed: every frame by the final keyframes.
        tracks: frames with tracks drawn.
        summary: the figures.
    """
    make_folder(folder)
    sections = [
        Section("Result", rows=result_rows(summary), notes=summary.notes),
        *_plots(folder, log, smoothed, summary),
        Section("Landmarks seen", pictures=_track_pictures(folder, log, tracks)),
        Section("Segments", rows=_segment_rows(summary)),
    ]
    if summary.losses:
        sections.append(Section("Frames without a pose", rows=_loss_rows(summary)))
    sections.append(Section("How to read it", text=READING))
    title = f"Odometry of {Path(summary.source).name}"
    write_report(folder / "index.html", title, sections, subtitle="no network, no training")


def result_rows(summary: OdometrySummary) -> list[list[Cell]]:
    """Return the figures as a table, header first."""
    unit = unit_of(summary.path_scale, summary.scale_source, summary.scale_sigma)
    covered = f"{summary.poses} of {summary.frames}"
    return [
        ["", "value", "unit"],
        ["frames with a live pose", covered, f"coverage {100 * summary.coverage:.1f} %"],
        ["length of the path", summary.path_length, unit],
        ["segments", len(summary.segments), ""],
        ["keyframes", summary.keyframes, ""],
        ["landmarks", summary.landmarks, ""],
        ["loops", summary.loops, ""],
        ["time a frame", summary.milliseconds, "ms"],
    ]


def _plots(
    folder: Path, log: PathLog, smoothed: SmoothedPath | None, summary: OdometrySummary
) -> list[Section]:
    """Draw path and states; a sentence in their place where matplotlib is missing."""
    try:
        path = _path_picture(folder, log, smoothed, summary)
    except ModuleNotFoundError as error:
        if not str(error.name).startswith("matplotlib"):
            raise
        text = f"No plots: matplotlib is not installed; run: {install_line('evaluate')}"
        return [Section("Path", text=text)]
    return [
        Section("Path", pictures=[path]),
        Section("Over time", pictures=[_state_picture(folder, log)]),
    ]


def _path_picture(
    folder: Path, log: PathLog, smoothed: SmoothedPath | None, summary: OdometrySummary
) -> Picture:
    """Draw the longest segments."""
    longest = sorted(summary.segments, key=lambda one: -one.poses)[:NAMED]
    live = {
        one.number: np.array(
            [f.T_world_cam[:3, 3] for f in log.posed if f.segment == one.number]  # type: ignore[index]
        )
        for one in longest
    }
    after = {}
    if smoothed is not None:
        chosen = {one.number: smoothed.segments == one.number for one in longest}
        after = {n: smoothed.poses[keep][:, :3, 3] for n, keep in chosen.items() if keep.any()}
    unit = "m" if summary.path_scale == "metric" else "relative"
    caption = "coloured: live; grey: smoothed, with what later frames showed"
    if len(summary.segments) > 1:
        caption += f"; {len(summary.segments)} segments, each from an origin of its own"
    return Picture(plot_path(folder / "path.png", live, after, unit=unit), caption)


def _state_picture(folder: Path, log: PathLog) -> Picture:
    frames = log.frames
    nan = float("nan")
    path = plot_states(
        folder / "states.png",
        np.array([one.time for one in frames]),
        [one.scale.state for one in frames],
        np.array([nan if one.scale.sigma is None else one.scale.sigma for one in frames]),
        np.array([one.tracks for one in frames]),
        np.array([one.T_world_cam is not None for one in frames]),
    )
    return Picture(path, "state of the scale with its sigma; landmarks seen; frames without a pose")


def _track_pictures(folder: Path, log: PathLog, tracks: TrackPictures) -> list[Picture]:
    pictures = []
    for i, image in tracks.pictures:
        path = folder / f"tracks_{i:06d}.jpg"
        write_atomic(path, encode(image, "jpg"))
        caption = f"frame {log.frames[i].index}: {log.frames[i].tracks} landmarks"
        pictures.append(Picture(path, caption))
    return pictures


def _segment_rows(summary: OdometrySummary) -> list[list[Cell]]:
    rows: list[list[Cell]] = [
        ["segment", "from [s]", "to [s]", "poses", "length", "unit", "ended by"]
    ]
    for one in summary.segments[:LISTED]:
        unit = unit_of(one.unit, one.scale_source, one.scale_sigma)
        ended = one.ended or "the end of the source"
        times = (f"{one.start:.3f}", f"{one.end:.3f}")
        rows.append([str(one.number), *times, one.poses, one.length, unit, ended])
    return rows


def _loss_rows(summary: OdometrySummary) -> list[list[Cell]]:
    rows: list[list[Cell]] = [["from [s]", "to [s]", "frames", "reason"]]
    rows += [
        [f"{one.start:.3f}", f"{one.end:.3f}", one.frames, one.reason]
        for one in summary.losses[:LISTED]
    ]
    left = len(summary.losses) - LISTED
    return rows if left <= 0 else [*rows, ["", "", "", f"and {left} more, see poses.csv"]]
