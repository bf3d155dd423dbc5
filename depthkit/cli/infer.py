# SPDX-License-Identifier: Apache-2.0
"""`depthkit infer`: depth maps of frames, and where wanted motion, video and point clouds."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from depthkit.cli.arguments import (
    DEPTH_HELP,
    RULES,
    add_crop,
    add_engine_arguments,
    add_sweep,
    positive,
    positive_number,
)
from depthkit.cli.progress import watching
from depthkit.cli.recordings import add_recordings, add_source, run_several, words_of_one

if TYPE_CHECKING:
    from depthkit.pipelines.infer.summary import InferSummary

NAMED = 3  # frames without depth that the text names


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.add_argument("model", type=Path, help=DEPTH_HELP)
    add_source(parser, "sequence folder, folder of images, video or ROS 2 bag")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--pose",
        type=Path,
        metavar="MODEL",
        help="pose network; not needed where the run has its own",
    )
    parser.add_argument(
        "--trajectory",
        choices=("tum", "kitti"),
        help="also write the camera trajectory in this format: that of the pose network, or of "
        "--poses odometry",
    )
    parser.add_argument(
        "--flow",
        type=Path,
        metavar="MODEL",
        help="flow network or run: also write flow to the next frame and, where the camera's "
        "motion is known (poses, a pose network), how likely each pixel is static",
    )
    parser.add_argument(
        "--video", action="store_true", help="also write an mp4, frame beside depth"
    )
    parser.add_argument(
        "--cloud",
        action="store_true",
        help="also write one PLY point cloud per frame (needs a calibration)",
    )
    parser.add_argument(
        "--rerun", action="store_true", help="also write a recording for the rerun viewer"
    )
    parser.add_argument(
        "--camera",
        type=Path,
        help="calibration of images or video, as prepare takes it; a sequence has its own",
    )
    add_crop(parser, "left without depth")
    _add_pair_arguments(parser)
    _add_bag_arguments(parser)
    parser.add_argument(
        "--every", type=positive, default=1, help="use every N-th frame (default: 1)"
    )
    add_engine_arguments(parser)
    add_recordings(parser)
    parser.add_argument("--force", action="store_true", help="replace an earlier output")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _add_pair_arguments(parser: argparse.ArgumentParser) -> None:
    pairs = parser.add_argument_group("depth from motion (sweep, and networks of two frames)")
    add_sweep(pairs)
    pairs.add_argument(
        "--min-confidence",
        type=_share,
        default=0.0,
        metavar="P",
        help="leave out pixels whose depth is within 25 %% of the truth with less than this "
        "probability, 0 to 1 (default: 0, all are kept)",
    )
    pairs.add_argument(
        "--rule", choices=RULES, help="pairs: how earlier frames are chosen (default: multi_range)"
    )
    pairs.add_argument(
        "--shift",
        type=positive,
        metavar="N",
        help="pairs: frames back to the earlier frame, for rule fixed and while no displacement is "
        "known (default: 3)",
    )
    pairs.add_argument(
        "--poses",
        type=Path,
        metavar="FILE",
        help="camera poses T_world_cam, metres, TUM format, in the clock of the frames; or the "
        "word odometry: found in the frames, without a network, and depth of single frames is "
        "fitted to its points (default: the source's own; where it has none, sweep takes odometry)",
    )
    pairs.add_argument(
        "--speed",
        type=_speed,
        metavar="M_PER_S",
        help="constant speed of the camera: for --poses odometry, or where nothing else is known "
        "of its motion",
    )
    pairs.add_argument(
        "--camera-height",
        metavar="M",
        type=positive_number,
        help="for --poses odometry: height of the camera over flat ground that is in view, metres",
    )


def _add_bag_arguments(parser: argparse.ArgumentParser) -> None:
    bags = parser.add_argument_group("ROS 2 bags")
    bags.add_argument("--topic", default="", help="topic of the pictures (default: the only one)")
    bags.add_argument(
        "--odometry-topic",
        metavar="TOPIC",
        default="",
        help="topic to take poses from: Odometry, PoseStamped (also with covariance), "
        "TransformStamped, Path or /tf; 'none' for no poses (default: the only odometry, else "
        "the only other one)",
    )
    bags.add_argument(
        "--bits",
        type=int,
        choices=(10, 12, 16),
        default=16,
        help="bits used of a 16-bit pixel (default: 16)",
    )


def run(args: argparse.Namespace) -> None:
    """Read, predict, write; print what there is now."""
    from dataclasses import asdict

    import depthkit

    if run_several("infer", args):
        return
    with watching("note: ") as watcher:
        summary = depthkit.infer(**words_of_one(args, "workers"), watcher=watcher)
    print(json.dumps(asdict(summary)) if args.json else as_text(summary))


def as_text(summary: InferSummary) -> str:
    """Format the summary for a reader."""
    skipped = f", {len(summary.skipped)} unreadable skipped" if summary.skipped else ""
    rate = summary.frames / max(summary.seconds, 1e-9)
    runtime = f"{summary.backend}, {summary.precision}, {summary.threads} threads"
    lines = [
        f"{summary.frames} frames{skipped}, {rate:.1f} frames/s ({runtime})",
        f"scale: {summary.scale} ({summary.scale_source})",
        *_lines_without_depth(summary),
    ]
    if summary.path_length is not None:
        unit = "m" if summary.path_scale == "metric" else "in a unit of its own"
        parts = f", in {summary.segments} segments" if (summary.segments or 0) > 1 else ""
        lines.append(f"path length: {summary.path_length:.3g} {unit}{parts}")
    if summary.static_rule is not None:
        known = summary.frames - len(summary.without_static)
        lines.append(f"static scene: {known} of {summary.frames} frames, by {summary.static_rule}")
    lines += [f"{what:11} {Path(summary.out) / where}" for what, where in summary.files.items()]
    return "\n".join(lines)


def _lines_without_depth(summary: InferSummary) -> list[str]:
    """Count the frames without depth and name the first."""
    count = len(summary.without_depth)
    if not count:
        return []
    lines = [f"no depth for {count} of {summary.frames} frames:"]
    lines += [f"  {line}" for line in summary.without_depth[:NAMED]]
    return lines + ([f"  and {count - NAMED} more, see summary.json"] if count > NAMED else [])


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, got {text!r}")
    return value


def _speed(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected metres a second above 0, got {text!r}")
    return value
