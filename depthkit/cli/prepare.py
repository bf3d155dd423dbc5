# SPDX-License-Identifier: Apache-2.0
"""`depthkit prepare`: video, images, a ROS 2 bag or a data set into sequence folders."""

import argparse
import json
import math
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthkit.cli.arguments import (
    add_crop,
    add_imu,
    add_scale_sources,
    angle,
    positive,
    positive_number,
    size,
)
from depthkit.cli.progress import watching
from depthkit.cli.recordings import add_recordings, add_source, run_several, words_of_one

if TYPE_CHECKING:
    from depthkit.pipelines.prepare import Prepared

# Written out so that --help needs no import of the importers; a test compares the two.
FORMATS = (
    "auto",
    "images",
    "video",
    "kitti-odometry",
    "kitti-raw",
    "euroc",
    "tum",
    "sevenscenes",
    "stillbox",
    "tartanair",
    "polycam",
    "record3d",
    "stray",
    "colmap",
    "nerfstudio",
    "rgbd",
    "bag",
)

EPILOG = """\
The sequence goes to DIR/NAME and is entered in DIR/split.yaml. A source with several sequences
(KITTI, folders of videos) is prepared whole unless --sequence picks one. --name gives the output
another name, so that one recording can serve to train and to test. Example:
  depthkit prepare kitti --out data --sequence 00 --frames 0:200 --name 00_train
  depthkit prepare kitti --out data --sequence 00 --frames 200:300 --name 00_test --split test
Formats are detected by content, not by suffix. Chapters of a GoPro recording (GX01nnnn,
GX02nnnn) become one sequence; photos are sorted by EXIF time where their names disagree;
phone pictures (HEIC) need the optional package extra `heic`.
An interrupted run continues when the same command is given again."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    add_source(parser, "folder, video, picture or ROS bag")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, required=True, help="data set folder to write into"
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="auto",
        help="layout of the source (default: auto, detected)",
    )
    _add_selection(parser)
    _add_camera(parser)
    add_scale_sources(parser, imu=False)
    _add_output(parser)
    add_recordings(parser, workers=False)


def _add_selection(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("which frames")
    group.add_argument(
        "--sequence", metavar="NAME", help="prepare only this sequence of the source"
    )
    group.add_argument(
        "--frames",
        metavar="START:STOP",
        type=_frame_range,
        default=(0, None),
        help="use only these frames, STOP excluded",
    )
    group.add_argument(
        "--every", metavar="N", type=positive, default=1, help="of those, keep every N-th"
    )
    group.add_argument(
        "--fps",
        metavar="F",
        type=positive_number,
        help="frames per second; replaces the times found in the source",
    )


def _add_camera(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("camera, poses")
    known = group.add_mutually_exclusive_group()
    known.add_argument(
        "--camera",
        metavar="FILE",
        type=Path,
        help="calibration: file of depthkit, ROS, OpenCV, Kalibr, EuRoC, ORB-SLAM, camodocal, "
        "COLMAP, nerfstudio, Open3D, KITTI or DSO, or K as text",
    )
    known.add_argument(
        "--fov",
        metavar="DEG",
        type=angle,
        help="without a calibration: assume a pinhole camera with this horizontal field of view, "
        "degrees (default: from the focal length in EXIF)",
    )
    group.add_argument(
        "--poses",
        metavar="FILE",
        type=Path,
        help="camera poses T_world_cam: TUM, KITTI, EuRoC, 4x4 rows, Open3D .log, COLMAP "
        "images.txt, transforms.json; or the word odometry: found in the frames",
    )
    group.add_argument(
        "--max-gap",
        metavar="S",
        type=positive_number,
        default=0.15,
        help="largest gap between poses to interpolate a frame's pose in, seconds (default: 0.15)",
    )
    group.add_argument(
        "--odometry-topic",
        metavar="TOPIC",
        default="",
        help="bag: topic to take poses from: Odometry, PoseStamped (also with covariance), "
        "TransformStamped, Path or /tf (/tf:FRAME for another fixed frame); 'none' for no poses "
        "(default: the only odometry, else the only other one)",
    )
    group.add_argument(
        "--bits",
        type=int,
        choices=(10, 12, 16),
        default=16,
        help="bag: bits used of a 16-bit pixel (default: 16)",
    )
    group.add_argument(
        "--levels",
        metavar="LOW:HIGH",
        type=_levels,
        help="pictures of more than 8 bit (thermal, 12 bit): values mapped to black and white "
        "(default: percentiles over the sequence where it uses a small part of the range)",
    )
    group.add_argument(
        "--time-unit",
        choices=("auto", "s", "ms", "us", "ns"),
        default="auto",
        help="unit of times in the source and in --poses (default: detected by size and spacing)",
    )
    group.add_argument(
        "--quaternion",
        choices=("xyzw", "wxyz"),
        help="order of quaternions in --poses (default: detected from the file and reported)",
    )
    group.add_argument(
        "--depth-scale",
        metavar="N",
        type=positive_number,
        help="stored depth value per metre, e.g. 1000 for millimetres (default: the format's own)",
    )
    group.add_argument(
        "--body-to-camera",
        metavar="FILE",
        type=Path,
        help="file with T_body_cam, where the poses are those of a body, not the camera (4x4 "
        "numbers, EuRoC T_BS, Kalibr T_cam_imu, ORB-SLAM Tbc, VINS body_T_cam0)",
    )
    add_imu(group)
    group.add_argument(
        "--bayer",
        choices=("rggb", "bggr", "grbg", "gbrg"),
        help="frames are raw Bayer mosaics of this pattern",
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    group.add_argument(
        "--size", metavar="HxW", type=size, help="size of stored frames, e.g. 128x416"
    )
    group.add_argument(
        "--fit",
        choices=("stretch", "crop"),
        default="stretch",
        help="where --size has another aspect ratio: stretch the frame, or crop the longer side "
        "(default: stretch)",
    )
    add_crop(group, "marked in valid.png")
    group.add_argument("--name", metavar="NAME", help="name of the written sequence")
    group.add_argument(
        "--split", choices=("train", "val", "test"), default="train", help="split (default: train)"
    )
    group.add_argument(
        "--ext", choices=("jpg", "png"), default="jpg", help="file type of frames (default: jpg)"
    )
    group.add_argument("--force", action="store_true", help="replace sequences that exist")
    group.add_argument(
        "--workers",
        metavar="N",
        type=positive,
        default=_cores(),
        help="number of threads; of several SOURCEs, recordings at a time (default: all cores)",
    )
    group.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> None:
    """Prepare the source and report what was written."""
    import depthkit

    if run_several("prepare", args):
        return
    with watching(terminal_only=False) as watcher:
        found = depthkit.prepare(**words_of_one(args), watcher=watcher)
    for result in found.sequences:
        for message in result.unreadable:
            print(f"depthkit: skipped: {message}", file=sys.stderr)
    if args.json:
        records = [_record(result) for result in found.sequences]
        print(json.dumps({"out": found.out, "sequences": records}))
    else:
        print("\n".join(_line(result) for result in found.sequences))


def _record(result: "Prepared") -> dict[str, Any]:
    height, width = result.size
    return {
        "name": result.name,
        "path": str(result.path),
        "format": result.format,
        "split": result.split,
        "frames": result.frames,
        "height": height,
        "width": width,
        "poses": result.poses,
        "depth": result.depth,
        "imu": result.imu,
        "unreadable": list(result.unreadable),
        "notes": list(result.notes),
        "assumed": list(result.assumed),
    }


def _line(result: "Prepared") -> str:
    height, width = result.size
    return (
        f"{result.path}: {result.frames} frames {width}x{height} ({result.format}), "
        f"{result.poses} poses, {result.depth} depth, {len(result.unreadable)} unreadable, "
        + (f"{result.imu} IMU samples, " if result.imu else "")
        + f"split {result.split}"
    )


# --- argument types ------------------------------------------------------------------------------


def _frame_range(text: str) -> tuple[int, int | None]:
    match = re.fullmatch(r"(\d*):(\d*)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"expected START:STOP such as 0:200, got {text!r}")
    return int(match[1] or 0), int(match[2]) if match[2] else None


def _levels(text: str) -> tuple[float, float]:
    try:
        low, high = (float(word) for word in text.split(":"))
    except ValueError:
        low = high = 0.0
    if not -math.inf < low < high < math.inf:
        raise argparse.ArgumentTypeError(f"expected LOW:HIGH such as 29000:31000, got {text!r}")
    return low, high


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
