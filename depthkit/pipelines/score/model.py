# SPDX-License-Identifier: Apache-2.0
"""Infer and score in one go, beside what a model must beat."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from depthkit.data.sequence import Sequence
from depthkit.errors import DataError
from depthkit.evaluation.depth import METRICS, DepthReport, score_depth
from depthkit.evaluation.depth_review import alignment_notes
from depthkit.evaluation.report import Cell
from depthkit.pipelines.models import open_method
from depthkit.pipelines.score.frames import (
    check_metric,
    depth_of_frame,
    frame_rows,
    open_all,
    range_text,
    score_constant,
    write_frame_report,
)
from depthkit.pipelines.score.options import ModelOptions
from depthkit.pipelines.score.pair_report import (
    pair_notes,
    pair_table,
    pair_text,
    rows_json,
    write_pair_report,
)
from depthkit.pipelines.score.pairs import (
    FACTORS,
    EnginePairs,
    PairModel,
    Setting,
    read_truth,
    score_row,
)
from depthkit.pipelines.score.report import check_report
from depthkit.pipelines.score.stream import score_stream, stream_config
from depthkit.pipelines.score.stream_report import (
    stream_notes,
    stream_rows,
    write_stream_report,
)
from depthkit.runtime.depth.depth_engine import DepthEngine
from depthkit.runtime.depth.depth_method import DepthMethod
from depthkit.watcher import SILENT, Watcher

AGAINST = ("", "model", "best constant depth")


@dataclass(frozen=True)
class ModelEvaluation:
    """Scores of a model on sequences with known depth."""

    model: str
    sequences: tuple[str, ...]
    """Names of the sequences."""
    text: str
    """What is compared, in words."""
    table: tuple[tuple[Cell, ...], ...]
    """Rows of the table, its header first."""
    figures: dict[str, Any]
    """Figures by name; which there are depends on `kind` (mono, pair, sweep)."""
    notes: tuple[str, ...] = ()
    """What the figures alone would hide."""
    page: Path | None = None
    """The HTML report, if one was written."""

    def as_json(self) -> dict[str, Any]:
        """Return the figures of the command line's contract."""
        about = {"model": self.model, "sequences": list(self.sequences)}
        return self.figures | about | {"notes": list(self.notes)}


def evaluate_model(options: ModelOptions, watcher: Watcher = SILENT) -> ModelEvaluation:
    """Open the model, find out its kind, score it on the sequences.

    Args:
        options: the model, the sequences, how frames are paired.
        watcher: receives progress, and notes that the user should read.

    Raises:
        DataError: no depth to score against, or options that do not go with the network.
        CheckpointError: there is no such model.
    """
    folder = check_report(options.report, force=options.force)
    sequences = open_all(options.sequences)
    with open_method(
        options.model,
        options.engine,
        quality=options.quality,
        similarity=options.similarity,
        note=watcher.note,
    ) as method:
        engine = method.engine
        if engine is not None:
            _check_options(method, engine, options)
        if engine is None or options.poses or (method.kind == "pair" and options.rule):
            return _score_stream(method, sequences, options, folder, watcher)
        if method.kind == "mono":
            return _score_frames(engine, sequences, options, folder, watcher)
        return _score_pairs(EnginePairs(engine), sequences, options, folder, watcher)


def _score_pairs(
    model: PairModel,
    sequences: list[Sequence],
    options: ModelOptions,
    folder: Path | None,
    watcher: Watcher,
) -> ModelEvaluation:
    """Score a pair network: a row for each baseline or shift."""
    protocol = options.protocol
    check_metric(sequences, protocol.align)
    rows = [
        score_row(
            model,
            sequences,
            setting,
            protocol,
            every=options.every,
            watch=lambda cases: watcher.track(cases, "evaluate", len(cases)),
        )
        for setting in pair_settings(options, model.nominal_baseline)
    ]
    if not any(row.cases for row in rows):
        raise DataError(
            f"{sequences[0].root}: no pair of frames has the wanted displacement; "
            "give --baseline METRES or --shift N"
        )
    page = None
    if folder is not None:
        page = write_pair_report(folder, rows, model, protocol, options.model.name)
    return ModelEvaluation(
        model=str(options.model),
        sequences=tuple(sequence.name for sequence in sequences),
        text=pair_text(model, protocol),
        table=pair_table(rows),
        figures=rows_json(rows, model, protocol),
        notes=tuple(pair_notes(rows)),
        page=page,
    )


def _score_stream(
    method: DepthMethod,
    sequences: list[Sequence],
    options: ModelOptions,
    folder: Path | None,
    watcher: Watcher,
) -> ModelEvaluation:
    """Score depth from motion at work: earlier frames are chosen frame after frame."""
    protocol = options.protocol
    check_metric(sequences, protocol.align)
    config = stream_config(options)
    scale = options.scale if options.poses else None
    score = score_stream(
        method,
        sequences,
        config,
        protocol,
        every=options.every,
        watch=lambda frames: watcher.track(frames, "evaluate", len(frames)),
        scale=scale,
    )
    constant = score_constant(_every_frame(sequences, options.every), protocol)
    page = None
    if folder is not None:
        how = f"Rule {config.rule}; " if method.kind == "pair" else ""
        text = f"{how}{range_text(protocol)}"
        name = options.model.name
        page = write_stream_report(folder, score, constant, name=name, text=text)
    by = "fitted to the points of the odometry" if method.kind == "mono" else "poses by odometry"
    motion = "" if scale is None else f", {by}"
    rule = f", rule {config.rule}" if method.kind == "pair" else ""
    count = f"{score.report.frames} frames of {_names(sequences)}{rule}{motion}"
    return ModelEvaluation(
        model=str(options.model),
        sequences=tuple(sequence.name for sequence in sequences),
        text=f"{count}; {range_text(protocol)}",
        table=(AGAINST, *stream_rows(score, constant)),
        figures=score.as_json() | _constant_figures(constant),
        notes=(*stream_notes(score), *alignment_notes(score.report)),
        page=page,
    )


def _score_frames(
    engine: DepthEngine,
    sequences: list[Sequence],
    options: ModelOptions,
    folder: Path | None,
    watcher: Watcher,
) -> ModelEvaluation:
    """Score a network that sees one frame."""
    protocol = options.protocol
    check_metric(sequences, protocol.align)
    frames = _every_frame(sequences, options.every)
    watched = watcher.track(frames, "evaluate", len(frames))
    pairs = ((depth_of_frame(engine, s, i), read_truth(s, i)) for s, i in watched)
    report = score_depth(pairs, **vars(protocol))
    constant = score_constant(frames, protocol)
    page = None
    if folder is not None:
        page = write_frame_report(folder, engine, frames, report, constant, options.model.name)
    return ModelEvaluation(
        model=str(options.model),
        sequences=tuple(sequence.name for sequence in sequences),
        text=f"{report.frames} frames of {_names(sequences)}; {range_text(protocol)}",
        table=(AGAINST, *frame_rows(report, constant)),
        figures=report.as_json() | {"kind": "mono"} | _constant_figures(constant),
        notes=tuple(alignment_notes(report)),
        page=page,
    )


def pair_settings(options: ModelOptions, nominal_baseline: float) -> list[Setting]:
    """Return the rows of the table: shifts, baselines, or the factors of the nominal baseline."""
    if options.shifts:
        return [Setting(shift=shift) for shift in options.shifts]
    baselines = options.baselines or [factor * nominal_baseline for factor in FACTORS]
    return [Setting(baseline=baseline) for baseline in baselines]


def _check_options(method: DepthMethod, engine: DepthEngine, options: ModelOptions) -> None:
    """Refuse options that do not go with a network, and relative depth taken for metres."""
    if method.kind == "pair":
        if options.poses and not options.rule:
            raise DataError(
                "--poses odometry scores depth from motion at work; give --rule for a pair "
                "network, such as multi_range"
            )
        return
    if options.shifts or options.baselines:
        raise DataError(
            f"{options.model}: sees single frames; --shift and --baseline are for pairs"
        )
    if options.rule:
        raise DataError(f"{options.model}: sees single frames; --rule is for pairs")
    relative = engine.manifest.scale == "relative" and not options.poses
    if relative and options.protocol.align == "none":
        raise DataError(
            f"{options.model}: its depth is relative, not metres; pass --align median, or --poses "
            "odometry with a source of metres"
        )


def _every_frame(sequences: list[Sequence], every: int) -> list[tuple[Sequence, int]]:
    return [(s, i) for s in sequences for i in range(0, len(s), every)]


def _constant_figures(constant: DepthReport) -> dict[str, Any]:
    return {"constant": {key: getattr(constant, key) for key in METRICS}}


def _names(sequences: list[Sequence]) -> str:
    first = ", ".join(sequence.name for sequence in sequences[:3])
    return first if len(sequences) <= 3 else f"{first} and {len(sequences) - 3} more"
