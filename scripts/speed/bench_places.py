#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measure how long a place takes to be found among many by one matrix product; print JSON.

The anchor is a product of two matrices of 256x256 in the same process, timed in turn, so that a
busy machine slows both alike: quote the ratio.

Usage: python scripts/speed/bench_places.py [--places 10000] [--widths 128,256,512,4096]
       [--threads 1] [--repeats 200]
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable

KEYFRAMES_A_SECOND = 2
COUNT = 4  # best places that are asked for


def main() -> None:
    """Time each width in turn with the anchor and print one JSON object."""
    args = read_arguments()
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = str(args.threads)
    rows = [measure(width, args.places, args.repeats) for width in args.widths]
    print(json.dumps({"rows": rows, "about": vars(args)}, indent=1))


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--places", type=int, default=10_000, help="places of the map")
    parser.add_argument(
        "--widths",
        type=lambda text: [int(one) for one in text.split(",")],
        default=[128, 256, 512, 4096],
        help="numbers of a descriptor; 4096 is VLAD of SIFT",
    )
    parser.add_argument("--threads", type=int, default=1, help="processor cores of the product")
    parser.add_argument("--repeats", type=int, default=200, help="times that each is measured")
    return parser.parse_args()


def measure(width: int, places: int, repeats: int) -> dict[str, float]:
    """Time one width: the product, the best few, and the anchor beside it.

    Args:
        width: numbers of a descriptor.
        places: number of descriptors in the map.
        repeats: times that each is measured.
    """
    import numpy as np  # after the number of threads is set

    rng = np.random.default_rng(0)
    database = rng.normal(size=(places, width)).astype(np.float32)
    database /= np.linalg.norm(database, axis=1, keepdims=True)
    query = database[places // 2].copy()
    square = rng.normal(size=(256, 256)).astype(np.float32)

    def find() -> None:
        similarity = database @ query
        best = np.argpartition(similarity, -COUNT)[-COUNT:]
        if best[np.argmax(similarity[best])] != places // 2:
            raise RuntimeError("the query's own place was not found")

    search, anchor = time_in_turn(find, lambda: square @ square, repeats)
    bytes_each = database.itemsize * width
    return {
        "width": width,
        "ms": round(search, 4),
        "anchor_ms": round(anchor, 4),
        "ratio": round(search / anchor, 3),
        "bytes_a_place": bytes_each,
        "megabytes_an_hour": round(bytes_each * KEYFRAMES_A_SECOND * 3600 / 1e6, 2),
    }


def time_in_turn(
    work: Callable[[], object], anchor: Callable[[], object], repeats: int
) -> tuple[float, float]:
    """Return the medians of two jobs in turn, milliseconds."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for job, kept in zip((work, anchor), times, strict=True):
            started = time.perf_counter()
            job()
            kept.append(1e3 * (time.perf_counter() - started))
    return statistics.median(times[0]), statistics.median(times[1])


if __name__ == "__main__":
    main()
