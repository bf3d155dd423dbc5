# SPDX-License-Identifier: Apache-2.0
"""The tree of frames of a bag over time: /tf, and what /tf_static says beside it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from depthkit.data.bag import TRANSFORMS, parse, read_contents, read_recorded
from depthkit.errors import DataError
from depthkit.rigid import inverse
from depthkit.ros_messages import FrameTree, nanoseconds, read_transform, seconds
from depthkit.trajectory import Trajectory, interpolate_poses

STILL = 1e-9
"""Entries of two transforms that differ by less are the same: an edge that only repeats itself."""


@dataclass
class Edge:
    """A frame in its parent over time."""

    parent: str
    stamps: list[float] = field(default_factory=list)
    """Seconds, in the order of recording until `finish`, then rising."""
    poses: list[np.ndarray] = field(default_factory=list)
    """T_parent_child of each. (4, 4)"""
    lags: list[float] = field(default_factory=list)
    """Seconds from stamp to recording."""

    @property
    def lag(self) -> float:
        """Usual time from stamp to recording, seconds."""
        return float(np.median(self.lags))

    def is_still(self) -> bool:
        """Whether the frame never moves in its parent."""
        return bool(np.ptp(np.stack(self.poses), axis=0).max() < STILL)

    def finish(self) -> None:
        """Sort by stamp; the same stamp twice, as republishers send it, counts once."""
        stamps, order = np.unique(self.stamps, return_index=True)
        self.stamps, self.poses = stamps.tolist(), [self.poses[i] for i in order]


@dataclass(frozen=True)
class Tracks:
    """All frames of a bag."""

    edges: dict[str, Edge]
    """Frame -> how it moves in its parent."""
    static: FrameTree

    def parent(self, frame: str) -> str | None:
        """Return the frame above one; None at the top."""
        if frame in self.edges:
            return self.edges[frame].parent
        return self.static.parent(frame)

    def moves(self, frame: str) -> bool:
        """Whether a frame moves in its parent."""
        return frame in self.edges and not self.edges[frame].is_still()

    def at(self, frame: str, times: np.ndarray, max_gap: float) -> np.ndarray:
        """Return T_parent_frame at some times, NaN where unknown. (N, 4, 4)"""
        edge = self.edges.get(frame)
        if edge is None:
            T = self.static.lookup(self.parent(frame) or "", frame)
            return np.broadcast_to(np.eye(4) if T is None else T, (len(times), 4, 4))
        if edge.is_still():
            return np.broadcast_to(edge.poses[0], (len(times), 4, 4))
        trajectory = Trajectory(np.array(edge.stamps), np.stack(edge.poses))
        return interpolate_poses(trajectory, times, max_gap)[0]


def read_tracks(bag: Path, static: FrameTree, topic: str = "") -> Tracks:
    """Read the moving frames of a bag.

    Args:
        bag: the bag.
        static: what /tf_static says.
        topic: of the tree; empty for all that hold transforms.
    """
    topics = [t.name for t in read_contents(bag).topics if t.type == TRANSFORMS]
    wanted = [topic] if topic else [name for name in topics if not name.endswith("/tf_static")]
    edges: dict[str, Edge] = {}
    for message in read_recorded(bag, wanted):
        try:
            transforms = parse(message).transforms
        except DataError:  # counted where the frames are read
            continue
        for one in transforms:
            _take(edges, one, message.received)
    for edge in edges.values():
        edge.finish()
    return Tracks(edges, static)


def _take(edges: dict[str, Edge], one: Any, received: int) -> None:
    """Keep one transform; what is no transform, or of another parent than before, is left out."""
    child, parent = one.child_frame_id.lstrip("/"), one.header.frame_id.lstrip("/")
    edge = edges.setdefault(child, Edge(parent))
    try:
        T = read_transform(one.transform)
    except DataError:
        T = None
    if T is not None and edge.parent == parent:
        stamp = nanoseconds(one.header.stamp) or received
        edge.stamps.append(seconds(stamp))
        edge.poses.append(T)
        edge.lags.append(seconds(received - stamp))
    if not edge.stamps:
        del edges[child]


def body_frame(tracks: Tracks, camera: str) -> str:
    """Return the moving frame that carries a camera, above it or the only one; else its own."""
    above = [one for one in path_to_top(tracks, camera) if tracks.moves(one)]
    moving = above[:1] or [one for one in tracks.edges if tracks.moves(one)]
    return moving[0] if len(moving) == 1 else camera


def path_to_top(tracks: Tracks, frame: str) -> list[str]:
    """List a frame and those above it, nearest first; a ring ends."""
    return list(_upwards(tracks, frame.lstrip("/")))


def _upwards(tracks: Tracks, frame: str) -> Iterator[str]:
    seen: set[str] = set()
    above: str | None = frame
    while above is not None and above not in seen:
        seen.add(above)
        yield above
        above = tracks.parent(above)


def moving_pose(
    tracks: Tracks, target: str, source: str, times: np.ndarray, max_gap: float
) -> np.ndarray | None:
    """Return T_target_source at some times.

    Args:
        tracks: the tree.
        target: frame.
        source: frame.
        times: seconds. (N,)
        max_gap: longest time between two transforms that is bridged, seconds.

    Returns:
        NaN where unknown; None if nothing joins the two. (N, 4, 4)
    """
    below, above = path_to_top(tracks, source), path_to_top(tracks, target)
    common = next((frame for frame in below if frame in above), None)
    if common is None:
        return None
    T_common_source = _product(tracks, below[: below.index(common)], times, max_gap)
    T_common_target = _product(tracks, above[: above.index(common)], times, max_gap)
    return inverse(T_common_target) @ T_common_source


def _product(tracks: Tracks, frames: list[str], times: np.ndarray, max_gap: float) -> np.ndarray:
    """Multiply the transforms of a way upwards. (N, 4, 4)"""
    T = np.broadcast_to(np.eye(4), (len(times), 4, 4))
    for frame in frames:
        T = tracks.at(frame, times, max_gap) @ T
    return T
