#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a full map costs: bytes on disk and in memory, and the times to write, read and search it.

A map holds at most as many keyframes as `finder.MOST_KEYFRAMES`, so an hour and a day cost the
same; this fills one with random features, as many as a keyframe keeps.

Usage: python scripts/video/map_memory.py [--keyframes N] [--width D] [--float]
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from depthkit.camera import Camera
from depthkit.multiview.features import Features, no_features
from depthkit.rigid import exp_se3
from depthkit.runtime.odometry.finder import MOST_KEYFRAMES
from depthkit.runtime.odometry.loop import LoopCloser
from depthkit.runtime.odometry.place_map import FEATURES_KEPT
from depthkit.runtime.odometry.place_view import PlaceView
from depthkit.runtime.odometry.saved_map import SavedMap, SavedSegment, restore
from depthkit.runtime.odometry.saved_map_files import load_map, save_map

CAMERA = Camera(640, 480, 525.0, 525.0, 319.5, 239.5)


class Numbers:
    """A detector of the asked width; it is never run."""

    name = "numbers"

    def __init__(self, width: int) -> None:
        """Take the numbers of a descriptor."""
        self.width = width

    def detect(self, gray: np.ndarray, *, valid: np.ndarray | None = None) -> Features:
        """Find nothing: only the features that are there count."""
        return no_features(self.width)


def full(keyframes: int, width: int, *, real: bool) -> SavedMap:
    """Make a map of random features."""
    rng, count = np.random.default_rng(0), FEATURES_KEPT
    views = []
    for i in range(keyframes):
        numbers = rng.integers(0, 120, (count, width)).astype(np.uint8)
        features = Features(
            rng.uniform(0, 480, (count, 2)).astype(np.float32),
            numbers.astype(np.float32) / 120 if real else numbers,
            np.ones(count, np.float32),
            np.zeros(count, np.float32),
        )
        T = exp_se3(np.array([0.5 * i, 0, 0, 0, 0.01 * i, 0]))
        points = rng.uniform(1, 9, (count, 3)).astype(np.float32)
        sigmas = np.full(count, 0.02, np.float32)
        views.append(PlaceView(i, 0.5 * i, 0, False, CAMERA.K, T, features, points, sigmas))
    return SavedMap(CAMERA, Numbers.name, "", (SavedSegment(0, 0, False),), tuple(views))


def main() -> None:
    """Print the costs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keyframes", type=int, default=MOST_KEYFRAMES)
    parser.add_argument("--width", type=int, default=128, help="numbers of a descriptor")
    parser.add_argument("--float", action="store_true", help="float32 descriptors, as learned ones")
    args = parser.parse_args()
    saved = full(args.keyframes, args.width, real=args.float)
    with tempfile.TemporaryDirectory() as temporary:
        folder, ticks = Path(temporary) / "map", [time.perf_counter()]
        save_map(folder, saved)
        ticks.append(time.perf_counter())
        again = load_map(folder)
        ticks.append(time.perf_counter())
        disk = sum(one.stat().st_size for one in folder.iterdir())
    closer = LoopCloser(detector=Numbers(args.width))
    restore(closer, again)
    ticks.append(time.perf_counter())
    each = closer.places.bytes_each
    print(f"{args.keyframes} keyframes of {FEATURES_KEPT} features x {args.width} numbers")
    print(f"disk {disk / 1e6:.0f} MB, memory {each * args.keyframes / 1e6:.0f} MB ({each} B each)")
    spent = np.diff(ticks)
    print(f"write {spent[0]:.1f} s, read {spent[1]:.1f} s, index {spent[2]:.1f} s")


if __name__ == "__main__":
    main()
