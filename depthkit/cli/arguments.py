# SPDX-License-Identifier: Apache-2.0
"""Types of arguments that several verbs take."""

import argparse
import re


def size(text: str) -> tuple[int, int]:
    """Read HEIGHTxWIDTH, pixels."""
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None or 0 in (int(match[1]), int(match[2])):
        raise argparse.ArgumentTypeError(f"expected HEIGHTxWIDTH such as 128x416, got {text!r}")
    return int(match[1]), int(match[2])


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
        help=f"mask: black borders (round views, bars) are found, said and {what}; auto: frames "
        "are cut to the picture inside; none: all is kept; or TOP,LEFT,HEIGHT,WIDTH in pixels "
        "(default: mask)",
    )
