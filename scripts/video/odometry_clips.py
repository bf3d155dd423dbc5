#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How far the geometric odometry is from the truth on real clips: one configuration, one table.

Each clip is a sequence folder and a file of true poses (TUM rows, or 3x4 matrices, one a frame).
The poses that are scored are the live ones, of the longest segment; a frame without one lowers the
coverage. `still` and `straight` are what standing still and going straight on at constant speed
would score with the same alignment. The truth is read for the score alone, but for `speed`: there
each step's true length stands for a speed sensor. The columns:

    ATE         RMS error of position after alignment, metres
    t_rel       translation error over 100 to 800 m, %; on roads only
    coverage    share of the frames with a true pose that have a scored pose
    smoothed    ATE of all frames by the final keyframes
    length      path over the true one, less one, %; where it is metric
    losses      times that tracking was lost, and segments
    ms, p95     CPU time a frame: mean and 95th percentile

`every=N` takes every N-th frame: a slow camera or a fast one's shakes.

Usage: python scripts/video/odometry_clips.py NAME=SEQUENCE:POSES[:option]... ... [--features MODEL]
Options of a clip: height=M, speed, imu, every=N
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from depthkit.data.sequence import open_sequence
from depthkit.evaluation.odometry import OdometryScore, score_odometry
from depthkit.runtime.motion.told import NO_MOTION, Motion
from depthkit.runtime.odometry.finder import Finder, open_finder
from depthkit.runtime.odometry.geometric import GeometricConfig, GeometricOdometry, SmoothedPath
from depthkit.runtime.result import OdometryResult
from depthkit.runtime.streams import NO_IMU
from depthkit.trajectory import Trajectory, interpolate_poses, load_tum


@dataclass(frozen=True, eq=False)
class Clip:
    """A clip with its truth and its source of scale."""

    name: str
    folder: Path
    truth: np.ndarray
    """T_world_cam of each frame, NaN where unknown. (N, 4, 4)"""
    height: float
    speed: bool
    imu: bool
    every: int = 1
    """Every n-th frame is taken."""

    @property
    def metric(self) -> bool:
        """Whether there is a source of scale."""
        return self.height > 0 or self.speed or self.imu

    @property
    def times(self) -> np.ndarray:
        """Stamps of the frames that are taken, seconds. (N,)"""
        return open_sequence(self.folder).times[:: self.every]


def parse(text: str) -> Clip:
    """Read NAME=SEQUENCE:POSES[:option]... of the command line."""
    name, _, rest = text.partition("=")
    folder, poses, *options = rest.split(":")
    values = dict(one.split("=") for one in options if "=" in one)
    every = int(values.get("every", 1))
    return Clip(
        name,
        Path(folder),
        truth_of(Path(poses), open_sequence(Path(folder)).times)[::every],
        float(values.get("height", 0.0)),
        "speed" in options,
        "imu" in options,
        every,
    )


def truth_of(path: Path, times: np.ndarray) -> np.ndarray:
    """Read true poses of frames: matrices by row, else TUM rows interpolated. (N, 4, 4)"""
    width = len(path.read_text(encoding="utf-8").splitlines()[-1].split())
    if width == 12:
        rows = np.loadtxt(path).reshape(-1, 3, 4)[: len(times)]
        last = np.broadcast_to([0.0, 0, 0, 1], (len(rows), 1, 4))
        return np.concatenate([rows, last], axis=1)
    return interpolate_poses(load_tum(path), times, max_gap=0.15)[0]


def run(
    clip: Clip, finder: Finder, *, loops: bool = False
) -> tuple[list[OdometryResult], SmoothedPath, np.ndarray]:
    """Follow a clip; returns results, smoothed path and CPU milliseconds a frame."""
    sequence = open_sequence(clip.folder)
    imu = sequence.imu if clip.imu else None
    config = GeometricConfig(camera_height=clip.height, loops=loops)
    odometry = GeometricOdometry(config, imu=imu, valid=sequence.read_valid(), finder=finder)
    results, spent, before = [], [], -np.inf
    for i, stamp in enumerate(clip.times):
        rgb = sequence.read_frame(i * clip.every)
        step = clip.truth[i, :3, 3] - clip.truth[max(i - 1, 0), :3, 3]
        motion = Motion(displacement=float(np.linalg.norm(step))) if clip.speed else NO_MOTION
        rows = NO_IMU if imu is None else imu.between(before, stamp)
        start, before = time.process_time(), stamp
        results.append(
            odometry.process(rgb, stamp=stamp, K=sequence.camera.K, imu=rows, motion=motion)
        )
        spent.append(1e3 * (time.process_time() - start))
    return results, odometry.smoothed(), np.array(spent)


def score(clip: Clip, stamps: np.ndarray, poses: np.ndarray) -> OdometryScore:
    """Score poses at some of the frames' stamps."""
    times = clip.times
    known = np.isfinite(clip.truth).all(axis=(1, 2))
    reference = Trajectory(times[: len(clip.truth)][known], clip.truth[known])
    mode = "6dof" if clip.metric else "7dof"
    return score_odometry(reference, Trajectory(stamps, poses), mode=mode, max_gap=1e-3)


def losses(results: list[OdometryResult]) -> int:
    """Count the frames at which tracking was lost or broken off after it had begun."""
    known = [not one.reason for one in results]
    return sum(before and not now for before, now in zip(known, known[1:], strict=False))


def row(clip: Clip, finder: Finder, *, loops: bool = False) -> str:
    """Run a clip and write its row."""
    results, smoothed, spent = run(clip, finder, loops=loops)
    good = [one for one in results if not one.reason and (one.scale == "metric") == clip.metric]
    segments = [one.segment for one in good]
    longest = max(dict.fromkeys(segments), key=segments.count)
    live = [one for one in good if one.segment == longest]
    poses = np.stack([one.T_world_cam for one in live])
    found = score(clip, np.array([one.stamp for one in live]), poses)
    whole = smoothed.metric if clip.metric else smoothed.segments == longest
    later = score(clip, smoothed.stamps[whole], smoothed.poses[whole])
    index = np.searchsorted(clip.times, [one.stamp for one in live])
    lengths = [
        np.linalg.norm(np.diff(one[:, :3, 3], axis=0), axis=1).sum()
        for one in (poses, clip.truth[index])
    ]
    cells = [
        clip.name,
        f"{found.ate_m:.4f}",
        "-" if found.t_rel_percent is None else f"{found.t_rel_percent:.2f}",
        f"{found.coverage:.3f}",
        f"{later.ate_m:.4f} ({later.coverage:.3f})",
        f"{100 * (lengths[0] / lengths[1] - 1):+.1f}" if clip.metric else "relative",
        f"{found.ate_still_m:.2f} / {found.ate_straight_m:.2f}",
        f"{losses(results)}, {len(set(segments))}",
        f"{spent.mean():.0f}, {np.percentile(spent, 95):.0f}",
    ]
    return " | ".join(cells)


HEAD = (
    "clip | ATE | t_rel | coverage | smoothed | length | still / straight | losses, segments | "
    "ms, p95"
)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="+", type=parse, metavar="NAME=SEQUENCE:POSES[:option]")
    parser.add_argument("--features", type=Path, help="ONNX file of kind features (default: SIFT)")
    parser.add_argument("--loops", action="store_true", help="look for loops, which also use them")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    finder = open_finder(features=args.features)
    print(HEAD)
    for clip in args.clips:
        print(row(clip, finder, loops=args.loops), flush=True)


if __name__ == "__main__":
    main()
