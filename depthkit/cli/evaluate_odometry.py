# SPDX-License-Identifier: Apache-2.0
"""`depthkit evaluate odometry`: prints the scores of one or several trajectories."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from depthkit.cli.arguments import options_of
from depthkit.cli.evaluate_output import (
    note,
    print_json,
    print_page,
    print_rows,
    print_table,
    warn,
)

if TYPE_CHECKING:
    from depthkit.pipelines.score.trajectories import OdometryEvaluation, OdometryScore


def run_odometry(args: argparse.Namespace) -> None:
    """Score each `--estimate` against `--reference`."""
    import depthkit

    found = depthkit.evaluate.odometry(**options_of(args, "kind"))
    _say(found)
    if args.json:
        print_json(found.as_json())
        return
    if len(found.scores) == 1 and not found.together:
        _print_text(found)
    else:
        _print_several(found)
    print_page(found.page)


def _say(found: OdometryEvaluation) -> None:
    """Print notes and assumptions, each once; with several estimates under their names."""
    scores = found.scores
    several = len(scores) > 1
    note(dict.fromkeys(text for score in scores.values() for text in score.assumed))
    warn(found.unscored)
    warn(
        dict.fromkeys(
            f"{name}: {text}" if several and name not in text else text
            for name, score in scores.items()
            for text in score.notes
        )
    )


def _print_text(found: OdometryEvaluation) -> None:
    from depthkit.pipelines.score.trajectories import ALIGNMENTS, FIGURES

    score, figures = found.score, found.as_json()
    covered = f"{100 * score.coverage:.1f} % of the reference"
    print(f"coverage {covered}, {len(score.stamps)} poses scored")
    print(
        f"align {found.align}: {ALIGNMENTS[found.align]}; "
        f"scale {score.aligned.similarity.scale:.6g}"
    )
    print_table([(name, figures[key], unit) for key, name, unit in FIGURES])
    print(_trivial(score))
    _print_sigmas(found)
    _print_reasons(found)


def _trivial(score: OdometryScore) -> str:
    """Say what an odometry that sees nothing would score."""
    straight = score.ate_straight_m
    words = "none" if straight is None else f"{straight:.4g} m"
    return (
        f"ATE of trivial answers, same alignment: straight on at constant speed {words}, "
        f"standing still {score.ate_still_m:.4g} m"
    )


def _print_several(found: OdometryEvaluation) -> None:
    """Print one row an estimate."""
    from depthkit.pipelines.score.trajectories import ALIGNMENTS

    print(f"align {found.align}: {ALIGNMENTS[found.align]}")
    print_rows(found.table)
    for name, run in found.together.items():
        print(
            f"{name} together: coverage {100 * run.coverage:.1f} % of the reference, {run.poses} "
            f"poses in {run.segments} segments, each aligned on its own: ATE {run.ate_m:.4g} m"
        )
    _print_sigmas(found)
    _print_reasons(found)
    warn(found.remarks)


def _print_sigmas(found: OdometryEvaluation) -> None:
    """Say how the errors of live poses compare with the sigmas that were written for them."""
    for name, one in found.sigmas.items():
        print(
            f"{name}: NEES against the segment's first pose (1 = the sigmas are right): "
            f"position {one.position:.3g}, rotation {one.rotation:.3g}; within twice the sigma: "
            f"{100 * one.position_within:.0f} % and {100 * one.rotation_within:.0f} % of "
            f"{one.poses} poses"
        )


def _print_reasons(found: OdometryEvaluation) -> None:
    several = len(found.scores) > 1
    reasons = [
        f"{name}: {reason}" if several else reason
        for name, score in found.scores.items()
        for reason in score.reasons.values()
    ]
    for reason in dict.fromkeys(reasons):
        print(f"not scored: {reason}")
