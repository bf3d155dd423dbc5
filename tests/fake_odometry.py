# SPDX-License-Identifier: Apache-2.0
"""An odometry that knows the truth: what the doors make of its answers can be worked out by hand.

Frames named in `lost` have no pose and end the segment; the next one begins a new world.
"""

from dataclasses import dataclass, field

import numpy as np

from depthkit.data.sequence import Sequence
from depthkit.rigid import inverse
from depthkit.runtime.result import OdometryResult, ScaleState, SparsePoints


@dataclass
class SmoothedPath:
    """As the real one returns it."""

    stamps: np.ndarray
    poses: np.ndarray
    segments: np.ndarray
    metric: np.ndarray


@dataclass
class Landmarks:
    """As the real one returns them."""

    positions: np.ndarray
    colours: np.ndarray
    sigma: np.ndarray
    segment: int
    metric: bool


@dataclass
class FakeOdometry:
    """Answers with the truth of a sequence, times a unit."""

    sequence: Sequence
    lost: tuple[int, ...] = ()
    unit: float = 1.0
    state: ScaleState = ScaleState()
    notes: tuple[str, ...] = ()
    keyframes: int = 3
    loops: object = None
    map_pose: object = None
    saved_map: object = staticmethod(lambda: None)
    told: list = field(default_factory=list)
    """What `process` was given beside each frame."""
    first: int | None = None
    last: int | None = None
    true_points: int = 0
    """Number of points with the true depth of the sequence; 0 for two that mean nothing."""
    segment: int = 0
    path: list = field(default_factory=list)

    def process(self, rgb, *, stamp, K=None, imu=None, motion=None) -> OdometryResult:
        """Take the next frame."""
        i = int(np.argmin(np.abs(self.sequence.times - stamp)))
        self.told.append((i, K, imu, motion))
        if i in self.lost:
            self.segment += self.last is not None
            self.first = self.last = None
            return self._result(stamp, np.eye(4), None, "too dark")
        if self.first is None:
            self.first = self.last = i
            return self._result(stamp, np.eye(4), None, f"first frame of segment {self.segment}")
        start, before = (self._pose(j) for j in (self.first, self.last))
        if self.last == self.first:
            self.path.append(
                (self.sequence.times[self.first], np.eye(4), self.segment, self.state.metric)
            )
        T, since = inverse(start) @ self._pose(i), self.sequence.times[self.last]
        self.last = i
        step = inverse(before) @ self._pose(i)
        self.path.append((stamp, T, self.segment, self.state.metric))
        return self._result(stamp, T, step, "", since)

    def reset(self) -> None:
        """Forget all frames."""
        self.first = self.last = None

    def smoothed(self) -> SmoothedPath:
        """Every frame once more."""
        stamps, poses, segments, _ = zip(*self.path, strict=True)
        metric = np.array([state for *_, state in self.path])
        return SmoothedPath(np.array(stamps), np.stack(poses), np.array(segments), metric)

    def landmarks(self) -> Landmarks:
        """Two points, one of which nobody should trust."""
        return Landmarks(
            np.array([[1.0, 2, 3], [4, 5, 6]]),
            np.array([[10, 20, 30], [40, 50, 60]], np.uint8),
            np.array([0.01, 5.0]),
            self.segment,
            self.state.metric,
        )

    def _pose(self, i: int) -> np.ndarray:
        T = self.sequence.poses[i].copy()
        T[:3, 3] *= self.unit
        return T

    def _true(self, stamp, T) -> SparsePoints:
        """Points of the true depth, in the unit of the odometry, in its world."""
        depth = self.sequence.read_depth(int(np.argmin(np.abs(self.sequence.times - stamp))))
        rng = np.random.default_rng(0)
        v, u = (rng.integers(0, size, self.true_points) for size in depth.shape)
        rays = np.linalg.inv(self.sequence.camera.K) @ np.stack([u, v, np.ones(len(u))])
        positions = (self.unit * depth[v, u] * rays).T @ T[:3, :3].T + T[:3, 3]
        pixels = np.stack([u, v], axis=1).astype(float)
        return SparsePoints(np.arange(len(u)), pixels, positions, np.full(len(u), 0.02))

    def _result(self, stamp, T, step, reason, since=None) -> OdometryResult:
        points = SparsePoints(
            np.array([7, 9]), np.array([[10.0, 11], [20, 21]]), np.ones((2, 3)), np.full(2, 0.1)
        )
        if self.true_points and not reason:
            points = self._true(stamp, T)
        return OdometryResult(
            T_previous_current=step,
            T_world_cam=T,
            scale="metric" if self.state.metric else "relative",
            scale_source=self.state.source or "relative",
            stamp=stamp,
            segment=self.segment,
            reason=reason,
            since=since,
            covariance=None if step is None else np.diag([0.01, 0.04, 0.04, 1e-6, 4e-6, 4e-6]),
            scale_state=self.state,
            points=None if reason else points,
        )
