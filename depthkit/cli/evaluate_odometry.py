# SPDX-License-Identifier: Apache-2.0
"""`depthkit evaluate odometry`: read trajectories, score, print, save, and write the report."""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

from depthkit.cli.evaluate_output import (
    check_report,
    note,
    print_json,
    print_rows,
    print_table,
    warn,
)
from depthkit.errors import DataError
from depthkit.evaluation.alignment import ALIGNMENTS
from depthkit.evaluation.odometry import OdometryScore, score_odometry
from depthkit.evaluation.odometry_report import FIGURES, write_odometry_report
from depthkit.evaluation.saved import SavedScore, compare_notes, compare_table, save_scores
from depthkit.evaluation.trajectory_pair import check_axes, settle_orders
from depthkit.trajectory import TrajectoryFile, read_trajectory


def run_odometry(args: argparse.Namespace) -> None:
    """Score each `--estimate` against `--reference`."""
    if not args.max_gap > 0:
        raise DataError(f"--max-gap must be above 0 s, got {args.max_gap:g}")
    folder = check_report(args.report, force=args.force)
    _check_save(args.save, force=args.force)
    names = _names(args.estimate)
    reference = _read(args.reference, args.reference_quaternion, args)
    reference = reference.with_option("--reference-quaternion")
    scores = {name: _score(reference, path, args) for name, path in names.items()}
    _say(scores)
    saved = [SavedScore(name, score.as_json()) for name, score in scores.items()]
    about = {"reference": Path(args.reference).name, "align": args.align}
    if args.save:
        save_scores(args.save, saved, about)
    if args.json:
        several = about | {"estimates": [{"name": one.name} | one.figures for one in saved]}
        print_json(saved[0].figures if len(saved) == 1 else several)
    elif len(scores) == 1:
        _print_text(next(iter(scores.values())))
    else:
        _print_several(scores, saved)
    if folder is not None:
        page = write_odometry_report(folder, scores, Path(args.reference).name)
        if not args.json:
            print(f"report: {page}")


def _check_save(path: str | None, *, force: bool) -> None:
    """Refuse a file that is there before any work is done."""
    if path is None:
        return
    if Path(path).is_dir() or not Path(path).absolute().parent.is_dir():
        raise DataError(f"{path}: --save needs a file in a folder that is there")
    if Path(path).exists() and not force:
        raise DataError(f"{path}: is there already; name another file or pass --force")


def _names(paths: list[str]) -> dict[str, str]:
    """Name each estimate by its stem, or by its path where two stems are the same."""
    if len({os.path.realpath(path) for path in paths}) < len(paths):
        raise DataError("--estimate: one file is named twice")
    stems = [Path(path).stem for path in paths]
    return {
        path if stems.count(stem) > 1 else stem: path
        for stem, path in zip(stems, paths, strict=True)
    }


def _read(path: str, order: str | None, args: argparse.Namespace) -> TrajectoryFile:
    return read_trajectory(
        path,
        repeats=args.repeats,
        time_unit=args.time_unit,
        quaternion=order,  # type: ignore[arg-type]  # argparse knows the choices
    )


def _score(reference: TrajectoryFile, path: str, args: argparse.Namespace) -> OdometryScore:
    """Score one file."""
    estimate = _read(path, args.quaternion, args)
    names = (str(args.reference), path)
    by_frame = check_axes(reference, estimate, *names)
    max_gap = None if by_frame else args.max_gap
    truth, guess, notes = settle_orders(reference, estimate, max_gap=max_gap, names=names)
    try:
        return score_odometry(
            truth,
            guess,
            mode=args.align,
            max_gap=max_gap,
            snippet_length=args.snippets,
            notes=notes,
        )
    except DataError as error:
        raise DataError(f"{path} against {args.reference}: {error}") from None


def _say(scores: Mapping[str, OdometryScore]) -> None:
    """Print notes and assumptions, each once; with several estimates under their names."""
    several = len(scores) > 1
    note(dict.fromkeys(text for score in scores.values() for text in score.assumed))
    warn(
        dict.fromkeys(
            f"{name}: {text}" if several and name not in text else text
            for name, score in scores.items()
            for text in score.notes
        )
    )


def _print_text(score: OdometryScore) -> None:
    figures = score.as_json()
    covered = f"{100 * score.coverage:.1f} % of the reference"
    print(f"coverage {covered}, {len(score.stamps)} poses scored")
    print(
        f"align {score.aligned.mode}: {ALIGNMENTS[score.aligned.mode]}; "
        f"scale {score.aligned.similarity.scale:.6g}"
    )
    print_table([(name, figures[key], unit) for key, name, unit in FIGURES])
    _print_reasons({"": score})


def _print_several(scores: Mapping[str, OdometryScore], saved: list[SavedScore]) -> None:
    """Print one row an estimate."""
    mode = next(iter(scores.values())).aligned.mode
    print(f"align {mode}: {ALIGNMENTS[mode]}")
    print_rows(compare_table(saved))
    _print_reasons(scores)
    warn(compare_notes(saved))


def _print_reasons(scores: Mapping[str, OdometryScore]) -> None:
    reasons = [
        f"{name}: {reason}" if name else reason
        for name, score in scores.items()
        for reason in score.reasons.values()
    ]
    for reason in dict.fromkeys(reasons):
        print(f"not scored: {reason}")
