# SPDX-License-Identifier: Apache-2.0
"""Arguments that several verbs take, and the types of their values."""

import argparse
import re
from pathlib import Path
from typing import Any

# Written out so that --help needs no import of the engines; a test compares the lists.
BACKENDS = ("auto", "onnxruntime", "openvino", "cuda", "tensorrt")
PRECISIONS = ("default", "fp32", "bf16", "fp16")
RULES = ("fixed", "best_of_n", "nearest", "feedback", "multi_range")
QUALITIES = ("fast", "normal", "fine")
MODEL_HELP = "exported .onnx, run folder, checkpoint, or a shipped model's name"
DEPTH_HELP = f"{MODEL_HELP}; or the word sweep: depth from several views, without a network"


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare where the network runs."""
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        default="auto",
        help="auto: ONNX Runtime, on a GPU where it has one (default: auto)",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="default",
        help="number format to compute in; default: that of the file",
    )
    add_threads(parser)


def add_sweep(parser: argparse._ActionsContainer) -> None:
    """Declare the working size of the sweep, and what it compares."""
    parser.add_argument(
        "--quality",
        choices=QUALITIES,
        help="sweep: works at a quarter (fast), half (normal) or all (fine) of the frames' size "
        "(default: normal)",
    )
    parser.add_argument(
        "--similarity",
        metavar="census|zncc|MODEL",
        help="sweep: what is compared; MODEL: an exported network of kind features (default: "
        "census)",
    )


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Declare the number of processor cores."""
    from depthkit.pipelines.models import default_threads

    parser.add_argument(
        "--threads",
        type=positive,
        metavar="N",
        help="processor cores (default: OMP_NUM_THREADS, else all usable: here "
        f"{default_threads()})",
    )


def add_scale_sources(
    parser: argparse.ArgumentParser, *, imu: bool = True
) -> argparse._ArgumentGroup:
    """Declare what turns the odometry's lengths into metres; return the group of it.

    Args:
        parser: of a verb that runs the odometry.
        imu: whether to declare --imu.
    """
    group = parser.add_argument_group("metres of the odometry (without any: relative)")
    group.add_argument(
        "--camera-height",
        metavar="M",
        type=positive_number,
        help="height of the camera over flat ground that is in view, metres",
    )
    group.add_argument(
        "--speed",
        metavar="M_PER_S",
        type=positive_number,
        help="constant speed of the camera, metres a second",
    )
    if imu:
        group.add_argument(
            "--imu",
            metavar="auto|none|FILE",
            default="auto",
            help="inertial samples: auto, those of the source; none; or a table of samples, or a "
            "sequence folder with imu.csv, on the clock of the frames (default: auto)",
        )
    return group


def add_imu(parser: argparse._ActionsContainer) -> None:
    """Declare where samples of an IMU come from, and how they are read."""
    parser.add_argument(
        "--imu",
        metavar="FILE",
        type=Path,
        help="samples of an IMU on the clock of the frames: a table with columns t, wx, wy, wz, "
        "ax, ay, az or the like (default: that of the source)",
    )
    add_imu_reading(parser)


def add_imu_reading(parser: argparse._ActionsContainer) -> None:
    """Declare how samples of an IMU are read, and which topic of a bag holds them."""
    parser.add_argument(
        "--imu-to-camera",
        metavar="FILE",
        type=Path,
        help="file with T_cam_imu: 4x4 numbers, Kalibr T_cam_imu, ORB-SLAM Tbc, VINS body_T_cam0 "
        "(default: by the source, where it says so)",
    )
    parser.add_argument(
        "--imu-units",
        metavar="UNITS",
        default="",
        help="units of the samples: deg/s, g, mg, or two of them as deg/s,g (default: those in the "
        "header, else rad/s and m/s2)",
    )
    parser.add_argument(
        "--imu-topic",
        metavar="TOPIC",
        default="",
        help="bag: topic of sensor_msgs/Imu (default: the only one); 'none': no IMU of any source",
    )


def add_max_gap(group: argparse._ActionsContainer) -> None:
    """Declare the longest pause inside a segment of the odometry."""
    group.add_argument(
        "--max-gap",
        metavar="S",
        type=positive_number,
        help="a longer pause between two frames begins a new segment, seconds (default: 3, or "
        "three times the usual step of slower frames)",
    )


def add_bag_pictures(group: argparse._ActionsContainer) -> None:
    """Declare which pictures of a bag are taken."""
    group.add_argument("--topic", default="", help="bag: topic of the pictures (default: only one)")
    group.add_argument(
        "--bits",
        type=int,
        choices=(10, 12, 16),
        default=16,
        help="bag: bits used of a 16-bit pixel (default: 16)",
    )


def options_of(args: argparse.Namespace, *others: str) -> dict[str, Any]:
    """Return the arguments as keywords of a job.

    Args:
        args: what was parsed.
        others: arguments that the job does not take, beside --json.
    """
    return {name: value for name, value in vars(args).items() if name not in ("json", *others)}


# --- types of values -----------------------------------------------------------------------------


def size(text: str) -> tuple[int, int]:
    """Read HEIGHTxWIDTH, pixels."""
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None or 0 in (int(match[1]), int(match[2])):
        raise argparse.ArgumentTypeError(f"expected HEIGHTxWIDTH such as 128x416, got {text!r}")
    return int(match[1]), int(match[2])


def positive(text: str) -> int:
    """Read a whole number above 0."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return int(text)


def positive_number(text: str) -> float:
    """Read a finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return value


def angle(text: str) -> float:
    """Read a field of view, degrees."""
    value = positive_number(text)
    if not 3 <= value < 170:
        raise argparse.ArgumentTypeError(f"expected degrees between 3 and 170, got {text!r}")
    return value


def crop(text: str) -> str | tuple[int, int, int, int]:
    """Read mask, auto, none or TOP,LEFT,HEIGHT,WIDTH, pixels."""
    if text in ("mask", "auto", "none"):
        return text
    match = re.fullmatch(r"(\d+),(\d+),(\d+),(\d+)", text)
    if match is None or 0 in (int(match[3]), int(match[4])):
        raise argparse.ArgumentTypeError(
            f"expected mask, auto, none, TOP,LEFT,HEIGHT,WIDTH such as 0,40,240,320, got {text!r}"
        )
    return int(match[1]), int(match[2]), int(match[3]), int(match[4])


def add_crop(parser: argparse._ActionsContainer, what: str) -> None:
    """Declare --crop.

    Args:
        parser: or a group of it.
        what: becomes of a border that is found without the option.
    """
    parser.add_argument(
        "--crop",
        metavar="WINDOW",
        type=crop,
        default="mask",
        help=f"mask: black borders (round views, bars) are found, reported and {what}; auto: "
        "frames are cropped to the picture inside; none: all is kept; or TOP,LEFT,HEIGHT,WIDTH in "
        "pixels (default: mask)",
    )


def add_camera(parser: argparse._ActionsContainer) -> None:
    """Add where the intrinsics of images or video come from."""
    known = parser.add_mutually_exclusive_group()
    known.add_argument(
        "--camera",
        metavar="FILE",
        type=Path,
        help="calibration of images or video, as prepare takes it; distorted frames are "
        "undistorted (default: a calibration file beside the frames, EXIF)",
    )
    known.add_argument(
        "--fov",
        metavar="DEG",
        type=angle,
        help="without a calibration: assume a pinhole camera with this horizontal field of view",
    )
