# SPDX-License-Identifier: Apache-2.0
"""One measurement of `depthkit bench`, in a process of its own so that its memory is its own.

python -m depthkit.pipelines.bench TASK prints one JSON object; TASK is a JSON object too.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from depthkit.errors import DepthkitError

if TYPE_CHECKING:
    from depthkit.runtime.network.backend import Backend
    from depthkit.runtime.result import Timing

MIB = 2**20
TURN = 0.02  # rad between the frames of a pair: turning them back is part of the work
STEP = 0.1  # seconds between frames


@dataclass(frozen=True)
class Task:
    """What to measure."""

    file: str
    """The exported model."""
    backend: str
    precision: str
    threads: int
    size: tuple[int, int]
    """(H, W) of the frames; of a pair network at its own focal length."""
    batch: int
    """Earlier frames of a pair network in one run."""
    runs: int
    warmup: int
    sequences: tuple[str, ...] = ()
    """To score depth on, none for no score."""


@dataclass(frozen=True)
class Measurement:
    """What came out."""

    backend: str
    """Such as openvino-cpu."""
    precision: str
    threads: int
    median_ms: float
    """Time of a whole call: frames in, depth or flow at their size out."""
    p99_ms: float
    network_ms: float
    """Median of the network alone."""
    frames_per_second: float
    """By the median."""
    open_s: float
    """To check, load and compile the file."""
    memory_mb: float
    """Growth of the resident memory from before the runtime was imported to the peak."""
    parity_worst: float
    """Largest relative difference from the stored output."""
    parity_median: float
    """The same, of the middle pixel."""
    parity_measured: float
    """That of the two which counts for this precision."""
    parity_allowed: float
    """Beyond it no engine opens the file here."""
    abs_rel: float | None = None
    """On the sequence."""
    align: str | None = None
    """none for metres, median for relative depth"""
    coverage: float | None = None
    """Share of the sequence's frames with depth."""


def measure(task: Task) -> Measurement:
    """Open a model, time it, look at its memory, score it."""
    import cv2

    from depthkit.runtime.network.backend import check_parity, open_backend

    cv2.setNumThreads(task.threads)
    gc.collect()
    before, started = resident(), perf_counter()
    backend = open_backend(
        task.file, backend=task.backend, threads=task.threads, precision=task.precision
    )
    opened = perf_counter() - started
    parity = check_parity(backend)
    call = make_call(backend, task)
    for _ in range(task.warmup):
        call()
    whole, network = np.array([_timed(call) for _ in range(task.runs)]).T
    peak = peak_resident()
    found = score(backend, task.sequences) if task.sequences else {}
    backend.close()
    return Measurement(
        backend=backend.name,
        precision=backend.precision,
        threads=backend.threads,
        median_ms=float(np.median(whole)),
        p99_ms=float(np.percentile(whole, 99)),
        network_ms=float(np.median(network)),
        frames_per_second=1e3 / float(np.median(whole)),
        open_s=opened,
        memory_mb=(peak - before) / MIB,
        parity_worst=parity.worst,
        parity_median=parity.median,
        parity_measured=parity.measured,
        parity_allowed=parity.tolerance,
        **found,
    )


def make_call(backend: Backend, task: Task) -> Callable[[], Timing]:
    """Return one call of an engine on random frames, new ones each time; never zeros."""
    rng = np.random.default_rng(0)
    # A handful, drawn beforehand: drawing takes longer than a small network.
    frames = rng.integers(1, 256, (8, *task.size, 3), dtype=np.uint8)
    turns = {"next": 0}

    def draw() -> np.ndarray:
        turns["next"] += 1
        return frames[turns["next"] % len(frames)]

    match backend.manifest.kind:
        case "mono":
            return _mono_call(backend, draw, task.size)
        case "pair":
            return _pair_call(backend, draw, task)
        case "flow":
            return _flow_call(backend, draw)
        case "features":
            return _features_call(backend, draw)
        case "place":
            return _place_call(backend, draw)
        case _:
            return _pose_call(backend, draw)


def _mono_call(
    backend: Backend, draw: Callable[[], np.ndarray], size: tuple[int, int]
) -> Callable[[], Timing]:
    """One frame of a camera of 53 degrees: some networks have a shift that K decides."""
    from depthkit.runtime.depth.depth_engine import DepthEngine

    engine, (height, width) = DepthEngine(backend), size
    K = np.array([[width, 0, (width - 1) / 2], [0, width, (height - 1) / 2], [0, 0, 1.0]])
    return lambda: engine.depth(draw(), K=K).timing


def _pair_call(
    backend: Backend, draw: Callable[[], np.ndarray], task: Task
) -> Callable[[], Timing]:
    """One frame brought in, and its maps with `batch` earlier ones, each turned a little."""
    from depthkit.rigid import exp_se3
    from depthkit.runtime.depth.depth_engine import DepthEngine

    engine, (height, width) = DepthEngine(backend), task.size
    focal = backend.manifest.focal or 1.0
    K = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    past = [engine.network_frame(draw(), K) for _ in range(task.batch)]
    turn = exp_se3(np.array([0, 0, 0, 0, TURN, 0]))[:3, :3]
    rotations = np.repeat(turn[None], task.batch, axis=0)
    sideways = np.tile([0.1, 0.0, 0.0], (task.batch, 1))
    return lambda: (
        engine.pair_maps(
            engine.network_frame(draw(), K), past, rotations, translations=sideways
        ).timing
    )


def _flow_call(backend: Backend, draw: Callable[[], np.ndarray]) -> Callable[[], Timing]:
    from depthkit.runtime.flow.flow_engine import FlowEngine

    engine = FlowEngine(backend)
    return lambda: engine.flow(draw(), draw()).timing


def _features_call(backend: Backend, draw: Callable[[], np.ndarray]) -> Callable[[], Timing]:
    from depthkit.runtime.network.feature_engine import FeatureEngine

    engine = FeatureEngine(backend)
    return lambda: engine.describe(draw()).timing


def _place_call(backend: Backend, draw: Callable[[], np.ndarray]) -> Callable[[], Timing]:
    from depthkit.runtime.network.place_engine import PlaceEngine
    from depthkit.runtime.result import Timing

    engine = PlaceEngine(backend)

    def call() -> Timing:
        rasters = (draw(),) if engine.manifest.takes_raster else ()
        started = perf_counter()
        engine.describe(draw(), *rasters)
        return Timing.until_now(started, started, perf_counter())

    return call


def _pose_call(backend: Backend, draw: Callable[[], np.ndarray]) -> Callable[[], Timing]:
    from depthkit.runtime.odometry.odometry_engine import OdometryEngine

    engine, clock = OdometryEngine(backend), {"now": 0.0}

    def call() -> Timing:
        clock["now"] += STEP
        return engine.process(draw(), stamp=clock["now"]).timing

    return call


def _timed(call: Callable[[], Timing]) -> tuple[float, float]:
    """Return milliseconds of the whole call and of the network in it."""
    started = perf_counter()
    timing = call()
    return 1e3 * (perf_counter() - started), timing.network_ms


def score(backend: Backend, sequences: tuple[str, ...]) -> dict[str, Any]:
    """Score depth on sequences: metres as they are, relative depth aligned by the median."""
    from depthkit.data.sequence import open_sequence
    from depthkit.evaluation.depth import DepthProtocol
    from depthkit.pipelines.score.frames import check_metric
    from depthkit.pipelines.score.stream import score_stream
    from depthkit.runtime.config import BaselineConfig
    from depthkit.runtime.depth.depth_engine import DepthEngine
    from depthkit.runtime.depth.depth_method import network_method

    engine = DepthEngine(backend)
    align = "none" if backend.manifest.scale == "metric" else "median"
    opened = [open_sequence(path) for path in sequences]
    check_metric(opened, align)
    report = score_stream(
        network_method(engine), opened, BaselineConfig(), DepthProtocol(align)
    ).report
    return {"abs_rel": report.abs_rel, "align": align, "coverage": report.coverage}


# --- memory --------------------------------------------------------------------------------------


def resident() -> int:
    """Bytes of memory that this process holds now."""
    return _status("VmRSS") or peak_resident()


def peak_resident() -> int:
    """Most bytes that this process has held.

    Linux keeps it with the process's own memory; `getrusage` there would count its parent's.
    """
    if found := _status("VmHWM"):
        return found
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _status(key: str) -> int:
    """Read a field of /proc/self/status, bytes; 0 where it is missing."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    found = (line.split()[1] for line in lines if line.startswith(f"{key}:"))
    return 1024 * int(next(found, "0"))


def main(text: str) -> None:
    """Read a task, print its measurement or its known error."""
    record = json.loads(text)
    lists = {"size": tuple(record["size"]), "sequences": tuple(record["sequences"])}
    try:
        answer = asdict(measure(Task(**record | lists)))
    except DepthkitError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1])
