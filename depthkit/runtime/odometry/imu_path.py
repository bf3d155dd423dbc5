# SPDX-License-Identifier: Apache-2.0
"""The last seconds of the visual path with the inertial motion between its poses.

About twice a second the window is aligned (`imu_alignment.py`). Biases are remembered over losses;
those known before a window begins are its prior, so that no sample counts twice.
"""

from dataclasses import dataclass, replace

import numpy as np

from depthkit.runtime.odometry.imu_alignment import Alignment, align, rotation_bias
from depthkit.runtime.odometry.imu_preintegration import Preintegrated, between, preintegrate
from depthkit.runtime.odometry.imu_window import BiasPrior
from depthkit.trajectory.imu import ImuNoise

WINDOW = 10.0
"""Length of the window, seconds."""
NODE_STEP, KEYFRAME_STEP = 0.2, 0.1
"""Least distance of the poses in it, and of keyframes, seconds."""
LEAST_GYRO, LEAST_ACCEL = 5e-4, 0.03
"""Smallest standard deviation of biases taken over from an earlier window, rad/s and m/s2: one that
was wrong is forgotten again."""
SOLVE_EVERY = 0.5  # seconds
REDO_BIAS = 0.01
"""Change of the gyro's bias after which motions are summed up again, rad/s."""


class BiasMemory:
    """Biases found so far, with the time at which each was known."""

    def __init__(self, noise: ImuNoise) -> None:
        """Start with nothing but what small IMUs have."""
        self.latest = BiasPrior(np.zeros(3), np.zeros(3))
        """The newest biases."""
        self._noise = noise
        self._known = [(-np.inf, self.latest)]

    def remember(self, stamp: float, bias: BiasPrior) -> None:
        """Keep biases that samples up to a time have shown."""
        self.latest = bias
        self._known = [self._known[0], *self._known[1:][-100:], (stamp, bias)]

    def forget(self) -> None:
        """Forget all: the samples were wrong."""
        self._known = self._known[:1]
        self.latest = self._known[0][1]

    def before(self, start: float) -> BiasPrior:
        """Return what was known at a time, from no sample after it, its sigma grown by the walk."""
        stamp, bias = next(entry for entry in reversed(self._known) if entry[0] <= start)
        if not np.isfinite(stamp):
            return bias
        root, walk = float(np.sqrt(start - stamp)), self._noise
        return replace(
            bias,
            gyro_sigma=float(np.hypot(max(bias.gyro_sigma, LEAST_GYRO), root * walk.gyro_walk)),
            accel_sigma=float(np.hypot(max(bias.accel_sigma, LEAST_ACCEL), root * walk.accel_walk)),
        )


@dataclass(eq=False)
class _Node:
    """One pose of the window."""

    stamp: float
    T_world_cam: np.ndarray
    motion: Preintegrated | None = None  # from the node before to this one


class AlignedPath:
    """One segment of the visual path beside the IMU."""

    def __init__(self, T_cam_imu: np.ndarray, noise: ImuNoise, memory: BiasMemory) -> None:
        """Start a segment."""
        self.alignment: Alignment | None = None
        """The latest window's; None before the first."""
        self.aligned_at: float | None = None
        """Stamp of its last pose, seconds."""
        self._T_cam_imu, self._noise, self._memory = T_cam_imu, noise, memory
        self._nodes: list[_Node] = []
        self._solved = -np.inf

    def add(self, stamp: float, T_world_cam: np.ndarray, *, keyframe: bool) -> bool:
        """Take a pose; return whether it became part of the window."""
        last = self._nodes[-1].stamp if self._nodes else -np.inf
        if stamp - last < (KEYFRAME_STEP if keyframe else NODE_STEP) - 0.01:
            return False
        nodes = [node for node in self._nodes if node.stamp >= stamp - WINDOW]
        self._nodes = [*nodes, _Node(stamp, T_world_cam)]
        return True

    def adjust(self, stamps: np.ndarray, T_world_cam: np.ndarray) -> None:
        """Replace the poses of those stamps that are in the window. (N,), (N, 4, 4)"""
        poses = dict(zip(np.asarray(stamps).tolist(), T_world_cam, strict=True))
        for node in self._nodes:
            node.T_world_cam = poses.get(node.stamp, node.T_world_cam)

    @property
    def linked(self) -> bool:
        """Whether samples have covered some of the path."""
        return any(node.motion is not None for node in self._nodes)

    def clear(self) -> None:
        """Forget the window and what it showed; the segment goes on."""
        self._nodes, self.alignment, self._solved = [], None, -np.inf

    def unlink(self) -> None:
        """Forget the inertial motions: the time offset has changed."""
        for node in self._nodes:
            node.motion = None

    def link(self, rows: np.ndarray, offset: float) -> None:
        """Sum the samples up between poses once they are there; a hole in them ends the window.

        Args:
            rows: samples so far. (N, 7)
            offset: clock of the IMU less that of the frames, seconds.
        """
        latest, start = self._memory.latest, 0
        bias = np.concatenate([latest.gyro, latest.accel])
        for i, (a, b) in enumerate(zip(self._nodes[:-1], self._nodes[1:], strict=True)):
            if b.motion is not None and np.abs(b.motion.bias - bias)[:3].max() < REDO_BIAS:
                continue
            if not len(rows) or b.stamp + offset > rows[-1, 0]:
                break
            cut = between(rows, a.stamp + offset, b.stamp + offset)
            if cut is not None:
                b.motion = preintegrate(cut, self._noise, bias=bias)
            elif b.motion is None:
                start = i + 1
        self._nodes = self._nodes[start:]

    def solve(self, *, gyro_alone: bool = False) -> None:
        """Align the window if it is time to, and remember what it says of the biases.

        Args:
            gyro_alone: find the gyro's bias only.
        """
        nodes, motions = self._linked()
        if len(motions) < 3 or nodes[-1].stamp - self._solved < SOLVE_EVERY - 0.01:
            return
        self._solved = stamp = nodes[-1].stamp
        poses = np.stack([node.T_world_cam for node in nodes])
        prior = self._memory.before(nodes[0].stamp)
        if gyro_alone or not np.isfinite(motions[-1].velocity).all():
            self.alignment = None
            R = poses[:, :3, :3] @ self._T_cam_imu[:3, :3]
            gyro, sigma = rotation_bias(R, motions, prior)
            self._memory.remember(stamp, replace(prior, gyro=gyro, gyro_sigma=sigma))
            return
        last = self.alignment
        self.alignment = align(
            poses,
            motions,
            T_cam_imu=self._T_cam_imu,
            noise=self._noise,
            prior=prior,
            start=None if last is None or last.scale is None else last,
        )
        self.aligned_at = stamp
        self._memory.remember(stamp, self.alignment.bias)

    def _linked(self) -> tuple[list[_Node], list[Preintegrated]]:
        """Poses from the first on that inertial motion leads to, and these motions."""
        motions: list[Preintegrated] = []
        for node in self._nodes[1:]:
            if node.motion is None:
                break
            motions.append(node.motion)
        return self._nodes[: len(motions) + 1], motions
