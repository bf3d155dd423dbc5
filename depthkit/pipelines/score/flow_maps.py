# SPDX-License-Identifier: Apache-2.0
"""Scores of optical flow: two folders paired by name, and the report."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from depthkit.data.flow_pairs import FlowPair, find_flow_pairs
from depthkit.errors import DataError
from depthkit.evaluation.flow import PARTS, FlowReport, FlowScore, FlowTruth, score_flow, suspicions
from depthkit.evaluation.flow_plots import plot_flow
from depthkit.evaluation.report import Cell, Picture, Section, write_report
from depthkit.pipelines.score.options import FlowOptions
from depthkit.pipelines.score.report import check_report

METHOD = (
    "epe: mean end-point error, pixels; fl: share of outliers, off by more than 3 px and by more "
    "than 5 % of the true length; all pixels of all frames count the same"
)

Maps = dict[str, FlowPair]


@dataclass(frozen=True)
class FlowEvaluation:
    """Scores of a folder of optical flow."""

    pred: str
    gt: str
    report: FlowReport
    """Scores of all frames, and of each."""
    notes: tuple[str, ...]
    """What the figures alone would hide."""
    page: Path | None = None
    """The HTML report, if one was written."""

    def as_json(self) -> dict[str, Any]:
        """Return the figures of the command line's contract."""
        return self.report.as_json() | {"notes": list(self.notes)}


def evaluate_flow(options: FlowOptions) -> FlowEvaluation:
    """Score optical flow against the truth.

    Raises:
        DataError: nothing to score, or flow of another size than its truth.
    """
    pred, gt = find_flow_pairs(options.pred), find_flow_pairs(options.gt)
    if not pred.keys() & gt.keys():
        raise DataError(
            f"no flow of {options.pred} has the name of one of {options.gt}: "
            f"{next(iter(pred))!r} against {next(iter(gt))!r}; give both the same names"
        )
    folder = check_report(options.report, force=options.force)
    report = score_flow(_pairs(pred, gt))
    notes = _notes(report, pred, gt)
    page = None if folder is None else _write_report(folder, report, notes, pred, gt)
    return FlowEvaluation(str(options.pred), str(options.gt), report, tuple(notes), page)


def _pairs(pred: Maps, gt: Maps) -> Iterator[tuple[np.ndarray | None, FlowTruth]]:
    """Read map after map; None where a prediction is missing."""
    for name, pair in gt.items():
        truth = pair.read_truth()
        if truth.flow is None:
            continue
        guess = _read_prediction(pred[name], pair, truth.flow) if name in pred else None
        yield guess, FlowTruth(truth.flow, truth.occluded, truth.moving)


def _read_prediction(pair: FlowPair, truth: FlowPair, flow: np.ndarray) -> np.ndarray:
    guess = pair.read_flow()
    if guess.shape != flow.shape:
        (h, w), (H, W) = guess.shape[:2], flow.shape[:2]
        raise DataError(
            f"{pair.flow}: flow of {w}x{h}, {truth.flow} has {W}x{H}; write flow at the frames' "
            "own size, in pixels of it"
        )
    return guess


def _notes(report: FlowReport, pred: Maps, gt: Maps) -> list[str]:
    """Say what the figures alone would hide."""
    notes = []
    if report.frames < report.frames_gt:
        missing = report.frames_gt - report.frames
        notes.append(
            f"{missing} of {report.frames_gt} frames with a truth have no prediction: the errors "
            f"are those of the other {report.frames}"
        )
    unused = len(pred.keys() - gt.keys())
    if unused:
        notes.append(f"{unused} of {len(pred)} predictions have no truth and were not scored")
    if report.score.coverage < 0.999:
        share = 100 * (1 - report.score.coverage)
        notes.append(
            f"{share:.1f} % of the pixels with a truth have no prediction and were left out"
        )
    return [*suspicions(report), *notes]


# --- the report --------------------------------------------------------------------------------


def flow_rows(score: FlowScore) -> list[tuple[str, Cell, str]]:
    """Return name, figure and meaning of every part that is known."""
    rows: list[tuple[str, Cell, str]] = []
    for part, meaning in PARTS.items():
        epe = score.epe if part == "all" else getattr(score, f"epe_{part}")
        if epe is not None:
            name = "epe" if part == "all" else f"epe_{part}"
            rows.append((name, epe, f"px, {meaning}"))
            rows.append((f"fl_{part}", getattr(score, f"fl_{part}_percent"), "%"))
    return rows


def _write_report(folder: Path, report: FlowReport, notes: list[str], pred: Maps, gt: Maps) -> Path:
    """Write pictures and page; return the page."""
    folder.mkdir(parents=True, exist_ok=True)
    still = score_flow((np.zeros_like(truth.flow), truth) for _, truth in _pairs({}, gt))
    ours = {name: value for name, value, _ in flow_rows(report.score)}
    rows: list[list[Cell]] = [["", "prediction", "no motion (baseline)", "meaning"]]
    rows += [
        [name, ours.get(name), value, meaning] for name, value, meaning in flow_rows(still.score)
    ]
    frames = f"%, {report.frames} of {report.frames_gt} frames with a truth"
    rows += [
        ["epe, mean over frames", report.epe_frame_mean, still.epe_frame_mean, "px"],
        ["coverage", 100 * report.coverage, 100.0, frames],
        ["pixel coverage", 100 * report.score.coverage, 100.0, "% of the pixels with a truth"],
    ]
    sections = [
        Section("Scores", text=f"{METHOD}.", rows=rows, notes=notes),
        Section("Best, middle and worst frame", pictures=_pictures(folder, report, pred, gt)),
    ]
    return write_report(folder / "report.html", "Optical flow", sections)


def _pictures(folder: Path, report: FlowReport, pred: Maps, gt: Maps) -> list[Picture]:
    """Draw the frames with the least, the middle and the largest error."""
    names = list(gt)
    ranked = sorted(
        (s.epe, i) for s, i in zip(report.scores, report.indices, strict=True) if s is not None
    )
    chosen = {"best": ranked[0], "middle": ranked[len(ranked) // 2], "worst": ranked[-1]}
    pictures = []
    for rank, (epe, index) in chosen.items():
        pair = gt[names[index]]
        title = f"{rank}: {pair.name}, epe {epe:.3g} px"
        path = plot_flow(
            folder / f"flow_{rank}.png",
            pred[pair.name].read_flow(),
            pair.read_flow(),
            image=None if pair.first is None or pair.second is None else pair.read_frames()[0],
            title=title,
        )
        pictures.append(Picture(path, f"The {rank} frame by epe"))
    return pictures
