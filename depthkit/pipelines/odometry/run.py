# SPDX-License-Identifier: Apache-2.0
"""Camera motion of a source of frames without any network: trajectory, sparse points, report.

All of the output folder appears at the end, or nothing does. Frames are read, used and forgotten
one by one, by the same odometry that a robot runs.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from depthkit.data.bag import NO_TOPIC
from depthkit.data.calibrated_stream import open_calibrated
from depthkit.data.cropping import crop_stream
from depthkit.data.folder import make_folder
from depthkit.errors import DataError
from depthkit.pipelines.odometry.follow import FollowedOdometry, follow_all, give_wanted_imu
from depthkit.pipelines.odometry.map_output import (
    notes_on_unit,
    path_in_map,
    summary_of_map,
    write_map,
    write_map_path,
)
from depthkit.pipelines.odometry.options import REMEDY, OdometryOptions
from depthkit.pipelines.odometry.outputs import (
    POSES,
    write_loops,
    write_paths,
    write_points,
    write_table,
)
from depthkit.pipelines.odometry.path_log import PathLog, Segment
from depthkit.pipelines.odometry.sequence_poses import check_without_poses, write_sequence_poses
from depthkit.pipelines.odometry.summary import OdometrySummary, unit_of
from depthkit.pipelines.output_folder import SUMMARY, check_replaceable, growing
from depthkit.pipelines.records import save_record
from depthkit.runtime.odometry.finder import open_finder
from depthkit.watcher import SILENT, Watcher

if TYPE_CHECKING:
    from depthkit.data.stream import FrameStream

REPORT = "report"
LEAST = 2  # frames between which there can be motion


def odometry(options: OdometryOptions, watcher: Watcher = SILENT) -> OdometrySummary:
    """Follow the camera through all frames and write what was found, or nothing.

    Args:
        options: what to read, what is known, what to write.
        watcher: receives progress, and notes that the user should read.

    Raises:
        DataError: nothing to read, no K, no frame with a pose, or an output that exists.
    """
    check_replaceable(options.out, POSES, force=options.force)
    if options.write_poses:
        check_without_poses(options.source)
    finder = open_finder(features=options.features, places=options.places, map=options.map)
    if options.map_read_only and finder.saved is None:
        raise DataError(f"{options.map}: no map is there to be read; leave --map-read-only out")
    stream = _open(options)
    at_work = FollowedOdometry(
        stream, options.scale, loops=options.loops, max_gap=options.max_gap, finder=finder
    )
    for note in (*stream.notes, *_before(at_work)):
        watcher.note(note)
    with growing(options.out, force=options.force) as folder:
        summary, log = _write_all(options, stream, at_work, folder, watcher)
        save_record(summary, folder / SUMMARY)
    write_map(options, at_work.odometry)
    if options.write_poses:
        _write_poses(options, at_work, log)
    return summary


def _write_poses(options: OdometryOptions, at_work: FollowedOdometry, log: PathLog) -> None:
    """Write the smoothed poses into the source, in the frame of the map where there is one."""
    smoothed, frame = at_work.odometry.smoothed(), ""
    placed = None if options.map is None else path_in_map(at_work.odometry, smoothed)
    if placed is not None:
        smoothed, frame = placed, f"map {options.map}"
    write_sequence_poses(options.source, smoothed, log, frame=frame)


def _open(options: OdometryOptions) -> FrameStream:
    """Open the frames with their camera; black borders are masked."""
    stream = open_calibrated(
        options.source,
        camera=options.camera,
        fov=options.fov,
        every=options.every,
        topic=options.topic,
        bits=options.bits,
        imu_topic=options.imu_topic if str(options.scale.imu) == "auto" else NO_TOPIC,
    )
    if len(stream) < LEAST:
        raise DataError(f"{options.source}: holds {len(stream)} frame; odometry needs two or more")
    stream = give_wanted_imu(
        stream, options.scale.imu, to_camera=options.imu_to_camera, units=options.imu_units
    )
    return crop_stream(stream, "mask")


def _before(at_work: FollowedOdometry) -> tuple[str, ...]:
    """Say what the path will lack."""
    if at_work.sources:
        return at_work.notes
    return (*at_work.notes, f"no source of scale: the path is relative, not metres; {REMEDY}")


def _write_all(
    options: OdometryOptions,
    stream: FrameStream,
    at_work: FollowedOdometry,
    folder: Path,
    watcher: Watcher,
) -> tuple[OdometrySummary, PathLog]:
    """Follow all frames and write what was found into a folder that is empty."""
    start, skipped = time.perf_counter(), list[str]()
    log, tracks = follow_all(stream, at_work, skipped, watcher)
    # 1. The live poses, and every frame once more by the final keyframes.
    smoothed = at_work.odometry.smoothed()
    files = write_paths(folder, options.format, log, smoothed) | write_table(folder, log.frames)
    by_loops, loops = write_loops(folder, options.format, log, at_work.odometry.loops)
    files |= by_loops | write_map_path(folder, options.format, log)
    # 2. The map.
    segments = log.segments()
    unit = overall_unit(segments)
    known = at_work.odometry.landmarks()
    scale = "metric" if known.metric else "relative"
    points, landmarks = write_points(folder, known, unit_of(scale, *unit[1:]))
    files |= points | {"report": f"{REPORT}/index.html", "summary": SUMMARY}
    # 3. The figures, and the report on all of it.
    summary = OdometrySummary(
        source=str(options.source),
        out=str(options.out),
        frames=len(log.frames),
        skipped=tuple(skipped),
        poses=len(log.posed),
        coverage=len(log.posed) / len(log.frames),
        segments=segments,
        losses=log.losses(),
        keyframes=at_work.odometry.keyframes,
        landmarks=landmarks,
        loops=loops,
        map=summary_of_map(options, at_work.odometry, log),
        path_length=overall_length(segments),
        path_scale=unit[0],
        scale_source=unit[1],
        scale_sigma=unit[2],
        scale_sources=at_work.sources,
        milliseconds=float(np.mean(log.milliseconds)),
        seconds=round(time.perf_counter() - start, 3),
        notes=tuple(_notes(log, at_work, segments)),
        files=files,
    )
    make_folder(folder / REPORT)
    from depthkit.pipelines.odometry.report import write_odometry_report

    write_odometry_report(folder / REPORT, log, smoothed, tracks, summary)
    return replace(summary, seconds=round(time.perf_counter() - start, 3)), log


def overall_unit(segments: tuple[Segment, ...]) -> tuple[str, str, float | None]:
    """Return the unit of a whole path: metric, relative or mixed; its source and its sigma."""
    units = {one.unit for one in segments}
    unit = units.pop() if len(units) == 1 else "mixed"
    sources = list(dict.fromkeys(one.scale_source for one in segments if one.scale_source))
    known = [one.scale_sigma for one in segments if one.scale_sigma is not None]
    return unit, "+".join(sources), max(known) if known else None


def overall_length(segments: tuple[Segment, ...]) -> float:
    """Return the length of a whole path: of its metres where it has any."""
    unit = overall_unit(segments)[0]
    return sum(one.length for one in segments if unit != "mixed" or one.unit != "relative")


def _notes(log: PathLog, at_work: FollowedOdometry, segments: tuple[Segment, ...]) -> list[str]:
    """List what the figures alone would hide."""
    notes = [*at_work.odometry.notes]
    if len(segments) > 1:
        notes.append(
            f"{len(segments)} segments, each a file of its own; points are those of segment "
            f"{at_work.odometry.landmarks().segment}"
        )
    notes += notes_on_unit(log)
    if at_work.sources:
        notes += _about_metres(log, " and ".join(at_work.sources))
    return notes


def _about_metres(log: PathLog, names: str) -> list[str]:
    """Say which part of the path is not metres although there are sources, and why.

    Args:
        log: what the odometry said.
        names: of the sources.
    """
    posed = log.posed
    without = [one for one in posed if not one.scale.metric]
    first = next((i for i, one in enumerate(posed) if one.scale.metric), len(posed))
    if not without:
        return []
    if len(without) == first < len(posed):
        return [
            f"metres from {posed[first].time:.3f} s on, when {names} had shown the scale; the live "
            "path before is relative"
        ]
    reasons = Counter(one.scale.reason for one in without if one.scale.reason)
    why = f": {reasons.most_common(1)[0][0]}" if reasons else ""
    return [f"{names} gave no metres for {len(without)} of {len(posed)} poses{why}"]
