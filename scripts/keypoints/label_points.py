# SPDX-License-Identifier: Apache-2.0
"""Label pictures with keypoints that a trained detector finds in many views of each.

`python scripts/keypoints/label_points.py RUN DATA [--views 100]` writes `points/` into every
sequence of the data set DATA: homographic adaptation [DeTone 2018].
"""

import argparse
from pathlib import Path

import cv2
import torch

from depthkit.cli.progress import watching
from depthkit.errors import DepthkitError
from depthkit.pipelines.label_points import LabelOptions, label_points


def main() -> None:
    """Read arguments, label, say how many points there are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="run of task keypoints")
    parser.add_argument("data", type=Path, help="data set, or one sequence folder")
    parser.add_argument("--views", type=int, default=100, help="views of a picture")
    parser.add_argument("--threshold", type=float, default=0.015, help="least mean probability")
    parser.add_argument("--most", type=int, default=512, help="points of a picture at the most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--force", action="store_true", help="replace points that are there")
    args = vars(parser.parse_args())
    cv2.setNumThreads(args["threads"])
    torch.set_num_threads(args.pop("threads"))
    try:
        with watching(terminal_only=False) as watcher:
            done = label_points(LabelOptions(**args), watcher)
    except DepthkitError as error:
        raise SystemExit(f"error: {error}") from None
    print(f"{done.frames} frames of {done.sequences} sequences, {done.points:.0f} points each")


if __name__ == "__main__":
    main()
