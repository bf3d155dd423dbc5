# SPDX-License-Identifier: Apache-2.0
"""`depthkit evaluate places`: its arguments, and the printing of its scores."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from depthkit.cli.arguments import (
    MODEL_HELP,
    add_engine_arguments,
    angle,
    options_of,
    positive,
    positive_number,
)
from depthkit.cli.evaluate_output import print_json, print_page, print_rows, warn
from depthkit.cli.progress import watching

if TYPE_CHECKING:
    from depthkit.pipelines.score.places_records import PlacesEvaluation

DESCRIPTION = (
    "Score descriptors of places: for each query, which places of a database look most alike. DATA "
    "is a folder with query/ and truth/ (Gardens Point), with A/ and B/ (pictures of one place "
    "years apart), a sequence folder with poses, or images/ beside poses.txt: frames are asked for "
    "places passed before. With --database, DATA holds the queries. A gradient histogram and VLAD "
    "of SIFT stand beside the models."
)


def add_places(parser: argparse.ArgumentParser) -> None:
    """Declare the recordings, the models and what counts as one place."""
    parser.add_argument("data", metavar="DATA", type=Path, help="recording of places with a truth")
    parser.add_argument(
        "--database",
        metavar="DIR",
        type=Path,
        help="second recording of the same places: poses in one world, or pictures of equal names "
        "or number",
    )
    parser.add_argument(
        "--model",
        dest="models",
        metavar="MODEL",
        type=Path,
        action="append",
        default=[],
        help=f"network of kind place: {MODEL_HELP}; may be repeated",
    )
    parser.add_argument(
        "--imagenet",
        metavar="FILE",
        type=Path,
        help="features trained on ImageNet, beside the models: an .onnx from (1, 3, H, W), RGB "
        "with ImageNet's mean and deviation taken out, to a map (1, C, h, w) or a vector (1, C)",
    )
    parser.add_argument(
        "--fuse",
        choices=("concat", "late"),
        help="the models as one: descriptors joined, or lists of answers merged",
    )
    parser.add_argument(
        "--sizes",
        metavar="N,N,...",
        type=_sizes,
        default=(),
        help="table of shorter codes by PCA, with and without whitening, such as 512,256,128,64",
    )
    parser.add_argument(
        "--fit",
        metavar="DIR",
        type=Path,
        help="pictures to learn the axes of shorter codes on (default: those of the database)",
    )
    _add_rules(parser)
    add_engine_arguments(parser)


def _add_rules(parser: argparse.ArgumentParser) -> None:
    """Declare what counts as one place, and when a match is accepted."""
    parser.add_argument(
        "--radius",
        metavar="M",
        type=positive_number,
        default=5.0,
        help="poses: largest distance of a right place, metres; within twice that a match is not "
        "false (default: 5)",
    )
    parser.add_argument(
        "--angle",
        metavar="DEG",
        type=angle,
        default=45.0,
        help="poses: largest angle between the views of a right place, degrees (default: 45)",
    )
    parser.add_argument(
        "--apart",
        metavar="M",
        type=positive_number,
        help="one recording: least path since a place was passed, metres (default: ten radii)",
    )
    parser.add_argument(
        "--tolerance",
        metavar="N",
        type=int,
        default=0,
        help="matched pictures: largest difference of their numbers that is right (default: 0)",
    )
    parser.add_argument(
        "--turned",
        action="store_true",
        help="matched pictures: ask each query in four quarter turns, for a camera that looks down",
    )
    parser.add_argument(
        "--threshold",
        metavar="S",
        type=float,
        help="similarity above which matches of the one model, or of the fusion, are accepted "
        "(default: the smallest without a false match among calibration queries: those before the "
        "first return, else every second one)",
    )


def run_places(args: argparse.Namespace) -> None:
    """Score the methods on the recordings."""
    import depthkit

    with watching("note: ") as watcher:
        found = depthkit.evaluate.places(**options_of(args, "kind"), watcher=watcher)
    warn(found.notes)
    if args.json:
        print_json(found.as_json())
        return
    _print_text(found)
    print_page(found.page)


def _print_text(found: PlacesEvaluation) -> None:
    from depthkit.pipelines.score.places_records import METHOD, compact_table, place_table

    print(
        f"{found.data}: {found.queries} queries among {found.places} places, {found.answerable} "
        f"({100 * found.coverage:.1f} %) with a right answer; {found.rule}"
    )
    print(METHOD)
    print_rows(place_table(found.rows))
    if found.compact:
        print_rows(compact_table(found.compact))


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(positive(one) for one in text.split(","))
