#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Turn the AirSim laps (frames.txt, poses.txt, images) into a sequence folder with its own stamps.

No K is given with the clip; AirSim's default camera sees 90 degrees horizontally.

At 256x144 tracks are lost in the dark forest and lengths collapse; --enlarge 2 keeps one segment.

Usage: python scripts/video/airsim_sequence.py FOLDER OUT [--enlarge 2]
"""

import argparse
from pathlib import Path

import cv2

FIELD = 90.0
"""Horizontal field of view, degrees: K = width / 2."""
SIZE = 256, 144


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--enlarge", type=int, default=1, metavar="N")
    given = parser.parse_args()
    n = given.enlarge
    rows = (given.folder / "frames.txt").read_text(encoding="utf-8").split("\n")
    named = [line.split() for line in rows if line]
    (given.out / "frames").mkdir(parents=True)
    for i, (_, name) in enumerate(named):
        image = cv2.imread(str(given.folder / "images" / name))
        larger = cv2.resize(image, None, fx=n, fy=n, interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(given.out / "frames" / f"{i:06d}.png"), larger)
    stamps = "".join(f"{int(stamp) / 1000:.3f}\n" for stamp, _ in named)
    (given.out / "times.txt").write_text(stamps, encoding="utf-8")
    width, height = SIZE[0] * n, SIZE[1] * n
    camera = {
        "width": width, "height": height, "fx": width / 2, "fy": width / 2,
        "cx": width / 2 - 0.5, "cy": height / 2 - 0.5, "model": "pinhole", "depth_kind": "none",
    }  # fmt: skip
    text = "".join(f"{key}: {value}\n" for key, value in camera.items())
    (given.out / "camera.yaml").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
