#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Stream frames for a long time through one DepthStream: is memory flat, is the tail flat; as JSON.

A sequence is flown to and fro without end, cut to its middle so that a run takes minutes. Now and
then a frame is broken (NaN pose, black, another size, time running backwards, a pause), as on a
robot: the stream must answer with a reason and go on. Memory is what the process holds after the
warm-up and at the end; latency is that of the answered frames of the first and the last quarter.

Usage: python scripts/speed/soak_stream.py MODEL.onnx SEQUENCE [--frames 20000] [--side 64]
"""

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from depthkit.data.sequence import Sequence, open_sequence
from depthkit.runtime.config import BaselineConfig
from depthkit.runtime.depth.depth_engine import DepthEngine
from depthkit.runtime.depth.depth_stream import DepthStream

STEP = 1 / 30  # seconds between frames
FLAT_MB = 10.0  # allowed growth after the warm-up
Inputs = dict[str, Any]


def black(inputs: Inputs) -> Inputs:
    """A covered lens."""
    return inputs | {"rgb": np.zeros_like(inputs["rgb"])}


def lost_pose(inputs: Inputs) -> Inputs:
    """An odometry that has no answer."""
    return inputs | {"T_world_cam": np.full((4, 4), np.nan)}


def other_size(inputs: Inputs) -> Inputs:
    """A driver that changes its mind."""
    return inputs | {"rgb": inputs["rgb"][:-8]}


def back_in_time(inputs: Inputs) -> Inputs:
    """A clock that was set."""
    return inputs | {"stamp": inputs["stamp"] - 5.0}


def no_camera(inputs: Inputs) -> Inputs:
    """A camera that was never calibrated."""
    return inputs | {"K": None}


FAULTS: tuple[Callable[[Inputs], Inputs], ...] = (
    black,
    lost_pose,
    other_size,
    back_in_time,
    no_camera,
)


def main() -> None:
    """Stream, then print one object."""
    args = read_arguments()
    cv2.setNumThreads(args.threads)
    frames, poses, K = load(open_sequence(args.sequence), args.side)
    opened = {"backend": args.backend, "threads": args.threads, "precision": args.precision}
    with DepthEngine.open(args.model, **opened) as engine:
        stream = DepthStream(engine, BaselineConfig(rule=args.rule))
        record = soak(stream, frames, poses, K, args=args)
        about = {"backend": engine.backend.name, "precision": engine.backend.precision}
    about |= {"rule": args.rule, "threads": args.threads, "size": list(frames[0].shape[:2])}
    print(json.dumps(about | record | {"torch_loaded": "torch" in sys.modules}, indent=1))


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("sequence", type=Path)
    parser.add_argument("--frames", type=int, default=20000)
    parser.add_argument("--warm", type=int, default=1000, help="frames of the warm-up")
    parser.add_argument("--side", type=int, default=64, help="pixels cut from the middle")
    parser.add_argument("--fault-every", type=int, default=400, help="frames; 0: no faults")
    parser.add_argument("--rule", default="multi_range")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--precision", default="default")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def load(sequence: Sequence, side: int) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Read a sequence's frames cut to their middle, its poses, and K of what was cut."""
    height, width = sequence.camera.size
    top, left = (height - side) // 2, (width - side) // 2
    frames = [
        np.ascontiguousarray(sequence.read_frame(i)[top : top + side, left : left + side])
        for i in range(len(sequence))
    ]
    return frames, sequence.poses, sequence.camera.K - [[0, 0, left], [0, 0, top], [0, 0, 0]]


def soak(
    stream: DepthStream,
    frames: list[np.ndarray],
    poses: np.ndarray,
    K: np.ndarray,
    *,
    args: argparse.Namespace,
) -> dict[str, Any]:
    """Stream all frames; return memory, latencies and what was refused."""
    ms, answered = np.zeros(args.frames), np.zeros(args.frames, bool)
    reasons: Counter[str] = Counter()
    memory, start = {}, time.perf_counter()
    there_and_back = [*range(len(frames)), *range(len(frames) - 2, 0, -1)]
    for count in range(args.frames):
        i = there_and_back[count % len(there_and_back)]
        inputs = {"rgb": frames[i], "stamp": count * STEP, "K": K, "T_world_cam": poses[i]}
        if args.fault_every and count % args.fault_every == args.fault_every - 1:
            inputs = FAULTS[count // args.fault_every % len(FAULTS)](inputs)
        begin = time.perf_counter()
        result = stream.process(inputs.pop("rgb"), **inputs)
        ms[count] = 1e3 * (time.perf_counter() - begin)
        answered[count] = result.depth is not None
        if result.depth is None:
            reasons[result.reason] += 1
        if count + 1 in (args.warm, args.frames // 2, args.frames):
            memory[f"after_{count + 1}"] = round(resident(), 1)
    grown = list(memory.values())[-1] - list(memory.values())[0]
    quarter = (args.frames - args.warm) // 4
    ends = {"first": slice(args.warm, args.warm + quarter), "last": slice(-quarter, None)}
    return {
        "frames": args.frames,
        "seconds": round(time.perf_counter() - start, 1),
        "answered": int(answered.sum()),
        "refused": dict(reasons.most_common(12)),
        "resident_mb": memory,
        "grown_mb": round(grown, 1),
        "flat": grown <= FLAT_MB,
        "latency_ms": {name: spread(ms[part][answered[part]]) for name, part in ends.items()},
    }


def spread(ms: np.ndarray) -> dict[str, float]:
    """Median, p99 and largest."""
    return {f"p{p}": round(float(np.percentile(ms, p)), 2) for p in (50, 99, 100)}


def resident() -> float:
    """Resident memory of this process, megabytes."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()
