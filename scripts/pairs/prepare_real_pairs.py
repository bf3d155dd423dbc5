# SPDX-License-Identifier: Apache-2.0
"""Three real sequences with metric poses, as sequence folders that `evaluate model` can score.

kitchen  7-Scenes RedKitchen as `depthkit prepare` reads it: K of the colour camera, poses and depth
         moved to that camera. The poses are off by about 2 px.
clip     5 frames of an Open3D example, depth registered by the camera's driver.
office   TUM fr3, motion capture poses. It has no depth here: SIFT matches that three views or more
         agree on are triangulated with the poses. Sparse, and of pixels that are easy to match.

Usage: python scripts/pairs/prepare_real_pairs.py DATA OUT, with DATA as shared/data
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from depthkit.camera import Camera
from depthkit.data.image_io import read_rgb, read_uint16
from depthkit.data.importers import find_sequences, load_source
from depthkit.data.importers.source import ImportOptions
from depthkit.data.prepare import PrepareOptions, prepare
from depthkit.data.sequence import SequenceWriter, write_split
from depthkit.trajectory import inverse

CLIP_CAMERA = Camera(640, 480, 525.0, 525.0, 319.5, 239.5)
VIEWS = 3  # that must agree, the target among them on a SIFT point of the office
AGREEMENT = 0.05  # of depth, between partners
MIN_ANGLE = np.radians(1.5)  # between the rays of two views


def write_clip(root: Path, out: Path) -> None:
    """Write the five frames of the Open3D example."""
    rows = np.array((root / "trajectory.log").read_text().split(), dtype=np.float64)
    poses = rows.reshape(-1, 19)[:, 3:].reshape(-1, 4, 4)  # three numbers of header a pose
    with SequenceWriter(out, CLIP_CAMERA, force=True) as writer:
        for i, path in enumerate(sorted((root / "color").glob("*.jpg"))):
            depth = read_metres(root / "depth" / f"{path.stem}.png")
            writer.add_frame(read_rgb(path), i / 30, poses[i], depth)


def write_office(root: Path, out: Path) -> None:
    """Write the TUM frames that have a pose, with sparse depth of SIFT points."""
    name, places = find_sequences(root)
    source = load_source(name, root, next(iter(places)), ImportOptions(root))
    known = np.isfinite(source.poses).all(axis=(1, 2))
    frames = [read_rgb(ref.path) for ref, ok in zip(source.frames, known, strict=True) if ok]
    camera, poses = source.camera.camera, source.poses[known]
    with SequenceWriter(out, camera, force=True) as writer:
        for i, depth in enumerate(sift_depth(frames, poses, camera.K)):
            writer.add_frame(frames[i], source.times[known][i], poses[i], depth)


def read_metres(path: Path) -> np.ndarray:
    """Read millimetres, 0 and 65535 unknown, as metres. (H, W)"""
    raw = read_uint16(path)
    return np.where(raw == 65535, 0, raw) / 1000.0


def sift_depth(frames: list[np.ndarray], poses: np.ndarray, K: np.ndarray) -> Iterator[np.ndarray]:
    """Triangulate SIFT matches of each frame with the three before and after it. (H, W) each"""
    sift = cv2.SIFT_create(4000)
    found = [sift.detectAndCompute(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), None) for rgb in frames]
    for i, (points, features) in enumerate(found):
        measured: dict[int, list[float]] = {}
        for j in range(max(0, i - 3), min(len(frames), i + 4)):
            if j != i:
                pairs = match(features, found[j][1])
                a = np.array([points[p].pt for p, _ in pairs]).reshape(-1, 2)
                b = np.array([found[j][0][q].pt for _, q in pairs]).reshape(-1, 2)
                depths = triangulate_points(a, b, inverse(poses[j]) @ poses[i], K)
                for (p, _), depth in zip(pairs, depths, strict=True):
                    measured.setdefault(p, []).append(depth)
        depth = np.zeros(frames[i].shape[:2])
        for p, values in measured.items():
            good = np.array(values)[np.isfinite(values)]
            middle = np.median(good) if len(good) else np.nan
            if (np.abs(good / middle - 1) < AGREEMENT).sum() >= VIEWS - 1:
                u, v = np.rint(points[p].pt).astype(int)
                depth[v, u] = middle
        yield depth


def match(first: np.ndarray, second: np.ndarray) -> list[tuple[int, int]]:
    """Match features both ways, with Lowe's ratio of 0.75."""
    forward, back = (
        {
            best.queryIdx: best.trainIdx
            for best, other in cv2.BFMatcher().knnMatch(a, b, k=2)
            if best.distance < 0.75 * other.distance
        }
        for a, b in ((first, second), (second, first))
    )
    return [(p, q) for p, q in forward.items() if back.get(q) == p]


def triangulate_points(
    a: np.ndarray, b: np.ndarray, T_b_a: np.ndarray, K: np.ndarray
) -> np.ndarray:
    """Depth in the first view of matches; NaN where the views do not agree. (N, 2) -> (N,)"""
    if len(a) == 0:
        return np.zeros(0)
    P = K @ T_b_a[:3]
    X = cv2.triangulatePoints(K @ np.eye(4)[:3], P, a.T, b.T)
    points = (X[:3] / X[3]).T
    in_b = points @ T_b_a[:3, :3].T + T_b_a[:3, 3]
    error = np.hypot(*(project(points, K) - a).T) + np.hypot(*(project(in_b, K) - b).T)
    rays = (points, points - inverse(T_b_a)[:3, 3])
    cosine = (rays[0] * rays[1]).sum(1) / np.prod([np.linalg.norm(r, axis=1) for r in rays], axis=0)
    good = (error < 2.0) & (points[:, 2] > 0) & (in_b[:, 2] > 0) & (cosine < np.cos(MIN_ANGLE))
    return np.where(good, points[:, 2], np.nan)


def project(points: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Pixels of points in the camera frame. (N, 3) -> (N, 2)"""
    seen = points @ K.T
    return seen[:, :2] / seen[:, 2:]


if __name__ == "__main__":
    data, out = Path(sys.argv[1]), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    write_clip(data / "rgbd_open3d_5", out / "clip")
    write_office(data / "tum_fr3_office", out / "office")
    scenes = data / "sevenscenes_redkitchen"
    prepare(PrepareOptions(scenes, out, format="sevenscenes", name="kitchen", force=True))
    write_split(out, test=["clip", "office", "kitchen"])
