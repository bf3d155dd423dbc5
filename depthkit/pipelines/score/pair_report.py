# SPDX-License-Identifier: Apache-2.0
"""The table over baselines of a pair network, and its report."""

from pathlib import Path
from typing import Any

from depthkit.evaluation.depth import DepthProtocol
from depthkit.evaluation.depth_review import as_scored
from depthkit.evaluation.plots import plot_depth
from depthkit.evaluation.report import Cell, Picture, Section, write_report
from depthkit.multiview.classical import classical_depth
from depthkit.pipelines.score.pairs import METHODS, PairModel, Row, predict

_FIGURES = ("abs_rel", "a1", "rmse", "mae_m", "mae_m_at_d0")
_HEADER = ("baseline", "pairs", "method", *_FIGURES, "pixels")


def rows_json(rows: list[Row], model: PairModel, protocol: DepthProtocol) -> dict[str, Any]:
    """Return plain values: the model's figures at the nominal baseline in front, then all rows."""
    chosen = nominal_row(rows, model)
    score = chosen.scores["model"]
    front = {name: getattr(score, name) for name in _FIGURES}
    return (
        {"kind": "pair"}
        | front
        | {"coverage": chosen.coverage, "frames": len(chosen.cases)}
        | vars(protocol)
        | {"nominal_baseline_m": model.nominal_baseline, "far_m_at_d0": model.max_depth}
        | {"rows": [row.as_json(model.nominal_baseline) for row in rows]}
    )


def nominal_row(rows: list[Row], model: PairModel) -> Row:
    """Return the row whose pairs lie nearest to the nominal baseline."""

    def distance(row: Row) -> float:
        return float("inf") if row.baseline is None else abs(row.baseline - model.nominal_baseline)

    return min(rows, key=distance)


def pair_notes(rows: list[Row]) -> list[str]:
    """Say what the figures alone would hide."""
    notes = []
    for row in rows:
        if not row.cases:
            notes.append(f"{_label(row)}: no pair of frames is that far apart; not scored")
        elif row.coverage < 0.999:
            share = f"{len(row.cases)} of {row.frames}"
            notes.append(f"{_label(row)}: {share} frames have a partner; the others are not scored")
    return notes


def write_pair_report(
    folder: Path, rows: list[Row], model: PairModel, protocol: DepthProtocol, name: str
) -> Path:
    """Write the table, and pictures of three pairs at the nominal baseline, model and classical."""
    folder.mkdir(parents=True, exist_ok=True)
    table = [list(line) for line in pair_table(rows)]
    sections = [
        Section("Scores", text=pair_text(model, protocol), rows=table, notes=pair_notes(rows)),
        Section("Best, middle and worst pair", pictures=_pictures(folder, rows, model, protocol)),
    ]
    return write_report(folder / "report.html", f"Depth of {name}", sections)


def pair_table(rows: list[Row]) -> tuple[tuple[Cell, ...], ...]:
    """Return the header, then a line for each baseline and method."""
    return _HEADER, *(tuple(line) for row in rows for line in _lines(row))


def _pictures(
    folder: Path, rows: list[Row], model: PairModel, protocol: DepthProtocol
) -> list[Picture]:
    row = nominal_row(rows, model)
    ranked = sorted(range(len(row.cases)), key=lambda index: row.errors[index])
    chosen = {"best": ranked[0], "middle": ranked[len(ranked) // 2], "worst": ranked[-1]}
    pictures = []
    for rank, index in chosen.items():
        case = row.cases[index]
        (target, source), gt, pair = case.read_frames(), case.read_truth(), case.pair
        far = model.max_depth * pair.baseline / model.nominal_baseline
        K = case.sequence.camera.K
        where = f"{rank}: {case.sequence.name} {pair.target} with {pair.source}"
        depths = {
            "model": predict(model, case, target, source),
            "classical": classical_depth(target, source, pair.T_source_target, K=K, max_depth=far)[
                0
            ],
        }
        for method, depth in depths.items():
            shown, scored, figure = as_scored(depth, gt, protocol)
            title = f"{where}, {pair.baseline:.3g} m apart: {method}, {figure}"
            file = folder / f"{method}_{rank}.png"
            path = plot_depth(file, shown, gt, image=target, title=title, scored=scored)
            pictures.append(Picture(path, title))
    return pictures


def _lines(row: Row) -> list[list[Cell]]:
    """Return a line for each method of a row."""
    lines: list[list[Cell]] = []
    for key, name in METHODS.items():
        score = row.scores[key]
        if score is None:
            continue
        first = [_label(row), len(row.cases)] if key == "model" else ["", ""]
        figures = [getattr(score, figure) for figure in _FIGURES]
        lines.append([*first, name, *figures, f"{100 * score.pixel_coverage:.1f} %"])
    return lines or [[_label(row), 0, "no pairs", *([""] * (len(_FIGURES) + 1))]]


def _label(row: Row) -> str:
    setting = row.setting
    if setting.shift is not None:
        mean = "" if row.baseline is None else f" ({row.baseline:.3g} m)"
        return f"shift {setting.shift}{mean}"
    wanted = f"{setting.baseline:.3g} m"
    is_other = row.baseline is not None and abs(row.baseline / (setting.baseline or 1) - 1) > 0.02
    return f"{wanted} (found {row.baseline:.3g})" if is_other else wanted


def pair_text(model: PairModel, protocol: DepthProtocol) -> str:
    """Say what is compared."""
    return (
        f"align {protocol.align}; depths from {protocol.min_depth:g} to {protocol.max_depth:g} m; "
        f"errors of each image, then their mean; at D0: depth scaled to {model.nominal_baseline:g} "
        f"m and clipped at {model.max_depth:g} m. classical: OpenCV DIS flow and the known motion, "
        "gaps filled from the nearest measured pixel; *: its measured pixels alone. best constant: "
        "one for each figure, chosen on these very frames."
    )
