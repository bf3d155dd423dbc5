# SPDX-License-Identifier: Apache-2.0
"""Scores of a network that sees single frames, beside the best constant depth."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

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
from depthkit.evaluation.depth_review import aligned_as_scored, frames_to_show, title_of
from depthkit.evaluation.plots import plot_depth
from depthkit.evaluation.report import Cell, Picture, Section, write_report
from depthkit.pipelines.score.pairs import read_truth
from depthkit.runtime.depth.depth_engine import DepthEngine


def open_all(paths: Iterable[Path]) -> list[Sequence]:
    """Open sequence folders; a data set folder stands for its test sequences, else those of val.

    Raises:
        DataError: a folder is neither, or a sequence has no depth to score against.
    """
    sequences = open_sequences(paths)
    for sequence in sequences:
        if not sequence.has_depth:
            raise DataError(f"{sequence.root}: holds no depth to score against")
    return sequences


def open_sequences(paths: Iterable[Path]) -> list[Sequence]:
    """Open sequence folders, with depth or without; a data set folder as in `open_all`.

    Raises:
        DataError: a folder is neither.
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
    return sequences


def check_metric(sequences: list[Sequence], align: str) -> None:
    """Refuse to score metres against depth that is not in metres."""
    for sequence in sequences:
        if sequence.depth_kind != "metric" and align == "none":
            raise DataError(
                f"{sequence.root}: its depth is {sequence.depth_kind}, not metres; "
                "pass --align median"
            )


def depth_of_frame(engine: DepthEngine, sequence: Sequence, frame: int) -> np.ndarray:
    """Predict the depth of one frame, 0 where unknown. (H, W)"""
    rgb = sequence.read_frame(frame)
    depth = engine.depth(rgb, K=sequence.camera.K).depth
    return np.zeros(rgb.shape[:2], np.float32) if depth is None else depth


def score_constant(frames: list[tuple[Sequence, int]], protocol: DepthProtocol) -> DepthReport:
    """Score the one constant with the least abs_rel, chosen on these very frames."""
    depth = constant_depth((read_truth(s, i) for s, i in frames), protocol)
    truths = (read_truth(s, i) for s, i in frames)
    return score_depth(((np.full(gt.shape, depth), gt) for gt in truths), **vars(protocol))


def frame_rows(report: DepthReport, constant: DepthReport) -> list[tuple[str, Cell, str]]:
    """Return name, figure of the model and of the best constant."""
    return [(name, getattr(report, name), f"{getattr(constant, name):.4g}") for name in METRICS]


def write_frame_report(
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
        truth = read_truth(sequence, frame)
        depth = aligned_as_scored(depth_of_frame(engine, sequence, frame), score, report.protocol)
        title = title_of(rank, f"{sequence.name} {frame}", score)
        path = plot_depth(
            folder / f"depth_{rank}.png",
            clip_depth(depth, report.protocol),
            truth,
            image=sequence.read_frame(frame),
            title=title,
            scored=scored_pixels(truth, None, report.protocol),
        )
        pictures.append(Picture(path, title))
    rows: list[list[Cell]] = [["", "model", "best constant depth"]]
    rows += [[n, getattr(report, n), getattr(constant, n)] for n in METRICS]
    sections = [
        Section("Scores", text=range_text(report.protocol), rows=rows),
        Section("Best, middle and worst frame", pictures=pictures),
    ]
    return write_report(folder / "report.html", f"Depth of {name}", sections)


def range_text(protocol: DepthProtocol) -> str:
    """Say what is compared."""
    return (
        f"align {protocol.align}; depths from {protocol.min_depth:g} to {protocol.max_depth:g} m; "
        "errors of each image, then their mean"
    )
