#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Inference beside an anchor in one run, as JSON: what a robot runs against what others run.

The anchor is Monodepth2's network (ResNet18, its decoder with ELU) in eager PyTorch, fp32, at
192x640, its input ready as a tensor. Ours take uint8 frames, random weights unless named. All is
called in turn, with a pause in which idle threads go to sleep, so that a busy machine slows
everything alike: quote the ratios. It is not alike on a very busy one, where each thread waits for
the other: there quote the ratios of CPU time, with --threads 1. Memory is the peak of a process of
its own for each row. A runtime or precision that this machine lacks is a row with the reason.

    python scripts/speed/bench_inference.py --threads 2 [--pair sweepnet-stillbox]
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from depthkit.errors import EngineError

WARMUP = 5
PAUSE = 0.02  # seconds between calls: ONNX Runtime's threads spin for a while after each
MONO, PAIR = (192, 640), (256, 256)
RANGES = 3
PAIR_FOCAL = 64.0  # pixels, of the shipped network
CALIBRATION = 8  # pictures
ENGINES = (
    ("onnxruntime", "fp32"),
    ("onnxruntime", "int8"),
    ("openvino", "fp32"),
    ("openvino", "bf16"),
    ("openvino", "int8"),
)


def main() -> None:
    """Measure all and print one object, or one row's memory in a process of its own."""
    args = read_arguments()
    cv2.setNumThreads(args.threads)
    if args.child:
        run_alone(args)
        return
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(args, Path(folder)), indent=1))


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--pair", default="sweepnet-stillbox", help="weights that are streamed")
    parser.add_argument("--child", nargs=3, metavar=("MODEL", "BACKEND", "PRECISION"))
    return parser.parse_args()


def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Export, open, call in turn, report."""
    import torch

    torch.set_num_threads(args.threads)
    say("exporting the networks")
    runs, about, missing = engine_runs(export_all(folder), args.threads)
    streams, without = stream_calls(args, folder)
    times = time_in_turn({"anchor": anchor(torch)} | runs | streams, args.repeats)
    rows = {name: row(ms, times["anchor"]) for name, ms in times.items()}
    for name, flown in streams.items():
        rows[name]["baselines_a_frame"] = round(float(np.mean(flown.pairs[WARMUP:])), 2)
    for name, facts in about.items():
        say(f"peak memory of {name}")
        call = [facts.pop(key) for key in ("model", "backend", "precision")]
        rows[name] |= {"parity": facts, "peak_mb": memory(args, call)}
    rows["anchor"]["peak_mb"] = memory(args, ["anchor", "torch", "fp32"])
    return {
        "machine": platform.processor() or platform.machine(),
        "threads": args.threads,
        "repeats": args.repeats,
        "torch": torch.__version__,
        "sizes": {"mono": MONO, "pair": PAIR, "pairs in a batch": RANGES},
        "rows": rows | missing | without,
    }


def engine_runs(
    models: dict[tuple[str, str], Path], threads: int
) -> tuple[dict[str, Callable[[], Any]], dict[str, dict[str, Any]], dict[str, dict[str, str]]]:
    """Open every model in every engine.

    Returns:
        A run of each, what is known of it beside its times, and rows of the engines that this
        machine lacks.
    """
    from depthkit.runtime.network.backend import check_parity, open_backend

    runs, about, missing = {}, {}, {}
    rng = np.random.default_rng(0)
    every = [(model, *engine) for model in models for engine in ENGINES]
    for (name, stored), backend, wanted in every:
        if stored != ("int8" if wanted == "int8" else "fp32"):
            continue
        key, path = f"{name} {backend} {wanted}", models[name, stored]
        numbers = "default" if wanted == "int8" else wanted
        try:
            engine = open_backend(path, backend=backend, threads=threads, precision=numbers)
        except EngineError as error:
            missing[key] = {"unavailable": str(error)}
            continue
        parity = check_parity(engine)
        runs[key] = single_run(engine, rng)
        about[key] = {"worst": parity.worst, "median": parity.median, "model": str(path)}
        about[key] |= {"backend": backend, "precision": numbers}
    return runs, about, missing


def anchor(torch: Any) -> Callable[[], Any]:
    """Return Monodepth2's depth network on a ready tensor, in eager mode."""
    from depthkit.models.mono_depth import Conv3x3, build_depth_network

    net = build_depth_network("resnet18", min_depth=0.1, max_depth=100.0).eval()
    for module in net.modules():
        if isinstance(module, Conv3x3) and isinstance(module.activation, torch.nn.SiLU):
            module.activation = torch.nn.ELU(inplace=True)
    frame = torch.rand(1, 3, *MONO)

    def call() -> None:
        with torch.inference_mode():
            net(frame)

    return call


def export_all(folder: Path) -> dict[tuple[str, str], Path]:
    """Write the networks with random weights; return files by name and precision."""
    light = random_checkpoint(folder, "light", "model.depth=light", MONO)
    found = {
        ("light", precision): write(light, folder / f"light_{precision}.onnx", precision)
        for precision in ("fp32", "int8")
    }
    pair = "task=supervised_pair model.depth=depthnet data.shifts=[-3] model.width="
    for width in (1.0, 0.75):
        name = f"depthnet x{width:g}"
        run = random_checkpoint(folder, name, f"{pair}{width}", PAIR)
        found[name, "fp32"] = write(run, folder / f"{name}.onnx", "fp32")
    return found


def write(checkpoint: Path | str, out: Path, precision: str) -> Path:
    """Export a checkpoint; int8 is calibrated on random pictures."""
    from depthkit.export.model import Options, export_model
    from depthkit.tasks.loaded import load_task

    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (CALIBRATION, 12, 40, 3), np.uint8)
    frames = [{"frame": cv2.resize(image, MONO[::-1])[None]} for image in small]
    calibration = (lambda _: frames) if precision == "int8" else None
    export_model(load_task(checkpoint), out, Options(precision=precision), calibration=calibration)
    return out


def random_checkpoint(folder: Path, name: str, words: str, size: tuple[int, int]) -> Path:
    """Write a checkpoint as training does, of a network that has learnt nothing."""
    import torch

    from depthkit.config import TrainConfig
    from depthkit.config.strict_yaml import load_config, to_mapping
    from depthkit.models.checkpoint import save_checkpoint
    from depthkit.tasks import build_task

    torch.manual_seed(0)
    config = load_config(TrainConfig, None, [*words.split(), f"data.size=[{size[0]},{size[1]}]"])
    task = build_task(config, config.data.shifts)
    tensors = {f"task.{key}": value for key, value in task.state_dict().items()}
    state = {"config": to_mapping(config), "shifts": list(config.data.shifts), "sequences": []}
    state |= {"scale": "metric" if config.is_metric else "relative", "focal": PAIR_FOCAL}
    state |= {"commit": "random", "nominal_baseline": config.supervised.nominal_baseline}
    path = folder / f"{name}.safetensors"
    save_checkpoint(path, tensors, state)
    return path


def single_run(engine: Any, rng: np.random.Generator) -> Callable[[], Any]:
    """Return one run of a backend: a frame, or a batch of pairs."""
    manifest = engine.manifest
    names = ("frame",) if manifest.kind == "mono" else ("previous", "current")
    shape = (1 if manifest.kind == "mono" else RANGES, *manifest.size, 3)
    inputs = {name: rng.integers(0, 256, shape, np.uint8) for name in names}
    return lambda: engine.run(inputs)


def stream_calls(
    args: argparse.Namespace, folder: Path
) -> "tuple[dict[str, Flown], dict[str, dict[str, str]]]":
    """Return multi-range streams, whole frames in and depth out, on a rendered flight.

    Rows of runtimes and precisions that this machine lacks come second.
    """
    from depthkit.runtime.config import BaselineConfig
    from depthkit.runtime.depth.depth_engine import DepthEngine
    from depthkit.runtime.depth.depth_stream import DepthStream

    path = write(args.pair, folder / "streamed.onnx", "fp32")
    flight = draw_flight(frames=60)
    calls, missing = {}, {}
    for backend, precision in ENGINES:
        if precision == "int8":
            continue
        key = f"stream {args.pair} {backend} {precision}"
        try:
            engine = DepthEngine.open(
                path, backend=backend, threads=args.threads, precision=precision
            )
        except EngineError as error:
            missing[key] = {"unavailable": str(error)}
            continue
        stream = DepthStream(engine, BaselineConfig(rule="multi_range", ranges=RANGES))
        calls[key] = Flown(stream, flight)
    return calls, missing


def draw_flight(frames: int) -> Any:
    """Render a flight that the network sees at its own focal length, near and far solids in it."""
    from depthkit.synth.render import open_renderer
    from depthkit.synth.stillbox import StillboxOptions, make_stillbox_scene

    view = 2 * np.degrees(np.arctan(PAIR[1] / 2 / PAIR_FOCAL))
    options = StillboxOptions(field_of_view=float(view), step=(0.1, 0.1))
    scene = make_stillbox_scene(options, 1, frames=frames, size=PAIR)
    renderer = open_renderer("auto")
    renderer.load(scene)
    pictures = [renderer.render(i).rgb for i in range(frames)]
    renderer.close()
    return pictures, scene.T_world_cam, scene.camera.K


class Flown:
    """A stream and a flight, to and fro: a frame a call."""

    def __init__(self, stream: Any, flight: Any) -> None:
        self.stream = stream
        self.frames, self.poses, self.K = flight
        self.order = [*range(len(self.frames)), *range(len(self.frames) - 2, 0, -1)]
        self.count, self.pairs = 0, list[int]()

    def __call__(self) -> None:
        """Give the next frame."""
        i = self.order[self.count % len(self.order)]
        self.count += 1
        result = self.stream.process(
            self.frames[i], stamp=self.count / 30, K=self.K, T_world_cam=self.poses[i]
        )
        self.pairs.append(0 if result.decision is None else len(result.decision.shifts))


def time_in_turn(work: dict[str, Callable[[], Any]], repeats: int) -> dict[str, np.ndarray]:
    """Call everything in turn; return the milliseconds after the warm-up, clock and CPU. (N, 2)"""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in work}
    for turn in range(WARMUP + repeats):
        say(f"round {turn + 1} of {WARMUP + repeats}, {len(work)} rows")
        for name, call in work.items():
            time.sleep(PAUSE)
            start, own = time.perf_counter(), time.process_time()
            call()
            if turn >= WARMUP:
                spent = time.perf_counter() - start, time.process_time() - own
                times[name].append((1e3 * spent[0], 1e3 * spent[1]))
    return {name: np.array(spent) for name, spent in times.items()}


def row(times: np.ndarray, anchor_times: np.ndarray) -> dict[str, Any]:
    """Return what is said of one entry."""
    ms, cpu = np.median(times, axis=0)
    ratio = np.median(anchor_times, axis=0) / (ms, cpu)
    return {
        "ms": round(float(ms), 2),
        "p99_ms": round(float(np.percentile(times[:, 0], 99)), 2),
        "per_second": round(1e3 / float(ms), 1),
        "times_faster_than_anchor": round(float(ratio[0]), 2),
        "cpu_ms": round(float(cpu), 2),
        "times_less_cpu_than_anchor": round(float(ratio[1]), 2),
    }


def memory(args: argparse.Namespace, call: list[str]) -> float:
    """Return the peak of a process that does nothing but this, megabytes."""
    command = [sys.executable, __file__, "--threads", str(args.threads), "--child", *call]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def run_alone(args: argparse.Namespace) -> None:
    """Run one model a few times in this process and print its peak memory."""
    model, backend, precision = args.child
    if model == "anchor":
        import torch

        torch.set_num_threads(args.threads)
        call = anchor(torch)
    else:
        from depthkit.runtime.network.backend import open_backend

        engine = open_backend(model, backend=backend, threads=args.threads, precision=precision)
        call = single_run(engine, np.random.default_rng(0))
    for _ in range(WARMUP):
        call()
    print(peak_resident())


def say(text: str) -> None:
    """Show on stderr what is being done; stdout holds the result alone."""
    print(f"bench_inference: {text}", file=sys.stderr, flush=True)


def peak_resident() -> float:
    """Peak memory of this program, megabytes; ru_maxrss would begin with that of the parent."""
    with open("/proc/self/status", encoding="ascii") as file:
        line = next(line for line in file if line.startswith("VmHWM"))
    return round(int(line.split()[1]) / 1024, 1)


if __name__ == "__main__":
    main()
