# SPDX-License-Identifier: Apache-2.0
"""Scores of trajectory files against one reference, and the report."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from depthkit.errors import DataError
from depthkit.evaluation.alignment import ALIGNMENTS
from depthkit.evaluation.odometry import OdometryScore, score_odometry
from depthkit.evaluation.odometry_report import FIGURES, write_odometry_report
from depthkit.evaluation.saved import SavedScore, compare_notes, compare_table, save_scores
from depthkit.evaluation.sigmas import SigmaCheck
from depthkit.evaluation.trajectory_pair import check_axes, settle_orders
from depthkit.pipelines.score.options import OdometryOptions
from depthkit.pipelines.score.report import check_report
from depthkit.pipelines.score.segments import Together, put_together, runs_of
from depthkit.pipelines.score.sigmas import sigmas_of
from depthkit.trajectory import Order, TrajectoryFile, read_trajectory

__all__ = ["ALIGNMENTS", "FIGURES", "OdometryEvaluation", "OdometryScore", "evaluate_odometry"]


@dataclass(frozen=True)
class OdometryEvaluation:
    """Scores of one or several trajectories."""

    reference: str
    align: str
    """A key of `ALIGNMENTS`."""
    scores: dict[str, OdometryScore]
    """Name of the estimate -> figures, and the arrays behind them."""
    page: Path | None = None
    """The HTML report, if one was written."""
    together: dict[str, Together] = field(default_factory=dict)
    """Name of a folder of segments -> all of them in one figure."""
    unscored: tuple[str, ...] = ()
    """Segments that could not be scored, one line each; they lower the coverage."""
    sigmas: dict[str, SigmaCheck] = field(default_factory=dict)
    """Name of the estimate -> its errors over the sigmas beside it, where there are any."""

    @property
    def score(self) -> OdometryScore:
        """Score of the first estimate, which mostly is the only one."""
        return next(iter(self.scores.values()))

    @property
    def table(self) -> list[list[Any]]:
        """One row an estimate, header first."""
        return compare_table(self.saved())

    @property
    def remarks(self) -> list[str]:
        """Why the estimates may not be compared."""
        segments = bool(self.together) and len(self.together) == 1
        return [] if segments else compare_notes(self.saved())

    def saved(self) -> list[SavedScore]:
        """Return the figures of each estimate, as `--save` keeps them."""
        return [SavedScore(name, score.as_json()) for name, score in self.scores.items()]

    def as_json(self) -> dict[str, Any]:
        """Return the figures of the command line's contract; a list with several estimates."""
        more: dict[str, Any] = {"unscored": list(self.unscored)} if self.unscored else {}
        if self.sigmas:
            more["sigmas"] = {name: asdict(one) for name, one in self.sigmas.items()}
        if len(self.scores) == 1 and not self.together:
            return self.score.as_json() | more
        estimates = [{"name": one.name} | one.figures for one in self.saved()]
        found: dict[str, Any] = {**about(self.reference, self.align), "estimates": estimates}
        found |= more
        if self.together:
            found["together"] = {name: asdict(run) for name, run in self.together.items()}
        return found


def evaluate_odometry(options: OdometryOptions) -> OdometryEvaluation:
    """Score each estimate against the reference.

    Raises:
        DataError: a file that is no trajectory, or nothing that pairs.
    """
    if not options.max_gap > 0:
        raise DataError(f"--max-gap must be above 0 s, got {options.max_gap:g}")
    folder = check_report(options.report, force=options.force)
    _check_save(options.save, force=options.force)
    runs, left_out = runs_of(_names(options.estimates), options.align)
    reference = _read(options.reference, options.reference_quaternion, options)
    reference = reference.with_option("--reference-quaternion")
    scores, unscored = _score_all(reference, runs, options)
    page = None
    if folder is not None:
        page = write_odometry_report(folder, scores, options.reference.name)
    several = {name: [scores[one] for one in run if one in scores] for name, run in runs.items()}
    found = OdometryEvaluation(
        str(options.reference),
        options.align,
        scores,
        page,
        {name: put_together(run) for name, run in several.items() if len(runs[name]) > 1},
        (*left_out, *unscored),
        _sigmas(runs, scores, options.max_gap),
    )
    if options.save is not None:
        save_scores(options.save, found.saved(), about(found.reference, found.align))
    return found


def _sigmas(
    runs: dict[str, dict[str, Path]], scores: dict[str, OdometryScore], max_gap: float
) -> dict[str, SigmaCheck]:
    """Check the sigmas of each scored file that has any."""
    files = {name: path for run in runs.values() for name, path in run.items() if name in scores}
    checks = {name: sigmas_of(path, scores[name], max_gap=max_gap) for name, path in files.items()}
    return {name: check for name, check in checks.items() if check is not None}


def about(reference: str, align: str) -> dict[str, str]:
    """Return what the scores of several estimates have in common."""
    return {"reference": Path(reference).name, "align": align}


def _check_save(path: Path | None, *, force: bool) -> None:
    """Refuse a file that is there before any work is done."""
    if path is None:
        return
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise DataError(f"{path}: --save needs a file in a folder that is there")
    if path.exists() and not force:
        raise DataError(f"{path}: is there already; name another file or pass --force")


def _score_all(
    reference: TrajectoryFile, runs: dict[str, dict[str, Path]], options: OdometryOptions
) -> tuple[dict[str, OdometryScore], tuple[str, ...]]:
    """Score each file; of a folder of segments, those that are too short are named."""
    scores, unscored = dict[str, OdometryScore](), list[str]()
    for run in runs.values():
        problems = []
        for name, path in run.items():
            try:
                scores[name] = _score(reference, path, options)
            except DataError as error:
                problems.append(str(error))
                unscored.append(f"{name}: not scored, it lowers the coverage: {error}")
        if len(problems) == len(run):
            raise DataError(problems[0])
    return scores, tuple(unscored)


def _names(paths: Sequence[Path]) -> dict[str, Path]:
    """Name each estimate by its stem, or by its path where two stems are the same."""
    if len({os.path.realpath(path) for path in paths}) < len(paths):
        raise DataError("--estimate: one file is named twice")
    stems = [path.stem for path in paths]
    return {
        str(path) if stems.count(stem) > 1 else stem: path
        for stem, path in zip(stems, paths, strict=True)
    }


def _read(path: Path, order: Order | None, options: OdometryOptions) -> TrajectoryFile:
    return read_trajectory(
        path, repeats=options.repeats, time_unit=options.time_unit, quaternion=order
    )


def _score(reference: TrajectoryFile, path: Path, options: OdometryOptions) -> OdometryScore:
    """Score one file."""
    estimate = _read(path, options.quaternion, options)
    names = (str(options.reference), str(path))
    by_frame = check_axes(reference, estimate, *names)
    max_gap = None if by_frame else options.max_gap
    truth, guess, notes = settle_orders(reference, estimate, max_gap=max_gap, names=names)
    try:
        return score_odometry(
            truth,
            guess,
            mode=options.align,
            max_gap=max_gap,
            snippet_length=options.snippets,
            notes=notes,
        )
    except DataError as error:
        raise DataError(f"{path} against {options.reference}: {error}") from None
