# SPDX-License-Identifier: Apache-2.0
"""Semi-global matching [Hirschmueller 2008]: levels that agree with their neighbours.

Along each of several directions the cost of a level is its matching cost plus the cheapest way to
come there from the pixel before: a step by one level costs p1, any other p2, less across an edge of
the picture, where depth may jump. The level with the least sum over all directions wins.
"""

from dataclasses import dataclass

import numpy as np

from depthkit.errors import check_shape

P1, P2 = 6.0, 60.0
"""Penalties of a step by one level and by more, for costs of 0 to 128. With eight paths on
RedKitchen 0-199 and rendered rooms; half and double change the error by less than 3 %."""
CONTRAST = 8.0
"""Grey step across which p2 is half."""


@dataclass(frozen=True, eq=False)
class Aggregated:
    """Best levels of a cost volume after semi-global matching."""

    level: np.ndarray
    """Best level, between levels by a parabola. (H, W) float32"""
    best: np.ndarray
    """Aggregated cost of the best level, mean over the paths. (H, W) float32"""
    second: np.ndarray
    """Least aggregated cost at least two levels away. (H, W) float32"""
    curvature: np.ndarray
    """Second difference of the aggregated cost at the best level; 0 at the ends. (H, W) float32"""


def semi_global(
    cost: np.ndarray,
    guide: np.ndarray,
    *,
    p1: float = P1,
    p2: float = P2,
    paths: int = 8,
    lowest: np.ndarray | None = None,
) -> Aggregated:
    """Choose a level for every pixel.

    Args:
        cost: matching cost of each level, 0 to 128. (H, W, D) uint8
        guide: grey picture whose edges allow depth to jump. (H, W) uint8
        p1: penalty of a step by one level.
        p2: penalty of a larger step, where the picture is even.
        paths: 4 or 8 directions.
        lowest: absolute level of each pixel's first cost, where pixels search in windows of their
            own; None for 0 everywhere. (H, W) int16

    Raises:
        ValueError: another number of paths.
        ShapeError: guide or lowest of another size.
    """
    from depthkit.multiview.semi_global_kernels import add_paths, pick_levels

    check_shape("semi_global: cost", cost, "H W D")
    height, width = cost.shape[:2]
    check_shape("semi_global: guide", guide, f"{height} {width}")
    if paths not in (4, 8):
        raise ValueError(f"semi_global: paths must be 4 or 8, got {paths}")
    base = np.zeros((height, width), np.int16) if lowest is None else lowest
    check_shape("semi_global: lowest", base, f"{height} {width}")
    total = np.zeros(cost.shape, np.float32)
    a, b, edge = np.float32(p1), np.float32(p2), np.float32(CONTRAST)
    # 1. Down the picture: paths from the left and from above.
    add_paths(cost, guide, base, a, b, edge, paths == 8, total)
    # 2. Up: the same on the picture turned by half a turn.
    turned = [np.ascontiguousarray(x[::-1, ::-1]) for x in (cost, guide, base)]
    add_paths(turned[0], turned[1], turned[2], a, b, edge, paths == 8, total[::-1, ::-1])
    # 3. The winner of the sums.
    level, best, second, bend = pick_levels(total, base)
    return Aggregated(level, best / paths, second / paths, bend / paths)
