# SPDX-License-Identifier: Apache-2.0
"""Many recordings on the command line: their arguments, and what is printed of them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthkit.cli.arguments import options_of, positive
from depthkit.cli.evaluate_output import print_json, print_rows
from depthkit.cli.progress import watching

if TYPE_CHECKING:
    from depthkit.pipelines.recordings.overview import RecordingsSummary
    from depthkit.pipelines.recordings.run import Verb

SEVERAL = "; or several of these, or a folder of them, or @FILE with a path a line"
NOT_OF_A_VERB = ("source", "out", "force", "workers", "ray")


def add_source(parser: argparse.ArgumentParser, what: str) -> None:
    """Declare SOURCE, one or several.

    Args:
        parser: of a verb.
        what: a source is.
    """
    parser.add_argument("source", metavar="SOURCE", type=Path, nargs="+", help=what + SEVERAL)


def add_recordings(parser: argparse.ArgumentParser, *, workers: bool = True) -> None:
    """Declare how many recordings are worked on at a time, and where.

    Args:
        parser: of a verb.
        workers: whether to declare --workers; `prepare` has its own.
    """
    group = parser.add_argument_group(
        "many recordings (DIR gets a folder for each, recordings.json and index.html)"
    )
    if workers:
        group.add_argument(
            "--workers",
            metavar="N",
            type=positive,
            help="recordings at a time, a process of one core each (default: 1)",
        )
    group.add_argument(
        "--ray",
        metavar="ADDRESS|local",
        default="",
        help="work on the Ray cluster at this address (HOST:PORT, auto), one core a recording; "
        "local: start one on this machine (default: no Ray)",
    )


def words_of_one(args: argparse.Namespace, *others: str) -> dict[str, Any]:
    """Return the arguments as keywords of a job on a single recording."""
    return options_of(args, "ray", *others) | {"source": args.source[0]}


def run_several(verb: Verb, args: argparse.Namespace) -> bool:
    """Do what the words ask for where they are about many recordings.

    Returns:
        Whether they are; False leaves the single recording to the verb.

    Raises:
        DataError: some failed; what became of each has been printed.
    """
    from depthkit.errors import DataError
    from depthkit.pipelines.recordings.run import (
        RecordingsOptions,
        names_several,
        recordings,
    )

    if not names_several(verb, args.source, workers=args.workers, ray=args.ray):
        return False
    options = RecordingsOptions(
        verb,
        args.source,
        args.out,
        args.workers,
        args.ray,
        args.force,
        options_of(args, *NOT_OF_A_VERB),
    )
    with watching("note: ", terminal_only=False) as watcher:
        summary = recordings(options, watcher)
    _print(summary, as_json=args.json)
    if summary.failed:
        raise DataError(
            f"{len(summary.failed)} of {len(summary.recordings)} recordings failed: "
            f"{', '.join(summary.failed)}; the same command tries them again"
        )
    return True


def _print(summary: RecordingsSummary, *, as_json: bool) -> None:
    from dataclasses import asdict

    from depthkit.pipelines.recordings.overview import OVERVIEW, PAGE, table_of

    if as_json:
        print_json(asdict(summary))
        return
    print_rows(table_of(summary))
    for one in summary.recordings:
        if one.error:
            print(f"failed: {one.name}: {one.error}")
    print(f"overview  {Path(summary.out) / PAGE}")
    print(f"figures   {Path(summary.out) / OVERVIEW}")
