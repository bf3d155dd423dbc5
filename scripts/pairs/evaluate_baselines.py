#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Rules that choose baselines, side by side on the same frames: a table, JSON, pictures over time.

Fixed shifts, best of N (A), nearest to the nominal baseline (B), feedback (C) and multi-range, each
a DepthStream of its own, frame by frame in turn. The streams get the true positions and, with
--attitude-noise, a disturbed attitude: half of its variance is smooth (about 20 frames), half
white. Every pixel with a truth and a depth counts, trusted or not, without any scaling; a frame
that a rule refuses lowers its coverage. The last columns are over the frames that all answered.

Usage: python scripts/pairs/evaluate_baselines.py MODEL.onnx DATA... --out DIR
       [--attitude-noise 0.15]
(DATA: sequence folders or data sets with poses and metric depth)
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
from baseline_report import Answer, Film, picture, summarise, table

from depthkit.data.sequence import Sequence, open_dataset
from depthkit.errors import DataError
from depthkit.evaluation.depth import DepthProtocol, depth_metrics, scored_pixels
from depthkit.evaluation.sparsification import PixelSample
from depthkit.rigid import exp_se3
from depthkit.runtime.config import BaselineConfig
from depthkit.runtime.depth.depth_engine import DepthEngine
from depthkit.runtime.depth.depth_stream import DepthStream
from depthkit.runtime.motion.told import Motion
from depthkit.runtime.result import DepthResult

ADAPTIVE = {"A best": "best_of_n", "B near": "nearest", "C feed": "feedback"}
ADAPTIVE["ranges"] = "multi_range"
SMOOTH = 10  # frames, sigma of the smooth half of the attitude noise


def main() -> None:
    """Run all rules over all sequences."""
    args = read_arguments()
    cv2.setNumThreads(args.threads)
    protocol = DepthProtocol(max_depth=args.max_depth)
    rules = rule_configs(args.shifts, args.capacity)
    samples = {name: PixelSample() for name in rules}
    args.out.mkdir(parents=True, exist_ok=True)
    engine = DepthEngine.open(
        args.model, backend=args.backend, threads=args.threads, precision=args.precision
    )
    with engine:
        films = []
        for k, sequence in enumerate(sequences(args.data)):
            streams = {name: DepthStream(engine, config) for name, config in rules.items()}
            film = run_film(sequence, streams, samples, args=args, protocol=protocol, seed=k)
            picture(args.out / f"{film.name}.png", film)
            films.append(film)
            print(f"{film.name}: {len(film.frames)} frames scored", flush=True)
        runtime = {"backend": engine.backend.name, "precision": engine.backend.precision}
    summary = summarise(films, samples)
    text = table(summary)
    print(text)
    (args.out / "table.txt").write_text(text + "\n", encoding="utf-8")
    about = {k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items()}
    about |= runtime | {"data": [str(path) for path in args.data]}
    configs = {name: asdict(config) for name, config in rules.items()}
    record = {"about": about, "rules": configs, **summary, "films": [asdict(f) for f in films]}
    (args.out / "baselines.json").write_text(json.dumps(record), encoding="utf-8")


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shifts", type=int, nargs="+", default=[1, 3, 10], help="fixed ones")
    parser.add_argument("--capacity", type=int, default=None, help="of the ring, frames")
    parser.add_argument(
        "--attitude-noise", type=float, default=0.0, metavar="DEG", help="sigma about each axis"
    )
    parser.add_argument("--every", type=int, default=1, help="take every N-th frame only")
    parser.add_argument("--warm", type=int, default=10, help="frames before the first scored one")
    parser.add_argument("--max-depth", type=float, default=80.0, help="metres of truth scored")
    parser.add_argument("--seed", type=int, default=0, help="of the attitude noise")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--precision", default="default")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def rule_configs(shifts: list[int], capacity: int | None) -> dict[str, BaselineConfig]:
    """Return what is compared."""
    ring = {} if capacity is None else {"capacity": capacity}
    fixed = {
        f"fixed {shift}": BaselineConfig(rule="fixed", shift=shift, **ring) for shift in shifts
    }
    return fixed | {name: BaselineConfig(rule=rule, **ring) for name, rule in ADAPTIVE.items()}


def sequences(roots: list[Path]) -> Iterator[Sequence]:
    """Open all sequences of all folders; they must hold poses and metric depth."""
    for root in roots:
        data = open_dataset(root)
        for name in data.train + data.val + data.test:
            sequence = data.open(name)
            if sequence.poses is None or sequence.depth_kind != "metric":
                raise DataError(f"{sequence.root}: needs poses and metric depth")
            yield sequence


def disturbed(poses: np.ndarray, degrees: float, *, seed: tuple[int, int]) -> np.ndarray:
    """Turn each camera by noise in its own axes, positions kept. (N, 4, 4)"""
    if degrees == 0:
        return poses
    rng = np.random.default_rng(seed)
    white, smooth = rng.normal(size=(2, len(poses), 3))
    smooth = cv2.GaussianBlur(smooth, (1, 8 * SMOOTH + 1), sigmaX=1, sigmaY=SMOOTH)
    smooth /= smooth.std()
    angles = np.radians(degrees) * np.sqrt(0.5) * (white + smooth)
    return poses @ exp_se3(np.concatenate([np.zeros_like(angles), angles], axis=1))


def run_film(
    sequence: Sequence,
    streams: dict[str, DepthStream],
    samples: dict[str, PixelSample],
    *,
    args: argparse.Namespace,
    protocol: DepthProtocol,
    seed: int,
) -> Film:
    """Give every frame to every stream and score it from the first warm one on."""
    film = Film(sequence.name, answers={name: [] for name in streams})
    poses, K = sequence.poses, sequence.camera.K
    given = disturbed(poses, args.attitude_noise, seed=(args.seed, seed))
    taken = range(0, len(sequence), args.every)
    for count, i in enumerate(taken):
        rgb, stamp = sequence.read_frame(i), float(sequence.times[i])
        results = {}
        for name, stream in streams.items():
            start = time.perf_counter()
            result = stream.process(rgb, stamp=stamp, K=K, motion=Motion(given[i]))
            results[name] = result, 1e3 * (time.perf_counter() - start)
        gt = sequence.read_depth(i)
        if count < args.warm or not scored_pixels(gt, None, protocol).any():
            continue
        moved = np.linalg.norm(poses[i, :3, 3] - poses[taken[count - 1], :3, 3])
        film.frames.append(i)
        film.stamps.append(stamp)
        film.speed.append(float(moved / (stamp - sequence.times[taken[count - 1]])))
        for name, (result, ms) in results.items():
            film.answers[name].append(judge(result, gt, ms, protocol, samples[name]))
    return film


def judge(
    result: DepthResult, gt: np.ndarray, ms: float, protocol: DepthProtocol, sample: PixelSample
) -> Answer:
    """Score one result and take pixels of it for the sparsification curve."""
    decision, score, trusted = result.decision, None, 0.0
    if result.depth is not None:
        depth = np.where(np.isfinite(result.depth), result.depth, 0)
        wanted = scored_pixels(gt, None, protocol) & (depth > 0)
        if wanted.any():
            score = depth_metrics(depth, gt, **asdict(protocol))
        if result.confidence is not None:
            trusted = float(result.confidence.mean())
            clipped = depth.clip(protocol.min_depth, protocol.max_depth)
            error = np.abs(clipped - gt) / np.where(wanted, gt, 1)
            sample.add(error, result.confidence, wanted)
    chosen = (
        ((), (), ())
        if decision is None or score is None
        else (decision.shifts, decision.baselines, decision.parallax)
    )
    return Answer(score, ms, *chosen, trusted=trusted, reason=result.reason)


if __name__ == "__main__":
    main()
