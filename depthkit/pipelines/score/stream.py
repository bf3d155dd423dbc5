# SPDX-License-Identifier: Apache-2.0
"""Scores of depth from motion at work: whole sequences through the stream that a robot runs.

Frames without depth lower the coverage; sparsification measures the quality of the confidence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from depthkit.data.sequence import Sequence
from depthkit.data.stream import FrameStream, stream_sequence
from depthkit.errors import DataError
from depthkit.evaluation.depth import (
    METRICS,
    DepthProtocol,
    DepthReport,
    DepthTally,
    scored_pixels,
)
from depthkit.evaluation.depth_alignment import align_depth
from depthkit.evaluation.depth_sigma import BandCoverage
from depthkit.evaluation.sparsification import PixelSample, Sparsification
from depthkit.pipelines.infer.writers import known_depth
from depthkit.pipelines.odometry.follow import FollowedOdometry, give_wanted_imu
from depthkit.pipelines.odometry.options import REMEDY, ScaleSources
from depthkit.pipelines.recording_depth import RecordingDepth
from depthkit.pipelines.score.options import ModelOptions
from depthkit.pipelines.score.pairs import read_truth
from depthkit.runtime.config import SWEEP, BaselineConfig
from depthkit.runtime.depth.depth_method import DepthMethod
from depthkit.runtime.result import CONFIDENT_SIGMA, DepthResult, ScaleFit

Case = tuple[Sequence, int, DepthResult]
SHOWN = 3  # sequences of which a frame is drawn


@dataclass
class Tally:
    """What was seen along the way."""

    confident: DepthTally
    """Scores of the pixels whose sigma is at most CONFIDENT_SIGMA."""
    has_sigma: bool = False
    """Whether any frame came with a sigma."""
    sample: PixelSample = field(default_factory=PixelSample)
    """Errors and confidences of scored pixels."""
    baselines: list[float] = field(default_factory=list)
    """Baseline of every pair, metres."""
    reasons: list[str] = field(default_factory=list)
    """One a frame without depth."""
    milliseconds: list[float] = field(default_factory=list)
    """One a frame with depth."""
    fits: list[ScaleFit] = field(default_factory=list)
    """One a frame that an odometry's points were held against."""
    shown: list[Case] = field(default_factory=list)
    """A few frames to look at."""
    band: BandCoverage = field(default_factory=BandCoverage)
    """Errors against sigmas."""

    def count(self, sequence: Sequence, frame: int, result: DepthResult) -> None:
        """Take note of a frame."""
        if frame == SHOWN * len(sequence) // 4 and len(self.shown) < SHOWN:
            self.shown.append((sequence, frame, result))
        if result.fit is not None:
            self.fits.append(result.fit)
        if result.depth is None:
            self.reasons.append(f"{sequence.name} {frame}: {result.reason}")
            return
        self.milliseconds.append(result.timing.total_ms)
        if result.decision is not None:
            self.baselines += result.decision.baselines


@dataclass(frozen=True)
class StreamScore:
    """The scores of sequences that were streamed."""

    kind: str
    """Kind of the method: pair, mono or sweep."""
    config: BaselineConfig
    report: DepthReport
    confident: DepthReport | None
    """Scores of the pixels that count as measured; None without a sigma, or without such pixels."""
    curve: Sparsification | None
    """Sparsification curve of abs_rel by confidence; None without a confidence."""
    tally: Tally

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        figures: dict[str, Any] = {"kind": self.kind}
        figures |= {"rule": self.config.rule} if self.kind == "pair" else {}
        figures |= self.report.as_json()
        tally, curve = self.tally, self.curve
        if tally.has_sigma:
            figures |= {"confident": self._confident_json(), "band_90": tally.band.share}
        figures |= {"scale_fit": fit_summary(tally.fits)} if tally.fits else {}
        figures["without_depth"] = tally.reasons
        figures["baseline_m"] = float(np.median(tally.baselines)) if tally.baselines else None
        figures["stream_ms"] = float(np.median(tally.milliseconds)) if tally.milliseconds else None
        if curve is None:
            return figures | {"ause": None, "aurg": None, "sparsification": None}
        rows = {key: getattr(curve, key).tolist() for key in ("kept", "error", "oracle")}
        more = {"ause": curve.ause, "aurg": curve.aurg}
        return figures | more | {"sparsification": rows | {"random": curve.random}}

    def _confident_json(self) -> dict[str, Any]:
        """Return the figures of the pixels that count as measured; null where there are none."""
        report, limit = self.confident, {"sigma": CONFIDENT_SIGMA}
        if report is None:
            return limit | dict.fromkeys(METRICS) | {"coverage": 0.0, "pixel_coverage": 0.0}
        keys = (*METRICS, "coverage", "pixel_coverage")
        return limit | {key: getattr(report, key) for key in keys}


def fit_summary(fits: list[ScaleFit]) -> dict[str, Any]:
    """Sum up the fits to an odometry's points: how often, by what, how steady."""
    states = Counter(fit.state for fit in fits)
    factors = np.array([fit.factor for fit in fits if fit.state == "observed"], float)
    known = [fit.residual for fit in fits if fit.state == "observed" and fit.residual is not None]
    steps = np.abs(np.diff(np.log(factors)))
    return {
        "frames": {state: states[state] for state in ("observed", "held", "lost", "unknown")},
        "factor": float(np.median(factors)) if len(factors) else None,
        "factor_step": float(np.median(steps)) if len(steps) else None,
        "residual": float(np.median(known)) if known else None,
        "with_shift": sum(fit.shift != 0 for fit in fits),
    }


def stream_config(options: ModelOptions) -> BaselineConfig:
    """Return how pairs are chosen.

    Raises:
        DataError: options of single pairs stand beside the rule.
    """
    if options.model == SWEEP and (options.baselines or options.shifts or options.rule):
        raise DataError(
            "sweep: chooses its earlier frames itself; --rule, --baseline and --shift are for pairs"
        )
    if options.baselines or len(options.shifts) > 1:
        raise DataError("--rule streams all frames; --baseline and further --shift are for pairs")
    config = BaselineConfig(rule=options.rule or "multi_range")
    shift = abs(options.shifts[0]) if options.shifts else config.shift
    return replace(config, shift=shift, capacity=max(config.capacity, shift))


def score_stream(
    method: DepthMethod,
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
        method: of any kind.
        sequences: with depth, and poses in metres unless aligned.
        config: how pairs are chosen.
        protocol: range and alignment.
        every: score every n-th frame; all are streamed.
        watch: passes the frames on, with a progress bar for instance.
        scale: what gives an odometry metres, whose motion counts; None for the sequences' poses.

    Raises:
        DataError: no poses for metres, or nothing to score.
    """
    found = scale is not None and not method.takes_relative_poses
    by_fit = scale is not None and method.ambiguity not in (None, "none")
    metres = (method.uses_motion or by_fit) and protocol.align == "none"
    if metres or found or method.needs_poses:
        check_poses(sequences, scale, metres=metres or found, posed=method.needs_poses)
    tally, everything = Tally(DepthTally(protocol)), DepthTally(protocol)
    for sequence, frame, result in run_stream(method, sequences, config, watch=watch, scale=scale):
        if frame % every == 0:
            everything.add(*_judge(sequence, frame, result, protocol, tally))
    curve = tally.sample.result() if tally.sample.frames else None
    report, measured = everything.report(), None
    if tally.confident.found:
        measured = tally.confident.report()
    return StreamScore(method.kind, config, report, measured, curve, tally)


def check_poses(
    sequences: list[Sequence], scale: ScaleSources | None, *, metres: bool, posed: bool
) -> None:
    """Refuse sequences whose motion does not do.

    Args:
        sequences: those to stream.
        scale: what gives the odometry metres, whose motion counts; None for the sequences' poses.
        metres: whether the motion must be in metres.
        posed: whether nothing less than poses will do.
    """
    for sequence in sequences:
        if scale is None:
            _check_own_poses(sequence, metres=metres, posed=posed)
        elif metres and FollowedOdometry(_stream(sequence, scale), scale).scale == "relative":
            raise DataError(f"{sequence.root}: the odometry is relative, not metres; {REMEDY}")


def _check_own_poses(sequence: Sequence, *, metres: bool, posed: bool) -> None:
    remedy = "--poses odometry" if posed else "--align median"
    if sequence.poses is None:
        raise DataError(
            f"{sequence.root}: has no poses.txt; the scale of depth from motion is that of the "
            f"motion; pass {remedy}"
        )
    if metres and not stream_sequence(sequence).metric:
        raise DataError(f"{sequence.root}: its poses are relative, not metres; pass --align median")


def _stream(sequence: Sequence, scale: ScaleSources | None) -> FrameStream:
    """Stream a sequence, with its IMU where an odometry wants it."""
    if scale is None:
        return stream_sequence(sequence)
    stream = stream_sequence(sequence, with_imu=str(scale.imu) == "auto")
    return give_wanted_imu(stream, scale.imu)


def run_stream(
    method: DepthMethod,
    sequences: list[Sequence],
    config: BaselineConfig,
    *,
    watch: Callable[[list[tuple[Sequence, int]]], Iterator[tuple[Sequence, int]]] = iter,
    scale: ScaleSources | None = None,
) -> Iterator[Case]:
    """Pass on every frame of every sequence with its depth; each sequence begins anew.

    Args:
        method: of any kind.
        sequences: those to stream.
        config: how pairs are chosen.
        watch: passes the frames on.
        scale: what gives an odometry metres, whose motion counts; None for the sequences' poses.
    """
    at_work, current = None, None
    for sequence, frame in watch([(s, i) for s in sequences for i in range(len(s))]):
        if at_work is None or sequence is not current:
            source, current = _stream(sequence, scale), sequence
            odometry = None if scale is None else FollowedOdometry(source, scale)
            at_work = RecordingDepth(method, source, pairs=config, odometry=odometry)
        pose = None if sequence.poses is None else sequence.poses[frame]
        stamp = float(sequence.times[frame])
        yield sequence, frame, at_work.take(sequence.read_frame(frame), stamp, pose)


def _judge(
    sequence: Sequence, frame: int, result: DepthResult, protocol: DepthProtocol, tally: Tally
) -> tuple[np.ndarray | None, np.ndarray]:
    """Return prediction and truth of a frame; keep a sample of its errors."""
    tally.count(sequence, frame, result)
    gt, pred = read_truth(sequence, frame), known_depth(result)
    tally.has_sigma |= result.sigma is not None
    tally.confident.add(_measured(pred, result), gt)
    if pred is None or result.confidence is None:
        return pred, gt
    scored = scored_pixels(gt, None, protocol) & (pred > 0)
    if scored.any():
        fitted = _aligned(pred, gt, scored, protocol)
        error = np.where(scored, np.abs(fitted - gt) / np.where(scored, gt, 1), 0)
        sure = result.confidence if result.sigma is None else -result.sigma
        tally.sample.add(error, sure, scored)
        if result.sigma is not None:
            tally.band.add(fitted, gt, result.sigma, scored)
    return pred, gt


def _measured(pred: np.ndarray | None, result: DepthResult) -> np.ndarray | None:
    """Keep the pixels that count as measured, 0 elsewhere; None without any. (H, W)"""
    if pred is None or result.sigma is None:
        return None
    kept = np.where(result.sigma <= CONFIDENT_SIGMA, pred, np.float32(0))
    return kept if kept.any() else None


def _aligned(
    pred: np.ndarray, gt: np.ndarray, scored: np.ndarray, protocol: DepthProtocol
) -> np.ndarray:
    """Return the depth as it is scored: aligned and clipped. (H, W)"""
    alignment = align_depth(pred[scored], gt[scored], protocol.align)
    aligned = alignment.apply(pred, protocol.max_depth)
    return np.clip(aligned, protocol.min_depth, protocol.max_depth)
