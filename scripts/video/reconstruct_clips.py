# SPDX-License-Identifier: Apache-2.0
"""Reconstruct real clips from their frames alone, and compare with what their sensors say.

    python scripts/video/reconstruct_clips.py kitchen=pairs/kitchen kitti_02=kitti/02:height=1.65 \\
        --out runs/reconstruct

A clip is a sequence folder with poses, where there is any with depth of a sensor (the kitchen of
`scripts/pairs/prepare_real_pairs.py`). Both are used for the score alone: path, depth and surface
are turned, moved and scaled once for the whole clip, so that the positions of the cameras fit best
[Umeyama 1991]; `factor` is what claimed metres lack. The camera is that of the sequence;
--unknown-camera hides it, so that the focal length is found from the motion of points.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial import cKDTree

import depthkit
from depthkit.data.sequence import Sequence, open_sequence
from depthkit.evaluation.alignment import Similarity, umeyama
from depthkit.mapping.tsdf import Tsdf
from depthkit.outputs.depth_folder import open_depth_maps
from depthkit.pipelines.reconstruct.summary import ReconstructSummary
from depthkit.trajectory import load_tum

NEAR = 0.05  # metres within which a surface counts as found
SENSOR_VOXEL, SENSOR_REACH, SENSOR_EVERY = 0.02, 4.0, 4  # of the sensor's own surface
DEPTH_EVERY = 10  # frames between two that are scored


@dataclass(frozen=True)
class Clip:
    """One clip and what is known beside it."""

    name: str
    root: Path
    camera_height: float | None = None
    """Metres."""


@dataclass(frozen=True)
class Row:
    """Figures of one clip."""

    name: str
    posed: str
    camera: str
    path_error: float
    """Root mean square error of positions after a similarity, metres."""
    own_scale: float | None
    """Factor that the claimed metres lack; None for a relative path."""
    abs_rel: float | None
    """Mean over all pixels, times the factor of the path; None without sensor depth."""
    surface: float | None
    """Median distance of the mesh's vertices to the sensor's surface, metres."""
    found: float | None
    """Share of the sensor's surface within NEAR of the mesh."""
    seconds: float


def main() -> None:
    """Reconstruct the clips, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="+", type=parse, metavar="NAME=SEQUENCE[:height=M]")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--unknown-camera", action="store_true")
    parser.add_argument("--score-only", action="store_true", help="the clips are there already")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    print(
        "| clip | frames with a pose | camera | path, m | factor | abs_rel | mesh, m | found | s |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for clip in args.clips:
        print(as_line(run(clip, args)), flush=True)


def parse(text: str) -> Clip:
    """Read one clip of the command line."""
    name, _, rest = text.partition("=")
    folder, _, height = rest.partition(":height=")
    return Clip(name, Path(folder), float(height) if height else None)


def run(clip: Clip, args: argparse.Namespace) -> Row:
    """Reconstruct one clip and score it."""
    out = args.out / clip.name
    if args.score_only:
        summary = depthkit.load_record(depthkit.ReconstructSummary, out / "summary.json")
    else:
        summary = reconstruct(clip, out, args)
    sequence = open_sequence(clip.root)
    fit, error = align(out, sequence)
    mesh, found = compare_surface(out, sequence, fit)
    return Row(
        clip.name,
        f"{summary.poses} of {summary.frames}",
        f"{summary.camera.origin}, {summary.camera.focal / sequence.camera.fx - 1:+.1%}",
        error,
        fit.scale if summary.scale == "metric" else None,
        score_depth(out, sequence, fit),
        mesh,
        found,
        summary.seconds,
    )


def reconstruct(clip: Clip, out: Path, args: argparse.Namespace) -> ReconstructSummary:
    """Reconstruct from the frames, without poses and depth; where wanted without the camera."""
    source = args.out / f"{clip.name}_frames"
    shutil.rmtree(source, ignore_errors=True)
    if args.unknown_camera:
        shutil.copytree(clip.root / "frames", source)
    else:
        source.mkdir(parents=True)
        for part in ("frames", "camera.yaml", "times.txt"):
            (source / part).symlink_to((clip.root / part).resolve())
    return depthkit.reconstruct(
        source, out, camera_height=clip.camera_height, every=args.every, force=True
    )


def align(out: Path, sequence: Sequence) -> tuple[Similarity, float]:
    """Fit the cameras of the largest segment to the sensor's; return also what is left, metres."""
    path = load_tum(out / "trajectory_tum.txt")
    index = np.argmin(np.abs(sequence.times[:, None] - path.stamps), axis=0)
    if sequence.poses is None:
        raise SystemExit(f"{sequence.root}: has no poses to score against")
    known = np.isfinite(sequence.poses[index]).all(axis=(1, 2))
    ours, theirs = path.T_world_cam[known, :3, 3], sequence.poses[index[known], :3, 3]
    fit = umeyama(ours, theirs, with_scale=True)
    left = np.linalg.norm(fit.scale * ours @ fit.R.T + fit.t - theirs, axis=1)
    return fit, float(np.sqrt((left**2).mean()))


def score_depth(out: Path, sequence: Sequence, fit: Similarity) -> float | None:
    """Mean relative error of depth, times the factor of the path; None without sensor depth."""
    if not sequence.has_depth:
        return None
    maps, errors = open_depth_maps(out), []
    for i in range(0, len(sequence), DEPTH_EVERY):
        name = sequence.frames[i].stem
        if name not in maps.files:
            continue
        truth, depth = sequence.read_depth(i), fit.scale * maps.read(name)
        scored = (truth > 0) & (depth > 0)
        errors.append(float((np.abs(depth - truth)[scored] / truth[scored]).mean()))
    return float(np.mean(errors)) if errors else None


def compare_surface(
    out: Path, sequence: Sequence, fit: Similarity
) -> tuple[float | None, float | None]:
    """Return how far the mesh lies from the sensor's surface, and the share of that it has."""
    if not sequence.has_depth or sequence.poses is None or not (out / "mesh.ply").is_file():
        return None, None
    tsdf = Tsdf(voxel=SENSOR_VOXEL, max_depth=SENSOR_REACH, max_blocks=20_000)
    for i in range(0, len(sequence), SENSOR_EVERY):
        depth, T = sequence.read_depth(i), sequence.poses[i]
        if np.isfinite(T).all():
            tsdf.integrate(depth, K=sequence.camera.K, T_world_cam=T)
    theirs = tsdf.mesh(least_weight=3, least_faces=100).vertices
    ours = fit.scale * read_vertices(out / "mesh.ply") @ fit.R.T + fit.t
    to_theirs = cKDTree(theirs).query(ours)[0]
    to_ours = cKDTree(ours).query(theirs)[0]
    return float(np.median(to_theirs)), float((to_ours < NEAR).mean())


def read_vertices(path: Path) -> np.ndarray:
    """Read the positions of a PLY that depthkit wrote. (N, 3)"""
    header, _, body = path.read_bytes().partition(b"end_header\n")
    count = int(next(line for line in header.splitlines() if b"element vertex" in line).split()[2])
    row = np.dtype([("xyz", "<f4", (3,)), ("rgb", "u1", (3,))])
    return np.frombuffer(body, row, count)["xyz"].astype(np.float64)


def as_line(row: Row) -> str:
    """Format one row of the table."""
    numbers = (row.path_error, row.own_scale, row.abs_rel, row.surface, row.found)
    cells = ["" if value is None else f"{value:.3f}" for value in numbers]
    return "| " + " | ".join([row.name, row.posed, row.camera, *cells, f"{row.seconds:.0f}"]) + " |"


if __name__ == "__main__":
    main()
