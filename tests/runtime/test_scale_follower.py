# SPDX-License-Identifier: Apache-2.0
"""The scale follower: numbers by hand, outliers, little motion, drift, resets."""

import numpy as np
import pytest

from depthkit.runtime.odometry.scale_follower import ScaleFollower


def fed(ratios, **settings) -> ScaleFollower:
    """Return a follower after steps of 1 m with these ratios of metres to units."""
    follower = ScaleFollower(**settings)
    for ratio in ratios:
        assert follower.add(metric=1.0, relative=1.0 / ratio) == ""
    return follower


def test_steady_ratio_by_hand():
    """0.6 m for 0.2 units, ten times: 3 m a unit, no spread; nothing is said before the tenth."""
    follower = ScaleFollower(needed=10)
    for step in range(10):
        assert (follower.state, follower.scale) == ("unknown", None)
        assert follower.summary() == f"waiting: {step} of 10 steps agree"
        follower.add(metric=0.6, relative=0.2)
    assert follower.state == "known" and follower.scale == pytest.approx(3)
    assert follower.spread == 0 and follower.agreeing == follower.steps == 10


def test_median_and_spread_by_hand():
    """Ratios 2 exp(-0.2 .. 0.2): median 2; the median deviation is 0.1, times 1.4826."""
    follower = fed(2 * np.exp([-0.2, -0.1, 0.0, 0.1, 0.2]), needed=5)
    assert follower.scale == pytest.approx(2)
    assert follower.spread == pytest.approx(0.14826)


def test_factors_count_alike_up_and_down():
    """Half and double cancel: the median is over logarithms."""
    assert fed([1, 4], needed=2, max_spread=2).scale == pytest.approx(2)


@pytest.mark.parametrize("wrong", [50.0, 1e-6, 1e6])
def test_outliers_change_nothing(wrong):
    """Four of fourteen steps are nonsense: the scale, its spread and the count are of the ten."""
    follower = fed([3.0, wrong, 3.0, 3.0] * 3 + [3.0, wrong], needed=10)
    assert follower.scale == pytest.approx(3) and follower.spread == 0
    assert (follower.agreeing, follower.steps) == (10, 14)


def test_outliers_do_not_make_a_scale_known():
    """Only steps that agree are counted."""
    assert fed([3.0] * 6 + [90.0, 0.1, 400.0, 7e-3], needed=7).state == "unknown"


def test_little_motion_says_nothing():
    """A standing robot feeds noise over noise: ignored, with the reason; what is known stays."""
    follower = fed([2.0] * 10, least_motion=0.02)
    reason = follower.add(metric=0.0199, relative=5.0)
    assert reason == "too little motion: 0.0199 m, needs 0.02 m"
    assert follower.steps == 10 and follower.scale == pytest.approx(2)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_broken_numbers_are_ignored(value):
    """Neither side may be NaN, infinite or negative, and a unit of length 0 has no ratio."""
    follower = ScaleFollower()
    assert "length must be 0 m or more" in follower.add(metric=value, relative=1.0)
    assert "relative length must be above 0" in follower.add(metric=1.0, relative=value)
    assert "relative length must be above 0" in follower.add(metric=1.0, relative=0.0)
    assert follower.steps == 0 and follower.spread is None


def test_a_wide_spread_is_no_scale():
    """Ratios all over the place: unknown, and said why; it is known again once they agree."""
    follower = fed(np.exp(np.linspace(-2, 2, 21)), needed=10, window=21)
    assert follower.state == "unknown" and "ratios spread by 148%" in follower.summary()
    for _ in range(21):
        follower.add(metric=1.0, relative=0.5)
    assert follower.scale == pytest.approx(2) and follower.summary().startswith("2 m a unit, 0.0%")


def test_drift_is_followed_within_the_window():
    """After as many new steps as half the window holds, and one, the scale is the new one."""
    follower = fed([1.0] * 20 + [1.5] * 10, window=20)
    follower.add(metric=1.5, relative=1.0)
    assert follower.scale == pytest.approx(1.5) and follower.steps == 20


def test_noise_is_averaged():
    """Ratios 2 with 10 % noise and every fifth nonsense: within 3 %, spread about 10 %."""
    rng = np.random.default_rng(0)
    ratios = 2 * np.exp(0.1 * rng.normal(size=100))
    ratios[::5] *= rng.choice([0.05, 20], 20)
    follower = fed(ratios)
    assert follower.scale == pytest.approx(2, rel=0.03)
    assert follower.spread == pytest.approx(0.1, abs=0.03)


def test_reset_forgets_all():
    """As new."""
    follower = fed([2.0] * 10)
    follower.reset()
    assert (follower.state, follower.scale, follower.steps) == ("unknown", None, 0)
    assert follower.summary() == "waiting: 0 of 10 steps agree"


@pytest.mark.parametrize(
    "wrong", [{"needed": 0}, {"needed": 101}, {"least_motion": -1}, {"max_spread": 0}]
)
def test_impossible_settings_are_refused(wrong):
    """The caller's bug."""
    with pytest.raises(ValueError, match="must hold"):
        ScaleFollower(**wrong)
