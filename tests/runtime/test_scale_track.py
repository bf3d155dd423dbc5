# SPDX-License-Identifier: Apache-2.0
"""The scale of a relative odometry: filter by hand, gates, states, honest sigmas, depth ratio."""

import numpy as np
import pytest

from depthkit.errors import ConfigError, DataError, ShapeError
from depthkit.runtime.odometry.depth_ratio import depth_ratio
from depthkit.runtime.odometry.scale import ScaleTrack, ScaleTrackConfig, StepLength
from depthkit.runtime.result import ScaleState

EXACT = ScaleTrackConfig(drift=0.0, walk=0.0, step_noise=0.0, common=0.0)


def speed(length: float, sigma: float = 0.02, source: str = "speed", **more) -> StepLength:
    """A step by a known speed."""
    return StepLength(length, sigma, source, **more)


def known(ratio: float = 2.0, config: ScaleTrackConfig | None = None, **more) -> ScaleTrack:
    """A track after 10 steps of one unit and `ratio` metres, 0.1 s apart, ending at 0.9 s."""
    track = ScaleTrack(config)
    for step in range(10):
        track.observe(0.1 * step, 1.0, [speed(ratio, **more)])
    return track


def test_unknown_until_three_steps_agree():
    """0.6 m for 0.2 units: 3 m a unit from the third step on; the reason counts before."""
    track = ScaleTrack()
    assert track.state(0.0) == ScaleState(reason="no source of scale")
    for step in range(2):
        track.observe(0.1 * step, 0.2, [speed(0.6)])
        assert track.factor is None
        reason = f"waiting: {step + 1} of 3 steps by speed agree"
        assert track.state(0.1 * step) == ScaleState(reason=reason)
    track.observe(0.2, 0.2, [speed(0.6)])
    assert track.factor == pytest.approx(3)
    state = track.state(0.2)
    assert (state.state, state.source, state.held_for, state.metric) == (
        "observed",
        "speed",
        0,
        True,
    )


def test_mean_and_sigma_by_hand():
    """Ten equal measurements of 2 %: 2 % / sqrt(10); with 1 % common, the root of both squares."""
    assert known(config=EXACT).state(0.9).sigma == pytest.approx(0.02 / np.sqrt(10))
    common = ScaleTrackConfig(drift=0.0, walk=0.0, step_noise=0.0, common=0.01)
    sigma = np.hypot(0.02 / np.sqrt(10), 0.01)
    assert known(config=common).state(0.9).sigma == pytest.approx(sigma)


def test_sources_weigh_by_their_sigma():
    """Logs 0 at 4 % (ten times) and 0.05 at 2 %, four times the weight (seven: three waited)."""
    track = ScaleTrack(EXACT)
    for step in range(10):
        steps = [speed(1.0, 0.04, "wheel"), speed(np.exp(0.05), 0.02, "gps")]
        track.observe(0.1 * step, 1.0, steps)
    assert np.log(track.factor) == pytest.approx(0.05 * 28 / 38)
    assert track.state(0.9).source == "gps+wheel"


def test_correlated_errors_count_less():
    """Correlation 0.6 makes four steps worth one: (1 + 0.6) / (1 - 0.6)."""
    alone, shared = (known(config=EXACT, correlation=c).state(0.9).sigma for c in (0.0, 0.6))
    assert shared == pytest.approx(2 * alone)


def test_held_grows_with_path_and_time():
    """Without a source 0.01 a root metre and 0.002 a root second: 8 m and 4 s by hand."""
    config = ScaleTrackConfig(common=0.0)
    track = known(2.0, config)
    start = track.state(0.9).sigma
    for step in range(4):
        track.tick(1.9 + step, 1.0)
    state = track.state(4.9)
    assert (state.state, state.source, state.held_for) == ("held", "speed", pytest.approx(4.0))
    assert state.sigma == pytest.approx(np.sqrt(start**2 + 0.01**2 * 8 + 0.002**2 * 4))
    assert state.reason == "no source for 4.0 s" and track.factor == pytest.approx(2)


def test_still_observed_shortly_after_a_measurement():
    """Half a second without the source is no hold."""
    track = known()
    track.tick(1.3, 1.0)
    assert track.state(1.3).state == "observed"
    track.tick(1.5, 1.0)
    assert track.state(1.5).state == "held"


def test_lost_after_the_hold_and_found_again():
    """30 s later it is lost, with the reason; one measurement that fits brings it back."""
    track = known()
    track.tick(31.0, 0.0)
    state = track.state(31.0)
    assert state.state == "lost" and track.factor is None and not state.metric
    assert state.reason == "no source for 30.1 s, more than 30 s"
    track.observe(31.1, 1.0, [speed(2.0)])
    assert track.state(31.1).state == "observed" and track.factor == pytest.approx(2)


def test_lost_when_too_uncertain():
    """A path of 500 m without a source: 22 %, more than 20 %."""
    track = known()
    track.tick(1.9, 250.0)
    state = track.state(1.9)
    assert state.state == "lost" and state.reason == "uncertain by 22%, more than 20%"


def test_standing_still_is_no_evidence():
    """5 mm, or a step of the odometry without length: ignored with the reason, held after 0.5 s."""
    track = known()
    sigma = track.state(0.9).sigma
    track.observe(1.0, 0.3, [speed(0.005)])
    assert track.note == "speed: too little motion, 0.0050 m"
    track.observe(1.1, 0.0, [speed(0.5)])
    assert track.note == "speed: the odometry's step has no length, got 0.0"
    assert track.factor == pytest.approx(2) and track.state(1.1).sigma == pytest.approx(
        sigma, rel=0.1
    )
    track.observe(2.0, 0.0, [speed(0.0)])
    assert track.state(2.0).state == "held" and "too little motion" in track.state(2.0).reason


def test_single_outliers_are_rejected():
    """Each third step is nonsense: the factor does not move, and the note says by how much."""
    track = known()
    for step in range(30):
        wrong = step % 3 == 2
        track.observe(1.0 + 0.1 * step, 1.0, [speed(5.0 if wrong else 2.0)])
    assert track.factor == pytest.approx(2, rel=1e-3)
    assert track.note == "speed rejected: off by +150%" and track.state(3.9).state == "observed"


def test_outliers_at_the_start_do_not_agree():
    """Three measurements that contradict each other are no scale; the next three that agree are."""
    track = ScaleTrack()
    for step, ratio in enumerate((1.0, 5.0, 0.2, 2.0, 2.0)):
        track.observe(0.1 * step, 1.0, [speed(ratio)])
        assert track.factor is None
    track.observe(0.5, 1.0, [speed(2.0)])
    assert track.factor == pytest.approx(2)


def test_a_true_change_is_followed():
    """The only source says 3 in place of 2, five times in a row: the factor is 3."""
    track = known(2.0)
    for step in range(4):
        track.observe(1.0 + 0.1 * step, 1.0, [speed(3.0)])
        assert track.factor == pytest.approx(2)
    track.observe(1.4, 1.0, [speed(3.0)])
    assert track.factor == pytest.approx(3) and track.state(1.4).state == "observed"


def contradicted() -> tuple[ScaleTrack, float]:
    """A track whose wheel says half of what speed says, and its last stamp."""
    track = known(2.0)
    for step in range(10):
        steps = [speed(2.0), speed(1.0, source="wheel")]
        track.observe(1.0 + 0.1 * step, 1.0, steps)
    return track, 1.9


def test_a_contradiction_is_lost_and_said():
    """Two sources that both go on and differ by half: no metres, with both names."""
    track, stamp = contradicted()
    state = track.state(stamp)
    assert state.state == "lost" and track.factor is None
    assert state.reason == "wheel contradicts speed by -50%"


@pytest.mark.parametrize("silent, left, factor", [("wheel", 2.0, 2.0), ("speed", 1.0, 1.0)])
def test_a_contradiction_ends_with_one_source(silent, left, factor):
    """Whichever source goes on alone is believed, after more than half a second."""
    track, stamp = contradicted()
    name = "speed" if silent == "wheel" else "wheel"
    for step in range(1, 11):
        track.observe(stamp + 0.1 * step, 1.0, [speed(left, source=name)])
    assert track.state(stamp + 1).state == "observed"
    assert track.factor == pytest.approx(factor, rel=1e-3)


def test_small_differences_do_not_contradict():
    """Sources that differ by 4 % with sigmas of 0.1 %: both are used."""
    track = known(2.0, sigma=0.001)
    for step in range(20):
        steps = [speed(2.0, 0.001), speed(2.08, 0.001, "wheel")]
        track.observe(1.0 + 0.1 * step, 1.0, steps)
    assert track.state(2.9).state == "observed" and 2.0 < track.factor < 2.08


def test_a_factor_may_be_measured_itself():
    """An IMU gives metres per unit: three that agree, then one state with its name."""
    track = ScaleTrack()
    for step in range(3):
        track.observe_factor(float(step), 4.0, 0.05, "IMU")
    assert track.factor == pytest.approx(4) and track.state(2.0).source == "IMU"
    track.observe_factor(3.0, -1.0, 0.05, "IMU")
    assert "must be above 0" in track.note and track.factor == pytest.approx(4)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_broken_numbers_are_ignored(value):
    """Lengths, relative lengths and sigmas that are no numbers change nothing."""
    track = known()
    track.observe(1.0, 1.0, [speed(value)])
    assert "length must be 0 m or more" in track.note
    track.observe(1.1, value, [speed(2.0)])
    assert "has no length" in track.note
    track.observe(1.2, 1.0, [speed(2.0, value)])
    assert "sigma must be above 0" in track.note or value == np.inf
    track.observe(1.3, 1.0, [speed(2.0, correlation=1.0)])
    assert "correlation" in track.note
    assert track.factor == pytest.approx(2)


def test_stamps_must_rise():
    """An earlier stamp is the caller's bug; the track stays as it was."""
    track = known()
    with pytest.raises(DataError, match="stamps must rise, got 0.5 s after 0.9"):
        track.tick(0.5, 1.0)
    track.tick(0.9, 0.0)
    assert track.factor == pytest.approx(2)


def test_reset_forgets_all():
    """A new segment has its own unit."""
    track = known()
    track.reset()
    assert track.factor is None and track.state(5.0) == ScaleState(reason="no source of scale")
    track.tick(0.0, 1.0)


@pytest.mark.parametrize("wrong", [{"needed": 0}, {"changed": 1}, {"drift": -1.0}, {"hold": 0.0}])
def test_impossible_settings_are_refused(wrong):
    """One line that names the rule."""
    with pytest.raises(ConfigError, match="must hold"):
        ScaleTrackConfig(**wrong)


def normalised_errors(seed: int, correlation: float, outliers: float) -> float:
    """Mean normalised squared error of 150 steps of 1 m, a third of them without a source."""
    rng, config = np.random.default_rng(seed), ScaleTrackConfig()
    track, log, bias, error = ScaleTrack(config), 0.7, 0.01 * rng.normal(), 0.03 * rng.normal()
    squares = []
    for step in range(150):
        log += config.drift * rng.normal()
        fresh = np.sqrt(1 - correlation**2) * 0.03 * rng.normal()
        error = correlation * error + fresh
        wild = rng.uniform(-1, 1) if rng.random() < outliers else 0.0
        relative = np.exp(config.step_noise * rng.normal() - log)
        steps = [StepLength(np.exp(error + bias + wild), 0.03, "speed", correlation)]
        track.observe(0.1 * step, relative, steps if step % 60 < 40 else [])
        state = track.state(0.1 * step)
        if state.metric and state.sigma is not None:
            squares.append(((np.log(track.factor) - log) / state.sigma) ** 2)
    assert len(squares) > 130
    return float(np.mean(squares))


@pytest.mark.parametrize("correlation, outliers", [(0.0, 0.0), (0.6, 0.0), (0.6, 0.1)])
def test_sigma_is_honest(correlation, outliers):
    """Normalised squared errors over 60 runs: mean 1 within four of its standard errors.

    Errors within a run go together, so a run counts as about one draw of chi-square / 1, whose
    standard deviation is at most sqrt(2): the mean of 60 lies within 4 sqrt(2 / 60) = 0.73 of 1.
    """
    mean = np.mean([normalised_errors(seed, correlation, outliers) for seed in range(60)])
    assert abs(mean - 1) < 0.5


def test_depth_ratio_by_hand():
    """Network depth 3 times the landmarks', every fifth ten times: 3, with a small sigma."""
    depth = np.linspace(1, 8, 50)
    network = 3 * depth
    network[::5] *= 10
    found = depth_ratio(depth, network)
    assert found.factor == pytest.approx(3) and found.sigma == pytest.approx(1e-3)
    noisy = depth_ratio(depth, 3 * depth * np.exp(0.2 * np.random.default_rng(0).normal(size=50)))
    assert noisy.factor == pytest.approx(3, rel=0.15) and 0.05 < noisy.sigma < 0.12


def test_depth_ratio_refuses():
    """Too few points, depths that do not agree, arrays of two lengths."""
    depth = np.linspace(1, 8, 50)
    few = np.where(np.arange(50) < 19, depth, np.nan)
    assert depth_ratio(few, depth).reason == "19 points with depth, needs 20"
    assert depth_ratio(depth, -depth).reason == "0 points with depth, needs 20"
    wild = depth_ratio(depth, depth * np.exp(np.random.default_rng(0).uniform(-4, 4, 50)))
    assert wild.factor is None and "of the points agree" in wild.reason
    with pytest.raises(ShapeError):
        depth_ratio(depth, depth[1:])


def test_a_longer_window_stands_in_place_of_the_shorter_ones() -> None:
    """Windows of one IMU are not independent: the last one counts alone, with its own sigma."""
    track = ScaleTrack()
    for i, factor in enumerate((2.2, 2.15, 2.1, 2.0)):
        track.observe_factor(0.5 * i, factor, 0.05, "imu", supersedes=True)
    assert track.factor == pytest.approx(2.0)
    assert track.state(1.5).sigma == pytest.approx(np.hypot(0.05, 0.01), rel=1e-6)
