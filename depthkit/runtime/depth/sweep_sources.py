# SPDX-License-Identifier: Apache-2.0
"""Which past frames a sweep compares the current one with: by parallax and by overlap."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

GRID = 9
"""Points along each side at which frames are judged."""
SLACK = 1e-6
"""Rounding that leaves a point on the border inside, pixels."""
TOO_FAR = 1.6
"""Parallax above which a source is left out, as a multiple of the longest wanted one."""


class Candidate(NamedTuple):
    """What a past frame would show of the current one."""

    parallax: float
    """Mean parallax at a typical depth, pixels."""
    overlap: float
    """Share of the current frame that it shows."""


def look(
    T_sources_target: np.ndarray, K: np.ndarray, size: tuple[int, int], inverse_depth: float
) -> list[Candidate]:
    """Judge past frames on a grid of 9 x 9 points at one depth.

    Args:
        T_sources_target: points of the current frame to each past one. (N, 4, 4)
        K: intrinsics of all, pixels. (3, 3)
        size: (H, W).
        inverse_depth: a typical one, in the unit of the poses.
    """
    height, width = size
    u, v = np.meshgrid(np.linspace(0, width - 1, GRID), np.linspace(0, height - 1, GRID))
    rays = np.stack([u.ravel(), v.ravel(), np.ones(GRID * GRID)], 1) @ np.linalg.inv(K).T
    turned = np.einsum("nij,pj->npi", T_sources_target[:, :3, :3], rays)
    moved = turned + inverse_depth * T_sources_target[:, None, :3, 3]
    (start, ahead), (end, front) = _pixels(turned, K), _pixels(moved, K)
    inside = ahead & front & (end >= -SLACK).all(axis=2)
    inside &= (end <= np.array([width - 1, height - 1]) + SLACK).all(axis=2)
    steps = np.linalg.norm(end - start, axis=2)
    count = np.maximum(inside.sum(axis=1), 1)
    parallax = np.where(inside, steps, 0).sum(axis=1) / count
    return [
        Candidate(float(p), float(o)) for p, o in zip(parallax, inside.mean(axis=1), strict=True)
    ]


def choose(
    candidates: Sequence[Candidate], wanted: Sequence[float], *, least: float, overlap: float
) -> list[int]:
    """Choose the candidate nearest to each wanted parallax, by the ratio.

    One of far more parallax than any wanted is taken only alone: its levels would be pixels apart.

    Args:
        candidates: past frames.
        wanted: parallaxes, pixels.
        least: smallest parallax that counts, pixels.
        overlap: smallest share of the frame.

    Returns:
        Indices, each once, the smallest parallax first.
    """
    usable = [i for i, c in enumerate(candidates) if c.parallax >= least and c.overlap >= overlap]
    most = TOO_FAR * max(wanted)
    near = [i for i in usable if candidates[i].parallax <= most]
    usable = near or sorted(usable, key=lambda i: candidates[i].parallax)[:1]
    chosen: list[int] = []
    for goal in wanted:
        rest = [i for i in usable if i not in chosen]
        if rest:
            chosen.append(min(rest, key=lambda i: abs(np.log(candidates[i].parallax / goal))))
    return sorted(chosen, key=lambda i: candidates[i].parallax)


def _pixels(points: np.ndarray, K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Project points (N, P, 3): pixels (N, P, 2), and which lie in front (N, P)."""
    ahead = points[..., 2] > 1e-6
    projected = points @ K.T
    return projected[..., :2] / np.where(ahead, points[..., 2], 1.0)[..., None], ahead
