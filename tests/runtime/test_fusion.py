# SPDX-License-Identifier: Apache-2.0
"""Maps of several baselines become one: numbers by hand, and what no map can see."""

import numpy as np
import pytest

from depthkit.errors import ShapeError
from depthkit.runtime.depth.fusion import band_weight, fuse

BAND = (2.0, 6.0, 50.0, 80.0)


def fused(maps, baselines, valid=None):
    """Fuse maps of one row, at D0 = 0.3 m."""
    maps = np.array(maps, np.float32)[:, None]
    seen = np.ones(maps.shape, bool) if valid is None else np.array(valid)[:, None]
    return fuse(maps, np.array(baselines), valid=seen, band=BAND, nominal_baseline=0.3)


def test_weight_is_a_trapezoid():
    """0 outside, 1 inside, straight between."""
    net = np.array([1, 2, 3, 6, 20, 50, 65, 80, 100])
    assert band_weight(net, BAND) == pytest.approx([0, 0, 0.25, 1, 1, 1, 0.5, 0, 0])


def test_one_map_is_scaled_by_its_baseline():
    """At 0.6 m depth is twice the net value, within its band and outside."""
    result = fused([[1, 3, 20, 100]], [0.6])
    assert result.depth[0] == pytest.approx([2, 6, 40, 200])
    assert result.weight[0] == pytest.approx([0, 0.25, 1, 0])
    assert result.depth.dtype == result.weight.dtype == np.float32 and result.coverage.all()


def test_maps_are_averaged_in_inverse_depth():
    """At 0.3 and 0.6 m, depths 20 and 32 m, weights 1 and 4: 5 / (1/20 + 4/32)."""
    result = fused([[20], [16]], [0.3, 0.6])
    assert result.depth[0, 0] == pytest.approx(5 / (1 / 20 + 4 / 32))
    assert result.shares == pytest.approx([1 / 5, 4 / 5])


def test_the_order_of_the_maps_does_not_matter():
    """Shuffled maps with their baselines give the same bytes."""
    rng = np.random.default_rng(0)
    maps, baselines = rng.uniform(0.1, 100, (4, 50)), np.array([0.1, 0.4, 1.0, 0.2])
    order = [2, 0, 3, 1]
    a, b = fused(maps, baselines), fused(maps[order], baselines[order])
    assert all(np.array_equal(one, other) for one, other in zip(a[:3], b[:3], strict=True))
    assert np.array_equal(a.shares[order], b.shares)


def test_what_the_short_baseline_sees_near_the_long_one_does_not_overrule():
    """3 m by the short baseline is net value 1.5 at 0.6 m: the long one's 40 m is no match."""
    assert fused([[3], [20]], [0.3, 0.6]).depth[0, 0] == pytest.approx(3)


def test_far_is_left_to_the_longest_baseline():
    """Beyond the band of all: the longest baseline's word, never more than 333 |t|."""
    result = fused([[100], [100]], [0.3, 0.6])
    assert result.depth[0, 0] == pytest.approx(200) == pytest.approx(100 / 0.3 * 0.6)
    assert result.weight[0, 0] == 0 and not result.shares.any()


def test_near_is_left_to_the_shortest_baseline():
    """Nearer than the band of all: the shortest baseline's word, with weight 0."""
    result = fused([[1], [1.5]], [0.3, 0.6])
    assert result.depth[0, 0] == pytest.approx(1) and result.weight[0, 0] == 0


def test_a_pair_says_nothing_of_what_it_did_not_see():
    """An uncovered pixel comes from the other map; covered by none, coverage and weight are 0."""
    result = fused(
        [[20, 20, 20], [30, 30, 30]], [0.3, 0.6], [[True, False, False], [False, True, False]]
    )
    assert result.depth[0] == pytest.approx([20, 60, 20])
    assert result.coverage[0].tolist() == [True, True, False]
    assert result.weight[0].tolist() == [1, 1, 0]


def test_depth_of_a_plane_is_exact_from_any_baselines():
    """Maps that agree fuse to the truth, each seeing it in its band or not."""
    truth = np.geomspace(0.5, 300, 60)
    baselines = np.array([0.05, 0.3, 2.0])
    result = fused((truth * 0.3 / baselines[:, None]).clip(1e-3, 100), baselines)
    assert result.depth[0] == pytest.approx(truth, rel=1e-5)


def test_shapes_are_checked():
    """A baseline for each map."""
    with pytest.raises(ShapeError, match="baselines must be"):
        fused([[20], [16]], [0.3])
