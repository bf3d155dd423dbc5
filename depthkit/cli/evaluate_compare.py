# SPDX-License-Identifier: Apache-2.0
"""`depthkit evaluate compare`: prints saved scores of several runs in one table."""

import argparse

from depthkit.cli.evaluate_output import print_json, print_rows, warn


def run_compare(args: argparse.Namespace) -> None:
    """Read the files, and print one row a score."""
    import depthkit

    found = depthkit.evaluate.compare(args.files)
    warn(found.notes)
    if args.json:
        print_json(found.as_json())
    else:
        print_rows(found.table)
