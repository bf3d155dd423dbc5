# SPDX-License-Identifier: Apache-2.0
"""`depthkit reconstruct`: path, depth, 3-D surface and a report of a video, without any network."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from depthkit.cli.arguments import (
    add_bag_pictures,
    add_imu_reading,
    add_max_gap,
    add_scale_sources,
    angle,
    positive,
    positive_number,
    size,
)
from depthkit.cli.evaluate_output import print_json
from depthkit.cli.progress import watching
from depthkit.cli.recordings import add_recordings, add_source, run_several, words_of_one

if TYPE_CHECKING:
    from depthkit.pipelines.reconstruct.summary import ReconstructSummary

EPILOG = """\
The camera must move: depth comes from seeing the same things from several places. Without a
calibration the focal length is that of --fov, of EXIF, or found from the motion of points; the
report says which, and how sure it is. Without a source of metres all lengths share one unknown
factor. Example:
  depthkit reconstruct walk.mp4 --out walk
writes walk/report.html (open it in a browser), mesh.glb, mesh.ply, cloud.ply, depth/, colour/,
confidence/, video.mp4, trajectory_tum.txt, poses.csv and summary.json."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    add_source(
        parser, "video, folder of images, sequence folder, ROS bag or one sequence of a data set"
    )
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder to write")
    _add_camera(parser)
    add_imu_reading(add_scale_sources(parser))
    _add_frames(parser)
    add_recordings(parser)
    parser.add_argument("--force", action="store_true", help="replace an earlier output")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _add_camera(parser: argparse.ArgumentParser) -> None:
    known = parser.add_mutually_exclusive_group()
    known.add_argument(
        "--camera",
        metavar="FILE",
        type=Path,
        help="calibration of images or video, as prepare takes it; distorted frames are "
        "undistorted (default: a calibration file beside the frames, EXIF, else the focal length "
        "is found from the motion of points)",
    )
    known.add_argument(
        "--fov",
        metavar="DEG",
        type=angle,
        help="without a calibration: assume a pinhole camera with this horizontal field of view",
    )


def _add_frames(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("frames and surface")
    group.add_argument(
        "--every", metavar="N", type=positive, default=1, help="use every N-th frame (default: 1)"
    )
    group.add_argument(
        "--size",
        metavar="HxW",
        type=size,
        help="resize frames first, pixels; keep their shape (default: as they are)",
    )
    add_max_gap(group)
    group.add_argument(
        "--voxel",
        metavar="L",
        type=positive_number,
        help="finest detail of the surface, metres or the path's own unit (default: a hundredth of "
        "the median depth, at least 2 cm)",
    )
    add_bag_pictures(group)


def run(args: argparse.Namespace) -> None:
    """Reconstruct, write, print what there is now."""
    import depthkit

    if run_several("reconstruct", args):
        return
    with watching("note: ") as watcher:
        summary = depthkit.reconstruct(**words_of_one(args, "workers"), watcher=watcher)
    if args.json:
        from dataclasses import asdict

        print_json(asdict(summary))
        return
    print(as_text(summary))


def as_text(summary: ReconstructSummary) -> str:
    """Format the summary for a reader."""
    from depthkit.pipelines.odometry.summary import unit_of

    main, unit = summary.main, unit_of(summary.scale, summary.scale_source, summary.scale_sigma)
    share, skipped = 100 * main.confident, len(summary.skipped)
    unreadable = f", {skipped} unreadable skipped" if skipped else ""
    surface = "no surface"
    if main.voxel is not None:
        surface = f"surface of {main.faces} triangles, finest detail {main.voxel:.3g}"
    lines = [
        f"{summary.poses} of {summary.frames} frames with a pose, {summary.depth_frames} with "
        f"depth{unreadable}",
        f"{share:.0f} % of the pixels measured, the rest filled in; {surface}",
        f"lengths: {unit}",
        f"camera: {summary.camera.origin}, {summary.camera.focal:.1f} px, "
        f"{summary.camera.field_of_view:.1f} degrees wide",
        *summary.metric,
        *(f"failed or weak: {one}" for one in summary.failed),
        *(f"assumed: {one}" for one in summary.assumed),
        f"{summary.seconds:.1f} s",
    ]
    lines += [f"{what:19} {Path(summary.out) / where}" for what, where in summary.files.items()]
    return "\n".join(lines)
