# SPDX-License-Identifier: Apache-2.0
"""`depthkit evaluate KIND`: score predictions against the truth, a kind for each of them."""

import argparse
from pathlib import Path

from depthkit.cli.arguments import (
    DEPTH_HELP,
    RULES,
    add_engine_arguments,
    add_scale_sources,
    add_sweep,
    positive,
    positive_number,
)
from depthkit.cli.evaluate_matching import DESCRIPTION, add_matching, run_matching


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the scores and their options."""
    kinds = parser.add_subparsers(
        dest="kind", required=True, metavar="depth|odometry|flow|model|matching|compare"
    )
    depth = kinds.add_parser(
        "depth",
        help="folders of depth maps",
        description="Score depth maps: folders of 16-bit PNG or TIFF, .npy, .npz, .pfm or float "
        "TIFF (metres), or sequence folders. Maps are matched by name. A stored whole number is "
        "divided by --pred-scale or --gt-scale, by depth_scale of depth.yaml or camera.yaml in the "
        "folder or its parent, else by 1000 (millimetres), which is reported. A warning "
        "names predictions that look like inverse depth or have the wrong unit.",
    )
    _add_depth(depth)
    _add_common(depth)
    odometry = kinds.add_parser(
        "odometry",
        help="trajectory files",
        description="Score trajectories against one reference: TUM, KITTI (12 columns, or 13 with "
        "the frame index), EuRoC csv, 4x4 matrices, columns named by a header line, and what "
        "ORB-SLAM, COLMAP (images.txt), Redwood (.log) and g2o write. Files by frame number are "
        "paired by number, the others by time. Rows without a pose (NaN, zeros, 'lost') are "
        "left out and counted. RPE is a mean; its rotation is given as the KITTI devkit computes "
        "it (arccos of the trace) and as evo does (length of the rotation vector).",
    )
    _add_odometry(odometry)
    _add_common(odometry)
    flow = kinds.add_parser(
        "flow",
        help="folders of optical flow",
        description="Score optical flow: folders of .flo (Middlebury) or 16-bit PNG (KITTI), "
        "matched by name. The truth may be a sequence folder with flow/, a data set of them (its "
        "test sequences), KITTI's flow folders or Middlebury's: occluded pixels and moving "
        "objects are scored separately where they are known.",
    )
    _add_flow(flow)
    _add_common(flow)
    model = kinds.add_parser(
        "model",
        help="a trained model, or sweep, on sequence folders with depth",
        description="Infer and score in one go. A network that sees single frames is scored frame "
        "by frame. A pair network is scored over several displacements (default: 0.25 to 4 times "
        "its nominal baseline) with the sequence's own poses. Two references stand beside it: "
        "depth triangulated from OpenCV's DIS flow and the same poses, and the best constant "
        "depth. With --rule whole sequences are streamed as on a robot, and the rule chooses the "
        "earlier frames. The word sweep streams them too: all pixels are scored, then those that "
        "count as measured, and the sigmas themselves.",
    )
    _add_model(model)
    _add_common(model)
    add_matching(
        kinds.add_parser(
            "matching",
            help="features and matchers, on known homographies or poses",
            description=DESCRIPTION,
        )
    )
    compare = kinds.add_parser(
        "compare",
        help="saved scores of several runs, in one table",
        description="Put scores of several runs into one table: files of `evaluate odometry "
        "--save`, what `--json` of any score printed, and result archives of evo (.zip).",
    )
    compare.add_argument("files", nargs="+", metavar="FILE", help="saved scores of one kind")
    compare.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> None:
    """Score what the arguments name; the figures go to stdout."""
    if args.kind == "depth":
        from depthkit.cli.evaluate_depth import run_depth

        run_depth(args)
    elif args.kind == "flow":
        from depthkit.cli.evaluate_flow import run_flow

        run_flow(args)
    elif args.kind == "model":
        from depthkit.cli.evaluate_model import run_model

        run_model(args)
    elif args.kind == "matching":
        run_matching(args)
    elif args.kind == "compare":
        from depthkit.cli.evaluate_compare import run_compare

        run_compare(args)
    else:
        from depthkit.cli.evaluate_odometry import run_odometry

        run_odometry(args)


def _add_depth(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pred", required=True, metavar="DIR", help="predicted depth")
    parser.add_argument("--gt", required=True, metavar="DIR", help="true depth, 0 = unknown")
    for side, what in (("pred", "predictions"), ("gt", "truth")):
        parser.add_argument(
            f"--{side}-scale",
            type=positive_number,
            metavar="N",
            help=f"stored value per metre of the {what}, e.g. 1000 for millimetres",
        )
    _add_align(parser)
    parser.add_argument(
        "--crop",
        choices=("none", "garg"),
        default="none",
        help="region to score: all, or that of Garg for KITTI (default: none)",
    )
    _add_range(parser)


def _add_flow(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pred", required=True, metavar="DIR", help="predicted flow, pixels")
    parser.add_argument("--gt", required=True, metavar="DIR", help="true flow")


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        metavar="MODEL",
        type=Path,
        help=DEPTH_HELP,
    )
    parser.add_argument(
        "sequences",
        metavar="SEQUENCE_DIR",
        type=Path,
        nargs="+",
        help="sequence folders, or a data set folder for its test sequences (val if it has none)",
    )
    pairs = parser.add_mutually_exclusive_group()
    pairs.add_argument(
        "--baseline",
        dest="baselines",
        type=_metres,
        action="append",
        default=[],
        metavar="M",
        help="pairs: metres between the two cameras; may be repeated for a table",
    )
    pairs.add_argument(
        "--shift",
        dest="shifts",
        type=int,
        action="append",
        default=[],
        metavar="N",
        help="pairs: frames from target to source, -3 for three earlier; may be repeated",
    )
    parser.add_argument(
        "--rule",
        choices=RULES,
        help="pairs: stream the sequences with this choice of earlier frames; --shift N of fixed",
    )
    add_sweep(parser)
    parser.add_argument(
        "--poses",
        choices=("odometry",),
        help="sweep, or pairs with --rule: the motion is found in the frames; single frames: depth "
        "is fitted to the points of that odometry (default: the "
        "poses of the sequences)",
    )
    add_scale_sources(parser)
    _add_align(parser)
    _add_range(parser)
    parser.add_argument(
        "--every",
        type=positive,
        default=1,
        metavar="N",
        help="score every n-th frame; --rule and sweep stream all (default: 1)",
    )
    add_engine_arguments(parser)


def _add_align(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--align",
        choices=("none", "median", "affine"),
        default="none",
        help="median: scale each image by its median ratio, for relative depth; affine: scale and "
        "shift its inverse depth by least squares, for networks that leave both open (default: "
        "none)",
    )


def _add_range(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--min-depth",
        type=float,
        default=1e-3,
        metavar="M",
        help="smallest depth scored, metres: nearer truth is left out, predictions are clipped "
        "(default: 0.001)",
    )
    parser.add_argument(
        "--max-depth",
        type=float,
        default=80.0,
        metavar="M",
        help="largest depth scored, metres (default: 80)",
    )


def _add_odometry(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--estimate",
        required=True,
        nargs="+",
        action="extend",
        metavar="FILE",
        help="what to score: a file, or an output folder of odometry or infer (its live poses, "
        "each segment aligned on its own); several, or the option repeated, give one table",
    )
    parser.add_argument(
        "--reference", required=True, metavar="FILE", help="true trajectory, metres"
    )
    parser.add_argument(
        "--align",
        choices=("none", "scale", "scale_7dof", "6dof", "7dof"),
        default="none",
        help="fit of the estimate to the reference: 7dof or scale for monocular ones, 6dof for "
        "metric ones; none lays the first common poses on each other (default: none)",
    )
    parser.add_argument(
        "--max-gap",
        type=float,
        default=0.01,
        metavar="S",
        help="largest time between poses that pair, seconds; not used for KITTI (default: 0.01)",
    )
    parser.add_argument(
        "--snippets",
        type=int,
        default=5,
        metavar="N",
        help="frames in a snippet of the snippet ATE (default: 5)",
    )
    parser.add_argument(
        "--repeats",
        choices=("error", "first"),
        default="error",
        help="a stamp that repeats: refuse the file, or keep its first pose (default: error)",
    )
    parser.add_argument(
        "--quaternion",
        choices=("xyzw", "wxyz"),
        help="quaternion order in the estimates (default: detected from the files and reported)",
    )
    parser.add_argument(
        "--reference-quaternion", choices=("xyzw", "wxyz"), help="the same for the reference"
    )
    parser.add_argument(
        "--time-unit",
        choices=("auto", "s", "ms", "us", "ns"),
        default="auto",
        help="unit of the stamps in both files (default: detected by size and spacing)",
    )
    parser.add_argument(
        "--save", metavar="FILE", help="write the scores as JSON, for `evaluate compare`"
    )


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--report", metavar="DIR", help="write report.html and its pictures here")
    parser.add_argument("--force", action="store_true", help="write into a folder that has files")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _metres(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected metres above 0, got {text!r}")
    return value
