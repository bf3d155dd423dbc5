# SPDX-License-Identifier: Apache-2.0
"""The past that a stream keeps: a ring of frames, thinned so that near and far baselines are there.

A plain ring of the last N frames reaches N frames back, which is far too little in slow flight
and more than is needed in fast flight. Here the frame whose neighbours stand for it goes first:
what stays is spread evenly in log(baseline), so the same N frames serve any speed.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from depthkit.runtime.config import BaselineConfig
from depthkit.runtime.preprocess import NetworkFrame

FINEST = 0.05
"""Share of D0 below which kept baselines are spread evenly, above it geometrically."""


@dataclass(frozen=True)
class RingFrame:
    """A past frame and where it was taken."""

    index: int
    """Of the stream, counting every frame that came."""
    stamp: float
    """Seconds."""
    frame: NetworkFrame
    """What the network gets."""
    R_world_cam: np.ndarray | None = None
    """Attitude; None for a camera that is held level. (3, 3)"""
    position: np.ndarray | None = None
    """Of the camera in the world, metres. (3,)"""
    travelled: float | None = None
    """Way since the start, metres, where only displacements are known."""


class FrameRing:
    """Past frames, newest first, never more than a fixed number, spread over near and far."""

    def __init__(self, config: BaselineConfig, *, nominal_baseline: float) -> None:
        """Make an empty ring.

        Args:
            config: capacity and reach.
            nominal_baseline: D0 of the network, metres.
        """
        self._config, self._nominal = config, nominal_baseline
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
        """Add the newest frame; drop what is too old, and one that is too far, or whose neighbours
        stand for it, where the ring is full."""
        oldest = frame.stamp - self._config.max_age
        self._frames = [frame, *(past for past in self._frames if past.stamp >= oldest)]
        if len(self._frames) <= self._config.capacity:
            return
        del self._frames[self._dispensable(frame)]

    def _dispensable(self, newest: RingFrame) -> int:
        """Return which frame leaves the smallest hole among the baselines."""
        baselines = np.array([distance(past, newest) for past in self._frames])
        if np.isnan(baselines).any():
            counts, finest = np.array([newest.index - past.index for past in self._frames]), 1.0
            return self._kept + _smallest_hole(counts[self._kept :], finest)
        if baselines.max() > self._config.max_baseline * self._nominal:
            return int(baselines.argmax())
        return self._kept + _smallest_hole(baselines[self._kept :], FINEST * self._nominal)


def _smallest_hole(baselines: np.ndarray, finest: float) -> int:
    """Return whose removal leaves the smallest step in log(baseline + finest). (N,) -> index"""
    order = np.argsort(baselines, kind="stable")
    places = np.log(baselines[order] + finest)
    if len(places) < 3:
        return int(order[-1])
    holes = places[2:] - places[:-2]
    return int(order[1 + holes.argmin()])


def distance(a: RingFrame, b: RingFrame) -> float:
    """Metres between two frames; NaN where unknown.

    Of displacements alone it is the way between them: right for straight flight, an upper bound
    for a curve.
    """
    if a.position is not None and b.position is not None:
        return float(np.linalg.norm(a.position - b.position))
    if a.travelled is not None and b.travelled is not None:
        return abs(a.travelled - b.travelled)
    return float("nan")
