# SPDX-License-Identifier: Apache-2.0
"""The snippet ATE of SfMLearner (Zhou 2017): short windows of poses, each at its own scale.

The number papers print divides the root of the summed squares by N, not by sqrt(N): it is sqrt(N)
smaller than a root mean square. Both are given here, under their own names.
"""

from dataclasses import dataclass

import numpy as np

from depthkit.errors import DataError, ShapeError


@dataclass(frozen=True)
class SnippetAte:
    """Error of all overlapping snippets, in the unit of the reference."""

    sfmlearner: np.ndarray
    """sqrt(sum of squares) / N of each snippet, as printed in papers. (M,)"""
    rmse: np.ndarray
    """sqrt(sum of squares / N) of each snippet. (M,)"""
    scale: np.ndarray
    """Least-squares scale of each snippet. (M,)"""
    possible: int
    """Number of snippets without missing poses."""


def snippet_ate(
    reference: np.ndarray, estimate: np.ndarray, length: int = 5, *, known: np.ndarray | None = None
) -> SnippetAte:
    """Score every overlapping snippet, aligned by its first pose and one least-squares scale.

    scale = sum(reference . estimate) / sum(estimate . estimate); an estimate that does not move
    keeps scale 0, so its error is the whole path instead of a NaN.

    Args:
        reference: camera to world of consecutive frames. (F, 4, 4)
        estimate: the same frames, any scale; ignored where unknown. (F, 4, 4)
        length: frames in a snippet, at least 2.
        known: frames that have an estimate; a snippet needs all of its frames. (F,) bool

    Raises:
        ShapeError: the arrays do not match.
        DataError: a length below 2.
    """
    if reference.shape != estimate.shape or reference.shape[1:] != (4, 4):
        raise ShapeError(
            f"snippet_ate: expected two (F, 4, 4), got {reference.shape}, {estimate.shape}"
        )
    if length < 2:
        raise DataError(f"a snippet needs at least 2 frames, got {length}")
    known = np.ones(len(reference), dtype=bool) if known is None else known
    possible = max(0, len(reference) - length + 1)
    window = np.arange(possible)[:, None] + np.arange(length)  # (possible, length)
    window = window[known[window].all(axis=1)]
    truth, guess = _local_positions(reference, window), _local_positions(estimate, window)
    energy = np.sum(guess**2, axis=(1, 2))
    scale = np.sum(truth * guess, axis=(1, 2)) / np.where(energy > 0, energy, 1.0)
    squares = np.sum((scale[:, None, None] * guess - truth) ** 2, axis=(1, 2))
    return SnippetAte(np.sqrt(squares) / length, np.sqrt(squares / length), scale, possible)


def _local_positions(T_world_cam: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Return camera centres in the frame of each window's first camera. (M, length, 3)"""
    poses = T_world_cam[window]  # (M, length, 4, 4)
    offset = poses[..., :3, 3] - poses[:, :1, :3, 3]
    return offset @ poses[:, 0, :3, :3]  # row vectors: R^T p


def chain_relative(T_a_b: np.ndarray) -> np.ndarray:
    """Chain relative motions into a trajectory that starts at the identity.

    Args:
        T_a_b: points of frame i + 1 to frame i, one for each step. (F - 1, 4, 4)

    Returns:
        T_world_cam: (F, 4, 4)
    """
    poses = [np.eye(4)]
    for step in T_a_b:
        poses.append(poses[-1] @ step)
    return np.stack(poses)
