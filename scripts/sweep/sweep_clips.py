# SPDX-License-Identifier: Apache-2.0
"""Depth of the sweep on sequences with truth, beside the best constant and one classical pair.

Metres, nothing scaled to the truth, one configuration for all. Every frame is streamed, every n-th
is scored. With --noise the poses are disturbed: each attitude by a normal error of so many degrees,
each position by one of so many percent of the way in a second. With --odometry the motion is
that of the geometric odometry on the same frames, live, and one known distance gives metres:
between the places of the camera at the first frame of the longest segment and farthest from it.

Usage: python scripts/sweep/sweep_clips.py NAME=SEQUENCE ... [--every N] [--odometry]
       [--noise DEG:PERCENT ...]
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

import depthkit
from depthkit.data.sequence import Sequence
from depthkit.evaluation.sparsification import sparsification
from depthkit.multiview.classical import classical_depth
from depthkit.rigid import exp_se3, inverse
from depthkit.runtime.depth.sweep_confidence import BAND
from depthkit.runtime.depth.sweep_config import SweepConfig
from depthkit.runtime.depth.sweep_stream import SweepStream
from depthkit.runtime.motion.told import Motion, usual_gap
from depthkit.runtime.odometry.geometric import GeometricOdometry
from depthkit.runtime.result import CONFIDENT_SIGMA, DepthResult

MAX_DEPTH = 80.0
PAIR = 0.15
"""Baseline of the classical pair, as a share of the median depth."""
COLUMNS = (
    "clip",
    "all: abs_rel / median / a1",
    "confident (coverage)",
    "90 % band, AUSE",
    "frames",
    "DIS, one pair",
    "best constant of each frame",
)


def main() -> None:
    """Print one Markdown row a clip and noise."""
    cv2.setNumThreads(1)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", nargs="+", metavar="NAME=SEQUENCE")
    parser.add_argument("--every", type=int, default=10)
    parser.add_argument("--noise", nargs="*", default=["0:0"], metavar="DEG:PERCENT")
    parser.add_argument("--odometry", action="store_true")
    options = parser.parse_args()
    print("| " + " | ".join(COLUMNS) + " |\n" + "| --- " * len(COLUMNS) + "|")
    for clip in options.clips:
        name, _, folder = clip.partition("=")
        for noise in options.noise:
            degrees, percent = (float(part) for part in noise.split(":"))
            sequence = depthkit.open_sequence(Path(folder))
            poses = disturbed(sequence, degrees, percent)
            row = score(sequence, options.every, followed(sequence) if options.odometry else poses)
            label = name if noise == "0:0" else f"{name}, {degrees:g} deg, {percent:g} %"
            print("| " + " | ".join([label, *row]) + " |", flush=True)


def score(sequence: Sequence, every: int, poses: np.ndarray) -> list[str]:
    """Stream a sequence with poses, NaN where unknown, and sum up its scored frames."""
    stream = SweepStream(SweepConfig(max_gap=usual_gap(sequence.times)))
    rows, constants, pairs, frames = [], [], [], 0
    for i, T in enumerate(poses):
        rgb, stamp = sequence.read_frame(i), float(sequence.times[i])
        motion = Motion(T if np.isfinite(T).all() else None)
        result = stream.process(rgb, stamp=stamp, K=sequence.camera.K, motion=motion)
        truth = sequence.read_depth(i) if i % every == 0 else np.zeros((1, 1))
        if not (truth > 0).any():
            continue
        frames += 1
        known = truth[truth > 0]
        constants.append(relative(np.full_like(known, best_constant(known)), known).mean())
        if result.depth is not None:
            rows.append(figures(result, truth))
            pairs.append(classical(sequence, poses[: i + 1], truth))
    mean = np.nanmean(rows, axis=0)
    return [
        f"{mean[0]:.3f} / {mean[1]:.3f} / {mean[2]:.2f}",
        f"{mean[3]:.3f} ({mean[4]:.2f})",
        f"{mean[5]:.2f}, {mean[6]:.2f}",
        f"{len(rows)} of {frames}",
        f"{np.nanmean(pairs):.3f}",
        f"{np.mean(constants):.3f}",
    ]


def figures(result: DepthResult, truth: np.ndarray) -> list[float]:
    """Return abs_rel, median, a1; confident abs_rel and coverage; coverage of the band; AUSE."""
    known = truth > 0
    depth, sigma = np.asarray(result.depth)[known], np.asarray(result.sigma)[known]
    error, sure = relative(depth, truth[known]), sigma <= CONFIDENT_SIGMA
    logs = np.abs(np.log(depth / truth[known]))
    confident = float(error[sure].mean()) if sure.any() else float("nan")
    inside = float((logs < BAND * sigma).mean())
    a1 = float((logs < np.log(1.25)).mean())
    shown = [float(error.mean()), float(np.median(error)), a1]
    return [*shown, confident, float(sure.mean()), inside, sparsification(error, -sigma).ause]


def classical(sequence: Sequence, poses: np.ndarray, truth: np.ndarray) -> float:
    """Return abs_rel of DIS flow from the last pose's frame to the one whose baseline suits it."""
    frame = len(poses) - 1
    wanted = PAIR * float(np.median(truth[truth > 0]))
    apart = np.linalg.norm(poses[:frame, :3, 3] - poses[frame, :3, 3], axis=1)
    source = int(np.nanargmin(np.abs(apart - wanted)))
    T = inverse(poses[source]) @ poses[frame]
    views = sequence.read_frame(frame), sequence.read_frame(source)
    depth, _ = classical_depth(*views, T, K=sequence.camera.K, max_depth=MAX_DEPTH)
    return float(relative(depth, truth)[truth > 0].mean())


def relative(depth: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return |d - t| / t, 0 where truth is unknown."""
    return np.where(truth > 0, np.abs(depth - truth) / np.where(truth > 0, truth, 1), 0)


def best_constant(truth: np.ndarray) -> float:
    """Return the depth with the least mean relative error: the median weighted by 1 / t."""
    values = np.sort(truth[truth > 0])
    weights = np.cumsum(1 / values)
    return float(values[np.searchsorted(weights, weights[-1] / 2)])


def followed(sequence: Sequence) -> np.ndarray:
    """Return live poses of the odometry in metres by one known distance. (N, 4, 4)"""
    odometry, found, segments = GeometricOdometry(), [], []
    for i, stamp in enumerate(sequence.times):
        result = odometry.process(sequence.read_frame(i), stamp=float(stamp), K=sequence.camera.K)
        known = result.T_previous_current is not None
        found.append(result.T_world_cam if known else np.full((4, 4), np.nan))
        segments.append(result.segment if known else -1)
    longest = max(set(segments) - {-1}, key=segments.count)
    poses = np.stack(found)
    poses[np.array(segments) != longest] = np.nan
    true = given(sequence)
    inside = np.flatnonzero(np.isfinite(poses[: len(true), 0, 3]))
    apart = [np.linalg.norm(T[inside, :3, 3] - T[inside[0], :3, 3], axis=1) for T in (poses, true)]
    farthest = int(apart[1].argmax())
    poses[:, :3, 3] *= apart[1][farthest] / apart[0][farthest]
    return poses


def given(sequence: Sequence) -> np.ndarray:
    """Return the poses of a sequence; frames without one at its end are cut off. (N, 4, 4)"""
    if sequence.poses is None:
        raise SystemExit(f"{sequence.root}: has no poses")
    return sequence.poses[np.isfinite(sequence.poses).all(axis=(1, 2))]


def disturbed(sequence: Sequence, degrees: float, percent: float) -> np.ndarray:
    """Return the poses with normal errors. (N, 4, 4)"""
    poses = given(sequence)
    second = max(1, round(1 / float(np.median(np.diff(sequence.times)))))
    second = min(second, len(poses) - 1)
    way = float(np.median(np.linalg.norm(poses[second:, :3, 3] - poses[:-second, :3, 3], axis=1)))
    rng = np.random.default_rng(0)
    turns = rng.normal(0, np.radians(degrees), (len(poses), 3))
    moves = rng.normal(0, percent / 100 * way, (len(poses), 3))
    errors = np.concatenate([moves, turns], axis=1)
    return np.stack([T @ exp_se3(error) for T, error in zip(poses, errors, strict=True)])


if __name__ == "__main__":
    main()
