# SPDX-License-Identifier: Apache-2.0
"""Descriptors of places as numbers: similarity, shorter codes by PCA, and two models as one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from depthkit.errors import DataError, check_shape

KNOWN = 1000
"""Places, evenly drawn, that tell how the similarities of a model spread."""
LEAST_VARIANCE = 1e-6
"""Share of the largest variance below which a direction is rounding, and is left out."""


def similarities(query: np.ndarray, database: np.ndarray) -> np.ndarray:
    """Return the cosine similarity of every query to every place.

    Args:
        query: descriptors; one of zeros is like nothing. (Q, K)
        database: descriptors of the places. (D, K)

    Returns:
        -1 .. 1. (Q, D) float32

    Raises:
        ShapeError: not two matrices.
        DataError: no place, or descriptors of another length.
    """
    check_shape("similarities: query", query, "Q K")
    check_shape("similarities: database", database, "D K")
    if len(query) == 0 or len(database) == 0:
        raise DataError(f"{len(query)} queries and {len(database)} places; both need at least one")
    if query.shape[1] != database.shape[1]:
        raise DataError(
            f"descriptors of {query.shape[1]} numbers against {database.shape[1]} of the database; "
            "describe both with one model"
        )
    return unit(query) @ unit(database).T


def unit(vectors: np.ndarray) -> np.ndarray:
    """Scale rows to length 1; zeros stay zeros. (N, K) float32"""
    x = vectors.astype(np.float32)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(length > 0, length, 1.0)


@dataclass(frozen=True, eq=False)
class Projection:
    """Principal axes of descriptors, the most varied first."""

    mean: np.ndarray
    """Mean descriptor. (K,)"""
    axes: np.ndarray
    """Axes of length 1, one a column. (K, R)"""
    deviation: np.ndarray
    """Standard deviations along the axes. (R,)"""

    @property
    def rank(self) -> int:
        """Number of axes: the longest code."""
        return len(self.deviation)

    def apply(self, vectors: np.ndarray, size: int, *, whiten: bool) -> np.ndarray:
        """Shorten descriptors.

        Args:
            vectors: (N, K)
            size: numbers of a code, at most the rank.
            whiten: divide by the standard deviations, so that all axes count the same.

        Returns:
            Codes of length 1. (N, size) float32
        """
        if size > self.rank:
            raise DataError(f"a code of {size} numbers from {self.rank} axes; learn them on more")
        codes = (vectors - self.mean) @ self.axes[:, :size]
        return unit(codes / self.deviation[:size] if whiten else codes)


def principal_axes(vectors: np.ndarray) -> Projection:
    """Find the principal axes by the eigenvectors of the smaller of the two Gram matrices.

    Args:
        vectors: descriptors to learn from. (N, K)

    Raises:
        DataError: fewer than three descriptors, or all the same.
    """
    check_shape("principal_axes: vectors", vectors, "N K")
    count, width = vectors.shape
    mean = vectors.mean(axis=0, dtype=np.float64) if count else np.zeros(width)
    x = vectors - mean
    if count < 3 or not x.any():
        raise DataError(f"principal axes of {count} descriptors that do not differ; give more")
    # 1. Variances, from the smaller of (N, N) and (K, K); both have the same non-zero ones.
    values, found = np.linalg.eigh(x @ x.T if count < width else x.T @ x)
    kept = np.flatnonzero(values > LEAST_VARIANCE * values[-1])[::-1]
    deviation = np.sqrt(values[kept] / count)
    # 2. Axes; from (N, N) they are the descriptors mixed by its eigenvectors.
    axes = x.T @ found[:, kept] / np.sqrt(values[kept]) if count < width else found[:, kept]
    return Projection(mean, axes, deviation)


def concatenate(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Join descriptors of several models: the similarity is the mean of theirs. (N, sum K)"""
    return unit(np.concatenate([unit(part) for part in parts], axis=1))


def fuse_late(parts: Sequence[np.ndarray], learnt: Sequence[np.ndarray]) -> np.ndarray:
    """Merge the lists of several models: the mean of their standardised similarities.

    Mean and deviation are those between different places that are known before the first query,
    so that models whose similarities spread differently count the same.

    Args:
        parts: similarities of queries to places, one a model. (Q, D) each
        learnt: descriptors of known places, one a model. (L, K) each

    Returns:
        (Q, D) float32
    """
    merged = [_standardised(part, known) for part, known in zip(parts, learnt, strict=True)]
    return np.mean(merged, axis=0).astype(np.float32)


def _standardised(similarity: np.ndarray, known: np.ndarray) -> np.ndarray:
    drawn = known[:: max(1, len(known) // KNOWN)][:KNOWN]
    if len(drawn) == 0:
        raise DataError("late fusion: no known places to compare the models on; give some")
    between = similarities(drawn, drawn)[~np.eye(len(drawn), dtype=bool)]
    deviation = float(between.std()) if len(between) else 0.0
    if deviation == 0:
        raise DataError(f"late fusion: {len(known)} known places do not differ; give more of them")
    return (similarity - between.mean()) / np.float32(deviation)
