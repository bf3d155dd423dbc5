# SPDX-License-Identifier: Apache-2.0
"""From a video to 3-D: camera, path, depth, surface, report. All of the folder appears, or nothing.

The frames are read twice and never held: once to find the path, once more to find depth by the
poses that the whole path has settled on.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from depthkit.errors import DataError
from depthkit.pipelines.infer.writers import Outputs
from depthkit.pipelines.odometry.follow import FollowedOdometry, follow_all
from depthkit.pipelines.odometry.outputs import write_table
from depthkit.pipelines.output_folder import SUMMARY, check_replaceable, growing
from depthkit.pipelines.reconstruct.depth import VIDEO, DepthPass, SegmentDepth, find_depth
from depthkit.pipelines.reconstruct.frames import KnownCamera, open_frames
from depthkit.pipelines.reconstruct.placed import AXES, PlacedFrames, place_frames
from depthkit.pipelines.reconstruct.summary import PartSummary, ReconstructSummary
from depthkit.pipelines.reconstruct.surface import Surface, extent, write_surface
from depthkit.pipelines.reconstruct.words import about_assumptions, about_failures, about_metres
from depthkit.pipelines.records import save_record
from depthkit.pipelines.trajectory_files import save_segments
from depthkit.watcher import SILENT, Watcher

if TYPE_CHECKING:
    from depthkit.camera import Camera
    from depthkit.data.stream import FrameStream
    from depthkit.pipelines.odometry.path_log import PathLog, Segment
    from depthkit.pipelines.reconstruct.depth import Observe
    from depthkit.pipelines.reconstruct.options import ReconstructOptions

REPORT = "report.html"
METRES_UNIT = {"metric": "metres", "relative": "relative: one unknown factor for all lengths"}


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """Everything that the report draws on."""

    camera: Camera
    log: PathLog
    placed: PlacedFrames
    depth: DepthPass
    surfaces: dict[int, Surface | None]
    """Surface of each segment that has depth."""


def reconstruct(options: ReconstructOptions, watcher: Watcher = SILENT) -> ReconstructSummary:
    """Turn a video into path, depth and surface; write all of it, or nothing.

    Args:
        options: what to read, what is known, what to write.
        watcher: receives progress, and notes that the user should read.

    Raises:
        DataError: nothing to read, a single picture, no frame with a pose or none with depth, or
            an output that exists.
    """
    return reconstruct_all(options, watcher)[0]


def reconstruct_all(
    options: ReconstructOptions, watcher: Watcher = SILENT, *, observe: Observe | None = None
) -> tuple[ReconstructSummary, Reconstruction]:
    """Do what `reconstruct` does; return also what its report is drawn from.

    Args:
        options, watcher: as there.
        observe: is shown every frame that has a pose, with it and with its depth.
    """
    check_replaceable(options.out, REPORT, force=options.force)
    start = time.perf_counter()
    # 1. The frames and their camera.
    stream, camera, assumed = open_frames(options, watcher)
    at_work = FollowedOdometry(stream, options.scale, max_gap=options.max_gap)
    for note in (*assumed, *_before(camera, at_work)):
        watcher.note(note)
    with growing(options.out, force=options.force) as folder:
        # 2. The path.
        skipped = list[str]()
        log, _ = follow_all(stream, at_work, skipped, watcher)
        placed = place_frames(at_work.odometry.smoothed(), at_work.odometry)
        # 3. Depth and surfaces.
        depth = find_depth(stream, placed, folder, watcher, voxel=options.voxel, observe=observe)
        _check_depth(stream.path, depth)
        surfaces = {number: one.builder.close() for number, one in depth.segments.items()}
        found = Reconstruction(_camera_of(stream), log, placed, depth, surfaces)
        # 4. Files, figures, words, report.
        parts, files = _write_files(folder, found)
        told = _Told(camera, assumed, at_work.sources, at_work.odometry.notes, tuple(skipped))
        summary = _summary(options, found, parts, told, files)
        summary = replace(summary, seconds=round(time.perf_counter() - start, 3))
        from depthkit.pipelines.reconstruct.report import write_reconstruct_report

        write_reconstruct_report(folder, summary, found)
        summary = replace(summary, seconds=round(time.perf_counter() - start, 3))
        save_record(summary, folder / SUMMARY)
    return summary, found


@dataclass(frozen=True)
class _Told:
    """What is known beside the frames, and what was said of them."""

    camera: KnownCamera
    assumed: tuple[str, ...]
    sources: tuple[str, ...]
    """Sources of metres."""
    suspicions: tuple[str, ...]
    skipped: tuple[str, ...]


def _summary(
    options: ReconstructOptions,
    found: Reconstruction,
    parts: tuple[PartSummary, ...],
    told: _Told,
    files: dict[str, str],
) -> ReconstructSummary:
    """Put figures and words together; the time follows."""
    main, log = parts[0], found.log
    surface = found.surfaces.get(main.number)
    return ReconstructSummary(
        source=str(options.source),
        out=str(options.out),
        frames=len(log.frames),
        skipped=told.skipped,
        camera=told.camera,
        poses=len(found.placed.by_stamp),
        depth_frames=sum(one.depth_frames for one in parts),
        scale=main.unit,
        scale_source=main.scale_source,
        scale_sigma=main.scale_sigma,
        segments=parts,
        losses=log.losses(),
        metric=about_metres(main, told.sources, log),
        failed=about_failures(log, parts, found.depth, surface, told.suspicions),
        assumed=about_assumptions(told.camera, told.assumed, main),
        seconds=0.0,
        files=files,
    )


def _camera_of(stream: FrameStream) -> Camera:
    if stream.camera is None:
        raise DataError(f"{stream.path}: no camera is known")
    return stream.camera


def _before(camera: KnownCamera, at_work: FollowedOdometry) -> tuple[str, ...]:
    """Say what the user should know before it begins."""
    notes = list(at_work.notes)
    if camera.origin in ("tracks", "assumed"):
        notes.append(camera.words)
    return tuple(notes)


def _check_depth(source: Path, depth: DepthPass) -> None:
    """Refuse to write a reconstruction without any depth.

    Raises:
        DataError: no frame has depth; the most frequent reason is named.
    """
    if any(one.frames for one in depth.segments.values()):
        return
    reasons = sum((one.reasons for one in depth.segments.values()), Counter[str]())
    why = reasons.most_common(1)[0][0] if reasons else "no frame could be placed"
    raise DataError(
        f"{source}: no frame has depth; {why}; depth needs a camera that moves, not one that only "
        "turns or stands"
    )


# --- files ---------------------------------------------------------------------------------------


def _write_files(
    folder: Path, found: Reconstruction
) -> tuple[tuple[PartSummary, ...], dict[str, str]]:
    """Write everything but the report; return the figures of each segment, and what lies where."""
    parts, files = _write_parts(folder, found)
    files |= _write_path(folder, found) | write_table(folder, found.log.frames)
    return parts, files | {"video": VIDEO, "report": REPORT, "summary": SUMMARY}


def _write_parts(
    folder: Path, found: Reconstruction
) -> tuple[tuple[PartSummary, ...], dict[str, str]]:
    """Finish the files of each segment; return its figures, and what lies where of the largest."""
    files, parts = dict[str, str](), list[PartSummary]()
    for number in found.placed.sizes:
        segment, surface = found.depth.segments.get(number), found.surfaces.get(number)
        part = _sum_up(number, found, segment, surface, folder)
        parts.append(part)
        if segment is None:
            continue
        own = _close(segment.outputs, segment)
        if surface is not None:
            comment = f"axes: {part.axes}; unit: {METRES_UNIT[part.unit]}"
            own |= write_surface(segment.folder, surface, comment=comment)
        if number == found.placed.main:
            files |= own
    return tuple(parts), files


def _close(outputs: Outputs, segment: SegmentDepth) -> dict[str, str]:
    files = outputs.close()
    # Depth without a single frame leaves empty folders: of no use to anyone.
    if not segment.frames:
        return {}
    return files


def _write_path(folder: Path, found: Reconstruction) -> dict[str, str]:
    """Write the path that depth and surface rest on, a file for each segment."""
    indices = {one.time: one.index for one in found.log.frames}
    rows = [(t, one) for number in found.placed.sizes for t, one in found.placed.of(number)]
    return save_segments(
        folder,
        "tum",
        [(indices[t], t) for t, _ in rows],
        [one.T_world_cam for _, one in rows],
        [one.segment for _, one in rows],
        total=len(found.log.frames),
    )


def _sum_up(
    number: int,
    found: Reconstruction,
    segment: SegmentDepth | None,
    surface: Surface | None,
    folder: Path,
) -> PartSummary:
    """Sum up one segment."""
    rows = found.placed.of(number)
    centres = np.array([one.T_world_cam[:3, 3] for _, one in rows])
    live = _live_segment(number, found)
    metric = all(one.metric for _, one in rows)
    depth_frames = 0 if segment is None else segment.frames
    place = "" if segment is None else str(segment.folder.relative_to(folder))
    return PartSummary(
        number=number,
        start=rows[0][0],
        end=rows[-1][0],
        poses=len(rows),
        depth_frames=depth_frames,
        path_length=float(np.linalg.norm(np.diff(centres, axis=0), axis=1).sum()),
        unit="metric" if metric else "relative",
        scale_source=live.scale_source if metric and live is not None else "",
        scale_sigma=live.scale_sigma if metric and live is not None else None,
        confident=float(np.mean(segment.confident)) if segment and segment.confident else 0.0,
        depth_scale=segment.outputs.depth.depth_scale if segment and depth_frames else 0.0,
        voxel=None if surface is None else surface.voxel,
        vertices=0 if surface is None else len(surface.mesh.vertices),
        faces=0 if surface is None else len(surface.mesh.faces),
        size=() if surface is None else tuple(round(side, 4) for side in extent(surface)),
        axes=AXES[found.placed.axes[number]],
        folder=place,
    )


def _live_segment(number: int, found: Reconstruction) -> Segment | None:
    """Return the live path of a segment."""
    return next((one for one in found.log.segments() if one.number == number), None)
