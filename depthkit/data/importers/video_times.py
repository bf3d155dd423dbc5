# SPDX-License-Identifier: Apache-2.0
"""When the frames of a video were taken: the container's times where they rise, else its rate."""

from dataclasses import dataclass

import numpy as np

from depthkit.data.importers.video_file import VideoFacts
from depthkit.errors import DataError

MAX_FPS = 1000.0
MOST_REPAIRED = 0.05
"""Share of frames whose time may be filled in; beyond it the container's times are not used."""
DELAYED = 16
"""Frames at the end whose time OpenCV does not tell: a decoder gives those it reordered last."""
STEADY = 1.5
"""Longest step over the median one up to which a rate counts as constant."""


@dataclass(frozen=True)
class FrameTimes:
    """Times of the frames of one file."""

    times: np.ndarray
    """Seconds, rising. (N,)"""
    step: float
    """Seconds from the last frame to where another one would follow."""
    notes: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()


def choose_times(facts: VideoFacts, stamps: np.ndarray) -> FrameTimes:
    """Choose between a container's times and its frame rate.

    Args:
        facts: header of the file.
        stamps: the container's time of each frame, seconds. (N,)

    Raises:
        DataError: neither can be used.
    """
    repaired = _repair(stamps)
    if repaired is None or facts.is_raw:
        return _by_rate(facts, stamps)
    filled, steps = int((repaired != stamps).sum()), np.diff(repaired)
    step = float(np.median(steps)) if len(steps) else 1.0 / (facts.rate or 1.0)
    notes = [_about_steps(steps)] if len(steps) and steps.max() > STEADY * np.median(steps) else []
    assumed = []
    if filled:
        assumed = [
            f"{filled} of {len(stamps)} frames have no time of their own that rises: filled in "
            "between their neighbours (prepare --fps overrules)"
        ]
    return FrameTimes(repaired, step, tuple(notes), tuple(assumed))


def _by_rate(facts: VideoFacts, stamps: np.ndarray) -> FrameTimes:
    rate = facts.rate
    if not 0 < rate <= MAX_FPS:
        raise DataError(f"{facts.path}: no usable times and a frame rate of {rate:g}; give --fps")
    why = "a raw stream carries no times" if facts.is_raw else "times do not rise"
    sentence = f"{why}: index / {rate:g} frames/s used (prepare --fps sets it)"
    return FrameTimes(np.arange(len(stamps)) / rate, 1.0 / rate, assumed=(sentence,))


def _about_steps(steps: np.ndarray) -> str:
    return (
        f"variable frame rate: steps of {steps.min() * 1e3:.0f} to {steps.max() * 1e3:.0f} ms, "
        f"usually {np.median(steps) * 1e3:.0f}; the container's times are used"
    )


def _repair(stamps: np.ndarray) -> np.ndarray | None:
    """Fill in the few times that do not rise; None where there are too many. (N,)"""
    known = np.isfinite(stamps)
    highest = np.maximum.accumulate(np.where(known, stamps, -np.inf))
    known[1:] &= stamps[1:] > highest[:-1]
    lost = int((~known).sum())
    tail = len(stamps) - 1 - int(np.flatnonzero(known)[-1]) if known.any() else len(stamps)
    if known.sum() < min(2, len(stamps)) or lost - min(tail, DELAYED) > MOST_REPAIRED * len(stamps):
        return None
    if not lost:
        return stamps
    index = np.flatnonzero(known)
    step = float(np.median(np.diff(stamps[index]) / np.diff(index)))
    times = np.interp(np.arange(len(stamps)), index, stamps[index])
    beyond = np.arange(len(stamps)) - index[-1]
    return np.where(beyond > 0, stamps[index[-1]] + beyond * step, times)
