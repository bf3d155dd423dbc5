# SPDX-License-Identifier: Apache-2.0
"""The past frames of a stream: a ring, thinned so that short and long baselines are available.

A plain ring of the last N frames is far too short in slow flight and longer than needed in fast
flight. Here the most redundant frame is dropped first: the rest is spaced evenly in log(baseline),
so the same N frames serve any speed.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from depthkit.runtime.config import BaselineConfig
from depthkit.runtime.preprocess import NetworkFrame

FINEST = 0.05
"""Baseline, as a share of D0, below which spacing is even and above which it is geometric."""


@dataclass(frozen=True)
class RingFrame:
    """A past frame and its pose."""

    index: int
    """Number of the frame in the stream, counting every frame received."""
    stamp: float
    """Stamp, seconds."""
    frame: NetworkFrame
    """Image and intrinsics at the network's size."""
    R_world_cam: np.ndarray | None = None
    """Attitude; None for a stabilised camera. (3, 3)"""
    position: np.ndarray | None = None
    """Position of the camera in the world, metres. (3,)"""
    travelled: float | None = None
    """Path length since the start, metres, where only displacements are known."""


class FrameRing:
    """Past frames, newest first, at most a fixed number, spread over short and long baselines."""

    def __init__(self, config: BaselineConfig, *, nominal_baseline: float | None) -> None:
        """Make an empty ring.

        Args:
            config: capacity and longest baseline.
            nominal_baseline: D0 of the network, metres; None while unknown: then the shifts are
                spaced.
        """
        self._config, self.nominal_baseline = config, nominal_baseline
        self._frames: list[RingFrame] = []
        # Rule fixed looks up exact shifts, so the newest frames stay whatever their spacing.
        self._kept = config.shift if config.rule == "fixed" else 1

    def __len__(self) -> int:
        return len(self._frames)

    def __iter__(self) -> Iterator[RingFrame]:
        return iter(self._frames)

    def clear(self) -> None:
        """Forget all frames."""
        self._frames = []

    def push(self, frame: RingFrame) -> None:
        """Add the newest frame; drop frames that are too old and, if the ring is full, one more:
        the farthest if it is out of reach, else the most redundant."""
        oldest = frame.stamp - self._config.max_age
        self._frames = [frame, *(past for past in self._frames if past.stamp >= oldest)]
        if len(self._frames) <= self._config.capacity:
            return
        del self._frames[self._dispensable(frame)]

    def _dispensable(self, newest: RingFrame) -> int:
        """Return the index of the frame that leaves the smallest gap among the baselines."""
        baselines = np.array([distance(past, newest) for past in self._frames])
        nominal = self.nominal_baseline
        # Without displacements the spacing is that of the shifts.
        if nominal is None or np.isnan(baselines).any():
            counts, finest = np.array([newest.index - past.index for past in self._frames]), 1.0
            return self._kept + _smallest_hole(counts[self._kept :], finest)
        # A frame beyond the longest useful baseline goes before a redundant one.
        if baselines.max() > self._config.max_baseline * nominal:
            return int(baselines.argmax())
        return self._kept + _smallest_hole(baselines[self._kept :], FINEST * nominal)


def _smallest_hole(baselines: np.ndarray, finest: float) -> int:
    """Return whose removal leaves the smallest gap in log(baseline + finest). (N,) -> index"""
    order = np.argsort(baselines, kind="stable")
    places = np.log(baselines[order] + finest)
    if len(places) < 3:
        return int(order[-1])
    # The gap that frame i leaves is the distance of its two neighbours; both ends always stay.
    holes = places[2:] - places[:-2]
    return int(order[1 + holes.argmin()])


def distance(a: RingFrame, b: RingFrame) -> float:
    """Return the distance between two frames, metres; NaN where unknown.

    From displacements alone it is the path length between them: exact in straight flight, an upper
    bound in a curve.
    """
    if a.position is not None and b.position is not None:
        return float(np.linalg.norm(a.position - b.position))
    if a.travelled is not None and b.travelled is not None:
        return abs(a.travelled - b.travelled)
    return float("nan")


def jump_before(newest: RingFrame | None, current: RingFrame, *, max_speed: float) -> str:
    """Return how the pose jumped since the newest past frame; empty if it did not.

    Args:
        newest: newest past frame; None for none.
        current: frame with its pose, metres.
        max_speed: largest speed that is no jump, m/s.
    """
    if newest is None:
        return ""
    pause, jump = current.stamp - newest.stamp, distance(newest, current)
    return f"the pose jumped by {jump:.1f} m in {pause:.3f} s" if jump > max_speed * pause else ""
