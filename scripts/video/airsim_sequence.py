#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Turn the AirSim laps (frames.txt, poses.txt, images) into a sequence folder with its own stamps.

No K is given with the clip; AirSim's default camera sees 90 degrees horizontally.

Usage: python scripts/video/airsim_sequence.py FOLDER OUT
"""

import argparse
import shutil
from pathlib import Path

FIELD = 90.0
"""Horizontal field of view, degrees: K = width / 2."""
SIZE = 256, 144


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    rows = (given.folder / "frames.txt").read_text(encoding="utf-8").split("\n")
    named = [line.split() for line in rows if line]
    (given.out / "frames").mkdir(parents=True)
    for i, (_, name) in enumerate(named):
        shutil.copyfile(given.folder / "images" / name, given.out / "frames" / f"{i:06d}.jpg")
    stamps = "".join(f"{int(stamp) / 1000:.3f}\n" for stamp, _ in named)
    (given.out / "times.txt").write_text(stamps, encoding="utf-8")
    half = SIZE[0] / 2
    camera = {
        "width": SIZE[0], "height": SIZE[1], "fx": half, "fy": half,
        "cx": half - 0.5, "cy": SIZE[1] / 2 - 0.5, "model": "pinhole", "depth_kind": "none",
    }  # fmt: skip
    text = "".join(f"{key}: {value}\n" for key, value in camera.items())
    (given.out / "camera.yaml").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
