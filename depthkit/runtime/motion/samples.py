# SPDX-License-Identifier: Apache-2.0
"""Motion that comes in samples beside the frames: poses, speeds, attitudes, asked for in between.

A pose in between is `trajectory.interpolate_poses` of its two neighbours, so what a node is told
live and what `depthkit infer` reads from a file agree to the byte. No ROS, no clock, no lock:
bounded memory, one thread at a time.
"""

from bisect import bisect_left, bisect_right
from typing import Any

import cv2
import numpy as np

from depthkit.errors import check_shape
from depthkit.rigid import make_pose
from depthkit.trajectory import ROTATION_TOLERANCE, Trajectory, interpolate_poses

HISTORY = 10.0  # seconds; a frame asks for motion of the last second at most
CAPACITY = 20_000  # samples, where stamps are so dense that HISTORY alone bounds nothing


class _Samples:
    """Values at rising stamps, the newest HISTORY seconds of them."""

    def __init__(self, max_gap: float, max_step_back: float) -> None:
        self.max_gap, self._max_step_back = max_gap, max_step_back
        self.stamps: list[float] = []
        self.values: list[Any] = []
        self.restarts = 0

    def add(self, stamp: float, value: Any) -> str:
        """Append a sample, or say why it is refused; a long step back in time starts anew."""
        if not np.isfinite(stamp):
            return f"stamp must be finite, got {stamp}"
        back = self.stamps[-1] - stamp if self.stamps else -1.0
        if back == 0:
            return f"stamp {stamp:.3f} s came before"
        if 0 < back <= self._max_step_back:
            return f"stamp {stamp:.3f} s is {back:.3f} s older than the one before"
        if back > 0:
            self.restart()
        self.stamps.append(stamp)
        self.values.append(value)
        self._forget_old()
        return ""

    def restart(self) -> None:
        """Forget all samples: what comes next does not continue them."""
        self.clear()
        self.restarts += 1

    def clear(self) -> None:
        self.stamps, self.values = [], []

    def fault(self, start: float, end: float) -> str:
        """Say why the time from start to end is not covered without a gap; empty where it is."""
        if not self.stamps:
            return "none has come yet"
        if not end <= self.stamps[-1]:
            return f"the newest is {_off(end - self.stamps[-1])} older than the frame"
        if not start >= self.stamps[0]:
            return f"the oldest is {_off(self.stamps[0] - start)} younger than the frame"
        inside = self.stamps[self.around(start, end)]
        longest = max((b - a for a, b in zip(inside, inside[1:], strict=False)), default=0.0)
        if longest > self.max_gap:
            return f"a gap of {longest:.3f} s, over {self.max_gap:g}"
        return ""

    def around(self, start: float, end: float) -> slice:
        """Return the samples that bracket a covered span; a stamp that is hit needs no other."""
        return slice(bisect_right(self.stamps, start) - 1, bisect_left(self.stamps, end) + 1)

    def _forget_old(self) -> None:
        old = bisect_left(self.stamps, self.stamps[-1] - HISTORY)
        old = max(old, len(self.stamps) - CAPACITY)
        del self.stamps[:old], self.values[:old]


class PoseTrack:
    """The newest poses of a body, and those in between."""

    def __init__(self, *, max_gap: float = 0.5, max_step_back: float = 1.0) -> None:
        """Start empty.

        Args:
            max_gap: seconds; between two poses further apart nothing is known.
            max_step_back: seconds; a stamp that falls by up to this is out of order and refused,
                one that falls by more is a clock or a bag that started anew.
        """
        self._samples = _Samples(max_gap, max_step_back)

    @property
    def restarts(self) -> int:
        """How often the past was forgotten, because what came did not continue it."""
        return self._samples.restarts

    @property
    def newest(self) -> float | None:
        """Stamp of the newest pose, seconds."""
        return self._samples.stamps[-1] if self._samples.stamps else None

    def __len__(self) -> int:
        return len(self._samples.stamps)

    def clear(self) -> None:
        """Forget all poses."""
        self._samples.clear()

    def restart(self) -> None:
        """Forget all poses, and count that the next ones do not continue them."""
        self._samples.restart()

    def add(self, stamp: float, T: np.ndarray) -> str:
        """Take in a pose.

        Args:
            stamp: seconds.
            T: points of the body to the world, metres. (4, 4)

        Returns:
            Why the pose is refused; empty where it is kept.
        """
        check_shape("T", T, "4 4")
        return _pose_fault(T) or self._samples.add(stamp, np.array(T, dtype=np.float64))

    def at(self, stamp: float) -> np.ndarray | None:
        """Return the pose at a stamp, seconds; None where `missing` has a reason. (4, 4)"""
        if self.missing(stamp):
            return None
        near = self._samples.around(stamp, stamp)
        known = Trajectory(
            np.array(self._samples.stamps[near]), np.stack(self._samples.values[near])
        )
        return interpolate_poses(known, [stamp], self._samples.max_gap)[0][0]

    def missing(self, stamp: float) -> str:
        """Say why there is no pose at a stamp; empty where there is."""
        return self._samples.fault(stamp, stamp)


class SpeedTrack:
    """The newest speeds of a body, and the way it made."""

    def __init__(self, *, max_gap: float = 0.5, max_step_back: float = 1.0) -> None:
        """Start empty; the arguments are those of `PoseTrack`."""
        self._samples = _Samples(max_gap, max_step_back)

    @property
    def restarts(self) -> int:
        """How often time ran back so far that the past was forgotten."""
        return self._samples.restarts

    @property
    def newest(self) -> float | None:
        """Stamp of the newest speed, seconds."""
        return self._samples.stamps[-1] if self._samples.stamps else None

    def __len__(self) -> int:
        return len(self._samples.stamps)

    def clear(self) -> None:
        """Forget all speeds."""
        self._samples.clear()

    def add(self, stamp: float, speed: float) -> str:
        """Take in a speed, metres a second; return why it is refused, empty where it is kept."""
        if not (np.isfinite(speed) and speed >= 0):
            return f"speed must be 0 m/s or more, got {speed}"
        return self._samples.add(stamp, float(speed))

    def between(self, start: float, end: float) -> float | None:
        """Return the metres made between two stamps; None where `missing` has a reason.

        The speed is taken as linear between samples (trapezoids).
        """
        if self.missing(start, end):
            return None
        near = self._samples.around(start, end)
        stamps, speeds = self._samples.stamps[near], self._samples.values[near]
        times = np.array([start, *(t for t in stamps if start < t < end), end])
        at_times = np.interp(times, stamps, speeds)
        return float(np.sum(0.5 * (at_times[1:] + at_times[:-1]) * np.diff(times)))

    def missing(self, start: float, end: float) -> str:
        """Say why the way between two stamps is not known; empty where it is."""
        if not start <= end:
            return f"time ran back by {start - end:.3f} s"
        return self._samples.fault(start, end)


class AttitudeTrack:
    """The newest attitudes of a body: told, or integrated from its turn rates."""

    def __init__(self, *, max_gap: float = 0.5, max_step_back: float = 1.0) -> None:
        """Start empty; the arguments are those of `PoseTrack`."""
        self._poses = PoseTrack(max_gap=max_gap, max_step_back=max_step_back)
        self._max_gap = max_gap
        self._last: tuple[float, np.ndarray, np.ndarray] | None = None  # stamp, rate, attitude

    @property
    def restarts(self) -> int:
        """How often the world of the attitudes became another one."""
        return self._poses.restarts

    @property
    def newest(self) -> float | None:
        """Stamp of the newest attitude, seconds."""
        return self._poses.newest

    def __len__(self) -> int:
        return len(self._poses)

    def clear(self) -> None:
        """Forget all attitudes; integrated ones begin again in another world."""
        if self._last is not None:
            self.restart()
        self._poses.clear()

    def restart(self) -> None:
        """Forget all attitudes, and count that the next ones have another world."""
        self._poses.restart()
        self._last = None

    def add(self, stamp: float, R: np.ndarray) -> str:
        """Take in an attitude.

        Args:
            stamp: seconds.
            R: directions of the body to the world. (3, 3)

        Returns:
            Why it is refused; empty where it is kept.
        """
        check_shape("R", R, "3 3")
        if self._last is not None:  # integrated ones had a world of their own
            self.restart()
        return self._poses.add(stamp, make_pose(R, np.zeros(3)))

    def turn(self, stamp: float, rate: np.ndarray) -> str:
        """Take in a turn rate and integrate it with the mean of two neighbours.

        The first attitude is the identity. A pause over `max_gap` hides a turn, so that what comes
        after it has a new world.

        Args:
            stamp: seconds.
            rate: of the body, in its own axes, radians a second. (3,)

        Returns:
            Why it is refused; empty where it is kept.
        """
        check_shape("rate", rate, "3")
        if not np.isfinite(rate).all():
            return "turn rate is not finite"
        rate = np.array(rate, dtype=np.float64)
        before = self._last
        pause = stamp - before[0] if before is not None else np.inf
        if pause > self._max_gap and len(self._poses):
            self._poses.restart()
        R = np.eye(3)
        if before is not None and 0 < pause <= self._max_gap:
            R = before[2] @ cv2.Rodrigues(0.5 * pause * (before[1] + rate))[0]
        refused = self._poses.add(stamp, make_pose(R, np.zeros(3)))
        if not refused:
            self._last = stamp, rate, R
        return refused

    def at(self, stamp: float) -> np.ndarray | None:
        """Return the attitude at a stamp, seconds; None where `missing` has a reason. (3, 3)"""
        pose = self._poses.at(stamp)
        return None if pose is None else pose[:3, :3]

    def missing(self, stamp: float) -> str:
        """Say why there is no attitude at a stamp; empty where there is."""
        return self._poses.missing(stamp)


def _off(pause: float) -> str:
    return f"{pause:.3f} s{' (two clocks?)' if pause > HISTORY else ''}"


def _pose_fault(T: np.ndarray) -> str:
    """Say why a matrix is no pose; empty where it is one."""
    if not np.isfinite(T).all():
        return "pose is not finite"
    R = T[:3, :3]
    if np.abs(R @ R.T - np.eye(3)).max() > ROTATION_TOLERANCE or np.linalg.det(R) < 0:
        return "pose is no rotation"
    return ""
