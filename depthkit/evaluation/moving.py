# SPDX-License-Identifier: Apache-2.0
"""Scores of moving-object masks: intersection over union, and average precision of a soft mask."""

import numpy as np

from depthkit.errors import ShapeError


def intersection_over_union(mask: np.ndarray, truth: np.ndarray) -> float | None:
    """Return the pixels in both over those in either; None where both are empty.

    Args:
        mask: predicted to move; of one frame, or the pixels of many. (...,) bool
        truth: (...,) bool
    """
    _check(mask, truth)
    either = int((mask | truth).sum())
    return int((mask & truth).sum()) / either if either else None


def average_precision(score: np.ndarray, truth: np.ndarray) -> float | None:
    """Return the area under precision over recall: sum of (R_n - R_n-1) P_n, no interpolation.

    Pixels of one score enter together, so a constant score gets the share of moving pixels, which
    is what chance gets.

    Args:
        score: larger where motion is likelier; any monotone scale. (...,)
        truth: (...,) bool

    Returns:
        None where nothing moves.
    """
    _check(score, truth)
    order = np.argsort(-score, axis=None, kind="stable")
    ranked = score.ravel()[order]
    hits = np.cumsum(truth.ravel()[order])
    if len(hits) == 0 or hits[-1] == 0:
        return None
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)  # of each group of ties
    recall = hits[last] / hits[-1]
    precision = hits[last] / (last + 1)
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def _check(guess: np.ndarray, truth: np.ndarray) -> None:
    if guess.shape != truth.shape:
        raise ShapeError(f"moving score: expected one shape, got {guess.shape} and {truth.shape}")
