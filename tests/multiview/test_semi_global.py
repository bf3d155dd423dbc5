# SPDX-License-Identifier: Apache-2.0
"""Semi-global matching against sums worked out by hand and against its definition."""

import numpy as np
import pytest

from depthkit.errors import ShapeError
from depthkit.multiview.semi_global import CONTRAST, semi_global


def naive_path(cost: np.ndarray, grey: np.ndarray, step: tuple[int, int], p1: float, p2: float):
    """Follow one direction pixel by pixel, as in the paper's equation 13."""
    height, width, depth = cost.shape
    out = np.zeros(cost.shape)
    rows = range(height) if step[0] >= 0 else range(height - 1, -1, -1)
    columns = range(width) if step[1] >= 0 else range(width - 1, -1, -1)
    for v in rows:
        for u in columns:
            w, x = v - step[0], u - step[1]
            if not (0 <= w < height and 0 <= x < width):
                out[v, u] = cost[v, u]
                continue
            before = out[w, x]
            edge = abs(int(grey[v, u]) - int(grey[w, x]))
            jump = before.min() + max(p1, np.floor(p2 / (1 + edge / CONTRAST)))
            for k in range(depth):
                near = [before[j] + p1 for j in (k - 1, k + 1) if 0 <= j < depth]
                out[v, u, k] = cost[v, u, k] + min(before[k], jump, *near) - before.min()
    return out


DIRECTIONS = [(0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, -1), (-1, 1)]


@pytest.mark.parametrize("paths", [4, 8])
def test_sum_of_all_paths_is_that_of_the_definition(paths):
    """Whole numbers in float32 are exact, so the compiled loops agree to the last bit."""
    rng = np.random.default_rng(3)
    cost = rng.integers(0, 128, (7, 9, 6)).astype(np.uint8)
    grey = rng.integers(0, 255, (7, 9)).astype(np.uint8)
    total = sum(naive_path(cost, grey, d, 6, 60) for d in DIRECTIONS[:paths])
    found = semi_global(cost, grey, p1=6, p2=60, paths=paths)
    assert np.array_equal(found.best * paths, total.min(axis=2).astype(np.float32))
    assert np.abs(found.level - total.argmin(axis=2)).max() <= 0.5


def test_parabola_finds_the_place_between_levels():
    """Costs (x - 2.3)^2 everywhere: the same optimum in all pixels, at 2.3."""
    line = 5 * (np.arange(6) - 2.3) ** 2
    cost = np.rint(np.broadcast_to(line, (5, 5, 6))).astype(np.uint8)
    found = semi_global(cost, np.zeros((5, 5), np.uint8), p1=0, p2=1000)
    assert np.abs(found.level - 2.3).max() < 0.06


def test_windows_of_levels_agree_with_the_whole_volume():
    """Each pixel sees a window of 5 levels around the best; absolute levels come out alike."""
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(12, 18), 3)[None].repeat(8, 0)
    whole = np.full((8, 18, 32), 90, np.uint8)
    np.put_along_axis(whole, truth[..., None], 5, axis=2)
    whole += rng.integers(0, 10, whole.shape).astype(np.uint8)
    lowest = (truth - 2 + rng.integers(-1, 2, truth.shape)).astype(np.int16)
    window = np.take_along_axis(whole, lowest[..., None] + np.arange(5), axis=2)
    grey = np.zeros(truth.shape, np.uint8)
    assert np.array_equal(np.rint(semi_global(whole, grey).level), truth)
    assert np.array_equal(np.rint(semi_global(window, grey, lowest=lowest).level), truth)


def test_a_blank_patch_takes_the_level_of_its_surroundings():
    """Without matching cost the smooth continuation is the cheapest."""
    cost = np.full((9, 9, 8), 100, np.uint8)
    cost[..., 3] = 0
    cost[3:6, 3:6] = 50
    found = semi_global(cost, np.zeros((9, 9), np.uint8))
    assert np.array_equal(np.rint(found.level), np.full((9, 9), 3))
    assert found.second.min() > found.best.max()


def test_wrong_paths_and_sizes_are_refused():
    """A caller's mistake is named."""
    cost = np.zeros((4, 5, 6), np.uint8)
    with pytest.raises(ValueError, match="4 or 8, got 5"):
        semi_global(cost, np.zeros((4, 5), np.uint8), paths=5)
    with pytest.raises(ShapeError, match="guide"):
        semi_global(cost, np.zeros((4, 6), np.uint8))
