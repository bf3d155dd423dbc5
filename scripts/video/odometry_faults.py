#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the geometric odometry does when something goes wrong: a table, one line a fault.

Faults are cut into clips that are given as sequence folders (turning on the spot, standing still, a
covered lens, lost frames, changing light, a bus that fills a third of the picture), and two kinds
of clip are rendered: one plane, and flights with a simulated IMU. The columns:

    known     share of the frames with a pose
    segments  number of segments with a motion
    still     largest distance from the place where the camera stopped, % of the scene's median
              depth: motion that was not there
    drift     error of the positions against the truth, or against the same clip without the fault,
              per segment with its own scale, RMS in % of the path's length
    ms        CPU time a frame
    metres    published metres over true ones, less one, %
    breaks    why segments ended

Usage: python scripts/video/odometry_faults.py SEQUENCE... [--only WORDS] [--minute]
"""

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import fault_clips as clips
import numpy as np
from fault_clips import Clip

from depthkit.data.sequence import open_sequence
from depthkit.runtime.odometry.geometric import GeometricOdometry
from depthkit.runtime.result import OdometryResult
from depthkit.trajectory.imu import load_imu

FRAMES, STOP = 180, 90  # frames of a clip that are used, and where a fault begins
WAITING = ("waiting for parallax", "first frame")


@dataclass(frozen=True, eq=False)
class Run:
    """Results of one clip."""

    clip: Clip
    results: list[OdometryResult]
    cpu_ms: float

    @property
    def known(self) -> np.ndarray:
        """Frames with a pose of a known motion. (N,) bool"""
        return np.array([one.reason == "" for one in self.results])


def read_clip(folder: Path, frames: int = FRAMES) -> Clip:
    """Read the first frames of a sequence."""
    sequence = open_sequence(folder)
    stamps = np.asarray(sequence.times[:frames])
    paths = sorted((folder / "frames").iterdir())[:frames]
    camera = sequence.camera
    K = np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1.0]])
    pictures = [partial(_read, path) for path in paths]
    return Clip(folder.name, pictures, stamps, K, imu=load_imu(folder))


def _read(path: Path) -> np.ndarray:
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def run(clip: Clip) -> Run:
    """Run the odometry over a clip."""
    cv2.setNumThreads(1)
    odometry, results = GeometricOdometry(imu=clip.imu), []
    started, before = time.process_time(), -np.inf
    for picture, stamp in zip(clip.pictures, clip.stamps, strict=True):
        extra = {} if clip.imu is None else {"imu": clip.imu.between(before, stamp)}
        results.append(odometry.process(picture(), stamp=float(stamp), K=clip.K, **extra))
        before = stamp
    spent = 1e3 * (time.process_time() - started) / len(results)
    return Run(clip, results, spent)


# --- measures -------------------------------------------------------------------------------------


def moved_while_still(run: Run) -> float:
    """Largest published distance from where the camera stopped, in median depths; NaN if none."""
    if run.clip.still is None:
        return float("nan")
    first, last = run.clip.still
    worst, places = 0.0, dict[int, np.ndarray]()
    depth = 1.0
    for result in run.results[: last + 1]:
        depth = _median_depth(result, depth)
        if result.stamp < run.clip.stamps[first]:
            continue
        place = result.T_world_cam[:3, 3]
        worst = max(
            worst, float(np.linalg.norm(place - places.setdefault(result.segment, place))) / depth
        )
    return worst


def _median_depth(result: OdometryResult, before: float) -> float:
    points = result.points
    if points is None or (points.sigma < 0.2).sum() < 10:
        return before
    there = points.positions[points.sigma < 0.2] - result.T_world_cam[:3, 3]
    return float(np.median(there @ result.T_world_cam[:3, 2]))


def drift(run: Run) -> float:
    """RMS error of the positions, each segment at its own scale, per length of the path."""
    truth = run.clip.truth
    if truth is None:
        return float("nan")
    squared, count = 0.0, 0
    numbers = np.array([one.segment for one in run.results])
    P = np.stack([one.T_world_cam for one in run.results])[:, :3, 3]
    good = run.known & np.isfinite(truth).all(axis=(1, 2))
    for number in np.unique(numbers[good]):
        mine = good & (numbers == number)
        if mine.sum() >= 5:
            squared += (_aligned(P[mine], truth[mine, :3, 3])[0] ** 2).sum()
            count += int(mine.sum())
    length = np.linalg.norm(np.diff(truth[good, :3, 3], axis=0), axis=1).sum()
    return float(np.sqrt(squared / count) / length) if count else float("nan")


def _aligned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, float]:
    """Errors of positions after the best similarity [Umeyama, 1991] (N,), and its scale."""
    a, b = x - x.mean(axis=0), y - y.mean(axis=0)
    U, s, Vt = np.linalg.svd(b.T @ a)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(U @ Vt))])
    R = U @ np.diag(sign) @ Vt
    scale = (s * sign).sum() / max((a**2).sum(), 1e-12)
    return np.linalg.norm(scale * a @ R.T - b, axis=1), float(scale)


def metric_scale(run: Run) -> float:
    """Metres published over true metres, less one; NaN without metres."""
    truth = run.clip.truth
    metric = run.known & np.array([one.scale == "metric" for one in run.results])
    if truth is None or run.clip.imu is None or metric.sum() < 10:
        return float("nan")
    P = np.stack([one.T_world_cam for one in run.results])
    return 1 / _aligned(P[metric, :3, 3], truth[metric, :3, 3])[1] - 1


def breaks(run: Run) -> str:
    """Why motion is unknown at frames, but for those before a start; each with its count."""
    words = Counter(
        one.reason.split(":")[0] if one.reason.startswith("lost") else one.reason
        for one in run.results
        if one.reason and not one.reason.startswith(WAITING)
    )
    return "; ".join(f"{reason} x{count}" for reason, count in words.items()) or "none"


def line(run: Run) -> str:
    """One row of the table."""
    moving = {one.segment for one, good in zip(run.results, run.known, strict=True) if good}
    states = dict.fromkeys(one.scale_state.state for one in run.results)
    percent = [_percent(value(run)) for value in (moved_while_still, drift, metric_scale)]
    return (
        f"{run.clip.name:42s} {len(run.results):5d} {run.known.mean():6.2f} {len(moving):4d} "
        f"{percent[0]:>8s} {percent[1]:>8s} {percent[2]:>8s} {run.cpu_ms:5.0f}  "
        f"{'>'.join(states):22s} {breaks(run)}"
    )


def _percent(value: float) -> str:
    return "-" if np.isnan(value) else f"{100 * value:.2f}"


# --- the clips ------------------------------------------------------------------------------------


def faults_of(base: Clip, *, minute: bool) -> Iterator[Clip]:
    """Cut every fault into one clip; `base.truth` is what the odometry makes of it unharmed."""
    yield replace(base, name="as it is")
    yield clips.rotations(base, 0, most=12, frames=90)
    yield clips.rotations(base, STOP, most=12, frames=90)
    yield clips.rotations(base, STOP, most=45, frames=180)
    for at in (0, STOP):
        yield clips.standing(base, at, frames=1800 if minute else 150)
    rate = 1 / np.median(np.diff(base.stamps))
    for seconds in (0.5, 2.0):
        covered = range(STOP, min(STOP + round(seconds * rate), FRAMES - 20))
        yield clips.changed(base, f"covered {seconds} s, black", clips.black, covered)
        yield clips.changed(base, f"covered {seconds} s, noise", clips.dark_noise, covered)
    yield clips.without(base, "a second lost", STOP, min(STOP + round(rate), FRAMES - 20))
    yield clips.changed(base, "flicker, gain 0.5 to 1.5", clips.flicker, range(20, FRAMES))
    yield clips.changed(base, "rolling bands, 0.6 to 1.4", clips.band, range(20, FRAMES))
    for frames in (30, 60):
        change = partial(clips.bus, start=STOP, frames=frames)
        span = range(STOP, STOP + frames)
        yield clips.changed(base, f"bus, {frames} frames, moving", change, span)
        halt = clips.standing(base, STOP, frames=90)
        yield clips.changed(halt, f"bus, {frames} frames, standing", change, span)
    stand = clips.standing(base, 0, frames=90)
    change = partial(clips.bus, start=5, frames=80)
    yield clips.changed(stand, "bus, 80 frames, standing from the start", change, range(5, 85))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sequences", nargs="*", type=Path)
    parser.add_argument("--only", default="", help="clips whose name contains this")
    parser.add_argument("--minute", action="store_true", help="stand still for a minute, not 5 s")
    args = parser.parse_args()
    print(f"{'clip':42s} frames known segm  still %  drift % metres %  ms  scale, breaks")
    for folder in args.sequences:
        base = replace(read_clip(folder), imu=None)
        print(f"--- {folder.name}")
        base = replace(base, truth=np.stack([one.T_world_cam for one in run(base).results]))
        for clip in faults_of(base, minute=args.minute):
            if args.only in clip.name:
                print(line(run(clip)), flush=True)
    print("--- rendered")
    if args.only in "one plane":
        print(line(run(clips.plane_clip())), flush=True)
    for grade in ("adis", "phone"):
        if args.only in f"flight, {grade}":
            print(line(run(clips.flight(grade))), flush=True)


if __name__ == "__main__":
    main()
