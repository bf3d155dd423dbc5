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
