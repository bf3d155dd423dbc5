# SPDX-License-Identifier: Apache-2.0
"""Metres per unit of a relative odometry, from every source that knows the length of a step.

The logarithm of the factor is a random walk with the path, as the scale of a monocular odometry
drifts with it, and each source measures it with its own sigma: a Kalman filter with one state. A
measurement that does not fit is rejected; several in a row that agree with each other are a change,
or, while another source still fits, a contradiction. The first factor is found in the same way:
nothing fits what is unknown. `scale_follower` is for sources whose sigma nobody knows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from depthkit.errors import ConfigError, DataError
from depthkit.runtime.result import ScaleState

GATE = 3.0  # standard deviations of an innovation above which a measurement does not fit
AGREES = 0.05  # log ratios this near always fit: sources that differ by less do not contradict


@dataclass(frozen=True)
class StepLength:
    """Length of one step as a source knows it."""

    length: float
    """Length, metres."""
    sigma: float
    """Relative standard deviation of the length."""
    source: str
    """Name of the source, as `speed` or `camera height`."""
    correlation: float = 0.0
    """Correlation of the source's errors from step to step, 0 to below 1: how little averaging
    helps. Camera height: about 0.6 on KITTI 02."""
    relative: float | None = None
    """Length of the same stretch in the odometry's unit, where that is not the step observed."""


@dataclass(frozen=True)
class ScaleTrackConfig:
    """Settings of a `ScaleTrack`."""

    drift: float = 0.01
    """Relative drift of the odometry's scale over one metre, growing with the root of the path:
    18 % over the 214 m of KITTI 00 are 0.012."""
    walk: float = 0.002
    """Relative drift over one second, growing with the root of the time."""
    step_noise: float = 0.02
    """Relative standard deviation of the odometry's own step."""
    common: float = 0.01
    """Relative error that a source has in all steps (height, wheel radius), which averaging does
    not remove."""
    least_motion: float = 0.01
    """Shortest step that is evidence, metres: a robot at rest says nothing of its scale."""
    needed: int = 3
    """Measurements in a row that must agree before the first factor."""
    changed: int = 5
    """Rejected measurements in a row that must agree to be a change or a contradiction."""
    fresh: float = 0.5
    """Time after a measurement for which its source counts as measuring now, seconds."""
    hold: float = 30.0
    """Time without measurement after which the scale is lost, seconds."""
    most_sigma: float = 0.2
    """Relative standard deviation above which the scale is lost."""

    def __post_init__(self) -> None:
        """Refuse impossible settings."""
        counts = self.needed >= 1 and self.changed >= 2
        spans = min(self.drift, self.walk, self.step_noise, self.common, self.least_motion) >= 0
        if not (counts and spans and min(self.fresh, self.hold, self.most_sigma) > 0):
            raise ConfigError(
                f"scale track: needed >= 1, changed >= 2, noises >= 0 and fresh, hold, most_sigma "
                f"> 0 must hold, got {self}"
            )


@dataclass(frozen=True)
class _Measured:
    """One measurement of the log factor."""

    log: float
    variance: float
    source: str


@dataclass
class _Source:
    """What one source did so far."""

    last_fit: float = -np.inf
    """Stamp of the last measurement that fitted, seconds."""
    rejected: list[_Measured] = field(default_factory=list)
    """Measurements since then that did not fit; only those that agree with the newest."""
    last_rejected: float = -np.inf
    """Stamp of the newest of them, seconds."""


class ScaleTrack:
    """Metres per unit over one segment of a relative odometry, with the state that results carry.

    unknown -> observed -> held -> lost; observed again as soon as a measurement fits, or several
    agree on another factor. One thread at a time. Deterministic.
    """

    def __init__(self, config: ScaleTrackConfig | None = None) -> None:
        """Start with an unknown factor."""
        self.config = config or ScaleTrackConfig()
        self.reset()

    def reset(self) -> None:
        """Forget the factor: a new segment has its own unit."""
        self._log: float | None = None
        self._variance = 0.0
        self._stamp: float | None = None
        self._sources: dict[str, _Source] = {}
        self.note = ""
        """Which of the newest measurements were not used, and why; empty if all were."""

    @property
    def factor(self) -> float | None:
        """Factor at the newest stamp, metres per unit; None while unknown or lost."""
        if self._log is None or self._stamp is None or not self.state(self._stamp).metric:
            return None
        return float(np.exp(self._log))

    def tick(self, stamp: float, relative: float) -> None:
        """Take a step without measurement.

        Args:
            stamp: end of the step, seconds, never before the last one.
            relative: length of the step in the odometry's unit; steps must not overlap.

        Raises:
            DataError: a stamp before the last one.
        """
        before, self._stamp = self._stamp, stamp
        if before is not None and stamp < before:
            self._stamp = before
            raise DataError(f"scale track: stamps must rise, got {stamp} s after {before} s")
        if self._log is None or before is None:
            return
        path = abs(relative) * float(np.exp(self._log)) if np.isfinite(relative) else 0.0
        self._variance += self.config.drift**2 * path + self.config.walk**2 * (stamp - before)

    def observe(self, stamp: float, relative: float, steps: Sequence[StepLength]) -> None:
        """Take a step whose length sources know.

        Args:
            stamp: end of the step, seconds, never before the last one.
            relative: length of the step in the odometry's unit; steps must not overlap.
            steps: the same length as each source knows it; may be empty.

        Raises:
            DataError: a stamp before the last one.
        """
        self.tick(stamp, relative)
        measured, self.note = [], ""
        for step in steps:
            stretch = relative if step.relative is None else step.relative
            fault = self._fault(step, stretch)
            self._say(fault)
            if not fault:
                spread = (1 + step.correlation) / (1 - step.correlation)
                variance = spread * step.sigma**2 + self.config.step_noise**2
                log = float(np.log(step.length / stretch))
                measured.append(_Measured(log, variance, step.source))
        self._take(stamp, measured)

    def observe_factor(
        self, stamp: float, factor: float, sigma: float, source: str, *, supersedes: bool = False
    ) -> None:
        """Take a measurement of the factor itself, as from an IMU or a depth network.

        Args:
            stamp: seconds, never before the last one.
            factor: metres per unit.
            sigma: its relative standard deviation.
            source: name of the source.
            supersedes: it is made from the data of the source's earlier ones and more, as a longer
                window of an IMU: where no other source speaks it stands in their place.

        Raises:
            DataError: a stamp before the last one.
        """
        self.tick(stamp, 0.0)
        if not (np.isfinite(factor) and factor > 0 and np.isfinite(sigma) and sigma > 0):
            self._say(f"{source}: factor and sigma must be above 0, got {factor} and {sigma}")
            return
        one = _Measured(float(np.log(factor)), sigma**2, source)
        alone = all(name == source for name in self._sources)
        if supersedes and alone and self._log is not None and _fit(one, self._log, self._variance):
            self._log, self._variance = one.log, one.variance
            self._sources[source] = _Source(last_fit=stamp)
            return
        self._take(stamp, [one])

    def state(self, stamp: float) -> ScaleState:
        """Return the state of the scale at a stamp, seconds."""
        if self._log is None:
            return ScaleState(reason=self._waiting())
        # 1. Who measured last, and how certain the factor is by now.
        last = max(source.last_fit for source in self._sources.values())
        fits = [n for n, one in self._sources.items() if stamp - one.last_fit <= self.config.fresh]
        sigma = float(np.sqrt(self._variance + self.config.common**2))
        held_for, name = max(0.0, stamp - last), "+".join(sorted(fits)) or self._latest()
        # 2. Lost, held or observed.
        reason = self._contradiction(stamp)
        if held_for > self.config.hold:
            reason = f"no source for {held_for:.1f} s, more than {self.config.hold:g} s"
        elif not reason and sigma > self.config.most_sigma:
            reason = f"uncertain by {sigma:.0%}, more than {self.config.most_sigma:.0%}"
        if reason:
            return ScaleState("lost", name, sigma, held_for, reason)
        if fits:
            return ScaleState("observed", name, sigma)
        reason = self.note or f"no source for {held_for:.1f} s"
        return ScaleState("held", name, sigma, held_for, reason)

    def _fault(self, step: StepLength, relative: float) -> str:
        """Return why a step is no evidence; empty if it is."""
        if not (np.isfinite(step.length) and step.length >= 0):
            return f"{step.source}: length must be 0 m or more, got {step.length}"
        if not (np.isfinite(step.sigma) and step.sigma > 0 and 0 <= step.correlation < 1):
            return (
                f"{step.source}: sigma must be above 0 and correlation from 0 to below 1, got "
                f"{step.sigma} and {step.correlation}"
            )
        if step.length < self.config.least_motion:
            return f"{step.source}: too little motion, {step.length:.4f} m"
        if not (np.isfinite(relative) and relative > 0):
            return f"{step.source}: the odometry's step has no length, got {relative}"
        return ""

    def _take(self, stamp: float, measured: Sequence[_Measured]) -> None:
        """Update by the measurements that fit what was known before any of them."""
        log, variance = self._log, self._variance
        for one in measured:
            source = self._sources.setdefault(one.source, _Source())
            if log is not None and _fit(one, log, variance):
                source.last_fit, source.rejected = stamp, []
                self._update(one, log if self._log is None else self._log)
            else:
                self._reject(stamp, one, source)

    def _update(self, one: _Measured, log: float) -> None:
        """Update the filter by one measurement of a known log factor."""
        gain = self._variance / (self._variance + one.variance)
        self._log = log + gain * (one.log - log)
        self._variance *= 1 - gain

    def _reject(self, stamp: float, one: _Measured, source: _Source) -> None:
        """Note a measurement that does not fit; start anew where enough of them agree."""
        kept = [old for old in source.rejected if _fit(one, old.log, old.variance)]
        most = max(self.config.needed, self.config.changed)
        source.rejected, source.last_rejected = [*kept, one][-most:], stamp
        if self._log is not None:
            self._say(f"{one.source} rejected: off by {np.exp(one.log - self._log) - 1:+.0%}")
        needed = self.config.needed if self._log is None else self.config.changed
        if len(source.rejected) < needed or self._contradiction(stamp):
            return
        # The mean of those that agree, weighted by their information.
        weights = np.array([1 / old.variance for old in source.rejected])
        logs = np.array([old.log for old in source.rejected])
        self._log, self._variance = float(weights @ logs / weights.sum()), float(1 / weights.sum())
        source.last_fit, source.rejected = stamp, []

    def _contradiction(self, stamp: float) -> str:
        """Return which sources contradict each other now; empty if none do."""
        recent = stamp - self.config.fresh
        fits = sorted(name for name, one in self._sources.items() if one.last_fit >= recent)
        for name, one in sorted(self._sources.items()):
            others = [other for other in fits if other != name]
            against = len(one.rejected) >= self.config.changed and one.last_rejected >= recent
            if others and against and self._log is not None:
                away = np.exp(float(np.median([old.log for old in one.rejected])) - self._log) - 1
                return f"{name} contradicts {'+'.join(others)} by {away:+.0%}"
        return ""

    def _say(self, words: str) -> None:
        """Add to the note."""
        self.note = "; ".join(one for one in (self.note, words) if one)

    def _latest(self) -> str:
        """Return the name of the source that fitted last."""
        return max(sorted(self._sources), key=lambda name: self._sources[name].last_fit)

    def _waiting(self) -> str:
        """Return what an unknown scale waits for."""
        counts = {name: len(one.rejected) for name, one in sorted(self._sources.items())}
        if not counts:
            return self.note or "no source of scale"
        name = max(counts, key=lambda one: counts[one])
        return f"waiting: {counts[name]} of {self.config.needed} steps by {name} agree"


def _fit(one: _Measured, log: float, variance: float) -> bool:
    """Return whether a measurement fits a log factor with a variance."""
    return abs(one.log - log) <= max(GATE * float(np.sqrt(variance + one.variance)), AGREES)
