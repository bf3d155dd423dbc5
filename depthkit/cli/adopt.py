# SPDX-License-Identifier: Apache-2.0
"""`depthkit adopt`: an ONNX depth network of another program as a model of ours."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from depthkit.cli.arguments import angle, options_of, positive, positive_number, size

if TYPE_CHECKING:
    from depthkit.pipelines.adopt import Adopted

# Written out so that --help needs no import of the exporter; a test compares the lists.
PRESETS = (
    "depth-anything",
    "depth-anything-v2-metric",
    "depth-anything-3-metric",
    "depth-anything-3-mono",
    "metric3d-v2",
    "unidepth-v2",
    "moge-2",
    "depth-pro",
    "video-depth-anything-s",
    "xfeat",
)
QUANTITIES = ("depth", "inverse", "disparity", "canonical", "points", "log")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.add_argument(
        "model",
        type=Path,
        help="ONNX file of another program, or the word xfeat: the network of its installed wheel",
    )
    parser.add_argument("--out", type=Path, required=True, help="file to write, e.g. model.onnx")
    parser.add_argument(
        "--preset",
        choices=PRESETS,
        metavar="NAME",
        help=f"family of the network: {', '.join(PRESETS)}; options below stand over it",
    )
    _add_input(parser.add_argument_group("what the network takes"))
    _add_output(parser.add_argument_group("what it says"))
    group = parser.add_argument_group("proof")
    group.add_argument(
        "--try",
        dest="try_source",
        metavar="SOURCE",
        type=Path,
        help="frames of a moving camera (sequence folder, images, video, bag), or the word demo: "
        "near and far are compared with tracked points",
    )
    group.add_argument("--camera", type=Path, metavar="FILE", help="--try: calibration file")
    group.add_argument(
        "--fov",
        type=angle,
        metavar="DEGREES",
        help="--try, without a calibration: horizontal field of view of a pinhole, degrees",
    )
    parser.add_argument(
        "--licence", metavar="TEXT", help="licence of the weights, kept in the file"
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="replace an earlier file, and adopt in spite of answers that contradict what is said",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _add_input(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--input",
        type=size,
        metavar="HEIGHTxWIDTH",
        help="input size where the file leaves it free, pixels",
    )
    group.add_argument(
        "--multiple", type=positive, metavar="N", help="number that divides both sides"
    )
    group.add_argument(
        "--input-name", metavar="NAME", help="input of the picture (default: the only one)"
    )
    group.add_argument(
        "--normalise",
        metavar="RULE",
        help="imagenet, 0..1, -1..1, none, or MEAN/STD in pixel values 0 to 255 such as "
        "123.675,116.28,103.53/58.395,57.12,57.375; written --normalise=-1..1 with a minus",
    )
    group.add_argument(
        "--layout", choices=("auto", "nchw", "nhwc"), help="order of axes (default: by the shape)"
    )
    group.add_argument(
        "--colour", choices=("RGB", "BGR"), help="order of the colours (default: RGB)"
    )
    group.add_argument(
        "--resize",
        choices=("stretch", "letterbox", "pad"),
        help="frames of another shape: both sides on their own, or aspect ratio kept with a border "
        "all round or at one end (default: stretch)",
    )
    group.add_argument(
        "--pad-value", metavar="R,G,B", type=_colour, help="colour of the border, 0 to 255"
    )
    group.add_argument(
        "--pad-side",
        choices=("right-below", "left-above"),
        help="--resize pad: where the border is",
    )
    group.add_argument(
        "--constant",
        dest="constants",
        metavar="NAME=NUMBER",
        action="append",
        default=[],
        help="further input that always gets these numbers, such as num_tokens=1800",
    )


def _add_output(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--kind", choices=("depth", "features"), help="depth, or descriptors (default: depth)"
    )
    group.add_argument(
        "--output-name", metavar="NAME", help="output that counts (default: the only one)"
    )
    group.add_argument("--output", choices=QUANTITIES, help="what the output is")
    group.add_argument(
        "--ambiguity",
        choices=("none", "scale", "scale-and-shift"),
        help="what is unknown of it; none: metres (default: scale and shift of a disparity, scale "
        "of others)",
    )
    group.add_argument(
        "--focal-rule",
        metavar="RULE",
        help="none, f/N (depth times fx at the network's size over N, such as f/1000), or "
        "solve_shift of points",
    )
    group.add_argument(
        "--validity",
        metavar="RULE",
        help="none, or joined by commas: mask:OUTPUT>0.5, sky:OUTPUT>0.3, max:80",
    )
    group.add_argument(
        "--unit", type=positive_number, metavar="M", help="metres of one unit (default: 1)"
    )
    group.add_argument(
        "--scale-output", metavar="NAME", help="output of one number that depth is multiplied by"
    )


def _colour(text: str) -> tuple[int, int, int]:
    """Read R,G,B."""
    words = text.split(",")
    if len(words) != 3 or not all(word.isdigit() and int(word) < 256 for word in words):
        raise argparse.ArgumentTypeError(f"expected R,G,B such as 124,116,104, got {text!r}")
    red, green, blue = map(int, words)
    return red, green, blue


def run(args: argparse.Namespace) -> None:
    """Adopt, prove, say what came of it."""
    import depthkit
    from depthkit.pipelines.adopt import as_json

    adopted = depthkit.adopt(**options_of(args))
    print(json.dumps(as_json(adopted), indent=2) if args.json else as_text(adopted))


def as_text(adopted: Adopted) -> str:
    """Say the same for people."""
    manifest, (height, width) = adopted.manifest, adopted.manifest.size
    free = "any size, usually " if manifest.dynamic else ""
    what = "descriptors" if manifest.kind == "features" else manifest.quantity
    lines = [
        f"{adopted.path}: {manifest.kind} ({manifest.network}), {manifest.precision}, "
        f"{free}{width}x{height}, {adopted.bytes / 1e6:.1f} MB",
        f"output {adopted.output}: {what}; scale: {manifest.scale} ({manifest.scale_source})",
        f"licence: {manifest.licence or 'not said; give --licence'}",
        "relative difference from the file it was made from:",
    ]
    for one in adopted.parities:
        lines.append(
            f"  {one.backend:20} {one.precision:5} worst {one.worst:8.2g}  median {one.median:8.2g}"
            f"  allowed {one.tolerance:.2g} ({one.statistic})"
        )
    if adopted.at_camera is not None:
        lines.append(f"  on a camera frame of another shape: {adopted.at_camera:.2g}")
    lines += [f"not usable: {one}" for one in adopted.refused]
    return "\n".join([*lines, *(f"note: {one}" for one in adopted.notes)])
