# SPDX-License-Identifier: Apache-2.0
"""`depthkit evaluate model`: infer and score in one go, beside what a model must beat."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from depthkit.cli.engines import engine_options, open_depth
from depthkit.cli.evaluate_output import check_report, print_json, print_table, warn
from depthkit.cli.evaluate_pairs_output import pair_notes, print_rows, rows_json, write_pair_report
from depthkit.data.sequence import Sequence, open_dataset, open_sequence
from depthkit.errors import DataError
from depthkit.evaluation.baselines import constant_depth
from depthkit.evaluation.depth import (
    METRICS,
    DepthProtocol,
    DepthReport,
    clip_depth,
    score_depth,
    scored_pixels,
)
from depthkit.evaluation.depth_review import frames_to_show, title_of
from depthkit.evaluation.plots import plot_depth
from depthkit.evaluation.report import Cell, Picture, Section, write_report
from depthkit.pipelines.score.pairs import (
    FACTORS,
    EnginePairs,
    PairModel,
    Setting,
    read_truth,
    score_row,
)
from depthkit.pipelines.score.stream import (
    score_stream,
    stream_config,
    stream_notes,
    stream_rows,
    write_stream_report,
)
from depthkit.runtime.depth.depth_engine import DepthEngine

T = TypeVar("T")


def run_model(args: argparse.Namespace) -> None:
    """Load the model, find out its kind, score it on the sequences."""
    protocol = DepthProtocol(args.align, "none", args.min_depth, args.max_depth)
    folder = check_report(args.report, force=args.force)
    sequences = open_all(args.sequences)

    with open_depth(args.model, engine_options(args)) as engine:
        if engine.kind == "mono":
            run_frames(engine, sequences, protocol, args, folder)
        elif args.rule:
            run_streams(engine, sequences, protocol, args, folder)
        else:
            run_pairs(EnginePairs(engine), sequences, protocol, args, folder)


def open_all(paths: Iterable[Path]) -> list[Sequence]:
    """Open sequence folders; a data set folder stands for its test sequences, else those of val.

    Raises:
        DataError: a folder is neither, or a sequence has no depth to score against.
    """
    sequences: list[Sequence] = []
    for path in paths:
        if (path / "camera.yaml").exists() or not (path / "split.yaml").exists():
            sequences.append(open_sequence(path))
            continue
        dataset = open_dataset(path)
        names = dataset.test or dataset.val
        if not names:
            raise DataError(f"{path}: split.yaml has no test or val sequences; name sequences")
        sequences += [dataset.open(name) for name in names]
    for sequence in sequences:
        if not sequence.has_depth:
            raise DataError(f"{sequence.root}: holds no depth to score against")
    return sequences


# --- pair networks -------------------------------------------------------------------------------


def run_pairs(
    model: PairModel,
    sequences: list[Sequence],
    protocol: DepthProtocol,
    args: argparse.Namespace,
    folder: Path | None,
) -> None:
    """Score a pair network: a row for each baseline or shift."""
    check_metric(sequences, protocol.align)
    rows = [
        score_row(model, sequences, setting, protocol, every=args.every, watch=_watched)
        for setting in pair_settings(args, model.nominal_baseline)
    ]
    if not any(row.cases for row in rows):
        raise DataError(
            f"{sequences[0].root}: no pair of frames has the displacement asked for; "
            "give --baseline METRES or --shift N"
        )
    notes = pair_notes(rows)
    warn(notes)
    if args.json:
        print_json(rows_json(rows, model, protocol) | _header(args, sequences, notes))
    else:
        print_rows(rows, model, protocol)
    if folder is not None:
        _say_report(write_pair_report(folder, rows, model, protocol, Path(args.model).name), args)


def run_streams(
    engine: DepthEngine,
    sequences: list[Sequence],
    protocol: DepthProtocol,
    args: argparse.Namespace,
    folder: Path | None,
) -> None:
    """Score a pair network that chooses its pairs itself, frame after frame."""
    check_metric(sequences, protocol.align)
    config = stream_config(args)
    score = score_stream(engine, sequences, config, protocol, every=args.every, watch=_watched)
    frames = [(s, i) for s in sequences for i in range(0, len(s), args.every)]
    constant = _score_constant(frames, protocol)
    notes = stream_notes(score)
    warn(notes)
    if args.json:
        others = {"constant": {key: getattr(constant, key) for key in METRICS}}
        print_json(score.as_json() | others | _header(args, sequences, notes))
    else:
        text = f"{score.report.frames} frames of {_names(sequences)}, rule {config.rule}"
        print(f"{text}; {_range(protocol)}")
        print_table([("", "model", "best constant depth"), *stream_rows(score, constant)])
    if folder is not None:
        name, text = Path(args.model).name, f"Rule {config.rule}; {_range(protocol)}"
        _say_report(write_stream_report(folder, score, constant, name=name, text=text), args)


def pair_settings(args: argparse.Namespace, nominal_baseline: float) -> list[Setting]:
    """Return the rows asked for: shifts, baselines, or the factors of the nominal baseline."""
    if args.shift:
        return [Setting(shift=shift) for shift in args.shift]
    baselines = args.baseline or [factor * nominal_baseline for factor in FACTORS]
    return [Setting(baseline=baseline) for baseline in baselines]


# --- single-frame networks -----------------------------------------------------------------------


def run_frames(
    engine: DepthEngine,
    sequences: list[Sequence],
    protocol: DepthProtocol,
    args: argparse.Namespace,
    folder: Path | None,
) -> None:
    """Score a network that sees one frame."""
    if args.shift or args.baseline:
        raise DataError(f"{args.model}: sees single frames; --shift and --baseline are for pairs")
    if args.rule:
        raise DataError(f"{args.model}: sees single frames; --rule is for pairs")
    if engine.manifest.scale == "relative" and protocol.align == "none":
        raise DataError(f"{args.model}: its depth is relative, not metres; pass --align median")
    check_metric(sequences, protocol.align)
    frames = [(s, i) for s in sequences for i in range(0, len(s), args.every)]
    pairs = ((depth_of_frame(engine, s, i), read_truth(s, i)) for s, i in _watched(frames))
    report = score_depth(pairs, **vars(protocol))
    constant = _score_constant(frames, protocol)
    if args.json:
        others = {"kind": "mono", "constant": {key: getattr(constant, key) for key in METRICS}}
        print_json(report.as_json() | others | _header(args, sequences, []))
    else:
        print(f"{report.frames} frames of {_names(sequences)}; {_range(protocol)}")
        print_table([("", "model", "best constant depth"), *_frame_rows(report, constant)])
    if folder is not None:
        page = _write_frame_report(folder, engine, frames, report, constant, Path(args.model).name)
        _say_report(page, args)


def depth_of_frame(engine: DepthEngine, sequence: Sequence, frame: int) -> np.ndarray:
    """Predict the depth of one frame, 0 where there is none. (H, W)"""
    rgb = sequence.read_frame(frame)
    depth = engine.depth(rgb, K=sequence.camera.K).depth
    return np.zeros(rgb.shape[:2], np.float32) if depth is None else depth


def _score_constant(frames: list[tuple[Sequence, int]], protocol: DepthProtocol) -> DepthReport:
    """Score the one constant with the least abs_rel, chosen on these very frames."""
    depth = constant_depth((read_truth(s, i) for s, i in frames), protocol)
    truths = (read_truth(s, i) for s, i in frames)
    return score_depth(((np.full(gt.shape, depth), gt) for gt in truths), **vars(protocol))


def _frame_rows(report: DepthReport, constant: DepthReport) -> list[tuple[str, Cell, str]]:
    return [(name, getattr(report, name), f"{getattr(constant, name):.4g}") for name in METRICS]


def _write_frame_report(
    folder: Path,
    engine: DepthEngine,
    frames: list[tuple[Sequence, int]],
    report: DepthReport,
    constant: DepthReport,
    name: str,
) -> Path:
    """Write the scores and the best, the middle and the worst frame."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = []
    for rank, (score, index) in frames_to_show(report).items():
        sequence, frame = frames[index]
        scale = score.ratio if report.protocol.align == "median" else 1.0
        truth = read_truth(sequence, frame)
        title = title_of(rank, f"{sequence.name} {frame}", score)
        path = plot_depth(
            folder / f"depth_{rank}.png",
            clip_depth(scale * depth_of_frame(engine, sequence, frame), report.protocol),
            truth,
            image=sequence.read_frame(frame),
            title=title,
            scored=scored_pixels(truth, None, report.protocol),
        )
        pictures.append(Picture(path, title))
    rows: list[list[Cell]] = [["", "model", "best constant depth"]]
    rows += [[n, getattr(report, n), getattr(constant, n)] for n in METRICS]
    sections = [
        Section("Scores", text=_range(report.protocol), rows=rows),
        Section("Best, middle and worst frame", pictures=pictures),
    ]
    return write_report(folder / "report.html", f"Depth of {name}", sections)


# --- both ----------------------------------------------------------------------------------------


def check_metric(sequences: list[Sequence], align: str) -> None:
    """Refuse to score metres against depth that is not in metres."""
    for sequence in sequences:
        if sequence.depth_kind != "metric" and align == "none":
            raise DataError(
                f"{sequence.root}: its depth is {sequence.depth_kind}, not metres; "
                "pass --align median"
            )


def _header(
    args: argparse.Namespace, sequences: list[Sequence], notes: list[str]
) -> dict[str, Any]:
    names = [sequence.name for sequence in sequences]
    return {"model": str(args.model), "sequences": names, "notes": notes}


def _names(sequences: list[Sequence]) -> str:
    first = ", ".join(sequence.name for sequence in sequences[:3])
    return first if len(sequences) <= 3 else f"{first} and {len(sequences) - 3} more"


def _range(protocol: DepthProtocol) -> str:
    return (
        f"align {protocol.align}; depths from {protocol.min_depth:g} to {protocol.max_depth:g} m; "
        "errors of each image, then their mean"
    )


def _say_report(page: Path, args: argparse.Namespace) -> None:
    if not args.json:
        print(f"report: {page}")


def _watched(items: list[T]) -> Iterator[T]:
    """Pass items on under a progress bar on stderr, which only a terminal shows."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    yield from track(items, "evaluate", console=console, disable=not console.is_terminal)
