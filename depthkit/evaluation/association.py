# SPDX-License-Identifier: Apache-2.0
"""Association of estimated and reference poses, and the coverage of the reference.

A missing pose must never improve a score: the frames built here keep the gaps, so that every metric
can count them.
"""

from dataclasses import dataclass

import numpy as np

from depthkit.errors import DataError
from depthkit.trajectory import Trajectory

MINUTE, HALF_DAY = 60.0, 14
"""Seconds by which two starts may differ beside whole hours; hours of the farthest time zone."""


@dataclass(frozen=True)
class Matches:
    """Matched pairs of poses, in rising order, each pose used once."""

    reference: np.ndarray
    """Indices. (M,) int"""
    estimate: np.ndarray
    """Indices. (M,) int"""


@dataclass(frozen=True)
class Frames:
    """The reference at the rate of the estimate, gaps included."""

    reference: np.ndarray
    """Indices of reference poses, rising. (F,) int"""
    estimate: np.ndarray
    """Index of the estimated pose of each frame, -1 where it is missing. (F,) int"""
    coverage: float
    """Share of the reference's poses, in [0, 1], that the estimate covers."""

    @property
    def known(self) -> np.ndarray:
        """(F,) bool"""
        return self.estimate >= 0


def associate(reference: Trajectory, estimate: Trajectory, *, max_gap: float | None) -> Matches:
    """Pair poses by nearest stamp.

    Args:
        reference: rising stamps.
        estimate: rising stamps.
        max_gap: the largest difference of two stamps that still pair, seconds; None asks for equal
            stamps, which is how KITTI frame indices are paired.

    Raises:
        DataError: nothing pairs, or one pose alone; the message gives both spans.
    """
    shorter, longer = sorted((reference, estimate), key=len)
    near = _nearest(longer.stamps, shorter.stamps)
    gap = np.abs(longer.stamps[near] - shorter.stamps)
    index = np.flatnonzero(gap <= (max_gap or 0.0))
    order = index[np.argsort(gap[index], kind="stable")]
    _, first = np.unique(near[order], return_index=True)  # the nearer of two rivals keeps the pose
    index = np.sort(order[first])
    if len(index) < min(2, len(shorter)):
        raise DataError(_no_match(reference, estimate, max_gap, len(index)))
    pair = (index, near[index])
    return Matches(*(pair if shorter is reference else pair[::-1]))


def _no_match(
    reference: Trajectory, estimate: Trajectory, max_gap: float | None, found: int
) -> str:
    spans = [f"{t.stamps[0]:.3f} to {t.stamps[-1]:.3f}" for t in (estimate, reference)]
    rule = "has the stamp of" if max_gap is None else f"lies within {max_gap:g} s of"
    count = "only 1" if found else "no"
    return (
        f"{count} pose of the estimate {rule} a pose of the reference: the estimate runs from "
        f"{spans[0]}, the reference from {spans[1]}{_remedy(reference, estimate, max_gap)}"
    )


def _remedy(reference: Trajectory, estimate: Trajectory, max_gap: float | None) -> str:
    """Say what may pair two files: a larger gap, or one clock for both."""
    if max_gap is None:
        return ""
    a, b = reference.stamps, estimate.stamps
    nearest = float(np.abs(a[_nearest(a, b)] - b).min())
    if nearest <= max_gap:
        return "; are both of one recording, and their times in one unit?"
    if nearest <= np.median(np.diff(a)) if len(a) > 1 else nearest < 1:
        return (
            f"; the nearest two are {nearest:.4g} s apart: --max-gap {1.1 * nearest:.2g} pairs them"
        )
    shift = float(a[0] - b[0])
    hours = round(shift / 3600)
    if hours and abs(shift - 3600 * hours) < MINUTE and abs(hours) <= HALF_DAY:
        return f"; the clocks are {abs(hours)} h apart: a time zone; put both on one clock"
    return (
        f"; these are two clocks: put both on one (where both begin at the same moment, add "
        f"{shift:.3f} s to the stamps of the estimate)"
    )


def _nearest(sorted_values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the index of the nearest sorted value for each requested one."""
    right = np.clip(np.searchsorted(sorted_values, wanted), 1, max(len(sorted_values) - 1, 1))
    right = np.minimum(right, len(sorted_values) - 1)
    left = np.maximum(right - 1, 0)
    nearer_left = wanted - sorted_values[left] <= sorted_values[right] - wanted
    return np.where(nearer_left, left, right)


def list_frames(
    reference: Trajectory, estimate: Trajectory, matches: Matches, *, max_gap: float | None
) -> Frames:
    """List the frames to score: the matched ones, and those where the estimate is missing.

    With equal stamps (`max_gap` None) a frame is covered when it is matched. With times, rates
    may differ: a reference pose is covered when a matched pose lies within 0.6 of the slower one's
    median interval, and the missing ones are listed at the estimate's rate.
    """
    stamps, matched = reference.stamps, np.zeros(len(reference), dtype=bool)
    matched[matches.reference] = True
    covered, stride = matched, 1
    if max_gap is not None and len(estimate) > 1 and len(reference) > 1:
        slow, own = (float(np.median(np.diff(t.stamps))) for t in (estimate, reference))
        paired = estimate.stamps[matches.estimate]
        covered = np.abs(stamps - paired[_nearest(paired, stamps)]) <= 0.6 * max(slow, own)
        stride = max(1, round(slow / own))
    missing = np.flatnonzero(~covered & ~matched)[::stride]
    listed = np.sort(np.concatenate([matches.reference, missing]))
    index = np.full(len(reference), -1)
    index[matches.reference] = matches.estimate
    return Frames(listed, index[listed], float(np.mean(covered)))
