# SPDX-License-Identifier: Apache-2.0
"""Scores of depth maps: two folders paired by name, and the report."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from depthkit.errors import DataError
from depthkit.evaluation.baselines import constant_depth
from depthkit.evaluation.depth import (
    CROPS,
    DepthReport,
    clip_depth,
    score_depth,
    scored_pixels,
)
from depthkit.evaluation.depth_alignment import DEPTH_ALIGNMENTS
from depthkit.evaluation.depth_review import (
    CHOICE,
    aligned_as_scored,
    alignment_notes,
    frames_to_show,
    suspicions,
    title_of,
)
from depthkit.evaluation.plots import plot_depth
from depthkit.evaluation.report import Cell, Picture, Section, write_report
from depthkit.evaluation.resample import resize_depth
from depthkit.outputs.depth_folder import DepthMaps, open_depth_maps, plain_names
from depthkit.pipelines.score.options import DepthOptions
from depthkit.pipelines.score.report import check_report

ROWS = (
    ("abs_rel", "mean |p - g| / g"),
    ("sq_rel", "m, mean (p - g)^2 / g"),
    ("rmse", "m"),
    ("rmse_log", "of natural logarithms"),
    ("a1", "share within a factor 1.25"),
    ("a2", "share within 1.25^2"),
    ("a3", "share within 1.25^3"),
)


@dataclass(frozen=True)
class DepthEvaluation:
    """Scores of a folder of depth maps."""

    pred: str
    gt: str
    report: DepthReport
    """Means over images, and the scores of each."""
    notes: tuple[str, ...]
    """What the figures alone would hide."""
    page: Path | None = None
    """The HTML report, if one was written."""

    def as_json(self) -> dict[str, Any]:
        """Return the figures of the command line's contract."""
        return self.report.as_json() | {"notes": list(self.notes)}


def evaluate_depth(options: DepthOptions) -> DepthEvaluation:
    """Score depth maps against the truth.

    Raises:
        DataError: nothing to score, or relative depth that is not aligned.
    """
    pred, gt, paired = _open(options)
    protocol = options.protocol
    _check_pairs(pred, gt, protocol.align)
    folder = check_report(options.report, force=options.force)
    report = score_depth(_pairs(pred, gt), gt.read_valid(), **vars(protocol))
    suspected = suspicions(report, (pred.is_unit_assumed, gt.is_unit_assumed))
    suspected += alignment_notes(report)
    notes = (*suspected, *pred.notes, *gt.notes, *paired, *_notes(report, pred, gt))
    page = None
    if folder is not None:
        page = _write_report(folder, report, notes, pred, gt)
    return DepthEvaluation(str(options.pred), str(options.gt), report, notes, page)


def _open(options: DepthOptions) -> tuple[DepthMaps, DepthMaps, tuple[str, ...]]:
    """Open both folders; where no name is in both, compare names without words like _depth."""
    pred = open_depth_maps(options.pred, options.pred_scale, "--pred-scale")
    gt = open_depth_maps(options.gt, options.gt_scale, "--gt-scale")
    if pred.files.keys() & gt.files.keys():
        return pred, gt, ()
    bare_pred, bare_gt = (replace(one, files=plain_names(one.files)) for one in (pred, gt))
    if not bare_pred.files.keys() & bare_gt.files.keys():
        return pred, gt, ()
    examples = f"{next(iter(pred.files))!r} and {next(iter(gt.files))!r}"
    return (
        bare_pred,
        bare_gt,
        (f"maps paired by number, or by name without words such as depth or color: {examples}",),
    )


def _check_pairs(pred: DepthMaps, gt: DepthMaps, align: str) -> None:
    """Refuse what cannot give a score: no common name, or relative depth read as metres."""
    if not pred.files.keys() & gt.files.keys():
        raise DataError(
            f"no map of {pred.root} has the name of one of {gt.root}: {next(iter(pred.files))!r} "
            f"against {next(iter(gt.files))!r}; give both the same names"
        )
    for maps, role in ((pred, "predictions"), (gt, "truth")):
        if maps.is_relative and align == "none":
            raise DataError(
                f"{maps.root}: the {role} are relative, not metres; pass --align median"
            )


def _pairs(pred: DepthMaps, gt: DepthMaps) -> Iterator[tuple[np.ndarray | None, np.ndarray]]:
    """Read map after map; None where a prediction is missing."""
    for name in gt.files:
        yield (pred.read(name) if name in pred.files else None), gt.read(name)


def _notes(report: DepthReport, pred: DepthMaps, gt: DepthMaps) -> list[str]:
    """Say what the figures alone would hide."""
    notes = []
    if report.frames < report.frames_gt:
        missing = report.frames_gt - report.frames
        notes.append(
            f"{missing} of {report.frames_gt} frames with a truth have no prediction: the errors "
            f"are those of the other {report.frames}"
        )
    unused = len(pred.files.keys() - gt.files.keys())
    if unused:
        notes.append(f"{unused} of {len(pred.files)} predictions have no truth and were not scored")
    if report.pixel_coverage < 0.999:
        share = 100 * (1 - report.pixel_coverage)
        notes.append(
            f"{share:.1f} % of the pixels with a truth have no prediction and were left out"
        )
    name = next(iter(pred.files.keys() & gt.files.keys()))
    sizes = pred.read(name).shape, gt.read(name).shape
    if sizes[0] != sizes[1]:
        (h, w), (H, W) = sizes
        notes.append(f"predictions of {h}x{w} were resampled to {H}x{W}, bilinear in depth")
    return notes


def protocol_text(report: DepthReport) -> str:
    """Say in words what is compared."""
    protocol = report.protocol
    return (
        f"align {protocol.align}: {DEPTH_ALIGNMENTS[protocol.align]}; crop {protocol.crop}: "
        f"{CROPS[protocol.crop]}; depths from {protocol.min_depth:g} to {protocol.max_depth:g} m; "
        "errors of each image, then their mean"
    )


def _write_report(
    folder: Path, report: DepthReport, notes: tuple[str, ...], pred: DepthMaps, gt: DepthMaps
) -> Path:
    """Write pictures and page; return the page."""
    folder.mkdir(parents=True, exist_ok=True)
    text = (
        f"Predictions of {pred.root.name} against {gt.root.name}: {protocol_text(report)}.\n\n"
        "Baseline: the one constant depth with the least abs_rel, chosen with the truth in hand. "
        "Aligned as the predictions are, every image gets its own constant: by median the median "
        "of its truth, by affine the inverse of its truth's mean inverse depth. It sees no "
        "picture: a figure no better than the baseline's says little for the network."
    )
    sections = [
        Section("Scores", rows=_report_rows(report, gt), notes=notes),
        Section("Best, middle and worst frame", pictures=_pictures(folder, report, pred, gt)),
        Section("How it was measured", text=text),
    ]
    return write_report(folder / "report.html", f"Depth of {pred.root.name}", sections)


def _report_rows(report: DepthReport, gt: DepthMaps) -> list[list[Cell]]:
    """Put the predictions and the best constant side by side."""
    protocol = report.protocol
    depth = constant_depth((gt.read(name) for name in gt.files), protocol)
    truths = (gt.read(name) for name in gt.files)
    pairs = ((np.full(truth.shape, depth), truth) for truth in truths)
    constant = score_depth(pairs, gt.read_valid(), **vars(protocol))
    rows: list[list[Cell]] = [["", "prediction", "best constant depth (baseline)", "meaning"]]
    rows += [[name, getattr(report, name), getattr(constant, name), text] for name, text in ROWS]
    frames = f"{report.frames} of {report.frames_gt} frames with a truth"
    rows += [
        ["coverage", 100 * report.coverage, 100.0, f"%, {frames}"],
        ["pixel coverage", 100 * report.pixel_coverage, 100.0, "% of the pixels with a truth"],
        ["scale ratio", report.ratio_median, constant.ratio_median, "median of truth / prediction"],
        ["scale spread", report.ratio_spread, constant.ratio_spread, "its deviation / median"],
    ]
    return rows


def _pictures(folder: Path, report: DepthReport, pred: DepthMaps, gt: DepthMaps) -> list[Picture]:
    """Draw the frames with the least, the middle and the largest abs_rel, as they were scored."""
    names, protocol = list(gt.files), report.protocol
    pictures = []
    for rank, (score, index) in frames_to_show(report).items():
        name, truth = names[index], gt.read(names[index])
        guess = resize_depth(pred.read(name), truth.shape)
        path = plot_depth(
            folder / f"depth_{rank}.png",
            clip_depth(aligned_as_scored(guess, score, protocol), protocol),
            truth,
            image=gt.read_image(name),
            title=title_of(rank, name, score),
            scored=scored_pixels(truth, gt.read_valid(), protocol),
        )
        pictures.append(Picture(path, f"{CHOICE}, {rank}"))
    return pictures
