# SPDX-License-Identifier: Apache-2.0
"""`depthkit evaluate matching`: options, and the table of features and matchers."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from depthkit.cli.arguments import MODEL_HELP, options_of, positive
from depthkit.cli.evaluate_output import print_json, warn
from depthkit.cli.progress import watching

if TYPE_CHECKING:
    from depthkit.pipelines.score.report import Cell

DESCRIPTION = (
    "Score features and matchers beside SIFT and ORB. On pictures with known homographies: "
    "repeatability, mean matching accuracy and homography accuracy. On a sequence with poses: "
    "error of the relative pose and the area under its curve. With --degrade: pictures against "
    "warped copies of themselves under JPEG, blur, darkness, noise and other light."
)


def add_matching(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "data",
        metavar="DATA",
        type=Path,
        help="folder of HPatches or of Oxford's pictures (one scene, or scenes), a sequence folder "
        "with poses, or a data set folder for its test sequences (val if it has none)",
    )
    parser.add_argument(
        "--model",
        dest="models",
        metavar="MODEL",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        help=f"network of kind features with a score: {MODEL_HELP}; several, or the option "
        "repeated, stand in one table",
    )
    parser.add_argument(
        "--matcher",
        choices=("nearest", "lightglue", "loftr"),
        default="nearest",
        help="nearest: mutual nearest descriptor and ratio test; lightglue: pairs the features of "
        "the models, or of SIFT; loftr: needs no features (default: nearest)",
    )
    parser.add_argument(
        "--matcher-weights",
        metavar="FILE",
        type=Path,
        help="weights of lightglue or loftr, as kornia's layers have them: .safetensors, .pt, .pth "
        "or .ckpt; nothing is downloaded",
    )
    parser.add_argument(
        "--count",
        type=positive,
        default=2048,
        metavar="N",
        help="largest number of features in a picture, of every method (default: 2048)",
    )
    parser.add_argument(
        "--gap",
        type=_gap,
        default=(10, 40),
        metavar="LEAST,LARGEST",
        help="sequences: frames between the two of a pair, drawn between both (default: 10,40)",
    )
    parser.add_argument(
        "--pairs",
        type=positive,
        default=100,
        metavar="N",
        help="sequences: pairs of each, evenly along it; with --degrade: frames (default: 100)",
    )
    parser.add_argument(
        "--robust",
        choices=("magsac", "ransac"),
        default="magsac",
        help="how homography and pose are found among wrong matches, of every method (default: "
        "magsac)",
    )
    parser.add_argument(
        "--looks",
        choices=("upright", "turned", "tilted"),
        default="upright",
        help="at the second picture, of every method: as it is; turned by quarters too; or also "
        "tilted by 60 degrees in four directions; the look with the most matches is kept (default: "
        "upright)",
    )
    parser.add_argument(
        "--degrade",
        action="store_true",
        help="score the first picture of each scene, or frames, against degraded copies",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, with each pair")


def run_matching(args: argparse.Namespace) -> None:
    """Score the methods on the data."""
    import depthkit

    with watching("note: ") as watcher:
        found = depthkit.evaluate.matching(**options_of(args, "kind"), watcher=watcher)
    warn(found.notes)
    if args.json:
        print_json(found.as_json())
        return
    print(found.text)
    _print_columns(found.table)


def _print_columns(table: tuple[tuple[Cell, ...], ...]) -> None:
    """Print scene and method left, figures right."""
    cells = [[str(cell) for cell in line] for line in table]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        padded = [
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        print("  " + "  ".join(padded).rstrip())


def _gap(text: str) -> tuple[int, int]:
    """Read LEAST,LARGEST, or one number for both."""
    found = re.fullmatch(r"(\d+)(?:,(\d+))?", text)
    low, high = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 1 <= low <= high:
        raise argparse.ArgumentTypeError(f"expected LEAST,LARGEST such as 10,40, got {text!r}")
    return low, high
