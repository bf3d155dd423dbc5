#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A reconstructed mesh against the surface that a depth sensor saw: accuracy and completeness.

`truth` fuses the depth of a sequence folder with its poses into a mesh (weight by a sensor of 2 %).
`score` compares two meshes (PLY), point by point: the median distance from the estimate to the
truth, and the share of the truth within 5 cm of the estimate. Where the estimate has a world of its
own, its trajectory is aligned to the true one first: by a rigid motion, or with `--with-scale` by a
similarity where it is known up to scale.

Usage: python scripts/video/mesh_score.py truth SEQUENCE --out TRUTH.ply
       python scripts/video/mesh_score.py score ESTIMATE.ply TRUTH.ply [--poses P --true-poses T]
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from depthkit.data.sequence import open_sequence
from depthkit.evaluation.alignment import umeyama
from depthkit.evaluation.association import associate
from depthkit.evaluation.meshes import SurfaceScore, sample_mesh, score_surfaces
from depthkit.mapping.mesh_files import read_ply, write_ply
from depthkit.mapping.tsdf import Tsdf
from depthkit.trajectory import load_tum


def fuse_truth(
    folder: Path, out: Path, *, voxel: float, max_depth: float, every: int, least_faces: int
) -> None:
    """Fuse the depth of a sequence into a mesh.

    Args:
        folder: sequence folder with metric depth and poses.
        out: PLY file.
        voxel, max_depth: as in `Tsdf`, metres.
        every: step from one used frame to the next.
        least_faces: smallest component that is kept.
    """
    sequence = open_sequence(folder)
    fused = Tsdf(voxel=voxel, max_depth=max_depth)
    for i in range(0, len(sequence), every):
        T = sequence.poses[i]
        if np.isfinite(T).all():
            depth, rgb = sequence.read_depth(i), sequence.read_frame(i)
            fused.integrate(depth, K=sequence.camera.K, T_world_cam=T, rgb=rgb)
    mesh = fused.mesh(least_faces=least_faces)
    write_ply(out, mesh, comment="world axes of poses.txt, metres")
    print(f"{out}: {fused.frames} frames, {len(fused)} blocks, {len(mesh.faces)} faces")


def score_files(
    estimate: Path,
    truth: Path,
    *,
    poses: tuple[Path, Path] | None = None,
    with_scale: bool = False,
    within: float = 0.05,
    spacing: float = 0.01,
) -> SurfaceScore:
    """Compare two meshes.

    Args:
        estimate, truth: PLY files of `write_ply`.
        poses: trajectories (TUM rows) of the estimate and of the truth, to align by; None: both
            meshes are in one frame.
        with_scale: fit the scale too.
        within: distance that counts as near, metres.
        spacing: distance of the compared points, metres.
    """
    mesh, reference = read_ply(estimate), read_ply(truth)
    vertices = mesh.vertices.astype(np.float64)
    if poses is not None:
        found, true = load_tum(poses[0]), load_tum(poses[1])
        pairs = associate(true, found, max_gap=0.02)
        places = found.T_world_cam[pairs.estimate, :3, 3], true.T_world_cam[pairs.reference, :3, 3]
        fit = umeyama(*places, with_scale=with_scale)
        vertices = fit.scale * vertices @ fit.R.T + fit.t
    return score_surfaces(
        sample_mesh(vertices, mesh.faces, spacing=spacing),
        sample_mesh(reference.vertices, reference.faces, spacing=spacing),
        within=within,
    )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    fuse = verbs.add_parser("truth", help="fuse the depth of a sequence folder")
    fuse.add_argument("sequence", type=Path)
    fuse.add_argument("--out", type=Path, required=True)
    fuse.add_argument("--voxel", type=float, default=0.02, help="metres")
    fuse.add_argument("--max-depth", type=float, default=4.0, help="metres")
    fuse.add_argument("--every", type=int, default=2)
    fuse.add_argument("--least-faces", type=int, default=200)
    score = verbs.add_parser("score", help="compare two meshes")
    score.add_argument("estimate", type=Path)
    score.add_argument("truth", type=Path)
    score.add_argument("--poses", type=Path, help="trajectory of the estimate, TUM rows")
    score.add_argument("--true-poses", type=Path, help="trajectory of the truth, TUM rows")
    score.add_argument("--with-scale", action="store_true")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    if args.verb == "truth":
        fuse_truth(
            *(args.sequence, args.out),
            **{"voxel": args.voxel, "max_depth": args.max_depth, "every": args.every},
            least_faces=args.least_faces,
        )
        return
    poses = (args.poses, args.true_poses) if args.poses and args.true_poses else None
    print(score_files(args.estimate, args.truth, poses=poses, with_scale=args.with_scale))


if __name__ == "__main__":
    main()
