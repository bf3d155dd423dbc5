# SPDX-License-Identifier: Apache-2.0
"""Sampled motion: tracks of poses, speeds and attitudes, interpolated at the stamps of frames.

A pose is `trajectory.interpolate_poses` of its two neighbours, so a live node and `depthkit infer`
on a file agree to the byte. No ROS, no clock, no lock: bounded memory, one thread at a time.
"""

from bisect import bisect_left, bisect_right
from typing import Any

import cv2
import numpy as np

from depthkit.errors import check_shape
from depthkit.rigid import make_pose
from depthkit.trajectory import ROTATION_TOLERANCE, Trajectory, interpolate_poses

HISTORY = 10.0  # seconds kept; a frame needs at most the last second
CAPACITY = 20_000  # samples kept, for stamps so dense that HISTORY alone is no bound


class _Samples:
    """Values at rising stamps, the newest HISTORY seconds of them."""

    def __init__(self, max_gap: float, max_step_back: float) -> None:
        self.max_gap, self._max_step_back = max_gap, max_step_back
        self.stamps: list[float] = []
        self.values: list[Any] = []
        self.restarts = 0

    def add(self, stamp: float, value: Any) -> str:
        """Append a sample; return why it is rejected. A long step back in time clears the track."""
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
        """Drop all samples and count a restart: the next ones do not continue them."""
        self.clear()
        self.restarts += 1

    def clear(self) -> None:
        self.stamps, self.values = [], []

    def fault(self, start: float, end: float) -> str:
        """Return why the samples do not cover start to end without a gap; empty if they do."""
        if not self.stamps:
            return "no message yet"
        if not end <= self.stamps[-1]:
            return f"the newest is {_pause_text(end - self.stamps[-1])} older than the frame"
        if not start >= self.stamps[0]:
            return f"the oldest is {_pause_text(self.stamps[0] - start)} younger than the frame"
        inside = self.stamps[self.around(start, end)]
        longest = max((b - a for a, b in zip(inside, inside[1:], strict=False)), default=0.0)
        if longest > self.max_gap:
            return f"a gap of {longest:.3f} s, over {self.max_gap:g}"
        return ""

    def around(self, start: float, end: float) -> slice:
        """Return the samples that bracket a covered span; an exact hit needs no neighbour."""
        return slice(bisect_right(self.stamps, start) - 1, bisect_left(self.stamps, end) + 1)

    def _forget_old(self) -> None:
        old = bisect_left(self.stamps, self.stamps[-1] - HISTORY)
        old = max(old, len(self.stamps) - CAPACITY)
        del self.stamps[:old], self.values[:old]


class PoseTrack:
    """The newest poses of a body, interpolated on request."""

    def __init__(self, *, max_gap: float = 0.5, max_step_back: float = 1.0) -> None:
        """Start empty.

        Args:
            max_gap: longest interval that is interpolated, seconds.
            max_step_back: seconds. A stamp that goes back by up to this is out of order and
                rejected; one that goes back by more means a restarted clock or bag.
        """
        self._samples = _Samples(max_gap, max_step_back)

    @property
    def restarts(self) -> int:
        """Number of times the track was cleared because new poses did not continue it."""
        return self._samples.restarts

    @property
    def newest(self) -> float | None:
        """Stamp of the newest pose, seconds."""
        return self._samples.stamps[-1] if self._samples.stamps else None

    def __len__(self) -> int:
        return len(self._samples.stamps)

    def clear(self) -> None:
        """Drop all poses."""
        self._samples.clear()

    def restart(self) -> None:
        """Drop all poses and count a restart: the next ones do not continue them."""
        self._samples.restart()

    def add(self, stamp: float, T: np.ndarray) -> str:
        """Add a pose.

        Args:
            stamp: seconds.
            T: points of the body to the world, metres. (4, 4)

        Returns:
            Why the pose is rejected; empty if it is kept.
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
        """Return why there is no pose at a stamp; empty if there is one."""
        return self._samples.fault(stamp, stamp)


class SpeedTrack:
    """The newest speeds of a body, integrated to distances on request."""

    def __init__(self, *, max_gap: float = 0.5, max_step_back: float = 1.0) -> None:
        """Start empty; the arguments are those of `PoseTrack`."""
        self._samples = _Samples(max_gap, max_step_back)

    @property
    def restarts(self) -> int:
        """Number of times the track was cleared because time ran back."""
        return self._samples.restarts

    @property
    def newest(self) -> float | None:
        """Stamp of the newest speed, seconds."""
        return self._samples.stamps[-1] if self._samples.stamps else None

    def __len__(self) -> int:
        return len(self._samples.stamps)

    def clear(self) -> None:
        """Drop all speeds."""
        self._samples.clear()

    def add(self, stamp: float, speed: float) -> str:
        """Add a speed, m/s; return why it is rejected, empty if it is kept."""
        if not (np.isfinite(speed) and speed >= 0):
            return f"speed must be 0 m/s or more, got {speed}"
        return self._samples.add(stamp, float(speed))

    def between(self, start: float, end: float) -> float | None:
        """Return the distance between two stamps, metres; None where `missing` has a reason.

        Speed is interpolated linearly between samples (trapezoidal rule).
        """
        if self.missing(start, end):
            return None
        near = self._samples.around(start, end)
        stamps, speeds = self._samples.stamps[near], self._samples.values[near]
        times = np.array([start, *(t for t in stamps if start < t < end), end])
        at_times = np.interp(times, stamps, speeds)
        return float(np.sum(0.5 * (at_times[1:] + at_times[:-1]) * np.diff(times)))

    def missing(self, start: float, end: float) -> str:
        """Return why the distance between two stamps is unknown; empty if it is known."""
        if not start <= end:
            return f"time ran back by {start - end:.3f} s"
        return self._samples.fault(start, end)


class AttitudeTrack:
    """The newest attitudes of a body: measured, or integrated from its angular rates."""

    def __init__(self, *, max_gap: float = 0.5, max_step_back: float = 1.0) -> None:
        """Start empty; the arguments are those of `PoseTrack`."""
        self._poses = PoseTrack(max_gap=max_gap, max_step_back=max_step_back)
        self._max_gap = max_gap
        self._last: tuple[float, np.ndarray, np.ndarray] | None = None  # stamp, rate, attitude

    @property
    def restarts(self) -> int:
        """Number of times the reference frame of the attitudes changed."""
        return self._poses.restarts

    @property
    def newest(self) -> float | None:
        """Stamp of the newest attitude, seconds."""
        return self._poses.newest

    def __len__(self) -> int:
        return len(self._poses)

    def clear(self) -> None:
        """Drop all attitudes; integrated ones restart in another reference frame."""
        if self._last is not None:
            self.restart()
        self._poses.clear()

    def restart(self) -> None:
        """Drop all attitudes and count a restart: the next ones have another reference frame."""
        self._poses.restart()
        self._last = None

    def add(self, stamp: float, R: np.ndarray) -> str:
        """Add a measured attitude.

        Args:
            stamp: seconds.
            R: directions of the body to the world. (3, 3)

        Returns:
            Why it is rejected; empty if it is kept.
        """
        check_shape("R", R, "3 3")
        if self._last is not None:  # integrated attitudes had their own reference frame
            self.restart()
        return self._poses.add(stamp, make_pose(R, np.zeros(3)))

    def turn(self, stamp: float, rate: np.ndarray) -> str:
        """Add an angular rate and integrate it, by the mean of two neighbours.

        The first attitude is the identity. A pause over `max_gap` may hide a rotation, so attitudes
        after it have a new reference frame.

        Args:
            stamp: seconds.
            rate: angular rate of the body in its own axes, rad/s. (3,)

        Returns:
            Why it is rejected; empty if it is kept.
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
        """Return why there is no attitude at a stamp; empty if there is one."""
        return self._poses.missing(stamp)


def _pause_text(pause: float) -> str:
    return f"{pause:.3f} s{' (two clocks?)' if pause > HISTORY else ''}"


def _pose_fault(T: np.ndarray) -> str:
    """Return why a matrix is not a pose; empty if it is one."""
    if not np.isfinite(T).all():
        return "pose is not finite"
    R = T[:3, :3]
    if np.abs(R @ R.T - np.eye(3)).max() > ROTATION_TOLERANCE or np.linalg.det(R) < 0:
        return "pose is not a rotation"
    return ""
