# SPDX-License-Identifier: Apache-2.0
"""Time of a frame of the sweep, by the quality presets, beside an anchor of the same run.

CPU milliseconds a frame of one thread, median and 95th percentile; the anchor is OpenCV's DIS flow,
medium preset, of the same pictures at 320 pixels of width. On a busy machine both grow alike.

Usage: python scripts/speed/bench_sweep.py SEQUENCE [--frames N]
"""

import argparse
from pathlib import Path
from time import process_time

import cv2
import numpy as np

import depthkit
from depthkit.runtime.depth.depth_method import _SETTINGS
from depthkit.runtime.depth.sweep_stream import SweepStream
from depthkit.runtime.motion.told import Motion


def main() -> None:
    """Print a Markdown row for each preset."""
    cv2.setNumThreads(1)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sequence", type=Path)
    parser.add_argument("--frames", type=int, default=120)
    options = parser.parse_args()
    sequence = depthkit.open_sequence(options.sequence)
    frames = [sequence.read_frame(i) for i in range(min(options.frames, len(sequence)))]
    anchor = flow_ms(frames)
    print("| quality | ms a frame (95th) | frames/s | times one DIS flow |\n" + "| --- " * 4 + "|")
    for name, config in _SETTINGS.items():
        stream, times = SweepStream(config), []
        for i, rgb in enumerate(frames):
            motion, stamp = Motion(sequence.poses[i]), float(sequence.times[i])
            began = process_time()
            result = stream.process(rgb, stamp=stamp, K=sequence.camera.K, motion=motion)
            times += [1e3 * (process_time() - began)] if result.depth is not None else []
        times = times[2:]  # the first ones compile
        middle, late = np.median(times), np.percentile(times, 95)
        print(
            f"| {name} | {middle:.0f} ({late:.0f}) | {1e3 / middle:.1f} | {middle / anchor:.1f} |"
        )


def flow_ms(frames: list[np.ndarray]) -> float:
    """Return the median time of one DIS flow at 320 pixels of width."""
    height, width = frames[0].shape[:2]
    size = (320, round(320 * height / width))
    grey = [cv2.resize(cv2.cvtColor(f, cv2.COLOR_RGB2GRAY), size) for f in frames[:40]]
    search, times = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM), []
    for first, second in zip(grey, grey[1:], strict=False):
        began = process_time()
        search.calc(first, second, None)  # type: ignore[call-overload]
        times.append(1e3 * (process_time() - began))
    return float(np.median(times))


if __name__ == "__main__":
    main()
