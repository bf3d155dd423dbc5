# SPDX-License-Identifier: Apache-2.0
"""Which frames of one sequence show the same place, and how far away another place begins.

By what the sequence holds, the first that applies:
1. Depth and poses of one unit: pixels of one frame are moved into the other; the share that lands
   in its picture and is not hidden there is what the two have in common, the smaller of both ways.
2. Poses: corners are followed until fewer than the share are left; as far as the camera went in
   that many frames, frames share the view. Another visit counts within half of that distance and a
   given turn.
3. Neither: the same along the film alone; a place that is visited twice is then not known as one.

Pairs of frames that a loop closure has verified (`loops.txt` in the folder: rows of two frame
numbers) are added as the same place.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from depthkit.data.sequence import Sequence
from depthkit.errors import DataError
from depthkit.multiview.tracks import detect_corners, normalise_contrast, track
from depthkit.rigid import inverse

LOOPS = "loops.txt"
_GRID = (9, 12)  # pixels of a frame that are moved, rows and columns
_HIDDEN = 1.15  # depth over that of what is seen there: behind it by more is hidden
_LEAST_KNOWN = 0.2  # share of the grid whose depth must be known for a frame to be judged
_WIDTH = 320  # pixels: frames are shrunk to it before corners are followed
_REVISIT = 0.5  # of the distance at which the view is left: another visit within it is the same
_LONGEST = 60  # frames that corners are followed


@dataclass(frozen=True, eq=False)
class Visits:
    """What is known of the N frames of a sequence as places."""

    same: tuple[np.ndarray, ...]
    """For each frame the others that show its place. (N_i,) int each"""
    places: np.ndarray
    """Position, and distance at which another place begins, in one unit. (N, 4)"""
    rule: str
    """How it was found: depth, poses or tracks."""


def find_visits(sequence: Sequence, *, overlap: float, turned: float) -> Visits:
    """Find frames of the same place by the best rule that the sequence allows.

    Args:
        sequence: opened sequence folder.
        overlap: share of the view that two frames of one place have in common.
        turned: largest angle between the optical axes of another visit, degrees.

    Raises:
        DataError: a damaged file of loops.
    """
    poses = sequence.poses if len(set(sequence.segments()) - {-1}) == 1 else None
    metric = sequence.depth_kind == "metric"
    if poses is not None and sequence.has_depth and sequence.has_metric_poses == metric:
        found = _by_depth(sequence, poses, overlap)
    else:
        reach = track_reach((sequence.read_frame(i) for i in range(len(sequence))), overlap)
        found = _by_poses(poses, reach, turned) if poses is not None else _by_tracks(reach)
    loops = sequence.root / LOOPS
    return add_loops(found, read_loops(loops, len(sequence))) if loops.exists() else found


# --- 1. depth and poses --------------------------------------------------------------------------


def _by_depth(sequence: Sequence, poses: np.ndarray, overlap: float) -> Visits:
    depths = np.stack([_thin(sequence.read_depth(i)) for i in range(len(sequence))])
    shares = shared_views(depths, poses, sequence.camera.resized(depths.shape[1:]).K)
    both = np.minimum(shares, shares.T)
    np.fill_diagonal(both, 0)
    same = tuple(np.flatnonzero(row >= overlap) for row in both)
    return Visits(same, _with_reach(poses[:, :3, 3], same), "depth")


def _thin(depth: np.ndarray) -> np.ndarray:
    """Take a depth map at four times the grid's density, by nearest pixel."""
    size = (4 * _GRID[1], 4 * _GRID[0])
    return cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST_EXACT)


def shared_views(depths: np.ndarray, poses: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Return which share of each frame's view each other frame sees too.

    Args:
        depths: of N frames, 0 where unknown. (N, H, W)
        poses: T_world_cam in the same unit; NaN where unknown. (N, 4, 4)
        K: of the depth maps, pixels. (3, 3)

    Returns:
        Share of row i's view that column j sees; 0 where it cannot be told. (N, N)
    """
    count, height, width = depths.shape
    v = np.arange(height // 8, height, max(1, height // _GRID[0]))
    u = np.arange(width // 8, width, max(1, width // _GRID[1]))
    grid = np.stack([*np.meshgrid(u, v), np.ones((len(v), len(u)))]).reshape(3, -1)
    rays = np.linalg.inv(K) @ grid
    shares = np.zeros((count, count))
    good = np.isfinite(poses).all((1, 2))
    T_cam_world = np.stack(
        [inverse(T) if ok else np.eye(4) for T, ok in zip(poses, good, strict=True)]
    )
    for i in np.flatnonzero(good):
        depth = depths[i][grid[1].astype(int), grid[0].astype(int)]
        known = depth > 0
        if known.mean() < _LEAST_KNOWN:
            continue
        points = poses[i, :3, :3] @ (rays[:, known] * depth[known]) + poses[i, :3, 3:]
        seen = T_cam_world[:, :3, :3] @ points + T_cam_world[:, :3, 3:]  # (N, 3, P)
        shares[i] = _seen(seen, depths, K).mean(1) * good
    return shares


def _seen(points: np.ndarray, depths: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Tell which points each camera sees: in the picture, not behind a surface. -> (N, P) bool"""
    _, height, width = depths.shape
    z = points[:, 2]
    front = z > 1e-6
    pixels = K[:2] @ (points / np.where(front, z, 1.0)[:, None])  # (N, 2, P)
    u, v = np.rint(pixels[:, 0]), np.rint(pixels[:, 1])
    within = front & (u >= 0) & (v >= 0) & (u < width) & (v < height)
    rows, columns = (np.where(within, x, 0).astype(int) for x in (v, u))
    there = np.take_along_axis(depths.reshape(len(depths), -1), rows * width + columns, 1)
    return within & ((there == 0) | (z <= _HIDDEN * there))


# --- 2. and 3. tracks ----------------------------------------------------------------------------


def track_reach(frames: Iterable[np.ndarray], overlap: float) -> np.ndarray:
    """Count how many frames ahead each frame's corners are still found, a share of them at least.

    Corners start anew halfway through each such stretch; frames between have the nearest count.

    Args:
        frames: RGB in order. (H, W, 3) uint8 each
        overlap: the share.

    Returns:
        Frames, 1 or more. (N,) int
    """
    pictures = [_structure(frame) for frame in frames]
    starts, reaches = list[int](), list[int]()
    start = 0
    while start < len(pictures) - 1:
        reach = _follow(pictures, start, overlap)
        starts.append(start)
        reaches.append(reach)
        start += max(1, reach // 2)
    if not starts:
        return np.ones(len(pictures), int)
    last = starts[-1] + reaches[-1] >= len(pictures) - 1  # cut off by the end of the film
    if last and len(reaches) > 1:
        reaches[-1] = max(reaches[-1], reaches[-2])
    return np.rint(np.interp(np.arange(len(pictures)), starts, reaches)).astype(int)


def _structure(frame: np.ndarray) -> np.ndarray:
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    if grey.shape[1] > _WIDTH:
        height = round(grey.shape[0] * _WIDTH / grey.shape[1])
        grey = cv2.resize(grey, (_WIDTH, height), interpolation=cv2.INTER_AREA)
    return normalise_contrast(grey)


def _follow(pictures: list[np.ndarray], start: int, overlap: float) -> int:
    """Follow the corners of one picture; return for how many frames the share is kept."""
    points = detect_corners(pictures[start])
    first = len(points)
    for step in range(1, min(_LONGEST + 1, len(pictures) - start)):
        points, kept = track(pictures[start + step - 1], pictures[start + step], points)
        points = points[kept]
        if len(points) < max(1, overlap * first):
            return max(1, step - 1)
    return max(1, min(_LONGEST, len(pictures) - 1 - start))


def _by_poses(poses: np.ndarray, reach: np.ndarray, turned: float) -> Visits:
    """Frames within reach along the film, and other visits nearby that look the same way."""
    count, known = len(poses), np.isfinite(poses).all((1, 2))
    position = np.where(known[:, None], poses[:, :3, 3], np.inf)
    ahead = np.minimum(np.arange(count) + reach, count - 1)
    gone = np.where(known & known[ahead], _distance(poses[ahead], poses), np.nan)
    usual = np.nanmedian(gone) if np.isfinite(gone).any() else 0.0
    radius = np.maximum(np.nan_to_num(gone, nan=usual), usual)
    axes = np.where(known[:, None], poses[:, :3, 2], 0.0)
    same = []
    for i in range(count):
        if not known[i]:
            same.append(np.zeros(0, int))
            continue
        gap = np.abs(np.arange(count) - i)
        along = gap <= np.minimum(reach, reach[i])
        near = np.linalg.norm(position - position[i], axis=1) <= _REVISIT * np.minimum(
            radius, radius[i]
        )
        alike = axes @ axes[i] >= np.cos(np.radians(turned))
        same.append(np.flatnonzero(known & (gap > 0) & (along | (near & alike))))
    places = np.column_stack([np.where(known[:, None], position, 0.0), radius])
    return Visits(tuple(same), places, "poses")


def _by_tracks(reach: np.ndarray) -> Visits:
    """Frames within reach along the film; the unit of the path is one reach."""
    count = len(reach)
    path = np.concatenate([[0.0], np.cumsum(1 / reach[:-1])])
    same = []
    for i in range(count):
        gap = np.abs(np.arange(count) - i)
        same.append(np.flatnonzero((gap > 0) & (gap <= np.minimum(reach, reach[i]))))
    places = np.column_stack([path, np.zeros((count, 2)), np.ones(count)])
    return Visits(tuple(same), places, "tracks")


# --- loops ---------------------------------------------------------------------------------------


def read_loops(path: Path, count: int) -> np.ndarray:
    """Read pairs of frames that show one place: rows `a b`, counted from 0; # begins a comment.

    Returns:
        Frame numbers. (L, 2) int

    Raises:
        DataError: a row that is no pair of frames of this sequence.
    """
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 2 or not all(word.isdigit() and int(word) < count for word in words):
            raise DataError(
                f"{path}: line {number}: expected two frame numbers below {count}, got {line!r}"
            )
        rows.append([int(word) for word in words])
    return np.array(rows, int).reshape(-1, 2)


def add_loops(visits: Visits, loops: np.ndarray) -> Visits:
    """Add verified pairs as the same place.

    A frame within its own distance of a loop's end is no proof of another place for what lies near
    the other end: positions may have drifted between. So its distance grows by the loop's gap.

    Args:
        visits: what is known so far.
        loops: pairs of frames. (L, 2) int
    """
    same = [set(map(int, found)) for found in visits.same]
    places = visits.places.copy()
    for a, b in loops:
        if a == b:
            continue
        same[a].add(int(b))
        same[b].add(int(a))
        gap = np.linalg.norm(visits.places[a, :3] - visits.places[b, :3])
        for end in (a, b):
            away = np.linalg.norm(visits.places[:, :3] - visits.places[end, :3], axis=1)
            near = away <= visits.places[:, 3]
            places[near, 3] = np.maximum(places[near, 3], visits.places[near, 3] + gap)
    return Visits(tuple(np.array(sorted(s), int) for s in same), places, visits.rule)


def _with_reach(position: np.ndarray, same: tuple[np.ndarray, ...]) -> np.ndarray:
    """Put beside each position how far away the farthest frame of its place was. (N, 4)"""
    away = [
        float(np.linalg.norm(position[found] - position[i], axis=1).max()) if len(found) else np.nan
        for i, found in enumerate(same)
    ]
    usual = np.nanmedian(away) if np.isfinite(away).any() else 0.0
    radius = np.maximum(np.nan_to_num(away, nan=usual), usual)
    return np.column_stack([np.nan_to_num(position), radius])


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the distances of the positions of poses. (N,)"""
    return np.linalg.norm(a[:, :3, 3] - b[:, :3, 3], axis=1)
