# SPDX-License-Identifier: Apache-2.0
"""Training on known motion: which frames it is known for, and the unit that depth is learnt in.

Depth has the unit of the translations. Metric poses stay metres. Poses up to scale have one free
factor for each segment, and a network that sees several would have to guess which: so each segment
is scaled until the median depth of its tracked points is 1. Where too few points have parallax, the
median distance between a target and its farthest source becomes 1/20, which is about the same.
"""

import math
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from torch import nn

from depthkit.data.sequence import Sequence
from depthkit.data.sparse_depth import usual_depth
from depthkit.errors import DataError
from depthkit.models.mono_depth import Conv3x3, DispNetS, UNetDepth

_GET_POSES = (
    "make them with 'depthkit prepare --poses odometry' (or 'depthkit odometry'), give a sensor's "
    "with 'prepare --poses FILE', or set loss.motion: learnt"
)


@dataclass(frozen=True)
class MotionUnit:
    """What the depth learnt from known motion is measured in."""

    metric: bool
    """All poses are metres."""
    depth: float
    """Usual depth in that unit: where the depth network begins."""
    source: str
    """Where the scale comes from, in words, for the checkpoint."""
    factors: tuple[np.ndarray, ...] = ()
    """Factors on the lengths of each sequence, by frame; in the order they were given. (N,) each"""


def with_known_motion(sequence: Sequence, shifts: tuple[int, ...]) -> np.ndarray:
    """Find the targets whose motions to all sources are known and of one segment. (N,) bool

    Raises:
        DataError: there is none.
    """
    labels = sequence.segments()
    frames = np.arange(len(labels))
    known = labels >= 0
    for shift in shifts:
        source = frames + shift
        inside = (source >= 0) & (source < len(labels))
        known &= inside & (labels[np.clip(source, 0, len(labels) - 1)] == labels)
    if sequence.poses is None:
        raise DataError(f"{sequence.name}: loss.motion needs poses (poses.txt); {_GET_POSES}")
    if not known.any():
        raise DataError(
            f"{sequence.name}: loss.motion: at no frame are the poses of all sources "
            f"{list(shifts)} known in one segment ({int((labels >= 0).sum())} of {len(labels)} "
            "frames have one); choose smaller data.shifts or prepare with other poses"
        )
    return known


def fix_unit(
    sequences: list[Sequence], shifts: tuple[int, ...]
) -> tuple[list[Sequence], MotionUnit]:
    """Bring the poses of all sequences to one unit.

    Args:
        sequences: with poses.
        shifts: offsets of the sources, frames; the largest gives the parallax.

    Returns:
        The sequences, those up to scale with scaled translations, and the unit.

    Raises:
        DataError: the camera never moves, or metric and relative poses are mixed.
    """
    metric = [sequence.has_metric_poses for sequence in sequences]
    if any(metric) != all(metric):
        other = sequences[metric.index(not metric[0])]
        raise DataError(
            f"loss.motion: poses of {sequences[0].name} are {_unit(metric[0])} and those of "
            f"{other.name} {_unit(not metric[0])}; train on one kind (data.train, data.val)"
        )
    far = max(abs(shift) for shift in shifts)
    scaled, depths, ways, factors = [], [], [], []
    for sequence in sequences:
        labels, poses = sequence.segments(), np.array(sequence.poses)
        factor = np.ones(len(poses))
        for segment in np.unique(labels[labels >= 0]):
            depth, way = usual_depth(sequence, int(segment), far)
            if depth > 0:
                depths.append(depth)
                ways.append(way)
                factor[labels == segment] = 1 if metric[0] else 1 / depth
        poses[:, :3, 3] *= factor[:, None]
        factors.append(factor)
        scaled.append(replace(sequence, poses=poses))
    if not depths:
        raise DataError(
            f"loss.motion: the camera never moves between frames {far} apart in "
            f"{', '.join(s.name for s in sequences)}; choose larger data.shifts"
        )
    if metric[0]:
        source = "known poses in training, metres"
        return scaled, MotionUnit(True, float(np.median(depths)), source, tuple(factors))
    way = max(set(ways), key=ways.count)
    source = f"none: {way} of each training segment is 1"
    return scaled, MotionUnit(False, 1.0, source, tuple(factors))


def begin_at(depth_net: nn.Module, depth: float) -> None:
    """Let a single-view network with fresh weights begin at a depth, the same everywhere.

    Its own beginning, 0.2 with the usual range, would put nearly every pixel outside of the sources
    where the motion has a fixed length. Pair networks, at their nominal baseline, stay.

    Raises:
        DataError: the network cannot predict that depth.
    """
    if not isinstance(depth_net, UNetDepth | DispNetS):
        return
    reach = depth_net.to_inverse_depth
    share = (1 / depth - reach.least) / reach.span
    if not 0 < share < 1:
        nearest, farthest = 1 / (reach.least + reach.span), 1 / reach.least
        raise DataError(
            f"loss.motion: the usual depth is {depth:.3g} in the unit of the poses, and the "
            f"network predicts {nearest:g} to {farthest:g}; set model.min_depth and max_depth"
        )
    for head in depth_net.heads:
        last = head.conv if isinstance(head, Conv3x3) else head
        nn.init.constant_(cast(nn.Conv2d, last).bias, math.log(share / (1 - share)))  # type: ignore[arg-type]


def _unit(metric: bool) -> str:
    return "metres" if metric else "up to scale"
