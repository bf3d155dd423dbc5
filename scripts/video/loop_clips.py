#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What loops do to the path of real clips, and what false ones can do: one configuration.

The keyframes of the odometry are scored as it gave them and as the loops have them, each after one
alignment (7 degrees of freedom; 6 where there are metres), the largest map alone. The columns:

    ATE         RMS error of the keyframes' positions, metres
    end         error of the last keyframe after an alignment on the first half, metres
    loops       closed, joined, taken out again; refused
    wrong       loops that were entered though the keyframes are truly apart by over a fifth of the
                extent of the path

With --false the checks are attacked. Planted: every keyframe is compared with places that are
false, all keyframes of the next clip, or those of the same clip that are truly far away; what looks
most alike is what is checked. Forced: an early and a late keyframe are said to be one place, past
all checks, before the first loop and after the last; the graph must take that out.

Usage: python scripts/video/loop_clips.py [--keyframes FOLDER] [--false]
           NAME=SEQUENCE:POSES[:height=M][:speed][:imu] ...
"""

import argparse
import pickle
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from odometry_clips import Clip, parse

from depthkit.data.sequence import open_sequence
from depthkit.evaluation.alignment import umeyama
from depthkit.rigid import make_pose
from depthkit.runtime.motion.told import NO_MOTION, Motion
from depthkit.runtime.odometry.geometric import GeometricConfig, GeometricOdometry
from depthkit.runtime.odometry.loop import LoopCloser
from depthkit.runtime.odometry.loop_records import LoopConfig
from depthkit.runtime.odometry.place_view import Keyframe
from depthkit.runtime.streams import NO_IMU

FAR = 0.2
"""Part of the path's extent beyond which two keyframes do not show one place."""
CANDIDATES = 4
"""Places that are checked for each keyframe [place_map.CANDIDATES]."""


@dataclass(frozen=True, eq=False)
class Followed:
    """The keyframes of a clip."""

    clip: Clip
    keyframes: list[Keyframe]

    @property
    def truth(self) -> np.ndarray:
        """True position of each keyframe, NaN where unknown. (N, 3)"""
        times = open_sequence(self.clip.folder).times
        stamps = np.array([one.stamp for one in self.keyframes])
        return self.clip.truth[np.searchsorted(times, stamps - 1e-6), :3, 3]

    @property
    def odom(self) -> np.ndarray:
        """Pose of each keyframe by the odometry. (N, 4, 4)"""
        return np.stack([one.T_world_cam for one in self.keyframes])


def follow(clip: Clip, kept: Path | None) -> Followed:
    """Run the odometry with loops and collect its keyframes; or read them where they were kept."""
    path = None if kept is None else kept / f"{clip.name}.keyframes"
    if path is not None and path.exists():
        return Followed(clip, pickle.loads(path.read_bytes()))
    sequence = open_sequence(clip.folder)
    imu = sequence.imu if clip.imu else None
    config = GeometricConfig(camera_height=clip.height, loops=True)
    odometry = GeometricOdometry(config, imu=imu, valid=sequence.read_valid())
    found: list[Keyframe] = []
    closer = odometry.loops
    if closer is None:
        raise RuntimeError("the odometry was started with loops and has none")
    entered = closer.add
    closer.add = lambda one: (found.append(one), entered(one))[1]  # type: ignore[method-assign]
    before = -np.inf
    for i, stamp in enumerate(sequence.times):
        step = clip.truth[i, :3, 3] - clip.truth[max(i - 1, 0), :3, 3]
        motion = Motion(displacement=float(np.linalg.norm(step))) if clip.speed else NO_MOTION
        rows = NO_IMU if imu is None else imu.between(before, stamp)
        before, rgb = stamp, sequence.read_frame(i)
        odometry.process(rgb, stamp=stamp, K=sequence.camera.K, imu=rows, motion=motion)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(found))
    return Followed(clip, found)


def errors(run: Followed, poses: np.ndarray, index: np.ndarray) -> tuple[float, float]:
    """ATE and end error of some of the keyframes, metres."""
    truth = run.truth[index]
    known = np.isfinite(truth).all(axis=1)
    target, given = truth[known], poses[index][known]
    source, half, scale = given[:, :3, 3], len(target) // 2, not run.clip.metric
    moved = umeyama(source, target, with_scale=scale).apply(given)[:, :3, 3]
    ended = umeyama(source[:half], target[:half], with_scale=scale).apply(given)[:, :3, 3]
    ate = float(np.sqrt(np.mean(np.sum((moved - target) ** 2, axis=1))))
    return ate, float(np.linalg.norm(ended[-1] - target[-1]))


def row(run: Followed, closer: LoopCloser) -> str:
    """Score a clip before and after its loops."""
    for one in run.keyframes:
        closer.add(one)
    maps = closer.corrected_maps()
    index = np.flatnonzero(maps == np.bincount(maps).argmax())
    segments = np.array([one.segment for one in run.keyframes])[index]
    longest = index[segments == np.bincount(segments).argmax()]
    before, after = errors(run, run.odom, longest), errors(run, closer.corrected()[1], longest)
    whole = errors(run, closer.corrected()[1], index)
    entered = [one for one in closer.events if one.kind != "refused"]
    refused = {k: v for k, v in closer.counts.items() if k not in ("closed", "joined", "undone")}
    counts = ", ".join(str(closer.counts[kind]) for kind in ("closed", "joined", "undone"))
    cells = [
        run.clip.name,
        f"{len(longest)} of {len(run.keyframes)}",
        f"{before[0]:.4f} -> {after[0]:.4f} (whole map {whole[0]:.4f})",
        f"{before[1]:.3f} -> {after[1]:.3f}",
        f"{counts}; {sum(refused.values())}",
        str(sum(is_wrong(run, one.old, one.keyframe) for one in entered)),
    ]
    return " | ".join(cells)


def is_wrong(run: Followed, old: int, new: int) -> bool:
    """Whether two keyframes are truly in different places."""
    ids, truth = [one.id for one in run.keyframes], run.truth
    apart = truth[ids.index(old)] - truth[ids.index(new)]
    return float(np.linalg.norm(apart)) > FAR * extent(truth)


def extent(truth: np.ndarray) -> float:
    """Diagonal of the box around the known positions, metres."""
    known = truth[np.isfinite(truth).all(axis=1)]
    return float(np.linalg.norm(np.ptp(known, axis=0)))


def planted_elsewhere(here: Followed, there: Followed) -> str:
    """Look for the keyframes of one clip among those of another, and nowhere else."""
    closer = LoopCloser(LoopConfig(recent=len(here.keyframes)))
    for one in there.keyframes:
        closer.add(replace(one, segment=0))
    before = sum(closer.counts.values())
    for i, one in enumerate(here.keyframes):
        closer.add(replace(one, id=there.keyframes[-1].id + 1 + i, segment=1))
    events = list(closer.events)[before:]
    accepted = sum(one.kind != "refused" for one in events)
    tried = min(CANDIDATES, len(there.keyframes)) * len(here.keyframes)
    return f"{here.clip.name} in {there.clip.name}: {tried} planted, {accepted} accepted"


def planted_within(run: Followed) -> str:
    """Look for keyframes among those of the same clip that are truly far away."""
    closer, truth = LoopCloser(), run.truth
    limit, ids = FAR * extent(truth), [one.id for one in run.keyframes]
    search = closer.places.find
    tried = 0

    def among_false(query, *, leave_out, min_inliers):  # noqa: ANN001, ANN202
        nonlocal tried
        now = truth[len(seen) - 1]
        near = {k for k, X in zip(ids, truth, strict=True) if not np.linalg.norm(X - now) > limit}
        tried += min(CANDIDATES, len(set(closer.places.views) - near - leave_out))
        return search(query, leave_out=leave_out | near, min_inliers=min_inliers)

    seen: list[Keyframe] = []
    closer.places.find = among_false  # type: ignore[method-assign]
    for one in run.keyframes:
        seen.append(one)
        closer.add(one)
    accepted = sum(one.kind != "refused" for one in closer.events)
    found = len(closer.events)
    return (
        f"{run.clip.name} far from itself: {tried} planted, {accepted} accepted, "
        f"{found - accepted} passed the geometric check and were refused"
    )


def forced(run: Followed) -> str:
    """Enter a false loop past all checks, in the middle of the clip and at its end."""
    segments = [one.segment for one in run.keyframes]
    longest = max(dict.fromkeys(segments), key=segments.count)
    keyframes = [one for one in run.keyframes if one.segment == longest]
    own = replace(run, keyframes=keyframes)
    plain = LoopCloser()
    for one in keyframes:
        plain.add(one)
    without = errors(own, plain.corrected()[1], np.arange(len(keyframes)))[0]
    said = []
    for part in (0.5, 1.0):
        closer, followed = LoopCloser(), False
        for i, one in enumerate(keyframes):
            closer.add(one)
            if i == int(part * len(keyframes)) - 1:
                kept = list(closer.places.views)
                T = make_pose(np.eye(3), np.zeros(3))
                followed = closer.tie(kept[len(kept) // 8], kept[-1], T)
        after = errors(own, closer.corrected()[1], np.arange(len(keyframes)))[0]
        said.append(
            f"at {part:.0%}: {'followed' if followed else 'refused'}, "
            f"taken out later {closer.counts['undone']}, ATE {without:.4f} -> {after:.4f}"
        )
    return f"{run.clip.name} forced, " + "; ".join(said)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="+", type=parse, metavar="NAME=SEQUENCE:POSES[:option]")
    parser.add_argument("--keyframes", type=Path, metavar="FOLDER", help="keep them, or read them")
    parser.add_argument("--false", action="store_true", help="plant and force false loops")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    runs = [follow(clip, given.keyframes) for clip in given.clips]
    print("clip | keyframes | ATE | end | closed, joined, taken out; refused | wrong")
    for run in runs:
        print(row(run, LoopCloser()), flush=True)
    if not given.false:
        return
    for here, there in zip(runs, [*runs[1:], runs[0]], strict=True):
        if here is not there:
            print(planted_elsewhere(here, there), flush=True)
        print(planted_within(here), flush=True)
        print(forced(here), flush=True)


if __name__ == "__main__":
    main()
