#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write the flow of a trained run for all pairs of a folder, to be scored by `evaluate flow`.

PAIRS is what `depthkit evaluate flow --gt` reads, frames beside it: Middlebury, KITTI flow,
sequence folders, a data set's test sequences. The word "dis" in place of a run is OpenCV's DIS,
medium preset.

Usage: python scripts/flow/predict_flow.py RUN PAIRS --out DIR
       depthkit evaluate flow --pred DIR --gt PAIRS
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch

from depthkit.data.flow_files import write_flow
from depthkit.data.flow_pairs import find_flow_pairs
from depthkit.errors import DataError, DepthkitError
from depthkit.tasks.loaded import load_task

Matcher = Callable[[np.ndarray, np.ndarray], np.ndarray]


def main() -> None:
    """Match every pair at its own size."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", help="run folder, checkpoint, shipped name, or 'dis'")
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    match = classical() if args.run == "dis" else network(Path(args.run), args.device)
    for name, pair in find_flow_pairs(args.pairs).items():
        file = args.out / f"{name}.flo"
        file.parent.mkdir(parents=True, exist_ok=True)
        write_flow(file, match(*pair.read_frames()))


def classical() -> Matcher:
    """Return dense inverse search [Kroeger 2016]."""
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def match(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        grey = (cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY) for rgb in (first, second))
        return search.calc(*grey, None)

    return match


def network(path: Path, device: str) -> Matcher:
    """Return the flow network of a run."""
    task = load_task(path).task.to(device)
    if not hasattr(task, "flow_net"):
        raise DataError(f"{path}: a run without a flow network; train task flow or coop")

    def match(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        pair = np.concatenate([first, second], axis=2).transpose(2, 0, 1)
        with torch.inference_mode():
            frames = torch.from_numpy(pair).to(device).float().div_(255)[None]
            return task.flow_net(frames)[0][0].movedim(0, -1).float().cpu().numpy()

    return match


if __name__ == "__main__":
    try:
        main()
    except DepthkitError as error:
        sys.exit(f"predict_flow: error: {error}")
