# SPDX-License-Identifier: Apache-2.0
"""Scores of a pair network at work: whole sequences through the stream that a robot runs.

Frames without depth lower the coverage; sparsification measures the quality of the confidence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from depthkit.data.sequence import Sequence
from depthkit.data.stream import FrameStream, stream_sequence
from depthkit.errors import DataError
from depthkit.evaluation.depth import (
    METRICS,
    DepthProtocol,
    DepthReport,
    score_depth,
    scored_pixels,
)
from depthkit.evaluation.depth_alignment import align_depth
from depthkit.evaluation.plots import plot_depth, plot_sparsification
from depthkit.evaluation.report import Cell, Picture, Section, write_report
from depthkit.evaluation.sparsification import PixelSample, Sparsification
from depthkit.pipelines.infer.writers import known_depth
from depthkit.pipelines.odometry.follow import FollowedOdometry, give_wanted_imu
from depthkit.pipelines.odometry.options import REMEDY, ScaleSources
from depthkit.pipelines.score.options import ModelOptions
from depthkit.pipelines.score.pairs import read_truth
from depthkit.runtime.config import BaselineConfig
from depthkit.runtime.depth.depth_engine import DepthEngine
from depthkit.runtime.depth.depth_stream import DepthStream
from depthkit.runtime.motion.told import NO_MOTION, KnownMotion, usual_gap
from depthkit.runtime.result import DepthResult

Case = tuple[Sequence, int, DepthResult]
SHOWN = 3  # sequences of which a frame is drawn


@dataclass
class Tally:
    """What was seen along the way."""

    sample: PixelSample = field(default_factory=PixelSample)
    """Errors and confidences of scored pixels."""
    baselines: list[float] = field(default_factory=list)
    """Baseline of every pair, metres."""
    reasons: list[str] = field(default_factory=list)
    """One a frame without depth."""
    milliseconds: list[float] = field(default_factory=list)
    """One a frame with depth."""
    shown: list[Case] = field(default_factory=list)
    """A few frames to look at."""

    def count(self, sequence: Sequence, frame: int, result: DepthResult) -> None:
        """Take note of a frame."""
        if frame == SHOWN * len(sequence) // 4 and len(self.shown) < SHOWN:
            self.shown.append((sequence, frame, result))
        if result.depth is None:
            self.reasons.append(f"{sequence.name} {frame}: {result.reason}")
            return
        self.milliseconds.append(result.timing.total_ms)
        if result.decision is not None:
            self.baselines += result.decision.baselines


@dataclass(frozen=True)
class StreamScore:
    """The scores of sequences that were streamed."""

    config: BaselineConfig
    report: DepthReport
    curve: Sparsification | None
    """Sparsification curve of abs_rel by confidence; None without a confidence."""
    tally: Tally

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        figures = {"kind": "pair", "rule": self.config.rule} | self.report.as_json()
        tally, curve = self.tally, self.curve
        figures["without_depth"] = tally.reasons
        figures["baseline_m"] = float(np.median(tally.baselines)) if tally.baselines else None
        figures["stream_ms"] = float(np.median(tally.milliseconds)) if tally.milliseconds else None
        if curve is None:
            return figures | {"ause": None, "aurg": None, "sparsification": None}
        rows = {key: getattr(curve, key).tolist() for key in ("kept", "error", "oracle")}
        more = {"ause": curve.ause, "aurg": curve.aurg}
        return figures | more | {"sparsification": rows | {"random": curve.random}}


def stream_config(options: ModelOptions) -> BaselineConfig:
    """Return how pairs are chosen.

    Raises:
        DataError: options of single pairs stand beside the rule.
    """
    if options.baselines or len(options.shifts) > 1:
        raise DataError("--rule streams all frames; --baseline and further --shift are for pairs")
    config = BaselineConfig(rule=options.rule or "multi_range")
    shift = abs(options.shifts[0]) if options.shifts else config.shift
    return replace(config, shift=shift, capacity=max(config.capacity, shift))


def score_stream(
    engine: DepthEngine,
    sequences: list[Sequence],
    config: BaselineConfig,
    protocol: DepthProtocol,
    *,
    every: int = 1,
    watch: Callable[[list[tuple[Sequence, int]]], Iterator[tuple[Sequence, int]]] = iter,
    scale: ScaleSources | None = None,
) -> StreamScore:
    """Stream whole sequences and score them; single-frame networks too, which need no past.

    Args:
        engine: of any kind.
        sequences: with depth, and poses in metres unless aligned.
        config: how pairs are chosen.
        protocol: range and alignment.
        every: score every n-th frame; all are streamed.
        watch: passes the frames on, with a progress bar for instance.
        scale: what gives an odometry metres, whose motion counts; None for the sequences' poses.

    Raises:
        DataError: no poses for metres, or nothing to score.
    """
    found = scale is not None and engine.kind == "pair" and engine.needs_direction
    if found or (engine.kind == "pair" and protocol.align == "none"):
        check_poses(sequences, scale)
    tally = Tally()
    pairs = (
        _judge(sequence, frame, result, protocol, tally)
        for sequence, frame, result in run_stream(
            engine, sequences, config, watch=watch, scale=scale
        )
        if frame % every == 0
    )
    report = score_depth(pairs, **vars(protocol))
    curve = tally.sample.result() if tally.sample.frames else None
    return StreamScore(config, report, curve, tally)


def check_poses(sequences: list[Sequence], scale: ScaleSources | None = None) -> None:
    """Refuse sequences without poses, and an odometry without a source of metres."""
    for sequence in sequences:
        if scale is not None:
            _check_scale(sequence, scale)
            continue
        if sequence.poses is None:
            raise DataError(
                f"{sequence.root}: has no poses.txt; the scale of a pair's depth is its known "
                "motion; pass --align median"
            )


def _check_scale(sequence: Sequence, scale: ScaleSources) -> None:
    if FollowedOdometry(_stream(sequence, scale), scale).scale == "relative":
        raise DataError(f"{sequence.root}: the odometry is relative, not metres; {REMEDY}")


def _stream(sequence: Sequence, scale: ScaleSources | None) -> FrameStream:
    """Stream a sequence, with its IMU where an odometry wants it."""
    if scale is None:
        return stream_sequence(sequence)
    stream = stream_sequence(sequence, with_imu=str(scale.imu) == "auto")
    return give_wanted_imu(stream, scale.imu)


def run_stream(
    engine: DepthEngine,
    sequences: list[Sequence],
    config: BaselineConfig,
    *,
    watch: Callable[[list[tuple[Sequence, int]]], Iterator[tuple[Sequence, int]]] = iter,
    scale: ScaleSources | None = None,
) -> Iterator[Case]:
    """Pass on every frame of every sequence with its depth; each sequence begins anew.

    Args:
        engine: of any kind.
        sequences: those to stream.
        config: how pairs are chosen.
        watch: passes the frames on.
        scale: what gives an odometry metres, whose motion counts; None for the sequences' poses.
    """
    stream, known, current, at_work, segment = None, None, None, None, 0
    for sequence, frame in watch([(s, i) for s in sequences for i in range(len(s))]):
        if stream is None or known is None or sequence is not current:
            gap = max(config.max_gap, usual_gap(sequence.times))
            stream, current = DepthStream(engine, replace(config, max_gap=gap)), sequence
            source = _stream(sequence, scale)
            known = KnownMotion(source.poses is not None and source.metric, None)
            if scale is not None and engine.kind == "pair":
                at_work, segment = FollowedOdometry(source, scale), 0
                known = KnownMotion(False, None, geometric=at_work.scale)
        pose = None if sequence.poses is None else sequence.poses[frame]
        stamp = float(sequence.times[frame])
        rgb = sequence.read_frame(frame)
        moved = None if at_work is None else at_work.process(rgb, stamp=stamp)
        if moved is not None and moved.segment != segment:
            stream.reset()  # how the camera turned across the break is not known
            segment = moved.segment
        motion = known.tell(pose, stamp, moved) if engine.kind == "pair" else NO_MOTION
        yield sequence, frame, stream.process(rgb, stamp=stamp, K=sequence.camera.K, motion=motion)


def _judge(
    sequence: Sequence, frame: int, result: DepthResult, protocol: DepthProtocol, tally: Tally
) -> tuple[np.ndarray | None, np.ndarray]:
    """Return prediction and truth of a frame; keep a sample of its errors."""
    tally.count(sequence, frame, result)
    gt, pred = read_truth(sequence, frame), known_depth(result)
    if pred is not None and result.confidence is not None:
        scored = scored_pixels(gt, None, protocol) & (pred > 0)
        if scored.any():
            error = _relative_error(pred, gt, scored, protocol)
            tally.sample.add(error, result.confidence, scored)
    return pred, gt


def _relative_error(
    pred: np.ndarray, gt: np.ndarray, scored: np.ndarray, protocol: DepthProtocol
) -> np.ndarray:
    """|p - g| / g where scored, else 0. (H, W)"""
    alignment = align_depth(pred[scored], gt[scored], protocol.align)
    aligned = alignment.apply(pred, protocol.max_depth)
    p = np.clip(aligned, protocol.min_depth, protocol.max_depth)
    return np.where(scored, np.abs(p - gt) / np.where(scored, gt, 1), 0)


# --- what is shown -------------------------------------------------------------------------------


def stream_rows(score: StreamScore, constant: DepthReport) -> list[tuple[str, Cell, str]]:
    """Return name, figure of the model and of the best constant."""
    report, curve = score.report, score.curve
    rows: list[tuple[str, Cell, str]] = [
        (name, getattr(report, name), f"{getattr(constant, name):.4g}") for name in METRICS
    ]
    rows += [
        ("coverage, frames", f"{100 * report.coverage:.1f} %", ""),
        ("coverage, pixels of those", f"{100 * report.pixel_coverage:.1f} %", ""),
    ]
    if curve is not None:
        rows.append(("AUSE of the confidence", curve.ause, "0 is the oracle's order"))
        rows.append(("AURG", curve.aurg, "above 0 is better than chance"))
    return rows


def stream_notes(score: StreamScore) -> list[str]:
    """Say what the figures alone would hide."""
    reasons, report = score.tally.reasons, score.report
    if not reasons:
        return []
    count = f"{report.frames} of {report.frames_gt} frames scored"
    return [f"{count}; without depth: {'; '.join(reasons[:3])}" + (" ..." * (len(reasons) > 3))]


def write_stream_report(
    folder: Path,
    score: StreamScore,
    constant: DepthReport,
    *,
    name: str,
    text: str,
) -> Path:
    """Write the scores, the sparsification curve, and depth maps.

    Args:
        folder: where to.
        score: of the sequences.
        constant: the best constant on the same frames.
        name: of the model.
        text: what the figures mean.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[list[Cell]] = [["", "model", "best constant depth"]]
    rows += [list(row) for row in stream_rows(score, constant)]
    notes = score.tally.reasons[:10]
    sections = [Section("Scores", text=text, rows=rows, notes=notes)]
    if score.curve is not None:
        path = plot_sparsification(folder / "sparsification.png", score.curve)
        caption = "error of the pixels kept; the least sure ones go first"
        sections.append(Section("What the confidence is worth", pictures=[Picture(path, caption)]))
    pictures = [_draw(folder, *case, score.report) for case in score.tally.shown]
    sections.append(Section("Depth maps", pictures=pictures))
    return write_report(folder / "report.html", f"Depth of {name}", sections)


def _draw(
    folder: Path, sequence: Sequence, frame: int, result: DepthResult, report: DepthReport
) -> Picture:
    image, gt, pred = sequence.read_frame(frame), read_truth(sequence, frame), known_depth(result)
    depth = np.zeros_like(gt) if pred is None else pred
    known = (gt > 0) & (depth > 0)
    if known.any():
        alignment = align_depth(depth[known], gt[known], report.protocol.align)
        depth = alignment.apply(depth, report.protocol.max_depth)
    baselines = () if result.decision is None else result.decision.baselines
    apart = ", ".join(f"{metres:.2g} m" for metres in baselines)
    title = f"{sequence.name} {frame}" + (f", baselines {apart}" if apart else "")
    path = folder / f"depth_{sequence.name}_{frame:06d}.png"
    return Picture(plot_depth(path, depth, gt, image=image, title=title), title)
