# SPDX-License-Identifier: Apache-2.0
"""Depth of the sweep along a road without sensor depth: against corners that true poses tell.

Motion by the geometric odometry with the height of the camera, live. The truth is sparse: corners
followed from frames 5, 10 and 20 m back and triangulated with the poses of the sequence, where two
or more of them agree within 5 %. They are easy to match, so the error elsewhere is larger.

Usage: python scripts/sweep/road_tracks.py NAME=SEQUENCE ... [--height 1.65] [--every N]
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

import depthkit
from depthkit.data.sequence import Sequence
from depthkit.multiview.pose_correction import correct_poses
from depthkit.rigid import inverse
from depthkit.runtime import GeometricConfig, GeometricOdometry, SweepStream
from depthkit.runtime.motion.told import Motion
from depthkit.runtime.result import CONFIDENT_SIGMA

WAYS = (5.0, 10.0, 20.0)
"""Distances back of the frames that triangulate, metres."""
SAME = 0.05
"""Largest relative difference of the depths that they tell of a corner."""
NEAR, FAR = 2.0, 60.0
"""Depths that count, metres."""


def main() -> None:
    """Print one Markdown row a sequence."""
    cv2.setNumThreads(1)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", nargs="+", metavar="NAME=SEQUENCE")
    parser.add_argument("--height", type=float, default=1.65)
    parser.add_argument("--every", type=int, default=10)
    options = parser.parse_args()
    print("| clip | abs_rel; median | measured (share) | corners | best constant |")
    print("| --- " * 5 + "|")
    for clip in options.clips:
        name, _, folder = clip.partition("=")
        row = score(depthkit.open_sequence(Path(folder)), options.height, options.every)
        print("| " + " | ".join([name, *row]) + " |", flush=True)


def score(sequence: Sequence, height: float, every: int) -> list[str]:
    """Follow a sequence, sweep it and compare with the corners."""
    odometry = GeometricOdometry(GeometricConfig(camera_height=height))
    stream, segment, K, rows = SweepStream(), 0, sequence.camera.K, []
    for i, stamp in enumerate(sequence.times):
        rgb = sequence.read_frame(i)
        moved = odometry.process(rgb, stamp=float(stamp), K=K)
        if moved.segment != segment:
            stream.reset()
            segment = moved.segment
        known = moved.T_previous_current is not None and moved.scale == "metric"
        motion = Motion(moved.T_world_cam if known else None)
        result = stream.process(rgb, stamp=float(stamp), K=K, motion=motion)
        if i % every == 0 and result.depth is not None:
            pixels, truth = corners(sequence, i)
            u, v = np.rint(pixels).astype(int).T
            rows.append(np.stack([result.depth[v, u], result.sigma[v, u], truth]))
    depth, sigma, truth = np.concatenate(rows, axis=1)
    error, sure = np.abs(depth / truth - 1), sigma <= CONFIDENT_SIGMA
    constant = np.sort(truth)[np.searchsorted(np.cumsum(1 / np.sort(truth)), (1 / truth).sum() / 2)]
    return [
        f"{error.mean():.3f}; {np.median(error):.3f}",
        f"{error[sure].mean():.3f} ({sure.mean():.2f})",
        f"{len(truth)} in {len(rows)} frames",
        f"{np.abs(constant / truth - 1).mean():.3f}",
    ]


def corners(sequence: Sequence, frame: int) -> tuple[np.ndarray, np.ndarray]:
    """Return corners of a frame (N, 2) and the depth that the given poses triangulate (N,)."""
    poses = sequence.poses
    way = np.linalg.norm(poses[:frame, :3, 3] - poses[frame, :3, 3], axis=1)
    past = [int(np.abs(way - back).argmin()) for back in WAYS if len(way) and way.max() >= back]
    if not past:
        return np.zeros((0, 2)), np.zeros(0)
    target = grey(sequence, frame)
    found: dict[tuple[float, float], list[float]] = {}
    for i in past:
        T = (inverse(poses[i]) @ poses[frame])[None]
        views = [grey(sequence, i)]
        one = correct_poses(target, views, T, K=sequence.camera.K, inverse_depth=0.05, keep=True)
        for pixel, q in zip(one.pixels, one.inverse_depths, strict=True):
            found.setdefault((pixel[0], pixel[1]), []).append(q)
    # Each way back must tell the same depth; the longest one tells it best.
    kept = [(pixel, q) for pixel, q in found.items() if agree(q)]
    return np.array([pixel for pixel, _ in kept]).reshape(-1, 2), np.array(
        [1 / q[-1] for _, q in kept]
    )


def agree(inverse_depths: list[float]) -> bool:
    """Whether two or more ways back tell the same depth of a corner within the range."""
    q = np.array(inverse_depths)
    inside = bool((q > 1 / FAR).all() and (q < 1 / NEAR).all())
    return len(q) > 1 and inside and float(q.max() / q.min()) < 1 + SAME


def grey(sequence: Sequence, frame: int) -> np.ndarray:
    """Return a frame in grey. (H, W) uint8"""
    return cv2.cvtColor(sequence.read_frame(frame), cv2.COLOR_RGB2GRAY)


if __name__ == "__main__":
    main()
