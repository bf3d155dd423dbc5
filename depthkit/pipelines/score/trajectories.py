# SPDX-License-Identifier: Apache-2.0
"""Scores of a trajectory file against another, and the report."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from depthkit.errors import DataError
from depthkit.evaluation.alignment import ALIGNMENTS
from depthkit.evaluation.baselines import constant_motion, mean_motion
from depthkit.evaluation.odometry import OdometryScore, score_odometry
from depthkit.evaluation.plots import plot_ate, plot_segment_errors, plot_trajectory
from depthkit.evaluation.report import Cell, Picture, Section, write_report
from depthkit.pipelines.score.options import OdometryOptions
from depthkit.pipelines.score.report import check_report
from depthkit.trajectory import Trajectory, detect_format, load_trajectory

ROWS = (
    ("t_rel_percent", "t_rel", "% over 100 to 800 m"),
    ("r_rel_deg_per_100m", "r_rel", "deg / 100 m"),
    ("ate_m", "ATE", "m, root mean square"),
    ("rpe_trans_m", "RPE translation", "m, mean from pose to pose"),
    ("rpe_rot_deg", "RPE rotation", "deg, mean from pose to pose"),
    ("snippet_ate_mean", "snippet ATE", "m, mean, SfMLearner's definition"),
    ("snippet_ate_std", "snippet ATE spread", "m, standard deviation of the same"),
    ("snippet_ate_rmse_mean", "snippet RMSE", "m, mean of true root mean squares"),
    ("snippet_ate_rmse_std", "snippet RMSE spread", "m, standard deviation of the same"),
)


@dataclass(frozen=True)
class OdometryEvaluation:
    """Scores of a trajectory."""

    estimate: str
    reference: str
    score: OdometryScore
    """Figures, and the arrays behind them."""
    page: Path | None = None
    """The HTML report, if one was written."""

    def as_json(self) -> dict[str, Any]:
        """Return the figures of the command line's contract."""
        return self.score.as_json()


def evaluate_odometry(options: OdometryOptions) -> OdometryEvaluation:
    """Score a trajectory against the truth.

    Raises:
        DataError: a file that is no trajectory, or nothing that pairs.
    """
    if not options.max_gap > 0:
        raise DataError(f"--max-gap must be above 0 s, got {options.max_gap:g}")
    reference, estimate, max_gap = _load(options)
    folder = check_report(options.report, force=options.force)
    try:
        score = score_odometry(
            reference,
            estimate,
            mode=options.align,
            max_gap=max_gap,
            snippet_length=options.snippets,
        )
    except DataError as error:
        raise DataError(f"{options.estimate} against {options.reference}: {error}") from None
    page = None if folder is None else _write_report(folder, score, options)
    return OdometryEvaluation(str(options.estimate), str(options.reference), score, page)


def _load(options: OdometryOptions) -> tuple[Trajectory, Trajectory, float | None]:
    """Read both files; frame indices pair only with frame indices, times with times."""
    formats = [detect_format(path) for path in (options.reference, options.estimate)]
    by_index = [name == "kitti" for name in formats]
    if by_index[0] != by_index[1]:
        raise DataError(
            f"{options.estimate} is a {formats[1]} file and {options.reference} a {formats[0]} "
            "file: one has frame indices, the other times; give both in one format"
        )
    reference = load_trajectory(options.reference, repeats=options.repeats)
    estimate = load_trajectory(options.estimate, repeats=options.repeats)
    return reference, estimate, None if by_index[0] else options.max_gap


def alignment_text(score: OdometryScore) -> str:
    """Say how the estimate was laid on the reference."""
    mode = score.aligned.mode
    return f"align {mode}: {ALIGNMENTS[mode]}; scale {score.aligned.similarity.scale:.6g}"


def _protocol(score: OdometryScore, options: OdometryOptions) -> str:
    """Say in words what the figures mean."""
    segments, snippets = score.segments, score.snippets
    return (
        f"{Path(options.estimate).name} against {Path(options.reference).name}. Alignment "
        f"{score.aligned.mode!r}: {ALIGNMENTS[score.aligned.mode]}. The estimate was multiplied "
        f"by {score.aligned.similarity.scale:.6g}.\n\n"
        "t_rel and r_rel follow the KITTI devkit: segments of 100 to 800 m, one every 10 frames; "
        f"{len(segments.length)} of {segments.possible} segments had a pose at both ends, the "
        f"reference is {segments.path_length:.1f} m long. ATE is the root mean square distance of "
        "the aligned positions. RPE is the mean over pairs of consecutive scored poses. Snippet "
        f"ATE takes every window of {score.snippet_length} frames at its own scale "
        f"({len(snippets.rmse)} of {snippets.possible} windows); papers print SfMLearner's form, "
        f"which is sqrt({score.snippet_length}) smaller than the root mean square.\n\n"
        "The baseline repeats one motion, the mean of this very reference, from frame to frame. It "
        "sees no picture: a figure no better than the baseline's says little for the estimate."
    )


def _baseline(score: OdometryScore) -> OdometryScore | None:
    """Score the mean motion on the same poses; None where the alignment has no answer for it."""
    truth = Trajectory(score.stamps, score.aligned.reference)
    try:
        guess = constant_motion(truth.stamps, mean_motion([truth]))
        length = score.snippet_length
        return score_odometry(truth, guess, mode=score.aligned.mode, snippet_length=length)
    except DataError:
        return None


def _write_report(folder: Path, score: OdometryScore, options: OdometryOptions) -> Path:
    """Write pictures and page; return the page."""
    folder.mkdir(parents=True, exist_ok=True)
    name = Path(options.estimate).stem
    pictures = [Picture(plot_trajectory(folder / "trajectory.png", score, title=name), "Path")]
    if len(score.segments.length):
        path = plot_segment_errors(folder / "segments.png", score.segments)
        pictures.append(Picture(path, "Error over the length of the segments"))
    pictures.append(Picture(plot_ate(folder / "ate.png", score), "Error over time"))
    reasons = tuple(dict.fromkeys(score.reasons.values()))
    sections = [
        Section("Scores", rows=_report_rows(score), notes=score.notes + reasons),
        Section("Pictures", pictures=pictures),
        Section("How it was measured", text=_protocol(score, options)),
    ]
    return write_report(folder / "report.html", f"Odometry of {name}", sections)


def _report_rows(score: OdometryScore) -> list[list[Cell]]:
    """Put the estimate and the baseline side by side."""
    baseline = _baseline(score)
    mine, other = score.as_json(), {} if baseline is None else baseline.as_json()
    rows: list[list[Cell]] = [["", "estimate", "mean motion (baseline)", "unit"]]
    rows += [[name, mine[key], other.get(key), unit] for key, name, unit in ROWS]
    rows.append(["coverage", 100 * score.coverage, "", "% of the reference"])
    rows.append(["poses scored", len(score.stamps), "", ""])
    rows.append(["scale", mine["scale"], other.get("scale"), f"align {score.aligned.mode}"])
    return rows
