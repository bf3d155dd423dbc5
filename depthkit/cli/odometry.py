# SPDX-License-Identifier: Apache-2.0
"""`depthkit odometry`: camera trajectory and sparse points of a video, without any network."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from depthkit.cli.arguments import (
    add_bag_pictures,
    add_camera,
    add_imu_reading,
    add_max_gap,
    add_scale_sources,
    positive,
)
from depthkit.cli.evaluate_output import print_json
from depthkit.cli.progress import watching
from depthkit.cli.recordings import add_recordings, add_source, run_several, words_of_one

if TYPE_CHECKING:
    from depthkit.pipelines.odometry.summary import OdometrySummary

NAMED = 5  # segments that the text names

EPILOG = """\
Without a source of scale the path is relative: its shape is known, its size is not. Speed, the
height of the camera over flat ground and an IMU give metres, alone or together. Every pose says
in poses.csv whether it is metres, by what, and how sure it is. Example:
  depthkit odometry drive.mp4 --camera camera.yaml --camera-height 1.65 --out drive
writes drive/trajectory_tum.txt (what a robot would have had at each moment),
trajectory_smoothed_tum.txt, poses.csv, points.ply, summary.json and report/index.html."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    add_source(
        parser, "sequence folder, folder of images, video, ROS bag or one sequence of a data set"
    )
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder to write")
    add_camera(parser)
    add_imu_reading(add_scale_sources(parser))
    _add_frames(parser)
    parser.add_argument(
        "--format",
        choices=("tum", "kitti"),
        default="tum",
        help="format of the trajectories (default: tum)",
    )
    parser.add_argument(
        "--write-poses",
        action="store_true",
        help="SOURCE is a sequence folder without given poses: also write poses.txt and poses.yaml "
        "into it",
    )
    _add_map(parser)
    add_recordings(parser)
    parser.add_argument("--force", action="store_true", help="replace an earlier output")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _add_frames(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("frames and segments")
    group.add_argument(
        "--every", metavar="N", type=positive, default=1, help="use every N-th frame (default: 1)"
    )
    add_max_gap(group)
    group.add_argument(
        "--loops",
        action="store_true",
        help="look for places that are seen again after a long time; the keyframes as they correct "
        "them are a trajectory of their own, live poses never jump",
    )
    add_bag_pictures(group)


def _add_map(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("places and a map that outlives the session")
    group.add_argument(
        "--features",
        metavar="MODEL",
        type=Path,
        help="ONNX file of learned keypoints, kind features: keyframes, loops and lost tracks are "
        "matched by them (default: SIFT)",
    )
    group.add_argument(
        "--places",
        metavar="MODEL",
        type=Path,
        help="ONNX file of a learned descriptor of places, kind place: it retrieves the places "
        "that are compared (default: the features do)",
    )
    group.add_argument(
        "--map",
        metavar="DIR",
        type=Path,
        help="folder of a map: one that is there is searched at the start and after a loss, poses "
        "in its frame are written, and this session extends it; a new folder begins a map",
    )
    group.add_argument(
        "--map-read-only", action="store_true", help="search the map and leave it as it is"
    )


def run(args: argparse.Namespace) -> None:
    """Follow the camera, write, print what there is now."""
    import depthkit

    if run_several("odometry", args):
        return
    with watching("note: ") as watcher:
        summary = depthkit.odometry(**words_of_one(args, "workers"), watcher=watcher)
    if args.json:
        from dataclasses import asdict

        print_json(asdict(summary))
        return
    print(as_text(summary))


def as_text(summary: OdometrySummary) -> str:
    """Format the summary for a reader."""
    from depthkit.pipelines.odometry.summary import unit_of

    unit = unit_of(summary.path_scale, summary.scale_source, summary.scale_sigma)
    if summary.path_scale == "relative":
        why = "" if summary.scale_sources else "give --speed, --camera-height or an IMU"
        unit = f"relative (no source of scale: {why})" if why else "relative (see the notes)"
    share = 100 * summary.coverage
    skipped = f", {len(summary.skipped)} unreadable skipped" if summary.skipped else ""
    lines = [
        f"{summary.poses} of {summary.frames} frames with a pose ({share:.1f} %){skipped}",
        *_lines_of_segments(summary),
        f"path length: {summary.path_length:.4g} {unit}",
        f"{summary.keyframes} keyframes, {summary.landmarks} landmarks, {summary.loops} loops, "
        f"{summary.milliseconds:.1f} ms a frame",
        *([] if summary.map is None else [summary.map.line]),
        *(f"note: {text}" for text in summary.notes),
    ]
    lines += [f"{what:19} {Path(summary.out) / where}" for what, where in summary.files.items()]
    return "\n".join(lines)


def _lines_of_segments(summary: OdometrySummary) -> list[str]:
    """Say of the first segments how long they are, in which unit, and why they broke."""
    count = len(summary.segments)
    if count == 1:
        return ["1 segment"]
    lines = [f"{count} segments"]
    for one in summary.segments[:NAMED]:
        unit = {"metric": "metres", "mixed": "partly metres"}.get(one.unit, one.unit)
        ended = f"; ended: {one.ended}" if one.ended else ""
        times = f"{one.start:.3f} to {one.end:.3f} s"
        lines.append(f"  segment {one.number}: {one.poses} poses, {times}, {unit}{ended}")
    left = count - NAMED
    return lines + ([f"  and {left} more, see summary.json"] if left > 0 else [])
