# SPDX-License-Identifier: Apache-2.0
"""`depthkit localise`: frames of a camera that looks down, found in an orthophoto."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from depthkit.cli.arguments import (
    add_bag_pictures,
    add_camera,
    add_engine_arguments,
    options_of,
    positive,
    positive_number,
)
from depthkit.cli.evaluate_output import print_json
from depthkit.cli.progress import watching

if TYPE_CHECKING:
    from depthkit.pipelines.localise.options import LocaliseSummary

EPILOG = """\
The camera looks down within some degrees and the ground is taken for a plane. Each frame has its
latitude, longitude, altitude above that plane and heading with their standard deviations, or the
reason why it has none: agreement that could be chance and places that look alike are refused.
Example:
  depthkit localise flight --ortho field.tif --height 60 --out found
writes found/fixes.csv (a row a frame), path.geojson, path.jpg (the path on the orthophoto),
trajectory_tum.txt (metres east, north, up from the orthophoto's middle) and summary.json."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument(
        "source",
        metavar="SOURCE",
        type=Path,
        help="sequence folder, folder of images, video, ROS bag or one sequence of a data set",
    )
    parser.add_argument(
        "--ortho",
        metavar="FILE",
        type=Path,
        required=True,
        help="orthophoto: GeoTIFF, or PNG or JPEG with a world file (.pgw, .jgw, .wld)",
    )
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--crs",
        metavar="EPSG:N",
        default="",
        help="coordinate system of the orthophoto (default: that of a GeoTIFF, or of the .prj file "
        "beside a picture)",
    )
    _add_search(parser)
    _add_frames(parser)
    add_engine_arguments(parser)
    parser.add_argument("--force", action="store_true", help="replace an earlier output")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _add_search(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("search")
    group.add_argument(
        "--height",
        metavar="M",
        type=positive_number,
        help="height of the camera above the ground, right within a third, metres (default: "
        "unknown, which takes longer)",
    )
    group.add_argument(
        "--tilt-sigma",
        metavar="DEG",
        type=positive_number,
        default=5.0,
        help="standard deviation of the optical axis from straight down, degrees; 0.5 for a gimbal "
        "(default: 5)",
    )
    group.add_argument(
        "--features",
        metavar="MODEL",
        type=Path,
        help="model of kind features that finds keypoints (default: SIFT)",
    )
    group.add_argument(
        "--places",
        metavar="MODEL",
        type=Path,
        help="model of kind place that describes tiles (default: VLAD of the features)",
    )


def _add_frames(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("frames")
    add_camera(group)
    group.add_argument(
        "--every", metavar="N", type=positive, default=1, help="use every N-th frame (default: 1)"
    )
    add_bag_pictures(group)


def run(args: argparse.Namespace) -> None:
    """Look for the frames, write, print what there is now."""
    import depthkit

    with watching("note: ") as watcher:
        summary = depthkit.localise(**options_of(args), watcher=watcher)
    if args.json:
        from dataclasses import asdict

        print_json(asdict(summary))
        return
    print(as_text(summary))


def as_text(summary: LocaliseSummary) -> str:
    """Format the summary for a reader."""
    skipped = f", {len(summary.skipped)} unreadable skipped" if summary.skipped else ""
    lines = [
        f"{summary.found} of {summary.frames} frames found ({100 * summary.coverage:.1f} %)"
        f"{skipped}",
        f"orthophoto: {summary.ground_resolution:.3g} m a pixel, {summary.crs}, "
        f"{summary.tiles} tiles indexed in {summary.index_seconds:.1f} s",
    ]
    if summary.found:
        lines += [
            f"altitude {summary.altitude:.4g} m above the plane; sigma of the position "
            f"{summary.sigma_position:.2g} m, of the altitude {summary.sigma_altitude:.2g} m, of "
            f"the heading {summary.sigma_heading:.2g} degrees (medians)",
            "found by " + ", ".join(f"{k}: {v}" for k, v in summary.found_by.items()),
        ]
    lines += [f"not found: {count} times {why}" for why, count in summary.not_found.items()]
    lines.append(
        f"{summary.features}, tiles by {summary.places}, {summary.milliseconds:.0f} ms a frame"
    )
    lines += [f"{what:11} {Path(summary.out) / where}" for what, where in summary.files.items()]
    return "\n".join(lines)
