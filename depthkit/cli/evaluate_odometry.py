# SPDX-License-Identifier: Apache-2.0
"""`depthkit evaluate odometry`: prints the scores of a trajectory."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from depthkit.cli.arguments import options_of
from depthkit.cli.evaluate_output import print_json, print_page, print_table, warn

if TYPE_CHECKING:
    from depthkit.pipelines.score.trajectories import OdometryEvaluation


def run_odometry(args: argparse.Namespace) -> None:
    """Score `--estimate` against `--reference`."""
    import depthkit

    found = depthkit.evaluate.odometry(**options_of(args, "kind"))
    warn(found.score.notes)
    if args.json:
        print_json(found.as_json())
    else:
        _print_text(found)
        print_page(found.page)


def _print_text(found: OdometryEvaluation) -> None:
    from depthkit.pipelines.score.trajectories import ROWS, alignment_text

    score, figures = found.score, found.as_json()
    covered = f"{100 * score.coverage:.1f} % of the reference"
    print(f"coverage {covered}, {len(score.stamps)} poses scored")
    print(alignment_text(score))
    print_table([(name, figures[key], unit) for key, name, unit in ROWS])
    for reason in dict.fromkeys(score.reasons.values()):
        print(f"not scored: {reason}")
