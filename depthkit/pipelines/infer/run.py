# SPDX-License-Identifier: Apache-2.0
"""Depth maps of frames, and where wanted motion, video and point clouds.

All of the output folder appears at the end, or nothing does. Frames are read, used and forgotten
one by one, by the same streams that a robot runs: only the poses are kept.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from depthkit.data.cropping import crop_stream
from depthkit.data.stream import FrameStream, StreamFrame, open_stream
from depthkit.errors import DataError
from depthkit.pipelines.infer.flow import FlowOutputs, open_outputs, pose_of
from depthkit.pipelines.infer.job import Job, open_job
from depthkit.pipelines.infer.options import InferOptions
from depthkit.pipelines.infer.summary import InferSummary
from depthkit.pipelines.infer.trajectory import MotionChain, give_poses
from depthkit.pipelines.infer.writers import Outputs, check_scale, confident
from depthkit.pipelines.odometry.options import WORD
from depthkit.pipelines.output_folder import SUMMARY, check_replaceable, growing
from depthkit.pipelines.reading import readable
from depthkit.pipelines.recording_depth import RecordingDepth
from depthkit.pipelines.records import save_record
from depthkit.watcher import SILENT, Watcher

if TYPE_CHECKING:
    from depthkit.runtime.result import DepthResult, OdometryResult

DEFAULT_FPS = 10.0  # of a video made from one frame
SQUEEZED = 1.1  # ratio of two shapes of a picture that differ


def infer(options: InferOptions, watcher: Watcher = SILENT) -> InferSummary:
    """Write depth of every frame, and what else is wanted: all of the output folder, or nothing.

    Args:
        options: what to read, with which networks, and what to write.
        watcher: receives progress, and notes that the user should read.

    Raises:
        DataError: nothing to read, an output that exists, or options that do not go together.
        CheckpointError: there is no such model.
        EngineError: a network does not run here, or is of another kind.
    """
    check_replaceable(options.out, SUMMARY, force=options.force)
    options, stream = _open(options, watcher)
    with open_job(stream, options, watcher) as job:
        for note in (*job.stream.notes, *job.notes()):
            watcher.note(note)
        return _publish(job)


def _open(options: InferOptions, watcher: Watcher) -> tuple[InferOptions, FrameStream]:
    """Open the frames; the sweep takes the motion from them where the source has no poses."""
    stream = _open_stream(options)
    if not options.may_need_odometry:
        return options, stream
    if stream.poses is not None and options.camera_height is not None:
        raise DataError(
            f"{options.source}: has poses, and --camera-height gives an odometry metres; give "
            "--poses odometry, or leave it out"
        )
    if stream.poses is not None:
        return options, stream
    watcher.note("the source has no poses: they are found in its frames (--poses odometry)")
    options = replace(options, poses=WORD)
    return options, _open_stream(options)  # once more: its IMU counts now


def _open_stream(options: InferOptions) -> FrameStream:
    """Open the frames, with the poses of a file where one is given."""
    stream = open_stream(
        options.source,
        camera=options.camera,
        every=options.every,
        topic=options.topic,
        odometry_topic=options.odometry_topic,
        imu_topic="" if options.by_odometry else "none",
        bits=options.bits,
    )
    stream = crop_stream(give_poses(stream, options.poses), options.crop)
    if options.cloud and stream.camera is None:
        raise DataError(f"{options.source}: a point cloud needs K; give --camera camera.yaml")
    return stream


def _publish(job: Job) -> InferSummary:
    """Write the whole output folder under a hidden name, then rename it."""
    options = job.options
    with growing(options.out, force=options.force) as partial:
        summary = write_all(job, partial)
        save_record(summary, partial / SUMMARY)
    return summary


def write_all(job: Job, folder: Path) -> InferSummary:
    """Take every frame through the engines and write what is wanted.

    Args:
        job: what to do.
        folder: exists and is empty.
    """
    start, options = time.perf_counter(), job.options
    outputs = Outputs(
        folder,
        scale=job.scale,
        camera=job.stream.camera,
        by_motion=job.method.uses_motion,
        video_fps=_frame_rate(job.stream.times) if options.video else None,
        cloud=options.cloud,
        rerun=options.rerun,
    )
    flows = open_outputs(job, folder)
    chain = None if job.odometry is None else MotionChain()
    for frame, rgb, result, moved in results(job, chain):
        check_scale(result, job.scale, frame.name)
        segment = moved.segment if moved is not None and job.options.by_odometry else None
        outputs.add(frame, rgb, result, _pose(job, frame, moved), segment=segment)
        if flows is not None:
            flows.add(frame, rgb, result, pose_of(job, frame, moved))
    if job.without_depth and not outputs.depth.paths:
        raise DataError(f"{job.stream.path}: no frame has depth; {job.without_depth[-1]}")
    files = {} if flows is None else flows.close()
    notes = _unit_note(job, chain) | ({} if flows is None else flows.note())
    files |= outputs.close(**notes)
    if chain is not None and options.trajectory:
        chain.close()
        files |= chain.save(folder, options.trajectory)
    return _sum_up(job, outputs, chain, flows, files, round(time.perf_counter() - start, 3))


def _unit_note(job: Job, chain: MotionChain | None) -> dict[str, str]:
    """Say that the factor of relative depth is another one in each segment of the odometry."""
    count = 0 if chain is None else chain.segments()
    if count < 2 or job.method.kind != "sweep" or job.scale == "metric":
        return {}
    text = f"one unknown factor for each of the {count} segments that decisions.jsonl names"
    job.watcher.note(f"the odometry broke off: {text}")
    return {"unit": text}


def results(
    job: Job, chain: MotionChain | None
) -> Iterator[tuple[StreamFrame, np.ndarray, DepthResult, OdometryResult | None]]:
    """Pass on each readable frame, its colours, its depth and what is known of its motion."""
    at_work = RecordingDepth(
        job.method,
        job.stream,
        pairs=job.config,
        odometry=job.odometry,
        speed=job.options.speed,
    )
    sizes = set[tuple[int, ...]]()
    for frame, rgb in readable(job.stream, "infer", job.skipped, job.watcher):
        if rgb.shape not in sizes:  # once for each size there is
            sizes.add(rgb.shape)
            _note_aspect(job, rgb)
        result = at_work.take(rgb, frame.time, frame.T_world_cam)
        if chain is not None and at_work.moved is not None:
            chain.add(frame, at_work.moved)
        result = confident(_inside(result, job.stream.covered), job.options.min_confidence)
        if result.depth is None:
            job.without_depth.append(f"{frame.name}: {result.reason}")
        yield frame, rgb, result, at_work.moved


def _inside(result: DepthResult, covered: np.ndarray | None) -> DepthResult:
    """Leave out depth of pixels that are no picture: a lens' rim, an endoscope's corners."""
    if covered is None or result.depth is None:
        return result
    return replace(result, valid=covered if result.valid is None else result.valid & covered)


def _pose(job: Job, frame: StreamFrame, moved: OdometryResult | None) -> np.ndarray | None:
    """Return the pose of a frame in the unit of its depth, as far as it is known. (4, 4)"""
    if job.metric_poses and job.scale == "metric":
        pose = frame.T_world_cam
        return None if pose is None or not np.isfinite(pose).all() else pose
    if moved is None or moved.T_previous_current is None or moved.scale != job.scale:
        return None
    return moved.T_world_cam


def _frame_rate(times: np.ndarray) -> float:
    """Return frames a second from the median gap."""
    return float(1 / np.median(np.diff(times))) if len(times) > 1 else DEFAULT_FPS


def _note_aspect(job: Job, rgb: np.ndarray) -> None:
    """Metric depth of one frame rests on the view that was learnt: a squeezed one is another."""
    engine = job.method.engine
    if engine is None or job.method.own_scale != "metric":
        return
    (height, width), (h, w) = rgb.shape[:2], engine.manifest.size
    if not 1 / SQUEEZED < width / height / (w / h) < SQUEEZED:
        job.watcher.note(
            f"frames are {width}x{height}, the network learnt {w}x{h}: they are squeezed, "
            "and its metres suffer; crop them alike"
        )


def _sum_up(
    job: Job,
    outputs: Outputs,
    chain: MotionChain | None,
    flows: FlowOutputs | None,
    files: dict[str, str],
    seconds: float,
) -> InferSummary:
    options, backend = job.options, job.method.runs_on
    frames = len(job.stream) - len(job.skipped)
    path = chain if options.trajectory else None
    return InferSummary(
        model=str(options.model),
        source=str(options.source),
        out=str(options.out),
        frames=frames,
        skipped=tuple(job.skipped),
        coverage=1 - len(job.without_depth) / max(1, frames),
        without_depth=tuple(job.without_depth),
        rule=job.config.rule if job.method.kind == "pair" else None,
        scale=job.scale,
        scale_source=outputs.depth.scale_source,
        depth_scale=outputs.depth.depth_scale,
        path_length=path.length() if path else None,
        path_scale=path.scale() if path else None,
        segments=path.segments() if path else None,
        static_rule=None if flows is None else flows.rule,
        without_static=() if flows is None else tuple(flows.without),
        backend=backend.name,
        precision=backend.precision,
        threads=backend.threads,
        seconds=seconds,
        files=files,
    )
