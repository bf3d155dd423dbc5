# SPDX-License-Identifier: Apache-2.0
"""Trivial baselines: one constant depth for all pixels, one constant motion for all frames.

A motion that never turns (straight on), or never happens (standing still), is what an odometry has
to beat before its figures say anything.
"""

from collections.abc import Iterable

import numpy as np

from depthkit.errors import DataError
from depthkit.evaluation.depth import DepthProtocol, scored_pixels
from depthkit.evaluation.snippets import chain_relative
from depthkit.trajectory import Trajectory, exp_se3, inverse, log_se3

_BINS = 20_000
"""Steps of depth, evenly in its logarithm: 0.06 % apart from 1 mm to 80 m."""


def constant_depth(truths: Iterable[np.ndarray], protocol: DepthProtocol) -> float:
    """Return the constant depth with the least mean abs_rel over the truth it is given, metres.

    Give it the training frames for a baseline without foresight, the scored ones for the best that
    any constant could do. It is the median weighted by 1 / gt, each image counting the same,
    to the width of a bin: no more than one image is held in memory.

    Args:
        truths: metres, 0 = unknown. (H, W) each
        protocol: crop and caps.

    Raises:
        DataError: no pixel has a truth.
    """
    edges = np.geomspace(protocol.min_depth, protocol.max_depth, _BINS + 1)
    weight = np.zeros(_BINS)
    for gt in truths:
        g = gt[scored_pixels(gt, None, protocol)].astype(np.float64)
        if len(g):
            weight += np.histogram(g, edges, weights=1 / (g * len(g)))[0]
    if not weight.any():
        raise DataError("no pixel has a truth inside the depth range")
    middle = int(np.searchsorted(np.cumsum(weight), weight.sum() / 2))
    return float(np.sqrt(edges[middle] * edges[middle + 1]))


def mean_motion(training: Iterable[Trajectory]) -> np.ndarray:
    """Average the motion from each pose to the next, as a twist, over training trajectories.

    Returns:
        T_a_b: points of a frame to the one before. (4, 4)

    Raises:
        DataError: no trajectory has two poses.
    """
    steps = [inverse(t.T_world_cam[:-1]) @ t.T_world_cam[1:] for t in training]
    twists = log_se3(np.concatenate(steps)) if steps else np.zeros((0, 6))
    if len(twists) == 0:
        raise DataError("no training trajectory has two poses to take a motion from")
    return exp_se3(twists.mean(axis=0))


def constant_motion(stamps: np.ndarray, T_a_b: np.ndarray) -> Trajectory:
    """Repeat one motion from frame to frame: the trajectory of a constant-motion baseline.

    Args:
        stamps: stamps of the frames. (N,)
        T_a_b: points of a frame to the one before. (4, 4)
    """
    return Trajectory(stamps, chain_relative(np.repeat(T_a_b[None], len(stamps) - 1, axis=0)))


def straight_on(stamps: np.ndarray, T_world_cam: np.ndarray) -> np.ndarray:
    """Return a path that goes straight on at constant speed, as long as the reference's.

    It starts as the reference does and goes the way that the reference goes on average, in the axes
    of the camera.

    Args:
        stamps: seconds, or frame indices. (N,)
        T_world_cam: reference. (N, 4, 4)

    Returns:
        T_world_cam. (N, 4, 4)
    """
    R, centres = T_world_cam[:-1, :3, :3], T_world_cam[:, :3, 3]
    steps = np.diff(centres, axis=0)
    way = np.einsum("nji,nj->i", R, steps)  # the sum of R^T step: axes of the camera
    norm = float(np.linalg.norm(way))
    way = way / norm if norm > 0 else np.array([0.0, 0.0, 1.0])
    share = (stamps - stamps[0]) / (stamps[-1] - stamps[0])
    length = float(np.linalg.norm(steps, axis=1).sum())
    path = np.repeat(T_world_cam[:1], len(stamps), axis=0)
    path[:, :3, 3] += length * share[:, None] * (T_world_cam[0, :3, :3] @ way)
    return path


def standing_still_ate(positions: np.ndarray, mode: str) -> float:
    """Return the ATE of an estimate that never moves, in the unit of the positions.

    Args:
        positions: of the reference, in the frame of the first one. (N, 3)
        mode: of the alignment; a fit may put the standing point anywhere.
    """
    centre = positions.mean(axis=0) if mode in ("6dof", "7dof") else positions[0]
    return float(np.sqrt(np.mean(np.sum((positions - centre) ** 2, axis=-1))))
