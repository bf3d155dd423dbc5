#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A second session in the map of a first one: is it found, how soon, and how far from the truth?

The first session follows frames A to B and its map is written to a folder. The second session
reads that folder and follows frames C to D. Its poses in the map's frame are compared with the
truth after one similarity that lays the keyframes of the FIRST session on their truth: the second
session is not aligned, so that the errors hold those of both. The columns:

    found       first frame of the second session with a pose in the map, counted from 1
    share       share of the frames of the second session with a pose in the map
    error       position: median and 95th percentile; rotation: median; only of frames found
    unbroken    the same of one session that follows frames A to D, laid on A to B
    first path  true length of the first session
    map         keyframes, size on disk
    loops       what became of places seen again
    starts      many short second sessions, one begun at every N-th frame of C to D: the share that
                has a pose in the map within 1, 5, 15 and 30 frames, and the errors of these poses

Usage: python scripts/video/saved_map_clips.py NAME=SEQUENCE:POSES:A-B:C-D ... [--starts N]
"""

import argparse
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import odometry_clips as clips

from depthkit.data.sequence import Sequence, open_sequence
from depthkit.evaluation.alignment import Similarity
from depthkit.rigid import inverse, log_so3
from depthkit.runtime.odometry.finder import Finder, open_finder
from depthkit.runtime.odometry.geometric import GeometricConfig, GeometricOdometry
from depthkit.runtime.odometry.saved_map import SavedMap
from depthkit.runtime.odometry.saved_map_files import save_map

WITHIN = (1, 5, 15, 30)
"""Numbers of frames within which a short session should be found."""


@dataclass(frozen=True, eq=False)
class Pair:
    """Two stretches of one sequence."""

    name: str
    sequence: Sequence
    truth: np.ndarray
    """T_world_cam of each frame. (N, 4, 4)"""
    first: range
    second: range


def parse(text: str) -> Pair:
    """Read NAME=SEQUENCE:POSES:A-B:C-D of the command line."""
    name, _, rest = text.partition("=")
    folder, poses, *stretches = rest.split(":")
    sequence = open_sequence(Path(folder))
    ends = [tuple(map(int, one.split("-"))) for one in stretches]
    first, second = (range(a, min(b + 1, len(sequence))) for a, b in ends)
    truth = clips.truth_of(Path(poses), sequence.times)
    return Pair(name, sequence, truth, first, second)


def follow(
    pair: Pair, frames: range, finder: Finder
) -> tuple[GeometricOdometry, dict[int, np.ndarray]]:
    """Follow frames; return the odometry, and the poses in the map of an earlier session."""
    odometry = GeometricOdometry(GeometricConfig(), valid=pair.sequence.read_valid(), finder=finder)
    found = {}
    for i in frames:
        odometry.process(
            pair.sequence.read_frame(i), stamp=pair.sequence.times[i], K=pair.sequence.camera.K
        )
        if odometry.map_pose is not None:
            found[i] = odometry.map_pose.T_map_cam
    return odometry, found


def lay(saved: SavedMap, pair: Pair) -> Similarity:
    """Lay the keyframes of the first session on the truth: attitudes say the turn, positions the
    scale and the shift, because a short path is nearly a line."""
    views = [one for one in saved.views if saved.segments[one.segment].map == 0]
    index = np.searchsorted(pair.sequence.times, [one.stamp for one in views])
    known = np.isfinite(pair.truth[index]).all(axis=(1, 2))
    ours = np.stack([one.T_world_cam for one in views])[known]
    truth = pair.truth[index][known]
    U, _, Vt = np.linalg.svd((truth[:, :3, :3] @ np.swapaxes(ours[:, :3, :3], 1, 2)).sum(axis=0))
    R = U @ np.diag([1.0, 1.0, np.linalg.det(U @ Vt)]) @ Vt
    turned, places = ours[:, :3, 3] @ R.T, truth[:, :3, 3]
    a, b = turned - turned.mean(axis=0), places - places.mean(axis=0)
    scale = float((a * b).sum() / (a * a).sum())
    return Similarity(scale, R, places.mean(axis=0) - scale * turned.mean(axis=0))


def errors(
    found: dict[int, np.ndarray], pair: Pair, S: Similarity
) -> tuple[np.ndarray, np.ndarray]:
    """Return the errors of position, metres, and of rotation, degrees. (N,), (N,)"""
    index = [i for i in found if np.isfinite(pair.truth[i]).all()]
    ours = S.apply(np.stack([found[i] for i in index])) if index else np.zeros((0, 4, 4))
    off = inverse(pair.truth[index]) @ ours
    turn = np.degrees(np.linalg.norm(log_so3(off[:, :3, :3]), axis=1))
    return np.linalg.norm(off[:, :3, 3], axis=1), turn


def said(position: np.ndarray, turn: np.ndarray) -> str:
    """Write errors in metres and degrees."""
    if not len(position):
        return "-"
    p95 = np.percentile(position, 95)
    return f"{np.median(position):.3f}, {p95:.3f} m; {np.median(turn):.2f} deg"


def unbroken(pair: Pair) -> str:
    """Follow both stretches in one session, laid on the truth of the first one."""
    frames = range(pair.first.start, pair.second.stop)
    finder = Finder(folder=Path())
    odometry, _ = follow(pair, frames, finder)
    saved, path = odometry.saved_map(), odometry.smoothed()
    if saved is None or pair.second.start < pair.first.stop:
        return "-"
    end = pair.sequence.times[pair.first.stop - 1]
    first = replace(saved, views=tuple(one for one in saved.views if one.stamp <= end))
    index = np.searchsorted(pair.sequence.times, path.stamps)
    poses = {int(i): T for i, T in zip(index, path.poses, strict=True) if i in pair.second}
    return said(*errors(poses, pair, lay(first, pair)))


def starts(pair: Pair, finder: Finder, every: int, S: Similarity) -> str:
    """Begin a short session at every n-th frame; say how soon they are found, and how well."""
    waits, all_errors = [], []
    for begin in pair.second[::every]:
        frames = range(begin, min(begin + WITHIN[-1], pair.second.stop))
        if len(frames) < WITHIN[-1]:
            break
        _, found = follow(pair, frames, finder)
        waits.append(min(found) - begin + 1 if found else np.inf)
        all_errors.append(errors(dict(list(found.items())[:1]), pair, S)[0])
    shares = [f"{np.mean(np.array(waits) <= n):.2f}" for n in WITHIN]
    off = np.concatenate(all_errors)
    worst = f"{np.median(off):.3f}, {off.max():.3f}" if len(off) else "-"
    return f"{len(waits)} starts: {' / '.join(shares)} within {WITHIN}; first poses off by {worst}"


def row(pair: Pair, args: argparse.Namespace) -> str:
    """Run both sessions and write the row of a clip."""
    with tempfile.TemporaryDirectory() as temporary:
        # 1. The first session and its map.
        folder = Path(temporary) / "map"
        finder = open_finder(features=args.features, places=args.places, map=folder)
        odometry, _ = follow(pair, pair.first, finder)
        saved = odometry.saved_map()
        if saved is None:
            return f"{pair.name} | the first session has no map"
        save_map(folder, saved)
        size = sum(one.stat().st_size for one in folder.iterdir())
        S = lay(saved, pair)
        # 2. The second one in it.
        again = open_finder(features=args.features, places=args.places, map=folder)
        second, found = follow(pair, pair.second, again)
        path = np.linalg.norm(np.diff(pair.truth[pair.first][:, :3, 3], axis=0), axis=1)
        cells = [
            pair.name,
            f"{min(found) - pair.second.start + 1}" if found else "never",
            f"{len(found) / len(pair.second):.2f}",
            said(*errors(found, pair, S)),
            unbroken(pair),
            f"{np.nansum(path):.1f} m",
            f"{len(saved.views)}, {size / 1e6:.1f} MB",
        ]
        if second.loops is not None:
            cells.append(" ".join(f"{k}: {n}" for k, n in sorted(second.loops.counts.items())))
        if args.starts:
            cells.append(starts(pair, replace(again), args.starts, S))
    return " | ".join(cells)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", nargs="+", type=parse, metavar="NAME=SEQUENCE:POSES:A-B:C-D")
    parser.add_argument("--features", type=Path, help="ONNX file of kind features (default: SIFT)")
    parser.add_argument("--places", type=Path, help="ONNX file of kind place (default: VLAD)")
    parser.add_argument("--starts", type=int, default=0, help="also begin at every N-th frame")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    print("clip | found | share | error | unbroken | first path | map | loops | starts")
    for pair in args.pairs:
        print(row(pair, args), flush=True)


if __name__ == "__main__":
    main()
