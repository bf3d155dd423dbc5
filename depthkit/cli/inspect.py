# SPDX-License-Identifier: Apache-2.0
"""`depthkit inspect`: look through prepared sequences before training time is spent on them."""

import argparse
import json
import os
from pathlib import Path

from depthkit.cli.arguments import options_of
from depthkit.cli.progress import watching

EPILOG = """\
Reports for each sequence whether it can teach depth and with which shifts, the parallax and
rotation at several frame gaps, unreadable, dark, blown-out, duplicate, static and rotation-only
frames, brightness jumps, cuts, and whether K and known poses fit the frames. Parallax is given in
pixels of the frames and of an image with 128 lines, the size it is judged at."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument("folder", metavar="DIR", type=Path, help="a sequence folder or a data set")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--sequence", metavar="NAME", help="inspect only this sequence of the data set"
    )
    parser.add_argument(
        "--max-frames",
        metavar="N",
        type=_count,
        help="check only the first N frames of each sequence one by one (default: all)",
    )
    parser.add_argument(
        "--save",
        action="store_true",
        help="write inspect.json into each sequence folder, replacing the last one",
    )


def run(args: argparse.Namespace) -> None:
    """Inspect and report.

    Raises:
        DataError: nothing to inspect, or some sequences cannot be opened (the rest is reported).
    """
    import depthkit
    from depthkit.cli.inspect_text import print_report
    from depthkit.errors import DataError

    workers = len(os.sched_getaffinity(0))
    with watching() as watcher:
        found = depthkit.inspect(**options_of(args), workers=workers, watcher=watcher)
    if args.json:
        print(json.dumps(found.as_json()))
    else:
        print_report(list(found.sequences.values()), frames_per_second=found.frames_per_second)
    if found.errors:
        first, count = next(iter(found.errors.values())), len(found.errors)
        total = count + len(found.sequences)
        raise DataError(f"{count} of {total} sequences cannot be inspected: {first}")


def _count(text: str) -> int:
    value = int(text)
    if value < 2:
        raise argparse.ArgumentTypeError(f"expected at least 2 frames, got {value}")
    return value
