# SPDX-License-Identifier: Apache-2.0
"""A single-frame network on real endoscopy: order of depth against sparse SfM points, pictures.

The 35 frames of jhu_sinus_endoscopy have no dense truth and no metres; 570 SfM points and the views
each was seen in are the reference. Frames are cut to the square around the valid circle, as the
network learnt square frames. Per frame the rank correlation (Spearman) of predicted and SfM depth
over its visible points, then the mean; beside it two guesses that know nothing of shape: dark is
far (the light sits on the camera), and the middle is far (one looks along a passage).

Usage: python scripts/colon/evaluate_sinus.py MODEL OUT [DATA]    (DATA: folder jhu_sinus_endoscopy)
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import matplotlib
import numpy as np

from depthkit.data.image_io import read_mask, read_rgb
from depthkit.evaluation.rank import rank_correlation
from depthkit.pipelines.models import EngineOptions, default_threads, open_depth
from depthkit.trajectory import inverse, load_kitti

DATA = Path(__file__).resolve().parents[3] / "shared/data/jhu_sinus_endoscopy"
LEAST_POINTS = 20  # visible points a frame needs to be scored
LOOK = 5  # pixels of the mean that brightness is taken over: points lie on edges


@dataclass(frozen=True)
class Recording:
    """The frames, cut to the square around the circle, and the points."""

    frames: list[Path]
    square: tuple[slice, slice]
    valid: np.ndarray
    """(H, W) bool, of the square"""
    K: np.ndarray
    """of the square"""
    T_world_cam: np.ndarray
    points: np.ndarray
    """World, SfM units. (P, 3)"""
    seen: np.ndarray
    """(P, N) bool"""

    def read(self, i: int) -> np.ndarray:
        """Read the square of a frame. (H, W, 3) uint8"""
        return np.ascontiguousarray(read_rgb(self.frames[i])[self.square])

    def project(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Return pixels (M, 2) and depth (M,) of the points seen in a frame, inside the circle."""
        T = inverse(self.T_world_cam[i])
        points = self.points[self.seen[:, i]] @ T[:3, :3].T + T[:3, 3]
        points = points[points[:, 2] > 0]
        pixels = points @ self.K.T
        pixels = np.rint(pixels[:, :2] / pixels[:, 2:]).astype(int)
        inside = (pixels >= 0).all(1) & (pixels < self.valid.shape[::-1]).all(1)
        inside[inside] = self.valid[pixels[inside, 1], pixels[inside, 0]]
        return pixels[inside], points[inside, 2]


def open_recording(root: Path) -> Recording:
    """Read what lies beside the frames."""
    folder = next(root.glob("bag_1/*"))
    frames = sorted(folder.glob("0*.jpg"))
    valid = read_mask(folder / "undistorted_mask.bmp")
    rows, columns = np.flatnonzero(valid.any(1)), np.flatnonzero(valid.any(0))
    side = min(valid.shape[0], max(np.ptp(rows), np.ptp(columns)) + 1)
    top, left = (
        int(np.clip((ends[0] + ends[-1] + 1 - side) // 2, 0, size - side))
        for ends, size in zip((rows, columns), valid.shape, strict=True)
    )
    square = (slice(top, top + side), slice(left, left + side))
    K = np.loadtxt(root / "K.txt") - [[0, 0, left], [0, 0, top], [0, 0, 0]]
    points, views = read_points(folder / "structure.ply"), read_views(folder)
    numbers = [int(path.stem) for path in frames]
    seen = np.array([[number in views[p] for number in numbers] for p in range(len(points))])
    poses = load_kitti(root / "poses.txt").T_world_cam
    return Recording(frames, square, valid[square], K, poses, points, seen)


def read_points(path: Path) -> np.ndarray:
    """Read the vertices of an ASCII PLY file. (P, 3)"""
    header, _, body = path.read_text().partition("end_header\n")
    count = int(header.split("element vertex ")[1].split()[0])
    rows = body.splitlines()[:count]
    return np.array([row.split()[:3] for row in rows], dtype=np.float64)


def read_views(folder: Path) -> list[set[int]]:
    """Read the frame numbers in which each point was seen; -1 begins a point."""
    points: list[set[int]] = []
    for word in (folder / "view_indexes_per_point").read_text().split():
        if word == "-1":
            points.append(set())
        else:
            points[-1].add(int(word))
    return points


def guesses(rgb: np.ndarray) -> dict[str, np.ndarray]:
    """Two orders of depth that need no network. (H, W) each"""
    light = cv2.blur(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32), (LOOK, LOOK))
    v, u = np.mgrid[: rgb.shape[0], : rgb.shape[1]]
    middle = np.hypot(v - rgb.shape[0] / 2, u - rgb.shape[1] / 2)
    return {"dark is far": -light, "middle is far": -middle}


def draw(path: Path, rgb: np.ndarray, depth: np.ndarray, valid: np.ndarray) -> None:
    """Write frame, depth inside the circle, and the circle, side by side."""
    low, high = np.percentile(depth[valid], [2, 98])
    colours = matplotlib.colormaps["turbo"](np.clip((depth - low) / (high - low), 0, 1))[..., :3]
    painted = (255 * colours * valid[..., None]).astype(np.uint8)
    circle = np.repeat(valid[..., None].astype(np.uint8) * 255, 3, axis=2)
    row = cv2.resize(np.hstack([rgb, painted, circle]), (1536, 512), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(path), row[..., ::-1])


def main(model: Path, out: Path, root: Path) -> None:
    """Score all frames, draw three."""
    engine = open_depth(model, EngineOptions(threads=default_threads()))
    recording = open_recording(root)
    out.mkdir(parents=True, exist_ok=True)
    count = len(recording.frames)
    found: dict[str, list[float]] = {}
    points = []
    for i in range(count):
        rgb = recording.read(i)
        depth = engine.depth(rgb, K=recording.K).depth
        if i in (0, count // 2, count - 1):
            draw(out / f"sinus_{recording.frames[i].stem}.png", rgb, depth, recording.valid)
        pixels, truth = recording.project(i)
        if len(truth) < LEAST_POINTS:
            continue
        points.append(len(truth))
        for name, order in ({"model": depth} | guesses(rgb)).items():
            score = rank_correlation(order[pixels[:, 1], pixels[:, 0]], truth)
            found.setdefault(name, []).append(score)
    record = {name: {"mean": np.mean(v), "worst": np.min(v)} for name, v in found.items()}
    figures = {"frames": len(points), "points_per_frame": float(np.mean(points))} | record
    print(json.dumps(figures, indent=2))
    (out / "sinus.json").write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else DATA)
