# SPDX-License-Identifier: Apache-2.0
"""Metric scale of translations with one unknown factor, in metres per unit, tracked over time.

Each step of known length gives one ratio, metric / relative. The errors of ratios are factors with
heavy tails (a slipping wheel, a moving object that fills the image). The scale is therefore the
median of the log ratios that agree, over a bounded window, as the scale of learnt odometry drifts.
"""

from collections import deque
from typing import Literal

import numpy as np

MAD_TO_SIGMA = 1.4826  # standard deviation over MAD of a normal distribution
OUTLIER = 3.0  # standard deviations from the median
AGREES = 0.05  # log ratios this near to the median always agree: equal ratios have no spread


class ScaleFollower:
    """Scale in metres per unit of relative translation; unknown until enough steps agree.

    One thread at a time. Deterministic: the same steps give the same scale.
    """

    def __init__(
        self,
        *,
        window: int = 100,
        needed: int = 10,
        least_motion: float = 0.01,
        max_spread: float = 0.5,
    ) -> None:
        """Start without steps.

        Args:
            window: number of newest steps used.
            needed: steps that must agree before the scale is known; at most `window`.
            least_motion: shortest step that is used, metres.
            max_spread: relative spread of the agreeing ratios above which the scale is unknown.

        Raises:
            ValueError: impossible arguments.
        """
        if not (1 <= needed <= window and least_motion >= 0 and max_spread > 0):
            raise ValueError(
                "1 <= needed <= window, least_motion >= 0 and max_spread > 0 must hold, got "
                f"{needed}, {window}, {least_motion}, {max_spread}"
            )
        self.needed, self.least_motion, self.max_spread = needed, least_motion, max_spread
        self._logs: deque[float] = deque(maxlen=window)
        self.reset()

    def reset(self) -> None:
        """Drop all steps."""
        self._logs.clear()
        self._median, self._spread, self._agreeing = 0.0, np.inf, 0

    @property
    def state(self) -> Literal["unknown", "known"]:
        """Whether the scale is known."""
        known = self._agreeing >= self.needed and self._spread <= self.max_spread
        return "known" if known else "unknown"

    @property
    def scale(self) -> float | None:
        """Scale, metres per unit; None while unknown."""
        return float(np.exp(self._median)) if self.state == "known" else None

    @property
    def spread(self) -> float | None:
        """Relative standard deviation of the agreeing ratios; None before the first step."""
        return self._spread if self._agreeing else None

    @property
    def agreeing(self) -> int:
        """Number of steps in the window that agree; the others are outliers."""
        return self._agreeing

    @property
    def steps(self) -> int:
        """Number of steps in the window."""
        return len(self._logs)

    def add(self, *, metric: float, relative: float) -> str:
        """Add a step of known length.

        Args:
            metric: its length, metres.
            relative: the same length in the stream's own unit.

        Returns:
            Why the step was ignored; empty if it was added.
        """
        if not (np.isfinite(metric) and metric >= 0):
            return f"length must be 0 m or more, got {metric}"
        if metric < self.least_motion:
            return f"too little motion: {metric:.4f} m, needs {self.least_motion:g} m"
        if not (np.isfinite(relative) and relative > 0):
            return f"relative length must be above 0, got {relative}"
        self._logs.append(float(np.log(metric / relative)))
        self._agree()
        return ""

    def summary(self) -> str:
        """Describe the state of the scale in one line."""
        if self._agreeing < self.needed:
            return f"waiting: {self._agreeing} of {self.needed} steps agree"
        if self.state == "unknown":
            return f"unknown: ratios spread by {self._spread:.0%}, more than {self.max_spread:.0%}"
        return f"{self.scale:.4g} m a unit, {self._spread:.1%} spread over {self._agreeing} steps"

    def _agree(self) -> None:
        # 1. Inliers: within three robust standard deviations (MAD) of the median log ratio.
        logs = np.array(self._logs)
        away = np.abs(logs - np.median(logs))
        inside = logs[away <= max(OUTLIER * MAD_TO_SIGMA * float(np.median(away)), AGREES)]
        # 2. Scale and spread are those of the inliers.
        self._median, self._agreeing = float(np.median(inside)), len(inside)
        self._spread = MAD_TO_SIGMA * float(np.median(np.abs(inside - self._median)))
