# SPDX-License-Identifier: Apache-2.0
"""`depthkit evaluate compare`: saved scores of several runs in one table."""

import argparse

from depthkit.cli.evaluate_output import print_json, print_rows, warn
from depthkit.evaluation.saved import compare_notes, compare_table, load_scores


def run_compare(args: argparse.Namespace) -> None:
    """Read the files, and print one row a score."""
    scores = [score for path in args.files for score in load_scores(path)]
    table, notes = compare_table(scores), compare_notes(scores)
    warn(notes)
    if args.json:
        estimates = [{"name": s.name, "file": s.source} | s.figures for s in scores]
        print_json({"kind": scores[0].kind, "estimates": estimates, "notes": notes})
    else:
        print_rows(table)
