# SPDX-License-Identifier: Apache-2.0
"""Disparity of a rectified pair, coarse to fine: a robust cost first, a fine one near its answer.

At a small size of the pictures the whole range of disparities is searched, at 1/8 and below with
census, which needs no training. Each larger size is searched within a few levels of the answer
before, with census, ZNCC or a learnt similarity [Chebbi 2023]. Every size is regularised by
semi-global matching; a match must be found from both pictures.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from depthkit.errors import check_shape
from depthkit.multiview.matching_cost import Cost, Describe, stereo_cost
from depthkit.multiview.semi_global import semi_global

MOST_COSTS = 30_000_000
"""Costs that are held at once where the whole range is searched: five bytes each."""
_PRIOR_SIZES = 8  # the robust cost rules where sides are this many times smaller, or more
_LEAST_SIDE = 12  # pixels: smaller pictures say nothing


@dataclass(frozen=True)
class MatchConfig:
    """How a rectified pair is matched.

    Penalties were chosen on six rendered pairs (scripts/similarity/stereo_pairs.py, seeds from
    60000); pairs of other seeds and Middlebury's motorcycle judge.
    """

    cost: Cost = "census"
    """What is compared at the finer sizes."""
    margin: int = 7
    """Levels searched on either side of the coarser answer."""
    whole_range: int | None = None
    """Size, 1 / this, at which the whole range of disparities is searched: 1 searches everything,
    16 is the hybrid of the paper; None for the finest of 1/2 to 1/16 whose costs fit into
    MOST_COSTS. On rendered pairs 2 is a little better than 4 and 8."""
    paths: int = 8
    """Directions of semi-global matching."""
    p1: float = 30.0
    """Penalty of a step by one level, for costs of 0 to 128: five times that of a sweep, where
    several sources have been averaged."""
    p2: float = 240.0
    """Penalty of a larger step, where the picture is even."""
    agreement: float = 1.0
    """Largest difference between the disparities from left and from right, pixels."""
    speckle: int = 100
    """Smaller areas of a disparity of their own are left out, pixels."""


@dataclass(frozen=True, eq=False)
class Matched:
    """Disparity of the left picture: its pixel (u, v) is the right one's (u - disparity, v)."""

    disparity: np.ndarray
    """Pixels; where not measured, that of the farther neighbour in the row. (H, W) float32"""
    measured: np.ndarray
    """Found alike from both pictures. (H, W) bool"""


def match_pair(
    left: np.ndarray,
    right: np.ndarray,
    *,
    max_disparity: int,
    config: MatchConfig = MatchConfig(),  # noqa: B008 (frozen)
    describe: Describe | None = None,
) -> Matched:
    """Match a rectified pair.

    Args:
        left, right: grey. (H, W) uint8
        max_disparity: largest disparity, whole pixels; the smallest is 0.
        config: how.
        describe: descriptors of the learnt cost.
    """
    from depthkit.multiview.hybrid_kernels import fill_rows

    check_shape("match_pair: left", left, "H W")
    check_shape("match_pair: right", right, " ".join(map(str, left.shape)))
    # 1. From left to right, and from right to left on mirrored pictures.
    there = search(left, right, max_disparity, config, describe)
    first, second = (np.ascontiguousarray(each[:, ::-1]) for each in (right, left))
    back = search(first, second, max_disparity, config, describe)[:, ::-1]
    # 2. What both find alike, without islands.
    measured = agrees(there, back, config.agreement)
    measured &= _without_speckles(there, measured, config.speckle)
    # 3. Filled from behind, smoothed without blurring edges.
    filled = np.empty_like(there)
    fill_rows(there, measured, filled)
    filled = np.where(np.isnan(filled), there, filled)
    return Matched(cv2.medianBlur(filled, 3), measured)


def search(
    left: np.ndarray,
    right: np.ndarray,
    max_disparity: int,
    config: MatchConfig = MatchConfig(),  # noqa: B008 (frozen)
    describe: Describe | None = None,
) -> np.ndarray:
    """Find the disparity of every left pixel, from coarse to fine.

    Args:
        left, right, max_disparity, config, describe: as for `match_pair`.

    Returns:
        Pixels, at most `max_disparity`. (H, W) float32
    """
    disparity = np.zeros((0, 0), np.float32)
    for factor in _factors(left.shape, max_disparity, config):
        small = [_shrink(each, factor) for each in (left, right)]
        most = -(-max_disparity // factor)
        cost: Cost = "census" if factor >= _PRIOR_SIZES else config.cost
        lowest = None
        if disparity.size and 2 * config.margin < most:
            before = _enlarge(disparity, small[0].shape)
            lowest = np.clip(np.rint(before) - config.margin, 0, most - 2 * config.margin)
            lowest = lowest.astype(np.int16)
        disparity = _search_size(small, most, lowest, cost, config, describe)
    return np.minimum(disparity, np.float32(max_disparity))


def _search_size(
    pictures: list[np.ndarray],
    most: int,
    lowest: np.ndarray | None,
    cost: Cost,
    config: MatchConfig,
    describe: Describe | None,
) -> np.ndarray:
    """Match one size of the pictures; disparity in its pixels. (h, w) float32"""
    from depthkit.multiview.hybrid_kernels import average_windows

    levels = None if lowest is None else 2 * config.margin + 1
    volume = stereo_cost(
        *pictures,
        disparities=np.arange(most + 1),
        cost=cost,
        describe=describe,
        lowest=lowest,
        levels=levels,
    )
    if lowest is not None:
        own, volume = volume, np.empty_like(volume)
        average_windows(own, lowest, volume)
    found = semi_global(
        volume, pictures[0], p1=config.p1, p2=config.p2, paths=config.paths, lowest=lowest
    )
    return found.level


def _factors(shape: tuple[int, ...], max_disparity: int, config: MatchConfig) -> Iterator[int]:
    """Name the sizes, coarsest first: what is searched over the whole range, then down to 1."""
    factor = config.whole_range or _finest_whole(shape, max_disparity)
    while factor > 1 and (min(shape) // factor < _LEAST_SIDE or max_disparity < factor):
        factor //= 2
    while factor >= 1:
        yield factor
        factor //= 2


def _finest_whole(shape: tuple[int, ...], max_disparity: int) -> int:
    """Return the smallest factor at which all costs of the whole range may be held."""
    costs = shape[0] * shape[1] * (max_disparity + 1)
    return next((factor for factor in (2, 4, 8) if costs / factor**3 <= MOST_COSTS), 16)


def agrees(there: np.ndarray, back: np.ndarray, tolerance: float) -> np.ndarray:
    """Tell where the disparity found from the right leads back to the left pixel.

    Args:
        there: disparity of the left picture, pixels. (H, W)
        back: disparity of the right one. (H, W)
        tolerance: largest difference, pixels.

    Returns:
        (H, W) bool; False where the match lies outside.
    """
    height, width = there.shape
    u = np.rint(np.arange(width)[None] - there).astype(int)
    found = np.take_along_axis(back, np.clip(u, 0, width - 1), axis=1)
    return (u >= 0) & (np.abs(found - there) <= tolerance)


def _without_speckles(disparity: np.ndarray, measured: np.ndarray, size: int) -> np.ndarray:
    """Tell which pixels belong to an area of similar disparity that is large enough."""
    if size == 0:
        return np.ones_like(measured)
    steps = np.where(measured, np.rint(disparity * 16), -16).astype(np.int16)
    cv2.filterSpeckles(steps, -16, size, 16)
    return steps >= 0


def _shrink(grey: np.ndarray, factor: int) -> np.ndarray:
    """Average blocks; borders are repeated to whole ones. (H, W) -> (ceil(H / f), ceil(W / f))"""
    if factor == 1:
        return grey
    height, width = grey.shape
    bottom, right = -height % factor, -width % factor
    grey = cv2.copyMakeBorder(grey, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
    size = (grey.shape[1] // factor, grey.shape[0] // factor)
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA)


def _enlarge(disparity: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Double the size and the disparities; edges stay sharp."""
    large = 2 * np.repeat(np.repeat(cv2.medianBlur(disparity, 3), 2, axis=0), 2, axis=1)
    return large[: shape[0], : shape[1]]
