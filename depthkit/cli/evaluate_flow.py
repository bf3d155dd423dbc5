# SPDX-License-Identifier: Apache-2.0
"""`depthkit evaluate flow`: pair two folders by name, score, print, and write the report."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from depthkit.cli.evaluate_output import check_report, print_json, print_table, warn
from depthkit.data.flow_pairs import FlowPair, find_flow_pairs
from depthkit.errors import DataError
from depthkit.evaluation.flow import PARTS, FlowReport, FlowScore, FlowTruth, score_flow, suspicions
from depthkit.evaluation.flow_plots import plot_flow
from depthkit.evaluation.report import Cell, Picture, Section, write_report

_METHOD = (
    "epe: mean end-point error, pixels; fl: share of outliers, off by more than 3 px and by more "
    "than 5 % of the true length; all pixels of all frames count the same"
)

Maps = dict[str, FlowPair]


def run_flow(args: argparse.Namespace) -> None:
    """Score `--pred` against `--gt`."""
    pred, gt = find_flow_pairs(args.pred), find_flow_pairs(args.gt)
    if not pred.keys() & gt.keys():
        raise DataError(
            f"no flow of {args.pred} has the name of one of {args.gt}: {next(iter(pred))!r} "
            f"against {next(iter(gt))!r}; give both the same names"
        )
    folder = check_report(args.report, force=args.force)
    report = score_flow(_pairs(pred, gt))
    notes = _notes(report, pred, gt)
    warn(notes)
    if args.json:
        print_json(report.as_json() | {"notes": notes})
    else:
        _print_text(report)
    if folder is not None:
        page = _write_report(folder, report, notes, pred, gt)
        if not args.json:
            print(f"report: {page}")


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


# --- what is shown -------------------------------------------------------------------------------


def _print_text(report: FlowReport) -> None:
    print(
        f"coverage {100 * report.coverage:.1f} %: {report.frames} of {report.frames_gt} frames "
        f"with a truth, {100 * report.score.coverage:.1f} % of their pixels"
    )
    print(_METHOD)
    print_table(_rows(report.score))
    print(f"mean over frames of each frame's epe: {report.epe_frame_mean:.4g} px")


def _rows(score: FlowScore) -> list[tuple[str, Cell, str]]:
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
    ours = {name: value for name, value, _ in _rows(report.score)}
    rows: list[list[Cell]] = [["", "prediction", "no motion (baseline)", "meaning"]]
    rows += [[name, ours.get(name), value, meaning] for name, value, meaning in _rows(still.score)]
    frames = f"%, {report.frames} of {report.frames_gt} frames with a truth"
    rows += [
        ["epe, mean over frames", report.epe_frame_mean, still.epe_frame_mean, "px"],
        ["coverage", 100 * report.coverage, 100.0, frames],
        ["pixel coverage", 100 * report.score.coverage, 100.0, "% of the pixels with a truth"],
    ]
    sections = [
        Section("Scores", text=f"{_METHOD}.", rows=rows, notes=notes),
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
