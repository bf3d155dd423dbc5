#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a place costs: CPU time to keep and to find one, retrieval among many, memory of an hour.

Keyframes are every n-th frame of a sequence folder with poses; retrieval is timed on random codes.

Usage: python scripts/speed/bench_places.py SEQUENCE [--every 10] [--rate 5] [--places 10000]
"""

import argparse
import time
from pathlib import Path

import cv2
import numpy as np

from depthkit.data.sequence import Sequence, open_sequence
from depthkit.runtime.odometry.loop_records import LoopConfig
from depthkit.runtime.odometry.place_index import PlaceIndex
from depthkit.runtime.odometry.place_map import PlaceMap
from depthkit.runtime.odometry.place_view import Keyframe
from depthkit.runtime.odometry.places import WORDS

WIDTHS = {"learnt, 128": 128, "learnt, 256": 256, "learnt, 512": 512, "VLAD of SIFT": 128 * WORDS}


def milliseconds(spent: list[float]) -> str:
    """Write median and 95th percentile of seconds."""
    return f"{1e3 * np.median(spent):.2f} ({1e3 * np.percentile(spent, 95):.2f}) ms"


def time_places(sequence: Sequence, every: int, rate: float) -> None:
    """Keep keyframes and find each again."""
    places, kept, found = PlaceMap(), list[float](), list[float]()
    none = np.zeros((0, 2)), np.zeros((0, 3))
    if sequence.poses is None:
        raise SystemExit(f"{sequence.root}: needs poses")
    for i in range(0, len(sequence), every):
        gray = cv2.cvtColor(sequence.read_frame(i), cv2.COLOR_RGB2GRAY)
        T, K = sequence.poses[i], sequence.camera.K
        if not np.isfinite(T).all():
            continue
        start = time.process_time()
        query = places.add(Keyframe(i, float(i), 0, gray, K, T, *none, metric=True))
        kept.append(time.process_time() - start)
        start = time.process_time()
        places.find(query, leave_out=frozenset([i]))
        found.append(time.process_time() - start)
    size, keep = places.bytes_each, LoopConfig().keep
    hour = rate * 3600 * size / 1e6
    print(f"keep a keyframe, with its features: {milliseconds(kept)}")
    print(f"find it among {len(places.views)}, with the geometric check: {milliseconds(found)}")
    print(f"memory: {size / 1e3:.0f} kB a keyframe; {keep} of them, which loops keep at most,")
    print(f"{keep * size / 1e6:.0f} MB; an hour of all, {rate:g} a second, {hour:.0f} MB")


def time_index(count: int) -> None:
    """Search in codes of each length."""
    rng = np.random.default_rng(0)
    for name, width in WIDTHS.items():
        index = PlaceIndex(width)
        for key in range(count):
            code = rng.standard_normal(width, dtype=np.float32)
            index.add(key, code / np.linalg.norm(code))
        spent = []
        for _ in range(50):
            code = rng.standard_normal(width, dtype=np.float32)
            start = time.process_time()
            index.find(code / np.linalg.norm(code), count=4)
            spent.append(time.process_time() - start)
        size = index.bytes_each * count / 1e6
        print(f"{name}: 4 of {count} places in {milliseconds(spent)}, {size:.0f} MB")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sequence", type=Path)
    parser.add_argument("--every", type=int, default=10)
    parser.add_argument("--rate", type=float, default=5.0, help="keyframes a second")
    parser.add_argument("--places", type=int, default=10_000)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    time_places(open_sequence(given.sequence), given.every, given.rate)
    time_index(given.places)


if __name__ == "__main__":
    main()
