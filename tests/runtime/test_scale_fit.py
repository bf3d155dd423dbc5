# SPDX-License-Identifier: Apache-2.0
"""Scale fit: planted factors and shifts come back; what points cannot tell stays open."""

from dataclasses import replace

import numpy as np
import pytest

from depthkit.errors import ConfigError, DataError, ShapeError
from depthkit.rigid import make_pose
from depthkit.runtime.depth.scale_fit import ScaledDepth, apply_fit
from depthkit.runtime.depth.scale_fit_frame import FitPoints, find_level, find_shift, weights_of
from depthkit.runtime.depth.scale_fit_track import GatedFilter, ScaleFitConfig, Vote
from depthkit.runtime.result import (
    DepthResult,
    OdometryResult,
    Scale,
    ScaleFit,
    ScaleState,
    SparsePoints,
)

SIZE = (48, 64)
K = np.array([[60.0, 0, 31.5], [0, 60, 23.5], [0, 0, 1]])
T_WORLD_CAM = make_pose(np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]), np.array([3.0, -1.0, 2.0]))
METRIC = ScaleState("observed", "speed", 0.01)


def slope(near: float = 1.0, far: float = 6.0) -> np.ndarray:
    """Depth that is even in its logarithm from left to right."""
    return np.tile(np.geomspace(near, far, SIZE[1]), (SIZE[0], 1))


def by_network(depth: np.ndarray, factor: float, shift: float = 0.0) -> np.ndarray:
    """What a network says whose depth the fit (factor, shift) makes true."""
    return (1 / (factor * (1 / depth - shift))).astype(np.float32)


def depth_of(
    network: np.ndarray | None, stamp: float = 0.0, scale: Scale = "relative"
) -> DepthResult:
    """A network's result."""
    valid = None if network is None else np.isfinite(network) & (network > 0)
    reason = "" if network is not None else "frame is black"
    return DepthResult(network, valid, None, K, scale, "network", stamp, reason=reason)


def odometry_of(
    truth: np.ndarray | None,
    stamp: float = 0.0,
    *,
    count: int = 200,
    state: ScaleState = METRIC,
    segment: int = 0,
    wrong: float = 0.0,
) -> OdometryResult:
    """An odometry's result: points of the true depth, some of them three times as far.

    Args:
        truth: true depth; None for a frame without pose. (H, W)
        stamp: seconds.
        count: number of points.
        state: of the scale.
        segment: number of the segment.
        wrong: share of the points that are wrong.
    """
    points = None
    if truth is not None:
        rng = np.random.default_rng(0)
        u, v = rng.integers(0, SIZE[1], count), rng.integers(0, SIZE[0], count)
        depth = truth[v, u] * np.where(rng.random(count) < wrong, 3, 1)
        rays = np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones(count)], axis=1)
        positions = (depth[:, None] * rays) @ T_WORLD_CAM[:3, :3].T + T_WORLD_CAM[:3, 3]
        pixels = np.stack([u, v], axis=1).astype(float)
        points = SparsePoints(np.arange(count), pixels, positions, np.full(count, 0.02))
    return OdometryResult(
        T_previous_current=None if truth is None else np.eye(4),
        T_world_cam=T_WORLD_CAM,
        scale="metric" if state.metric and truth is not None else "relative",
        scale_source=state.source,
        stamp=stamp,
        segment=segment,
        reason="tracks were lost" if truth is None else "",
        scale_state=state,
        points=points,
    )


def fitted(truth: np.ndarray, network: np.ndarray, ambiguity: str, **points: float) -> DepthResult:
    """Fit one frame."""
    return ScaledDepth(ambiguity).apply(depth_of(network), odometry_of(truth, **points))


def test_a_planted_factor_comes_back_in_metres() -> None:
    """Depth is the truth, metric, with the sigma of an exact fit: only the filter's own 5 %."""
    result = fitted(slope(), by_network(slope(), 2.5), "scale")
    np.testing.assert_allclose(result.depth, slope(), rtol=1e-5)
    assert result.fit.factor == pytest.approx(2.5, rel=1e-5) and result.fit.shift == 0
    assert (result.fit.state, result.fit.reason, result.scale) == ("observed", "", "metric")
    assert result.scale_source == "points of the odometry, metres by speed"
    assert result.fit.residual < 1e-5 and result.fit.points == 200
    np.testing.assert_allclose(result.sigma, 0.05, rtol=1e-3)


@pytest.mark.parametrize("shift", [0.1, -0.1])
def test_a_planted_shift_comes_back(shift: float) -> None:
    """Points six times apart in depth tell factor and shift."""
    result = fitted(slope(), by_network(slope(), 2.5, shift), "scale-and-shift")
    assert result.fit.factor == pytest.approx(2.5, rel=1e-4)
    assert result.fit.shift == pytest.approx(shift, rel=1e-4)
    np.testing.assert_allclose(result.depth, slope(), rtol=1e-4)


@pytest.mark.parametrize("shift", [0.0, 0.1])
def test_thirty_percent_of_the_points_may_be_wrong(shift: float) -> None:
    """All on one side, three times as far: the fit is that of the others."""
    network = by_network(slope(), 0.4, shift)
    ambiguity = "scale-and-shift" if shift else "scale"
    result = fitted(slope(), network, ambiguity, wrong=0.3)
    assert result.fit.factor == pytest.approx(0.4, rel=1e-4)
    assert result.fit.shift == pytest.approx(shift, abs=1e-4)
    assert 130 <= result.fit.points <= 150


@pytest.mark.parametrize(
    ("near", "far", "count"), [(2.0, 2.0, 200), (2.0, 3.5, 200), (1.0, 6.0, 49)]
)
def test_no_shift_where_points_cannot_tell(near: float, far: float, count: int) -> None:
    """One plane, a short span or few points: the shift stays 0, whatever the network has."""
    truth = slope(near, far)
    result = fitted(truth, by_network(truth, 2.0, 0.05), "scale-and-shift", count=count)
    assert result.fit.shift == 0 and result.fit.state == "observed"
    middle = result.depth[:, SIZE[1] // 2] / truth[:, SIZE[1] // 2]
    assert abs(middle - 1).max() < 0.15


def test_no_shift_where_it_does_not_help_held_out_points() -> None:
    """A network whose inverse depth bends, and by no shift: noise alone never asks for one."""
    rng = np.random.default_rng(3)
    network = by_network(slope(), 2.0) * np.exp(0.1 * rng.standard_normal(SIZE)).astype(np.float32)
    result = fitted(slope(), network, "scale-and-shift")
    assert result.fit.shift == 0
    assert result.fit.factor == pytest.approx(2.0, rel=0.03)
    assert result.fit.residual == pytest.approx(0.1, rel=0.2)
    assert result.sigma.min() == result.sigma.max() > result.fit.residual


def test_a_scale_network_never_gets_a_shift() -> None:
    """Depth up to one factor: the shift is not looked for."""
    result = fitted(slope(), by_network(slope(), 2.0, 0.1), "scale")
    assert result.fit.shift == 0


def test_inverse_depth_below_zero_is_invalid_not_negative() -> None:
    """Where the fit's inverse depth is 0 or less, depth is unknown."""
    network = by_network(slope(), 2.0, 0.15)
    # The network's farthest quarter is beyond what the shift leaves in front of the camera.
    network[:12] = -1 / (2.0 * 0.15 * 0.999)
    fit = ScaleFit(factor=2.0, shift=-0.3, state="observed")
    far = np.full(SIZE, 1 / 0.5, np.float32)  # inverse 0.25 - 0.3 < 0
    far[0] = 1.0  # inverse 0.5 - 0.3: depth 5
    depth, ahead = apply_fit(far, fit)
    assert ahead[0].all() and not ahead[1:].any()
    np.testing.assert_allclose(depth[0], 5, rtol=1e-5)
    assert (depth[1:] == 0).all()
    result = fitted(slope(), network, "scale-and-shift")
    assert not result.valid[:12].any() and (result.depth >= 0).all()


def test_depth_far_beyond_the_points_is_unknown() -> None:
    """With a shift, an inverse depth next to 0 says nothing: past a hundred medians: invalid."""
    network = by_network(slope(), 2.0, -0.1)
    network[0] = 1 / (2.0 * (1e-4 + 0.1))  # 10 km
    result = fitted(slope(), network, "scale-and-shift")
    assert result.fit.shift == pytest.approx(-0.1, rel=1e-3)
    assert not result.valid[0].any() and result.valid[1:].all()


def run(
    scaled: ScaledDepth, factors: list[float | None], *, step: float = 0.1
) -> list[DepthResult]:
    """Take frames through a fit, one with each factor; None for a frame without pose."""
    done = []
    for i, factor in enumerate(factors):
        network, stamp = by_network(slope(), factor or 2.0), i * step
        odometry = odometry_of(None if factor is None else slope(), stamp)
        done.append(scaled.apply(depth_of(network, stamp), odometry))
    return done


def test_one_wrong_frame_does_not_move_the_fit() -> None:
    """The gate: a frame with twice the factor is held at the old one, and the next is observed."""
    done = run(ScaledDepth("scale"), [2.0] * 5 + [4.0] + [2.0] * 2)
    assert [one.fit.state for one in done] == ["observed"] * 5 + ["held"] + ["observed"] * 2
    assert done[5].fit.factor == pytest.approx(2.0, rel=1e-5)
    assert "off by +100%" in done[5].fit.reason
    assert done[-1].fit.factor == pytest.approx(2.0, rel=1e-5)


def test_a_change_that_stays_is_followed() -> None:
    """Five frames in a row that agree with each other are a change of the network's scale."""
    done = run(ScaledDepth("scale"), [2.0] * 3 + [4.0] * 6)
    assert done[6].fit.factor == pytest.approx(2.0, rel=1e-4)
    assert [one.fit.state for one in done[3:7]] == ["held"] * 4
    assert done[7].fit.state == "observed"
    assert done[7].fit.factor == pytest.approx(4.0, rel=1e-4)


def test_small_changes_are_smoothed() -> None:
    """Factors that jump by 4 % to and fro come out with less than half of the jump."""
    done = run(ScaledDepth("scale"), [2.0, 2.08] * 20, step=1 / 30)
    last = [one.fit.factor for one in done[-6:]]
    assert max(last) - min(last) < 0.04 and 2.0 < min(last) < max(last) < 2.08


def test_without_points_the_fit_is_held_then_lost() -> None:
    """Two seconds at the last factor; then no depth, with the reason; points bring it back."""
    done = run(ScaledDepth("scale"), [None, 2.0] + [None] * 25 + [2.0])
    assert (done[0].fit.state, done[0].depth) == ("unknown", None)
    assert done[0].reason == "scale fit unknown: tracks were lost"
    assert {one.fit.state for one in done[2:22]} == {"held"}
    np.testing.assert_allclose(done[21].depth, slope(), rtol=1e-5)
    assert done[21].scale == "metric" and done[21].fit.reason == "tracks were lost"
    assert {one.fit.state for one in done[22:27]} == {"lost"}
    assert done[26].depth is None and done[26].sigma is None
    assert done[26].reason == "scale fit lost: no fit for 2.5 s, more than 2 s; tracks were lost"
    assert done[27].fit.state == "observed" and done[27].depth is not None


def test_held_depth_grows_less_sure() -> None:
    """The network's scale wanders: sigma grows with the time since the last fit."""
    done = run(ScaledDepth("scale"), [2.0] + [None] * 10)
    sigmas = [float(one.sigma[0, 0]) for one in done]
    assert sigmas == sorted(sigmas) and sigmas[-1] > 1.5 * sigmas[0]


def test_a_new_segment_begins_anew() -> None:
    """After a cut the unit is another one: the old factor is never used again."""
    scaled = ScaledDepth("scale")
    run(scaled, [2.0] * 5)
    lost = scaled.apply(depth_of(by_network(slope(), 2.0), 1.0), odometry_of(None, 1.0, segment=1))
    assert (lost.fit.state, lost.fit.factor, lost.depth) == ("lost", None, None)
    assert "a new segment of the odometry" in lost.reason
    found = scaled.apply(
        depth_of(by_network(slope(), 7.0), 1.1), odometry_of(slope(), 1.1, segment=1)
    )
    assert found.fit.state == "observed" and found.fit.factor == pytest.approx(7.0, rel=1e-5)


def test_relative_odometry_gives_its_unit_and_no_metres() -> None:
    """Without metres in the odometry depth is relative, at one scale a segment, and says so."""
    scaled = ScaledDepth("scale")
    unknown = ScaleState(reason="no source of scale")
    network = depth_of(by_network(slope(), 2.0))
    result = scaled.apply(network, odometry_of(slope(), state=unknown, segment=3))
    assert result.scale == "relative"
    assert result.scale_source == "points of the odometry, in the unit of its segment 3"
    np.testing.assert_allclose(result.depth, slope(), rtol=1e-5)
    strict = ScaledDepth("scale", scale="metric")
    left_out = strict.apply(network, odometry_of(slope(), state=unknown))
    assert left_out.depth is None and left_out.scale == "metric"
    assert left_out.reason == "depth is relative, wanted is metric: no source of scale"


def test_metric_network_stays_as_it_is_where_points_agree() -> None:
    """Noise of 5 % and 1 % off: no factor helps held-out points."""
    rng = np.random.default_rng(1)
    network = (1.01 * slope() * np.exp(0.05 * rng.standard_normal(SIZE))).astype(np.float32)
    metric = depth_of(network, scale="metric")
    result = ScaledDepth("none").apply(metric, odometry_of(slope()))
    np.testing.assert_array_equal(result.depth, network)
    assert (result.fit.state, result.fit.factor, result.scale) == ("observed", 1.0, "metric")
    assert result.fit.residual == pytest.approx(0.05, rel=0.3)
    assert result.scale_source == "network"


def test_metric_network_is_calibrated_where_that_helps() -> None:
    """A camera of another focal length: 20 % too near, all over; said in the scale's source."""
    metric = depth_of(by_network(slope(), 1.2), scale="metric")
    result = ScaledDepth("none").apply(metric, odometry_of(slope()))
    np.testing.assert_allclose(result.depth, slope(), rtol=1e-5)
    assert result.scale == "metric"
    assert result.scale_source == "network; times 1.2 by the points of the odometry, in metres"


def test_metric_network_beside_a_relative_odometry_keeps_its_metres() -> None:
    """Nothing to hold them against: the depth is what it was, and the fit says why."""
    metric = depth_of(by_network(slope(), 1.2), scale="metric")
    result = ScaledDepth("none").apply(metric, odometry_of(slope(), state=ScaleState()))
    np.testing.assert_array_equal(result.depth, metric.depth)
    assert result.fit.state == "unknown" and "has no metres" in result.fit.reason


def test_own_sigma_is_kept_and_widened() -> None:
    """A network's own sigma stays a map; that of the factor is added in squares."""
    own = np.full(SIZE, 0.1, np.float32)
    own[:, 0] = 0.3
    depth = replace(depth_of(by_network(slope(), 2.0)), sigma=own)
    result = ScaledDepth("scale").apply(depth, odometry_of(slope()))
    np.testing.assert_allclose(result.sigma, np.hypot(own, 0.05), rtol=1e-3)


def test_frame_without_depth_passes_with_its_reason() -> None:
    """A black frame: its own reason, and the state of the fit."""
    scaled = ScaledDepth("scale")
    run(scaled, [2.0])
    result = scaled.apply(depth_of(None, 0.1), odometry_of(slope(), 0.1))
    assert (result.depth, result.reason, result.fit.state) == (None, "frame is black", "held")


def test_points_outside_the_picture_or_uncertain_do_not_count() -> None:
    """Nine good points of a hundred are too few, and that is said."""
    odometry = odometry_of(slope(), count=100)
    points = odometry.points
    pixels, sigma = points.pixels.copy(), points.sigma.copy()
    pixels[:50] += 1000
    sigma[59:] = 0.5
    odometry = replace(odometry, points=replace(points, pixels=pixels, sigma=sigma))
    result = ScaledDepth("scale").apply(depth_of(by_network(slope(), 2.0)), odometry)
    assert result.fit.reason == "9 measured points where the network has depth, needs 10"


def test_disagreeing_points_give_no_factor() -> None:
    """A network that has nothing to do with the scene is not scaled."""
    rng = np.random.default_rng(2)
    network = np.exp(rng.uniform(-2, 2, SIZE)).astype(np.float32)
    result = fitted(slope(), network, "scale")
    assert result.fit.state == "unknown" and result.depth is None
    assert "do not agree" in result.fit.reason


def test_same_frames_give_the_same_bytes() -> None:
    """Deterministic."""
    one, two = (run(ScaledDepth("scale"), [2.0, 2.1, None, 2.05]) for _ in range(2))
    for first, second in zip(one, two, strict=True):
        np.testing.assert_array_equal(first.depth, second.depth)
        assert first.fit == second.fit


def test_bad_input_is_refused() -> None:
    """An unknown ambiguity, two frames, a map that is none, settings that mean nothing."""
    with pytest.raises(DataError, match="ambiguity: one of none, scale, scale-and-shift, got 'x'"):
        ScaledDepth("x")
    scaled = ScaledDepth("scale")
    with pytest.raises(DataError, match=r"depth of 0.500000 s and odometry of 0.000000 s"):
        scaled.apply(depth_of(by_network(slope(), 2.0), 0.5), odometry_of(slope()))
    with pytest.raises(ShapeError, match=r"depth must be \(H, W\), got \(1, 48, 64\)"):
        scaled.apply(depth_of(np.ones((1, *SIZE), np.float32)), odometry_of(slope()))
    for wrong in ({"hold": 0.0}, {"walk": float("nan")}, {"changed": 1}):
        with pytest.raises(ConfigError, match="scale fit: walk, noise and hold > 0"):
            ScaleFitConfig(**wrong)


def test_level_and_shift_need_enough_points() -> None:
    """Nine points have no level; points of one depth have no shift."""
    few = FitPoints(np.ones(9), np.ones(9), np.ones(9), np.ones(9, bool))
    assert find_level(few) is None
    plane = FitPoints(np.ones(90), np.full(90, 2.0), np.ones(90), np.arange(90) % 2 == 0)
    assert find_shift(plane) is None
    assert find_level(plane).log == pytest.approx(np.log(2))


def test_a_crowd_of_points_shares_its_weight() -> None:
    """Eight points in one cell weigh as four; alone and exact, a point weighs 1 / 0.1^2."""
    pixels = np.array([[1, 1]] * 8 + [[60, 40]])
    weights = weights_of(np.zeros(9), pixels, SIZE)
    np.testing.assert_allclose(weights, [50] * 8 + [100])
    np.testing.assert_allclose(weights_of(np.full(1, 0.1), pixels[:1], SIZE), 50)


def test_texture_in_one_corner_does_not_rule_the_factor() -> None:
    """A network wrong by a half in the corner where most of the points are: the rest decides."""
    network, rng = by_network(slope(), 2.0), np.random.default_rng(5)
    network[:8, :8] *= 1.5
    odometry = odometry_of(slope())
    crowd = odometry_of(slope(), count=400)
    corner = rng.integers(0, 8, (400, 2))
    rays = np.concatenate([(corner - K[:2, 2]) / K[0, 0], np.ones((400, 1))], axis=1)
    there = slope()[corner[:, 1], corner[:, 0], None] * rays
    points = SparsePoints(
        np.arange(600),
        np.concatenate([odometry.points.pixels, corner.astype(float)]),
        np.concatenate([odometry.points.positions, there @ T_WORLD_CAM[:3, :3].T + [3, -1, 2]]),
        np.full(600, 0.02),
    )
    result = ScaledDepth("scale").apply(depth_of(network), replace(crowd, points=points))
    assert result.fit.factor == pytest.approx(2.0, rel=0.01)


def test_gated_filter_weighs_by_variance() -> None:
    """Prior 1 with variance 1, measurement 2 with variance 1: the mean, half of the variance."""
    number = GatedFilter(changed=3)
    assert number.observe(1.0, 1.0) and number.observe(2.0, 1.0)
    assert (number.value, number.variance) == (1.5, 0.5)
    number.wander(0.5)
    assert number.variance == 1.0
    assert not number.observe(9.0, 1.0) and number.value == 1.5


def test_vote_needs_frames_in_a_row() -> None:
    """The first frame decides; then three in a row turn it, two and a break do not."""
    vote = Vote(3)
    answers = []
    for yes in (False, True, True, False, True, True, True, False):
        vote.cast(yes)
        answers.append(vote.yes)
    assert answers == [False] * 6 + [True] * 2
