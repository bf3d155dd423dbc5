# SPDX-License-Identifier: Apache-2.0
"""Points of a frame followed into other frames: what depth and flow are judged by without a sensor.

A point that is seen from two places of known relation has a depth; where the sequence has no poses
the relation is the essential matrix of the tracks, and depth has one free factor for each frame.
"""

from dataclasses import dataclass

import numpy as np

from depthkit.camera import resize_matrix
from depthkit.data.sequence import Sequence
from depthkit.data.sparse_depth import read_structure, solve_depths, tracking_size
from depthkit.multiview.tracks import detect_corners, track
from depthkit.multiview.two_view import measure_motion

LONGEST = 32
"""Longest gap between the two frames of a track, frames; gaps are powers of two."""
KEPT = 0.4
"""Share of the corners that must be found again: a longer gap is not tried."""
CLEAR_PARALLAX = 2.0
"""Smallest parallax of a point that judges, pixels: a track is good to a third of one."""


@dataclass(frozen=True, eq=False)
class DepthTracks:
    """Depth of some points of one frame, triangulated."""

    pixels: np.ndarray
    """Where the frame shows them, pixels of `size`. (N, 2)"""
    seen: np.ndarray
    """Where the other frame shows them. (N, 2)"""
    depth: np.ndarray
    """Along the optical axis, in the unit of `T_other_frame`. (N,)"""
    T_other_frame: np.ndarray
    """Points of the frame to the other one. (4, 4)"""
    K: np.ndarray
    """Intrinsics of both at `size`. (3, 3)"""
    size: tuple[int, int]
    """(h, w) of the pixels."""
    parallax: float
    """Median over the points, pixels."""
    has_unit: bool
    """Whether the motion is the sequence's own poses; else its length is 1."""


@dataclass(frozen=True, eq=False)
class FlowTracks:
    """Where some points of one frame are in another."""

    pixels: np.ndarray
    """Pixels of the sought size. (N, 2)"""
    moved: np.ndarray
    """Flow (u, v), pixels of the sought size. (N, 2)"""


def depth_tracks(sequence: Sequence, frame: int) -> DepthTracks | None:
    """Triangulate corners of one frame by the frame, before or after, that shows most parallax.

    1. Corners are followed directly into the frames 1, 2, 4, ... away, as far as enough are found.
    2. The relation of the two frames: the poses, else the essential matrix of the tracks.
    3. Points off their epipolar line, or with less than `CLEAR_PARALLAX`, are left out.

    Args:
        sequence: with or without poses.
        frame: the one whose points are wanted.

    Returns:
        The side with the larger median parallax; None where no pair of frames shows any.
    """
    start = _structure(sequence, frame)
    points = _corners(sequence, start)
    sides = [_farthest(sequence, frame, sign, start, points) for sign in (-1, 1)]
    found = [_triangulate(sequence, frame, *side) for side in sides if side is not None]
    kept = [each for each in found if each is not None]
    return max(kept, key=lambda each: each.parallax, default=None)


def flow_tracks(sequence: Sequence, frame: int, other: int, size: tuple[int, int]) -> FlowTracks:
    """Follow corners of one frame into another, at pixels of a size (h, w)."""
    tracked, start = tracking_size(sequence), _structure(sequence, frame)
    points = _corners(sequence, start)
    seen, kept = track(start, _structure(sequence, other), points)
    here, there = (move_points(each[kept], tracked, size) for each in (points, seen))
    return FlowTracks(here, there - here)


def move_points(
    points: np.ndarray, from_size: tuple[int, int], to_size: tuple[int, int]
) -> np.ndarray:
    """Return pixels (u, v) of an image in the same image at another size. (N, 2)"""
    A = resize_matrix(from_size, to_size)
    return points * A[[0, 1], [0, 1]] + A[:2, 2]


def _farthest(
    sequence: Sequence, frame: int, sign: int, start: np.ndarray, points: np.ndarray
) -> tuple[int, np.ndarray, np.ndarray] | None:
    """Return the farthest frame on one side with enough tracks, and the tracks. (N, 2) each"""
    labels = sequence.segments()
    best, gap, least, guess = None, 1, max(1.0, KEPT * len(points)), points
    while gap <= LONGEST:
        other = frame + sign * gap
        if not 0 <= other < len(sequence) or labels[other] != labels[frame]:
            break
        seen, kept = track(start, _structure(sequence, other), points, guess=guess)
        if kept.sum() < least:
            break
        # The next frame is twice as far away: each point has gone on as before.
        points, guess = points[kept], 2 * seen[kept] - points[kept]
        best, gap = (other, points, seen[kept]), 2 * gap
    return best


def _triangulate(
    sequence: Sequence, frame: int, other: int, points: np.ndarray, seen: np.ndarray
) -> DepthTracks | None:
    size = tracking_size(sequence)
    K = sequence.camera.resized(size).K
    T, has_unit = _relation(sequence, frame, other), True
    if T is None:
        motion = measure_motion(points, seen, K)
        if motion is None or motion.is_rotation:
            return None
        T, has_unit = np.eye(4), False
        T[:3, :3], T[:3, 3] = motion.R_b_a, motion.direction_b_a
    solved = solve_depths(points, seen, T, K)
    good = solved.good & (solved.parallax >= CLEAR_PARALLAX)
    if not good.any():
        return None
    parallax = float(np.median(solved.parallax[good]))
    return DepthTracks(points[good], seen[good], solved.depth[good], T, K, size, parallax, has_unit)


def _relation(sequence: Sequence, frame: int, other: int) -> np.ndarray | None:
    """Return T_other_frame of the poses, None where one is unknown. (4, 4)"""
    if sequence.poses is None or sequence.segments()[frame] < 0:
        return None
    return np.linalg.inv(sequence.poses[other]) @ sequence.poses[frame]


def _corners(sequence: Sequence, structure: np.ndarray) -> np.ndarray:
    """Find corners of a frame inside its valid part, pixels of the tracking size. (N, 2)"""
    points = detect_corners(structure)
    valid = sequence.read_valid()
    if valid is None or len(points) == 0:
        return points
    height, width = valid.shape
    places = move_points(points, tracking_size(sequence), (height, width)).round().astype(int)
    columns, rows = np.clip(places, 0, (width - 1, height - 1)).T
    return points[valid[rows, columns]]


def _structure(sequence: Sequence, frame: int) -> np.ndarray:
    return read_structure(sequence, frame, tracking_size(sequence))
