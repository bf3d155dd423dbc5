# SPDX-License-Identifier: Apache-2.0
"""`depthkit match`: disparity of a rectified stereo pair."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from depthkit.cli.arguments import add_engine_arguments, options_of, positive
from depthkit.cli.progress import watching

if TYPE_CHECKING:
    from depthkit.pipelines.match import MatchSummary

EPILOG = """\
Writes into DIR: disparity.png (16 bits, value / 256 = pixels, 0 = no match), disparity.npy
(float32, every pixel: what is hidden takes the disparity behind it), valid.png (255 where a match
was found from both pictures), picture.jpg, summary.json. The left pixel (u, v) is the right one's
(u - disparity, v). More than two views with poses: 'depthkit infer sweep'."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument("left", metavar="LEFT", type=Path, help="picture of the left camera")
    parser.add_argument("right", metavar="RIGHT", type=Path, help="picture of the right camera")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--similarity",
        metavar="census|zncc|MODEL",
        default="census",
        help="what is compared: census, zncc, or descriptors of a model of kind features: exported "
        ".onnx, run of task similarity, or a shipped model's name (default: census)",
    )
    parser.add_argument(
        "--max-disparity",
        metavar="N",
        type=positive,
        help="largest disparity to search, pixels (default: by features that both pictures show)",
    )
    add_engine_arguments(parser)
    parser.add_argument("--force", action="store_true", help="replace an earlier output")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> None:
    """Match and report.

    Raises:
        DataError: a picture is missing, sizes differ, or the pair is not rectified.
    """
    import depthkit
    from depthkit.pipelines.records import plain

    with watching() as watcher:
        found = depthkit.match(**options_of(args), watcher=watcher)
    print(json.dumps(plain(found)) if args.json else as_text(found))


def as_text(found: MatchSummary) -> str:
    """Say the same for people."""
    middle = found.median_disparity
    return (
        f"{found.out}: {found.width}x{found.height}, disparity of {100 * found.measured:.1f} % of "
        f"the pixels up to {found.max_disparity}, "
        f"median {'unknown' if middle is None else f'{middle:.2f}'}, by {found.similarity}, "
        f"{found.seconds:.1f} s"
    )
