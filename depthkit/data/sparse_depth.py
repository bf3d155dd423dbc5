# SPDX-License-Identifier: Apache-2.0
"""How far away things are in the unit of a sequence's poses: points tracked and triangulated."""

from typing import NamedTuple

import cv2
import numpy as np

from depthkit.data.sequence import Sequence
from depthkit.multiview.tracks import detect_corners, normalise_contrast, track

WIDTH = 320
"""Width that frames are shrunk to, pixels."""
LEAST_PARALLAX = 1.0
"""Smallest parallax that gives a depth, pixels; a point below it counts as at least that far."""
MOST_RESIDUAL = 2.0
"""Largest distance to the epipolar line, pixels: poses of a sensor are off by one or two."""
PAIRS = 12
"""Pairs of frames that are looked at, spread over the segment."""
LEAST_POINTS = 60
"""Fewest points that a median is taken of."""
DEPTH_PER_BASELINE = 20.0
"""Assumed depth over the distance between the frames, where too few points tell."""


def usual_depth(sequence: Sequence, segment: int, shift: int) -> tuple[float, str]:
    """Find the median depth of tracked points in one segment of a sequence.

    1. Corners of some frames are followed into the frame `shift` later.
    2. Their parallax along the epipolar line of the known motion gives their depth. Points with
       less than a pixel of it are far: they are counted, or the median would be of what is near.
    3. Where too few points are left, or half of them are far, the distance between such frames
       times 20 stands in: parallax of a twentieth of the depth, usual for chosen shifts.

    Args:
        sequence: with poses.
        segment: number of the segment, as in `Sequence.segments()`.
        shift: frames between the two of a pair, 1 or more.

    Returns:
        The depth in the unit of the poses, above 0, and where it comes from, in words. 0 and a
        reason where the camera never moves between such frames.
    """
    labels = sequence.segments()
    starts = np.flatnonzero((labels[:-shift] == segment) & (labels[shift:] == segment))
    if sequence.poses is None or len(starts) == 0:
        return 0.0, f"no two frames {shift} apart with poses"
    chosen = starts[np.linspace(0, len(starts) - 1, min(PAIRS, len(starts))).round().astype(int)]
    found = [_depths(sequence, int(i), int(i) + shift) for i in chosen]
    depths, far = np.concatenate([d for d, _ in found]), np.concatenate([f for _, f in found])
    if len(depths) >= LEAST_POINTS and far.mean() < 0.5:
        return float(np.median(depths)), "median depth of tracked points"
    steps = sequence.poses[starts + shift, :3, 3] - sequence.poses[starts, :3, 3]
    median = float(np.median(np.linalg.norm(steps, axis=1)))
    return DEPTH_PER_BASELINE * median, f"{DEPTH_PER_BASELINE:g} x the median baseline"


class SolvedDepths(NamedTuple):
    """Depth of points of one frame by where another frame sees them."""

    depth: np.ndarray
    """In the unit of the motion; anything where not good. (N,)"""
    parallax: np.ndarray
    """Along the epipolar line, pixels; negative the wrong way. (N,)"""
    good: np.ndarray
    """Near the epipolar line and in front of the camera. (N,) bool"""


def solve_depths(
    points_a: np.ndarray, points_b: np.ndarray, T_b_a: np.ndarray, K: np.ndarray
) -> SolvedDepths:
    """Triangulate points of frame a from where they are seen in frame b.

    As `multiview.triangulation` does for dense flow, but what has less than a pixel of parallax
    counts as at least that far.

    Args:
        points_a, points_b: pixels (u, v). (N, 2) each
        T_b_a: points of frame a to frame b. (4, 4)
        K: of both. (3, 3)
    """
    # 1. a + w b is the point in b at inverse depth w; infinitely far, it is seen at a / a_z.
    rays = np.column_stack([points_a, np.ones(len(points_a))]).astype(np.float64)
    a = rays @ (K @ T_b_a[:3, :3] @ np.linalg.inv(K)).T
    b = K @ T_b_a[:3, 3]
    with np.errstate(divide="ignore", invalid="ignore"):
        infinity = a[:, :2] / a[:, 2:]
        # 2. The epipolar direction, and the parallax along it and across.
        e = b[:2] - b[2] * infinity
        length = np.linalg.norm(e, axis=1)
        direction = e / length[:, None]
        moved = points_b - infinity
        along = (moved * direction).sum(1)
        across = np.abs(moved[:, 0] * direction[:, 1] - moved[:, 1] * direction[:, 0])
        # 3. Depth in closed form.
        depth = (length / np.maximum(along, LEAST_PARALLAX) - b[2]) / a[:, 2]
        good = (across <= MOST_RESIDUAL) & (along > -MOST_RESIDUAL) & (a[:, 2] > 0) & (depth > 0)
    return SolvedDepths(depth, along, good)


def triangulate_points(
    points_a: np.ndarray, points_b: np.ndarray, T_b_a: np.ndarray, K: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Triangulate points as `solve_depths` does, without wrong matches and points at the epipole.

    Returns:
        Depth in frame a in the unit of the motion, and which are bounds from below. (M,) each,
        M <= N
    """
    solved = solve_depths(points_a, points_b, T_b_a, K)
    return solved.depth[solved.good], solved.parallax[solved.good] < LEAST_PARALLAX


def _depths(sequence: Sequence, a: int, b: int) -> tuple[np.ndarray, np.ndarray]:
    """Triangulate corners of frame a by frame b; as `triangulate_points`."""
    camera, size = sequence.camera, tracking_size(sequence)
    first, second = (read_structure(sequence, i, size) for i in (a, b))
    points = detect_corners(first)
    seen, kept = track(first, second, points)
    poses = np.asarray(sequence.poses)
    T_b_a = np.linalg.inv(poses[b]) @ poses[a]
    return triangulate_points(points[kept], seen[kept], T_b_a, camera.resized(size).K)


def tracking_size(sequence: Sequence) -> tuple[int, int]:
    """Return the size (h, w) that frames are tracked at: WIDTH wide, whatever their own."""
    camera = sequence.camera
    return max(1, round(camera.height * WIDTH / camera.width)), WIDTH


def read_structure(sequence: Sequence, frame: int, size: tuple[int, int]) -> np.ndarray:
    """Read a frame as a contrast-normalised image of some size. (h, w) uint8"""
    grey = cv2.cvtColor(sequence.read_frame(frame), cv2.COLOR_RGB2GRAY)
    return normalise_contrast(cv2.resize(grey, size[::-1], interpolation=cv2.INTER_AREA))
