# SPDX-License-Identifier: Apache-2.0
"""The HTML report of one trajectory beside its baseline, or of several beside each other."""

from collections.abc import Mapping
from pathlib import Path

from depthkit.errors import DataError
from depthkit.evaluation.alignment import ALIGNMENTS
from depthkit.evaluation.baselines import constant_motion, mean_motion
from depthkit.evaluation.odometry import OdometryScore, score_odometry
from depthkit.evaluation.plots import plot_ate, plot_segment_errors, plot_trajectory
from depthkit.evaluation.report import Cell, Picture, Section, write_report
from depthkit.evaluation.saved import SavedScore, compare_notes, compare_table
from depthkit.evaluation.trajectory_plots import plot_errors, plot_trajectories
from depthkit.trajectory import Trajectory

FIGURES = (
    ("t_rel_percent", "t_rel", "% over 100 to 800 m"),
    ("r_rel_deg_per_100m", "r_rel", "deg / 100 m"),
    ("ate_m", "ATE", "m, root mean square"),
    ("rpe_trans_m", "RPE translation", "m, mean from pose to pose"),
    ("rpe_rot_deg", "RPE rotation", "deg, mean from pose to pose, KITTI's formula"),
    ("rpe_rot_evo_deg", "RPE rotation, evo", "deg, the same by the rotation vector"),
    ("snippet_ate_mean", "snippet ATE", "m, mean, SfMLearner's definition"),
    ("snippet_ate_std", "snippet ATE spread", "m, standard deviation of the same"),
    ("snippet_ate_rmse_mean", "snippet RMSE", "m, mean of true root mean squares"),
    ("snippet_ate_rmse_std", "snippet RMSE spread", "m, standard deviation of the same"),
)
"""Key of the JSON, name and unit of each figure."""


def write_odometry_report(
    folder: Path, scores: Mapping[str, OdometryScore], reference: str
) -> Path:
    """Write pictures and page; return the page.

    Args:
        folder: is made where it is not there.
        scores: by the name of the estimate, all against one reference.
        reference: name of the reference.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if len(scores) > 1:
        return _write_several(folder, scores, reference)
    ((name, score),) = scores.items()
    pictures = [Picture(plot_trajectory(folder / "trajectory.png", score, title=name), "Path")]
    if len(score.segments.length):
        path = plot_segment_errors(folder / "segments.png", score.segments)
        pictures.append(Picture(path, "Error over the length of the segments"))
    pictures.append(Picture(plot_ate(folder / "ate.png", score), "Error over time"))
    sections = [
        Section("Scores", rows=_rows(score), notes=_notes(score)),
        Section("Pictures", pictures=pictures),
        Section("How it was measured", text=_protocol(score, name, reference)),
    ]
    return write_report(folder / "report.html", f"Odometry of {name}", sections)


def _write_several(folder: Path, scores: Mapping[str, OdometryScore], reference: str) -> Path:
    """Write one table and two pictures for all estimates."""
    saved = [SavedScore(name, score.as_json()) for name, score in scores.items()]
    notes = [f"{name}: {text}" for name, score in scores.items() for text in _notes(score)]
    pictures = [
        Picture(plot_trajectories(folder / "trajectories.png", scores), "Paths"),
        Picture(plot_errors(folder / "errors.png", scores), "Errors over time"),
    ]
    mode = next(iter(scores.values())).aligned.mode
    text = (
        f"All estimates against {reference}, each aligned by itself: {mode!r}, {ALIGNMENTS[mode]}. "
        + _DEFINITIONS
    )
    sections = [
        Section("Scores", rows=compare_table(saved), notes=[*notes, *compare_notes(saved)]),
        Section("Pictures", pictures=pictures),
        Section("How it was measured", text=text),
    ]
    return write_report(folder / "report.html", f"Odometry against {reference}", sections)


def _notes(score: OdometryScore) -> tuple[str, ...]:
    return (*score.assumed, *score.notes, *dict.fromkeys(score.reasons.values()))


_DEFINITIONS = (
    "t_rel and r_rel follow the KITTI devkit: segments of 100 to 800 m, one every 10 frames. ATE "
    "is the root mean square distance of the aligned positions. RPE is the mean over pairs of "
    "consecutive scored poses; its rotation is arccos((trace - 1) / 2) as published for KITTI, and "
    "the length of the rotation vector as in evo, which differs where matrices have few digits."
)


def _protocol(score: OdometryScore, name: str, reference: str) -> str:
    """Say in words what the figures mean."""
    segments, snippets = score.segments, score.snippets
    return (
        f"{name} against {reference}. Alignment "
        f"{score.aligned.mode!r}: {ALIGNMENTS[score.aligned.mode]}. The estimate was multiplied "
        f"by {score.aligned.similarity.scale:.6g}.\n\n{_DEFINITIONS} "
        f"{len(segments.length)} of {segments.possible} segments had a pose at both ends, the "
        f"reference is {segments.path_length:.1f} m long. Snippet "
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


def _rows(score: OdometryScore) -> list[list[Cell]]:
    """Put the estimate and the baseline side by side."""
    baseline = _baseline(score)
    mine, other = score.as_json(), {} if baseline is None else baseline.as_json()
    rows: list[list[Cell]] = [["", "estimate", "mean motion (baseline)", "unit"]]
    rows += [[name, mine[key], other.get(key), unit] for key, name, unit in FIGURES]
    rows.append(
        ["ATE, straight on at constant speed", score.ate_straight_m, "", "m, same alignment"]
    )
    rows.append(["ATE, standing still", score.ate_still_m, "", "m, same alignment"])
    rows.append(["coverage", 100 * score.coverage, "", "% of the reference"])
    rows.append(["poses scored", len(score.stamps), "", ""])
    rows.append(["scale", mine["scale"], other.get("scale"), f"align {score.aligned.mode}"])
    return rows
