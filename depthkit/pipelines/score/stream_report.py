# SPDX-License-Identifier: Apache-2.0
"""What is shown of streamed depth: the table, its notes and the report."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from depthkit.data.sequence import Sequence
from depthkit.evaluation.depth import METRICS, DepthReport
from depthkit.evaluation.depth_alignment import align_depth
from depthkit.evaluation.plots import plot_depth, plot_sparsification
from depthkit.evaluation.report import Cell, Picture, Section, write_report
from depthkit.pipelines.infer.writers import known_depth
from depthkit.pipelines.score.pairs import read_truth
from depthkit.pipelines.score.stream import StreamScore, fit_summary
from depthkit.runtime.result import CONFIDENT_SIGMA, DepthResult


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
    if score.tally.fits:
        rows += _fit_rows(score)
    if score.tally.has_sigma:
        rows += _sigma_rows(score)
    if curve is not None:
        rows.append(("AUSE of the confidence", curve.ause, "0 is the oracle's order"))
        rows.append(("AURG", curve.aurg, "above 0 is better than chance"))
    return rows


def _fit_rows(score: StreamScore) -> list[tuple[str, Cell, str]]:
    """Return how the depth was fitted to the odometry's points."""
    found = fit_summary(score.tally.fits)
    counts = ", ".join(f"{count} {state}" for state, count in found["frames"].items() if count)
    rows: list[tuple[str, Cell, str]] = [("frames by state of the fit", counts, "")]
    if found["factor"] is not None:
        rows.append(("factor of the fit, median", found["factor"], "points over network"))
        rows.append(("residual at the points, median", found["residual"], "relative"))
    return rows


def _sigma_rows(score: StreamScore) -> list[tuple[str, Cell, str]]:
    """Return the figures of the pixels that count as measured, and of the sigmas."""
    measured, band = score.confident, score.tally.band.share
    limit = f"sigma up to {CONFIDENT_SIGMA:g}"
    rows: list[tuple[str, Cell, str]] = []
    if measured is not None:
        names = ("abs_rel", "rmse", "a1")
        rows += [(f"{name}, confident pixels", getattr(measured, name), limit) for name in names]
        share = measured.coverage * measured.pixel_coverage
        rows.append(("coverage, confident pixels", f"{100 * share:.1f} %", limit))
    if band is not None:
        meaning = "of the pixels within 1.63 sigma; right is 90 %"
        rows.append(("90 % band of sigma", f"{100 * band:.1f} %", meaning))
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
