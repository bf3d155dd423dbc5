# SPDX-License-Identifier: Apache-2.0
"""The fit of one segment over time: a filter with a gate for the factor, another for the shift."""

from dataclasses import dataclass

import numpy as np

from depthkit.errors import ConfigError
from depthkit.multiview.robust import MAD_TO_SIGMA, weighted_median
from depthkit.runtime.depth.scale_fit_frame import (
    FitPoints,
    Level,
    factor_helps,
    find_level,
    find_shift,
    shift_helps,
    tells_shift,
)
from depthkit.runtime.network.manifest import Ambiguity

GATE = 3.0
"""Standard deviations of an innovation above which a measurement is rejected."""


@dataclass(frozen=True)
class ScaleFitConfig:
    """Settings of a `ScaledDepth`."""

    walk: float = 0.2
    """How far the network's own scale wanders in one second, relative, with the root of time.
    Chosen with `noise` on RedKitchen 0-199: on frames that a network has not seen its factor went
    from 2 to 3.5 within three seconds, and a slower filter lags behind it."""
    noise: float = 0.05
    """Relative error of a frame's factor that is anew in each frame."""
    changed: int = 5
    """Rejected frames in a row that must agree to be a change; frames in a row for or against a
    shift, or the calibration of a metric network, before it is taken."""
    hold: float = 2.0
    """Time without points for which the last fit is kept, seconds."""

    def __post_init__(self) -> None:
        """Refuse impossible settings."""
        numbers = (self.walk, self.noise, self.hold, float(self.changed))
        if not (np.isfinite(numbers).all() and min(numbers) > 0 and self.changed >= 2):
            raise ConfigError(
                f"scale fit: walk, noise and hold > 0 and changed >= 2 must hold, got {self}"
            )


class GatedFilter:
    """One number that wanders, measured again and again (kept state)."""

    def __init__(self, changed: int) -> None:
        """Start unknown. changed: rejected measurements that agree and so replace the number."""
        self._changed = changed
        self.value: float | None = None
        self.variance = np.inf
        self._rejected: list[tuple[float, float]] = []

    def wander(self, variance: float) -> None:
        """Let time pass."""
        self.variance += variance

    def observe(self, value: float, variance: float) -> bool:
        """Take a measurement; return whether the number follows it."""
        if self.value is None:
            self._set([(value, variance)])
            return True
        if _fits(value, variance, self.value, self.variance):
            gain = self.variance / (self.variance + variance)
            self.value += gain * (value - self.value)
            self.variance *= 1 - gain
            self._rejected = []
            return True
        agreeing = [old for old in self._rejected if _fits(value, variance, *old)]
        self._rejected = [*agreeing, (value, variance)]
        if len(self._rejected) < self._changed:
            return False
        self._set(self._rejected)
        return True

    def _set(self, measured: list[tuple[float, float]]) -> None:
        """Start anew at the mean of measurements."""
        self.value = float(np.mean([value for value, _ in measured]))
        self.variance = float(np.mean([variance for _, variance in measured]))
        self._rejected = []


class Vote:
    """A choice that changes only after several frames in a row speak against it (kept state)."""

    def __init__(self, needed: int) -> None:
        """Start undecided: the first frame decides. needed: frames in a row."""
        self._needed, self._against = needed, 0
        self._answer: bool | None = None

    @property
    def yes(self) -> bool:
        """Whether the choice is yes."""
        return bool(self._answer)

    def cast(self, yes: bool) -> None:
        """Count the answer of a frame."""
        self._against = 0 if yes == self._answer else self._against + 1
        if self._answer is None or self._against >= self._needed:
            self._answer, self._against = yes, 0


class FitTrack:
    """Factor and shift of a network over one segment of an odometry (kept state)."""

    def __init__(self, ambiguity: Ambiguity, config: ScaleFitConfig) -> None:
        """Start unknown."""
        self._ambiguity, self._config = ambiguity, config
        self._level, self._shift = GatedFilter(config.changed), GatedFilter(config.changed)
        self._vote = Vote(config.changed)
        self._stamp: float | None = None
        self.residual = 0.0
        self.points = 0
        self.fitted_at: float | None = None
        self.rejected = ""

    @property
    def shift(self) -> float:
        """Shift of the network's inverse depth, in the network's unit; 0 unless it helps."""
        use = self._ambiguity == "scale-and-shift" and self._vote.yes
        return self._shift.value if use and self._shift.value is not None else 0.0

    @property
    def factor(self) -> float | None:
        """Factor on the network's depth; None while unknown. 1: metric, and no factor helps."""
        if self._ambiguity == "none" and not self._vote.yes:
            return None if self._level.value is None else 1.0
        return None if self._level.value is None else float(np.exp(self._level.value))

    @property
    def sigma(self) -> float:
        """Relative standard deviation of the factor."""
        return float(np.sqrt(self._level.variance))

    def tick(self, stamp: float) -> None:
        """Let time pass up to a stamp, seconds."""
        if self._stamp is not None:
            passed = max(0.0, stamp - self._stamp)
            self._level.wander(self._config.walk**2 * passed)
            if self._shift.value is not None:
                self._shift.wander((self._config.walk * self._shift.value) ** 2 * passed)
        self._stamp = stamp

    def observe(self, stamp: float, points: FitPoints) -> bool:
        """Take the points of a frame; return whether the fit follows them."""
        self.tick(stamp)
        self.rejected = ""
        # 1. Does a shift help, or a factor on metres? Frames that cannot tell do not vote.
        if self._ambiguity == "scale-and-shift" and tells_shift(points):
            self._measure_shift(points)
        # 2. The factor at the shift that is used.
        level = find_level(points, self.shift)
        if level is None:
            self.rejected = "the points do not agree with the network's depth"
            return False
        if self._ambiguity == "none":
            self._vote.cast(factor_helps(points))
        if not self._level.observe(level.log, self._variance(level)):
            away = level.log - (self._level.value or 0.0)
            self.rejected = f"rejected: the points' factor is off by {np.expm1(away):+.0%}"
            return False
        # 3. What is left between the points and the depth as it is given.
        self.residual, self.points = self._spread(points), level.agreeing
        self.fitted_at = stamp
        return True

    def _measure_shift(self, points: FitPoints) -> None:
        before = self.shift
        found = find_shift(points)
        helps = found is not None and shift_helps(points)
        self._vote.cast(helps)
        if found is not None and helps:
            self._shift.observe(found.value, found.sigma**2)
        if self.shift != before and self._level.value is not None:
            # Another shift: the factor moves so that depth in the middle of the points stays.
            middle = float(np.median(1 / points.network))
            ratio = max(middle + self.shift, 1e-12) / max(middle + before, 1e-12)
            self._level.value += float(np.log(ratio))

    def _variance(self, level: Level) -> float:
        return level.sigma**2 + self._config.noise**2

    def _spread(self, points: FitPoints) -> float:
        """Robust relative spread of the points about the depth that is given."""
        factor = self.factor or 1.0
        inverse = 1 / points.network + self.shift
        away = np.abs(np.log(points.measured * np.maximum(inverse, 1e-12) / factor))
        return MAD_TO_SIGMA * weighted_median(away, points.weight)


def _fits(value: float, variance: float, other: float, other_variance: float) -> bool:
    return abs(value - other) <= GATE * float(np.sqrt(variance + other_variance))
