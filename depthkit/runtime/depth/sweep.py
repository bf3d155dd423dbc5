# SPDX-License-Identifier: Apache-2.0
"""Depth of one frame from several others with known poses: plane sweep and semi-global matching."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from depthkit.multiview.matching_cost import Cost, Describe, matching_cost, sweep_lines, turned
from depthkit.multiview.semi_global import semi_global

ALONG, ACROSS = 2.0, 1.5
"""Remaining flow along and across the epipolar line up to which a source agrees, pixels."""


@dataclass(frozen=True, eq=False)
class Swept:
    """Depth of every pixel, and what tells how far it can be trusted. (H, W) float32 each."""

    inverse: np.ndarray
    """Inverse depth, > 0, in the unit of the poses."""
    uniqueness: np.ndarray
    """Share by which the second best level costs more, 0 to 1."""
    cost: np.ndarray
    """Matching cost of the level, 0 to 128."""
    curvature: np.ndarray
    """Second difference of the aggregated cost."""
    agreeing: np.ndarray
    """Share of the sources that the depth leads to the same point, 0 to 1."""
    seen: np.ndarray
    """Share of the sources that show the point."""
    pixels: np.ndarray
    """Parallax in the source of the longest baseline, pixels."""
    at_end: np.ndarray
    """Level at an end of the range. (H, W) bool"""


def inverse_levels(least: float, most: float, count: int) -> np.ndarray:
    """Return evenly spaced inverse depths: one step is one step of parallax. (count,)"""
    return np.linspace(least, most, count)


def sweep(
    target: np.ndarray,
    sources: Sequence[np.ndarray],
    T_sources_target: np.ndarray,
    *,
    K: np.ndarray,
    inverse_depths: np.ndarray,
    paths: int = 8,
    cost: Cost = "census",
    describe: Describe | None = None,
) -> Swept:
    """Find the inverse depth at which the sources agree with the target.

    Args:
        target: grey. (H, W) uint8
        sources: grey. (H, W) uint8 each
        T_sources_target: points of the target to each source. (S, 4, 4)
        K: intrinsics of all, pixels. (3, 3)
        inverse_depths: evenly spaced levels. (N,)
        paths: directions of the semi-global matching.
        cost, describe: as for `matching_cost`.
    """
    # 1. Sources in the target's axes: what remains is a scale and a shift at every level.
    rotations = T_sources_target[:, :3, :3]
    flat = [turned(s, R, K) for s, R in zip(sources, rotations, strict=True)]
    offsets = np.einsum("sji,sj->si", rotations, T_sources_target[:, :3, 3])
    lines = sweep_lines(offsets, K, inverse_depths)
    # 2. Costs and their agreement with the neighbours.
    volume = matching_cost(target, flat, lines, cost=cost, describe=describe)
    found = semi_global(volume, target, paths=paths)
    count = len(inverse_depths)
    nearest = np.clip(np.rint(found.level), 0, count - 1).astype(np.intp)
    step = (inverse_depths[-1] - inverse_depths[0]) / (count - 1)
    inverse = (inverse_depths[0] + step * found.level).astype(np.float32)
    own = np.take_along_axis(volume, nearest[..., None], axis=2)[..., 0].astype(np.float32)
    # 3. Check: each source, warped by the depth found, must coincide with the target.
    agreeing, seen, pixels = _check(target, flat, offsets, inverse, K)
    return Swept(
        inverse=np.maximum(inverse, np.float32(1e-9)),
        uniqueness=1 - found.best / np.maximum(found.second, 1e-3),
        cost=own,
        curvature=found.curvature,
        agreeing=agreeing,
        seen=seen,
        pixels=pixels,
        at_end=(nearest == 0) | (nearest == count - 1),
    )


def _check(
    target: np.ndarray,
    flat: Sequence[np.ndarray],
    offsets: np.ndarray,
    inverse: np.ndarray,
    K: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the share of agreeing sources, that of seeing ones, and the longest parallax."""
    height, width = target.shape
    u, v = np.arange(width, dtype=np.float32)[None], np.arange(height, dtype=np.float32)[:, None]
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    agreeing, seen, longest = (np.zeros(target.shape, np.float32) for _ in range(3))
    for source, offset in zip(flat, offsets, strict=True):
        du, dv, dz = (np.float32(x) for x in K @ offset)
        ahead = np.maximum(1 + inverse * dz, np.float32(1e-3))
        x, y = (u + inverse * du) / ahead, (v + inverse * dv) / ahead
        warped = cv2.remap(source, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        flow = search.calc(target, warped, None)  # type: ignore[call-overload]
        inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1) & (warped > 0)
        # Direction of the epipolar line at the pixel: that of p' as q changes.
        along_u, along_v = du - x * dz, dv - y * dz
        length = np.sqrt(along_u * along_u + along_v * along_v) + np.float32(1e-12)
        along = (flow[..., 0] * along_u + flow[..., 1] * along_v) / length
        across = (flow[..., 1] * along_u - flow[..., 0] * along_v) / length
        good = inside & (np.abs(along) < ALONG) & (np.abs(across) < ACROSS)
        agreeing += good
        seen += inside
        longest = np.maximum(longest, inverse * length / ahead)
    count = np.float32(len(flat))
    return agreeing / count, seen / count, longest
